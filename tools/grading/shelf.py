"""Where collected work stands: the last attempt in ``submitted/``, the others in ``collected/``, and a list of all."""

import contextlib
import copy
import functools
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools.grading import files
from tools.grading.platforms import read_time, written

STAMP = "timestamp.txt"
# Where a time is from, the best first. What an archive calls a time may be that of the download; then no
# timestamp.txt is written, so that nobody loses points for the day on which the archive was fetched.
SOURCES = ("platform", "roster", "archive", "file", "download")
EXACT = SOURCES[:3]


@dataclass
class Attempt:
    """One notebook that was handed in.

    Attributes:
        time: when, as ``timestamp.txt`` has it.
        source: where the time is from, one of ``SOURCES``.
        late: whether the platform called it late; None if it says nothing.
        file: its name in the archive.
        sha256: of its content.
        upload: Canvas's number of it, higher for later ones.
        notes: what a person may want to know.
        named: what the platform put before the file's name.
        folder: where it stands, or will stand when it is no longer the last: a folder in ``collected/<lab>/<id>/``.
    """

    time: str
    source: str
    late: bool | None
    file: str
    sha256: str
    upload: int | None = None
    notes: list[str] = field(default_factory=list)
    named: str = ""
    folder: str = ""

    @property
    def when(self) -> datetime:
        return read_time(self.time)


@dataclass
class Handed:
    """What one learner handed in, oldest first, and what the platform calls them."""

    platform: str
    prefix: str
    display: str
    email: str = ""
    number: str = ""
    attempts: list[Attempt] = field(default_factory=list)


@dataclass
class Unmatched:
    """A file of which nobody knows whose it is, or which is no notebook; ``kept`` is empty if it could not be read."""

    name: str
    who: str
    reason: str
    sha256: str = ""
    kept: str = ""


@dataclass
class Collected:
    """All that is known of one lab, as it stands in ``collected/<lab>/collected.json``.

    Attributes:
        lab: its name.
        roster: by id, the name and the columns of the newest roster.
        learners: by id, what they handed in.
        missing: by id, who is in the newest roster and handed nothing in, with the name.
        unmatched: what has no place.
    """

    lab: str
    roster: dict[str, dict[str, str]] = field(default_factory=dict)
    learners: dict[str, Handed] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unmatched: list[Unmatched] = field(default_factory=list)


def room(lab: str, root: Path) -> Path:
    """The folder of what was collected of one lab."""
    return root / "collected" / lab


def load(lab: str, root: Path) -> Collected:
    """What was collected so far, perhaps nothing.

    Raises:
        ValueError: if the list was edited into something else.
    """
    path = room(lab, root) / "collected.json"
    if not path.exists():
        return Collected(lab)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        learners = {
            id: Handed(**handed | {"attempts": [Attempt(**attempt) for attempt in handed["attempts"]]})
            for id, handed in data["learners"].items()
        }
        unmatched = [Unmatched(**one) for one in data["unmatched"]]
        return Collected(**data | {"learners": learners, "unmatched": unmatched})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not what collect wrote ({error}); put it back, or remove it") from None


def of_one(lab: str, id: str, root: Path) -> Handed:
    """What one learner handed in, perhaps nothing. The list is read once for a whole class.

    Raises:
        ValueError: as ``load``.
    """
    path = room(lab, root) / "collected.json"
    handed = _learners(lab, root, path.stat().st_mtime_ns if path.exists() else 0).get(id)
    return copy.deepcopy(handed) if handed else Handed("", "", id)


@functools.lru_cache(maxsize=1)
def _learners(lab: str, root: Path, _changed: int) -> dict[str, Handed]:
    return load(lab, root).learners


def save(collected: Collected, root: Path) -> None:
    """Write the list, whole; half a surrogate pair, as a folder's names may have, is written as JSON's escape."""
    text = json.dumps(asdict(collected), indent=1, ensure_ascii=False) + "\n"
    files.write(room(collected.lab, root) / "collected.json", text.encode(errors="backslashreplace").decode())


def place(path: Path, content: bytes) -> None:
    """Write a file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- one learner's attempts ------------------------------------------------------------------------------------------


def handed_in(lab: str, id: str, root: Path) -> Path:
    """Where the grader looks for a learner's notebook."""
    return root / "submitted" / id / lab / f"{lab}.ipynb"


def path_of(attempt: Attempt, handed: Handed, lab: str, id: str, root: Path) -> Path:
    """Where the notebook of an attempt stands."""
    if attempt is handed.attempts[-1]:
        return handed_in(lab, id, root)
    return room(lab, root) / id / attempt.folder / f"{lab}.ipynb"


def adopt(handed: Handed, lab: str, id: str, root: Path) -> None:
    """Count what lies in ``submitted/`` and was not collected, or was changed since, as an attempt of its own."""
    path = handed_in(lab, id, root)
    if path.is_symlink() or not path.is_file():
        return
    sha256, stamp = digest(path.read_bytes()), path.with_name(STAMP)
    if handed.attempts and handed.attempts[-1].sha256 == sha256:
        return  # an earlier one that somebody put back is their choice, and counts once more
    status, source = path.stat(), "file"
    time = datetime.fromtimestamp(status.st_mtime, UTC)
    if handed.attempts:  # put there, or edited, after the last was collected, whatever its time says
        changed = datetime.fromtimestamp(max(status.st_mtime, status.st_ctime), UTC)
        time = max(changed, handed.attempts[-1].when + timedelta(seconds=1))
    elif stamp.is_file():
        with contextlib.suppress(ValueError):
            time, source = read_time(stamp.read_text(errors="replace")), "platform"
    _add(handed, Attempt(written(time), source, None, f"submitted/{id}/{lab}/{lab}.ipynb", sha256, notes=["by hand"]))


