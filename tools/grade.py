"""Assignments in nbgrader's format, marked outside learners' processes.

python tools/grade.py release LAB            enter the lab in the gradebook, and pack what learners get
python tools/grade.py grade LAB              mark submitted/<student>/LAB/LAB.ipynb, and write grades.csv
python tools/grade.py feedback LAB           a page for each learner in feedback/, by nbgrader's own command

Learners' code runs in a jail (``tools/jail.py``), on inputs from a secret seed, and returns numbers. This process
compares them with the reference and writes the marks. It never runs, imports or unpickles what a learner wrote.
"""

import argparse
import contextlib
import csv
import functools
import html
import io
import json
import multiprocessing
import os
import pickle
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
import nbformat
import torch
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.api import Gradebook, MissingEntry
from tqdm import tqdm

from gradclinic.course import exercises
from gradclinic.course.exercises import Exercise, Lab, Verdict

ROOT = Path(__file__).resolve().parent.parent
SECONDS, WALL, MEMORY, PROCESSES = 5, 12, 4 * 2**30, 64  # of one exercise of one learner; memory is address space
LARGEST = 50 * 2**20  # bytes of a notebook
STUDENT = re.compile(r"\w[\w.@+ -]*")

# nbgrader calls alembic, which lies beside this Python, by its bare name
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

SAID = {
    "blank": "Not attempted yet.",
    "missing": "There is no function of this name in the notebook.",
    "time": "Your function did not come to an end in time.",
    "memory": "Your function asked for more memory than there is.",
    "large": "The answer is far too large.",
    "died": "Your function ended the process that ran it.",
}


class NoJail(RuntimeError):
    """Nothing here can keep a learner's code apart, so nothing is marked."""


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


# --- the jail --------------------------------------------------------------------------------------------------------


