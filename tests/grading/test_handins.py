"""What learners send, and what attackers do: the notebook is found, nothing is written outside, nobody is refused."""

import io
import zipfile

import pytest

from tests.helpers import classes
from tests.helpers.classes import (
    CLASS,
    FETCHED,
    HANDED_IN,
    LAB,
    NAME,
    all_files,
    later,
    moodle,
    roster,
    stamp,
    submitted,
    whose,
    work,
)
from tools.grading import archive, handins, lms

# --- what learners send ----------------------------------------------------------------------------------------------


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return packed.getvalue()


RIGHT = work(LAB, "right")
OTHER = work("01-gradient-descent", "other lab")
SENT = {  # what lies in a learner's folder at Moodle; whose notebook counts, and what is said
    "another name": ({"homework (1).ipynb": RIGHT}, "right", None),
    "in a folder": ({f"my work/lab/{NAME}": RIGHT}, "right", None),
    "with checkpoints": (
        {f".ipynb_checkpoints/{NAME}": OTHER, NAME: RIGHT, f"__MACOSX/._{NAME}": b"\0"},
        "right",
        None,
    ),
    "two, one of another lab": ({"a.ipynb": OTHER, "b.ipynb": RIGHT}, "right", "b.ipynb counts, and not a.ipynb"),
    "two, one of them broken": ({NAME: b"{", "b.ipynb": RIGHT}, "right", f"b.ipynb counts, and not {NAME}"),
    "a zip": ({"work.zip": zipped([(f"x/{NAME}", RIGHT), ("x/data.csv", b"1")])}, "right", None),
    "a zip in a zip": ({"work.ZIP": zipped([("in.zip", zipped([(NAME, RIGHT)]))])}, "right", None),
    "a zip from a Mac": ({"w.zip": zipped([(NAME, RIGHT), (f"__MACOSX/._{NAME}", b"\0" * 9)])}, "right", None),
    "a zip that is none beside it": (
        {NAME: RIGHT, "w.zip": b"no"},
        "right",
        "w.zip: called an archive and is none",
    ),
    "as text": ({f"{NAME}.txt": RIGHT}, "right", f"called {NAME}.txt"),
    "as JSON, with a mark": ({"02.json": b"\xef\xbb\xbf" + RIGHT}, "right", "called 02.json"),
    "another lab": ({NAME: OTHER}, "other lab", f"no cell of {LAB} in it"),
    "an empty file": ({NAME: b""}, None, "an empty file"),
    "half a file": ({NAME: RIGHT[:500]}, None, "no notebook in it, or half of one"),
}
NOTHING = {  # where there is none, and why
    "a picture": ({"photo.png": b"\x89PNG"}, "no notebook, but photo.png"),
    "a zip without one": ({"w.zip": zipped([("a.py", b"1")])}, "no notebook, but w.zip"),
    "a zip that is none": ({"w.zip": b"PK\3\4no"}, "w.zip: called an archive and is none"),
    "a zip of zips of zips": (
        {"w.zip": zipped([("a.zip", zipped([("b.zip", zipped([(NAME, RIGHT)]))]))])},
        "no notebook, but w.zip",
    ),
    "thousands of files": (
        {"w.zip": zipped([(f"{n}.py", b"") for n in range(1500)])},
        "w.zip: an archive of more than",
    ),
}


def one_learner(root, files, person=CLASS[0]):
    named = [(f"{classes.moodle_folder(person)}/{name}", content, FETCHED) for name, content in files.items()]
    sheet = roster(root, classes.moodle_worksheet([person]))
    return lms.collect(LAB, root, classes.archive(root / "submissions.zip", named), sheet)


@pytest.mark.parametrize("kind", SENT)
def test_whatever_a_learner_sends_the_notebook_is_found(kind, tmp_path):
    files, expected, note = SENT[kind]
    done = one_learner(tmp_path, files)
    assert not done.collected.unmatched
    content = submitted(tmp_path, CLASS[0]).read_bytes()
    if expected:
        assert whose(submitted(tmp_path, CLASS[0])).startswith(expected) or content.startswith(b"\xef\xbb\xbf")
    else:
        assert content == files[NAME]
    assert done.collected.learners[CLASS[0].id].attempts[-1].notes == ([note] if note else [])
    assert (note or "") in lms.summary(done)
    others = [content for name, content in files.items() if name.endswith(".ipynb") and "_" not in name]
    kept = {path.read_bytes() for path in tmp_path.rglob("*.ipynb")}
    assert set(others) <= kept, "nothing is lost"


@pytest.mark.parametrize("kind", NOTHING)
def test_who_sends_no_notebook_is_told_apart_from_who_sends_nothing(kind, tmp_path):
    files, reason = NOTHING[kind]
    done = one_learner(tmp_path, files)
    (one,) = done.collected.unmatched
    assert one.who == CLASS[0].id
    assert one.reason.startswith(reason)
    assert (tmp_path / one.kept).read_bytes() == next(iter(files.values()))
    assert set(done.collected.missing) == {CLASS[0].id}


