"""Each exercise, without its notebook: right is right, each usual mistake is named, nothing else passes."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from gradclinic.course import audit
from gradclinic.course.exercises import labs
from tests.helpers.seeds import every_seed

LABS = labs()
EXERCISES = [exercise for lab in LABS for exercise in lab.exercises]

every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)


def test_ids_points_claims_and_levels_are_in_order():
    ids = [exercise.id for exercise in EXERCISES]
    assert len(set(ids)) == len(ids)
    for lab in LABS:
        number = lab.name.split("-")[0].lstrip("0")
        assert [e.id.split("-")[0] for e in lab.exercises] == [f"{number}.{i + 1}" for i in range(len(lab.exercises))]
        assert 3 <= len(lab.exercises) <= 4
    for exercise in EXERCISES:
        assert exercise.points > 0
        assert set(exercise.claims) <= set(audit.claims())
        assert exercise.claims
        assert exercise.level in ("warm-up", "core", "stretch")
        assert len(exercise.mistakes) >= 3
        hints = [mistake.hint for mistake in exercise.mistakes]
        assert len(set(hints)) == len(hints)
        assert all(hints)
    for lab in LABS:
        for number, essay in enumerate(lab.essays, len(lab.exercises) + 1):
            assert essay.id.split("-")[0] == f"{lab.name.split('-')[0].lstrip('0')}.{number}"
            assert set(essay.claims) <= set(audit.claims())
            assert essay.claims
            assert essay.level in ("warm-up", "core", "stretch")
            assert len(essay.rubric) >= 3
            assert essay.points == sum(c.points for c in essay.rubric)
            assert all(c.name and c.full and c.half and c.points > 0 for c in essay.rubric)


@every_exercise
@every_seed
def test_right_is_right_and_each_mistake_is_named(exercise, seed):
    assert exercise.attempt(exercise.reference, seed).status == "right"
    for mistake in exercise.mistakes:
        verdict = exercise.attempt(mistake.function, seed)
        assert (verdict.status, verdict.mistake, verdict.message) == ("wrong", mistake.name, mistake.hint)


@every_exercise
def test_other_wrong_answers_get_a_message_that_says_what_is_wrong(exercise):
    def raises(*_):
        raise KeyError("a slip")

    tries = {
        "returned None": lambda *_: None,
        "Numbers were expected": lambda *_: "seven",
        "KeyError": raises,
        "positional argument": lambda: 1,
        "shape": lambda *_: torch.zeros(7, 7, 7),
    }
    for words, function in tries.items():
        verdict = exercise.attempt(function)
        assert verdict.status == "wrong"
        assert verdict.mistake is None
        assert words in verdict.message
    expected = exercise.answers(exercise.reference, 0)
    spoiled = [[torch.as_tensor(part) * float("nan") for part in _parts(answer)] for answer in expected]
    spoiled = [s if isinstance(e, list) else s[0] for s, e in zip(spoiled, expected, strict=True)]
    assert "not a finite number" in exercise.judge(spoiled, 0).message
    assert "answers were asked for" in exercise.judge(expected[:-1], 0).message


def _parts(answer):
    return answer if isinstance(answer, list) else [answer]


def test_equal_infinities_are_not_what_is_reported_as_wrong():
    exercise = replace(EXERCISES[0], cases=lambda seed: [()], reference=lambda: [float("inf"), 2.0], mistakes=())
    assert exercise.judge([[float("inf"), 2.0]], 0).status == "right"
    assert "gives 3 where 2 is right" in exercise.judge([[float("inf"), 3.0]], 0).message
    assert "gives nan where inf is right" in exercise.judge([[float("nan"), 2.0]], 0).message


@every_exercise
def test_blank_is_not_wrong(exercise):
    def blank(*_):
        raise NotImplementedError()

    assert exercise.attempt(blank).status == "blank"


@every_exercise
def test_a_function_that_writes_into_its_arguments_changes_no_case(exercise):
    kept = exercise.cases(3)

    def vandal(*arguments):
        for argument in arguments:
            for tensor in argument.parameters() if isinstance(argument, torch.nn.Module) else [argument]:
                if isinstance(tensor, torch.Tensor):
                    tensor.detach().zero_()

    replace(exercise, cases=lambda seed: kept).answers(vandal, 3)
    assert exercise.judge([exercise.reference(*case) for case in kept], 3).status == "right"


ELSEWHERE = """
import json, sys
import torch
from gradclinic.course.exercises import labs

seed = int(sys.argv[1])
plain = lambda a: a.tolist() if hasattr(a, "tolist") else [plain(p) for p in a] if isinstance(a, list) else a
print(json.dumps({
    exercise.id: [
        [plain(answer) for answer in exercise.answers(function, seed)]
        for function in (exercise.reference, *(mistake.function for mistake in exercise.mistakes))
    ]
    for lab in labs() for exercise in lab.exercises
}))
"""


def test_numbers_from_another_process_on_a_fresh_seed_are_judged_alike():
    seed = int(torch.randint(1000, 2**31, ()))
    result = subprocess.run([sys.executable, "-c", ELSEWHERE, str(seed)], capture_output=True, text=True, check=True)
    answers = json.loads(result.stdout)
    assert set(answers) == {exercise.id for exercise in EXERCISES}
    for exercise in EXERCISES:
        right, *wrong = answers[exercise.id]
        assert exercise.judge(right, seed).status == "right", (exercise.id, seed)
        names = [exercise.judge(numbers, seed).mistake for numbers in wrong]
        assert names == [mistake.name for mistake in exercise.mistakes], (exercise.id, seed)
