"""A roster is read as three platforms and Excel write it; ids become folders, and names are known in every spelling."""

import pytest

from tests.helpers import classes
from tests.helpers.classes import CLASS, people, table
from tools.grading.marks import STUDENT
from tools.grading.roster import key, read_roster

ANN, JOSE, RENE, LI, BOT, ALI, DOTS, LONG = CLASS[:8]


def read(tmp_path, content):
    (tmp_path / "roster.csv").write_bytes(content)
    return read_roster(tmp_path / "roster.csv")


@pytest.mark.parametrize(
    "form", [classes.canvas_roster, classes.moodle_worksheet, classes.moodle_participants, classes.blackboard_roster]
)
def test_every_platforms_table_has_the_same_hundred(form, tmp_path):
    found = read(tmp_path, form(people()))
    assert [learner.id for learner in found.learners] == [person.id for person in people()]
    assert not any(learner.note for learner in found.learners)
    for person in people():
        assert [learner.id for learner in found.by_user(person.id.upper())] == [person.id]
        if form is classes.canvas_roster:
            assert [learner.id for learner in found.by_number("canvas", str(person.canvas))] == [person.id]
        if form is classes.moodle_worksheet:
            assert [learner.id for learner in found.by_number("moodle", str(person.moodle))] == [person.id]


@pytest.mark.parametrize(
    ("written", "whose"),
    [
        ("Ann O'Brien", ANN),
        ("O'Brien, Ann", ANN),
        ("obrienann", ANN),
        ("Ann OBrien", ANN),
        ("ANN O\u2019BRIEN", ANN),
        ("Jose\u0301 Garci\u0301a", JOSE),
        ("garc\u00edajos\u00e9", JOSE),
        ("Jose Garcia", JOSE),
        ("Ren\u00e9 M\u00fcller", RENE),
        ("\u674e\u5a1c", LI),
        ("bot_42x_7", BOT),
        ("X 7 Bot 42", BOT),
        ("\u0639\u0644\u064a \u062d\u0633\u0646", ALI),
        (f"{LONG.last}{LONG.first}".lower().replace(" ", ""), LONG),
        ("Zo\u00eb Zo", CLASS[11]),
        ("Zoe Zo", CLASS[12]),
    ],
)
def test_a_name_is_known_in_every_spelling(written, whose, tmp_path):
    for form in (classes.canvas_roster, classes.moodle_worksheet, classes.moodle_participants):
        assert [learner.id for learner in read(tmp_path, form(people())).by_name(written)] == [whose.id]


def test_nobody_is_called_nothing(tmp_path):
    found = read(tmp_path, classes.moodle_participants(people()))
    assert key(DOTS.first) == ""
    assert found.by_name("") == found.by_name("..") == []
    assert len(found.by_name("Kim Lee")) == 2


@pytest.mark.parametrize(
    "given",
    [
        "../../etc/passwd",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "-rf",
        "=1+1",
        "x" * 300,
        "unmatched",
        "\u202eabc",
        "a\tb",
        "a:b",
    ],
)
def test_an_id_that_cannot_name_a_folder_is_marked_and_made_one_that_can(given, tmp_path):
    rows = [("Full name", "ID number"), ("Ann", given), ("Bob", "fine.id@school+1")]
    ann, bob = read(tmp_path, table(rows)).learners
    assert STUDENT.fullmatch(ann.id)
    assert ann.id not in (given, "unmatched")
    assert len(ann.id) <= 64
    assert repr(given)[1:-1] in ann.note
    assert (bob.id, bob.note) == ("fine.id@school+1", "")
    again = read(tmp_path, table([rows[0], *reversed(rows[1:])])).learners
    assert [learner.id for learner in again] == [bob.id, ann.id], "whatever the order"


def test_an_id_of_two_people_and_one_person_in_two_rows(tmp_path):
    rows = [("Student", "ID", "SIS Login ID", "Section"), ("A, Ann", 1, "x", "1"), ("B, Bob", 2, "x", "1")]
    rows += [("C, Cy", 3, "cy", "1"), ("C, Cy", 3, "cy", "2")]
    ann, bob, cy = read(tmp_path, table(rows)).learners
    assert ann.id == "x"
    assert bob.id.startswith("x_Bob B-")
    assert STUDENT.fullmatch(bob.id)
    assert "to two people" in bob.note
    assert (cy.id, cy.columns["Section"]) == ("cy", "1")


def test_who_has_no_number_goes_by_the_address(tmp_path):
    rows = [("First name", "Surname", "ID number", "Email address"), ("Ann", "O'Brien", "", "ann@school.example")]
    (ann,) = read(tmp_path, table(rows)).learners
    assert (ann.id, ann.name) == ("ann@school.example", "Ann O'Brien")
    (ann,) = read(tmp_path, table([("Name",), ("Ann O'Brien",)])).learners
    assert STUDENT.fullmatch(ann.id)


@pytest.mark.parametrize(
    "content",
    [
        table([("id", "name"), ("a1", "Ann"), ("", "")]),
        b"sep=;\r\nID;NAME\r\na1;Ann\r\n",
        b"\xff\xfe" + "ID\tName\na1\tAnn\n".encode("utf-16-le"),
        table([("Id", "Name", "Remark"), ("a1", "Ann", "one; two; three | four")]),
        b"id|name\na1|Ann|too|many\n",
    ],
)
def test_a_table_of_ones_own(content, tmp_path):
    (ann,) = read(tmp_path, content).learners
    assert (ann.id, ann.name) == ("a1", "Ann")


def test_an_old_encoding(tmp_path):
    (jose,) = read(tmp_path, table([("name", "id"), ("Jos\u00e9", "1a")], encoding="cp1252")).learners
    assert jose.name == "Jos\u00e9"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"colour,size\nred,1\n", b"PK\x03\x04\0\0\0", b'"' + b"x" * 200_000])
def test_what_is_no_roster_is_said_in_a_sentence(content, tmp_path):
    with pytest.raises(ValueError, match=r"roster\.csv (has no column that says who|is no table)"):
        read(tmp_path, content)
    with pytest.raises(FileNotFoundError, match="there is no roster"):
        read_roster(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="there is no roster"):
        read_roster(tmp_path)
