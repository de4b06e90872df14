"""What is longer, deeper or odder than anybody's honest work: shortened, flagged, and never waited for."""

import functools
import json
import re
import subprocess
import sys
import time

import nbformat
import pytest
import torch

from gradclinic.course import exercises
from gradclinic.course.exercises import Exercise
from tests.helpers import ROOT, submissions, weeks
from tests.helpers.submissions import LAB
from tools.grading import handins, marks, notebooks

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
        assert notebooks.limited(given) == []
        assert [cell.source for cell in given.cells] == before


def test_of_too_many_cells_the_first_are_read(tmp_path):
    given, one = submissions.solved(LAB), code("x = 1")
    given.cells += [dict(one, id=f"own-{n}") for n in range(100_000)]
    folder = tmp_path / "ann" / LAB
    folder.mkdir(parents=True)
    (folder / f"{LAB}.ipynb").write_text(json.dumps(given))
    read, flags = notebooks.read(folder, LAB)
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
    short, flags = notebooks.slimmed(json.dumps(given).encode())
    assert flags == []
    assert len(json.dumps(short)) < 200_000
    assert [cell.source for cell in short.cells] == ["".join(cell["source"]) for cell in given["cells"]]


@pytest.mark.parametrize("key", ["cell_type", "cell\\u005ftype"])
def test_cells_are_counted_however_their_keys_are_written(key):
    cells = f'{{"{key}": "code", "source": "", "metadata": {{}}, "outputs": []}}'
    new = f'{{"nbformat": 4, "cells": [{", ".join([cells] * 45_000)}]}}'
    short, flags = notebooks.slimmed(new.encode())
    assert flags == ["45000 cells, of which the first 2000 are read"]
    assert len(short["cells"]) == 2000
    sheet = f'{{"cells": [{", ".join([cells] * 400)}]}}'
    old = f'{{"nbformat": 3, "cells": {{}}, "worksheets": [{", ".join([sheet] * 100)}]}}'
    short, flags = notebooks.slimmed(old.encode())
    assert flags == ["40000 cells, of which the first 2000 are read"]
    assert len(short["cells"]) == 2000


@pytest.mark.parametrize("sheets", [[], [{"cells": []}], {}, None, 3])
def test_limits_hold_for_what_is_read_whatever_stands_beside_it(sheets, tmp_path):
    given = json.loads(nbformat.writes(submissions.solved(LAB)))
    given["worksheets"] = sheets
    own = {"cell_type": "code", "source": "x = 1", "outputs": [], "execution_count": None}
    about = {"nbgrader": {"grade_id": "x" * 10**6, "grade": True, "locked": False, "solution": False}}
    given["cells"] += [own | {"metadata": about if n < 20 else {}} for n in range(30_000)]
    (tmp_path / f"{LAB}.ipynb").write_text(json.dumps(given))
    read, flags = notebooks.read(tmp_path, LAB)
    assert flags == [f"{len(given['cells'])} cells, of which the first 2000 are read"]
    assert len(json.dumps(read)) < 1_000_000
    assert len(notebooks.known_cells(read)) == 8


def many(form, number):
    return form.format(", ".join(f'"k{n}": 0' for n in range(number)))


PLACES = {
    "in a cell": '{{"nbformat": 4, "cells": [{{"cell_type": "code", "source": "", {} }}]}}',
    "at the top": '{{"nbformat": 4, "cells": [], {} }}',
    "in an older one": '{{"nbformat": 3, "worksheets": [{{"cells": [], {} }}]}}',
    "in an output": '{{"nbformat": 4, "cells": [{{"cell_type": "code", "source": "", "outputs": [{{ {} }}]}}]}}',
}


@pytest.mark.parametrize("place", PLACES)
def test_keys_that_nobody_knows_are_dropped_or_refused_by_their_number(place, tmp_path):
    path = tmp_path / f"{LAB}.ipynb"
    path.write_text(many(PLACES[place], 900_000))
    began = time.process_time()
    read, flags = notebooks.read(tmp_path, LAB)
    assert flags == []
    assert len(json.dumps(read)) < 500
    path.write_text(many(PLACES[place], 3_000_000))
    read, flags = notebooks.read(tmp_path, LAB)
    assert read is None
    assert flags == ["the file is not a notebook: it has more parts than any that somebody wrote"]
    assert time.process_time() - began < 20


