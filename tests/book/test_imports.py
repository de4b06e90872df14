"""What a page stands on, found on small made-up packages: what counts when it changes, and what does not."""

from pathlib import Path

import pytest

from tests.helpers import ROOT
from tools.imports import Sources

PACKAGE = {
    "__init__": "",
    "theory": (
        '"""Predictions."""\n\nLEAK = 0.01\n\n\ndef slope(x):\n    """The slope."""\n    return x * LEAK  # as stated\n'
    ),
    "figures/__init__": "from small.figures.depth import phase_diagram\nfrom .time import *\n",
    "figures/depth": (
        "from small import theory\nfrom ._style import styled\n\n\n@styled\ndef phase_diagram(x):\n"
        "    return theory.slope(x)\n\n\n@styled\ndef overflow(x):\n    return x\n"
    ),
    "figures/time": "def through_time(x):\n    from ..lazy import steps\n\n    return steps(x)\n",
    "figures/_style": "def styled(function):\n    return function\n",
    "lazy": "def steps(x):\n    return range(x)\n\n\ndef idle(x):\n    return x\n",
    "claims": (
        "_CLAIMS = {}\n\n\ndef claim(id):\n    def register(function):\n        _CLAIMS[id] = function\n"
        "        return function\n\n    return register\n\n\ndef finding(id):\n    return _CLAIMS[id]()\n"
    ),
    "chapter": (
        "from small.claims import claim\n\n\n@claim('S1')\ndef _s1():\n    return 1\n\n\ndef free():\n    return 2\n"
    ),
    "exercises": "import importlib\n\n\ndef labs():\n    return importlib.import_module('small.' + 'lazy')\n",
    "__main__": "from small import lazy\n\nlazy.steps(3)\n",
    "hooks": "import atexit\n\natexit.register(print, 'over')\n\n\ndef idle(x):\n    return x\n",
    "uses_hooks": "from small import hooks\n\nSIZE = 3\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, source in PACKAGE.items():
        file = tmp_path / "small" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return tmp_path


def key(root: Path, *cells: str) -> str:
    sources = Sources(root, ["small"])
    return sources.digest(sources.of_page(cells))


def changed(root: Path, module: str, old: str, new: str, *cells: str) -> bool:
    """Whether the key of a page with these cells is another one after a change in a module."""
    before, file = key(root, *cells), root / "small" / f"{module}.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return key(root, *cells) != before


PHASES = "from small import figures\nfigures.phase_diagram(3)"
TIME = "from small import figures\nfigures.through_time(3)"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("theory", "The slope.", "How steep it is."),
        ("theory", "Predictions.", "What should be measured."),
        ("theory", "  # as stated", ""),
        ("theory", "x * LEAK", "(x\n        * LEAK)"),
        ("figures/depth", "return x\n", "return -x\n"),
        ("figures/time", "steps(x)", "steps(-x)"),
        ("claims", "_CLAIMS[id]()", "_CLAIMS[id]"),
    ],
    ids=["docstring", "docstring of the file", "comment", "line break", "sibling", "another file", "another module"],
)
def test_what_a_page_does_not_stand_on_leaves_its_key(package, module, old, new):
    assert not changed(package, module, old, new, PHASES)


@pytest.mark.parametrize(
    ("module", "old", "new", "cell"),
    [
        ("figures/depth", "slope(x)", "slope(-x)", PHASES),
        ("theory", "x * LEAK", "x + LEAK", PHASES),
        ("theory", "0.01", "0.02", PHASES),
        ("figures/_style", "return function", "return print", PHASES),
        ("figures/depth", "from small import theory", "import numpy as theory", PHASES),
        ("lazy", "range(x)", "range(-x)", TIME),
        ("lazy", "range(x)", "range(-x)", "from small.figures import through_time\nthrough_time(3)"),
        ("lazy", "range(x)", "range(-x)", "from small.figures import *\nthrough_time(3)"),
        ("lazy", "range(x)", "range(-x)", "import small.lazy\nsmall.lazy.steps(3)"),
        ("lazy", "range(x)", "range(-x)", "import small.lazy as quick\nquick.steps(3)"),
        ("lazy", "range(x)", "range(-x)", "def f():\n    from small import lazy\n\n    return lazy.steps(3)"),
        ("lazy", "range(x)", "range(-x)", "%%writefile x.py\nfrom small import lazy\nlazy.steps(3)"),
        ("lazy", "range(x)", "range(-x)", "%%time\nfrom small import lazy\n%time lazy.steps(3)"),
        ("lazy", "range(x)", "range(-x)", "!python -m small.lazy"),
        ("lazy", "range(x)", "range(-x)", "run(['python', '-m', 'small'])"),
        ("lazy", "range(x)", "range(-x)", "run('from small import lazy; lazy.steps(3)')"),
        ("lazy", "range(x)", "range(-x)", "from small import exercises\nexercises.labs()"),
        ("hooks", "over", "the end", "from small.uses_hooks import SIZE"),
    ],
)
def test_what_a_page_stands_on_changes_its_key(package, module, old, new, cell):
    assert changed(package, module, old, new, cell)


@pytest.mark.parametrize(
    "cell",
    [
        "from small import figures\nfigures.unheard_of(3)",
        "from small import figures\ngetattr(figures, name)(3)",
        "from small.figures import *",
        "from small import *",
        "from small.figures.depth import unheard_of\nunheard_of(3)",
        "from small import figures\n6 *",
    ],
    ids=["unknown attribute", "getattr", "star", "star of all", "unknown name", "no Python"],
)
def test_where_the_source_does_not_tell_everything_below_counts(package, cell):
    assert changed(package, "figures/depth", "return x\n", "return -x\n", cell)


def test_what_enters_itself_in_a_registry_counts_for_whoever_reads_it(package):
    asks = "from small import chapter\nfrom small.claims import finding\nfinding('S1')"
    assert changed(package, "chapter", "return 1", "return 10", asks)
    assert not changed(package, "chapter", "return 2", "return 20", asks)
    assert not changed(package, "chapter", "return 10", "return 1", "from small import chapter\nchapter.free()")


def test_a_name_has_a_key_of_its_own(package):
    sources = Sources(package, ["small"])
    reached = sources.of_name("small.figures.depth", "phase_diagram")
    assert ("small.theory", "LEAK") in reached
    assert ("small.figures.depth", "overflow") not in reached
    with pytest.raises(ValueError, match="unheard_of"):
        sources.of_name("small.figures.depth", "unheard_of")


def test_texts_are_told_from_docstrings(package):
    sources = Sources(package, ["small"])
    assert sources.texts(sources.of_name("small.theory", "slope")) == set()
    assert sources.texts(sources.of_name("small.chapter", "_s1")) == {"S1"}


def test_every_module_of_the_course_can_be_read():
    sources = Sources(ROOT)
    modules = sources.modules("gradclinic")
    assert {"gradclinic", "gradclinic.recorder", "gradclinic.course.audit.claims"} <= set(modules)
    everything = sources.of_page(["import gradclinic\nprint(gradclinic)"])
    assert {place.module for place in everything} == set(modules)
