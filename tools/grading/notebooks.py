"""Read the file that a learner handed in: what a mark depends on, and nothing else, within limits that hold for any."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from tools.grading import plain

LARGEST = 50 * 2**20  # bytes of a notebook
CELLS, SOURCE = 2_000, 1_000_000  # cells of a notebook that are read, and characters in all of them
# In a notebook's file, before anything is made of it: lists and objects; quotes, two for each text or key; commas.
PARTS, QUOTES, COMMAS = 1_000_000, 2_000_000, 3_000_000
OUTPUTS, TEXT = 50, 20_000  # of a cell, what is read of them; characters of each
CODE, ESSAY = 100_000, 20_000  # characters of one cell with code, of one with text
ID = 100  # characters of a grade id; nbgrader's own have ten or twenty
KINDS = {"code": "code", "markdown": "markdown", "raw": "raw", "heading": "markdown", "html": "markdown"}
ABOUT = ("grade", "locked", "solution", "task")  # what is kept of nbgrader's notes, beside the id


class NotOne(ValueError):
    """A file that is no notebook; the message says why."""


def read(folder: Path, lab: str) -> tuple[nbformat.NotebookNode | None, list[str]]:
    """The submitted notebook, or None, and flags that say what was odd about the file."""
    right, flags = folder / f"{lab}.ipynb", []
    files = sorted(folder.glob("*.ipynb"))
    if right not in files:
        if len(files) != 1:
            return None, [
                f"no notebook called {right.name}" if not files else f"{len(files)} notebooks, none the right one"
            ]
        right = files[0]
        flags.append(f"the file is called {plain.quoted(right.name)}")
    if right.is_symlink() or not right.is_file():
        return None, ["the notebook is not a file"]
    if right.stat().st_size > LARGEST:
        return None, [*flags, "the notebook is larger than 50 MB"]
    try:
        raw = right.read_bytes()
    except OSError as error:
        return None, [*flags, f"the notebook cannot be read ({type(error).__name__})"]
    try:
        raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raw = raw.decode("latin-1").encode()
        flags.append("the file is not UTF-8")
    try:
        notebook, cut = slimmed(raw)
    except NotOne as error:
        return None, [*flags, f"the file is not a notebook: {error}"]
    except Exception as error:  # whatever a learner's file may make the reader raise
        return None, [*flags, f"the file is not a notebook ({type(error).__name__})"]
    return notebook, flags + cut + limited(notebook)


def slimmed(raw: bytes) -> tuple[nbformat.NotebookNode, list[str]]:
    """The notebook in a file, in the form of today, made of what marks depend on; and a flag if cells are gone.

    A file may have any keys anywhere, and so many of them that it takes minutes to look at them. So parts are counted
    in the bytes, before anything is made of them, and of what is made only what is known here is ever looked at.

    Raises:
        ValueError, LookupError, TypeError, AttributeError, RecursionError: if it is no notebook.
    """
    data = parsed(raw)
    if not isinstance(data, dict):
        raise NotOne("it has no cells")
    version = data.get("nbformat")
    if type(version) is not int or version not in (2, 3, 4):
        raise NotOne("its version is none of 2, 3 and 4")
    found = list(cells_in(data, version))
    flags = [f"{len(found)} cells, of which the first {CELLS} are read"] if len(found) > CELLS else []
    cells = [slim(cell) for cell in found[:CELLS]]
    made = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    return nbformat.from_dict(made), flags  # type: ignore[no-untyped-call]


def parsed(raw: bytes, errors: str = "strict") -> Any:
    """What a learner's file says, as JSON: the one place that makes anything of it, and only of so many parts.

    Args:
        errors: what to do with bytes that are not UTF-8, as in ``bytes.decode``.

    Raises:
        ValueError, RecursionError: if it is no JSON, or has more parts than any notebook.
    """
    brackets = raw.count(b"{") + raw.count(b"[")
    if brackets > PARTS or raw.count(b'"') > QUOTES or raw.count(b",") > COMMAS:
        raise NotOne("it has more parts than any that somebody wrote")
    return json.loads(raw.decode("utf-8-sig", errors))


def cells_in(data: dict[str, Any], version: int) -> Iterator[Any]:
    """All cells: those of all worksheets together in the form before version 4, and nowhere else in it."""
    sheets = [data] if version == 4 else data["worksheets"]
    if not isinstance(sheets, list):
        raise NotOne("it has no cells")
    for sheet in sheets:
        cells = sheet.get("cells", [] if version < 4 else None) if isinstance(sheet, dict) else None
        if not isinstance(cells, list):
            raise NotOne("it has no cells")
        yield from cells


def slim(cell: dict[str, Any]) -> dict[str, Any]:
    """A new cell, with nothing but its kind, its source, what nbgrader needs to know, and printed text of its outputs.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: if it is no cell.
    """
    kind, written = cell["cell_type"], cell["input" if "input" in cell and "source" not in cell else "source"]
    metadata = cell.get("metadata", {})
    if kind not in KINDS or not isinstance(metadata, dict):
        raise NotOne("one of its cells is none")
    if not printable(written):
        raise NotOne("a cell's source is not text")
    source = written if isinstance(written, str) else "".join(written)
    source.encode()  # half a surrogate pair can be neither stored nor shown
    if kind == "heading":
        level = cell.get("level")
        source = "#" * (level if type(level) is int and 1 <= level <= 6 else 1) + f" {source}"
    made = {"cell_type": KINDS[kind], "metadata": noted(metadata.get("nbgrader")), "source": source}
    if isinstance(cell.get("id"), str) and len(cell["id"]) <= 64:
        made["id"] = cell["id"]
    if kind == "code":
        made |= {"execution_count": None, "outputs": texts(cell.get("outputs"))}
    return made


def noted(about: object) -> dict[str, Any]:
    """Of what nbgrader has noted at a cell, its id and what the cell is for; nothing if that is none of nbgrader's."""
    name = about.get("grade_id") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(name, str) or len(name) > ID:
        return {}
    return {"nbgrader": {"grade_id": name} | {key: about.get(key) is True for key in ABOUT}}


