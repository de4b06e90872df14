"""Which modules of the package a source imports."""

import ast
from pathlib import Path

from tests.helpers import ROOT

PACKAGE = ROOT / "gradclinic"
COURSE = PACKAGE / "course"


def modules(folder: Path = PACKAGE) -> dict[str, list[Path]]:
    """Name of each module in a wing of the package -> its files. A folder counts as one module."""
    found = {path.stem: [path] for path in folder.glob("*.py") if path.stem != "__init__"}
    for inner in folder.iterdir():
        if (inner / "__init__.py").exists():
            found[inner.name] = sorted(inner.rglob("*.py"))
    return found


def imported(source: str, wing: str = "gradclinic") -> set[str]:
    """Modules of a wing that a source imports, at the top, inside a function or relative to itself.

    ``wing`` is the dotted name of its folder. Importing the whole wing gives its own name: everything at once.
    """
    root = wing.split(".")[0]
    last = wing.split(".")[-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [wing if node.level else "", node.module]))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == wing:
                found.add(last)
            elif name.startswith(f"{wing}."):
                found.add(name.removeprefix(f"{wing}.").split(".")[0])
            elif wing == root and name == root:
                found.add(root)
    return found