def test_an_attempt_at_blackboard_without_a_file_is_listed(tmp_path):
    text = classes.blackboard_receipt(CLASS[0], HANDED_IN, NAME, said="Name: Bob (s1020)\nI forgot the file.")
    files = [(classes.blackboard_file(CLASS[0], HANDED_IN, ""), text, FETCHED)]
    source = classes.archive(tmp_path / "s.zip", files)
    done = lms.collect(LAB, tmp_path, source, roster(tmp_path, classes.blackboard_roster(CLASS)))
    assert [(one.who, one.reason) for one in done.collected.unmatched] == [(CLASS[0].id, "an attempt without a file")]


# --- attacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_every_evil_kind_write_nothing_outside_and_refuse_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 2**20)
    monkeypatch.setattr(handins, "OF_ONE", 2**22)
    root, outside = tmp_path / "course", {"before": b""}
    root.mkdir()
    (tmp_path / "before").write_bytes(b"")
    ann, bob = CLASS[0], CLASS[20]
    folder = classes.moodle_folder(ann)
    bomb = bytes(2**20 + 1)
    evil = {
        f"{folder}/../../../../out.ipynb": RIGHT,
        f"/{folder}/{NAME}": RIGHT,
        f"C:\\{folder}\\{NAME}": RIGHT,
        f"..\\..\\{folder}\\out.ipynb": RIGHT,
        f"{folder}/a\0b.ipynb": RIGHT,
        f"{folder}/bomb.ipynb": bomb,
        f"{folder}/bomb.zip": zipped([(f"{n}.ipynb", bytes(2**20)) for n in range(9)]),
        f"{folder}/{'long' * 200}.ipynb": b"{}",
        "\x1b[2J\u202egnp.exe": b"x",
        "": b"x",
        "...": b"x",
        "nobody_1_assignsubmission_file/x.ipynb": RIGHT,
    }
    files = [(name, content, FETCHED) for name, content in evil.items()]
    files += [(f"{classes.moodle_folder(bob)}/{NAME}", work(LAB, "bob"), FETCHED)] * 2  # twice the same name
    source = classes.archive(root / "s.zip", files)
    with zipfile.ZipFile(source, "a") as packed:
        link = zipfile.ZipInfo(f"{folder}/link.ipynb")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    done = lms.collect(LAB, root, source, roster(root, classes.moodle_worksheet([ann, bob])))
    assert {path.name for path in tmp_path.iterdir()} == {"course", *outside}
    assert all(not path.is_symlink() for path in root.rglob("*"))
    assert {path.name for path in root.iterdir()} == {"s.zip", "roster.csv", "submitted", "collected"}
    assert whose(submitted(root, bob)) == "bob, attempt 1"
    reasons = {one.name: one.reason for one in done.collected.unmatched}
    assert reasons[f"{folder}/../../../../out.ipynb"] == "its name leads out of the archive"
    assert reasons[f"{folder}/link.ipynb"] == "a link, or something else that is no file"
    assert reasons["nobody_1_assignsubmission_file/x.ipynb"] == "nobody in the roster has this name or number"
    assert len(reasons) == 9, "and what lies in Ann's own folder is hers"
    (last,) = done.collected.learners[ann.id].attempts
    assert "bomb.ipynb: larger than 1 MB" in last.notes
    assert last.notes.count("more than 4 MB together") == 1
    assert len(last.notes) == 4, last.notes
    said = lms.summary(done)
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert not any(b"root:" in content for content in all_files(root / "collected").values())


@pytest.mark.parametrize("where", ["archive", "learner's archive"])
def test_damage_and_ciphers_are_reasons_and_no_errors(where, tmp_path):
    raw = zipped([(f"{classes.moodle_folder(CLASS[0])}/{NAME}", RIGHT)])
    if where == "archive":
        at = len(raw) // 2
        broken = raw[:at] + bytes(b ^ 255 for b in raw[at : at + 20]) + raw[at + 20 :]
        (tmp_path / "s.zip").write_bytes(broken)
        done = lms.collect(LAB, tmp_path, tmp_path / "s.zip", roster(tmp_path, classes.moodle_worksheet(CLASS[:1])))
    else:
        inner = zipped([(NAME, RIGHT)])
        locked = inner[:6] + b"\x01" + inner[7:]
        at = inner.index(b"PK\x01\x02") + 8
        locked = locked[:at] + b"\x01" + locked[at + 1 :]
        done = one_learner(tmp_path, {"w.zip": locked})
    (one,) = done.collected.unmatched
    assert ("damaged" if where == "archive" else "encrypted") in one.reason
    assert set(done.collected.missing) == {CLASS[0].id}


