"""Assignments in nbgrader's format, marked outside learners' processes.

python tools/grade.py release LAB            enter the lab in the gradebook, and pack what learners get
python tools/grade.py grade LAB              mark submitted/<student>/LAB/LAB.ipynb, and write grades.csv
python tools/grade.py feedback LAB           a page for each learner in feedback/, by nbgrader's own command

The work is done in ``tools/grading/``; its README says what runs where.
"""

import argparse
import os
import secrets
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is run by its path

from tools.grading import gradebook
from tools.grading.jail import LIMITS, ROOT, Limits, NoJail
from tools.grading.marks import find_lab, mark_class


def release(lab: str, root: Path = ROOT) -> Path:
    """Enter the lab in the gradebook and pack ``labs/<lab>`` for the learners; returns the archive."""
    find_lab(lab)
    with tempfile.TemporaryDirectory() as folder:  # labs/ itself is made, with outputs, by `make labs`
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
    lab: str, root: Path = ROOT, workers: int | None = None, seed: int | None = None, limits: Limits = LIMITS
) -> list[gradebook.Row]:
    """Mark all submissions, write the gradebook, ``autograded/`` for feedback and the tables; returns the table.

    Raises:
        LookupError: if the lab is not in the gradebook yet.
        FileNotFoundError: if there is no submission.
        ValueError: for a lab that does not exist, or a folder whose name is no student's id.
        NoJail: if nothing here can keep learners' code apart.
    """
    find_lab(lab)
    released = nbformat.read(root / "labs" / lab / f"{lab}.ipynb", as_version=4)
    seed = secrets.randbits(31) if seed is None else seed
    with gradebook.opened(lab, root) as book:
        results = mark_class(root / "submitted", lab, seed, workers or os.cpu_count() or 1, released, limits)
        for marked in results:
            gradebook.enter(marked, lab, book)
            gradebook.hand_back(marked, lab, released, root)
        return gradebook.export(lab, book, gradebook.notes(results), root)


def feedback(lab: str, root: Path = ROOT) -> Path:
    """A page for each learner by nbgrader's own command, and the tables once more, with the marks that people gave.

    Returns:
        The folder of the pages.
    Raises:
        FileNotFoundError: if the lab was not graded yet.
    """
    find_lab(lab)
    beside = gradebook.kept_notes(lab, root)
    gradebook.nbgrader("generate_feedback", lab, "--force", root=root)
    with gradebook.opened(lab, root) as book:
        gradebook.export(lab, book, beside, root)
    return root / "feedback"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("release", "grade", "feedback"))
    parser.add_argument("lab", help="its name, such as 02-vanishing")
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder, with submitted/ in it")
    parser.add_argument("--workers", type=int, help="processes side by side; one for each core unless told")
    parser.add_argument("--seed", type=int, help="of the inputs; secret, and new each time, unless told")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    try:
        if arguments.command == "release":
            print(f"Give learners {release(arguments.lab, root)}")
        elif arguments.command == "grade":
            grades = grade(arguments.lab, root, arguments.workers, arguments.seed)
            flagged = sum(bool(row["flags"]) for row in grades)
            print(f"{len(grades)} learners, {flagged} with a flag: {root / 'grades' / arguments.lab / 'grades.csv'}")
        else:
            print(f"The pages are in {feedback(arguments.lab, root)}/<student>/{arguments.lab}/")
    except (ValueError, LookupError, FileNotFoundError, NoJail) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
