"""Who may import whom: a module stands only on rows below its own, so that no prediction rests on a measurement."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gradlab"

# From the bottom up. A folder counts as one module. Modules that the design names and that are not yet written
# have their place already.
ROWS = [
    {"theory"},
    {"initializers", "data"},
    {"models", "record", "anatomy"},
    {"sizes"},
    {"ranks"},
    {"recorder", "training"},
    {"plots", "diagnosis", "tensorboard"},
    {"explore", "audit", "exercises", "callbacks", "__main__"},
]
ROW = {module: number for number, row in enumerate(ROWS) for module in row}


def modules() -> dict[str, list[Path]]:
    """Name of each module of the package -> its files."""
    found = {path.stem: [path] for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    for folder in PACKAGE.iterdir():
        if (folder / "__init__.py").exists():
            found[folder.name] = sorted(folder.rglob("*.py"))
    return found


def imported(source: str, package: str = "gradlab") -> set[str]:
    """Modules of the package that a source imports, at the top, inside a function or relative to itself."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            names = [f"{base}.{alias.name}" for alias in node.names] if base == package else [base]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith(f"{package}.")}
        if package in names:
            found.add(package)  # the whole package: everything at once
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from gradlab.models import MLP", {"models"}),
        ("from gradlab import theory, plots", {"theory", "plots"}),
        ("import gradlab.data as d", {"data"}),
        ("import gradlab", {"gradlab"}),
        ("from . import audit", {"audit"}),
        ("from .recorder import Record", {"recorder"}),
        ("def f():\n    from gradlab.training import fit", {"training"}),
        ("import torch\nfrom gradlabs import x", set()),
    ],
)
def test_every_way_to_import_is_seen(source, expected):
    assert imported(source) == expected


def test_every_module_has_a_row():
    missing = set(modules()) - set(ROW)
    assert not missing, f"give {missing} a row in this file: what does it stand on?"


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_rows_below_its_own(module):
    for path in modules()[module]:
        above = {name for name in imported(path.read_text()) if name != module and ROW.get(name, 99) >= ROW[module]}
        assert not above, f"{path.name} imports {above}, which do not stand below {module}"


def test_theory_knows_nothing_of_the_package():
    assert imported((PACKAGE / "theory.py").read_text()) == set(), "a prediction must not know what it is compared with"


def test_there_is_no_drawer_for_odds_and_ends():
    assert not {"utils", "util", "common", "misc"} & set(modules()), "give the code a name for what it does"
