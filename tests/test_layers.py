"""The house stays calm: a module imports only from the rows below its own."""

import ast
from pathlib import Path

import pytest

import gradlab

PACKAGE = Path(gradlab.__file__).parent

# From the ground up. Modules of one row do not import each other.
ROWS = [
    {"theory"},
    {"initializers"},
    {"models", "data"},
    {"recorder", "training"},
    {"plots"},
    {"explore", "audit", "exercises"},
]
HEIGHT = {module: height for height, row in enumerate(ROWS) for module in row}

FILES = {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """Names of the modules of the package that a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gradlab":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {n.name.split(".")[1] for n in node.names if n.name.startswith("gradlab.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path.name}: relative import"
    return found


def test_every_module_has_its_row():
    assert set(FILES.values()) - {"__init__"} == set(HEIGHT)


@pytest.mark.parametrize("path", [p for p, name in FILES.items() if name != "__init__"], ids=lambda p: p.stem)
def test_a_module_imports_only_from_rows_below(path):
    own = FILES[path]
    for other in imported(path) - {own}:  # the parts of exercises are one module
        assert HEIGHT[other] < HEIGHT[own], f"{own} imports {other}"


def test_theory_knows_no_network():
    assert imported(PACKAGE / "theory.py") == set()
