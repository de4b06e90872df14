"""What is kept of a marking, and what makes it out of date."""

import os

import pytest

from gradclinic.course import exercises
from tools.grading import ledger
from tools.grading.ledger import Ledger, Record, submitted_hash
from tools.grading.marks import Mark, Marked

MARK = Mark("step", 1.0, 2, "wrong", "Nearly.", "half forgotten")


def test_a_record_comes_back_as_it_was_kept(tmp_path):
    marked = Marked("ann", [MARK], ["odd"], {"step": "def step"}, seconds=1.5)
    marked.added, marked.answers = [(3, "code", "x = 1")], {"step": [float("inf"), None]}
    record = Record(marked, "hash", 7, "reference", when="2027-02-04 21:00:00", no_page="too long")
    record.attempts, record.told = [(None, 1.0)], {"check-step": "x"}
    kept = Ledger("01-x", tmp_path)
    kept.keep(record)
    (found,) = kept.records().values()
    assert found.marked.marks == [MARK]
    assert [tuple(one) for one in found.marked.added] == marked.added
    assert (found.marked.answers, found.marked.sources) == (marked.answers, marked.sources)
    assert (found.attempts, found.told, found.when, found.seed) == (record.attempts, record.told, record.when, 7)
    assert found.flags == ["odd", "no feedback page: too long"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"marked": {"marks": []}}', '{"marked": 3}', "\x00"])
def test_a_file_that_is_no_record_counts_as_not_there(text, tmp_path):
    kept = Ledger("01-x", tmp_path)
    kept.folder.mkdir(parents=True)
    (kept.folder / "ann.json").write_text(text)
    assert kept.records() == {}


def test_what_was_handed_in_is_told_by_its_notebooks_its_time_and_the_rules(tmp_path):
    notebook = tmp_path / "a.ipynb"
    notebook.write_text("one")
    before = submitted_hash([(None, tmp_path)])
    assert submitted_hash([(None, tmp_path)]) == before
    (tmp_path / "notes.txt").write_text("no notebook")
    assert submitted_hash([(None, tmp_path)]) == before
    assert submitted_hash([(None, tmp_path)], "the best") != before
    notebook.write_text("two")
    changed = submitted_hash([(None, tmp_path)])
    notebook.rename(tmp_path / "b.ipynb")
    renamed = submitted_hash([(None, tmp_path)])
    os.mkfifo(notebook)  # reading it would never end
    pipe = submitted_hash([(None, tmp_path)])
    assert len({before, changed, renamed, pipe}) == 4
    notebook.unlink()
    notebook.symlink_to("/etc/passwd")
    assert submitted_hash([(None, tmp_path)]) == pipe, "neither is read"


def test_the_reference_is_told_by_exercises_and_notebook(tmp_path, monkeypatch):
    (tmp_path / "labs" / "01-x").mkdir(parents=True)
    notebook = tmp_path / "labs" / "01-x" / "01-x.ipynb"
    notebook.write_text("given out")
    before = ledger.reference_hash("01-x", tmp_path)
    assert ledger.reference_hash("01-x", tmp_path) == before
    notebook.write_text("given out, corrected")
    assert ledger.reference_hash("01-x", tmp_path) != before
    notebook.write_text("given out")
    (tmp_path / "one.py").write_text("# an exercise")
    monkeypatch.setattr(exercises, "__file__", str(tmp_path / "__init__.py"))
    assert ledger.reference_hash("01-x", tmp_path) != before
