"""Generate labs/ from solutions/, run both, and keep only the outputs that are checked: `make labs`.

python tools/labs.py [LAB ...] [--into FOLDER]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
CHECKED = "# NBVAL_CHECK_OUTPUT"

# A cell that prints [CPU seconds, most bytes of memory] of its kernel. On Linux not by getrusage, where a process
# begins with the most that its parent ever held.
METER = """
import json, pathlib, resource
used, status = resource.getrusage(resource.RUSAGE_SELF), pathlib.Path("/proc/self/status")
peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 if status.exists() else used.ru_maxrss
print(json.dumps([used.ru_utime + used.ru_stime, peak]))
"""


def names(root: Path = ROOT) -> list[str]:
    return sorted(path.parent.name for path in (root / "solutions").glob("*/*.ipynb"))


def generate(lab: str, into: Path, root: Path = ROOT) -> Path:
    """Let nbgrader make the learner's notebook of ``lab`` from its solution; returns its path, below ``into``."""
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", lab, "--force", "--no-db"]
    command += [f"--CourseDirectory.release_directory={into}", "--log-level=ERROR"]
    subprocess.run(command, cwd=root, check=True)
    return into / lab / f"{lab}.ipynb"


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook. Outputs stay only in cells whose output is checked, so that a diff shows text."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        coalesce_streams=True,  # how a kernel cuts its text into pieces differs from run to run
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": path.parent}},
    ).execute()
    return stripped(notebook)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what differs from run to run, and without outputs that nothing checks."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of this run
        if cell.cell_type == "code" and CHECKED not in cell.source:
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """All or nothing: a run that is cut off leaves the old notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".part")
    nbformat.write(notebook, whole)
    whole.replace(path)


def make(lab: str, into: Path) -> None:
    """Run the solution of ``lab`` in place, then generate and run the learner's notebook into ``into``."""
    source = ROOT / "solutions" / lab / f"{lab}.ipynb"
    write(execute(source), source)
    with tempfile.TemporaryDirectory() as folder:
        write(execute(generate(lab, Path(folder))), into / lab / f"{lab}.ipynb")
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