def _sandbox() -> list[str]:
    """The command that starts ``jail.py`` where neither solutions, gradebook, other learners nor a network exist.

    Raises:
        NoJail: where bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise NoJail("bubblewrap (the program bwrap) is not installed; without a jail nothing is marked")
    package = ROOT / "gradclinic"
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    if os.geteuid() == 0:  # as root there is no need for a user namespace, and each learner becomes nobody
        command[1:2] = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        command += ["--cap-drop", "ALL"]
        for kept in ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"):
            command += ["--cap-add", kept]
    for folder in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"):
        command += ["--ro-bind-try", folder, folder]
    # PyTorch asks here what the processor can do; left in the dark it computes with other instructions, and rounds
    # other than outside
    for place in ("/sys/devices/system/cpu", "/proc/cpuinfo"):
        command += ["--ro-bind-try", place, place]
    places = {Path(folder) for folder in (sys.base_prefix, sys.prefix)}
    for folder in sorted(places | {place.resolve() for place in places}):  # a link leads to its real place
        for parent in reversed(folder.parents[:-1]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", str(folder), str(folder)]
    command += ["--perms", "0755", "--dir", "/jail"]
    command += ["--ro-bind", str(package), "/jail/gradclinic", "--perms", "0755"]
    command += ["--tmpfs", "/jail/gradclinic/course/exercises"]
    command += ["--remount-ro", "/jail/gradclinic/course/exercises"]
    command += ["--perms", "0700", "--size", str(2**20), "--tmpfs", "/scratch"]  # matplotlib wants one, once
    command += ["--ro-bind", str(ROOT / "tools" / "jail.py"), "/jail/jail.py", "--dev", "/dev", "--remount-ro", "/dev"]
    command += ["--perms", "0755", "--dir", "/nowhere", "--remount-ro", "/", "--chdir", "/nowhere"]
    settings = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nowhere",
        "PYTHONPATH": "/jail",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": "/scratch",
        "TMPDIR": "/scratch",
    }
    for name, value in settings.items():
        command += ["--setenv", name, value]
    return [*command, "--", sys.executable, "/jail/jail.py"]


class Jail:
    """A running jail. One that was broken by a learner's code is thrown away, and the next answer gets a new one."""

    def __init__(self) -> None:
        self._process = None

    def ask(self, task: dict) -> dict:
        """Have one function run; returns its answers or what became of it.

        Raises:
            NoJail: if no sandbox can be started here.
        """
        if self._process is None:
            self._start()
        reply = self._exchange(task)
        if reply is None:
            self.close()
            return {"status": "died"}
        if reply.get("status") == "refused":
            raise NoJail("the system allows no process spaces inside the sandbox (unshare was refused)")
        return reply

    def _start(self) -> None:
        # where memory runs out all the same, the system is to end the jail and nothing else
        first = ["sh", "-c", 'echo 1000 > /proc/self/oom_score_adj; exec "$@"', "sh"]
        self._process = subprocess.Popen(
            [*first, *_sandbox()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        # learner's code never runs before the first task, so an end before that is the sandbox's
        probe = self._exchange(_task("probe", ["def probe(): return 1"], cloudpickle.dumps([()])))
        if probe != {"status": "answers", "answers": [1]}:
            said = self._process.communicate()[1].decode(errors="replace").strip()[-500:]
            self.close()
            raise NoJail(f"no sandbox can be started here: {said or probe}")

    def _exchange(self, task: dict) -> dict | None:
        process = self._process
        last = threading.Timer(task["wall"] + 60, process.kill)  # whatever a learner may do to the jail itself
        last.start()
        try:
            pickle.dump(task, process.stdin)
            process.stdin.flush()
            head = process.stdout.read(4)
            return json.loads(process.stdout.read(struct.unpack("I", head)[0]))
        except (OSError, struct.error, ValueError, RecursionError):
            return None
        finally:
            last.cancel()

    def close(self) -> None:
        """End it, and with it all that runs inside."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _task(name: str, cells: list[str], cases: bytes) -> dict:
    limits = {"seconds": SECONDS, "wall": WALL, "memory": MEMORY, "processes": PROCESSES}
    return {"name": name, "cells": cells, "cases": cases, **limits}


# --- one submission --------------------------------------------------------------------------------------------------


def find_lab(name: str) -> Lab:
    """The lab of this name.

    Raises:
        ValueError: if there is none.
    """
    known = {lab.name: lab for lab in exercises.labs()}
    if name not in known:
        raise ValueError(f"no lab is called {name!r}; there are {', '.join(known)}")
    return known[name]


def _with_gradient(tensor: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    tensor.grad = gradient
    return tensor


class _Pickler(cloudpickle.Pickler):
    """Packs what a case is made of, with what an ordinary pickle leaves behind."""

    def reducer_override(self, thing: object) -> object:
        if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.grad is not None:
            bare = thing.detach().requires_grad_(thing.requires_grad)
            if isinstance(thing, torch.nn.Parameter):
                bare = torch.nn.Parameter(bare, thing.requires_grad)
            return _with_gradient, (bare, thing.grad)
        if isinstance(thing, functools._lru_cache_wrapper):  # goes by its name otherwise, which the jail cannot find
            return functools.cache, (thing.__wrapped__,)
        return super().reducer_override(thing)


@functools.cache
def _packed(exercise: Exercise, seed: int) -> bytes:
    """The cases of one exercise, as they are sent into the jail: by value, for there are no exercises and no grader."""
    for module in (exercises, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)
    packed = io.BytesIO()
    _Pickler(packed).dump(exercise.cases(seed))
    return packed.getvalue()


def _read(folder: Path, lab: str) -> tuple[nbformat.NotebookNode | None, list[str]]:
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


def _nbgrader(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells that nbgrader knows, by their grade id; of two with the same id, the first."""
    found = {}
    for cell in notebook.cells:
        data = cell.metadata.get("nbgrader")
        if isinstance(data, dict) and isinstance(data.get("grade_id"), str):
            found.setdefault(data["grade_id"], cell)
    return found


def _compared(submitted: dict, released: dict) -> list[str]:
    """What a learner did to cells that are not theirs to change."""
    locked = [id for id, cell in released.items() if cell.metadata.nbgrader.locked]
    missing = [id for id in released if id not in submitted]
    edited = [id for id in locked if id in submitted and submitted[id].source.strip() != released[id].source.strip()]
    flags = [f"cells are missing: {', '.join(missing)}"] if missing else []
    return flags + ([f"check cells were edited: {', '.join(edited)}"] if edited else [])


def judged(exercise: Exercise, seed: int, reply: dict) -> Mark:
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


_jail = Jail()  # of this process; each worker gets its own


def mark(folder: Path, lab: str, student: str, seed: int, released: nbformat.NotebookNode) -> Marked:
    """Mark one submission. Whatever is wrong with it becomes marks and flags, never an error.

    Args:
        folder: the learner's, with the notebook in it.
        lab: name of the lab.
        student: the learner's id.
        seed: of the cases; learners do not know it.
        released: the notebook as it was given out.

    Raises:
        NoJail: if nothing here can keep the learner's code apart.
    """
    began = time.perf_counter()
    notebook, flags = _read(folder, lab)
    result = Marked(student, flags=flags)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"] if notebook else []
    if notebook:
        submitted, given_out = _nbgrader(notebook), _nbgrader(released)
        result.flags += _compared(submitted, given_out)
        result.sources = {
            id: cell.source
            for id, cell in submitted.items()
            if id not in given_out or cell.source != given_out[id].source
        }
    for exercise in find_lab(lab).exercises:
        reply = _jail.ask(_task(exercise.name, cells, _packed(exercise, seed))) if notebook else {"status": "missing"}
        result.marks.append(judged(exercise, seed, reply))
        if reply["status"] in ("time", "memory", "large", "died"):
            result.flags.append(f"{exercise.name}: {SAID[reply['status']]}")
    result.seconds = time.perf_counter() - began
    return result


# --- a class ---------------------------------------------------------------------------------------------------------


def _begin_work() -> None:
    """In each worker: a jail of its own, never the one that this process was forked with."""
    global _jail
    _jail = Jail()
    torch.set_num_threads(1)


def _mark_one(arguments: tuple) -> Marked:
    return mark(*arguments)


def mark_class(submitted: Path, lab: str, seed: int, workers: int, released: nbformat.NotebookNode) -> list[Marked]:
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
    work = [(folder, lab, folder.parent.name, seed, released) for folder in folders]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"), initializer=_begin_work) as pool:
        return list(tqdm(pool.map(_mark_one, work), total=len(work), desc=f"marking {lab}", unit="learner"))


def _shown(marked: Marked, released: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook for feedback: as released, with the learner's own cells, and what was said at each check."""
    notebook, said = nbformat.from_dict(json.loads(json.dumps(released))), {m.exercise: m for m in marked.marks}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        data = cell.metadata.get("nbgrader")
        if data is None:
            continue
        if data.solution:
            cell.source = marked.sources.get(data.grade_id, cell.source)
            if cell.cell_type == "markdown":  # nbgrader's pages show HTML in it as it is
                cell.source = SanitizeHTML().sanitize_html_tags(cell.source)
        elif data.grade and (given := said.get(data.grade_id.removeprefix("check-"))):
            sign = {"right": "\u2713", "blank": "\u25cb"}.get(given.status, "\u2717")
            named = f" ({given.mistake})" if given.mistake else ""
            text = f"{sign} {given.exercise}{named}: {given.message}\n"
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    if marked.flags:
        lines = "\n".join(f"- {html.escape(flag, quote=False)}" for flag in marked.flags)
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"**Noticed while marking**\n\n{lines}"))
    return notebook


def enter(marked: Marked, lab: str, book: Gradebook) -> None:
    """Write one learner's marks into nbgrader's gradebook. A mark that a person gave stays, to be looked at again."""
    book.update_or_create_student(marked.student)
    book.update_or_create_submission(lab, marked.student)
    notebook = book.find_submission_notebook(lab, lab, marked.student)
    given = {mark.exercise: mark for mark in marked.marks}
    for grade in notebook.grades:
        exercise = given.get(grade.name.removeprefix("check-"))
        in_words = exercise is None and grade.name in marked.sources  # that, a person marks
        grade.auto_score = exercise.points if exercise else None if in_words else 0
        grade.needs_manual_grade = in_words or grade.manual_score is not None or bool(marked.flags)
    for comment in notebook.comments:
        if comment.name in given:
            mark = given[comment.name]
            flags = "".join(f"\nNoticed: {flag}." for flag in marked.flags)
            # nbgrader's pages take a comment for HTML
            said = html.escape(f"{mark.message}{flags}", quote=False)
            comment.auto_comment = said if mark.status != "right" or flags else None
    book.db.commit()


def notes(results: list[Marked]) -> dict[str, dict[str, str]]:
    """What stands beside the marks of each learner: the mistakes by name, and the flags."""
    return {
        marked.student: {
            "mistakes": "; ".join(f"{mark.exercise}: {mark.mistake}" for mark in marked.marks if mark.mistake),
            "flags": "; ".join(marked.flags),
        }
        for marked in results
    }


def table(lab: str, book: Gradebook, beside: dict[str, dict[str, str]]) -> list[dict]:
    """One row a learner, from the gradebook: each mark, their sum, what waits for a person, and what stands beside.

    A mark that a person gave counts before the automatic one.
    """
    rows = []
    for student in sorted(beside):
        grades = book.find_submission_notebook(lab, lab, student).grades
        names = {grade.name.removeprefix("check-"): grade for grade in grades}
        waiting = ", ".join(name for name, grade in names.items() if grade.needs_manual_grade)
        row = {"student": student} | {name: grade.score for name, grade in names.items()}
        row |= {lab: sum(grade.score for grade in grades), "of": sum(grade.max_score for grade in grades)}
        rows.append(row | {"to look at": waiting} | beside[student])
    return rows


def export(lab: str, book: Gradebook, beside: dict[str, dict[str, str]], root: Path) -> list[dict]:
    """Write ``grades/<lab>/grades.csv``, and the same marks as Moodle and Canvas import them; returns the table."""
    grades = table(lab, book, beside)
    canvas = [{"Student": "    Points Possible", "ID": "", "SIS Login ID": "", "Section": "", lab: grades[0]["of"]}]
    canvas += [{"Student": "", "ID": "", "SIS Login ID": r["student"], "Section": "", lab: r[lab]} for r in grades]
    moodle = [{"ID number": row["student"], lab: row[lab]} for row in grades]
    for name, rows in {"grades": grades, "moodle": moodle, "canvas": canvas}.items():
        _whole(root / "grades" / lab / f"{name}.csv", _csv(rows))
    return grades


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _whole(path: Path, text: str) -> None:
    """All or nothing, as everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


@contextlib.contextmanager
def _gradebook(lab: str, root: Path) -> Iterator[Gradebook]:
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "vanishing-and-exploding-gradients") as book:
        try:
            book.find_notebook(lab, lab)
        except MissingEntry:
            raise LookupError(f"{lab} is not in the gradebook yet; run: make release LAB={lab}") from None
        yield book


# --- the three commands ----------------------------------------------------------------------------------------------


def _nbgrader_command(*arguments: str, root: Path) -> None:
    subprocess.run([sys.executable, "-m", "nbgrader", *arguments, "--log-level=WARN"], cwd=root, check=True)


def release(lab: str, root: Path = ROOT) -> Path:
    """Enter the lab in the gradebook and pack ``labs/<lab>`` for the learners; returns the archive."""
    find_lab(lab)
    with tempfile.TemporaryDirectory() as folder:  # labs/ itself is made, with outputs, by `make labs`
        _nbgrader_command(
            "generate_assignment", lab, "--force", f"--CourseDirectory.release_directory={folder}", root=root
        )
    archive = root / "release" / f"{lab}.zip"
    archive.parent.mkdir(exist_ok=True)
    part = archive.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((root / "labs" / lab).rglob("*")):
            if path.is_file() and ".ipynb_checkpoints" not in path.parts:
                packed.write(path, path.relative_to(root / "labs"))
    part.replace(archive)
    return archive


def grade(lab: str, root: Path = ROOT, workers: int | None = None, seed: int | None = None) -> list[dict]:
    """Mark all submissions, write the gradebook, ``autograded/`` for feedback and the tables; returns the table.

    Raises:
        LookupError: if the lab is not in the gradebook yet.
    """
    find_lab(lab)
    released = nbformat.read(root / "labs" / lab / f"{lab}.ipynb", as_version=4)
    seed = secrets.randbits(31) if seed is None else seed
    with _gradebook(lab, root) as book:
        results = mark_class(root / "submitted", lab, seed, workers or os.cpu_count() or 1, released)
        for marked in results:
            enter(marked, lab, book)
            target = root / "autograded" / marked.student / lab / f"{lab}.ipynb"
            _whole(target, nbformat.writes(_shown(marked, released)))
        return export(lab, book, notes(results), root)


def feedback(lab: str, root: Path = ROOT) -> Path:
    """A page for each learner by nbgrader's own command, and the tables once more, with the marks that people gave.

    Returns:
        The folder of the pages.
    Raises:
        FileNotFoundError: if the lab was not graded yet.
    """
    find_lab(lab)
    written = root / "grades" / lab / "grades.csv"
    if not written.exists():
        raise FileNotFoundError(f"{lab} was not graded yet; run: make grade LAB={lab}")
    with written.open(newline="", encoding="utf-8") as file:
        beside = {row["student"]: {name: row[name] for name in ("mistakes", "flags")} for row in csv.DictReader(file)}
    _nbgrader_command("generate_feedback", lab, "--force", root=root)
    with _gradebook(lab, root) as book:
        export(lab, book, beside, root)
    return root / "feedback"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("release", "grade", "feedback"))
    parser.add_argument("lab", help="its name, such as 02-vanishing")
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder, with submitted/ in it")
    parser.add_argument("--workers", type=int, help="processes side by side; one for each core unless told")
    parser.add_argument("--seed", type=int, help="of the inputs; secret, and new each time, unless told")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    try:
        if arguments.command == "release":
            print(f"Give learners {release(arguments.lab, root)}")
        elif arguments.command == "grade":
            grades = grade(arguments.lab, root, arguments.workers, arguments.seed)
            flagged = sum(bool(row["flags"]) for row in grades)
            print(f"{len(grades)} learners, {flagged} with a flag: {root / 'grades' / arguments.lab / 'grades.csv'}")
        else:
            print(f"The pages are in {feedback(arguments.lab, root)}/<student>/{arguments.lab}/")
    except (ValueError, LookupError, FileNotFoundError, NoJail) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
