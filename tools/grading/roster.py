"""Who is in the class: a table as Moodle, Canvas or Blackboard exports it, read whatever its columns are called."""

import contextlib
import csv
import hashlib
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tools.grading.marks import STUDENT

# What a column is called here, and how else exports call it: small letters and digits only.
COLUMNS = {
    "Student": ("student",),
    "ID": ("canvasuserid", "canvasid"),
    "SIS User ID": ("sisuserid",),
    "SIS Login ID": ("sisloginid", "loginid"),
    "Section": ("section", "sections"),
    "ID number": ("idnumber",),
    "Email address": ("emailaddress", "email", "mail"),
    "Username": ("username",),
    "Student ID": ("studentid",),
    "First name": ("firstname", "givenname", "forename"),
    "Last name": ("lastname", "surname", "familyname"),
    "Full name": ("fullname", "name", "studentname", "displayname"),
    "Identifier": ("identifier",),
    "Group": ("group", "groups", "groupname"),
    "Status": ("status",),
    "Last modified (submission)": ("lastmodifiedsubmission",),
}
# The first of these that a row has is the learner's id: what the tables for the platform go by comes first.
IDS = ("ID number", "SIS Login ID", "Username", "SIS User ID", "Student ID", "Email address", "ID")
NAMES = ("Student", "First name", "Last name", "Full name")
NUMBERS = {"canvas": "ID", "moodle": "Identifier"}  # a platform's own number of a person, which it writes into names
LONGEST = 64  # characters of an id: it is the name of a folder
RESERVED = {"unmatched", "collected.json"}  # they stand beside the learners' folders


@dataclass(frozen=True)
class Learner:
    """One row.

    Attributes:
        id: the name of the folder; always one that ``marks.STUDENT`` allows.
        name: as a person reads it.
        columns: what the roster says, by the names in ``COLUMNS``.
        note: what was done to the id, if anything.
    """

    id: str
    name: str
    columns: dict[str, str]
    note: str = ""


def key(name: str, loose: bool = False) -> str:
    """What two spellings of a name have in common: letters and digits, small, composed alike; ``loose``: no accents.

    Platforms drop apostrophes, spaces, commas and marks of direction from the names of files.
    """
    form = unicodedata.normalize("NFKD" if loose else "NFKC", name).casefold()
    kinds = "LN" if loose else "LMN"
    return unicodedata.normalize("NFC", "".join(c for c in form if unicodedata.category(c)[0] in kinds))


def spellings(columns: dict[str, str]) -> set[str]:
    """A learner's name in every order that a platform may write it."""
    first, last, full = (columns.get(name, "") for name in ("First name", "Last name", "Full name"))
    orders = {f"{first} {last}", f"{last} {first}"} if first or last else set()
    for whole in filter(None, (full, columns.get("Student", ""))):
        after, comma, before = whole.partition(",")
        words = whole.split()
        orders |= {whole, f"{before} {after}"} if comma else {whole}
        if not comma:  # the family name may be the last word, or the last few
            orders |= {" ".join(words[n:] + words[:n]) for n in range(1, len(words))}
    return orders


