"""Marks as others take them: nbgrader's gradebook, notebooks for its feedback, tables for Moodle and Canvas."""

import contextlib
import csv
import html
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.api import Gradebook, MissingEntry

from tools.grading.marks import Marked

COURSE = "vanishing-and-exploding-gradients"  # as in nbgrader_config.py

# nbgrader calls alembic, which lies beside this Python, by its bare name
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

Row = dict[str, Any]
Notes = dict[str, dict[str, str]]  # of each learner, what stands beside the marks


def nbgrader(*arguments: str, root: Path) -> None:
    """Run one of nbgrader's own commands on the course in ``root``.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    subprocess.run([sys.executable, "-m", "nbgrader", *arguments, "--log-level=WARN"], cwd=root, check=True)


# --- the gradebook ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(lab: str, root: Path) -> Iterator[Gradebook]:
    """The gradebook of the course in ``root``, with this lab in it.

    Raises:
        LookupError: if the lab is not in it yet.
    """
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
        try:
            book.find_notebook(lab, lab)
        except MissingEntry:
            raise LookupError(f"{lab} is not in the gradebook yet; run: make release LAB={lab}") from None
        yield book


def enter(marked: Marked, lab: str, book: Gradebook) -> None:
    """Write one learner's marks into nbgrader's gradebook. A mark that a person gave stays, to be looked at again."""
    book.update_or_create_student(marked.student)
    book.update_or_create_submission(lab, marked.student)
    notebook = book.find_submission_notebook(lab, lab, marked.student)
    given = {mark.exercise: mark for mark in marked.marks}
    for grade in notebook.grades:
        exercise = given.get(grade.name.removeprefix("check-"))
        in_words = exercise is None and grade.name in marked.sources  # that, a person marks
        grade.auto_score = exercise.points if exercise else None if in_words else 0
        grade.needs_manual_grade = in_words or grade.manual_score is not None or bool(marked.flags)
    for comment in notebook.comments:
        if comment.name in given:
            mark = given[comment.name]
            flags = "".join(f"\nNoticed: {flag}." for flag in marked.flags)
            # nbgrader's pages take a comment for HTML
            said = html.escape(f"{mark.message}{flags}", quote=False)
            comment.auto_comment = said if mark.status != "right" or flags else None
    book.db.commit()


# --- what a learner gets back ----------------------------------------------------------------------------------------


def shown(marked: Marked, released: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook for feedback: as released, with the learner's own cells, and what was said at each check."""
    notebook, said = nbformat.from_dict(json.loads(json.dumps(released))), {m.exercise: m for m in marked.marks}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        data = cell.metadata.get("nbgrader")
        if data is None:
            continue
        if data.solution:
            cell.source = marked.sources.get(data.grade_id, cell.source)
            if cell.cell_type == "markdown":  # nbgrader's pages show HTML in it as it is
                cell.source = SanitizeHTML().sanitize_html_tags(cell.source)
        elif data.grade and (given := said.get(data.grade_id.removeprefix("check-"))):
            sign = {"right": "\u2713", "blank": "\u25cb"}.get(given.status, "\u2717")
            named = f" ({given.mistake})" if given.mistake else ""
            text = f"{sign} {given.exercise}{named}: {given.message}\n"
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    if marked.flags:
        lines = "\n".join(f"- {html.escape(flag, quote=False)}" for flag in marked.flags)
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"**Noticed while marking**\n\n{lines}"))
    return notebook


def hand_back(marked: Marked, lab: str, released: nbformat.NotebookNode, root: Path) -> None:
    """Write ``autograded/<student>/<lab>/<lab>.ipynb``, of which nbgrader makes the page of this learner."""
    _write(root / "autograded" / marked.student / lab / f"{lab}.ipynb", nbformat.writes(shown(marked, released)))


# --- tables ----------------------------------------------------------------------------------------------------------


def notes(results: Sequence[Marked]) -> Notes:
    """What stands beside the marks of each learner: the mistakes by name, and the flags."""
    return {
        marked.student: {
            "mistakes": "; ".join(f"{mark.exercise}: {mark.mistake}" for mark in marked.marks if mark.mistake),
            "flags": "; ".join(marked.flags),
        }
        for marked in results
    }


def kept_notes(lab: str, root: Path) -> Notes:
    """The same, as the table of the last marking has it.

    Raises:
        FileNotFoundError: if the lab was not graded yet.
    """
    written = root / "grades" / lab / "grades.csv"
    if not written.exists():
        raise FileNotFoundError(f"{lab} was not graded yet; run: make grade LAB={lab}")
    with written.open(newline="", encoding="utf-8") as file:
        return {row["student"]: {name: row[name] for name in ("mistakes", "flags")} for row in csv.DictReader(file)}


def table(lab: str, book: Gradebook, beside: Notes) -> list[Row]:
    """One row a learner, from the gradebook: each mark, their sum, what waits for a person, and what stands beside.

    A mark that a person gave counts before the automatic one.
    """
    rows = []
    for student in sorted(beside):
        grades = book.find_submission_notebook(lab, lab, student).grades
        names = {grade.name.removeprefix("check-"): grade for grade in grades}
        waiting = ", ".join(name for name, grade in names.items() if grade.needs_manual_grade)
        row: Row = {"student": student} | {name: grade.score for name, grade in names.items()}
        row |= {lab: sum(grade.score for grade in grades), "of": sum(grade.max_score for grade in grades)}
        rows.append(row | {"to look at": waiting} | beside[student])
    return rows


def export(lab: str, book: Gradebook, beside: Notes, root: Path) -> list[Row]:
    """Write ``grades/<lab>/grades.csv``, and the same marks as Moodle and Canvas import them; returns the table."""
    grades = table(lab, book, beside)
    canvas = [{"Student": "    Points Possible", "ID": "", "SIS Login ID": "", "Section": "", lab: grades[0]["of"]}]
    canvas += [{"Student": "", "ID": "", "SIS Login ID": r["student"], "Section": "", lab: r[lab]} for r in grades]
    moodle = [{"ID number": row["student"], lab: row[lab]} for row in grades]
    for name, rows in {"grades": grades, "moodle": moodle, "canvas": canvas}.items():
        _write(root / "grades" / lab / f"{name}.csv", _csv(rows))
    return grades


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    """All or nothing, as everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
