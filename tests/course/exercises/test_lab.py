"""What a learner sees of a lab: one line for each check. And how a lab is found."""

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

from gradclinic.course.exercises import Exercise, Lab, Mistake, find_lab, labs
from tests.helpers import ROOT


@pytest.fixture
def lab():
    double = Exercise(
        id="0.1-double",
        points=1,
        claims=(),
        level="warm-up",
        cases=lambda seed: [(1.0 + seed,), (2.5,)],
        reference=lambda x: 2 * x,
        mistakes=(Mistake("squared", lambda x: x * x, "You multiplied by itself."),),
    )
    return Lab("00-example", (double,))


def blank(x):
    raise NotImplementedError()


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda x: x + x, "✓ double: Right."),
        (lambda x: x * x, "✗ double (squared): You multiplied by itself."),
        (blank, "○ double: Not attempted yet."),
        (lambda x: 3 * x, "✗ double: Not yet: it gives 3 where 2 is right. There x = 1. Of 2 tries 0 are right."),
        (4.0, "✗ double: Pass the function itself, without calling it: got 4.0."),
    ],
)
def test_a_check_prints_one_line_and_stops_only_the_grader(lab, function, line, capsys, monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    lab.double(function)
    assert capsys.readouterr().out == line + "\n"
    for mode in ("autograde", "validate"):
        monkeypatch.setenv("NBGRADER_EXECUTION", mode)
        if line.startswith("✓"):
            lab.double(function)
        else:
            with pytest.raises(AssertionError, match="double"):
                lab.double(function)


def test_an_unknown_check_names_the_known_ones(lab):
    with pytest.raises(AttributeError, match=r"'duoble'.*double"):
        lab.duoble(blank)


# --- what an experiment runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "line", "answer"),
    [
        (lambda x: x + x, "▸ double: yours runs here.", 8.0),
        (lambda x: x * x, "▸ double: ours runs here, until yours is right.", 8.0),
        (blank, "▸ double: ours runs here, until yours is right.", 8.0),
        (4.0, "▸ double: ours runs here, until yours is right.", 8.0),
    ],
)
def test_an_experiment_runs_a_right_answer_and_else_ours_and_says_which(lab, function, line, answer, capsys):
    used = lab.double.use(function)
    assert capsys.readouterr().out == line + "\n"
    assert used(4.0) == answer
    assert capsys.readouterr().out == ""


def test_it_is_the_learners_own_function_that_runs(lab, capsys):
    seen = []

    def double(x):
        seen.append(x)
        return 2 * x

    lab.double(double)
    tried = len(seen)
    used = lab.double.use(double)
    assert len(seen) == tried, "what the check found out is kept"
    assert used(21.0) == 42.0
    assert seen[tried:] == [21.0]


def test_another_function_of_the_name_is_judged_anew(lab, capsys):
    lab.double(lambda x: 2 * x)
    assert lab.double.use(lambda x: 3 * x)(4.0) == 8.0
    assert "ours runs here" in capsys.readouterr().out


def test_what_stops_in_an_experiment_is_replaced_by_ours_from_there_on(lab, capsys):
    def fragile(x):
        if x > 100:
            raise KeyError(x)
        return 2 * x

    used = lab.double.use(fragile)
    assert [used(3.0), used(200.0), used(5.0)] == [6.0, 400.0, 10.0]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "▸ double: yours runs here.",
        "▸ double: yours stopped here with KeyError: 200.0 From here on ours runs.",
    ]
    assert lab.double.use(lambda x: 2 * x if x < 100 else None)(200.0) == 400.0


def test_a_function_that_writes_into_what_it_gets_spoils_no_experiment_and_a_gradient_comes_through(lab):
    weight, gradient = torch.ones(3), torch.ones(3)

    def step(weight, gradient, rate):
        weight -= rate * gradient
        return weight

    check = find_lab("01-gradient-descent")
    assert torch.equal(check.step.use(step)(weight, gradient, 0.5), torch.full((3,), 0.5))
    assert torch.equal(weight, torch.ones(3))
    h = torch.ones(2, 2, requires_grad=True)
    out = find_lab("07-skip-connections").block.use(lambda h, w, s: h + s * torch.tanh(h @ w.T))(h, torch.eye(2), 1.0)
    out.sum().backward()
    assert (h.grad > 1).all()


@pytest.mark.parametrize("form", [list, tuple, np.array, torch.tensor, lambda row: [torch.tensor(n) for n in row]])
def test_a_row_of_numbers_comes_back_as_a_tensor_in_whichever_form_it_was_given(form):
    row = Exercise(
        id="0.1-row", points=1, claims=(), level="core", cases=lambda seed: [(1.0 + seed,)],
        reference=lambda x: [x, 2 * x], mistakes=(),
    )  # fmt: skip
    used = Lab("00-example", (row,)).row.use(lambda x: form([x, 2 * x]))
    assert isinstance(used(3.0), torch.Tensor)
    assert used(3.0).tolist() == [3.0, 6.0]


def test_the_answer_is_not_to_be_read_off_what_an_experiment_gets(lab):
    used = lab.double.use(blank)
    assert "2 * x" not in inspect.getsource(used)


def test_answers_are_tried_on_several_seeds(lab, capsys):
    lab.double(lambda x: 2 * x if x < 2 else 5.0)  # right on seed 0 alone
    assert capsys.readouterr().out.startswith("✗ double: Not yet: it gives 5 where 4 is right.")


def test_help_on_a_check_says_what_it_does(lab):
    assert "in one line whether that is right" in inspect.getdoc(lab.double)
    assert type(lab.double).__name__ == "Check"


# --- finding a lab ---------------------------------------------------------------------------------------------------


def test_every_lab_folder_has_its_exercises_in_order():
    folders = sorted(path.name for path in (ROOT / "solutions").iterdir() if path.is_dir())
    assert [lab.name for lab in labs()] == folders


def test_every_module_that_defines_a_lab_is_found():
    folder = ROOT / "gradclinic" / "course" / "exercises"
    defining = [path.stem for path in folder.glob("*.py") if "\ncheck = Lab(" in path.read_text()]
    checks = [importlib.import_module(f"gradclinic.course.exercises.{module}").check for module in defining]
    assert set(checks) == set(labs()), "a new lab takes a line in the list of lab.py"


def test_a_lab_is_found_by_its_name():
    assert find_lab("02-vanishing").name == "02-vanishing"
    with pytest.raises(ValueError, match=r"'11-dreams'.*01-gradient-descent"):
        find_lab("11-dreams")


def test_only_the_lab_that_is_asked_for_is_imported():
    code = (
        "import sys\n"
        "from gradclinic.course.exercises import find_lab\n"
        "find_lab('07-skip-connections')\n"
        "print(sorted(m.rpartition('.')[2] for m in sys.modules if m.startswith('gradclinic.course.exercises.')))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "['check', 'draws', 'exercise', 'lab', 'skips']"
