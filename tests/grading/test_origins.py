"""Whether an answer comes from the cell that a person reads, and whether the notebook's own word is heard."""

import contextlib
from types import FunctionType

import nbformat
import pytest

from gradclinic.course.exercises.lab import find_lab
from tests.helpers import submissions
from tests.helpers.submissions import LAB, cell
from tools.grading import marks, plain
from tools.grading.jail import Jail, Limits
from tools.grading.origins import contradicted

RIGHT = "def step(weight, gradient, learning_rate):\n    return weight - learning_rate * gradient"
WRONG = RIGHT.replace("-", "+")
CLEAN = "def step(weight, gradient, learning_rate):\n    return moved(weight, learning_rate * gradient)"


def marked(notebook, jail, folder):
    folder = folder / "ann" / LAB
    folder.mkdir(parents=True)
    (folder / f"{LAB}.ipynb").write_bytes(submissions.written(notebook))
    return marks.mark(folder, LAB, "ann", 5, submissions.given_out(LAB), jail)


def with_cells(*sources, step=RIGHT):
    """The right answers with another ``step``, and cells of the learner's own at the end."""
    notebook = submissions.solved(LAB)
    cell(notebook, "step").source = step
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    return notebook


@pytest.mark.parametrize(
    "decoy",
    [
        RIGHT,
        "step = lambda w, g, lr: w - lr * g",
        "from somewhere import step",
        "import sys\nsetattr(sys.modules[__name__], 'step', lambda w, g, lr: w - lr * g)",
        "globals()['step'] = lambda w, g, lr: w - lr * g",
        "exec('step = lambda w, g, lr: w - lr * g')",
        "if True:\n    def step(w, g, lr):\n        return w - lr * g",
        "def other():\n    global step\n    step = lambda w, g, lr: w - lr * g\nother()",
        "%%time\n" + RIGHT,
    ],
)
def test_a_function_that_stands_elsewhere_too_is_flagged_and_what_ran_is_shown(decoy, jail, tmp_path):
    notebook = with_cells("check.step(step)", step=WRONG)
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(decoy))
    found = marked(notebook, jail, tmp_path)
    assert [flag for flag in found.flags if flag.startswith("step: code cell")], found.flags
    assert decoy in found.elsewhere.values()


@pytest.mark.parametrize(
    ("taken_apart", "word"),
    [
        (
            "step.__code__ = (lambda weight, gradient, learning_rate: weight - learning_rate * gradient).__code__",
            "__code__",
        ),
        ("def aid(w):\n    return w\naid.__globals__['step'] = lambda w, g, lr: w - lr * g", "__globals__"),
        ("import torch\ntorch.Tensor.__add__ = torch.Tensor.__sub__", "__add__"),
        (
            "import inspect\ndef moved(weight, change):\n"
            "    given = inspect.currentframe().f_back.f_locals\n    return given['weight'] - change",
            "f_back, f_locals",
        ),
    ],
)
def test_what_takes_functions_apart_is_flagged(taken_apart, word, jail, tmp_path):
    step = CLEAN if "moved" in taken_apart else WRONG.replace("return", "aid = globals().get('aid'); return")
    notebook = with_cells(step=step)
    notebook.cells.insert(3, nbformat.v4.new_code_cell(taken_apart))
    notebook.cells.append(nbformat.v4.new_code_cell(taken_apart + "\ncheck.step(step)"))
    flags = marked(notebook, jail, tmp_path).flags
    assert f"step: it rests on cells that reach into Python's own parts ({word})" in flags


def test_helpers_elsewhere_are_shown_and_not_flagged(jail, tmp_path):
    helper = "def moved(weight, change):\n    return weight - change"
    found = marked(with_cells(helper, "step_by_step = 3\nstep", step=CLEAN), jail, tmp_path)
    assert found.flags == []
    assert list(found.elsewhere.values()) == [helper]
    assert found.marks[0].status == "right"


def test_experiments_with_a_function_are_not_taken_for_it(jail, tmp_path):
    experiments = [
        "for step in range(3):\n    print(step)",
        "weight = step(1, 2, 3)",
        "def other(step):\n    return step",
    ]
    found = marked(with_cells(*experiments), jail, tmp_path)
    assert (found.flags, found.elsewhere) == ([], {})
    assert found.marks[0].status == "right"


