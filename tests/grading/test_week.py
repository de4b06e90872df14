"""A week that does not go smoothly: stopped half-way, a full disk, two graders, somebody late, somebody again."""

import contextlib
import csv
import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT, submissions, weeks
from tests.helpers.submissions import LAB
from tools import grade
from tools.grading import gradebook, ledger, marks, week
from tools.grading.jail import LIMITS, Jail
from tools.grading.ledger import Busy, Ledger, alone
from tools.grading.marks import Ended

TIMES = ("seconds", "idle", "wall")  # limits of an answer
WRONG = "return weight + learning_rate * gradient"


@pytest.fixture
def root(tmp_path):
    return weeks.released(tmp_path)


@pytest.fixture
def asked(monkeypatch):
    return weeks.without_jail(monkeypatch)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def command(root, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["grade.py", arguments[0], LAB, *arguments[1:], "--root", str(root)])
    code = grade.main()
    return code, *capsys.readouterr()


# --- what is marked, and what is not marked again --------------------------------------------------------------------


def test_only_what_is_new_is_marked(root, asked):
    for learner in ("ann", "bob", "eve"):
        weeks.hand_in(root, learner, submissions.solved(LAB))
    first = week.grade(LAB, root)
    assert sorted(asked) == ["ann", "bob", "eve"]
    asked.clear()
    assert week.grade(LAB, root) == first
    assert asked == []
    Ledger(LAB, root).folder.joinpath("ann.json").write_text('{"marked": {')  # nobody writes half a file; a disk may
    weeks.hand_in(root, "bob", weeks.answering("step", WRONG))
    weeks.hand_in(root, "zoe", submissions.solved(LAB))
    table = {row["student"]: row[LAB] for row in week.grade(LAB, root)}
    assert sorted(asked) == ["ann", "bob", "zoe"]
    assert table == {"ann": 8, "bob": 6, "eve": 8, "zoe": 8}


def test_when_the_exercises_change_everybody_is_marked_again(root, asked, monkeypatch):
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    week.grade(LAB, root)
    monkeypatch.setattr(week, "reference_hash", lambda lab, root: "another")
    week.grade(LAB, root)
    assert asked == ["ann", "ann"]


def test_one_learner_again_and_the_tables_stay_whole(root, asked, monkeypatch, capsys):
    for learner in ("ann", "bob"):
        weeks.hand_in(root, learner, submissions.solved(LAB))
    week.grade(LAB, root)
    asked.clear()
    assert command(root, monkeypatch, capsys, "grade", "bob")[0] == 0
    assert asked == ["bob"]
    for name, column in (("grades", "student"), ("moodle", "ID number")):
        assert [row[column] for row in rows(root / "grades" / LAB / f"{name}.csv")] == ["ann", "bob"]
    code, _, error = command(root, monkeypatch, capsys, "grade", "nobody\x1b[31m")
    assert code == 1
    assert error == f"nothing is in {root}/submitted/nobody\\x1b[31m/{LAB}/\n"


def test_whose_work_is_gone_keeps_a_row_and_a_flag(root, asked):
    for learner in ("ann", "bob"):
        folder = weeks.hand_in(root, learner, submissions.solved(LAB))
    week.grade(LAB, root)
    (folder / f"{LAB}.ipynb").unlink()
    folder.rmdir()
    assert {r["student"]: r["flags"] for r in week.grade(LAB, root)} == {
        "ann": "",
        "bob": "nothing is in submitted/ any more",
    }


# --- the seed --------------------------------------------------------------------------------------------------------


