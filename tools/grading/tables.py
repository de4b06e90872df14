"""The marks as tables: for the instructor, and as Moodle and Canvas import them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook

from tools.grading.files import write
from tools.grading.gradebook import unread
from tools.grading.ledger import Record
from tools.grading.plain import table_cell
from tools.grading.policy import Rules

Row = dict[str, Any]
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")  # of its own export, which it takes back


def table(lab: str, book: Gradebook, records: Mapping[str, Record], rules: Rules) -> list[Row]:
    """One row a learner, from the gradebook: each mark, their sum, what waits for a person, and what stands beside.

    A mark that a person gave counts before the automatic one. An essay that nobody has read is blank, and so is the sum
    then. Where the lab has a due date, two columns say by how many hours it was missed, if that
    is known, and what that costs.
    """
    rows = []
    for student, record in sorted(records.items()):
        submission = book.find_submission(lab, student)
        grades = book.find_submission_notebook(lab, lab, student).grades
        named = {grade.name.removeprefix("check-"): grade for grade in grades}
        row: Row = {"student": student} | {name: "" if unread(g) else g.score for name, g in named.items()}
        penalty = submission.late_submission_penalty or 0.0
        if rules.due is not None:
            known = submission.timestamp is not None
            row |= {"late": round(submission.total_seconds_late / 3600, 2) if known else "", "penalty": penalty}
        total = "" if any(map(unread, grades)) else max(sum(grade.score for grade in grades) - penalty, 0.0)
        waiting = ", ".join(name for name, grade in named.items() if grade.needs_manual_grade)
        mistakes = "; ".join(f"{mark.exercise}: {mark.mistake}" for mark in record.marked.marks if mark.mistake)
        row |= {lab: total, "of": sum(grade.max_score for grade in grades), "to look at": waiting}
        rows.append(row | {"mistakes": mistakes, "flags": "; ".join(record.flags)})
    return rows


def write_tables(lab: str, rows: Sequence[Row], known: Mapping[str, Mapping[str, str]], root: Path) -> None:
    """Write ``grades/<lab>/grades.csv``, and the sums as Moodle and Canvas import them: what is blank changes nothing.

    Args:
        lab: its name.
        rows: as ``table`` makes them.
        known: by learner's id, what the roster says of them, in the columns of the platforms' own tables.
        root: the course's folder.
    """
    people = [(row, known.get(row["student"], {})) for row in rows]
    canvas = [dict.fromkeys(CANVAS, "") | {"Student": "    Points Possible", lab: rows[0]["of"]}]
    canvas += [
        {name: of.get(name, "") for name in CANVAS}
        | {"SIS Login ID": of.get("SIS Login ID", row["student"]), lab: row[lab]}
        for row, of in people
    ]
    moodle = [
        {"ID number": of.get("ID number", row["student"]), "Email address": of.get("Email address", ""), lab: row[lab]}
        for row, of in people
    ]
    for name, made in {"grades": rows, "moodle": moodle, "canvas": canvas}.items():
        write(root / "grades" / lab / f"{name}.csv", _csv(made))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), quoting=csv.QUOTE_ALL)  # a learner's comma ends no cell
    writer.writeheader()
    writer.writerows({name: table_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