def texts(outputs: object) -> list[dict[str, str]]:
    """The first outputs of a cell that are printed text."""
    found = [
        (output["text"] if isinstance(output["text"], str) else "".join(output["text"]))[:TEXT]
        for output in (outputs[:OUTPUTS] if isinstance(outputs, list) else ())
        if isinstance(output, dict) and output.get("output_type") == "stream" and printable(output.get("text"))
    ]
    return [{"output_type": "stream", "name": "stdout", "text": text} for text in found]


def printable(text: object) -> bool:
    """Whether this is a text, or its lines."""
    return isinstance(text, str) or (isinstance(text, list) and all(isinstance(line, str) for line in text))


def limited(notebook: nbformat.NotebookNode) -> list[str]:
    """Shorten what is longer than anybody writes, and say so: code is left out, for half of it means something else."""
    flags, left = [], SOURCE
    without, cut = [], []
    for number, cell in enumerate(notebook.cells, 1):
        length, code = len(cell.source), cell.cell_type == "code"
        if length > min(CODE if code else ESSAY, left):
            (without if code else cut).append(f"{number} ({length} characters)")
            cell.source = f"# left out: {length} characters" if code else cell.source[: min(ESSAY, left)]
        left = max(left - len(cell.source), 100)
    for words, found in (("left out for their length", without), ("of which only the beginning is read", cut)):
        if found:
            flags.append(f"cells {words}: {', '.join(found[:5])}" + (", and more" if len(found) > 5 else ""))
    return flags


def known_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells that nbgrader knows, by their grade id; of two with the same id, the first."""
    found: dict[str, nbformat.NotebookNode] = {}
    for cell in notebook.cells:
        data = cell.metadata.get("nbgrader")
        if isinstance(data, dict) and isinstance(data.get("grade_id"), str):
            found.setdefault(data["grade_id"], cell)
    return found
