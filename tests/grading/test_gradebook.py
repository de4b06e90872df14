"""What is written for others: nbgrader's gradebook, and what a person gave or has looked at stays in it."""

import sqlite3
from datetime import timedelta

import nbformat
import pytest
from sqlalchemy.exc import OperationalError

from tests.helpers import submissions, weeks
from tests.helpers.submissions import LAB
from tools.grading import gradebook, week
from tools.grading.gradebook import Unusable


@pytest.fixture
def root(tmp_path, monkeypatch):
    weeks.without_jail(monkeypatch)
    return weeks.released(tmp_path)


def to_look_at(root, lab=LAB):
    return {row["student"]: row["to look at"] for row in week.grade(lab, root)}


def by_hand(root, learner, cell, score, lab=LAB):
    """As formgrader does it."""
    with gradebook.opened(lab, root) as book:
        grade = book.find_grade(cell, lab, lab, learner)
        grade.manual_score, grade.needs_manual_grade = score, False
        book.db.commit()


@pytest.mark.usefixtures("bubblewrap")
def test_nbgraders_own_autograde_gives_honest_work_the_same_marks(tmp_path):
    root, half = weeks.released(tmp_path), submissions.handful(LAB)["half"]
    learner = submissions.hand_in({"half": half}, LAB, root / "submitted")["half"]
    # its patience with a cell and with the start of a kernel is 30 and 60 seconds, which a busy machine may need
    gradebook.nbgrader("autograde", LAB, "--Execute.timeout=600", "--Execute.startup_timeout=600", root=root)
    with gradebook.opened(LAB, root) as book:
        grades = book.find_submission_notebook(LAB, LAB, learner).grades
        assert {g.name.removeprefix("check-"): g.auto_score for g in grades} == half.points


def test_a_mark_that_a_person_gave_stays_and_is_to_be_looked_at_only_where_the_work_has_changed(root):
    weeks.hand_in(root, "ann", weeks.answering("step", "return weight"))
    weeks.hand_in(root, "bob", weeks.answering("step", "return weight"))
    assert to_look_at(root) == {"ann": "", "bob": ""}
    for learner in ("ann", "bob"):
        by_hand(root, learner, "check-step", 1.5)
    assert to_look_at(root) == {"ann": "", "bob": ""}, "nothing has changed since a person looked"
    notebook = weeks.answering("step", "return weight - gradient")
    weeks.hand_in(root, "bob", notebook)
    assert to_look_at(root) == {"ann": "", "bob": "step"}
    assert {row["student"]: row["step"] for row in week.grade(LAB, root)} == {"ann": 1.5, "bob": 1.5}
    by_hand(root, "bob", "check-step", 1.0)
    submissions.cell(notebook, "fused_step").source += "\n# another exercise"
    weeks.hand_in(root, "bob", notebook)
    assert to_look_at(root) == {"ann": "", "bob": ""}, "what was looked at is as it was"


def test_a_flag_that_a_person_has_resolved_is_not_to_be_looked_at_again(root):
    notebook = submissions.solved(LAB)
    submissions.cell(notebook, "check-step").source = "print('right')"
    weeks.hand_in(root, "ann", notebook)
    assert to_look_at(root)["ann"] == ", ".join(submissions.zeros(LAB))
    with gradebook.opened(LAB, root) as book:
        for grade in book.find_submission_notebook(LAB, LAB, "ann").grades:
            grade.needs_manual_grade = False
        book.db.commit()
    assert to_look_at(root)["ann"] == ""
    (root / "gradebook.db").unlink()  # a new one knows of no person
    week.release(LAB, root)
    assert to_look_at(root)["ann"] == ", ".join(submissions.zeros(LAB))


def test_what_is_written_in_words_waits_for_a_person_and_a_blank_does_not(tmp_path, monkeypatch):
    weeks.without_jail(monkeypatch)
    lab = weeks.WRITTEN
    root, written = weeks.released(tmp_path, lab), submissions.given_out(lab)
    submissions.cell(written, "reasoning").source = "Every second unit was silent.<script>alert(1)</script>"
    weeks.hand_in(root, "ann", written, lab)
    weeks.hand_in(root, "bob", submissions.given_out(lab), lab)
    rows = {row["student"]: row for row in week.grade(lab, root)}
    assert rows["ann"]["to look at"] == "reasoning"
    assert rows["bob"]["to look at"] == ""
    assert {row["of"] for row in rows.values()} == {24}
    assert (rows["ann"]["reasoning"], rows["bob"]["reasoning"]) == ("", 0), "unread is no mark"
    by_hand(root, "ann", "reasoning", 3.0, lab)
    assert to_look_at(root, lab) == {"ann": "", "bob": ""}
    submissions.cell(written, "reasoning").source += " And more."
    weeks.hand_in(root, "ann", written, lab)
    assert to_look_at(root, lab)["ann"] == "reasoning"


