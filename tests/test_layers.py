"""Who stands on whom: in each wing a module imports from rows below its own, and the tool knows no course."""

import ast

import pytest

from tests.helpers import ROOT
from tests.helpers.imports import COURSE, PACKAGE, imported, modules

# From the bottom up. A folder counts as one module.
TOOL = [
    {"arguments", "chance", "recordfile", "trace"},
    {"record", "remedies"},
    {"rules"},
    {"diagnosis"},
    {"recording"},
    {"recorder"},
    {"plots", "tensorboard"},
    {"monitor"},  # what the callbacks share
    {"lightning", "transformers"},
]
LESSONS = [  # the course; all of the tool lies below it
    {"theory"},
    {"initializers", "data"},
    {"models", "attention", "treatment", "live"},
    {"training", "figures"},
    {"explore", "audit", "exercises", "demo"},
    {"predict"},
]
NAMES = {"Diagnosis", "Record", "Recorder", "chance_loss", "diagnose", "probe", "trace_nonfinite"}  # the package itself
ROW = {module: number for number, row in enumerate(TOOL) for module in row}
LESSON_ROW = {module: number for number, row in enumerate(LESSONS) for module in row}
DOOR = {"__main__"}  # the command: the one file of the tool that may open the course


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from gradclinic.record import Record", {"record"}),
        ("from gradclinic import plots, tensorboard", {"plots", "tensorboard"}),
        ("from gradclinic import Recorder", {"Recorder"}),
        ("import gradclinic.plots as p", {"plots"}),
        ("import gradclinic", {"gradclinic"}),
        ("from . import plots", {"plots"}),
        ("from .recorder import Record", {"recorder"}),
        ("from gradclinic.recording.sizes import square", {"recording"}),
        ("from gradclinic.course.models import MLP", {"course"}),
        ("def f():\n    from gradclinic.course import theory", {"course"}),
        ("import torch\nfrom gradclinics import x", set()),
    ],
)
def test_every_way_to_import_is_seen(source, expected):
    assert imported(source) == expected


def test_the_course_is_seen_by_module():
    assert imported("from gradclinic.course import theory, audit", "gradclinic.course") == {"theory", "audit"}
    assert imported("from gradclinic.course.models import MLP", "gradclinic.course") == {"models"}
    assert imported("from gradclinic import course", "gradclinic.course") == {"course"}


def test_every_module_has_a_row():
    assert set(modules()) == set(ROW) | DOOR | {"course"}, "give it a row in this file: what does it stand on?"
    assert set(modules(COURSE)) == set(LESSON_ROW), "give it a row in this file: what does it stand on?"


@pytest.mark.parametrize("module", sorted(set(modules()) - DOOR - {"course"}))
def test_a_module_of_the_tool_imports_only_from_rows_below_its_own(module):
    for path in modules()[module]:
        above = {name for name in imported(path.read_text()) if name != module and ROW.get(name, 99) >= ROW[module]}
        assert not above, f"{path.name} imports {above}, which do not stand below {module}"


@pytest.mark.parametrize("module", sorted(modules(COURSE)))
def test_a_module_of_the_course_imports_only_from_rows_below_its_own(module):
    for path in modules(COURSE)[module]:
        source = path.read_text()
        found = imported(source, "gradclinic.course") - {module}
        above = {name for name in found if LESSON_ROW.get(name, 99) >= LESSON_ROW[module]}
        assert not above, f"{path.name} imports {above}, which do not stand below {module}"
        of_the_tool = imported(source) - {"course"}
        assert of_the_tool <= set(ROW) | NAMES, f"{path.name} imports {of_the_tool}"


@pytest.mark.parametrize("path", modules(COURSE)["theory"], ids=lambda path: path.stem)
def test_theory_knows_nothing_of_what_is_measured(path):
    source = path.read_text()
    assert imported(source, "gradclinic.course") <= {"theory"}, "a prediction must not know what it is compared with"
    assert imported(source) <= {"arguments", "course"}, "of the tool it takes the check of an argument, and no more"


def test_there_is_no_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "common", "misc", "helpers"}
    assert not drawers & {path.stem for path in PACKAGE.rglob("*")}, "give the code a name for what it does"


def test_a_test_file_imports_no_other_test_file():
    for path in (ROOT / "tests").rglob("*.py"):
        imports = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = {f"{getattr(node, 'module', None) or ''}.{alias.name}" for node in imports for alias in node.names}
        borrowed = {name for name in names if any(part.startswith("test_") for part in name.split("."))}
        assert not borrowed, f"{path.name} imports {borrowed}; what tests share stands in tests/helpers"


@pytest.mark.parametrize("path", sorted((ROOT / "gradclinic").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_longer_than_500_lines_and_no_class_than_250(path):
    text = path.read_text()
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    assert len(text.splitlines()) <= 500
    assert [c.name for c in classes if c.end_lineno - c.lineno + 1 > 250] == []
