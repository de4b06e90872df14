"""Read a submission, have it answer in the jail, judge what comes back: one learner, or a class side by side."""

import functools
import multiprocessing
import os
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import torch
from tqdm import tqdm

from gradclinic.course import exercises
from gradclinic.course.exercises import Exercise, Lab, Verdict
from tools.grading.jail import LIMITS, Jail, Limits, Reply, packed

LARGEST = 50 * 2**20  # bytes of a notebook
STUDENT = re.compile(r"\w[\w.@+ -]*")
SAID = {
    "blank": "Not attempted yet.",
    "missing": "There is no function of this name in the notebook.",
    "time": "Your function did not come to an end in time.",
    "memory": "Your function asked for more memory than there is.",
    "large": "The answer is far too large.",
    "died": "Your function ended the process that ran it.",
}


@dataclass(frozen=True)
class Mark:
    """One exercise of one learner: its points, and what the learner is told."""

    exercise: str
    points: float
    of: float
    status: str
    message: str
    mistake: str | None = None


@dataclass
class Marked:
    """One submission. ``sources`` are the cells that the learner changed, by their grade id; ``flags`` are what a
    person should look at."""

    student: str
    marks: list[Mark] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def find_lab(name: str) -> Lab:
    """The lab of this name.

    Raises:
        ValueError: if there is none.
    """
    known = {lab.name: lab for lab in exercises.labs()}
    if name not in known:
        raise ValueError(f"no lab is called {name!r}; there are {', '.join(known)}")
    return known[name]


# --- one submission --------------------------------------------------------------------------------------------------


def read(folder: Path, lab: str) -> tuple[nbformat.NotebookNode | None, list[str]]:
    """The submitted notebook, or None, and flags that say what was odd about the file."""
    right, flags = folder / f"{lab}.ipynb", []
    files = sorted(folder.glob("*.ipynb"))
    if right not in files:
        if len(files) != 1:
            return None, [
                f"no notebook called {right.name}" if not files else f"{len(files)} notebooks, none the right one"
            ]
        right = files[0]
        flags.append(f"the file is called {right.name.encode(errors='replace').decode()}")
    if right.is_symlink() or not right.is_file():
        return None, ["the notebook is not a file"]
    if right.stat().st_size > LARGEST:
        return None, [*flags, "the notebook is larger than 50 MB"]
    raw = right.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        flags.append("the file is not UTF-8")
    try:
        notebook = nbformat.reads(text, as_version=4)
        for cell in notebook.cells:
            cell.source, cell.metadata, cell.cell_type  # noqa: B018  (each has to be there)
            if not isinstance(cell.source, str):
                raise ValueError("a cell's source is not text")
            cell.source.encode()  # half a surrogate pair can be neither stored nor shown
    except Exception as error:  # whatever a learner's file may make the reader raise
        return None, [*flags, f"the file is not a notebook ({type(error).__name__})"]
    return notebook, flags


