"""What a learner sees of a lab: one line for each check. And how a lab is found."""

import importlib
import subprocess
import sys

import pytest

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
        (lambda x: 3 * x, "✗ double: Not yet: on one of the tries it gives 3 where 2 is right."),
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
    assert told.strip() == "['draws', 'exercise', 'lab', 'skips']"
