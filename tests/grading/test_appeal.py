"""Whoever asks why gets the case, the answer that was given, and the right one."""

import re

import pytest
import torch

from tests.helpers import submissions, weeks
from tests.helpers.submissions import LAB
from tools.grading import marks, week
from tools.grading.appeal import explained
from tools.grading.ledger import Ledger, Record

SEED = 987654321
EXERCISE = marks.find_lab(LAB).exercises[0]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        weeks.without_jail(monkeypatch)
        root = weeks.released(tmp_path_factory.mktemp("course"))
        weeks.hand_in(root, "ann", weeks.answering("step", "return weight + learning_rate * gradient"))
        weeks.hand_in(root, "bob", weeks.answering("step", "raise ValueError('\\x1b[2Jlost')"))
        weeks.hand_in(root, "eve", weeks.answering("step", "return 0 * weight.sum() if weight.dim() == 2 else weight"))
        week.grade(LAB, root, seed=SEED)
        yield {learner: week.explain(LAB, learner, root) for learner in ("ann", "bob", "eve")}, root


def test_it_shows_case_answer_and_right_answer_of_each_wrong_try(said):
    text = said[0]["ann"]
    for (weight, gradient, rate), right in zip(EXERCISE.cases(SEED), EXERCISE.expected(SEED), strict=True):
        assert f"learning_rate = {rate:.8g}\n" in text
        for name, value in {"weight =": weight, "answered:": weight + rate * gradient, "right is:": right}.items():
            assert re.search(rf"{name} \[*{re.escape(f'{value.flatten()[0].item():.8g}')}", text)
    assert "ann, 01-gradient-descent: 6 of 8 computed points" in text
    assert "step: wrong (uphill), 0 of 2 points" in text
    assert "fused_step: right, 1 of 1 points" in text


def test_the_seed_is_not_in_it(said):
    assert str(SEED) not in "".join(said[0].values())


def test_a_function_that_stopped_has_no_answers_and_its_message_does_nothing(said):
    text = said[0]["bob"]
    assert "Your function stopped with ValueError: \\x1b[2Jlost" in text
    assert "its answers are not kept" in text
    assert "\x1b" not in text


def test_tries_that_were_right_are_only_counted(said):
    record = Ledger(LAB, said[1]).records()["ann"]
    right = [weeks.plain_numbers(answer) for answer in EXERCISE.expected(record.seed)]
    wrong = torch.tensor(right[0]) + 1
    record.marked.answers["step"] = [wrong.tolist(), *right[1:]]
    text = explained(LAB, record)
    assert f"try 2 of {len(right)}: right" in text
    assert text.count("answered:") == 1


def test_whom_nobody_has_marked_is_a_sentence(said):
    with pytest.raises(LookupError, match=f"nobody was not marked in {LAB} yet; run: make grade LAB={LAB}"):
        week.explain(LAB, "nobody", said[1])


def test_that_the_exercises_have_changed_since_is_said(said, monkeypatch):
    monkeypatch.setattr(week, "reference_hash", lambda lab, root: "another")
    assert week.explain(LAB, "ann", said[1]).startswith("The exercises have changed since then")


def test_an_exercise_with_many_right_answers_is_explained_too(tmp_path, monkeypatch):
    labs = [lab for lab in marks.exercises.labs() if any(e.outcome is not None for e in lab.exercises)]
    exercise = next(e for e in labs[0].exercises if e.outcome is not None)
    mark = marks.Mark(exercise.name, 0, exercise.points, "wrong", "Not yet.")
    monkeypatch.setattr(type(exercise), "expected", lambda self, seed: [1.0] * len(self.cases(seed)))
    answers = [2.0] * len(exercise.cases(5))
    text = explained(labs[0].name, Record(marks.Marked("ann", [mark], answers={exercise.name: answers}), "", 5, ""))
    assert text.count("answered: 2") == len(answers)


def test_nothing_is_said_twice_of_a_learner_with_all_points(tmp_path):
    right = [marks.Mark(e.name, e.points, e.points, "right", "Right.") for e in marks.find_lab(LAB).exercises]
    assert "try" not in explained(LAB, Record(marks.Marked("ann", right), "", 5, ""))
    assert submissions.zeros(LAB).keys() == {mark.exercise for mark in right}