def known_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells that nbgrader knows, by their grade id; of two with the same id, the first."""
    found: dict[str, nbformat.NotebookNode] = {}
    for cell in notebook.cells:
        data = cell.metadata.get("nbgrader")
        if isinstance(data, dict) and isinstance(data.get("grade_id"), str):
            found.setdefault(data["grade_id"], cell)
    return found


def compared(submitted: dict[str, nbformat.NotebookNode], released: dict[str, nbformat.NotebookNode]) -> list[str]:
    """What a learner did to cells that are not theirs to change."""
    locked = [id for id, cell in released.items() if cell.metadata.nbgrader.locked]
    missing = [id for id in released if id not in submitted]
    edited = [id for id in locked if id in submitted and submitted[id].source.strip() != released[id].source.strip()]
    flags = [f"cells are missing: {', '.join(missing)}"] if missing else []
    return flags + ([f"check cells were edited: {', '.join(edited)}"] if edited else [])


def judged(exercise: Exercise, seed: int, reply: Reply) -> Mark:
    """The mark for what came back from the jail."""
    if reply["status"] == "answers":
        try:
            verdict = exercise.judge(reply["answers"], seed)
        except Exception as error:  # numbers of a learner's choice, in shapes of a learner's choice
            verdict = Verdict("wrong", f"The answer could not be read ({type(error).__name__}).")
    elif reply["status"] == "raised":
        verdict = Verdict("wrong", f"Your function stopped with {reply['message']}")
    else:
        message = SAID[reply["status"]] + (f" ({reply['message']})" if reply.get("message") else "")
        verdict = Verdict("blank" if reply["status"] == "blank" else "wrong", message)
    points = exercise.points if verdict.status == "right" else 0
    return Mark(exercise.name, points, exercise.points, verdict.status, verdict.message, verdict.mistake)


def mark(folder: Path, lab: str, student: str, seed: int, released: nbformat.NotebookNode, jail: Jail) -> Marked:
    """Mark one submission. Whatever is wrong with it becomes marks and flags, never an error.

    Args:
        folder: the learner's, with the notebook in it.
        lab: name of the lab.
        student: the learner's id.
        seed: of the cases; learners do not know it.
        released: the notebook as it was given out.
        jail: where the learner's functions run.

    Raises:
        NoJail: if nothing here can keep the learner's code apart.
    """
    began = time.perf_counter()
    notebook, flags = read(folder, lab)
    result = Marked(student, flags=flags)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"] if notebook else []
    if notebook:
        submitted, given_out = known_cells(notebook), known_cells(released)
        result.flags += compared(submitted, given_out)
        result.sources = {
            id: cell.source
            for id, cell in submitted.items()
            if id not in given_out or cell.source != given_out[id].source
        }
    for exercise in find_lab(lab).exercises:
        reply = jail.ask(exercise.name, cells, packed(exercise, seed)) if notebook else {"status": "missing"}
        result.marks.append(judged(exercise, seed, reply))
        if reply["status"] in ("time", "memory", "large", "died"):
            result.flags.append(f"{exercise.name}: {SAID[reply['status']]}")
    result.seconds = time.perf_counter() - began
    return result


# --- a class ---------------------------------------------------------------------------------------------------------

JAILS: dict[int, Jail] = {}  # by process: one that was forked must never use its parent's


def mark_class(
    submitted: Path, lab: str, seed: int, workers: int, released: nbformat.NotebookNode, limits: Limits = LIMITS
) -> list[Marked]:
    """Mark every learner who has a folder for this lab, side by side, with a bar.

    Raises:
        FileNotFoundError: if there is no submission.
        ValueError: for a folder whose name is no student's id.
        NoJail: if nothing here can keep learners' code apart.
    """
    folders = sorted(path for path in submitted.glob(f"*/{lab}") if path.is_dir())
    if not folders:
        raise FileNotFoundError(f"no submission in {submitted}/<student>/{lab}/")
    # the tables and nbgrader's own commands would stumble over any other, and a link may lead to somebody else's work
    odd = [f.parent for f in folders if not STUDENT.fullmatch(f.parent.name) or f.is_symlink() or f.parent.is_symlink()]
    if odd:
        names = ", ".join(ascii(path.name) for path in odd)
        raise ValueError(f"student ids hold letters, digits and . _ @ + - only, and are no links; not so: {names}")
    work = functools.partial(mark_beside_others, lab=lab, seed=seed, released=released, limits=limits)
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("fork"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        return list(tqdm(pool.map(work, folders), total=len(folders), desc=f"marking {lab}", unit="learner"))


def mark_beside_others(folder: Path, lab: str, seed: int, released: nbformat.NotebookNode, limits: Limits) -> Marked:
    """Mark one of a class, in one of the processes that share the work; each keeps its jail for the next learner."""
    jail = JAILS.setdefault(os.getpid(), Jail(limits))
    return mark(folder, lab, folder.parent.name, seed, released, jail)