def known(handed: Handed, new: Attempt) -> Attempt | None:
    """The attempt that this one is, if it was collected before.

    An archive without times holds the last state, so the same work in a later one is the same attempt, unless there
    was another in between.
    """
    for old in handed.attempts:
        if old.sha256 != new.sha256:
            continue
        if old.upload and new.upload:
            same = old.upload == new.upload
        elif old.source == new.source == "platform":
            same = old.time == new.time
        else:
            same = old is handed.attempts[-1] or new.when <= handed.attempts[-1].when
        if same:
            return old
    return None


def add(handed: Handed, new: Attempt) -> bool:
    """Put an attempt where it belongs in time; False if it was there already, perhaps with a worse time."""
    old = known(handed, new)
    if old is None:
        _add(handed, new)
        return True
    better, same = SOURCES.index(new.source) < SOURCES.index(old.source), new.source == old.source
    if better or (same and new.when < old.when):  # what is no exact time says at least: not after it
        old.time, old.source = new.time, new.source
    old.late = new.late if old.late is None else old.late
    if not old.named:  # it was put there by hand, or collect was stopped in the middle
        old.named, old.upload, old.file, old.notes = new.named, new.upload, new.file, new.notes
    _sort(handed)
    return False


def _add(handed: Handed, new: Attempt) -> None:
    base = re.sub(r"[ :]", "-", new.time.removesuffix(" UTC"))
    taken = {attempt.folder for attempt in handed.attempts}
    new.folder = next(name for n in range(1, 10**6) if (name := base if n == 1 else f"{base}-{n}") not in taken)
    handed.attempts.append(new)
    _sort(handed)


def _sort(handed: Handed) -> None:
    """Oldest first: by Canvas's numbers where all have one, else by time."""
    if all(attempt.upload for attempt in handed.attempts):
        handed.attempts.sort(key=lambda attempt: attempt.upload or 0)
    else:
        handed.attempts.sort(key=lambda attempt: (attempt.when, attempt.upload or 0))


def keep(handed: Handed, lab: str, id: str, root: Path, content: Callable[[str], bytes | None]) -> None:
    """Write a learner's attempts where they belong; nothing that is there is lost.

    Args:
        content: by SHA-256, of what has just come; None for what had come before.
    """
    last, current = handed_in(lab, id, root), None
    if last.is_file() and not last.is_symlink():
        current = last.read_bytes()
    for attempt in handed.attempts[:-1]:
        path = path_of(attempt, handed, lab, id, root)
        if not path.exists():
            raw = content(attempt.sha256)
            if raw is None and current is not None and digest(current) == attempt.sha256:
                raw = current
            if raw is not None:
                place(path, raw)
        _stamp(path, attempt)
    newest = handed.attempts[-1]
    shelved = room(lab, root) / id / newest.folder
    if current is None or digest(current) != newest.sha256:
        raw = content(newest.sha256)
        if raw is None and (shelved / last.name).is_file():  # its time has been corrected since
            raw = (shelved / last.name).read_bytes()
        if raw is not None:
            last.with_name(STAMP).unlink(missing_ok=True)  # it is that of the older one
            place(last, raw)
    _stamp(last, newest)
    for name in (last.name, STAMP):
        (shelved / name).unlink(missing_ok=True)
    if shelved.is_dir() and not any(shelved.iterdir()):
        shelved.rmdir()


def _stamp(path: Path, attempt: Attempt) -> None:
    if attempt.source in EXACT:
        files.write(path.with_name(STAMP), attempt.time + "\n")


def beside(lab: str, id: str, attempt: Attempt, name: str, content: bytes, root: Path) -> None:
    """Keep another file of the same attempt."""
    place(room(lab, root) / id / attempt.folder / "beside" / safe_name(name, content), content)


# --- what has no place -----------------------------------------------------------------------------------------------


def safe_name(name: str, content: bytes) -> str:
    """A file name that leads nowhere, and is the name of this content only."""
    plain = re.sub(r"[^\w.@+ -]", "_", unicodedata.normalize("NFC", name).replace("/", " "))
    stem, dot, ending = plain.rpartition(".")
    stem, ending = (stem, ending) if dot and len(ending) < 10 else (plain, "txt")
    stem = stem.strip(" .")[-50:]
    return f"{stem}-{digest(content + name.encode(errors='replace'))[:8]}.{ending.strip() or 'txt'}"


def put_aside(name: str, content: bytes, lab: str, root: Path) -> str:
    """Keep a file that has no place, under a name of our own; returns where, from the course's folder."""
    path = room(lab, root) / "unmatched" / safe_name(name, content)
    place(path, content)
    return path.relative_to(root).as_posix()


def forget(collected: Collected, seen: Callable[[Unmatched], bool], root: Path) -> None:
    """Take out of the list, and away, what had no place and was ``seen`` anew."""
    for one in filter(seen, collected.unmatched):
        if one.kept:
            (root / one.kept).unlink(missing_ok=True)
    collected.unmatched = [one for one in collected.unmatched if not seen(one)]
    folder = room(collected.lab, root) / "unmatched"
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
