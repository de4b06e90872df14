"""Fresh interpreters in which some libraries cannot be imported, as if they were not installed."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

# Whoever looks for one of these finds nothing: importing it fails, and asking whether it is there says no.
_WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {names!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


class Bare:
    """Runs Python with ``package`` first on its path, and without some libraries.

    Args:
        folder: an empty one, for what makes them absent.
        absent: their names, as they are imported.
        package: the folder that holds the packages to be tried.
    """

    def __init__(self, folder: Path, absent: Iterable[str], package: Path):
        # Python imports a module of this name at its start
        (folder / "sitecustomize.py").write_text(_WITHOUT.format(names=set(absent)))
        path = os.pathsep.join([str(folder), str(package)])
        self._environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self._folder = folder

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """``python`` with these arguments; whatever its exit status is."""
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=self._environment, cwd=self._folder
        )
