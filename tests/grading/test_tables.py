"""The tables for the instructor, for Moodle and for Canvas."""

import csv

from tests.helpers import submissions, weeks
from tools.grading import gradebook, tables, week


def rows(root, lab, name):
    with open(root / "grades" / lab / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_essay_that_nobody_has_read_is_blank_everywhere_and_never_0(tmp_path, monkeypatch, capsys):
    weeks.without_jail(monkeypatch)
    lab = weeks.WRITTEN
    root, written = weeks.released(tmp_path, lab), submissions.given_out(lab)
    submissions.cell(written, "reasoning").source = "Every second unit was silent."
    weeks.hand_in(root, "ann", written, lab)
    weeks.hand_in(root, "bob", submissions.given_out(lab), lab)
    week.grade(lab, root)
    assert [row[lab] for row in rows(root, lab, "grades")] == ["", "0.0"]
    assert [row[lab] for row in rows(root, lab, "moodle")] == ["", "0.0"]
    assert [row[lab] for row in rows(root, lab, "canvas")] == ["24.0", "", "0.0"]
    with gradebook.opened(lab, root) as book:
        grade = book.find_grade("reasoning", lab, lab, "ann")
        grade.manual_score, grade.needs_manual_grade = 3.0, False
        book.db.commit()
    week.grade(lab, root)
    assert [row[lab] for row in rows(root, lab, "moodle")] == ["3.0", "0.0"]


def test_canvas_and_moodle_find_learners_by_what_the_roster_says(tmp_path):
    lab = "01-x"
    known = {
        "ann": {"Student": "Lee, Ann", "ID": "17", "SIS User ID": "S1", "SIS Login ID": "ann@x", "Section": "A"},
        "bob": {"Student": "=cmd()", "ID number": "00042", "Email address": "bob@example.org"},
    }
    table = [{"student": student, lab: 1.5, "of": 2.0, "flags": "@x"} for student in ("ann", "bob", "eve")]
    tables.write_tables(lab, table, known, tmp_path)
    canvas = [list(row.values()) for row in rows(tmp_path, lab, "canvas")]
    assert canvas == [
        ["    Points Possible", "", "", "", "", "2.0"],
        ["Lee, Ann", "17", "S1", "ann@x", "A", "1.5"],
        ["'=cmd()", "", "", "bob", "", "1.5"],
        ["", "", "", "eve", "", "1.5"],
    ]
    moodle = [list(row.values()) for row in rows(tmp_path, lab, "moodle")]
    assert moodle == [["ann", "", "1.5"], ["00042", "bob@example.org", "1.5"], ["eve", "", "1.5"]]
    assert [row["flags"] for row in rows(tmp_path, lab, "grades")] == ["'@x"] * 3


def test_every_cell_of_a_table_is_in_quotes(tmp_path):
    flag = "the file is called \u201cx;=1+1,=2;y.ipynb\u201d"
    tables.write_tables("01-x", [{"student": "ann", "01-x": 1.5, "of": 2.0, "flags": flag}], {}, tmp_path)
    text = (tmp_path / "grades" / "01-x" / "grades.csv").read_text()
    assert text.splitlines()[1] == '"ann","1.5","2.0","the file is called \u201cx;\'=1+1,=2;y.ipynb\u201d"'
