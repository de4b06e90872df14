"""Read a submission, have it answer in the jail, judge what comes back: one learner, or a class side by side."""

import dataclasses
import functools
import json
import math
import multiprocessing
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import nbformat
import torch
from tqdm import tqdm

from gradclinic.course import exercises
from gradclinic.course.exercises import Exercise, Lab, Verdict
from tools.grading import plain
from tools.grading.children import end_with_parent
from tools.grading.jail import LIMITS, Jail, Limits, NoJail, Reply, packed
from tools.grading.notebooks import known_cells, read
from tools.grading.origins import Origins, contradicted, origins
from tools.grading.scans import from_the_shell, has_words, names

ANSWERS, MESSAGE = 20_000, 1_000  # characters that are kept of wrong answers, and of what is said of them
FEW = 1_000  # parts of an answer that never take long to compare
NEARLY = 0.5  # the part of the points that a mistake earns whose hint begins with "Nearly"
SLOWER = 2  # a grader's machine may be, than that of a learner who was promised some seconds
ANY_CHECK = re.compile(r"check|find_lab")
READINGS = {
    "handed": "its check was handed another function than the one of this name, and that one was marked",
    "strict": "right only if the rest of a cell was not run after an error that may be the learner's; look at it",
}
STUDENT = re.compile(r"\w[\w.@+ -]*")
SAID = {
    "blank": "Not attempted yet.",
    "missing": "There is no function of this name in the notebook.",
    "time": "Your function did not come to an end in time.",
    "memory": "Your function asked for more memory than there is.",
    "large": "The answer is far too large.",
    "died": "Your function ended the process that ran it.",
    "broken": "No answer came: the jail that your function ran in came to an end with it.",
    "enough": "Your function was not run: those before it took what all of them may take.",
}
HOPELESS = ("time", "memory", "large", "died", "broken", "enough")  # no other reading of the notebook is tried
BROKEN, LONGEST = (
    2,
    900,
)  # jails that one learner may bring to their end; seconds in which all of theirs is to be marked


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
    """One submission.

    Attributes:
        student: their id.
        marks: one for each exercise.
        flags: what a person should look at.
        sources: the cells that the learner changed, by their grade id.
        elsewhere: the learner's other code cells that their functions rest on: "code cell 7" and its source.
        added: the learner's own cells: the number of the released cell that each follows, its type, its source.
        answers: by exercise, what a wrong function returned on each case; None if that is too long to keep.
        seconds: that the marking took.
        waiting: essays whose cell is as it was given out, while a text of the learner's own stands in other cells.
    """

    student: str
    marks: list[Mark] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    added: list[tuple[int, str, str]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    waiting: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        """Of all exercises together."""
        return sum(mark.points for mark in self.marks)


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


def compared(submitted: dict[str, nbformat.NotebookNode], released: dict[str, nbformat.NotebookNode]) -> list[str]:
    """What a learner did to cells that are not theirs to change."""
    locked = [id for id, cell in released.items() if cell.metadata.nbgrader.locked]
    missing = [id for id in released if id not in submitted]
    edited = [id for id in locked if id in submitted and submitted[id].source.strip() != released[id].source.strip()]
    flags = [f"cells are missing: {', '.join(missing)}"] if missing else []
    other = [id for id in released if id in submitted and submitted[id].cell_type != released[id].cell_type]
    flags += [f"cells are of another type than given out: {', '.join(other)}"] if other else []
    return flags + ([f"check cells were edited: {', '.join(edited)}"] if edited else [])


def own_cells(notebook: nbformat.NotebookNode, released: nbformat.NotebookNode) -> list[tuple[int, str, str]]:
    """The cells that the learner wrote beside those that were given out; see ``Marked.added``."""
    by_source = {cell.source.strip(): number for number, cell in enumerate(released.cells)}
    by_id = {cell.get("id"): number for number, cell in enumerate(released.cells)}
    given_out = known_cells(released)
    places = {
        id(cell): by_source[given_out[name].source.strip()]
        for name, cell in known_cells(notebook).items()
        if name in given_out
    }
    after, found = -1, []
    for cell in notebook.cells:
        source = cell.source.strip()
        place = places.get(id(cell), by_source.get(source))
        after = by_id.get(cell.get("id"), after) if place is None else place
        if place is None and source:  # their own, or one that was given out, and then changed
            found.append((after, "code" if cell.cell_type == "code" else "markdown", cell.source))
    return found


def credit(exercise: Exercise, verdict: Verdict) -> float:
    """The part of the points that an answer earns: all if it is right, some for a mistake that is nearly right."""
    if verdict.status == "right":
        return 1.0
    mistake = next((mistake for mistake in exercise.mistakes if mistake.name == verdict.mistake), None)
    return 0.0 if mistake is None else mistake.credit or NEARLY * mistake.hint.startswith("Nearly")


def judged(exercise: Exercise, seed: int, reply: Reply) -> Mark:
    """The mark for what came back from the jail."""
    if reply["status"] == "answers":
        try:
            verdict = too_odd(reply["answers"], exercise, seed) or exercise.judge(reply["answers"], seed)
        except Exception as error:  # numbers of a learner's choice, in shapes of a learner's choice
            verdict = Verdict("wrong", f"The answer could not be read ({type(error).__name__}).")
    elif reply["status"] == "raised":
        verdict = Verdict("wrong", f"Your function stopped with {reply['message']}")
    else:
        message = SAID[reply["status"]] + (f" ({reply['message']})" if reply.get("message") else "")
        verdict = Verdict("blank" if reply["status"] == "blank" else "wrong", message)
    points = exercise.points * credit(exercise, verdict)
    message = plain.lines(verdict.message)[:MESSAGE]
    return Mark(exercise.name, points, exercise.points, verdict.status, message, verdict.mistake)


def too_odd(answers: object, exercise: Exercise, seed: int) -> Verdict | None:
    """A verdict without comparing, if the answers have far more parts than the right ones, or lie far deeper.

    To compare takes some microseconds for each part, and once for each usual mistake.
    """
    most, deepest = wanted_parts(exercise, seed)
    parts, depth = parts_of(answers, FEW + 4 * most)
    if parts > FEW + 4 * most or depth > deepest + 4:
        return Verdict("wrong", "The answer has far more parts than was asked for, or lists far deeper in lists.")
    return None


@functools.cache
def wanted_parts(exercise: Exercise, seed: int) -> tuple[int, int]:
    """The same of the right answers, once for a whole class."""
    return parts_of(exercise.expected(seed), math.inf)


def parts_of(answers: object, most: float) -> tuple[int, int]:
    """How many parts there are in nested lists, and how deep; a list of numbers is one. Counted up to ``most``."""
    waiting, parts, depth = [(answers, 1)], 0, 0
    while waiting and parts <= most:
        part, level = waiting.pop()
        parts, depth = parts + 1, max(depth, level)
        if isinstance(part, torch.Tensor):
            part = part.tolist()
        if isinstance(part, (list, tuple)) and not all(type(number) in (int, float) for number in part):
            waiting += [(inner, level + 1) for inner in part]
    return parts, depth


def readings(own: str) -> list[str]:
    """In which other ways a learner's own code may be meant, where the plain one gives no right answer."""
    found = []
    if ANY_CHECK.search(own):
        found.append("handed")
    if own.strip():
        found.append("strict")
    return found


def unexplained(marked: Marked, faults: Mapping[str, str]) -> list[str]:
    """A flag for each exercise that is not right for a reason that nobody sees in the cell where it belongs.

    That is, the answer is blank, or wrong in no usual way, and code cells that the learner added name the exercise, or
    something is taken from the shell that is not here.
    """
    added, found = [source for _, kind, source in marked.added if kind == "code"], []
    named, taken = names(added), any(map(from_the_shell, added))
    for mark in marked.marks:
        if mark.status == "right" or mark.mistake or mark.exercise in faults:
            continue
        if mark.exercise in named or taken or from_the_shell(marked.sources.get(mark.exercise, "")):
            found.append(f"{mark.exercise}: not right, and other code cells of theirs have to do with it; look at them")
    return found


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
        result.added = own_cells(notebook, released)
        result.sources = {
            id: cell.source
            for id, cell in submitted.items()
            if id not in given_out or cell.source != given_out[id].source
        }
        if any(has_words(kind, source) for _, kind, source in result.added):
            result.waiting = [essay.name for essay in find_lab(lab).essays if essay.name not in result.sources]
            result.flags += [
                f"{name}: not written in its cell; their own text stands in other cells" for name in result.waiting
            ]
    known, asked = Origins(), find_lab(lab).exercises
    broken = jail.broken
    if notebook:
        known = origins(notebook, released, [exercise.name for exercise in asked], jail)
        result.flags += known.flags
        result.elsewhere = known.elsewhere
    others = readings("\n".join(source for number, source in enumerate(cells) if number not in known.given))
    for exercise in asked:
        name = exercise.name
        reply: Reply = {"status": "missing"}
        if jail.broken - broken >= BROKEN or time.perf_counter() - began > LONGEST:
            reply = {"status": "enough"}
        elif notebook:
            more = {"seconds": SLOWER * exercise.seconds} if exercise.seconds else {}
            reply = jail.ask(name, cells, packed(exercise, seed), known.given, **more)
        result.marks.append(judged(exercise, seed, reply))
        if notebook and result.marks[-1].status != "right" and reply["status"] not in HOPELESS:
            for reading in others:
                other = jail.ask(name, cells, packed(exercise, seed), known.given, reading=reading, **more)
                mark = judged(exercise, seed, other)
                if mark.points > result.marks[-1].points:
                    reply, result.marks[-1] = other, mark
                    result.flags.append(f"{name}: {READINGS[reading]}")
        if reply["status"] == "missing" and name in known.faults:
            message = plain.lines(known.faults[name])[:MESSAGE]
            result.marks[-1] = dataclasses.replace(result.marks[-1], message=message)
        if reply["status"] == "answers" and result.marks[-1].status == "wrong":
            short = len(json.dumps(reply["answers"])) <= ANSWERS
            result.answers[name] = reply["answers"] if short else None
        if reply["status"] in HOPELESS:
            result.flags.append(f"{name}: {SAID[reply['status']]}")
        if reply.get("room") and result.marks[-1].status != "right":
            said = plain.quoted(reply["room"], 120)
            result.flags.append(f"{name}: not right, and {said} may come up in the grader's room alone; look at it")
    if notebook:
        result.flags += contradicted(notebook, {mark.exercise: mark.status for mark in result.marks})
        result.flags += unexplained(result, known.faults)
    result.flags = plain.shortened(result.flags)
    result.seconds = time.perf_counter() - began
    return result


# --- a class ---------------------------------------------------------------------------------------------------------

JAILS: dict[int, Jail] = {}  # by process: one that was forked must never use its parent's


class Ended(RuntimeError):
    """A process that marked was ended from outside."""


def handed_in(submitted: Path, lab: str) -> dict[str, Path]:
    """Each learner's folder for this lab, by their id; without those that are ``set_aside``.

    Raises:
        FileNotFoundError: if there is no submission.
    """
    aside = set_aside(submitted, lab)
    folders = [path for path in _folders(submitted, lab) if path.parent.name not in aside]
    if not folders:
        none = f"no submission in {submitted}/<student>/{lab}/"
        raise FileNotFoundError(f"{none}; {in_words(aside)}" if aside else none)
    return {folder.parent.name: folder for folder in folders}


def set_aside(submitted: Path, lab: str) -> list[str]:
    """The names of folders that are no learner's: the tables and nbgrader's own commands would stumble over them, and a
    link may lead to somebody else's work."""
    return [
        folder.parent.name
        for folder in _folders(submitted, lab)
        if not STUDENT.fullmatch(folder.parent.name) or folder.is_symlink() or folder.parent.is_symlink()
    ]


def in_words(aside: Sequence[str]) -> str:
    """What to do about folders that were set aside."""
    names = ", ".join(map(ascii, aside))
    return f"not marked, for ids hold letters, digits, spaces and . _ @ + - only, and are no links; rename: {names}"


def _folders(submitted: Path, lab: str) -> list[Path]:
    return sorted(path for path in submitted.glob(f"*/{lab}") if path.is_dir())


def mark_class(
    submitted: Path, lab: str, seed: int, workers: int, released: nbformat.NotebookNode, limits: Limits = LIMITS
) -> list[Marked]:
    """Mark every learner who has a folder for this lab, side by side, with a bar; by their id.

    Raises:
        As ``handed_in`` and ``mark_side_by_side``.
    """
    attempts = {student: [folder] for student, folder in handed_in(submitted, lab).items()}
    found = mark_side_by_side(attempts, lab, seed, workers, released, limits)
    return sorted((marked for (marked,) in found), key=lambda marked: marked.student)


def mark_side_by_side(
    attempts: Mapping[str, Sequence[Path]],
    lab: str,
    seed: int,
    workers: int,
    released: nbformat.NotebookNode,
    limits: Limits = LIMITS,
    not_theirs: Sequence[int] = (),
) -> Iterator[list[Marked]]:
    """Mark all attempts of these learners, in processes side by side, with a bar. Each learner comes when done.

    Args:
        attempts: by student's id, the folders.
        not_theirs: descriptors that the processes should not hold open.
        lab, seed, released: see ``mark``.
        workers: how many processes.
        limits: what each answer may take.

    Raises:
        NoJail: if nothing here can keep learners' code apart.
        Ended: if one of the processes was ended from outside.
    """
    work = functools.partial(mark_beside_others, lab=lab, seed=seed, released=released, limits=limits)
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, context, initializer=ready, initargs=(os.getpid(), not_theirs))
    try:
        asked = [pool.submit(work, student, folders) for student, folders in attempts.items()]
        for done in tqdm(as_completed(asked), total=len(asked), desc=f"marking {lab}", unit="learner"):
            yield done.result()
        pool.shutdown()
    except BrokenProcessPool:
        raise Ended("a process that marked was ended from outside, perhaps because memory ran out") from None
    finally:  # nothing is left when this is stopped half-way
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown(wait=False, cancel_futures=True)


