"""nbgrader's gradebook: marks are written there, those that a person gave are kept, and what being late costs."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from nbgrader.api import Grade, Gradebook, InvalidEntry, MissingEntry
from sqlalchemy.engine import URL
from sqlalchemy.exc import SAWarning, SQLAlchemyError

from tools.grading import plain
from tools.grading.ledger import Record
from tools.grading.policy import Rules

COURSE = "vanishing-and-exploding-gradients"  # as in nbgrader_config.py
PATIENCE = 20  # seconds for another program to finish what it writes into the gradebook

# nbgrader calls alembic, which lies beside this Python, by its bare name
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Unusable(RuntimeError):
    """The gradebook, or a command of nbgrader, cannot be used as things are."""


def nbgrader(*arguments: str, root: Path) -> None:
    """Run one of nbgrader's own commands on the course in ``root``.

    Raises:
        Unusable: if it fails; what it said stands above.
    """
    command = [sys.executable, "-m", "nbgrader", *arguments, "--log-level=WARN"]
    if subprocess.run(command, cwd=root, check=False).returncode:
        raise Unusable(f"`nbgrader {arguments[0]}` failed; what it said of it stands above")


@contextlib.contextmanager
def opened(lab: str, root: Path) -> Iterator[Gradebook]:
    """The gradebook of the course in ``root``, with this lab in it.

    Raises:
        LookupError: if the lab is not in it yet.
        Unusable: if it is locked, not writable or broken, now or while it is open.
    """
    path = root / "gradebook.db"
    where = URL.create("sqlite", database=str(path), query={"timeout": str(PATIENCE)})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # of nbgrader's own doing
            with Gradebook(where, COURSE) as book:
                try:
                    book.find_notebook(lab, lab)
                except MissingEntry:
                    raise LookupError(f"{lab} is not in the gradebook yet; run: make release LAB={lab}") from None
                yield book
    except (SQLAlchemyError, InvalidEntry) as error:
        raise Unusable(_in_words(str(error), path)) from error


def _in_words(error: str, path: Path) -> str:
    """What to do about an error of SQLite, which names it on its first line."""
    again = "What was marked is kept: run the same again"
    for sign, words in {
        "locked": f"another program is writing into {path}. Close it, if it is a formgrader that hangs. {again}",
        "readonly": f"{path} cannot be written by you. See to its rights, and those of its folder. {again}",
        "unable to open": f"{path} cannot be opened by you. See to its rights, and those of its folder. {again}",
        "disk is full": f"no space is left for {path}. Make some. {again}",
        "disk I/O": f"{path} cannot be written: {error.splitlines()[0]}. Is there space on the disk? {again}",
        "UNIQUE": f"another grader has written into {path} at the same time. {again}",
        "no such": f"{path} was made by another version of nbgrader. Copy it, then run: nbgrader db upgrade",
        "not a database": f"{path} is broken. Put a copy in its place, or move it away and release the labs again; "
        "the computed marks are kept beside it, and entered anew, but marks that a person gave are in it alone",
        "malformed": f"{path} is broken. `sqlite3 gradebook.db .recover` may save it; else put a copy in its place",
    }.items():
        if sign in error:
            return words
    return f"{path} cannot be used: {error.splitlines()[0]}"


# --- marks -----------------------------------------------------------------------------------------------------------


def enter(record: Record, lab: str, book: Gradebook, rules: Rules) -> None:
    """Write one learner's marks. A mark that a person gave stays.

    A person is to look at an essay without a mark; and, where anything has changed since the gradebook was last told,
    at what is flagged, and at marks that were given for work as it was before. ``record.told`` then says what it knows.
    """
    marked = record.marked
    book.update_or_create_student(marked.student)
    when = datetime.fromisoformat(record.when) if record.when else None
    submission = book.update_or_create_submission(lab, marked.student, **rules.submission(marked.student, when))
    notebook = book.find_submission_notebook(lab, lab, marked.student)
    given = {mark.exercise: mark for mark in marked.marks}
    told = {}
    for grade in notebook.grades:
        exercise = given.get(grade.name.removeprefix("check-"))
        elsewhere = grade.name in marked.waiting
        in_words = exercise is None and (elsewhere or grade.name in marked.sources)  # that, a person marks
        grade.auto_score = exercise.points if exercise else None if in_words else 0
        work = [submission.id, marked.sources.get(grade.name.removeprefix("check-")), grade.auto_score, record.flags]
        work += [marked.added] if elsewhere else []
        told[grade.name] = hashlib.sha256(json.dumps(work).encode()).hexdigest()
        if record.told.get(grade.name) != told[grade.name]:
            grade.needs_manual_grade = in_words or grade.manual_score is not None or bool(record.flags)
    for comment in notebook.comments:
        if comment.name in given:
            mark = given[comment.name]
            flags = "".join(f"\nNoticed: {flag}." for flag in record.flags)
            comment.auto_comment = plain.comment(f"{mark.message}{flags}") if mark.status != "right" or flags else None
    book.db.commit()
    record.told = told


def unread(grade: Grade) -> bool:
    """Whether this is an essay that has no mark yet."""
    return bool(grade.needs_manual_grade and grade.auto_score is None and grade.manual_score is None)
