"""A class handed in: every kind of submission gets the marks it deserves, and none of them harms another."""

import csv
import shutil
import subprocess
import sys

import nbformat
import pytest

from tests.helpers import ROOT, submissions
from tests.helpers.submissions import LAB, course
from tools import grade
from tools.grading import gradebook, marks
from tools.grading.jail import Limits, NoJail

pytestmark = pytest.mark.usefixtures("bubblewrap")

# The endless ones waste little of the processor, and an honest one beside them on a busy machine has long enough;
# benchmarks/grading.py tries the limits that a class gets.
LIMITS = Limits(seconds=2, wall=30, processes=16)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def class_of_all_kinds(bubblewrap, tmp_path_factory):
    root = course(tmp_path_factory.mktemp("course"), LAB)
    kinds = submissions.every_kind(root / "submitted", root / "gradebook.db")
    learners = submissions.hand_in(kinds, LAB, root / "submitted")
    handed_in = {path: path.read_bytes() for path in (root / "submitted").rglob("*.ipynb")}
    table = {row["student"]: row for row in grade.grade(LAB, root, workers=2, seed=3, limits=LIMITS)}
    assert {path: path.read_bytes() for path in handed_in} == handed_in, "a submission was changed"
    return root, kinds, learners, table


def test_every_kind_gets_its_marks_its_flag_and_the_name_of_its_mistake(class_of_all_kinds):
    _, kinds, learners, table = class_of_all_kinds
    assert len(table) == len(kinds) > 70
    wrong = {}
    for kind, submission in kinds.items():
        row = table[learners[kind]]
        points = {exercise: row[exercise] for exercise in submission.points}
        named = "; ".join(f"{exercise}: {mistake}" for exercise, mistake in submission.mistakes.items())
        flag = submission.flag in row["flags"] if submission.flag else not row["flags"]
        if points != submission.points or not flag or (named and row["mistakes"] != named):
            wrong[kind] = row
    assert not wrong


def test_the_gradebook_holds_the_same_marks(class_of_all_kinds):
    root, kinds, learners, _ = class_of_all_kinds
    with gradebook.opened(LAB, root) as book:
        kept = {
            kind: {
                g.name.removeprefix("check-"): g.auto_score
                for g in book.find_submission_notebook(LAB, LAB, learners[kind]).grades
            }
            for kind in kinds
        }
        looked_at = {kind for kind in kinds if book.find_submission(LAB, learners[kind]).needs_manual_grade}
    assert kept == {kind: submission.points for kind, submission in kinds.items()}
    assert looked_at == {kind for kind, submission in kinds.items() if submission.flag}, (
        "what is flagged, a person sees"
    )


def test_the_tables_hold_everyone_once(class_of_all_kinds):
    root, kinds, learners, table = class_of_all_kinds
    grades, moodle, canvas = (rows(root / "grades" / LAB / f"{name}.csv") for name in ("grades", "moodle", "canvas"))
    assert [row["student"] for row in grades] == sorted(learners.values())
    marks = {learner: float(row[LAB]) for learner, row in table.items()}
    assert marks["right"] == max(marks.values()) == sum(kinds["right"].points.values())
    assert {row["ID number"]: float(row[LAB]) for row in moodle} == marks
    assert {row["SIS Login ID"]: float(row[LAB]) for row in canvas[1:]} == marks


def test_what_a_learner_gets_back_says_what_was_wrong(class_of_all_kinds):
    root, _, learners, _ = class_of_all_kinds
    kind = "step: uphill"
    shown = nbformat.read(root / "autograded" / learners[kind] / LAB / f"{LAB}.ipynb", as_version=4)
    (said,) = submissions.cell(shown, "check-step").outputs
    assert said.text.startswith("✗ step (uphill): The gradient points to where the loss grows.")
    assert "learning_rate * gradient" in submissions.cell(shown, "step").source, "their own answer"
    with gradebook.opened(LAB, root) as book:
        comments = {c.name: c.comment for c in book.find_submission_notebook(LAB, LAB, learners[kind]).comments}
    assert comments["step"].startswith("The gradient points to where the loss grows.")


