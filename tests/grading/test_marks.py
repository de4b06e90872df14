"""What a submission and what comes back from the jail are worth."""

import contextlib
import json

import pytest

from gradclinic.course import exercises
from tests.helpers import submissions
from tests.helpers.submissions import LAB
from tools.grading import cells, marks
from tools.grading.jail import LIMITS, Jail, Limits

OTHERS = [lab.name for lab in exercises.labs() if lab.name != LAB]


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        ({"status": "blank"}, "blank", "Not attempted"),
        ({"status": "time"}, "wrong", "in time"),
        ({"status": "died"}, "wrong", "ended the process"),
        ({"status": "raised", "message": "ValueError: no"}, "wrong", "ValueError: no"),
        ({"status": "answers", "answers": "nonsense"}, "wrong", ""),
        ({"status": "answers", "answers": [None, None]}, "wrong", ""),
    ],
)
def test_whatever_comes_back_becomes_a_mark(reply, status, words):
    exercise = marks.find_lab(LAB).exercises[0]
    mark = marks.judged(exercise, 7, reply)
    assert (mark.points, mark.of, mark.status) == (0, exercise.points, status)
    assert words in mark.message


def test_right_numbers_get_the_points_and_a_usual_mistake_its_name():
    for exercise in marks.find_lab("06-batch-normalization").exercises:
        for function, points, name in (
            (exercise.reference, exercise.points, None),
            (exercise.mistakes[0].function, 0, exercise.mistakes[0].name),
        ):
            allowance = cells.Allowance(LIMITS.entries)
            answers = [cells.plain(answer, allowance) for answer in exercise.answers(function, 11)]
            mark = marks.judged(exercise, 11, {"status": "answers", "answers": json.loads(json.dumps(answers))})
            assert (mark.points, mark.mistake) == (points, name)


def test_an_unknown_lab_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'99-none'.*01-gradient-descent"):
        marks.find_lab("99-none")


@pytest.mark.parametrize("student", ["=cmd|x", "two\nlines", ".hidden"])
def test_a_folder_that_is_no_students_is_refused_before_anything_is_marked(student, tmp_path):
    (tmp_path / student / LAB).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"student ids hold letters, digits and \. _ @ \+ - only"):
        marks.mark_class(tmp_path, LAB, 1, 1, submissions.given_out(LAB))


def test_a_link_to_somebody_elses_work_is_refused(tmp_path):
    (tmp_path / "ann" / LAB).mkdir(parents=True)
    (tmp_path / "bob").symlink_to(tmp_path / "ann")
    with pytest.raises(ValueError, match="no links; not so: 'bob'"):
        marks.mark_class(tmp_path, LAB, 1, 1, submissions.given_out(LAB))


@pytest.mark.parametrize("lab", OTHERS)
def test_a_handful_of_every_other_lab(lab, jail, tmp_path):
    kinds, released = submissions.handful(lab), submissions.given_out(lab)
    learners = submissions.hand_in(kinds, lab, tmp_path)
    for kind, submission in kinds.items():
        given = marks.mark(tmp_path / learners[kind] / lab, lab, learners[kind], 5, released, jail)
        assert {mark.exercise: mark.points for mark in given.marks} == submission.points, kind
        assert submission.flag in "".join(given.flags) if submission.flag else not given.flags, kind


def test_what_a_text_promises_an_exercise_it_gets_and_more(bubblewrap, tmp_path):
    lab = "10-rescue"
    text = "".join(cell.source for cell in submissions.given_out(lab).cells)
    assert "You have ten seconds of computing" in text
    promised = next(e for e in marks.find_lab(lab).exercises if e.name == "rescue")
    assert promised.seconds == 10
    notebook = submissions.solved(lab)
    cell = submissions.cell(notebook, "rescue")
    head, _, rest = cell.source.partition("\n")
    slow = "    import time\n    began = time.process_time()\n    while time.process_time() - began < 8: pass\n"
    cell.source = f"{head}\n{slow}{rest}"
    (tmp_path / f"{lab}.ipynb").write_bytes(submissions.written(notebook))
    with contextlib.closing(Jail(Limits(wall=300, idle=100))) as jail:
        found = marks.mark(tmp_path, lab, "ann", 5, submissions.given_out(lab), jail)
    assert {mark.exercise: mark.status for mark in found.marks}["rescue"] == "right", found.flags