def test_the_seed_is_kept_for_the_late_and_for_nobody_to_read(root, asked):
    weeks.hand_in(root, "ann", weeks.answering("step", WRONG))
    week.grade(LAB, root)
    book = Ledger(LAB, root)
    seed = book.seed()
    weeks.hand_in(root, "bob", submissions.solved(LAB))
    week.grade(LAB, root)
    assert {record.seed for record in book.records().values()} == {seed == book.seed() and seed}
    kept = [root / "grades" / LAB / "seed.json", *book.folder.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    for path in [*root.rglob("*.csv"), *root.rglob("*.html"), *(root / "autograded").rglob("*"), root / "gradebook.db"]:
        assert path.is_dir() or str(seed).encode() not in path.read_bytes(), f"{path} tells the seed"
    private = [f"grades/{LAB}/seed.json", "gradebook.db.lock"]
    ignored = subprocess.run(["git", "check-ignore", *private], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ignored.stdout.split() == private


def test_a_new_seed_asks_the_whole_class_anew(root, asked, monkeypatch, capsys):
    for learner in ("ann", "bob"):
        weeks.hand_in(root, learner, submissions.solved(LAB))
    week.grade(LAB, root, seed=7)
    assert Ledger(LAB, root).seed() == 7
    week.grade(LAB, root)
    assert len(asked) == 2
    assert command(root, monkeypatch, capsys, "grade", "--new-seed")[0] == 0
    assert len(asked) == 4
    seed = Ledger(LAB, root).seed()
    assert {record.seed for record in Ledger(LAB, root).records().values()} == {seed} != {7}
    code, _, error = command(root, monkeypatch, capsys, "grade", "ann", "--seed", "5")
    assert (code, error) == (1, "another seed asks the whole class anew: leave out the student\n")
    (root / "grades" / LAB / "seed.json").write_text("{}")
    code, _, error = command(root, monkeypatch, capsys, "grade")
    assert code == 1
    assert error.endswith("holds no seed; delete it, and a new one is drawn for the whole class\n")


# --- stopped half-way ------------------------------------------------------------------------------------------------


def eventually(condition):
    """Wait for something that comes by itself, however busy the machine is."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come within ten minutes")


def processes():
    """By number, the parent of each process that runs; what has ended and waits to be counted is none."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


def below(number):
    """All that a process has started, and they, and so on."""
    running, found = processes(), {number}
    while more := {child for child, parent in running.items() if parent in found} - found:
        found |= more
    return found - {number}


@pytest.mark.usefixtures("bubblewrap")
def test_after_kill_9_nothing_runs_on_and_what_was_marked_is_not_marked_again(root):
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    weeks.hand_in(root, "bob", weeks.answering("step", "import time; time.sleep(10_000)"))
    kept = Ledger(LAB, root).folder
    patient = dataclasses.replace(LIMITS, **{f.name: 10**5 for f in dataclasses.fields(LIMITS) if f.name in TIMES})
    program = "from tools.grading.jail import Limits\nfrom tools.grading.week import Path, grade\n"
    program += f"grade({LAB!r}, Path({str(root)!r}), workers=2, limits={patient!r})"
    running = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL)
    eventually((kept / "ann.json").exists)
    descendants = below(running.pid)
    assert len(descendants) > 3, "the workers, their jails, the learner's process"
    tool = [sys.executable, ROOT / "tools" / "grade.py", "grade", LAB, "--root", root]
    second = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert second.stderr == f"another grader works on {root} (process {running.pid}); wait for its end\n"
    running.send_signal(signal.SIGKILL)
    running.wait()
    eventually(lambda: not descendants & set(processes()))
    assert not (kept / "bob.json").exists()
    before = (kept / "ann.json").stat().st_mtime_ns
    marked_then = json.loads((kept / "ann.json").read_text())["marked"]
    table = {row["student"]: row for row in week.grade(LAB, root)}
    assert table["ann"][LAB] == 8
    assert table["bob"]["step"] == 0
    assert (kept / "ann.json").stat().st_mtime_ns >= before
    assert json.loads((kept / "ann.json").read_text())["marked"] == marked_then, "the seconds it took are those of then"


def test_a_worker_that_is_ended_from_outside_is_a_sentence(root, monkeypatch):
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    monkeypatch.setattr(marks, "mark", lambda *given: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(Ended, match="ended from outside"):
        week.grade(LAB, root)


def test_what_nobody_foresaw_about_one_learner_does_not_stop_the_class(root, monkeypatch):
    real = marks.read

    def fails_for_ann(folder, lab):
        if folder.parent.name == "ann":
            raise ArithmeticError("\x1b[2Jsurprise")
        return real(folder, lab)

    monkeypatch.setattr(marks, "read", fails_for_ann)

    def said(_, name, *given, **more):
        """Of trusted code, that nothing is odd; of the learner's, that it is blank."""
        count = len(marks.find_lab(LAB).exercises) if name == "look" else 0
        return {"status": "answers", "answers": [[[[], [], None]] * count]} if count else {"status": "blank"}

    monkeypatch.setattr(Jail, "ask", said)
    for learner in ("ann", "bob"):
        weeks.hand_in(root, learner, submissions.solved(LAB))
    ann, bob = week.grade(LAB, root)
    assert ann["flags"] == "this could not be marked (ArithmeticError: \\x1b[2Jsurprise), mark it by hand"
    assert bob["flags"] == ""


def test_a_full_disk_is_a_sentence_and_the_next_run_goes_on(root, asked, monkeypatch, capsys):
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    part = root / "grades" / LAB / "grades.csv.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    code, _, error = command(root, monkeypatch, capsys, "grade")
    assert (code, error) == (
        1,
        "no space is left on the disk. What was marked is kept: see to it, and run the same again\n",
    )
    assert not (root / "grades" / LAB / "grades.csv").exists()
    assert command(root, monkeypatch, capsys, "grade")[0] == 0
    assert asked == ["ann"], "once"
    assert [row["student"] for row in rows(root / "grades" / LAB / "grades.csv")] == ["ann"]


def test_a_file_that_cannot_be_used_is_named():
    kept = "What was marked is kept: see to it, and run the same again"
    assert grade.in_words(PermissionError(13, "Permission denied", Path("/x"))) == f"/x: Permission denied. {kept}"
    assert grade.in_words(FileNotFoundError("no submission in submitted/")) == "no submission in submitted/"


def test_one_grader_at_a_time(root, asked):
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    with alone(root), pytest.raises(Busy, match=rf"another grader works on {root} \(process {os.getpid()}\)"):
        week.grade(LAB, root)
    assert len(week.grade(LAB, root)) == 1


# --- time and attempts -----------------------------------------------------------------------------------------------


def test_nothing_is_late_where_nothing_is_configured(root, asked):
    weeks.hand_in(root, "ann", submissions.solved(LAB), when="2027-02-05 21:00:00 UTC")
    (row,) = week.grade(LAB, root)
    assert not {"late", "penalty"} & set(row)


def test_late_work_loses_what_the_rules_say_in_the_tables_in_nbgraders_and_on_the_page(root, asked):
    weeks.configured(
        root,
        f"c.Policy.due = {{'{LAB}': '2027-02-04 21:00'}}",
        f"c.Policy.extensions = {{'{LAB}': {{'eve': '2027-02-09 21:00'}}}}",
        "c.Policy.per_day = 0.1",
        "c.Policy.most = 0.25",
    )
    for learner, when in {
        "ann": "2027-02-04 20:59:59 UTC",
        "bob": "2027-02-05 21:30:00 UTC",
        "dan": "2027-03-05 21:00:00 UTC",
        "eve": "2027-02-09 20:00:00 UTC",
        "fay": None,
        "gil": "the day before yesterday",
    }.items():
        weeks.hand_in(root, learner, submissions.solved(LAB), when=when)
    table = {row["student"]: (row["late"], row["penalty"], row[LAB]) for row in week.grade(LAB, root)}
    assert table == {
        "ann": (0, 0, 8),
        "bob": (24.5, 1.6, 6.4),
        "dan": (29 * 24, 2, 6),
        "eve": (0, 0, 8),
        "fay": ("", 0, 8),
        "gil": ("", 0, 8),
    }
    gradebook.nbgrader("export", root=root)
    theirs = {row["student_id"]: float(row["score"]) for row in rows(root / "grades.csv")}
    assert theirs == {learner: total for learner, (_, _, total) in table.items()}
    assert week.give_back(LAB, root, workers=1) == []
    page = (root / "feedback" / "bob" / LAB / f"{LAB}.html").read_text()
    assert "Score: 6.4 / 8.0" in page.replace("\n", " ")
    assert "Late submission penalty" in page


def test_of_several_attempts_the_last_counts_or_the_best_after_what_late_costs(root, asked, monkeypatch):
    tries = {
        "2027-02-01 12:00:00": weeks.answering("step", WRONG),
        "2027-02-03 12:00:00": submissions.solved(LAB),
        "2027-02-06 12:00:00": submissions.given_out(LAB),
    }
    folders = []
    for when, notebook in tries.items():
        folders.append(root / "collected" / when[:10])
        folders[-1].mkdir(parents=True)
        (folders[-1] / f"{LAB}.ipynb").write_bytes(submissions.written(notebook))
        (folders[-1] / "timestamp.txt").write_text(f"{when} UTC")
    folders[-1] = weeks.hand_in(root, "ann", submissions.given_out(LAB), when="2027-02-06 12:00:00 UTC")
    known = [(None, folder / f"{LAB}.ipynb") for folder in folders]
    monkeypatch.setattr(week.lms, "attempts", lambda lab, student, root: known)
    assert [row[LAB] for row in week.grade(LAB, root)] == [0]
    weeks.configured(root, "c.Policy.attempts = 'best'")
    assert [row[LAB] for row in week.grade(LAB, root)] == [8]
    assert Ledger(LAB, root).records()["ann"].attempts == list(zip(tries, (6, 8, 0), strict=True))
    weeks.configured(root, f"c.Policy.due = {{'{LAB}': '2027-02-02 12:00'}}", "c.Policy.per_day = 0.3")
    (row,) = week.grade(LAB, root)
    assert (row["late"], row[LAB]) == (0, 6), "8 points that are a day late are 5.6"
    assert Ledger(LAB, root).records()["ann"].when == "2027-02-01 12:00:00"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("c.Policy.due = {LAB: 'soon'}", "'soon' is no time; write one as '2027-02-04 23:59 Europe/Berlin'"),
        ("c.Policy.due = {LAB: '2027-02-04 23:59 Europe/Atlantis'}", "is no time"),
        ("c.Policy.per_day = 2.0", "per_day"),
        ("c.Policy.attempts = 'luckiest'", "attempts"),
        ("c.Policy.per_week = 0.1", "has no per_week; it has attempts, due, extensions, most"),
        ("c.Policy.extensions = {LAB: {'ann': '2027-02-04 23:59'}}", "and c.Policy.due has not"),
        ("c.Policy.due = 1 / 0", "cannot be read: ZeroDivisionError"),
    ],
)
def test_rules_that_are_none_are_refused_before_anything_is_marked(line, words, root, asked, monkeypatch, capsys):
    weeks.configured(root, line.replace("LAB", repr(LAB)))
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    code, _, error = command(root, monkeypatch, capsys, "grade")
    assert code == 1
    assert words in error
    assert "nbgrader_config.py" in error
    assert asked == []


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_limits_that_a_class_gets_are_those_of_the_jail(root, monkeypatch):
    seen = []
    monkeypatch.setattr(week, "mark_side_by_side", lambda *given: seen.append(given[5]) or iter([]))
    weeks.hand_in(root, "ann", submissions.solved(LAB))
    monkeypatch.setattr(week, "_exported", lambda *given: [])
    week.grade(LAB, root)
    assert seen == [LIMITS]
    assert ledger.draw() != ledger.draw()
