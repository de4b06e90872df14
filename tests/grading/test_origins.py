"""Whether an answer comes from the cell that a person reads, and whether the notebook's own word is heard."""

import nbformat
import pytest

from tests.helpers import submissions
from tests.helpers.submissions import LAB, cell
from tools.grading import marks
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
