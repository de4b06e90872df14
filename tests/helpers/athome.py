"""What a learner sees at home: notebooks run in IPython's own shell, cell by cell, each in a process of its own.

As a program it reads a list of notebooks (lists of code cells) as JSON from its input, and writes what each printed.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from tests.helpers import ROOT
from tests.helpers.ways import IMPORTS


def printed(notebooks: Sequence[Sequence[str]]) -> list[str]:
    """What the cells of each notebook print, those after an error too."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "IPYTHONDIR": folder, "HOME": folder}
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps(notebooks),
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            check=True,
        )
    told: list[str] = json.loads(done.stdout.splitlines()[-1])
    return told


def _run(cells: Sequence[str]) -> str:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    said, without = io.StringIO(), Config()
    without.HistoryManager.enabled = False
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        shell = InteractiveShell.instance(config=without)
        sys.path.insert(0, "")  # as a kernel has it
        shell.enable_gui = lambda gui=None: None  # which a shell in a terminal and a kernel have
        for cell in cells:
            shell.run_cell(cell, store_history=True)
    return said.getvalue()


def _main() -> None:
    import matplotlib.pyplot  # noqa: F401  (what takes long to import, once for all)
    from IPython.core import interactiveshell  # noqa: F401

    warm: dict[str, Any] = {}
    exec(IMPORTS, warm)
    first = warm["check"].exercises[0]
    first.attempt(first.reference)  # PyTorch imports more of itself when an optimiser is first used
    told = []
    for cells in json.load(sys.stdin):
        reading, writing = os.pipe()
        if os.fork() == 0:
            with os.fdopen(writing, "w") as pipe:
                pipe.write(_run(cells))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told.append(pipe.read())
        os.wait()
    print(json.dumps(told))


if __name__ == "__main__":
    _main()
