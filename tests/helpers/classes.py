"""A class of 100 with the names that a class has, its roster, and its work as three platforms pack it."""

import csv
import functools
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.helpers import submissions

FETCHED = datetime(2026, 11, 27, 9, 30, 2)  # when the instructor pressed the button
HANDED_IN = datetime(2026, 11, 20, 14, 5, 33)


@dataclass(frozen=True)
class Person:
    """One learner, as the school and the platforms know them."""

    first: str
    last: str
    id: str
    canvas: int
    moodle: int

    @property
    def email(self) -> str:
        return f"{self.id}@school.example"


ODD = [
    ("Ann", "O'Brien"),
    ("Jos\u00e9", "Garc\u00eda"),  # composed in the roster
    ("Rene\u0301", "Mu\u0308ller"),  # decomposed in the roster
    ("\u5a1c", "\u674e"),
    ("X_7", "Bot_42"),
    ("\u200f\u0639\u0644\u064a\u200e", "\u062d\u0633\u0646\u200f"),  # with marks of direction
    ("..", ".."),
    ("Maximiliana Theodora " * 5, "von und zu " * 8 + "Hohenfels"),
    ("Mary Jane", "de la Cruz-Smith"),
    ("Kim", "Lee"),
    ("Kim", "Lee"),  # another one
    ("Zo\u00eb", "Zo"),
    ("Zoe", "Zo"),  # told apart by an accent
    ("", "Suharto"),
]


def people() -> list[Person]:
    """A hundred: the odd ones first."""
    names = ODD + [(f"First{n}", f"Last{n}") for n in range(100 - len(ODD))]
    return [Person(*name, f"s{1000 + n}", 50_000 + 7 * n, 900 + n) for n, name in enumerate(names)]


@functools.cache
def _blank(lab: str) -> bytes:
    notebook = submissions.given_out(lab)
    notebook.metadata["whose"] = "WHOSE"
    return submissions.written(notebook)


def work(lab: str, whose: str, attempt: int = 1) -> bytes:
    """A notebook of the lab that nobody else has."""
    return _blank(lab).replace(b"WHOSE", f"{whose}, attempt {attempt}".encode())


# --- rosters ---------------------------------------------------------------------------------------------------------


