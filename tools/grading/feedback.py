"""What a learner gets back: the notebook with what was said at each check, and nbgrader's page of it."""

import html
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.apps.api import NbGraderAPI
from tqdm import tqdm
from traitlets.config import Config

from tools.grading import plain
from tools.grading.children import end_with_parent
from tools.grading.files import write
from tools.grading.gradebook import COURSE
from tools.grading.ledger import Record
from tools.grading.marks import Mark

SECONDS = 60  # of processor time for one page, which takes less than one; whoever needs more gets a plain page
SHOWN = 200  # cells of a learner's own
SIGNS = {"right": "\u2713", "blank": "\u25cb"}


def said(mark: Mark) -> str:
    """One line of a check: sign, exercise, the mistake by name, the points where they are a part, what to do."""
    named = f" ({mark.mistake})" if mark.mistake else ""
    part = f", {mark.points:g} of {mark.of:g} points" if 0 < mark.points < mark.of else ""
    return f"{SIGNS.get(mark.status, chr(0x2717))} {mark.exercise}{named}{part}: {mark.message}"


def own(kind: str, source: str) -> nbformat.NotebookNode:
    """A cell that a learner wrote. Code is only shown; a text is shown as it was written."""
    return new_code_cell(plain.lines(source)) if kind == "code" else new_markdown_cell(plain.block(source))


def shown(record: Record, released: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook for feedback: as released, with the learner's cells, and what was said at each check."""
    marked = record.marked
    notebook, given = nbformat.from_dict(json.loads(json.dumps(released))), {m.exercise: m for m in marked.marks}
    between = added(record)
    cells = between.get(-1, [])
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        data = cell.metadata.get("nbgrader")
        if data is not None and data.solution and data.grade_id in marked.sources:
            cell.source = own(cell.cell_type, marked.sources[data.grade_id]).source
        elif data is not None and data.grade and (mark := given.get(data.grade_id.removeprefix("check-"))):
            cell.outputs = [new_output("stream", name="stdout", text=f"{said(mark)}\n")]
        cells += [cell, *between.get(number, [])]
    if record.marked.flags:
        cells.insert(0, noticed(record.marked.flags))
    notebook.cells = cells
    return notebook


def added(record: Record) -> dict[int, list[nbformat.NotebookNode]]:
    """The learner's own cells, by the number of the released one that they follow; -1 for the top.

    A cell that an answer rests on is named, for a person looks for the answer in the one that was given out for it.
    """
    names = {source: name for name, source in record.marked.elsewhere.items()}
    more = record.marked.added[SHOWN:]
    chosen = [*record.marked.added[:SHOWN], *(one for one in more if one[2] in names)]
    between: dict[int, list[nbformat.NotebookNode]] = {}
    for after, kind, source in chosen:
        beside = between.setdefault(after, [])
        if source in names:
            beside.append(new_markdown_cell(f"*Your {names[source]}, on which an answer rests:*"))
        beside.append(own(kind, source))
    return between


def noticed(flags: Sequence[str]) -> nbformat.NotebookNode:
    """A cell with the flags."""
    return new_markdown_cell("**Noticed while marking**\n\n" + plain.block("\n".join(f"- {flag}" for flag in flags)))


def hand_back(record: Record, lab: str, released: nbformat.NotebookNode, root: Path) -> None:
    """Write ``autograded/<student>/<lab>/<lab>.ipynb``, of which nbgrader makes the page of this learner."""
    folder = root / "autograded" / record.marked.student / lab
    write(folder / f"{lab}.ipynb", nbformat.writes(shown(record, released)))


# --- pages -----------------------------------------------------------------------------------------------------------


def pages(lab: str, records: Mapping[str, Record], root: Path, workers: int) -> dict[str, str]:
    """A page for each learner by nbgrader's own converter, side by side, with a bar, each in a process of its own.

    Args:
        lab: its name.
        records: of the learners, by their id.
        root: the course's folder.
        workers: how many at once.

    Returns:
        By student, why there is only a plain page; for most, nothing.
    """
    context = multiprocessing.get_context("fork")
    waiting, running, failed = list(records), {}, {}
    bar = tqdm(total=len(waiting), desc=f"pages of {lab}", unit="learner")
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                student = waiting.pop()
                child = context.Process(target=_page, args=(os.getpid(), lab, student, root))
                child.start()
                running[student] = (child, time.monotonic() + 20 * SECONDS)  # should it wait for something, for ever
            wait([child.sentinel for child, _ in running.values()], timeout=1)
            for student, (child, until) in list(running.items()):
                if child.is_alive() and time.monotonic() < until:
                    continue
                del running[student]
                bar.update()
                if reason := _why_not(child):
                    failed[student] = reason
                    write(root / "feedback" / student / lab / f"{lab}.html", plain_page(lab, records[student]))
    finally:
        bar.close()
        for child, _ in running.values():
            child.kill()
    return failed


def _page(parent: int, lab: str, student: str, root: Path) -> None:
    """Runs in a process of its own, and ends it: 0 if the page was made."""
    end_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    config = Config()
    config.CourseDirectory.root, config.CourseDirectory.course_id = str(root), COURSE
    os._exit(0 if NbGraderAPI(config=config).generate_feedback(lab, student, force=True)["success"] else 1)


def _why_not(child: BaseProcess) -> str:
    """Nothing if the process made its page; it is ended if it has not ended by itself."""
    if child.is_alive():
        child.kill()
        child.join()
        return "it took too long"
    child.join()
    return {0: "", 1: "nbgrader failed"}.get(child.exitcode or 0, "it took too long, or too much memory")


def plain_page(lab: str, record: Record) -> str:
    """A page without the notebook: each mark, and what was said."""
    lines = [*map(said, record.marked.marks), *(f"Noticed: {flag}" for flag in record.marked.flags)]
    text = html.escape("\n\n".join(map(plain.lines, lines)))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{lab}</title>'
        '<meta name="viewport" content="width=device-width"><body style="font-family: sans-serif; margin: 2em auto; '
        f'max-width: 45em; padding: 0 1em"><h1>{lab}</h1><p>The page with your notebook could not be made. '
        f'These are your marks:</p><pre style="white-space: pre-wrap">{text}</pre></body></html>\n'
    )
