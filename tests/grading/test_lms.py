"""A class as three platforms pack it comes to where the grader looks, and nobody's work is lost or mixed."""

import ast
import shutil
import zipfile

import pytest
from nbgrader.utils import parse_utc

from tests.helpers import ROOT, classes, submissions
from tests.helpers.classes import (
    ABSENT,
    CLASS,
    FETCHED,
    HANDED_IN,
    LAB,
    LATE,
    NAME,
    TWICE,
    all_files,
    blackboard,
    canvas,
    later,
    moodle,
    roster,
    stamp,
    submitted,
    whose,
    work,
)
from tools import grade
from tools.grading import lms, shelf


def everybody_is_there(root, done, twice=()):
    """Compared with what was put in."""
    assert not done.collected.unmatched
    there = [person for person in CLASS if person not in ABSENT]
    assert {p.id: whose(submitted(root, p)) for p in there} == {
        p.id: f"{p.id}, attempt {2 if p in twice else 1}" for p in there
    }
    assert set(done.collected.missing) == {person.id for person in ABSENT}
    assert len(list((root / "submitted").iterdir())) == 97
    for person in twice:
        found = lms.attempts(LAB, person.id, root)
        assert [whose(path) for _, path in found] == [f"{person.id}, attempt {n}" for n in (1, 2)]
        assert found[-1][1] == submitted(root, person)
        assert found[0][1].parents[1] == root / "collected" / LAB / person.id


# --- three platforms -------------------------------------------------------------------------------------------------


def test_a_class_at_canvas(tmp_path):
    done = lms.collect(LAB, tmp_path, canvas(tmp_path), roster(tmp_path, classes.canvas_roster(CLASS)))
    everybody_is_there(tmp_path, done, TWICE)
    assert done.platform == "canvas"
    assert done.late == {person.id for person in LATE}
    # the times are those of the download: whoever handed in may not lose points by them
    assert not list(tmp_path.rglob("timestamp.txt"))
    assert {when for when, _ in lms.attempts(LAB, TWICE[0].id, tmp_path)} == {None}
    said = lms.summary(done)
    assert "collected  97, 12 of them with several attempts" in said
    assert "late       3, as the platform says" in said
    assert "missing    3" in said
    assert "no time    for 97" in said
    names = lms.roster_names(LAB, tmp_path)
    assert {id: (row["Student"], row["ID"], row["SIS Login ID"]) for id, row in names.items()} == {
        p.id: (f"{p.last}, {p.first}".strip(), str(p.canvas), p.id) for p in CLASS
    }


