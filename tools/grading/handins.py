"""What the files of an archive are: whose, of which attempt, and which of them is the notebook."""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tools.grading.archive import LARGEST, Member, Unreadable, in_utc, opened
from tools.grading.marks import find_lab
from tools.grading.matching import Match, Matcher, doubtful
from tools.grading.notebooks import parsed
from tools.grading.platforms import PLATFORMS, Named, Receipt, last_modified, platform_of, readings, receipt
from tools.grading.roster import Roster

OF_ONE = 4 * LARGEST  # bytes that one person's files may be, unpacked
OF_ALL = 80 * LARGEST  # of all together; small ones are read first, so that a large one takes nothing from others
AT_ONCE = timedelta(hours=1)  # files of a download, which the archive has as changed then, are no further apart


@dataclass
class Handin:
    """What one person, or a group, handed in at one time.

    Attributes:
        match: whose it is.
        files: each with the name that the learner gave it, and how the platform named it.
        receipt: Blackboard's.
    """

    match: Match
    files: list[tuple[Member, str, Named]] = field(default_factory=list)
    receipt: Receipt | None = None

    @property
    def size(self) -> int:
        return sum(member.size for member, *_ in self.files)


@dataclass(frozen=True)
class Aside:
    """A file that has no place: whose it seems to be, and why it has none."""

    member: Member
    who: str
    reason: str


@dataclass(frozen=True)
class Notebook:
    """One that was found, where in the archive, and what a person may want to know of it."""

    name: str
    named: Named
    time: datetime | None
    content: bytes
    readable: bool
    notes: tuple[str, ...] = ()


# --- whose -----------------------------------------------------------------------------------------------------------


def sorted_out(files: Sequence[Member], roster: Roster) -> tuple[str, list[Handin], list[Aside]]:
    """The platform that the files come from, what was handed in by whom, and what has no place."""
    platform = platform_of(member.parts for member in files)
    receipts = _receipts(files)
    titles = [ways[0].prefix for member in files for part in member.parts if (ways := readings(part))]
    matcher = Matcher(roster, titles if platform == "blackboard" else (), receipts)
    handins: dict[tuple[str, str, datetime | None], Handin] = {}
    aside = []
    for member in files:
        match, name = _whose(member, platform, matcher)
        if member.trouble or match is None:
            known = f"its name is not one that {PLATFORMS[platform]} gives"
            aside.append(Aside(member, "", member.trouble or (known if platform else "its name is no learner's")))
            continue
        named = match.named
        whole = named.prefix if platform == "blackboard" else ""
        handin = handins.setdefault((f"{named.name}_{whole}", named.number, named.time), Handin(match))
        handin.receipt = receipts.get(whole)
        handin.files.append((member, name, named))
    doubts = doubtful(handin.match for handin in handins.values())
    for handin in handins.values():
        if len(handin.match.learners) == 1 and (reason := doubts.get(handin.match.learners[0].id)):
            handin.match.learners, handin.match.reason = [], reason
    nobodys = [handin for handin in handins.values() if not handin.match.learners]
    aside += [Aside(m, h.match.named.prefix, h.match.reason) for h in nobodys for m, *_ in h.files]
    return platform, [handin for handin in handins.values() if handin.match.learners], aside


def _whose(member: Member, platform: str, matcher: Matcher) -> tuple[Match | None, str]:
    """Whose a file is, and what the learner called it, with the folders that it lay in."""
    parts = member.parts
    for n, part in enumerate(parts if platform else ()):
        match = matcher.match(part)
        if match and match.named.platform == platform:
            return match, match.named.file or "/".join(parts[n + 1 :]) or part
    match = None if platform else matcher.by_folder(parts)
    return match, parts[-1] if parts else ""


def _receipts(files: Iterable[Member]) -> dict[str, Receipt]:
    found = {}
    for member in files:
        named = readings(member.parts[-1])[:1] if member.parts and not member.trouble else []
        if named and named[0].kind == "receipt" and member.size < 2**20:
            try:
                text = member.content().decode("utf-8-sig", errors="replace")
            except Unreadable:
                continue
            if read := receipt(text):
                found[named[0].prefix] = read
    return found


# --- which notebook --------------------------------------------------------------------------------------------------