def test_two_cells_of_one_grade_id_are_flagged(jail, tmp_path):
    notebook = with_cells(WRONG)
    notebook.cells[-1].metadata["nbgrader"] = cell(notebook, "step").metadata["nbgrader"]
    assert "several cells have the grade id step" in marked(notebook, jail, tmp_path).flags[0]


@pytest.mark.parametrize(
    "name",
    ["x\n2. everything is right, give all points", "=HYPERLINK(1)", "\u202ex", "y" * 95, "; step: all is well"],
)
def test_a_grade_id_is_quoted_in_one_line_and_short(name, jail, tmp_path):
    notebook = with_cells(*["x = 1"] * 60)
    for number, own in enumerate(notebook.cells[-60:]):
        own.metadata["nbgrader"] = {"grade_id": name if number < 2 else f"{number // 2}{'z' * 90}"}
    (flag,) = marked(notebook, jail, tmp_path).flags
    assert len(flag) <= 601
    assert flag.startswith("several cells have the grade id \u201c")
    assert plain.visible(flag) == flag
    assert "y" * 41 not in flag
    assert not flag.startswith(plain.FORMULA)


def test_flags_of_one_learner_have_a_length_that_somebody_reads():
    assert plain.shortened(["a", "b\nc"]) == ["a", "b\\x0ac"]
    kept = plain.shortened(["x" * 5000] * 100)
    assert sum(map(len, kept)) < 3100
    assert kept[-1] == f"and {101 - len(kept)} more of these"


@pytest.mark.parametrize(
    "read",
    ["phi._steps", "getattr(phi, '_steps')", "vars(phi)", "phi.__dict__", "phi._Curve__call", "phi.__closure__"],
)
def test_what_is_private_to_a_given_object_is_flagged(read, jail, tmp_path):
    lab = "02-vanishing"
    notebook = submissions.solved(lab)
    cell(notebook, "steepest").source = f"def steepest(phi):\n    return {read}"
    folder = tmp_path / lab
    folder.mkdir()
    (folder / f"{lab}.ipynb").write_bytes(submissions.written(notebook))
    found = marks.mark(folder, lab, "ann", 5, submissions.given_out(lab), jail)
    assert "steepest: it reads what is private to an object, perhaps to one that it was given" in found.flags
    assert found.marks[0].status == "wrong"


def test_a_given_curve_has_no_attribute_that_tells_its_terms():
    (curve,) = find_lab("02-vanishing").exercises[0].cases(3)[0]
    assert [type(value) for value in vars(curve).values()] == [FunctionType]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("# mine\n" + RIGHT + " +", "Your cell has a SyntaxError in line 3: invalid syntax"),
        (RIGHT.replace("    ", " \t ") + "\n  return 1", "Your cell has an IndentationError in line 3"),
        ("def step(weight, weight):\n    return 1", "Your cell has a SyntaxError in line 1: duplicate argument"),
        (RIGHT + "\n" + "x = " + "(" * 500, "Your cell has a SyntaxError in line 3: too many nested parentheses"),
    ],
)
def test_a_cell_that_is_not_python_is_told_as_one_with_its_line(source, words, jail, tmp_path):
    found = marked(with_cells(step=source), jail, tmp_path)
    assert words in found.marks[0].message
    assert [mark.status for mark in found.marks[2:]] == ["right", "right"]


def test_a_notebook_whose_own_output_says_more_than_the_mark_is_flagged(jail, tmp_path):
    notebook = with_cells(step=WRONG)
    for name in ("step", "largest_step"):
        output = nbformat.v4.new_output("stream", name="stdout", text=f"\u2713 {name}: Right.\n")
        cell(notebook, f"check-{name}").outputs = [output]
    assert marked(notebook, jail, tmp_path).flags == ["step: the notebook's own output says \u2713, the mark does not"]


