"""What is written for others: nbgrader's gradebook, the notebook that a learner gets back, the tables."""

import nbformat
import pytest

from tests.helpers import submissions
from tests.helpers.submissions import LAB, course
from tools import grade
from tools.grading import gradebook

pytestmark = pytest.mark.usefixtures("bubblewrap")


def test_nbgraders_own_autograde_gives_honest_work_the_same_marks(tmp_path):
    root, half = course(tmp_path, LAB), submissions.handful(LAB)["half"]
    learner = submissions.hand_in({"half": half}, LAB, root / "submitted")["half"]
    # its patience with a cell and with the start of a kernel is 30 and 60 seconds, which a busy machine may need
    gradebook.nbgrader("autograde", LAB, "--Execute.timeout=600", "--Execute.startup_timeout=600", root=root)
    with gradebook.opened(LAB, root) as book:
        grades = book.find_submission_notebook(LAB, LAB, learner).grades
        assert {g.name.removeprefix("check-"): g.auto_score for g in grades} == half.points


def test_a_mark_that_a_person_gave_stays(tmp_path):
    root = course(tmp_path, LAB)
    learner = submissions.hand_in({"half": submissions.handful(LAB)["half"]}, LAB, root / "submitted")["half"]
    grade.grade(LAB, root, workers=1)
    with gradebook.opened(LAB, root) as book:
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