def test_what_a_learner_writes_is_no_script_on_the_page_for_others(class_of_all_kinds):
    root, _, learners, _ = class_of_all_kinds
    with gradebook.opened(LAB, root) as book:
        comments = book.find_submission_notebook(LAB, LAB, learners["raises a script"]).comments
        (said,) = [c.comment for c in comments if c.name == "step"]
    assert said == "Your function stopped with ValueError: &lt;script&gt;alert(1)&lt;/script&gt;"


def test_marks_do_not_depend_on_how_many_work_at_once(class_of_all_kinds, jail):
    root, _, _, table = class_of_all_kinds
    some = ["right", *sorted(set(table) - {"right"})[3:20]]
    for learner in some:
        released = submissions.given_out(LAB)
        alone = marks.mark(root / "submitted" / learner / LAB, LAB, learner, 3, released, jail)
        row = {mark.exercise: mark.points for mark in alone.marks} | {"flags": "; ".join(alone.flags)}
        row["mistakes"] = "; ".join(f"{mark.exercise}: {mark.mistake}" for mark in alone.marks if mark.mistake)
        assert row.items() <= table[learner].items()


def tool(command, root):
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "grade.py", command, LAB, "--root", root],
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_release_to_feedback_by_the_three_commands_with_a_mark_by_hand_between(tmp_path):
    root = course(tmp_path, LAB)
    assert (root / "release" / f"{LAB}.zip").exists()
    early = tool("feedback", root)
    assert early.returncode == 1
    assert early.stderr == f"{LAB} was not graded yet; run: make grade LAB={LAB}\n"
    kinds = {kind: s for kind, s in submissions.handful(LAB).items() if kind in ("right", "half", "crashes")}
    learners = submissions.hand_in(kinds, LAB, root / "submitted")
    done = tool("grade", root)
    assert done.returncode == 0, done.stderr
    table = {row["student"]: row for row in rows(root / "grades" / LAB / "grades.csv")}
    assert table[learners["crashes"]]["to look at"] == ", ".join(submissions.zeros(LAB)), "what is flagged"
    with gradebook.opened(LAB, root) as book:
        by_hand = book.find_grade("check-step", LAB, LAB, learners["crashes"])
        by_hand.manual_score, by_hand.needs_manual_grade = 0.5, False
        book.db.commit()
    assert tool("feedback", root).returncode == 0
    page = (root / "feedback" / learners["half"] / LAB / f"{LAB}.html").read_text()
    assert "Not attempted yet." in page
    assert "Score: 4.0 / 8.0" in page.replace("\n", " ")
    for name, column, student in (("grades", LAB, "student"), ("moodle", LAB, "ID number")):
        after = {row[student]: float(row[column]) for row in rows(root / "grades" / LAB / f"{name}.csv")}
        assert after == {learners["right"]: 8, learners["half"]: 4, learners["crashes"]: 6.5}
    gradebook.nbgrader("export", root=root)
    assert {r["student_id"]: float(r["score"]) for r in rows(root / "grades.csv")} == after, "nbgrader's own table"


def test_a_lab_that_was_not_released_and_a_class_that_handed_in_nothing(tmp_path):
    shutil.copytree(ROOT / "labs" / LAB, tmp_path / "labs" / LAB)
    with pytest.raises(LookupError, match=f"make release LAB={LAB}"):
        grade.grade(LAB, tmp_path)
    with pytest.raises(FileNotFoundError, match=f"submitted/<student>/{LAB}/"):
        grade.grade(LAB, course(tmp_path, LAB))


def test_without_a_jail_nothing_is_marked_and_nothing_written(tmp_path, monkeypatch):
    root = course(tmp_path, LAB)
    submissions.hand_in({"right": submissions.handful(LAB)["right"]}, LAB, root / "submitted")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoJail, match="bubblewrap"):
        grade.grade(LAB, root, workers=1)
    assert not (root / "grades").exists()
    assert not (root / "autograded").exists()
