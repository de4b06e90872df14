"""What is longer, deeper or odder than anybody's honest work: shortened, flagged, and never waited for."""

import functools
import json

import nbformat
import pytest
import torch

from gradclinic.course import exercises
from gradclinic.course.exercises import Exercise
from tests.helpers import submissions, weeks
from tests.helpers.submissions import LAB
from tools.grading import marks

LABS = exercises.labs()


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def code(source):
    return nbformat.v4.new_code_cell(source)


def text(source):
    return nbformat.v4.new_markdown_cell(source)


def test_honest_notebooks_are_read_as_they_are():
    for lab in LABS:
        given = submissions.solved(lab.name)
        before = [cell.source for cell in given.cells]
        assert marks.limited(given) == []
        assert [cell.source for cell in given.cells] == before


def test_of_too_many_cells_the_first_are_read(tmp_path):
    given, one = submissions.solved(LAB), code("x = 1")
    given.cells += [dict(one, id=f"own-{n}") for n in range(100_000)]
    folder = tmp_path / "ann" / LAB
    folder.mkdir(parents=True)
    (folder / f"{LAB}.ipynb").write_text(json.dumps(given))
    read, flags = marks.read(folder, LAB)
    assert len(read.cells) == 2_000
    assert flags == [f"{len(given.cells)} cells, of which the first 2000 are read"]


STREAM = {"output_type": "stream", "name": "stdout", "text": "x"}


@pytest.mark.parametrize(
    "hidden",
    [
        {"outputs": [STREAM] * 90_000},
        {"outputs": [STREAM] * 10_000 + [{"output_type": "q"}]},
        {"outputs": [{"output_type": "display_data", "data": {"text/html": "x" * 10**6}, "metadata": {}}] * 5},
        {"metadata": {"a": [{}] * 400_000}},
        {"metadata": {"nbgrader": {"grade_id": "step", "more": [0] * 10**5}}},
        {"attachments": {str(n): {} for n in range(10_000)}},
    ],
    ids=["outputs", "one that is none", "large ones", "metadata", "nbgrader's", "attachments"],
)
def test_what_no_mark_depends_on_is_gone_before_it_is_checked(hidden):
    given = json.loads(nbformat.writes(submissions.solved(LAB)))
    given["cells"][1] |= hidden
    given["metadata"]["widgets"] = {"state": [[]] * 10_000}
    short, flags = marks.slimmed(json.dumps(given))
    assert flags == []
    assert len(short) < 200_000
    assert [cell["source"] for cell in json.loads(short)["cells"]] == [cell["source"] for cell in given["cells"]]


@pytest.mark.parametrize("key", ["cell_type", "cell\\u005ftype"])
def test_cells_are_counted_however_their_keys_are_written(key):
    cells = f'{{"{key}": "code", "source": "", "metadata": {{}}, "outputs": []}}'
    short, flags = marks.slimmed(f'{{"nbformat": 4, "cells": [{", ".join([cells] * 45_000)}]}}')
    assert flags == ["45000 cells, of which the first 2000 are read"]
    assert len(json.loads(short)["cells"]) == 2000
    old, flags = marks.slimmed(f'{{"nbformat": 3, "worksheets": [{{"cells": [{", ".join([cells] * 40_000)}]}}]}}')
    assert flags == ["40000 cells, of which the first 2000 are read"]
    assert len(json.loads(old)["worksheets"][0]["cells"]) == 2000


@pytest.mark.parametrize("nothing", ["[1, 2, 3]", "", "{", '{"a": ' + "[" * 1_100_000, "[" * 5000 + "]" * 5000])
def test_what_is_no_notebook_is_said_to_be_none(nothing, tmp_path):
    (tmp_path / f"{LAB}.ipynb").write_text(nothing)
    read, flags = marks.read(tmp_path, LAB)
    assert read is None
    assert flags[-1].startswith("the file is not a notebook")


def test_a_cell_of_another_type_is_flagged():
    given, released = submissions.solved(LAB), submissions.given_out(LAB)
    cell = submissions.cell(given, "step")
    cell.cell_type = "markdown"
    flags = marks.compared(marks.known_cells(given), marks.known_cells(released))
    assert flags == ["cells are of another type than given out: step"]


def test_code_that_is_too_long_is_left_out_and_a_text_is_cut():
    given = notebook(code("x = 1"), code("#" * 100_001), text("a" * 20_001), code("y" * 100_000), text("b" * 20_000))
    assert marks.limited(given) == [
        "cells left out for their length: 2 (100001 characters)",
        "cells of which only the beginning is read: 3 (20001 characters)",
    ]
    lengths = [len(cell.source) for cell in given.cells]
    assert given.cells[1].source == "# left out: 100001 characters"
    assert [lengths[0], *lengths[2:]] == [5, 20_000, 100_000, 20_000]


