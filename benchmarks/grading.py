"""A class of a hundred, handed in and marked: what each kind of submission gets, and how long the class takes.

    python benchmarks/grading.py

Every kind of ``tests/helpers/submissions.py`` once, and ordinary ones until there are a hundred. The same class is
marked by one worker and by two, with the same secret seed; the marks have to be the same. Prints the tables, and fails
if a mark is not the one it should be.
"""

import itertools
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is run by its path

from tests.helpers import submissions
from tools import grade
from tools.grading.marks import mark_class

SIZE, SEED = 100, 7


def a_class(submitted: Path, gradebook: Path) -> dict[str, submissions.Submission]:
    """By kind; the ordinary ones come again, numbered."""
    kinds = submissions.every_kind(submitted, gradebook)
    ordinary = [kind for kind, s in kinds.items() if s.flag is None and kind.split(":")[0] in submissions.SIGNATURES]
    again = itertools.cycle(["right", "half", "right", *ordinary])
    for number, kind in enumerate(itertools.islice(again, SIZE - len(kinds)), 2):
        kinds[f"{kind}, no. {number}"] = kinds[kind]
    return kinds


def main() -> int:
    wrong, seconds, marks = 0, {}, {}
    with TemporaryDirectory() as folder:
        root = submissions.course(Path(folder), submissions.LAB)
        kinds = a_class(root / "submitted", root / "gradebook.db")
        learners = submissions.hand_in(kinds, submissions.LAB, root / "submitted")
        released = submissions.given_out(submissions.LAB)
        for workers in (1, 2):
            began = time.perf_counter()
            marked = mark_class(root / "submitted", submissions.LAB, SEED, workers, released)
            seconds[workers] = time.perf_counter() - began
            marks[workers] = {m.student: [(mark.points, mark.mistake) for mark in m.marks] for m in marked}
        began = time.perf_counter()
        grade.grade(submissions.LAB, root, workers=2, seed=SEED)
        whole = time.perf_counter() - began
    by_learner = {m.student: m for m in marked}
    print(f"{'submission':<46}{'expected':>9}{'given':>7}{'seconds':>9}  flag")
    for kind, submission in kinds.items():
        given = by_learner[learners[kind]]
        points = {mark.exercise: mark.points for mark in given.marks}
        fine = points == submission.points
        wrong += not fine
        expected = sum(submission.points.values())
        row = f"{kind:<46}{expected:>9g}{sum(points.values()):>7g}{given.seconds:>9.2f}  {'; '.join(given.flags)[:70]}"
        print(row + ("" if fine else "  <-- not as expected"))
    same = marks[1] == marks[2]
    print(f"\n{len(kinds)} submissions: one worker {seconds[1]:.1f} s, two workers {seconds[2]:.1f} s, ", end="")
    print(f"{seconds[1] / seconds[2]:.2f} times as fast, marks {'identical' if same else 'DIFFERENT'}")
    print(f"with gradebook, notebooks for feedback and tables: {whole:.1f} s")
    return int(wrong > 0 or not same)


if __name__ == "__main__":
    sys.exit(main())
