"""For those who teach: what exercises say of themselves, the page made of it, the questions, the two editions."""

import json
import re

import nbformat
import pytest
from bs4 import BeautifulSoup

from gradclinic.course import audit
from gradclinic.course.exercises import labs
from tests.helpers import ROOT, page_names
from tests.helpers.browser import visit
from tests.helpers.verdicts import VERDICTS

LABS = labs()
EXERCISES = [exercise for lab in LABS for exercise in lab.exercises]
KEPT = json.loads((ROOT / "book" / "assets" / "labs.json").read_text())["labs"]
ASKING = [
    name
    for name in page_names()
    if (name.startswith("book/") and name.count("/") == 2 and "reference" not in name) or name == "book/optimization"
]


def cells(kind, lab):
    found = nbformat.read(ROOT / kind / lab.name / f"{lab.name}.ipynb", as_version=4).cells
    return [cell for cell in found if "nbgrader" in cell.metadata]


# --- definitions -----------------------------------------------------------------------------------------------------


def test_each_exercise_says_how_long_it_takes_and_builds_on_earlier_ones():
    seen = set()
    for exercise in EXERCISES:
        assert 5 <= exercise.minutes <= 90, f"{exercise.id}: give it its minutes"
        assert set(exercise.after) <= seen, f"{exercise.id} builds on what comes later, or is not there"
        seen.add(exercise.id)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_each_lab_names_pages_that_stand_before_it(lab):
    names = page_names()
    assert lab.after, "which pages are read first?"
    here = names.index(f"labs/{lab.name}/{lab.name}")
    assert all(names.index(before) < here for before in lab.after)


def test_beliefs_are_sentences_and_no_two_are_the_same():
    beliefs = [mistake.belief for exercise in EXERCISES for mistake in exercise.mistakes if mistake.belief]
    assert len(set(beliefs)) == len(beliefs) > 30
    assert all(belief[0].isupper() or belief[0] == "√" or belief[0].isdigit() for belief in beliefs)
    assert all(belief.endswith(".") for belief in beliefs)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_a_rubric_adds_up_to_the_points_that_a_person_gives(lab):
    by_hand = [cell.metadata.nbgrader for cell in cells("labs", lab) if cell.metadata.nbgrader.grade]
    by_hand = [data for data in by_hand if data.solution or data.get("task")]
    assert sum(most for _, most, _ in lab.rubric) == sum(data.points for data in by_hand)
    assert all(criterion and most > 0 and full for criterion, most, full in lab.rubric)


def test_every_exercise_is_measured_and_within_the_limits():
    measured = {lab: set(found["exercises"]) for lab, found in KEPT.items()}
    assert measured == {lab.name: {e.id for e in lab.exercises} for lab in LABS}, "run python benchmarks/labs.py"
    for lab in KEPT.values():
        own = list(lab["exercises"].values())
        assert 0 < sum(e["seconds"] for e in own) < lab["seconds"] < 60
        assert 0 < max(e["megabytes"] for e in own) <= lab["megabytes"] < 1000


# --- the page --------------------------------------------------------------------------------------------------------


def tables(site):
    soup = BeautifulSoup((site / "book" / "teaching.html").read_text(), "html.parser")
    found = {}
    for group in soup.select("article .gradclinic-table"):
        rows = [[plain(cell.get_text(" ")) for cell in row.find_all(["th", "td"])] for row in group.select("tbody tr")]
        found[group["aria-label"]] = rows
    return found