@pytest.mark.parametrize(
    "own",
    [
        nbformat.v4.new_markdown_cell("Every second unit was silent, and so the gradient was nothing."),
        nbformat.v4.new_raw_cell("Every second unit was silent."),
        nbformat.v4.new_code_cell(
            "# First I looked at the share of dead units, which was one in three,\n# and the rest followed from it."
        ),
    ],
    ids=["Markdown", "raw", "comments"],
)
def test_an_essay_beside_its_cell_waits_for_a_person(own, tmp_path, monkeypatch):
    weeks.without_jail(monkeypatch)
    lab = weeks.WRITTEN
    root, written = weeks.released(tmp_path, lab), submissions.given_out(lab)
    place = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in written.cells].index("reasoning")
    written.cells.insert(place + 1, own)
    weeks.hand_in(root, "ann", written, lab)
    plain_code = submissions.given_out(lab)
    plain_code.cells.append(nbformat.v4.new_code_cell("losses = [1, 2]  # a try\nprint('loss', losses)"))
    weeks.hand_in(root, "bob", plain_code, lab)
    rows = {row["student"]: row for row in week.grade(lab, root)}
    assert "reasoning: not written in its cell; their own text stands in other cells" in rows["ann"]["flags"]
    assert "reasoning" in rows["ann"]["to look at"]
    assert (rows["ann"]["reasoning"], rows["ann"][lab]) == ("", "")
    assert (rows["bob"]["reasoning"], rows["bob"][lab], rows["bob"]["flags"]) == (0, 0, "")
    by_hand(root, "ann", "reasoning", 3.0, lab)
    assert {row["student"]: row["reasoning"] for row in week.grade(lab, root)}["ann"] == 3


# --- sentences -------------------------------------------------------------------------------------------------------


def test_a_locked_gradebook_is_a_sentence_and_what_was_marked_is_kept(root, monkeypatch):
    monkeypatch.setattr(gradebook, "PATIENCE", 0)
    marked = weeks.without_jail(monkeypatch)
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    real = week.gradebook.enter
    with sqlite3.connect(root / "gradebook.db") as other:

        def locked_now(*arguments):
            if not other.in_transaction:
                other.execute("BEGIN EXCLUSIVE")
            return real(*arguments)

        monkeypatch.setattr(week.gradebook, "enter", locked_now)
        with pytest.raises(Unusable, match=r"another program is writing into .*gradebook\.db.*run the same again"):
            week.grade(LAB, root)
        other.rollback()
    monkeypatch.setattr(week.gradebook, "enter", real)
    (row,) = week.grade(LAB, root)
    assert row[LAB] == 8
    assert marked == ["ann"], "once"


def test_a_broken_gradebook_is_a_sentence(root):
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    (root / "gradebook.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Unusable, match=r"gradebook\.db is broken"):
        week.grade(LAB, root)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("attempt to write a readonly database", "cannot be written by you"),
        ("unable to open database file", "cannot be opened by you"),
        ("database or disk is full", "no space is left"),
        ("UNIQUE constraint failed: student.id", "another grader has written"),
        ("no such column: grade.extra", "nbgrader db upgrade"),
        ("something else\nand more", "something else$"),
    ],
)
def test_every_error_of_the_gradebook_is_a_sentence(error, words, root):
    with pytest.raises(Unusable, match=words), gradebook.opened(LAB, root):
        raise OperationalError("select", {}, sqlite3.OperationalError(error))


def test_times_of_the_gradebook_are_those_of_the_rules(root):
    weeks.configured(
        root,
        f"c.Policy.due = {{'{LAB}': '2027-02-04 22:00 Europe/Berlin'}}",
        f"c.Policy.extensions = {{'{LAB}': {{'bob': '2027-02-06 22:00 Europe/Berlin'}}}}",
    )
    for learner in ("ann", "bob"):
        weeks.hand_in(root, learner, submissions.solved(LAB), when="2027-02-05 21:00:00 UTC")
    week.grade(LAB, root)
    with gradebook.opened(LAB, root) as book:
        assert book.find_assignment(LAB).duedate.isoformat() == "2027-02-04T21:00:00"
        assert book.find_submission(LAB, "ann").total_seconds_late == 24 * 3600
        assert book.find_submission(LAB, "bob").total_seconds_late == 0
        assert book.find_submission(LAB, "bob").extension == timedelta(days=2)
