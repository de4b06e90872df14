"""A class handed in: every kind of submission gets the marks it deserves, and none of them harms another."""

import csv
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbgrader.api import Gradebook

from tests.helpers import ROOT, absent, submissions
from tests.helpers.submissions import LAB
from tools import grade

OTHERS = [lab.name for lab in grade.exercises.labs() if lab.name != LAB]
COURSE = "vanishing-and-exploding-gradients"


@pytest.fixture(autouse=True)
def a_jail(monkeypatch):
    if shutil.which("bwrap") is None:
        absent("bubblewrap")
    # as many seconds as the endless ones waste; benchmarks/grading.py tries the limits that a class gets
    monkeypatch.setattr(grade, "SECONDS", 2)
    monkeypatch.setattr(grade, "WALL", 8)


def course(folder, *labs):
    """A small copy of the project, with these labs released."""
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    for lab in labs:
        for kind in ("solutions", "labs"):
            shutil.copytree(ROOT / kind / lab, folder / kind / lab, dirs_exist_ok=True)
        grade.release(lab, folder)
    return folder


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def class_of_all_kinds(tmp_path_factory):
    if shutil.which("bwrap") is None:
        absent("bubblewrap")
    root = course(tmp_path_factory.mktemp("course"), LAB)
    kinds = submissions.every_kind(root / "submitted", root / "gradebook.db")
    learners = submissions.hand_in(kinds, LAB, root / "submitted")
    handed_in = {path: path.read_bytes() for path in (root / "submitted").rglob("*.ipynb")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grade, "SECONDS", 2)
        patch.setattr(grade, "WALL", 8)
        table = {row["student"]: row for row in grade.grade(LAB, root, workers=2, seed=3)}
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
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
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
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
        comments = {c.name: c.comment for c in book.find_submission_notebook(LAB, LAB, learners[kind]).comments}
    assert comments["step"].startswith("The gradient points to where the loss grows.")


def test_what_a_learner_writes_is_no_script_on_the_page_for_others(class_of_all_kinds):
    root, _, learners, _ = class_of_all_kinds
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
        comments = book.find_submission_notebook(LAB, LAB, learners["raises a script"]).comments
        (said,) = [c.comment for c in comments if c.name == "step"]
    assert said == "Your function stopped with ValueError: &lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.mark.parametrize("student", ["=cmd|x", "two\nlines", ".hidden"])
def test_a_folder_that_is_no_students_is_refused_before_anything_is_marked(student, tmp_path):
    (tmp_path / student / LAB).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"student ids hold letters, digits and \. _ @ \+ - only"):
        grade.mark_class(tmp_path, LAB, 1, 1, submissions.given_out(LAB))


def test_a_link_to_somebody_elses_work_is_refused(tmp_path):
    (tmp_path / "ann" / LAB).mkdir(parents=True)
    (tmp_path / "bob").symlink_to(tmp_path / "ann")
    with pytest.raises(ValueError, match="no links; not so: 'bob'"):
        grade.mark_class(tmp_path, LAB, 1, 1, submissions.given_out(LAB))


def test_marks_do_not_depend_on_how_many_work_at_once(class_of_all_kinds):
    root, _, _, table = class_of_all_kinds
    some = ["right", *sorted(set(table) - {"right"})[3:20]]
    for learner in some:
        released = submissions.given_out(LAB)
        alone = grade.mark(root / "submitted" / learner / LAB, LAB, learner, 3, released)
        row = {mark.exercise: mark.points for mark in alone.marks} | grade.notes([alone])[learner]
        assert row.items() <= table[learner].items()


@pytest.mark.parametrize("lab", OTHERS)
def test_a_handful_of_every_other_lab(lab, tmp_path):
    kinds, released = submissions.handful(lab), submissions.given_out(lab)
    learners = submissions.hand_in(kinds, lab, tmp_path)
    for kind, submission in kinds.items():
        given = grade.mark(tmp_path / learners[kind] / lab, lab, learners[kind], 5, released)
        assert {mark.exercise: mark.points for mark in given.marks} == submission.points, kind
        assert submission.flag in "".join(given.flags) if submission.flag else not given.flags, kind


def tool(command, root):
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "grade.py", command, LAB, "--root", root], capture_output=True, text=True
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
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
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
    grade._nbgrader_command("export", root=root)
    assert {r["student_id"]: float(r["score"]) for r in rows(root / "grades.csv")} == after, "nbgrader's own table"


def test_nbgraders_own_autograde_gives_honest_work_the_same_marks(tmp_path):
    root, half = course(tmp_path, LAB), submissions.handful(LAB)["half"]
    learner = submissions.hand_in({"half": half}, LAB, root / "submitted")["half"]
    grade._nbgrader_command("autograde", LAB, root=root)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
        grades = book.find_submission_notebook(LAB, LAB, learner).grades
        assert {g.name.removeprefix("check-"): g.auto_score for g in grades} == half.points


def test_a_mark_that_a_person_gave_stays(tmp_path):
    root = course(tmp_path, LAB)
    learner = submissions.hand_in({"half": submissions.handful(LAB)["half"]}, LAB, root / "submitted")["half"]
    grade.grade(LAB, root, workers=1)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", COURSE) as book:
        book.find_grade("check-fused_step", LAB, LAB, learner).manual_score = 0.5
        book.db.commit()
    (row,) = grade.grade(LAB, root, workers=1)
    assert row["fused_step"] == 0.5
    assert row["to look at"] == "fused_step"


def test_what_is_written_in_words_waits_for_a_person_and_a_blank_does_not(tmp_path):
    lab = "10-rescue"
    root, written = course(tmp_path, lab), submissions.given_out(lab)
    submissions.cell(written, "reasoning").source = "Every second unit was silent.<script>alert(1)</script>"
    kinds = {"written": submissions.of(lab, written), "blank": submissions.of(lab, submissions.given_out(lab))}
    learners = submissions.hand_in(kinds, lab, root / "submitted")
    table = {row["student"]: row for row in grade.grade(lab, root, workers=2)}
    assert table[learners["written"]]["to look at"] == "reasoning"
    assert table[learners["blank"]]["to look at"] == ""
    assert {row["of"] for row in table.values()} == {24}
    shown = nbformat.read(root / "autograded" / learners["written"] / lab / f"{lab}.ipynb", as_version=4)
    source = submissions.cell(shown, "reasoning").source
    assert source.startswith("Every second unit was silent.")
    assert "<script" not in source


def test_a_lab_that_was_not_released_and_a_class_that_handed_in_nothing(tmp_path):
    shutil.copytree(ROOT / "labs" / LAB, tmp_path / "labs" / LAB)
    with pytest.raises(LookupError, match=f"make release LAB={LAB}"):
        grade.grade(LAB, tmp_path)
    with pytest.raises(FileNotFoundError, match=f"submitted/<student>/{LAB}/"):
        grade.grade(LAB, course(tmp_path, LAB))


def test_without_a_jail_nothing_is_marked_and_nothing_written(tmp_path, monkeypatch):
    root = course(tmp_path, LAB)
    submissions.hand_in({"right": submissions.handful(LAB)["right"]}, LAB, root / "submitted")
    monkeypatch.setattr(grade.shutil, "which", lambda name: None)
    with pytest.raises(grade.NoJail, match="bubblewrap"):
        grade.grade(LAB, root, workers=1)
    assert not (root / "grades").exists()
    assert not (root / "autograded").exists()