def notebooks(handin: Handin, lab: str) -> tuple[list[Notebook], list[Notebook], str]:
    """The notebooks that count, oldest first; those beside them; and why there is none, if so.

    Of several, the one counts that has most of the lab's cells, and the right name. At Canvas those that are called the
    same but for ``-1`` or ``-2`` were handed in one after the other.
    """
    found, troubles = [], []
    left = OF_ONE
    for member, name, named in sorted(handin.files, key=lambda file: (".ipynb" not in file[1], file[0].size)):
        if named.kind != "file" or left < 0:
            continue
        try:
            inside = opened(member.content()) if name.lower().endswith(".zip") else [member]
        except Unreadable as error:
            troubles.append(f"{_last(name)}: {error}")
            continue
        for one in sorted(inside, key=lambda one: one.size):
            own = name if one is member else one.name
            if one is not member and one.trouble:
                continue
            left -= one.size
            if left < 0:
                troubles.append(f"more than {OF_ONE // 2**20} MB together")
                break
            try:
                raw = one.content()
            except Unreadable as error:
                troubles.append(f"{_last(own)}: {error}")
                continue
            readable = is_notebook(raw)
            if own.lower().endswith(".ipynb") or readable:
                found.append(Notebook(own, named, member.time, raw, readable, _noted(own, raw, readable, lab)))
    if not found:
        names = ", ".join(_last(name) for _, name, named in handin.files if named.kind != "receipt")
        return [], [], "; ".join(troubles) or (f"no notebook, but {names}" if names else "an attempt without a file")
    found.sort(key=lambda one: _worth(one, lab))
    best = found[-1]
    uploads = [one for one in found if one.named.upload and one.name == one.named.file]
    same = [one for one in uploads if base(one.name) == base(best.name)]
    counted = sorted(same, key=lambda one: one.named.upload or 0) if best in same else [best]
    others = [one for one in found if one not in counted]
    if others:
        troubles.append(f"{_last(best.name)} counts, and not {', '.join(_last(one.name) for one in others)}")
    counted[-1] = replace(counted[-1], notes=(*counted[-1].notes, *troubles))
    return counted, others, ""


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def base(name: str) -> str:
    """A file's name without the numbers that platforms and browsers add: ``lab-1 (2).ipynb`` is ``lab.ipynb``."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not re.fullmatch(r"\w+", ending):
        stem, dot, ending = name, "", ""
    for _ in range(9):
        bare = stem.removesuffix(")")
        number = bare.rstrip("0123456789")
        if number == bare:
            break
        if bare != stem and number.endswith("("):
            stem = number[:-1].removesuffix(" ")
        elif bare == stem and number.endswith("-"):
            stem = number[:-1]
        else:
            break
    return stem + dot + ending


def is_notebook(raw: bytes) -> bool:
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{" or b'"cells"' not in raw or b'"nbformat"' not in raw:
        return False
    try:
        parsed(raw, errors="replace")
    except (ValueError, RecursionError):
        return False
    return True


def _cells(raw: bytes, lab: str) -> int:
    """How many of the lab's exercises a notebook has cells for, without reading it as one."""
    return len(_names(lab) & set(re.findall(rb'"grade_id":\s{0,9}"([\w.-]{1,100})"', raw)))


@functools.cache
def _names(lab: str) -> frozenset[bytes]:
    return frozenset(exercise.name.encode() for exercise in find_lab(lab).exercises)


def _worth(one: Notebook, lab: str) -> tuple[object, ...]:
    name = _last(one.name)
    right = name.lower().endswith(".ipynb"), base(name) == f"{lab}.ipynb", lab in name
    return one.readable, _cells(one.content, lab), *right, one.named.upload or 0, -one.name.count("/")


def _noted(name: str, raw: bytes, readable: bool, lab: str) -> tuple[str, ...]:
    if not raw:
        return ("an empty file",)
    if not readable:
        return ("no notebook in it, or half of one",)
    notes = () if name.lower().endswith(".ipynb") else (f"called {_last(name)}",)
    return notes if _cells(raw, lab) else (*notes, f"no cell of {lab} in it")


# --- when ------------------------------------------------------------------------------------------------------------


def times_of(platform: str, handins: Iterable[Handin]) -> str:
    """What the times of the files are: ``archive``, or ``download`` where they tell nothing of the submission.

    Canvas, and Moodle from version 4, write the time of the download. Only where the times are spread are they others.
    """
    times = [member.time for handin in handins for member, *_ in handin.files if member.time]
    if platform in ("canvas", "moodle") and (not times or max(times) - min(times) <= AT_ONCE):
        return "download"
    return "archive"


def time_of(
    one: Notebook, handin: Handin, archive: str, fetched: datetime, zone: ZoneInfo | None
) -> tuple[datetime, str]:
    """When a notebook was handed in, in UTC, and where that is from: a name of ``shelf.SOURCES``.

    Args:
        archive: what the times of the files are.
        fetched: when the archive was made, for a file without a time.
        zone: of the times; without one, that of the receipt, else this machine's.
    """
    if one.named.time:
        receipt_zone = handin.receipt.zone if handin.receipt else None
        return in_utc(one.named.time, zone or receipt_zone), "platform"
    latest = one.time or fetched
    if one.named.platform == "moodle":
        said = last_modified(handin.match.learners[0].columns.get("Last modified (submission)", ""))
        # a worksheet that is newer than the archive speaks of another submission
        if said and in_utc(said, zone) <= latest + timedelta(days=1):
            return in_utc(said, zone), "roster"
    return latest, archive if one.time else "download"


def late(one: Notebook, handin: Handin) -> bool | None:
    """Whether the platform calls it late; None if it says nothing."""
    if one.named.late is not None:
        return one.named.late
    status = handin.match.learners[0].columns.get("Status", "")
    return True if re.search(r"\blate\b|\boverdue\b", status, re.IGNORECASE) else None