def test_whoever_looks_at_a_file_counts_its_parts_before_anything_is_made_of_them(monkeypatch):
    bomb = b'{"cells": [], "nbformat": 4, "x": [' + b"{}," * notebooks.PARTS + b"0]}"
    monkeypatch.setattr(json, "loads", never_judged)
    with pytest.raises(notebooks.NotOne, match="more parts than any"):
        notebooks.slimmed(bomb)
    assert not handins.is_notebook(bomb)
    made = {
        path.name
        for path in (ROOT / "tools" / "grading").glob("*.py")
        if re.search(r"\bjson\.load|\bnbformat\.reads?\b", path.read_text())
    }
    # of files of our own, of what was counted before, and of a notebook that was made here
    assert made == {"notebooks.py", "jail.py", "inside.py", "ledger.py", "shelf.py", "feedback.py", "week.py"}


@pytest.mark.long  # files of up to 50 MB are made and read
@pytest.mark.parametrize(
    "form", ["{}", "[{}]", '{{"nbformat": 4, "cells": [{}]}}', '{{"nbformat": 3, "worksheets": [{}]}}']
)
@pytest.mark.parametrize("part", ["[]", "0.5", '"\U0001f600"', "{}", '{"cell_type": "code", "source": []}'])
def test_any_file_is_read_in_seconds_and_takes_no_more_than_half_a_gigabyte(form, part, tmp_path):
    most = min(notebooks.PARTS // max(part.count("{") + part.count("["), 1), notebooks.COMMAS // (1 + part.count(",")))
    most = min(most, notebooks.QUOTES // max(part.count('"'), 1), notebooks.LARGEST // (len(part.encode()) + 1)) - 10
    (tmp_path / f"{LAB}.ipynb").write_text(form.format(",".join([part] * most)))
    program = (
        "import pathlib, resource, time, sys; from tools.grading import notebooks; "
        "held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; began = time.process_time(); "
        f"notebooks.read(pathlib.Path(sys.argv[1]), '{LAB}'); "
        "print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds < 10
    assert kilobytes < 500_000


def test_a_notebook_of_the_form_of_2013_is_read(tmp_path):
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["My ", "lab"]},
        {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "language": "python", "outputs": []},
        {"cell_type": "markdown", "source": "words"},
    ]
    data = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {},
        "worksheets": [{"cells": cells[:2]}, {"cells": cells[2:]}],
    }
    (tmp_path / f"{LAB}.ipynb").write_text(json.dumps(data))
    read, flags = notebooks.read(tmp_path, LAB)
    assert flags == []
    assert [cell.source for cell in read.cells] == ["## My lab", "x = 1\ny = 2", "words"]


@pytest.mark.parametrize("nothing", ["[1, 2, 3]", "", "{", '{"a": ' + "[" * 1_100_000, "[" * 5000 + "]" * 5000])
def test_what_is_no_notebook_is_said_to_be_none(nothing, tmp_path):
    (tmp_path / f"{LAB}.ipynb").write_text(nothing)
    read, flags = notebooks.read(tmp_path, LAB)
    assert read is None
    assert flags[-1].startswith("the file is not a notebook")


def test_a_cell_of_another_type_is_flagged():
    given, released = submissions.solved(LAB), submissions.given_out(LAB)
    cell = submissions.cell(given, "step")
    cell.cell_type = "markdown"
    flags = marks.compared(notebooks.known_cells(given), notebooks.known_cells(released))
    assert flags == ["cells are of another type than given out: step"]


def test_code_that_is_too_long_is_left_out_and_a_text_is_cut():
    given = notebook(code("x = 1"), code("#" * 100_001), text("a" * 20_001), code("y" * 100_000), text("b" * 20_000))
    assert notebooks.limited(given) == [
        "cells left out for their length: 2 (100001 characters)",
        "cells of which only the beginning is read: 3 (20001 characters)",
    ]
    lengths = [len(cell.source) for cell in given.cells]
    assert given.cells[1].source == "# left out: 100001 characters"
    assert [lengths[0], *lengths[2:]] == [5, 20_000, 100_000, 20_000]


def test_of_many_long_cells_there_is_a_limit_for_all():
    given = notebook(*[code("x" * 90_000) for _ in range(2_000)])
    (flag,) = notebooks.limited(given)
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