def safe_id(given: str) -> str:
    """An id that may name a folder: the given one where it may, else one made of it, the same each time."""
    given = unicodedata.normalize("NFC", given).strip()
    if STUDENT.fullmatch(given) and len(given) <= LONGEST and given not in RESERVED:
        return given
    kept = re.sub(r"[^\w.@+ -]", "_", given)[: LONGEST // 2].lstrip("._@+ -") or "learner"
    return f"{kept.rstrip()}-{hashlib.sha256(given.encode(errors='replace')).hexdigest()[:8]}"


@dataclass
class Roster:
    """The learners, and who is meant by what a platform writes."""

    learners: list[Learner]
    _found: dict[tuple[str, str], list[Learner]] = field(default_factory=lambda: defaultdict(list), repr=False)

    def __post_init__(self) -> None:
        for learner in self.learners:
            columns = learner.columns
            keys = {("user", columns[c].casefold()) for c in IDS if columns.get(c)} | {("user", learner.id.casefold())}
            keys |= {("login", name.casefold()) for name in (learner.id, columns.get("Username", ""))}
            keys |= {(platform, columns[column]) for platform, column in NUMBERS.items() if columns.get(column)}
            for way in spellings(columns):
                keys |= {("name", key(way)), ("loose", key(way, loose=True))}
            keys |= {("group", key(group)) for group in re.split(r"[,;]", columns.get("Group", ""))}
            for kind, found in keys:
                if found:
                    self._found[kind, found].append(learner)

    def by_number(self, platform: str, number: str) -> list[Learner]:
        """Whom the platform calls by this number."""
        return self._found.get((platform, number), [])

    def by_user(self, user: str) -> list[Learner]:
        """Who has this id, user name or address."""
        name = user.casefold()
        return self._found.get(("login", name)) or self._found.get(("user", name), [])

    def by_name(self, name: str) -> list[Learner]:
        """Who is called so, in any order of the words; accents count unless nobody has the name with them."""
        return self._found.get(("name", key(name))) or self._found.get(("loose", key(name, loose=True)), [])

    def in_group(self, group: str) -> list[Learner]:
        """The members of a group."""
        return self._found.get(("group", key(group)), [])


# --- reading ---------------------------------------------------------------------------------------------------------


def read_roster(path: Path) -> Roster:
    """The roster in a file of comma- or tab-separated values, in whatever encoding a platform or Excel writes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no table, or no column of it says who a learner is.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no roster {path}")
    table = _rows(path)
    head = [_column(name) for name in table[0]] if table else []
    if "ID" not in head and "id" in map(key, table[0] if table else ()):
        # Canvas calls its own number so; in any other table it is the school's
        canvas = {"Student", "SIS User ID", "SIS Login ID"} & set(head)
        head[[key(name) for name in table[0]].index("id")] = "ID" if canvas else "ID number"
    if not {*IDS, *NAMES} & set(head):
        given = ", ".join(table[0]) if table else "nothing"
        raise ValueError(
            f"{path} has no column that says who a learner is: it has {given}; known are {', '.join(COLUMNS)}"
        )
    rows = []
    for cells in table[1:]:
        columns: dict[str, str] = {}
        for name, cell in zip(head, cells, strict=False):
            if name and cell.strip():
                columns.setdefault(name, cell.strip())
        if person := _person(columns):
            rows.append(person)
    return Roster(_learners(rows))


def _column(name: str) -> str:
    wanted = key(name)
    return next((column for column, also in COLUMNS.items() if wanted in also or wanted == key(column) != "id"), "")


def _rows(path: Path) -> list[list[str]]:
    raw, text = path.read_bytes(), ""
    table_for_excel = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Blackboard writes it
    for encoding in ("utf-16",) if table_for_excel else ("utf-8-sig", "cp1252", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            text = raw.decode(encoding)
            break
    if text.startswith("sep="):  # Excel's own line
        text = text.partition("\n")[2]
    best: list[list[str]] = []
    for delimiter in ",;\t|":
        try:
            table = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
        except csv.Error as error:
            raise ValueError(f"{path} is no table: {error}") from None
        known = sum(bool(_column(name)) for name in table[0]) if table else 0
        if not best or (known, len(table[0])) > (sum(bool(_column(name)) for name in best[0]), len(best[0])):
            best = table
    return best


def _person(columns: dict[str, str]) -> dict[str, str] | None:
    """A row tidied, or None for one that is nobody's: Canvas has rows of points, and a learner of its own for tests."""
    student = columns.get("Student", "")
    ids = [name for name in IDS if name in columns]
    if key(student) in ("pointspossible", "manualposting") or (
        student == "Student, Test" and "SIS User ID" not in columns
    ):
        return None
    if not ids and not any(columns.get(name) for name in NAMES):
        return None
    if "Identifier" in columns:  # "Participant 123", in the language of the site
        given = columns["Identifier"]
        columns["Identifier"] = given[len(given.rstrip("0123456789")) :]
    if "ID" in columns:
        columns["ID"] = columns["ID"].removesuffix(".0")  # Excel's doing
    return columns


def _display(columns: dict[str, str]) -> str:
    if "Full name" in columns:
        return columns["Full name"]
    if "First name" in columns or "Last name" in columns:
        return f"{columns.get('First name', '')} {columns.get('Last name', '')}".strip()
    last, _, first = columns.get("Student", "").partition(",")
    return f"{first.strip()} {last.strip()}".strip()


def _learners(rows: Iterable[dict[str, str]]) -> list[Learner]:
    """A learner for each person; the same person in two rows, for two sections, is one."""
    found: dict[str, Learner] = {}
    for columns in rows:
        name = _display(columns)
        given = next((columns[column] for column in IDS if columns.get(column)), name)
        id, note = safe_id(given), ""
        if id != given:
            note = f"the roster's id {given!r} cannot name a folder"
        if id in found and key(found[id].name) == key(name):
            found[id].columns.update({k: v for k, v in columns.items() if k not in found[id].columns})
            continue
        if id in found:
            id = safe_id(f"{id}/{name}")
            note = f"the roster gives the id {given!r} to two people"
        found[id] = Learner(id, name or id, columns, note)
    return list(found.values())