def ready(parent: int, not_mine: Sequence[int]) -> None:
    """Called first in each of these processes."""
    end_with_parent(parent, not_mine)
    torch.set_num_threads(1)


def own_jail(limits: Limits) -> Jail:
    """The jail of this process, which is closed when the process ends by itself."""
    if os.getpid() not in JAILS:
        JAILS[os.getpid()] = Jail(limits)
        Finalize(None, JAILS[os.getpid()].close, exitpriority=1)
    return JAILS[os.getpid()]


def mark_beside_others(
    student: str, folders: Sequence[Path], lab: str, seed: int, released: nbformat.NotebookNode, limits: Limits
) -> list[Marked]:
    """Mark one of a class, in one of the processes that share the work; each keeps its jail for the next learner."""
    jail, found = own_jail(limits), []
    for folder in folders:
        try:
            found.append(mark(folder, lab, student, seed, released, jail))
        except (NoJail, OSError):  # that is the machine's fault, and would befall everybody
            raise
        except Exception as error:  # nothing known leads here, and whatever does must not stop the class
            reason = f"this could not be marked ({type(error).__name__}: {error}), mark it by hand"
            flag = plain.visible(reason)[:MESSAGE]
            marks = [Mark(e.name, 0, e.points, "wrong", "This could not be marked.") for e in find_lab(lab).exercises]
            found.append(Marked(student, marks, [flag]))
    return found
