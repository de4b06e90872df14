"""How Canvas, Moodle and Blackboard name what they pack: who handed in, which attempt, and when.

Canvas      ``obrienann_LATE_12345_67890_02-vanishing-1.ipynb``: the name as it is sorted, in letters and digits only;
            the person's number, the upload's number, and the file, with ``-1`` added where there was one so called.
            Anonymous: ``anon_aB3dE_67890_02-vanishing.ipynb``. A group stands under its name, with a member's number.
Moodle      ``Ann OBrien_123_assignsubmission_file/02-vanishing.ipynb``, with ``_`` before the slash up to 4.0, and in
            its place where folders are switched off. The number is the participant's, as in the grading worksheet.
Blackboard  ``02-vanishing_aobrien_attempt_2026-11-20-14-05-33_02-vanishing.ipynb``, and for each attempt the same with
            ``.txt`` after the time: a receipt with name, user name and date.

Only Blackboard writes a time. In Canvas's and in newer Moodle's archives the time of a file is that of the download.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

PLATFORMS = {"canvas": "Canvas", "moodle": "Moodle", "blackboard": "Blackboard", "": "no platform"}
LONGEST = 500  # letters of a name; no system that has files has longer ones than 255
HEAD = 20_000  # letters of a receipt, within which Blackboard's own lines stand
CANVAS = re.compile(r"_(?P<number>\d+)_(?:(?P<upload>\d+)_(?P<file>.+)|(?P<online>text|link)\.html)$", re.DOTALL)
ANONYMOUS = re.compile(r"anon(_LATE)?_(?P<number>\w{5})_(?P<upload>\d+)_(?P<file>.+)", re.DOTALL)
MOODLE = re.compile(
    r"(?P<name>.*?)(?:_(?P<number>\d+))?_assignsubmission_(?P<kind>[a-z]+)(?P<end>_(?P<file>.*))?", re.DOTALL
)
BLACKBOARD = re.compile(
    r"(?P<name>.*?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>.+)|(?P<receipt>\.txt)|(?=\.))(?P<end>.*)",
    re.DOTALL,
)
# Hours east of Greenwich, of the zones whose short names mean one thing only; Blackboard's receipts end with one.
ZONES = {
    "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "EST": -5,
    "EDT": -4, "CDT": -5, "MDT": -6, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10, "JST": 9, "AEST": 10, "AEDT": 11,
    "NZST": 12, "NZDT": 13,
}  # fmt: skip


@dataclass(frozen=True)
class Named:
    """What a name in the archive says; one name can be read in several ways.

    Attributes:
        platform: a key of ``PLATFORMS``.
        prefix: the part that stands for the person, as it is written there.
        name: the person's or group's name, as far as the platform keeps it; at Blackboard perhaps the user's.
        number: the platform's own number of the person; empty if there is none.
        file: what the learner called the file; empty for a folder of the platform's.
        late: what the platform says; None if it says nothing.
        time: of the attempt, without a zone; None if the name has none.
        upload: Canvas's number of the file, higher for later ones.
        kind: ``file``, ``text`` for what was typed into the platform, ``receipt`` for Blackboard's.
    """

    platform: str
    prefix: str
    name: str
    number: str = ""
    file: str = ""
    late: bool | None = None
    time: datetime | None = None
    upload: int | None = None
    kind: str = "file"


def readings(part: str) -> list[Named]:
    """Every way to read one part of a path, the likeliest first; none for a name that no platform gives.

    A learner called ``bot_42`` makes Canvas's names ambiguous, an underscore in a title those of Blackboard: the roster
    decides.
    """
    if len(part) > LONGEST:
        return []
    if found := MOODLE.fullmatch(part):
        kind = "file" if found["kind"] == "file" else "text"
        prefix = part[: found.start("end")] if found["file"] else part
        return [Named("moodle", prefix, found["name"], found["number"] or "", found["file"] or "", kind=kind)]
    if found := BLACKBOARD.fullmatch(part):
        return _of_blackboard(found)
    if found := ANONYMOUS.fullmatch(part):
        prefix, upload = part[: found.start("upload") - 1], int(found["upload"])
        return [Named("canvas", prefix, "", found["number"], found["file"], bool(found[1]), upload=upload)]
    return list(_of_canvas(part))


def platform_of(names: Iterable[Iterable[str]]) -> str:
    """The platform that most paths come from, given by their parts; empty if it is none."""
    votes = Counter(named[0].platform for parts in names for part in parts if (named := readings(part)))
    return votes.most_common(1)[0][0] if votes else ""


def _of_canvas(part: str) -> Iterable[Named]:
    for start in (found.start() for found in re.finditer(r"_(?=\d+_)", part)):
        if found := CANVAS.match(part, start):
            name, late = part[:start], False
            if name.endswith("_LATE"):
                name, late = name.removesuffix("_LATE"), True
            yield Named(
                "canvas",
                part[: found.end("number")],
                name,
                found["number"],
                found["file"] or f"{found['online']}.html",
                late,
                upload=int(found["upload"]) if found["upload"] else None,
                kind="text" if found["online"] else "file",
            )


def _of_blackboard(found: re.Match[str]) -> list[Named]:
    try:
        time = datetime.strptime(found["time"], "%Y-%m-%d-%H-%M-%S")
    except ValueError:
        return []
    words = found["name"].split("_")
    users = ["_".join(words[n:]) for n in range(len(words) - 1, 0, -1)] or [found["name"]]
    kind, file = ("receipt", "") if found["receipt"] and not found["end"] else ("file", found["file"] or found["end"])
    return [Named("blackboard", found["name"], user, file=file, time=time, kind=kind) for user in users]


# --- other places where a time stands --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Receipt:
    """What Blackboard writes for each attempt: name and user name, and the zone of its times, if that is known."""

    name: str
    user: str
    zone: timezone | None


def receipt(text: str) -> Receipt | None:
    """Read one; None if the text is none. The first lines are Blackboard's, what a learner wrote comes below."""
    lines = [line.strip() for line in text[:HEAD].splitlines()]
    person = next((line for line in lines if line.startswith("Name:") and line.endswith(")")), "")
    name, bracket, user = person.removeprefix("Name:").removesuffix(")").rpartition("(")
    if not bracket or ")" in user:
        return None
    date = next((line for line in lines if line.startswith("Date Submitted:")), "")
    hours = ZONES.get(date.rpartition(" ")[2])
    return Receipt(name.strip(), user, None if hours is None else timezone(timedelta(hours=hours)))


def last_modified(text: str) -> datetime | None:
    """The time in Moodle's grading worksheet, without a zone; None for another language, or for no submission."""
    for form in ("%A, %d %B %Y, %I:%M %p", "%A, %d %B %Y, %H:%M", "%d %B %Y, %I:%M %p", "%d %B %Y, %H:%M"):
        try:
            return datetime.strptime(re.sub(r"\s+", " ", text), form)
        except ValueError:
            continue
    return None


def written(time: datetime) -> str:
    """As nbgrader's ``timestamp.txt`` has it."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def read_time(text: str) -> datetime:
    """The other way round.

    Raises:
        ValueError: for a time in another form.
    """
    return datetime.strptime(text.strip(), "%Y-%m-%d %H:%M:%S %Z").replace(tzinfo=UTC)
