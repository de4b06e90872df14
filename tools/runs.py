"""One run of a lab's notebook serves all who ask for it: nbval runs it, the tests read it, the book shows it."""

import ast
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools.imports import python
from tools.pages import page_key

# A cell that prints [CPU seconds, most bytes of memory] of its kernel. On Linux not by getrusage, where a process
# begins with the most that its parent ever held.
METER = """
import json, pathlib, resource
used, status = resource.getrusage(resource.RUSAGE_SELF), pathlib.Path("/proc/self/status")
peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 if status.exists() else used.ru_maxrss
print(json.dumps([used.ru_utime + used.ru_stime, peak]))
"""


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder; returns it, with its outputs."""
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        coalesce_streams=True,  # how a kernel cuts its text into pieces differs from run to run
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": folder}},
    ).execute()
    return notebook


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """All or nothing: a run that is cut off leaves the old notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".part")
    nbformat.write(notebook, whole)
    whole.replace(path)


def added(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Cells that are run after a notebook's own. After a solution: ``METER``. After a lab as given out: wrong answers.

    Each exercise is answered by its first usual mistake, and what names an answer runs again, or what was made of one:
    the checks, and the experiments with what the learner wrote.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    blanks = [cell for cell in code if cell.metadata.get("nbgrader", {}).get("solution")]
    if not any("raise NotImplementedError()" in cell.source for cell in blanks):
        return [nbformat.v4.new_code_cell(METER)]
    about = {cell.metadata.nbgrader.grade_id: n for n, cell in enumerate(blanks)}
    wrong = "\n".join(f"{name} = check.exercises[{n}].mistakes[0].function" for name, n in about.items())
    names, again = set(about), []
    for cell in code:
        tree = ast.parse(python([cell.source]))
        if cell not in blanks and names & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
            again.append(nbformat.v4.new_code_cell(cell.source, metadata=dict(cell.metadata)))
            names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            names |= {name.id for node in tree.body if isinstance(node, ast.Assign) for name in _used(node)}
    return [nbformat.v4.new_code_cell(wrong), *again]


def _used(node: ast.Assign) -> list[ast.Name]:
    """The name that is given to the function that an experiment runs, in ``name = check.step.use(step)``."""
    using = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute)
    used = using and node.value.func.attr == "use"  # type: ignore[attr-defined]
    return [target for target in node.targets if isinstance(target, ast.Name)] if used else []


def keep(path: Path, run: nbformat.NotebookNode) -> None:
    """Keep a run of the notebook at ``path``, with its added cells, until something changes that it rests on."""
    run.metadata["made_for"] = page_key(_root(path), path)
    write(run, _place(path))


def kept(path: Path) -> nbformat.NotebookNode | None:
    """The kept run of the notebook at ``path``; None if there is none, or if it might be another one today."""
    if not _place(path).exists():
        return None
    run, notebook = (nbformat.read(file, as_version=4) for file in (_place(path), path))
    cells = [cell.source for cell in (*notebook.cells, *added(notebook))]
    fits = run.metadata.get("made_for") == page_key(_root(path), path) and [cell.source for cell in run.cells] == cells
    return run if fits else None


def run(path: Path) -> nbformat.NotebookNode:
    """A run of the notebook at ``path`` with its added cells: the kept one, or else a new one."""
    found = kept(path)
    if found is None:
        found = nbformat.read(path, as_version=4)
        found.cells += added(found)
        keep(path, execute(found, path.parent))
    return found


def _root(path: Path) -> Path:
    return path.parents[2]  # labs/LAB/LAB.ipynb


def _place(path: Path) -> Path:
    return _root(path) / "_build" / "runs" / path.relative_to(_root(path))
