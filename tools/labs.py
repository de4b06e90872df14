"""Generate labs/ from solutions/, run both, and keep only the outputs that are checked: `make labs`.

python -m tools.labs [LAB ...] [--into FOLDER]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from tqdm import tqdm

from tools.runs import execute, write

ROOT = Path(__file__).resolve().parent.parent
CHECKED = "# NBVAL_CHECK_OUTPUT"


def names(root: Path = ROOT) -> list[str]:
    return sorted(path.parent.name for path in (root / "solutions").glob("*/*.ipynb"))


def generate(lab: str, into: Path, root: Path = ROOT) -> Path:
    """Let nbgrader make the learner's notebook of ``lab`` from its solution; of all of them for "*".

    Returns the path of the notebook, below ``into``.
    """
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", lab, "--force", "--no-db"]
    command += [f"--CourseDirectory.release_directory={into}", "--log-level=ERROR"]
    helpers = str(Path(sys.executable).parent)  # nbgrader looks for them on the path
    path = os.pathsep.join([helpers, os.environ["PATH"]])
    subprocess.run(command, cwd=root, env=os.environ | {"PATH": path}, check=True)
    return into / lab / f"{lab}.ipynb"


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what differs from run to run, and without outputs that nothing checks, so that a diff shows text."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of this run
        if cell.cell_type == "code" and CHECKED not in cell.source:
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def make(lab: str, into: Path) -> None:
    """Run the solution of ``lab`` in place, then generate and run the learner's notebook into ``into``."""
    source = ROOT / "solutions" / lab / f"{lab}.ipynb"
    write(stripped(execute(nbformat.read(source, as_version=4), source.parent)), source)
    with tempfile.TemporaryDirectory() as folder:
        blank = generate(lab, Path(folder))
        write(stripped(execute(nbformat.read(blank, as_version=4), blank.parent)), into / lab / f"{lab}.ipynb")
        for file in (Path(folder) / lab).iterdir():
            if file.suffix != ".ipynb":  # what a lab brings along, such as a recorded run
                shutil.copy(file, into / lab)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", help="which labs; all unless told")
    parser.add_argument("--into", type=Path, default=ROOT / "labs", help="where the learner's notebooks go")
    arguments = parser.parse_args()
    unknown = set(arguments.labs) - set(names())
    if unknown:
        parser.error(f"no lab is called {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    for lab in tqdm(arguments.labs or names(), desc="labs", unit="lab"):
        make(lab, arguments.into.resolve())
