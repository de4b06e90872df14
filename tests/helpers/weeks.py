"""A course in a folder of its own, and a week of it without the jail, for tests of what happens around the marks."""

import contextlib
import functools
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pytest

from tests.helpers import submissions
from tools.grading import week
from tools.grading.marks import Marked, mark

LAB, WRITTEN = submissions.LAB, "10-rescue"  # a lab that is computed, and one with an essay


@functools.cache
def _released(lab: str) -> Path:
    return submissions.course(Path(tempfile.mkdtemp(prefix="released-")), lab)


def released(folder: Path, lab: str = LAB) -> Path:
    """A course with the lab released; that takes seconds, and is done once."""
    return Path(shutil.copytree(_released(lab), folder, dirs_exist_ok=True))


def configured(root: Path, *lines: str) -> None:
    """Add lines to the course's configuration."""
    with (root / "nbgrader_config.py").open("a") as config:
        config.write("".join(f"{line}\n" for line in lines))


def hand_in(root: Path, student: str, notebook: nbformat.NotebookNode, lab: str = LAB, when: str | None = None) -> Path:
    """Put a notebook where the grader looks, with a time if one is given."""
    folder = root / "submitted" / student / lab
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{lab}.ipynb").write_bytes(submissions.written(notebook))
    if when:
        (folder / "timestamp.txt").write_text(when)
    return folder


def answering(name: str, body: str, lab: str = LAB) -> nbformat.NotebookNode:
    """A solved notebook, but for one function."""
    notebook = submissions.solved(lab)
    given = submissions.cell(notebook, name).source.splitlines()[0]
    submissions.cell(notebook, name).source = f"{given}\n    {body}\n"
    return notebook


class Open:
    """Answers as a jail does, in this very process: for code that a test has written."""

    broken = 0

    def ask(
        self,
        name: str,
        cells: Sequence[str],
        cases: bytes,
        given: Sequence[int] = (),
        seconds: int = 0,
        reading: str = "",
    ) -> dict[str, object]:
        space: dict[str, object] = {}
        for source in cells:
            if "import" in source or f"def {name}(" in source:
                with contextlib.suppress(Exception):
                    exec(source, space)
        function = space.get(name)
        if not callable(function):
            return {"status": "missing"}
        try:
            return {"status": "answers", "answers": [plain_numbers(function(*case)) for case in pickle.loads(cases)]}
        except NotImplementedError:
            return {"status": "blank"}
        except Exception as error:
            return {"status": "raised", "message": f"{type(error).__name__}: {error}"}


def plain_numbers(answer: object) -> object:
    """As they come out of the jail."""
    if hasattr(answer, "tolist"):
        return answer.tolist()
    return [plain_numbers(part) for part in answer] if isinstance(answer, (list, tuple)) else answer


def without_jail(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have `grade` mark in this process; returns the list to which it adds each learner whom it marks."""
    asked: list[str] = []

    def one_by_one(attempts, lab, seed, workers, released, limits, not_theirs) -> Iterator[list[Marked]]:
        for student, folders in attempts.items():
            asked.append(student)
            yield [mark(folder, lab, student, seed, released, Open()) for folder in folders]

    monkeypatch.setattr(week, "mark_side_by_side", one_by_one)
    return asked
