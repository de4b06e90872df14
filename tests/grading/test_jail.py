"""What is out of reach in the jail, what may be asked of it, and how its end is told."""

import ast
import contextlib
import shutil
import sys
from importlib.util import find_spec

import cloudpickle
import nbformat
import pytest
import torch

from gradclinic.course.exercises import Exercise
from tests.helpers import ROOT
from tests.helpers.imports import imported
from tools.grading import jail as outside
from tools.grading.cells import statements
from tools.grading.jail import Jail, Limits, NoJail, packed

ONCE = cloudpickle.dumps([()])

# What a learner's code sees at each place: the names in a folder, the head of a file, or the name of the error.
LOOK = """
import os
def look():
    seen = []
    for place in PLACES:
        try:
            seen.append(sorted(os.listdir(place)) if os.path.isdir(place) else open(place).read(9))
        except OSError as error:
            seen.append(type(error).__name__)
    return seen
"""


def seen(jail, places):
    reply = jail.ask("look", [f"PLACES = {[str(place) for place in places]}", LOOK], ONCE)
    assert reply["status"] == "answers", reply
    return reply["answers"][0]


def test_the_references_the_solutions_and_the_gradebook_cannot_be_read(jail, tmp_path):
    book = tmp_path / "gradebook.db"
    book.write_text("marks")
    there = [ROOT / outside.REFERENCES / "vanishing.py", ROOT / "solutions", ROOT / "labs", ROOT / "tests", book]
    assert all(place.exists() for place in there)
    assert seen(jail, there) == ["FileNotFoundError"] * len(there)
    package, references = seen(jail, ["/jail/gradclinic", "/jail/gradclinic/course/exercises"])
    assert package == sorted(path.name for path in (ROOT / "gradclinic").iterdir()), "the package itself is there"
    assert references == []


def test_the_references_cannot_be_imported(jail):
    cells = ["def learn():\n    from gradclinic.course.exercises import vanishing\n    return 1"]
    assert jail.ask("learn", cells, ONCE)["message"].startswith("ImportError")


def test_references_that_pip_installed_beside_python_are_covered_too(bubblewrap, monkeypatch, tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    shutil.copytree(ROOT / "gradclinic", packages / "gradclinic")
    tmp_path.chmod(0o755)  # learners are nobody
    monkeypatch.setattr(outside, "PYTHON", (*outside.PYTHON, tmp_path))
    with contextlib.closing(Jail()) as jail:
        beside, references = seen(jail, [packages / "gradclinic" / "py.typed", packages / outside.REFERENCES])
    assert beside == "", "the file, which is empty: the copy is within reach"
    assert references == []


def test_how_much_comes_back_is_counted(bubblewrap):
    bodies = {
        "[0] * 90": "answers",
        "[0] * 110": "large",
        "[0] * 3_000_000": "large",
        "[[0] * 40] * 3": "large",
        "torch.zeros(110)": "large",
        "'x' * 1100": "large",
    }
    with contextlib.closing(Jail(Limits(entries=100, answer_bytes=1000))) as jail:
        for body, status in bodies.items():
            reply = jail.ask("f", [f"import torch\ndef f():\n    return {body}"], ONCE)
            assert reply["status"] == status, body


def test_after_a_jail_was_broken_the_next_answer_comes_from_a_new_one(jail, monkeypatch):
    assert seen(jail, ["/nowhere"]) == [[]]
    with monkeypatch.context() as broken:
        broken.setattr(outside, "exchange", lambda process, task, seconds: None)
        assert jail.ask("f", [], ONCE) == {"status": "died"}
    assert seen(jail, ["/nowhere"]) == [[]]


def test_without_bubblewrap_there_is_no_jail(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoJail, match="bubblewrap"):
        Jail().ask("f", [], ONCE)


def test_a_sandbox_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(outside, "sandbox", lambda: [sys.executable, "-c", "raise SystemExit('no room here')"])
    with pytest.raises(NoJail, match="no sandbox can be started here: no room here"):
        Jail().ask("f", [], ONCE)


def test_a_case_arrives_as_it_was_with_its_gradients(jail):
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    weight.grad = torch.tensor([0.25, 0.5])
    exercise = Exercise("1.1-f", 1, (), "core", lambda seed: [(weight,)], lambda weight: weight, ())
    cells = ["def f(weight):\n    return [weight, weight.grad, weight.requires_grad, type(weight).__name__]"]
    reply = jail.ask("f", cells, packed(exercise, 0))
    assert reply == {"status": "answers", "answers": [[[1.0, 2.0], [0.25, 0.5], True, "Parameter"]]}


def test_what_the_labs_import_is_there_before_a_learners_code_runs(jail):
    wanted = set()
    for path in (ROOT / "solutions").glob("*/*.ipynb"):
        code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        source = "\n".join(ast.unparse(statement) for statement in statements(code))
        wanted |= {f"gradclinic.{name}" for name in imported(source)}
        wanted |= {f"gradclinic.course.{name}" for name in imported(source, "gradclinic.course") - {"exercises"}}
    wanted = {name for name in wanted if find_spec(name)}  # not the names that a module gives
    assert {"gradclinic.plots", "gradclinic.course.audit"} <= wanted
    cells = ["import sys\ndef f():\n    return list(sys.modules)"]
    assert wanted <= set(jail.ask("f", cells, ONCE)["answers"][0])