@pytest.mark.parametrize("content", [b"", b"no zip", zipped([(NAME, RIGHT)])[:-30]])
def test_what_is_no_archive_is_said_in_a_sentence(content, tmp_path):
    (tmp_path / "s.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.zip is no zip archive, or did not arrive whole"):
        lms.collect(LAB, tmp_path, tmp_path / "s.zip", roster(tmp_path, classes.canvas_roster(CLASS)))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        lms.collect(LAB, tmp_path, tmp_path / "none.zip", tmp_path / "roster.csv")
    with pytest.raises(FileNotFoundError, match="ROSTER="):
        lms.collect(LAB, tmp_path, tmp_path / "s.zip")
    with pytest.raises(ValueError, match="no time zone is called 'Berlin'"):
        lms.collect(LAB, tmp_path, tmp_path / "s.zip", tmp_path / "roster.csv", "Berlin")
    with pytest.raises(ValueError, match="no lab is called"):
        lms.collect("nothing", tmp_path, tmp_path / "s.zip", tmp_path / "roster.csv")


def test_a_folder_that_a_browser_unpacked_and_names_in_old_encodings(tmp_path):
    """Safari unpacks what it downloads. Some programs write UTF-8 and do not say so."""
    present, sheet = CLASS[:7], roster(tmp_path, classes.moodle_worksheet(CLASS[:7]))
    source = moodle(tmp_path, present=present)
    with zipfile.ZipFile(source) as packed:
        for info in packed.infolist():
            target = tmp_path / "unpacked" / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(info))
    (tmp_path / "unpacked" / "link").symlink_to("/etc")
    (tmp_path / "silent.zip").write_bytes(source.read_bytes().replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00"))
    with zipfile.ZipFile(tmp_path / "silent.zip") as packed:
        assert any("\u2560" in name or "\u251c" in name for name in packed.namelist()), "it reads as box drawings"
    for n, given in enumerate(("unpacked", "silent.zip")):
        root = tmp_path / str(n)
        root.mkdir()
        done = lms.collect(LAB, root, tmp_path / given, sheet)
        assert {p.id: whose(submitted(root, p)) for p in present} == {p.id: f"{p.id}, attempt 1" for p in present}
        assert [one.name for one in done.collected.unmatched] == ["link"] * (given == "unpacked")


# --- groups, the anonymous, and other tables -------------------------------------------------------------------------


def test_a_group_hands_in_for_each_of_its_members(tmp_path):
    rows = [("Full name", "ID number", "Identifier", "Group")]
    rows += [
        (f"{p.first} {p.last}", p.id, f"Participant {p.moodle}", f"Team_{n // 2}") for n, p in enumerate(CLASS[:4])
    ]
    files = [(f"Team {n}_{77 + n}_assignsubmission_file/{NAME}", work(LAB, f"team {n}"), FETCHED) for n in (0, 1, 2)]
    source = classes.archive(tmp_path / "s.zip", files)
    done = lms.collect(LAB, tmp_path, source, roster(tmp_path, classes.table(rows)))
    assert [whose(submitted(tmp_path, p))[:6] for p in CLASS[:4]] == ["team 0", "team 0", "team 1", "team 1"]
    assert [one.who for one in done.collected.unmatched] == ["Team 2_79_assignsubmission_file"]
    assert "handed in by the group Team 0" in lms.summary(done)
    canvas = [(f"team_0_{CLASS[1].canvas}_8_{NAME}", work(LAB, "canvas"), FETCHED)]
    people = [("name", "canvas_user_id", "user_id", "login_id", "sections", "group_name")]
    people += [(f"{p.first} {p.last}", p.canvas, "", p.id, "", f"Team_{n // 2}") for n, p in enumerate(CLASS[:4])]
    root = tmp_path / "canvas"
    root.mkdir()
    source = classes.archive(root / "s.zip", canvas)
    done = lms.collect(LAB, root, source, roster(root, classes.table(people)))
    assert {p.id for p in CLASS[:2]} == done.people


def test_anonymous_work_is_kept_and_its_reason_given(tmp_path):
    files = [(f"anon_aB3dE_80001_{NAME}", RIGHT, FETCHED)]
    source = classes.archive(tmp_path / "s.zip", files)
    done = lms.collect(LAB, tmp_path, source, roster(tmp_path, classes.canvas_roster(CLASS)))
    assert [one.reason for one in done.collected.unmatched] == [
        "anonymous: show names in Canvas, and download once more"
    ]


def test_an_archive_of_no_platform_goes_by_ids_and_names(tmp_path):
    ann, li = CLASS[0], CLASS[3]
    files = [(f"all/{ann.id}/{NAME}", work(LAB, ann.id), later(0)), (f"{li.first} {li.last}.ipynb", RIGHT, later(1))]
    files.append(("readme.md", b"hello", later(2)))
    source = classes.archive(tmp_path / "s.zip", files)
    done = lms.collect(LAB, tmp_path, source, roster(tmp_path, classes.moodle_participants(CLASS)), "UTC")
    assert done.people == {ann.id, li.id}
    assert [(one.name, one.reason) for one in done.collected.unmatched] == [("readme.md", "its name is no learner's")]
    assert stamp(submitted(tmp_path, ann)) == "2026-11-20 14:05:32 UTC"