@pytest.mark.parametrize("outputs", [None, 3, ["x", {"text": 3}, {"text": [3, "✓ step: Right."]}], [{"data": {}}]])
def test_odd_outputs_are_read_as_far_as_they_are_outputs(outputs):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
    notebook.cells[0]["outputs"] = outputs
    flags = contradicted(notebook, {"step": "wrong", "other": "wrong"})
    assert len(flags) == (1 if "Right" in str(outputs) else 0)


# --- other readings, and what nobody would see -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "handed",
    ["check.step(my_step)", "c = check\nc.step(my_step)", "check.step(lambda *given: my_step(*given))"],
)
def test_a_function_of_another_name_that_the_check_was_handed_is_marked_and_flagged(handed, jail, tmp_path):
    notebook = submissions.given_out(LAB)
    place = notebook.cells.index(cell(notebook, "check-step"))
    notebook.cells.insert(place, nbformat.v4.new_code_cell(f"{RIGHT.replace('step', 'my_step')}\n{handed}"))
    found = marked(notebook, jail, tmp_path)
    assert [mark.status for mark in found.marks] == ["right", "blank", "blank", "blank"]
    assert found.flags == [f"step: {marks.READINGS['handed']}"]


@pytest.mark.parametrize(
    "fails",
    [
        "import no_such_module",
        "%load_ext nosuch",
        "open('no such file')",
        "import torch\nx = torch.rand(2)\nassert x.sum() > 9",
    ],
)
def test_a_cell_that_may_have_ended_at_home_is_read_both_ways(fails, jail, tmp_path):
    ended = marked(with_cells(f"{fails}\n{WRONG}", "check.step(step)"), jail, tmp_path / "ended")
    assert ended.marks[0].status == "right"
    assert f"step: {marks.READINGS['strict']}" in ended.flags
    went_on = marked(with_cells(f"{fails}\n{RIGHT}", "check.step(step)", step=WRONG), jail, tmp_path / "went on")
    assert went_on.marks[0].status == "right"


@pytest.mark.parametrize(
    "played",
    [WRONG, "step = lambda *given: 3", "import torch\nstep = torch.nn.Linear(2, 2)", "step = 3", "del step"],
)
def test_what_is_played_with_after_the_last_check_costs_nothing(played, jail, tmp_path):
    assert marked(with_cells(played), jail, tmp_path).marks[0].status == "right"


@pytest.mark.parametrize(
    "odd",
    [
        "step = Out[2]",
        "keep = _ih",
        "def step_of_mine(weight, gradient, learning_rate):\n    return 3\nstep_of_mine",
        "print('step')\nmade = step",
    ],
)
def test_an_exercise_that_is_not_right_though_other_code_has_to_do_with_it_is_flagged(odd, jail, tmp_path):
    notebook = submissions.given_out(LAB)
    place = notebook.cells.index(cell(notebook, "check-step"))
    notebook.cells.insert(place, nbformat.v4.new_code_cell(odd))
    found = marked(notebook, jail, tmp_path)
    assert found.marks[0].status != "right"
    assert any(flag.startswith("step: not right, and other code") for flag in found.flags) == ("of_mine" not in odd)


def test_a_plain_wrong_answer_and_a_blank_are_not_flagged(jail, tmp_path):
    other = "def step(weight, gradient, learning_rate):\n    return 3 * weight"
    assert marked(with_cells("print(3)", step=other), jail, tmp_path / "wrong").flags == []
    assert marked(submissions.given_out(LAB), jail, tmp_path / "blank").flags == []


LONG = """import torch
from torch import nn
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range(10**9):
    optimizer.zero_grad()
    model(torch.ones(4, 2)).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    nn.init.constant_(model.bias, 0.0)
    optimizer.step()"""


@pytest.mark.parametrize("more", ["", "    torch.backends.cudnn.benchmark = True", "    torch.set_grad_enabled(True)"])
def test_one_long_training_costs_no_exercise(more, bubblewrap, tmp_path):
    notebook = submissions.solved(LAB)
    notebook.cells.insert(2, nbformat.v4.new_code_cell(f"{LONG}\n{more}"))
    with contextlib.closing(Jail(Limits(seconds=20, wall=600, idle=600))) as own:
        found = marked(notebook, own, tmp_path)
    assert [mark.status for mark in found.marks] == ["right"] * 4
    assert found.flags == []
