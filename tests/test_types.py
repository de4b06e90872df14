"""The whole package is typed strictly, the course too: `make lint` checks it, and no module is excused."""

import tomllib

from tests.helpers import ROOT
from tests.helpers.imports import PACKAGE

MYPY = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]


def test_mypy_is_strict_on_the_whole_package():
    assert MYPY["strict"] is True
    assert MYPY["packages"] == ["gradclinic"]
    assert not {"exclude", "ignore_errors", "follow_imports"} & set(MYPY)


def test_no_module_of_ours_is_excused():
    excused = [module for override in MYPY["overrides"] for module in override["module"]]
    assert not [module for module in excused if module.startswith(("gradclinic", "*"))]
    inside = [path.name for path in PACKAGE.rglob("*.py") if "# mypy:" in path.read_text()]
    assert not inside, f"{inside} change the rules for themselves"