def test_of_many_long_cells_there_is_a_limit_for_all():
    given = notebook(*[code("x" * 90_000) for _ in range(2_000)])
    (flag,) = marks.limited(given)
    assert flag.count("characters") == 5
    assert flag.endswith(", and more")
    assert sum(len(cell.source) for cell in given.cells) < 1_100_000


def test_a_cell_of_forty_million_characters_costs_its_exercise_and_no_other(tmp_path):
    given = submissions.solved(LAB)
    submissions.cell(given, "step").source += "\n#" + "x" * 40_000_000
    folder = weeks.hand_in(tmp_path, "ann", given)
    marked = marks.mark(folder, LAB, "ann", 3, submissions.given_out(LAB), weeks.Open())
    assert [mark.points for mark in marked.marks] == [0, 1, 2, 3]
    assert "left out for their length" in marked.flags[0]
    assert sum(map(len, marked.sources.values())) < 10_000


# --- answers ---------------------------------------------------------------------------------------------------------


def never_judged(*given):
    raise AssertionError("it was compared")


def odd(numbers, depth):
    """Lists in lists, each with another number beside it."""
    return functools.reduce(lambda inner, number: [inner, number], range(depth), [float(n) for n in range(numbers)])


@pytest.mark.parametrize(
    "answers",
    [
        [[[float(n)] for n in range(65_000)]] * 4,
        [[True] * 65_000] * 4,
        [[[1.0], 2.0] * 30_000] * 4,
        [odd(3, 500)] * 6,
        [["x"] * 65_000] * 4,
    ],
    ids=["each by itself", "truths", "of two forms", "deep", "texts"],
)
def test_odd_forms_are_counted_and_never_compared(answers, monkeypatch):
    exercise = marks.find_lab(LAB).exercises[0]
    monkeypatch.setattr(Exercise, "judge", never_judged)
    mark = marks.judged(exercise, 7, {"status": "answers", "answers": answers})
    assert (mark.points, mark.status) == (0, "wrong")
    assert mark.message == "The answer has far more parts than was asked for, or lists far deeper in lists."


def test_parts_are_counted_no_further_than_needed():
    class NeverRead(list):
        def __iter__(self):
            raise AssertionError("it was read")

    parts, _ = marks.parts_of([NeverRead(), *[["x"]] * 50], 10)  # the last are looked at first
    assert parts == 11
    assert marks.parts_of([1.0, 2.0], 10) == (1, 1)
    assert marks.parts_of(torch.zeros(2, 3), 10) == (3, 2)
    assert marks.parts_of([[1.0], torch.tensor(2.0)], 10) == (3, 2)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_right_answers_are_never_too_odd(lab):
    for exercise in lab.exercises:
        if exercise.outcome is None:  # the others train networks; tests/course has them
            answers = [weeks.plain_numbers(answer) for answer in exercise.expected(5)]
            assert marks.too_odd(answers, exercise, 5) is None, exercise.id


# --- a part of the points --------------------------------------------------------------------------------------------


def test_a_mistake_that_is_nearly_right_earns_half_and_others_nothing():
    seen = 0
    for lab in LABS:
        for exercise in lab.exercises:
            for mistake in exercise.mistakes:
                nearly = mistake.hint.startswith("Nearly")
                verdict = exercises.Verdict("wrong", mistake.hint, mistake.name)
                assert marks.credit(exercise, verdict) == (mistake.credit or (0.5 if nearly else 0))
                seen += nearly
    assert seen >= 4


def test_the_bias_forgotten_in_gradient_norms_gets_half_its_points():
    exercise = next(e for e in marks.find_lab("02-vanishing").exercises if e.name == "gradient_norms")
    mistake = next(m for m in exercise.mistakes if m.hint.startswith("Nearly"))
    answers = [weeks.plain_numbers(answer) for answer in exercise.answers(mistake.function, 7)]
    mark = marks.judged(exercise, 7, {"status": "answers", "answers": answers})
    assert (mark.points, mark.status, mark.mistake) == (exercise.points / 2, "wrong", mistake.name)


def test_what_is_said_is_short_and_without_signs_that_turn_the_writing_round():
    exercise = marks.find_lab(LAB).exercises[0]
    mark = marks.judged(exercise, 7, {"status": "raised", "message": "\x1b[2J\u202e" + "x" * 5000})
    assert "\\x1b[2J\\u202ex" in mark.message
    assert len(mark.message) == 1000