def table(rows: Iterable[Sequence[object]], delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode(encoding)


def canvas_roster(people: Iterable[Person]) -> bytes:
    """As the gradebook exports it, with its rows that are nobody's."""
    rows: list[Sequence[object]] = [
        ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", "02-vanishing (4711)", "Final Score"),
        ("", "", "", "", "", "Manual Posting", ""),
        ("    Points Possible", "", "", "", "", "12.00", "(read only)"),
    ]
    rows += [(f"{p.last}, {p.first}", p.canvas, f"0{p.id[1:]}", p.id, "Mon 10:00", "", "") for p in people]
    return table([*rows, ("Student, Test", 49_999, "", "8e1f", "Mon 10:00", "", "")], encoding="utf-8-sig")


def moodle_worksheet(people: Iterable[Person], times: Mapping[str, datetime] | None = None) -> bytes:
    """The grading worksheet; ``times`` of the submissions, by id."""
    head = ("Identifier", "Full name", "ID number", "Email address", "Status", "Grade", "Maximum grade")
    rows = [(*head, "Grade can be changed", "Last modified (submission)", "Last modified (grade)")]
    for p in people:
        when = (times or {}).get(p.id)
        said = f"{when:%A, %d %B %Y, }{when.hour % 12 or 12}{when:%M, %p}" if when else "-"
        said = re.sub(r"(\d+)(\d\d), ([AP]M)$", r"\1:\2 \3", said)
        name = f"{p.first} {p.last}".strip()
        rows.append((f"Participant {p.moodle}", name, p.id, p.email, "Submitted", "", "12.00", "Yes", said, "-"))
    return table(rows)


def moodle_participants(people: Iterable[Person]) -> bytes:
    """The list of participants, as a site in Germany writes it; it has no numbers."""
    rows = [("First name", "Last name", "ID number", "Email address", "Groups")]
    return table(rows + [(p.first, p.last, p.id, p.email, "") for p in people], ";", "utf-8-sig")


def blackboard_roster(people: Iterable[Person]) -> bytes:
    """The table for Excel, which is none: tabs, and two bytes a letter."""
    rows = [("Last Name", "First Name", "Username", "Student ID", "Last Access", "Availability")]
    return table(rows + [(p.last, p.first, p.id, f"0{p.id[1:]}", "", "Yes") for p in people], "\t", "utf-16")


# --- archives --------------------------------------------------------------------------------------------------------


def archive(path: Path, files: Iterable[tuple[str, bytes, datetime]]) -> Path:
    """A zip archive of these files, in which two may have one name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content, time in files:
            info = zipfile.ZipInfo("x", time.timetuple()[:6])
            info.filename = name  # as it is: no part of it is taken off
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return path


def canvas_name(person: Person) -> str:
    """As Canvas's ContentZipper makes it of the name that people are sorted by."""
    name = re.sub(r"_(\d+)_", r"\1", f"{person.last}, {person.first}").lower()
    return "".join(c for c in name if c == "_" or unicodedata.category(c)[0] in "LM" or c.isdecimal())


def canvas_file(person: Person, upload: int, name: str, late: bool = False) -> str:
    return f"{canvas_name(person)}{'_LATE' * late}_{person.canvas}_{upload}_{name}"


def moodle_folder(person: Person, kind: str = "file", end: str = "") -> str:
    """As Moodle's downloader makes it: of the name it drops what a file system may not like."""
    name = re.sub(r"[\x00-\x1f&<>\"`|':\\/]", "", f"{person.first} {person.last}".strip().replace("_", " "))
    return f"{name}_{person.moodle}_assignsubmission_{kind}{end}"


def blackboard_file(person: Person, when: datetime, name: str, title: str = "02-vanishing") -> str:
    return f"{title}_{person.id}_attempt_{when:%Y-%m-%d-%H-%M-%S}{'_' * bool(name)}{name or '.txt'}"


def blackboard_receipt(person: Person, when: datetime, name: str, zone: str = "GMT", said: str = "") -> bytes:
    file = blackboard_file(person, when, name)
    return (
        f"Name: {person.first} {person.last} ({person.id})\nAssignment: 02-vanishing\n"
        f"Date Submitted: {when:%A, %B %d, %Y %I:%M:%S %p} {zone}\nCurrent Grade: Needs Grading\n\n"
        f"Submission Field:\n{said or 'There is no student submission text data for this assignment.'}\n\n"
        "Comments:\nThere are no student comments for this assignment.\n\n"
        f"Files:\n\tOriginal filename: {name}\n\tFilename: {file}\n"
    ).encode()


def later(days: float) -> datetime:
    return HANDED_IN + timedelta(days=days)


# --- a class hands in -------------------------------------------------------------------------------------------------

LAB = "02-vanishing"
NAME = f"{LAB}.ipynb"
CLASS = people()
ABSENT = CLASS[40:43]  # they hand nothing in
TWICE = CLASS[3:15]  # they hand in twice
LATE = CLASS[1:4]


def roster(root: Path, content: bytes) -> Path:
    path = root / "roster.csv"
    path.write_bytes(content)
    return path


def submitted(root: Path, person: Person) -> Path:
    return root / "submitted" / person.id / LAB / NAME


def stamp(path: Path) -> str:
    return (path.with_name("timestamp.txt")).read_text().strip()


def whose(path: Path) -> str:
    return json.loads(path.read_bytes())["metadata"]["whose"]


def all_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def canvas(root, name="submissions.zip", present=CLASS, second=TWICE, late=LATE):
    files = []
    for n, person in enumerate(p for p in present if p not in ABSENT):
        called = (NAME, f"{LAB}-1.ipynb") if person in second else (NAME,)
        for attempt, name_there in enumerate(called, 1):
            file = canvas_file(person, 80_000 + 10 * n + attempt, name_there, person in late)
            files.append((unicodedata.normalize("NFC", file), work(LAB, person.id, attempt), FETCHED))
    return archive(root / name, reversed(files))


def blackboard(root, zone="GMT"):
    files = []
    for person in CLASS:
        if person in ABSENT:
            continue
        for attempt, when in enumerate([HANDED_IN, later(2)][: 1 + (person in TWICE)], 1):
            files.append((blackboard_file(person, when, NAME), work(LAB, person.id, attempt), FETCHED))
            files.append(
                (
                    blackboard_file(person, when, ""),
                    blackboard_receipt(person, when, NAME, zone),
                    FETCHED,
                )
            )
    return archive(root / "submissions.zip", reversed(files))


def moodle(root, end="", form="NFD", attempt=1, name="submissions.zip", time=FETCHED, present=CLASS):
    files = []
    for person in present:
        if person not in ABSENT:
            folder = unicodedata.normalize(form, moodle_folder(person, end=end))
            files.append((f"{folder}/{NAME}", work(LAB, person.id, attempt), time))
            text = unicodedata.normalize(form, moodle_folder(person, "onlinetext", end))
            files.append((f"{text}/onlinetext.html", b"<p></p>", time))
    return archive(root / name, files)
