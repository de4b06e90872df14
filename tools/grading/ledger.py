"""What is kept of each marking, one file a learner: so that nothing is marked twice, and a mark can be explained."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gradclinic.course import exercises
from tools.grading.files import write
from tools.grading.marks import Mark, Marked
from tools.grading.notebooks import LARGEST


class Busy(RuntimeError):
    """Another grader works on the same course."""


@dataclass
class Record:
    """One learner's marking, as it is kept.

    Attributes:
        marked: the marks, and what they are for.
        submitted: a hash of all that was handed in.
        seed: of the cases. Learners must not know it.
        reference: a hash of the right answers and of the notebook that was given out.
        when: of the attempt that counts, in UTC, if it is known.
        attempts: of each attempt that was marked, its time and its points.
        told: by cell, a hash of the work for which the gradebook was last told the mark.
        no_page: why there is no feedback page, if that is so.
    """

    marked: Marked
    submitted: str
    seed: int
    reference: str
    when: str | None = None
    attempts: list[tuple[str | None, float]] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    no_page: str = ""

    @property
    def flags(self) -> list[str]:
        """All that a person should look at."""
        return self.marked.flags + ([f"no feedback page: {self.no_page}"] if self.no_page else [])


class Ledger:
    """The records of one lab, in ``grades/<lab>/marked/``, and the seed they share. For the instructor's eyes only."""

    def __init__(self, lab: str, root: Path) -> None:
        self.lab = lab
        self.folder = root / "grades" / lab / "marked"
        self._seed = root / "grades" / lab / "seed.json"

    def seed(self) -> int | None:
        """What this lab's cases are drawn from; None before the first marking.

        Raises:
            ValueError: if the file holds none.
        """
        if not self._seed.exists():
            return None
        try:
            seed = json.loads(self._seed.read_text())["seed"]
            if type(seed) is int and seed >= 0:
                return seed
        except (ValueError, LookupError, TypeError):
            pass
        raise ValueError(f"{self._seed} holds no seed; delete it, and a new one is drawn for the whole class")

    def keep_seed(self, seed: int) -> None:
        """Write the seed where only the owner of the course can read it."""
        if self.seed() != seed:
            write(self._seed, json.dumps({"seed": seed}) + "\n", private=True)

    def keep(self, record: Record) -> None:
        """Write one learner's record, whole."""
        text = json.dumps(dataclasses.asdict(record), indent=1)
        write(self.folder / f"{record.marked.student}.json", text, private=True)

    def records(self) -> dict[str, Record]:
        """All that are kept, by student. One that cannot be read counts as not there: that learner is marked again."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(ValueError, TypeError, LookupError):
                found[path.stem] = _read(json.loads(path.read_text(encoding="utf-8")))
        return found


def _read(data: dict[str, Any]) -> Record:
    marked = data["marked"] | {"marks": [Mark(**mark) for mark in data["marked"]["marks"]]}
    attempts = [(when, points) for when, points in data["attempts"]]
    return Record(**data | {"marked": Marked(**marked), "attempts": attempts})


def draw() -> int:
    """A new seed that nobody can guess."""
    return secrets.randbits(31)


# --- what a marking depends on ---------------------------------------------------------------------------------------


def submitted_hash(attempts: Sequence[tuple[datetime | None, Path]], rules: str = "") -> str:
    """Of all notebooks in these folders, by name and content; of what is no ordinary file, that it is none.

    Args:
        attempts: the folders, and when each was handed in.
        rules: by which one of them counts.
    """
    found = hashlib.sha256(rules.encode())
    for when, folder in attempts:
        found.update(f"{when}\n".encode())
        for path in sorted(folder.glob("*.ipynb")):
            found.update(os.fsencode(path.name) + b"\0")
            if path.is_symlink() or not path.is_file():
                found.update(b"no file")
            elif path.stat().st_size > LARGEST:
                found.update(f"{path.stat().st_size} bytes".encode())
            else:
                found.update(hashlib.sha256(_content(path)).digest())
    return found.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # marking says so, too
        return type(error).__name__.encode()


def reference_hash(lab: str, root: Path) -> str:
    """Of the exercises, as this version of the package has them, and of the notebook that was given out."""
    found = hashlib.sha256()
    for path in [*sorted(Path(exercises.__file__).parent.glob("*.py")), root / "labs" / lab / f"{lab}.ipynb"]:
        found.update(path.read_bytes())
    return found.hexdigest()


# --- one at a time ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def alone(root: Path) -> Iterator[int]:
    """Keep other graders of the course out, until the end of this process at the latest; gives the lock's descriptor.

    Raises:
        Busy: if another one is at work.
    """
    path = root / "gradebook.db.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
            raise Busy(f"another grader works on {root} (process {pid or 'not known yet'}); wait for its end") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)