@pytest.mark.parametrize("end", ["", "_"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_at_moodle_with_the_times_of_the_worksheet(end, form, tmp_path):
    times = {p.id: later(n / 24) for n, p in enumerate(CLASS) if p not in ABSENT}
    worksheet = roster(tmp_path, classes.moodle_worksheet(CLASS, times))
    done = lms.collect(LAB, tmp_path, moodle(tmp_path, end, form), worksheet, "Europe/Berlin")
    everybody_is_there(tmp_path, done)
    assert done.platform == "moodle"
    assert not done.untimed
    for person in CLASS[:3]:
        said = times[person.id].replace(second=0)
        ((when, _),) = lms.attempts(LAB, person.id, tmp_path)
        assert (said - when).total_seconds() == 3600, "Berlin's winter"
        assert parse_utc(stamp(submitted(tmp_path, person))) == when, "as nbgrader reads it"


def test_moodle_without_folders(tmp_path):
    names = [(classes.moodle_folder(p) + f"_{NAME}", work(LAB, p.id), FETCHED) for p in CLASS if p not in ABSENT]
    sheet = roster(tmp_path, classes.moodle_worksheet(CLASS))
    done = lms.collect(LAB, tmp_path, classes.archive(tmp_path / "s.zip", names), sheet)
    everybody_is_there(tmp_path, done)


@pytest.mark.parametrize(
    ("zone", "said", "hours"), [(None, "GMT", 0), (None, "CET", 1), ("America/New_York", "GMT", -5)]
)
def test_a_class_at_blackboard(zone, said, hours, tmp_path):
    sheet = roster(tmp_path, classes.blackboard_roster(CLASS))
    done = lms.collect(LAB, tmp_path, blackboard(tmp_path, said), sheet, zone)
    everybody_is_there(tmp_path, done, TWICE)
    assert done.platform == "blackboard"
    for person in TWICE:
        whens = [when for when, _ in lms.attempts(LAB, person.id, tmp_path)]
        assert [(HANDED_IN - whens[0]).total_seconds(), (later(2) - whens[1]).total_seconds()] == [3600 * hours] * 2
    folder = tmp_path / "collected" / LAB / TWICE[0].id
    assert len(list(folder.iterdir())) == 1
    assert stamp(next(folder.iterdir()) / NAME) == f"{whens[0]:%Y-%m-%d %H:%M:%S} UTC"


def test_blackboard_tells_users_apart_whose_names_end_alike(tmp_path):
    rows = [("Last Name", "First Name", "Username"), ("A", "Al", "ob"), ("B", "Bo", "a_ob"), ("C", "Cy", "cy")]
    files = [
        (f"Lab_2_{user}_attempt_2026-11-20-14-05-33_{NAME}", work(LAB, user), FETCHED) for user in ("ob", "a_ob", "cy")
    ]
    done = lms.collect(LAB, tmp_path, classes.archive(tmp_path / "s.zip", files), roster(tmp_path, classes.table(rows)))
    assert not done.collected.unmatched
    assert {user: whose(tmp_path / "submitted" / user / LAB / NAME) for user in ("ob", "a_ob", "cy")} == {
        user: f"{user}, attempt 1" for user in ("ob", "a_ob", "cy")
    }


# --- two of one name -------------------------------------------------------------------------------------------------


def test_two_of_one_name_are_never_guessed(tmp_path):
    participants = roster(tmp_path, classes.moodle_participants(CLASS))  # it has names, and no numbers
    done = lms.collect(LAB, tmp_path, moodle(tmp_path), participants)
    kims = [person for person in CLASS if person.first == "Kim"]
    dots = [person for person in CLASS if person.first == ".."]
    assert {one.who for one in done.collected.unmatched} == {classes.moodle_folder(p) for p in (*kims, *dots)}
    assert {one.reason for one in done.collected.unmatched if "Kim" in one.who} == {
        f"2 in the roster have this name: {kims[0].id}, {kims[1].id}"
    }
    assert not any(submitted(tmp_path, person).exists() for person in (*kims, *dots))
    for one in done.collected.unmatched:
        assert (tmp_path / one.kept).is_file()
    kept = (tmp_path / one.kept for one in done.collected.unmatched if one.name.endswith(".ipynb"))
    assert sorted(map(whose, kept)) == sorted(f"{p.id}, attempt 1" for p in (*kims, *dots))
    # with the worksheet they are known, and what had no place is taken from there
    done = lms.collect(LAB, tmp_path, moodle(tmp_path), roster(tmp_path, classes.moodle_worksheet(CLASS)))
    everybody_is_there(tmp_path, done)
    assert not (tmp_path / "collected" / LAB / "unmatched").exists()


def test_two_in_the_archive_with_the_name_of_one_in_the_roster(tmp_path):
    ann, other = CLASS[0], classes.Person("Ann", "O'Brien", "", 1, 77)
    files = [(f"{classes.moodle_folder(p)}/{NAME}", work(LAB, str(p.moodle)), FETCHED) for p in (ann, other)]
    sheet = roster(tmp_path, classes.moodle_participants(CLASS[:2]))
    done = lms.collect(LAB, tmp_path, classes.archive(tmp_path / "s.zip", files), sheet)
    assert {one.reason for one in done.collected.unmatched} == {f"2 people there have the name of {ann.id}"}
    assert len(done.collected.unmatched) == 2
    sheet = roster(tmp_path, classes.moodle_worksheet(CLASS[:2]))
    done = lms.collect(LAB, tmp_path, tmp_path / "s.zip", sheet)
    assert [one.reason for one in done.collected.unmatched] == [
        f"the number 77 is not that of {ann.id}, who has this name"
    ]
    assert whose(submitted(tmp_path, ann)) == f"{ann.moodle}, attempt 1"


@pytest.mark.parametrize("known", [True, False])
def test_nobody_hands_in_for_another_by_the_name_of_a_file(known, tmp_path):
    ann, bob = CLASS[0], CLASS[20]
    named = classes.canvas_file(ann, 81_000, f"{classes.canvas_name(bob)}_{bob.canvas}_81001_{NAME}")
    source = classes.archive(tmp_path / "s.zip", [(named, work(LAB, ann.id), FETCHED)])
    done = lms.collect(LAB, tmp_path, source, roster(tmp_path, classes.canvas_roster([ann, bob] if known else [bob])))
    assert not submitted(tmp_path, bob).exists()
    assert submitted(tmp_path, ann).exists() == known
    assert len(done.collected.unmatched) == (not known)


# --- again -----------------------------------------------------------------------------------------------------------


def test_again_with_the_same_archive_nothing_changes(tmp_path):
    sheet = roster(tmp_path, classes.canvas_roster(CLASS))
    lms.collect(LAB, tmp_path, canvas(tmp_path), sheet)
    before = all_files(tmp_path)
    done = lms.collect(LAB, tmp_path, tmp_path / "submissions.zip")  # the roster is known by now
    assert done.new == 0
    assert all_files(tmp_path) == before


def test_a_newer_archive_adds_and_an_older_one_never_replaces(tmp_path):
    sheet = roster(tmp_path, classes.canvas_roster(CLASS))
    newer = canvas(tmp_path, "newer.zip")
    older = canvas(tmp_path, "older.zip", second=())
    for first, then in ((older, newer), (newer, older)):
        root = tmp_path / first.stem
        root.mkdir()
        assert lms.collect(LAB, root, first, sheet).new == (97 if first is older else 97 + len(TWICE))
        everybody_is_there(root, lms.collect(LAB, root, then, sheet), TWICE)


def test_moodle_has_the_last_state_only_and_attempts_come_archive_by_archive(tmp_path):
    """Times are those of the downloads. Whoever goes back to an older notebook has handed in once more."""
    present, root = CLASS[:2], tmp_path
    sheet = roster(root, classes.moodle_worksheet(present))
    archives = {
        day: moodle(root, attempt=attempt, name=f"{day}.zip", time=later(day), present=present)
        for day, attempt in ((1, 1), (2, 2), (3, 2), (4, 1))
    }
    for days, expected in (((1, 2, 3), (1, 2)), ((2, 1, 3), (1, 2)), ((3, 1, 2), (1, 2)), ((1, 2, 3, 4, 1), (1, 2, 1))):
        folder = root / "-".join(map(str, days))
        folder.mkdir()
        for day in days:
            lms.collect(LAB, folder, archives[day], sheet)
        for person in present:
            found = lms.attempts(LAB, person.id, folder)
            assert [whose(path) for _, path in found] == [f"{person.id}, attempt {n}" for n in expected], days


def test_what_was_placed_or_edited_by_hand_is_an_attempt_too(tmp_path):
    sheet, ann = roster(tmp_path, classes.canvas_roster(CLASS[:2])), CLASS[0]
    by_hand = submitted(tmp_path, ann)
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(work(LAB, "by hand"))
    by_hand.with_name("timestamp.txt").write_text("2026-11-01 10:00:00 UTC\n")
    assert [path for _, path in lms.attempts(LAB, ann.id, tmp_path)] == [by_hand]
    lms.collect(LAB, tmp_path, canvas(tmp_path, present=CLASS[:2], second=()), sheet)
    assert whose(by_hand) == f"{ann.id}, attempt 1", "it is newer"
    (when, first), _ = lms.attempts(LAB, ann.id, tmp_path)
    assert (f"{when}", whose(first), stamp(first)) == (
        "2026-11-01 10:00:00",
        "by hand, attempt 1",
        "2026-11-01 10:00:00 UTC",
    )
    assert not by_hand.with_name("timestamp.txt").exists(), "that was the older one's"
    by_hand.write_bytes(work(LAB, "edited"))
    lms.collect(LAB, tmp_path, canvas(tmp_path, present=CLASS[:2], second=()), sheet)
    assert whose(by_hand) == "edited, attempt 1"
    kept = [whose(path) for _, path in lms.attempts(LAB, ann.id, tmp_path)]
    assert kept == ["by hand, attempt 1", f"{ann.id}, attempt 1", "edited, attempt 1"]


def test_an_earlier_attempt_that_is_put_back_by_hand_stays(tmp_path):
    sheet, ann = roster(tmp_path, classes.canvas_roster(CLASS[:1])), CLASS[0]
    source = canvas(tmp_path, present=CLASS[:1], second=CLASS[:1])
    lms.collect(LAB, tmp_path, source, sheet)
    (_, first), (_, last) = lms.attempts(LAB, ann.id, tmp_path)
    last.write_bytes(first.read_bytes())
    for _ in range(2):
        assert lms.collect(LAB, tmp_path, source, sheet).new == 0
        kept = [whose(path) for _, path in lms.attempts(LAB, ann.id, tmp_path)]
        assert kept == [f"{ann.id}, attempt {n}" for n in (1, 2, 1)]


def test_collect_that_was_stopped_in_the_middle_goes_on(tmp_path, monkeypatch):
    """Whatever file was being written: each is whole, and nothing is counted twice."""
    place, sheet = shelf.place, roster(tmp_path, classes.canvas_roster(CLASS))
    archive = canvas(tmp_path)
    for stop in (1, 2, 30):
        root, left = tmp_path / str(stop), iter(range(stop))
        root.mkdir()

        def placed(path, content, left=left):
            next(left)  # raises when it is used up
            place(path, content)

        monkeypatch.setattr(shelf, "place", placed)
        with pytest.raises(StopIteration):
            lms.collect(LAB, root, archive, sheet)
        monkeypatch.setattr(shelf, "place", place)
        done = lms.collect(LAB, root, archive, sheet)
        everybody_is_there(root, done, TWICE)
        assert {len(handed.attempts) for handed in done.collected.learners.values()} == {1, 2}
        assert all(one.upload for handed in done.collected.learners.values() for one in handed.attempts)


def test_a_list_that_somebody_edited_is_said_in_a_sentence(tmp_path):
    sheet = roster(tmp_path, classes.canvas_roster(CLASS[:1]))
    lms.collect(LAB, tmp_path, canvas(tmp_path, present=CLASS[:1]), sheet)
    (tmp_path / "collected" / LAB / "collected.json").write_text('{"lab": 1}')
    with pytest.raises(ValueError, match="is not what collect wrote"):
        lms.attempts(LAB, CLASS[0].id, tmp_path)


def test_a_better_time_is_taken_when_it_comes(tmp_path):
    source, ann = moodle(tmp_path, present=CLASS[:1]), CLASS[0]
    lms.collect(LAB, tmp_path, source, roster(tmp_path, classes.moodle_worksheet(CLASS[:1])), "UTC")
    assert [when for when, _ in lms.attempts(LAB, ann.id, tmp_path)] == [None]
    sheet = roster(tmp_path, classes.moodle_worksheet(CLASS[:1], {ann.id: HANDED_IN}))
    assert lms.collect(LAB, tmp_path, source, sheet, "UTC").new == 0
    assert stamp(submitted(tmp_path, ann)) == "2026-11-20 14:05:00 UTC"


def test_times_that_are_spread_are_those_of_the_files(tmp_path):
    """As in archives of an old Moodle, or such as somebody packed."""
    files = [(f"{classes.moodle_folder(p)}/{NAME}", work(LAB, p.id), later(n)) for n, p in enumerate(CLASS[:3])]
    sheet = roster(tmp_path, classes.moodle_worksheet(CLASS[:3]))
    lms.collect(LAB, tmp_path, classes.archive(tmp_path / "s.zip", files), sheet, "Europe/Berlin")
    assert [stamp(submitted(tmp_path, p)) for p in CLASS[:3]] == [f"2026-11-{20 + n} 13:05:32 UTC" for n in range(3)]


# --- back to the platform --------------------------------------------------------------------------------------------


def pages(root, ids):
    for id in ids:
        path = root / "feedback" / id / LAB / f"{LAB}.html"
        path.parent.mkdir(parents=True)
        path.write_text(f"page of {id}")


def packed_pages(root):
    with zipfile.ZipFile(lms.packed_feedback(LAB, root)) as packed:
        return {name: packed.read(name).decode() for name in packed.namelist()}


def moodles_importer(path):
    """The participant, the plugin and the file, as assignfeedback_file_zip_importer takes them from a path."""
    parts = path.split("/")
    while parts:
        info = parts.pop(0).split("_", 4)
        if len(info) >= 4 and info[1].isdecimal():
            return int(info[1]), (info[2], info[3]), "/".join([*info[4:], *parts])
    return None


def test_moodle_finds_the_learner_of_each_page(tmp_path):
    for n, end in enumerate(["", "_"]):
        root = tmp_path / str(n)
        root.mkdir()
        lms.collect(LAB, root, moodle(root, end), roster(root, classes.moodle_worksheet(CLASS)))
        pages(root, [p.id for p in CLASS if p not in ABSENT])
        found = {moodles_importer(name): page for name, page in packed_pages(root).items()}
        file = f"/{LAB}.html" if end else f"{LAB}.html"  # an older Moodle takes the folder's last sign for a name
        assert found == {
            (p.moodle, ("assignsubmission", "file"), file): f"page of {p.id}" for p in CLASS if p not in ABSENT
        }


def test_canvas_finds_the_learner_and_the_upload_of_each_page(tmp_path):
    present = [p for p in CLASS if p not in ABSENT]
    lms.collect(LAB, tmp_path, canvas(tmp_path), roster(tmp_path, classes.canvas_roster(CLASS)))
    pages(tmp_path, [p.id for p in present])
    found = {}
    for name, page in packed_pages(tmp_path).items():
        numbers = [part for part in name.split("_") if part.isdecimal()][:2]  # as Canvas's Assignment reads it
        found[page] = tuple(map(int, numbers))
    expected = {f"page of {p.id}": (p.canvas, 80_000 + 10 * n + 1 + (p in TWICE)) for n, p in enumerate(present)}
    assert found == expected


def test_blackboard_has_no_way_back_and_pages_are_named_by_user(tmp_path):
    with pytest.raises(FileNotFoundError, match="make feedback"):
        lms.packed_feedback(LAB, tmp_path)
    pages(tmp_path, [CLASS[0].id, CLASS[1].id])
    by_id = packed_pages(tmp_path)
    lms.collect(LAB, tmp_path, blackboard(tmp_path), roster(tmp_path, classes.blackboard_roster(CLASS)))
    assert packed_pages(tmp_path) == by_id == {f"{p.id}_{LAB}.html": f"page of {p.id}" for p in CLASS[:2]}


def test_a_tool_for_similarity_gets_what_learners_wrote_and_nothing_else(tmp_path):
    shutil.copytree(ROOT / "labs" / LAB, tmp_path / "labs" / LAB)
    with pytest.raises(FileNotFoundError, match="nobody has written anything"):
        lms.for_similarity(LAB, tmp_path)
    kinds = submissions.handful(LAB) | {"broken": submissions.Submission({NAME: b"{"}, {})}
    magic = submissions.solved(LAB)
    first = next(iter(submissions.zeros(LAB)))
    submissions.cell(magic, first).source = f"%time\nimport os\ndef {first}():\n    !ls\n    return 1"
    kinds["magic"] = submissions.of(LAB, magic)
    learners = submissions.hand_in(kinds, LAB, tmp_path / "submitted")
    with zipfile.ZipFile(lms.for_similarity(LAB, tmp_path)) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}
    assert set(texts) == {f"{learners[kind]}/{LAB}.py" for kind in kinds if kind not in ("blank", "broken")}
    for text in texts.values():
        ast.parse(text)
    right, source = texts[f"right/{LAB}.py"], submissions.solved(LAB)
    for name in submissions.zeros(LAB):
        assert submissions.cell(source, name).source in right
    assert "check." not in right, "what was given out is everybody's"
    assert len(texts[f"{learners['half']}/{LAB}.py"]) < len(right)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_says_what_came_and_every_mistake_in_a_sentence(tmp_path, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["grade.py", *map(str, arguments), "--root", str(tmp_path)])
        done = grade.main()
        said = capsys.readouterr()
        return done, said.out or said.err

    source, sheet = canvas(tmp_path), roster(tmp_path, classes.canvas_roster(CLASS))
    assert command("collect", LAB) == (
        1,
        f"which archive? Run: make collect LAB={LAB} ZIP=submissions.zip ROSTER=roster.csv\n",
    )
    assert command("collect", LAB, "--zip", tmp_path / "no.zip", "--roster", sheet) == (
        1,
        f"there is no file {tmp_path / 'no.zip'}\n",
    )
    done, said = command("collect", LAB, "--zip", source, "--roster", sheet, "--zone", "Europe/Berlin")
    assert done == 0
    assert said.startswith(f"{LAB}, from Canvas: 97 learners, 109 new attempts.\n  collected  97, 12 of them with")
    shutil.copytree(ROOT / "labs" / LAB, tmp_path / "labs" / LAB)
    assert command("similarity", LAB) == (
        1,
        f"nobody has written anything in {tmp_path}/submitted/<student>/{LAB}/\n",
    )
