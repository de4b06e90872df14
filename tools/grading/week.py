"""The week of an instructor, step by step: give out, mark, give back, explain a mark."""

import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import nbformat

from tools.grading import classroom, feedback, gradebook, lms, plain, tables
from tools.grading.appeal import explained
from tools.grading.jail import LIMITS, ROOT, Limits
from tools.grading.ledger import Ledger, Record, alone, draw, reference_hash, submitted_hash
from tools.grading.marks import Marked, find_lab, handed_in, mark_side_by_side
from tools.grading.policy import Rules, handed_in_at
from tools.grading.tables import Row

Attempts = list[tuple[datetime | None, Path]]  # of one learner, the latest last


def release(lab: str, root: Path = ROOT) -> Path:
    """Enter the lab in the gradebook and pack ``labs/<lab>`` for the learners; returns the archive."""
    find_lab(lab)
    with alone(root), tempfile.TemporaryDirectory() as folder:  # labs/ itself is made, with outputs, by `make labs`
        into = f"--CourseDirectory.release_directory={folder}"
        gradebook.nbgrader("generate_assignment", lab, "--force", into, root=root)
    archive = root / "release" / f"{lab}.zip"
    archive.parent.mkdir(exist_ok=True)
    part = archive.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((root / "labs" / lab).rglob("*")):
            if path.is_file() and ".ipynb_checkpoints" not in path.parts:
                packed.write(path, path.relative_to(root / "labs"))
    part.replace(archive)
    return archive


def grade(
    lab: str,
    root: Path = ROOT,
    workers: int | None = None,
    seed: int | None = None,
    limits: Limits = LIMITS,
    student: str | None = None,
) -> list[Row]:
    """Mark what is new, write the gradebook, ``autograded/`` for feedback, the tables and the page of the class.

    Each learner is saved when marked, so what was stopped goes on where it was. Whoever is saved is marked again only
    if the submission, the exercises or the seed have changed.

    Args:
        lab: its name.
        root: the course's folder.
        workers: processes side by side; one for each core unless told.
        seed: of the cases, for the whole class; the one of the last time unless told, and a secret one the first time.
        limits: what each answer may take.
        student: mark this one again, whatever has changed, and nobody else.

    Returns:
        The table, of the whole class.
    Raises:
        LookupError: if the lab is not in the gradebook yet, or the student has handed in nothing.
        FileNotFoundError: if there is no submission.
        ValueError: for a lab that does not exist, a policy that is none.
        Busy: if another grader is at work.
        NoJail: if nothing here can keep learners' code apart.
        Unusable: if the gradebook cannot be used.
    """
    find_lab(lab)
    released = _released(lab, root)
    with alone(root) as lock:
        rules, ledger = Rules(lab, root), Ledger(lab, root)
        with gradebook.opened(lab, root) as book:
            rules.agree(book)
        folders = handed_in(root / "submitted", lab)
        if student is not None and student not in folders:
            raise LookupError(f"nothing is in {root}/submitted/{plain.visible(student)}/{lab}/")
        records, reference = ledger.records(), reference_hash(lab, root)
        asked = next(n for n in (seed, ledger.seed(), draw()) if n is not None)
        attempts = {learner: tried(learner, lab, folder, root, rules) for learner, folder in folders.items()}
        hashes = {learner: submitted_hash(tries, rules.of_the_best) for learner, tries in attempts.items()}
        due = [
            learner
            for learner in folders
            if (learner == student if student else not _same(records.get(learner), hashes[learner], asked, reference))
        ]
        todo = {learner: [path for _, path in attempts[learner]] for learner in due}
        if todo:
            count = min(workers or os.cpu_count() or 1, len(todo))
            for found in mark_side_by_side(todo, lab, asked, count, released, limits, [lock]):
                learner = found[0].student
                record = Record(found[0], hashes[learner], asked, reference, told=_told(records.get(learner)))
                choose(record, found, attempts[learner], rules)
                ledger.keep_seed(asked)
                ledger.keep(record)
                records[learner] = record
        _entered(lab, root, ledger, records, rules)
        return _exported(lab, root, records, rules)


