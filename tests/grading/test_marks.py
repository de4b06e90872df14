"""What a submission and what comes back from the jail are worth."""

import contextlib
import json
import sys
import zipfile

import nbformat
import pytest

from gradclinic.course import exercises
from tests.helpers import submissions, weeks
from tests.helpers.submissions import LAB
from tools import grade
from tools.grading import cells, lms, marks, week
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


@pytest.mark.parametrize("student", ["=cmd|x", "two\nlines", ".hidden", "O'Brien"])
def test_a_folder_that_is_no_students_is_set_aside_and_said_and_the_others_are_marked(
    student, tmp_path, monkeypatch, capsys
):
    weeks.without_jail(monkeypatch)
    root = weeks.released(tmp_path)
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    weeks.hand_in(root, student, submissions.solved(LAB))
    (root / "submitted" / "bob").symlink_to(root / "submitted" / "ann")
    assert [row["student"] for row in week.grade(LAB, root)] == ["ann"]
    monkeypatch.setattr(sys, "argv", ["grade.py", "grade", LAB, "--root", str(root)])
    assert grade.main() == 0
    said = capsys.readouterr().out
    names = ", ".join(map(ascii, sorted([student, "bob"])))
    assert (
        f"2 not marked, for ids hold letters, digits, spaces and . _ @ + - only, and are no links; rename: {names}\n"
        in said
    )
    with zipfile.ZipFile(lms.for_similarity(LAB, root)) as packed:
        assert packed.namelist() == [f"ann/{LAB}.py"]


def test_where_all_folders_are_odd_it_is_said_which(tmp_path):
    (tmp_path / "O'Brien" / LAB).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no submission in .* rename: \"O'Brien\""):
        marks.mark_class(tmp_path, LAB, 1, 1, submissions.given_out(LAB))


class Told(weeks.Open):
    """Says the same of every function; may come to an end each time."""

    def __init__(self, status, breaks=0):
        self.status, self.breaks, self.asked, self.broken = status, breaks, [], 0

    def ask(self, name, cells, cases, given=(), seconds=0, reading=""):
        self.asked.append((name, reading))
        if name == "look":
            return {"status": "answers", "answers": [[[[], [], None]] * 4]}
        self.broken += self.breaks
        return {"status": self.status}


NAMES = ["step", "fused_step", "largest_step", "backpropagate"]


def told(jail, folder):
    notebook = submissions.solved(LAB)
    notebook.cells.insert(2, nbformat.v4.new_code_cell("x = find_lab"))
    return marks.mark(weeks.hand_in(folder, "ann", notebook), LAB, "ann", 3, submissions.given_out(LAB), jail)


@pytest.mark.parametrize("status", marks.HOPELESS)
def test_what_came_to_no_end_by_itself_is_read_in_no_other_way(status, tmp_path):
    jail = Told(status)
    found = told(jail, tmp_path)
    assert jail.asked == [("look", ""), *((name, "") for name in NAMES)]
    assert found.flags == [f"{name}: {marks.SAID[status]}" for name in NAMES]


def test_a_missing_function_is_read_in_other_ways(tmp_path):
    jail = Told("missing")
    told(jail, tmp_path)
    assert jail.asked[1:4] == [("step", ""), ("step", "handed"), ("step", "strict")]


def test_who_ends_jail_after_jail_is_told_and_not_asked_again(tmp_path):
    jail = Told("broken", breaks=1)
    found = told(jail, tmp_path)
    assert jail.asked[1:] == [("step", ""), ("fused_step", "")]
    said = [marks.SAID[status] for status in ("broken", "broken", "enough", "enough")]
    assert found.flags == [f"{name}: {words}" for name, words in zip(NAMES, said, strict=True)]
    assert [mark.message for mark in found.marks] == said
    jail.asked.clear()
    told(jail, tmp_path)
    assert len(jail.asked) == 3, "the next one begins anew"


def test_who_takes_too_long_in_sum_is_told_and_not_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "LONGEST", -1)
    jail = Told("missing")
    found = told(jail, tmp_path)
    assert jail.asked == [("look", "")]
    assert found.flags == [f"{name}: {marks.SAID['enough']}" for name in NAMES]


def test_what_may_go_wrong_in_this_room_alone_is_flagged_where_an_answer_is_not_right(jail, tmp_path):
    notebook, lost = submissions.solved(LAB), "import no_such_thing as n\nrate = n.rate"
    submissions.cell(notebook, "step").source = "def step(weight, gradient, learning_rate):\n    return weight - rate"
    notebook.cells.insert(2, nbformat.v4.new_code_cell(lost))
    found = marks.mark(weeks.hand_in(tmp_path, "ann", notebook), LAB, "ann", 3, submissions.given_out(LAB), jail)
    assert [mark.points for mark in found.marks] == [0, 1, 2, 3]
    said = "\u201cModuleNotFoundError: No module named 'no_such_thing'\u201d"
    assert f"step: not right, and {said} may come up in the grader's room alone; look at it" in found.flags


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
