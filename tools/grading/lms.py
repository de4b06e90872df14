"""What learning platforms give and take: their archives of submissions, in; feedback that they take in bulk, out.

``collect`` is the command. Nobody is refused: what has no place is kept, and listed with the reason.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tools.grading import handins, marks, notebooks, shelf
from tools.grading.archive import Member, Unreadable, members
from tools.grading.handins import Aside, Handin, Notebook
from tools.grading.plain import visible
from tools.grading.platforms import PLATFORMS, written
from tools.grading.roster import Learner, Roster, read_roster
from tools.grading.shelf import Attempt, Collected, Handed, Unmatched

WIDEST = 200  # letters in a line of the table


@dataclass
class Outcome:
    """What one run of collect did.

    Attributes:
        collected: all that is known of the lab now.
        platform: where the archive is from, a key of ``PLATFORMS``.
        new: attempts that were not there before.
        people: ids of those who have work in this archive.
        late: ids of those of them whom the platform calls late.
        untimed: ids of those of them for whose last attempt no time is known.
        ignored: files that a system wrote beside what a person meant.
        notes: what else to know.
    """

    collected: Collected
    platform: str = ""
    new: int = 0
    people: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    untimed: set[str] = field(default_factory=set)
    ignored: int = 0
    notes: list[str] = field(default_factory=list)


def collect(lab: str, root: Path, source: Path, roster: Path | None = None, zone: str | None = None) -> Outcome:
    """Read what a platform gave, and put each notebook where the grader looks; run again, it adds and loses nothing.

    Args:
        lab: name of the lab.
        root: the course's folder.
        source: the archive of submissions as it was downloaded, or a folder made of it.
        roster: the table of the class; if it is not given, the one of the last time.
        zone: of the times in the archive, such as ``Europe/Berlin``; without one they are this machine's.
    Raises:
        ValueError: for an unknown lab or zone, a roster or archive that is none.
        FileNotFoundError: if a file is not there.
    """
    marks.find_lab(lab)
    done = Outcome(shelf.load(lab, root))
    people, at = _people(done.collected, roster), _zone(zone)
    with members(source, at) as files:
        meant = [member for member in files if not member.junk]
        done.ignored = len(files) - len(meant)
        done.platform, found, aside = handins.sorted_out(meant, people)
        archive = handins.times_of(done.platform, found)
        fetched = datetime.fromtimestamp(source.stat().st_mtime, UTC)
        left = handins.OF_ALL
        for handin in sorted(found, key=lambda handin: handin.size):
            left -= handin.size
            if left < 0:
                aside += _without(handin, "more than can be read at once; collect it from an archive of its own")
                continue
            counted, beside, reason = handins.notebooks(handin, lab)
            if reason:
                aside += _without(handin, reason)
                continue
            timed = [(one, *handins.time_of(one, handin, archive, fetched, at)) for one in counted]
            for learner in handin.match.learners:
                _put(done, learner, handin, timed, beside, root)
        _put_aside(done.collected, meant, aside, root)
    _look_up(done, people, root)
    shelf.save(done.collected, root)
    return done


def _people(collected: Collected, roster: Path | None) -> Roster:
    if roster is not None:
        return read_roster(roster)
    if not collected.roster:
        raise FileNotFoundError(f"no roster was given for {collected.lab} yet; give one: ROSTER=roster.csv")
    rows = {id: dict(columns) for id, columns in collected.roster.items()}
    return Roster([Learner(id, columns.pop("name"), columns) for id, columns in rows.items()])


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (LookupError, ValueError, OSError):
        raise ValueError(f"no time zone is called {name!r}; write it as Europe/Berlin, or UTC") from None


def _without(handin: Handin, reason: str) -> list[Aside]:
    who = ", ".join(learner.id for learner in handin.match.learners)
    return [Aside(member, who, reason) for member, *_ in handin.files]


def _put(
    done: Outcome,
    learner: Learner,
    handin: Handin,
    timed: Sequence[tuple[Notebook, datetime, str]],
    beside: Sequence[Notebook],
    root: Path,
) -> None:
    """Add what one learner handed in to what is there of them."""
    lab, named, columns = done.collected.lab, handin.match.named, learner.columns
    empty = Handed(named.platform, named.prefix, learner.name)
    handed = done.collected.learners.setdefault(learner.id, empty)
    shelf.adopt(handed, lab, learner.id, root)
    handed.platform, handed.display = named.platform, learner.name
    handed.email = columns.get("Email address", handed.email)
    handed.prefix, handed.number = named.prefix, named.number or (named.name if named.platform == "blackboard" else "")
    content = {}
    for one, when, source in timed:
        raw, late = one.content, handins.late(one, handin)
        notes = [*one.notes, *filter(None, [handin.match.note])]
        if len(handin.match.learners) > 1:
            notes.append(f"handed in by the group {named.name}")
        attempt = Attempt(written(when), source, late, one.name, shelf.digest(raw), one.named.upload, notes)
        attempt.named = one.named.prefix + (f"_{one.named.upload}" if one.named.upload else "")
        content[attempt.sha256] = raw
        done.new += shelf.add(handed, attempt)
    for other in beside:
        shelf.beside(lab, learner.id, handed.attempts[-1], other.name, other.content, root)
    shelf.keep(handed, lab, learner.id, root, content.get)
    last = handed.attempts[-1]
    done.people.add(learner.id)
    for found, ids in ((last.late, done.late), (last.source not in shelf.EXACT, done.untimed)):
        if found:
            ids.add(learner.id)


def _put_aside(collected: Collected, meant: Sequence[Member], aside: Sequence[Aside], root: Path) -> None:
    """Keep what has no place; what had none the last time and is in this archive, too, is forgotten."""
    now = {member.name: member for member in meant}

    def seen(old: Unmatched) -> bool:
        if old.name not in now:
            return False
        try:
            return not old.sha256 or shelf.digest(now[old.name].content()) == old.sha256
        except Unreadable:
            return not old.sha256

    shelf.forget(collected, seen, root)
    left, of = handins.OF_ALL, dict.fromkeys((one.who for one in aside), handins.OF_ONE)
    for one in sorted(aside, key=lambda one: one.member.size):
        new = Unmatched(one.member.name, one.who, one.reason)
        left -= one.member.size
        of[one.who] -= one.member.size
        try:
            if left < 0 or of[one.who] < 0:
                raise Unreadable("too much to be kept")
            content = one.member.content()
            new.sha256 = shelf.digest(content)
            new.kept = shelf.put_aside(new.name, content, collected.lab, root)
        except Unreadable as error:
            new.reason += "" if str(error) in new.reason else f"; {error}"
        collected.unmatched.append(new)


def _look_up(done: Outcome, people: Roster, root: Path) -> None:
    """Who is missing, and what there is to say of the roster."""
    collected, ids = done.collected, {learner.id for learner in people.learners}
    there = {id for id in ids if shelf.handed_in(collected.lab, id, root).exists()}
    collected.missing = {one.id: one.name for one in people.learners if one.id not in there}
    kept = {id: row for id, row in collected.roster.items() if id in collected.learners and id not in ids}
    collected.roster = {one.id: {"name": one.name, **one.columns} for one in people.learners} | kept
    done.notes += [f"{one.name} is {one.id} here: {one.note}" for one in people.learners if one.note]
    if gone := sorted(set(collected.learners) - ids):
        done.notes.append(f"collected before, and not in this roster: {', '.join(gone)}")


# --- what a run says -------------------------------------------------------------------------------------------------


def summary(done: Outcome) -> str:
    """The table at the end: how many, who is missing, what has no place, and what to do about it."""
    collected = done.collected
    several = sum(len(handed.attempts) > 1 for handed in collected.learners.values())
    lines = [
        f"{collected.lab}, from {PLATFORMS[done.platform]}: {len(done.people)} learners, {done.new} new attempts.",
        f"  {'collected':<11}{len(collected.learners)}, {several} of them with several attempts",
    ]
    lines += _listed("late", [_who(id, collected) for id in sorted(done.late)], "as the platform says")
    lines += _listed("missing", [_who(id, collected) for id in collected.missing])
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in collected.unmatched:
        grouped.setdefault((one.who or one.name, one.reason), []).append(one.name)
    people = [f"{who}: {reason}{_files(names, who)}" for (who, reason), names in grouped.items()]
    lines += _listed("unmatched", people, f"kept in collected/{collected.lab}/unmatched/")
    notes = [
        f"{_who(id, collected)}: {', '.join(handed.attempts[-1].notes)}"
        for id, handed in collected.learners.items()
        if id in done.people and handed.attempts[-1].notes
    ]
    lines += _listed("look at", notes + done.notes)
    if done.untimed:
        why = ["the archive has only the time of its own download: no timestamp.txt, and nobody loses points by it"]
        if done.platform == "moodle":
            why.append("give Moodle's grading worksheet as the roster, and the times are known")
        lines += _listed("no time", why, f"for {len(done.untimed)}")
    if done.ignored:
        lines.append(f"  {'ignored':<11}{done.ignored} files of macOS, Windows or Jupyter")
    return "\n".join(visible(line if len(line) <= WIDEST else f"{line[:WIDEST]}...") for line in lines)


def _who(id: str, collected: Collected) -> str:
    name = collected.roster.get(id, {}).get("name", "")
    return f"{id} ({name})" if name and name != id else id


def _files(names: Sequence[str], who: str) -> str:
    return f" ({len(names)} files)" if len(names) > 1 else "" if names[0] == who else f" ({names[0]})"


def _listed(head: str, items: Sequence[str], more: str = "") -> list[str]:
    """A row with a number, and below it the items; nothing where there are none."""
    if not items:
        return []
    number = more if more.startswith("for ") else f"{len(items)}{', ' if more else ''}{more}"
    return [f"  {head:<11}{number}", *(f"    {item}" for item in items)]


# --- for others ------------------------------------------------------------------------------------------------------


def attempts(lab: str, student: str, root: Path) -> list[tuple[datetime | None, Path]]:
    """The notebook of every attempt of a learner, oldest first, and its time in UTC, which like nbgrader's has no zone.

    The last is the one in ``submitted/``. The time is None where nobody knows it: there is no ``timestamp.txt`` then.
    """
    handed = shelf.of_one(lab, student, root)
    shelf.adopt(handed, lab, student, root)
    found = [(one, shelf.path_of(one, handed, lab, student, root)) for one in handed.attempts]
    return [
        (one.when.replace(tzinfo=None) if one.source in shelf.EXACT else None, path)
        for one, path in found
        if path.is_file()
    ]


def roster_names(lab: str, root: Path) -> dict[str, dict[str, str]]:
    """By id, what the platforms call a learner, for their tables; empty if nothing was collected.

    The keys are the columns of their own tables: ``Student`` ("Last, First"), ``ID``, ``SIS User ID``, ``SIS Login ID``
    and ``Section`` of Canvas, ``ID number``, ``Email address`` and ``Identifier`` of Moodle, ``Username`` and
    ``Student ID`` of Blackboard; and ``name``, for a person. What the roster does not have is not there.
    """
    names = {}
    for id, columns in shelf.load(lab, root).roster.items():
        known = dict(columns)
        if "Student" not in known and ("First name" in known or "Last name" in known):
            parts = known.get("Last name", ""), known.get("First name", "")
            known["Student"] = ", ".join(filter(None, parts))
        names[id] = {"Student": known["name"]} | known
    return names


def packed_feedback(lab: str, root: Path) -> Path:
    """Pack the pages in ``feedback/`` as the platform takes them back, into ``grades/<lab>/feedback.zip``.

    Moodle finds the learner by the folder, Canvas by the two numbers in the name. Blackboard takes no files in bulk, so
    there, and where nothing was collected, a page is called by the user's name or the id.

    Raises:
        FileNotFoundError: if there is no page.
    """
    pages = {path.parent.parent.name: path for path in sorted((root / "feedback").glob(f"*/{lab}/{lab}.html"))}
    if not pages:
        raise FileNotFoundError(f"there is no feedback for {lab} yet; run: make feedback LAB={lab}")
    collected = shelf.load(lab, root)
    named: dict[str, Path] = {}
    for id, page in pages.items():
        name, handed = _page_name(id, collected, lab), collected.learners.get(id)
        if name in named and (handed is None or handed.platform != "canvas"):  # a group at Canvas is one, and gets one
            name = f"{id}_{lab}.html"
        named.setdefault(name, page)
    return _packed(root / "grades" / lab / "feedback.zip", {name: page.read_bytes() for name, page in named.items()})


def _page_name(id: str, collected: Collected, lab: str) -> str:
    handed, columns = collected.learners.get(id), collected.roster.get(id, {})
    named = next((one.named for one in reversed(handed.attempts) if one.named), "") if handed else ""
    name, *numbers = named.rsplit("_", 2)
    if handed and handed.platform == "canvas" and len(numbers) == 2 and all(map(str.isdecimal, numbers)):
        if any(part.isdecimal() for part in name.split("_")):  # Canvas takes the first two numbers that it finds
            name = name.replace("_", "")
        return f"{name}_{numbers[0]}_{numbers[1]}_{lab}.html"
    if handed and named and handed.platform == "moodle":
        number = columns.get("Identifier")
        if number and number != handed.number:  # a group's folder has the group's number, and Moodle wants a person's
            named = f"{columns['name'].replace('_', ' ')}_{number}_assignsubmission_file"
        return f"{named}/{lab}.html"
    return f"{columns.get('Username', id)}_{lab}.html".replace("/", "_")


def for_similarity(lab: str, root: Path) -> Path:
    """Pack what learners wrote themselves for a tool that compares programs, such as JPlag.

    ``grades/<lab>/similarity.zip`` has a folder for each learner, with one ``.py`` of the cells that were theirs to
    fill and are not as they were given out. Lines for IPython alone are commented out.

    Raises:
        FileNotFoundError: if there is no submission.
    """
    released = notebooks.read(root / "labs" / lab, lab)[0]
    given = notebooks.known_cells(released) if released else {}
    texts = {}
    try:
        folders = marks.handed_in(root / "submitted", lab)
    except FileNotFoundError as nothing:
        raise FileNotFoundError(f"nobody has written anything: {nothing}") from None
    for student, folder in folders.items():
        notebook, _ = notebooks.read(folder, lab)
        own = notebooks.known_cells(notebook) if notebook else {}
        parts = [
            f"# {id}\n{_python(own[id].source)}\n"
            for id, cell in given.items()
            if cell.cell_type == "code"
            and cell.metadata.nbgrader.solution
            and id in own
            and own[id].source.strip() != cell.source.strip()
        ]
        if parts:
            texts[f"{student}/{lab}.py"] = "\n".join(parts).encode()
    if not texts:
        raise FileNotFoundError(f"nobody has written anything in {root}/submitted/<student>/{lab}/")
    return _packed(root / "grades" / lab / "similarity.zip", texts)


def _python(source: str) -> str:
    return "\n".join(f"# {line}" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.splitlines())


def _packed(path: Path, contents: dict[str, bytes]) -> Path:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            packed.writestr(name, content)
    shelf.place(path, raw.getvalue())
    return path
