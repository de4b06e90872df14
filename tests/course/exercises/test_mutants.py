"""Each exercise refuses its right answer with one thing changed, on each seed, unless the change changes nothing."""

import copy
import warnings

import pytest

from gradclinic.course.exercises import labs
from tests.course.exercises.equivalents import EQUIVALENT
from tests.helpers import mutants
from tests.helpers.seeds import ALL

pytestmark = pytest.mark.long  # some fifty wrong answers to each exercise, on twenty seeds

# 10.1 is judged by the digits that a trained network reads; test_rescue.py has its wrong answers
EXERCISES = [(lab, exercise) for lab in labs() for exercise in lab.exercises if exercise.id != "10.1-rescue"]


def passes(exercise, function, seed, cases):
    try:
        if exercise.outcome is not None:
            return exercise.judge([function(*copy.deepcopy(case)) for case in cases], seed).status == "right"
        for case, expected in zip(cases, exercise.expected(seed), strict=True):
            answer = function(*copy.deepcopy(case))
            if answer is None or exercise.differs(answer, expected):
                return False
        return True
    except mutants.Endless:
        raise
    except Exception:  # a mutant may raise anything
        return False


def accepting(exercise, mutant, cases):
    """The seeds on which it passes. Once it has had no end on a seed, the others are not tried: that takes too long."""
    found = []
    for seed in ALL:
        try:
            if passes(exercise, mutant, seed, cases[seed]):
                found.append(seed)
        except mutants.Endless:
            break
    return found


@pytest.mark.parametrize(("lab", "exercise"), EXERCISES, ids=lambda e: getattr(e, "id", ""))
def test_what_was_changed_is_refused_on_each_seed(lab, exercise):
    function, world = mutants.model_answer(lab.name, exercise.name)
    turns = mutants.Turns()
    right = mutants.made(function, world, turns)
    cases = {seed: exercise.cases(seed) for seed in ALL}
    with warnings.catch_warnings(action="ignore"):
        assert all(passes(exercise, right, seed, cases[seed]) for seed in ALL), "the model answer is right"
        turns.allowed = 3 * turns.most + 10
        tried = [
            *mutants.of_code(function, world, turns),
            *mutants.of_values(right, cases[0][0]),
            *mutants.of_writing(right),
        ]
        accepted = {label: found for label, mutant in tried if (found := accepting(exercise, mutant, cases))}
    reasons = EQUIVALENT.get(exercise.id, {})
    assert set(accepted) <= set(reasons), {label: found for label, found in accepted.items() if label not in reasons}
    assert len(tried) - len(reasons) >= 15