def test_the_page_shows_what_the_definitions_and_the_notebooks_say_today(site):
    found = tables(site)
    points = {
        f"{exercise.id}": next(
            cell.metadata.nbgrader.points
            for cell in cells("labs", lab)
            if cell.metadata.nbgrader.grade_id == f"check-{exercise.name}"
        )
        for lab in LABS
        for exercise in lab.exercises
    }
    expected = [
        [
            exercise.id,
            " ".join(exercise.claims),
            exercise.level,
            f"{points[exercise.id]:g}",
            str(exercise.minutes),
            " ".join(exercise.after) or "the pages",
            f"{KEPT[lab.name]['exercises'][exercise.id]['seconds']:.2f}",
            str(KEPT[lab.name]["exercises"][exercise.id]["megabytes"]),
        ]
        for lab in LABS
        for exercise in lab.exercises
    ]
    assert found["Every exercise"] == expected
    beliefs = {(m.belief, e.id, m.name) for e in EXERCISES for m in e.mistakes if m.belief}
    shown = [tuple(row[:3]) for name, rows in found.items() if name.startswith("Beliefs") for row in rows]
    assert set(shown) == beliefs
    assert len(shown) == len(beliefs)
    assert {name for name in found if name.startswith("Rubric")} == {
        f"Rubric of lab {b.name[:2]}" for b in LABS if b.rubric
    }


def test_the_page_lists_each_statement_that_does_not_hold(site):
    shown = {row[0]: row[1] for row in tables(site)["Statements that do not hold as they stand"]}
    assert shown == {id: verdict for id, verdict in VERDICTS.items() if verdict != audit.HOLDS}


def test_the_plans_use_every_lab_and_a_day_is_a_day(site):
    found = tables(site)
    weeks = " ".join(" ".join(row) for row in found["Plan of two weeks"])
    assert all(f"lab {lab.name[:2]}" in weeks for lab in LABS if lab.name < "10")
    day = found["Plan of one day"]
    assert day[0][0] == "09:00"
    assert day[-1][1] == "end"
    assert day[-1][0] <= "17:00"


# --- questions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKING)
def test_a_page_asks_before_it_says_what_to_do_and_answers_with_a_reason(name, site):
    article = BeautifulSoup((site / f"{name}.html").read_text(), "html.parser").find("article")
    headings = [heading.get_text().rstrip("#") for heading in article.find_all("h2")]
    assert headings[-2:] == ["Check yourself", "What to do about it"]
    section = next(h for h in article.find_all("h2") if h.get_text().startswith("Check yourself")).parent
    questions = section.find_all("details")
    assert 2 <= len(questions) <= 3
    for question in questions:
        asked, answer = question.find("summary").get_text(" "), question.find("div")
        assert asked.strip().endswith("?"), asked
        short = answer.find("strong").get_text()
        reason = answer.get_text().replace(short, "", 1)
        assert len(reason.split()) >= 25, "an answer gives its reason"
        assert not question.has_attr("open")


def test_a_question_opens_by_keyboard_without_a_kernel(page, address):
    visit(page, f"{address}/book/optimization.html")
    question = page.locator("#check-yourself details").first
    assert not question.locator("div.sd-card-body, div").last.is_visible()
    question.locator("summary").focus()
    page.keyboard.press("Enter")
    assert question.evaluate("d => d.open")
    assert "Nobody can say yet." in question.inner_text()
    page.keyboard.press("Enter")
    assert not question.evaluate("d => d.open")


# --- the public edition ----------------------------------------------------------------------------------------------


def plain(text):
    return re.sub(r"\s+", " ", text)


def solved():
    """What stands between the marks of every solution, as one line each."""
    for lab in LABS:
        for cell in cells("solutions", lab):
            for block in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.DOTALL):
                yield lab.name, plain(block).strip()


def test_the_public_site_holds_no_solution(site):
    assert not (site / "solutions").exists()
    assert not list(site.rglob("*solution*"))
    blocks = list(solved())
    assert len(blocks) >= len(EXERCISES)
    for path in site.rglob("*"):
        if path.suffix not in (".html", ".ipynb", ".md", ".txt", ".js") or "_static" in path.parts:
            continue
        text = path.read_text()
        if path.suffix == ".html":
            text = BeautifulSoup(text, "html.parser").get_text()
        elif path.suffix == ".ipynb" or path.name.endswith(".ipynb.txt"):
            text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
        text = plain(text)
        for lab, block in blocks:
            # a line such as `return z.max()` may stand in any text; in the lab itself nothing may
            if len(block) > 60 or lab in path.parts:
                assert block not in text, f"{path.relative_to(site)} holds a solution of {lab}: {block}"
