"""The page that a learner gets: all their work in its place, nothing that does anything, and a page for everybody."""

import time
from pathlib import Path

import nbformat
import nbgrader
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from tests.helpers import submissions, weeks
from tests.helpers.essays import ESSAYS
from tests.helpers.submissions import LAB
from tools.grading import feedback, marks, plain, week
from tools.grading.ledger import Ledger, Record
from tools.grading.marks import Mark, Marked

FORMGRADER = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader" / "templates"
ACTIVE = {"script", "iframe", "object", "embed", "form", "meta", "base", "svg", "link", "style"}


def active(page):
    """All on a page that could act: such tags, handlers, addresses that are programs, styles that fetch."""
    found = set()
    for tag in BeautifulSoup(page, "html.parser").find_all(True):
        if tag.name in ACTIVE:
            found.add(f"{tag.name}: {' '.join(str(tag).split())[:200]}")
        for name, value in tag.attrs.items():
            text = "".join(str(value).split()).lower()
            bad = text.startswith(("javascript:", "data:", "vbscript:")) or (name == "style" and "url" in text)
            if name.startswith("on") or bad:
                found.add(f"{tag.name} {name}={text[:200]}")
    return found


def marked(lab, notebook, **more):
    released = submissions.given_out(lab)
    sources = {id: cell.source for id, cell in marks.known_cells(notebook).items()}
    given = marks.known_cells(released)
    changed = {id: source for id, source in sources.items() if source != given[id].source}
    own = marks.own_cells(notebook, released)
    exercises = marks.find_lab(lab).exercises
    right = [Mark(e.name, e.points, e.points, "right", "Right.") for e in exercises]
    return Record(Marked("ann", right, sources=changed, added=own, **more), "", 1, "")


def rendered(record, lab, template="basic"):
    exporter = HTMLExporter(template_name=template, extra_template_basedirs=[str(FORMGRADER)])
    notebook = feedback.shown(record, submissions.given_out(lab))
    page, _ = exporter.from_notebook_node(notebook, {"index": 0, "total": 1, "base_url": ""})
    return page


def test_the_learners_own_cells_are_shown_where_they_stand():
    notebook = submissions.solved(LAB)
    place = next(n for n, cell in enumerate(notebook.cells) if cell is submissions.cell(notebook, "step"))
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# On top"))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell("helper = 17"))
    notebook.cells.append(nbformat.v4.new_code_cell("print('an experiment')"))
    text = next(c for c in notebook.cells if c.cell_type == "code" and not c.metadata.get("nbgrader"))
    text.source += "\nchanged = True"
    record = marked(LAB, notebook, elsewhere={"code cell 3": "helper = 17"})
    shown = [cell.source for cell in feedback.shown(record, submissions.given_out(LAB)).cells]
    assert plain.block("# On top") == shown[0]
    step = shown.index(submissions.cell(notebook, "step").source)
    assert shown[step - 2 : step] == ["*Your code cell 3, on which an answer rests:*", "helper = 17"]
    assert shown[-1] == "print('an experiment')"
    assert text.source in shown
    assert len(shown) == len(submissions.given_out(LAB).cells) + 5


def test_of_very_many_cells_the_one_that_counts_is_shown():
    notebook = submissions.solved(LAB)
    notebook.cells += [nbformat.v4.new_code_cell(f"x = {n}") for n in range(1000)]
    record = marked(LAB, notebook, elsewhere={"code cell 950": "x = 900"})
    shown = [cell.source for cell in feedback.shown(record, submissions.given_out(LAB)).cells]
    assert "x = 900" in shown
    assert "x = 800" not in shown


def test_a_part_of_the_points_is_said():
    mark = Mark("step", 1.0, 2, "wrong", "Nearly. So and so.", "half of it")
    assert feedback.said(mark) == "✗ step (half of it), 1 of 2 points: Nearly. So and so."


@pytest.mark.parametrize("template", ["basic", "formgrade"])
def test_nothing_that_a_learner_writes_does_anything_in_nbconvert_or_in_nbgraders_form(template):
    lab = weeks.WRITTEN
    nothing = active(rendered(marked(lab, submissions.given_out(lab)), lab, template))
    notebook, everything = submissions.given_out(lab), "\n\n".join(ESSAYS)
    submissions.cell(notebook, "reasoning").source = everything
    for essay in ESSAYS:
        notebook.cells += [nbformat.v4.new_markdown_cell(essay), nbformat.v4.new_code_cell(essay)]
        notebook.cells += [nbformat.v4.new_raw_cell(essay)]
    record = marked(lab, notebook, flags=[f"the file is called {plain.visible(essay)}" for essay in ESSAYS])
    first = record.marked.marks[0]
    record.marked.marks[0] = Mark(first.exercise, 0, 1, "wrong", f"Your function stopped with {everything}")
    page = rendered(record, lab, template)
    assert active(page) == nothing
    texts = [text.text for text in BeautifulSoup(page, "html.parser").find_all("pre")]
    assert plain.lines(everything) in texts, "it is all there to be read"
    assert all(texts.count(plain.lines(essay)) >= 2 for essay in ESSAYS)


def test_nor_on_nbgraders_page_and_whoever_has_no_page_gets_a_plain_one(tmp_path, monkeypatch):
    weeks.without_jail(monkeypatch)
    lab = weeks.WRITTEN
    root = weeks.released(tmp_path, lab)
    weeks.hand_in(root, "honest", submissions.given_out(lab), lab)
    notebook = submissions.given_out(lab)
    submissions.cell(notebook, "reasoning").source = "\n\n".join(ESSAYS)
    notebook.cells += [nbformat.v4.new_markdown_cell(essay) for essay in ESSAYS]
    folder = weeks.hand_in(root, "hostile", notebook, lab)
    (folder / f"{lab}.ipynb").rename(folder / "[click](javascript:alert(1)) \u202e<img src=x>.ipynb")
    spaces = submissions.given_out(lab)
    submissions.cell(spaces, "reasoning").source = " " * 300_000 + "x"
    weeks.hand_in(root, "spaces", spaces, lab)
    weeks.hand_in(root, "unlucky", submissions.given_out(lab), lab)
    rows = {row["student"]: row for row in week.grade(lab, root)}
    assert "the file is called “[click](javascript:alert(1)) \\u202e<img …”" in rows["hostile"]["flags"]
    assert "of which only the beginning is read" in rows["spaces"]["flags"]
    real = feedback.NbGraderAPI.generate_feedback

    def for_ever(self, lab, student, force):
        while student == "unlucky":
            pass
        return real(self, lab, student, force=force)

    monkeypatch.setattr(feedback.NbGraderAPI, "generate_feedback", for_ever)
    monkeypatch.setattr(feedback, "SECONDS", 20)
    began = time.process_time()
    assert week.give_back(lab, root, workers=2) == ["unlucky"]
    assert time.process_time() - began < 600, "in the children, not here"
    pages = {s: (root / "feedback" / s / lab / f"{lab}.html").read_text() for s in rows}
    assert active(pages["hostile"]) == active(pages["honest"]) == active(pages["spaces"])
    assert "could not be made" in pages["unlucky"]
    assert not active(pages["unlucky"]) - {f for f in active(pages["unlucky"]) if f.startswith("meta")}
    assert Ledger(lab, root).records()["unlucky"].flags == ["no feedback page: it took too long, or too much memory"]
    monkeypatch.setattr(feedback.NbGraderAPI, "generate_feedback", real)
    assert week.give_back(lab, root, workers=2) == []
    assert Ledger(lab, root).records()["unlucky"].flags == []
