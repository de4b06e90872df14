"""Generate labs/ from solutions/, run both, and keep only the outputs that are checked: `make labs`.

python tools/labs.py [LAB ...] [--into FOLDER]
"""

import argparse
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
CHECKED = "# NBVAL_CHECK_OUTPUT"


def names(root: Path = ROOT) -> list[str]:
    return sorted(path.parent.name for path in (root / "solutions").glob("*/*.ipynb"))


def generate(lab: str, into: Path, root: Path = ROOT) -> Path:
    """Let nbgrader make the learner's notebook of ``lab`` from its solution; returns its path."""
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", lab, "--force", "--no-db"]
    command += [f"--CourseDirectory.release_directory={into}", "--log-level=WARN"]
    subprocess.run(command, cwd=root, check=True)
    return into / lab / f"{lab}.ipynb"


def execute(path: Path) -> None:
    """Run a notebook in place. Outputs stay only in cells whose output is checked, so that a diff shows text."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of this run
        if cell.cell_type == "code" and CHECKED not in cell.source:
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", help="which labs; all unless told")
    parser.add_argument("--into", type=Path, default=ROOT / "labs", help="where the learner's notebooks go")
    arguments = parser.parse_args()
    unknown = set(arguments.labs) - set(names())
    if unknown:
        parser.error(f"no lab is called {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    for lab in tqdm(arguments.labs or names(), desc="labs", unit="lab"):
        execute(ROOT / "solutions" / lab / f"{lab}.ipynb")
        execute(generate(lab, arguments.into.resolve()))