def tried(student: str, lab: str, folder: Path, root: Path, rules: Rules) -> Attempts:
    """What a learner has handed in, with its time where that is known: the last, and if the best counts, all before."""
    earlier = [path.parent for _, path in lms.attempts(lab, student, root)] if rules.best_counts else []
    return [(handed_in_at(path), path) for path in [*(path for path in earlier if path != folder), folder]]


def choose(record: Record, found: Sequence[Marked], attempts: Attempts, rules: Rules) -> None:
    """Of a learner's attempts, take the one that counts: the last, or the one that is worth most when late has cost."""
    student, times = found[0].student, [when for when, _ in attempts]
    worth = [m.points - rules.penalty(student, m.points, when) for m, when in zip(found, times, strict=True)]
    number = max(range(len(found)), key=lambda n: (worth[n], n)) if rules.best_counts else len(found) - 1
    record.marked, when = found[number], times[number]
    record.when = when.isoformat(" ", "seconds") if when else None
    said = [when.isoformat(" ", "seconds") if when else None for when in times]
    record.attempts = list(zip(said, (m.points for m in found), strict=True))


def _told(record: Record | None) -> dict[str, str]:
    return record.told if record else {}


def _same(record: Record | None, submitted: str, seed: int, reference: str) -> bool:
    """Whether a learner is marked already, as things are."""
    return record is not None and (record.submitted, record.seed, record.reference) == (submitted, seed, reference)


def _released(lab: str, root: Path) -> nbformat.NotebookNode:
    return nbformat.read(root / "labs" / lab / f"{lab}.ipynb", as_version=4)


def _entered(lab: str, root: Path, ledger: Ledger, records: Mapping[str, Record], rules: Rules) -> None:
    """Write everybody's marks into the gradebook, and their notebooks for feedback. Done twice, it changes nothing."""
    released = _released(lab, root)
    with gradebook.opened(lab, root) as book:
        for record in records.values():
            told = record.told
            gradebook.enter(record, lab, book, rules)
            if record.told != told:
                ledger.keep(record)
            feedback.hand_back(record, lab, released, root)


def _exported(lab: str, root: Path, records: Mapping[str, Record], rules: Rules) -> list[Row]:
    """Compute what being late costs, and write the tables and the page of the class."""
    with gradebook.opened(lab, root) as book:
        rules.agree(book)
        rules.enter_penalties(book, list(records))
        rows = tables.table(lab, book, records, rules)
    for row in rows:
        if not (root / "submitted" / row["student"] / lab).is_dir():
            row["flags"] = "; ".join(filter(None, [row["flags"], "nothing is in submitted/ any more"]))
    tables.write_tables(lab, rows, lms.roster_names(lab, root), root)
    classroom.write_page(find_lab(lab), records, rows, root)
    return rows


def give_back(lab: str, root: Path = ROOT, workers: int | None = None) -> list[str]:
    """A page for each learner by nbgrader's own converter, and the tables once more, with the marks that people gave.

    Returns:
        The learners whose page could not be made, and who have a plain one.
    Raises:
        FileNotFoundError: if the lab was not graded yet.
        Busy, Unusable: as ``grade``.
    """
    find_lab(lab)
    with alone(root):
        rules, ledger = Rules(lab, root), Ledger(lab, root)
        if not (records := ledger.records()):
            raise FileNotFoundError(f"{lab} was not graded yet; run: make grade LAB={lab}")
        _entered(lab, root, ledger, records, rules)  # should the gradebook be a new one
        _exported(lab, root, records, rules)  # the pages say what being late costs
        failed = feedback.pages(lab, records, root, workers or os.cpu_count() or 1)
        for student, record in records.items():
            if record.no_page != failed.get(student, ""):
                record.no_page = failed.get(student, "")
                ledger.keep(record)
        _exported(lab, root, records, rules)
    return sorted(failed)


def explain(lab: str, student: str, root: Path = ROOT) -> str:
    """What exactly was wrong with one learner's answers.

    Raises:
        LookupError: if the learner was not marked yet.
    """
    find_lab(lab)
    record = Ledger(lab, root).records().get(student)
    if record is None:
        raise LookupError(f"{plain.visible(student)} was not marked in {lab} yet; run: make grade LAB={lab}")
    changed = record.reference != reference_hash(lab, root)
    warning = f"The exercises have changed since then; mark again first: make grade LAB={lab}\n" if changed else ""
    return warning + explained(lab, record)
