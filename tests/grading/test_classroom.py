"""The page of a class: what it counts, and that it needs nothing from elsewhere and names nobody."""

import re

import pytest
from bs4 import BeautifulSoup

from tools.grading import classroom
from tools.grading.ledger import Record
from tools.grading.marks import Mark, Marked, find_lab

LAB = find_lab("02-vanishing")
FIRST = LAB.exercises[0]
NEARLY = next(mistake for e in LAB.exercises for mistake in e.mistakes if mistake.hint.startswith("Nearly"))
ITS = next(e for e in LAB.exercises if NEARLY in e.mistakes)


def a_class():
    """Ten learners: all first exercises right but for three, one of them with a mistake; and four nearly right."""
    records, rows = {}, []
    for number in range(10):
        marks = [Mark(e.name, e.points, e.points, "right", "Right.") for e in LAB.exercises]
        if number < 3:
            named = FIRST.mistakes[0].name if number == 0 else None
            marks[0] = Mark(FIRST.name, 0, FIRST.points, "wrong", "No.", named)
        if 3 <= number < 7:
            place = LAB.exercises.index(ITS)
            marks[place] = Mark(ITS.name, ITS.points / 2, ITS.points, "wrong", NEARLY.hint, NEARLY.name)
        if number == 9:
            marks[0] = Mark(FIRST.name, 0, FIRST.points, "blank", "Not attempted yet.")
        marked = Marked(f"learner-{number}", marks, sources={"x": "secret"})
        records[marked.student] = Record(marked, "", 77777, "")
        rows.append({"student": marked.student, LAB.name: sum(m.points for m in marks), "of": 20})
    return records, rows


@pytest.fixture
def page():
    return BeautifulSoup(classroom.class_page(LAB, *a_class()), "html.parser")


def test_it_counts_marks_and_mistakes(page):
    bars = {bar.find_previous("p").text.split()[0]: bar["aria-label"] for bar in page.select(".bar")}
    assert bars[FIRST.id] == "6 right, 3 wrong, 1 not attempted"
    assert bars[ITS.id] == "6 right, 4 right in part"
    widths = {
        id: sum(float(w) for w in re.findall(r"width: ([\d.]+)%", str(bar)))
        for id, bar in zip(bars, page.select(".bar"), strict=True)
    }
    assert all(99 < width < 101 for width in widths.values())
    lost = f"on average {0.4 * FIRST.points:.1f} of {FIRST.points} points lost"
    assert lost in page.text
    items = [item.text for item in page.select("li")]
    assert items[0].startswith(f"4 in {ITS.name}: {NEARLY.name}")
    assert NEARLY.hint in items[0]
    assert items[1].startswith(f"1 in {FIRST.name}: {FIRST.mistakes[0].name}")
    assert "2 wrong answers are none of the known mistakes." in page.text


def test_the_figure_says_in_words_what_it_shows(page):
    label = page.svg["aria-label"]
    assert sum(int(count) for count in re.findall(r": (\d+)", label)) == 10
    assert len(page.select("svg rect")) == len(re.findall(r": \d+", label))


def test_it_names_nobody_shows_no_work_and_fetches_nothing(page):
    text = str(page)
    assert not {word for word in ("learner-", "secret", "77777") if word in text}
    assert not page.find_all(["script", "link", "img", "iframe"])
    assert "http" not in text
    assert "url(" not in text


def test_essays_that_wait_are_told_and_not_counted():
    records, rows = a_class()
    for row in rows[:4]:
        row[LAB.name] = ""
    page = BeautifulSoup(classroom.class_page(LAB, records, rows), "html.parser")
    assert "4 wait for a person to read an essay" in page.text
    assert sum(int(count) for count in re.findall(r": (\d+)", page.svg["aria-label"])) == 6
    for row in rows:
        row[LAB.name] = ""
    assert BeautifulSoup(classroom.class_page(LAB, records, rows), "html.parser").svg is None
