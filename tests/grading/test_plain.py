"""What learners wrote does nothing: in a terminal, a table, or on any page that is made of it."""

import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from tests.helpers.essays import ESSAYS
from tools.grading import plain

ALLOWED = {"pre", "p", "code", "em", "strong", "br", "li", "ul", "ol", "[document]", "html", "body"}


def harmful(page: str) -> list[str]:
    """What on a page could do anything: tags beyond text, attributes beyond a style without addresses."""
    found = []
    for tag in BeautifulSoup(page, "html.parser").find_all(True):
        if tag.name not in ALLOWED:
            found.append(str(tag)[:60])
        found += [f"{tag.name} {k}={v}" for k, v in tag.attrs.items() if k != "style" or "url" in v or "(" in v]
    return found


@pytest.mark.parametrize("essay", ESSAYS)
def test_an_essay_is_shown_as_it_was_written_and_is_nothing_but_text(essay):
    page = str(markdown2html(plain.block(essay)))
    assert not harmful(page)
    (shown,) = BeautifulSoup(page, "html.parser").find_all("pre")
    assert shown.text == plain.lines(essay)


@pytest.mark.parametrize("essay", ESSAYS)
def test_an_essay_is_only_text_in_commonmark_too(essay):
    markdown_it = pytest.importorskip("markdown_it")
    page = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(plain.block(essay))
    assert not harmful(page)


@pytest.mark.parametrize("essay", ESSAYS)
def test_a_comment_makes_no_link_and_no_tag(essay):
    page = BeautifulSoup(str(markdown2html(plain.comment(f"Your function stopped with {essay}"))), "html.parser")
    for tag in page.find_all(True):
        assert tag.name not in {"script", "img", "svg", "iframe", "base", "form", "meta", "style", "object"}
        assert not [name for name in tag.attrs if name.startswith("on")]
        assert tag.get("href", "https://").startswith(("http://", "https://", "mailto:"))
    assert "\\" not in page.text, "MathJax would read TeX"


def test_a_whole_notebook_of_essays_is_harmless_in_nbconvert():
    cells = [nbformat.v4.new_markdown_cell(plain.block(essay)) for essay in ESSAYS]
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    texts = BeautifulSoup(page, "html.parser").find_all("pre")
    assert [text.text for text in texts] == [plain.lines(essay) for essay in ESSAYS]
    assert not [link for link in BeautifulSoup(page, "html.parser").find_all("a") if "anchor" not in str(link)]


def test_what_has_no_sign_of_its_own_is_written_out():
    assert plain.visible("a\x1b[31mred\x1b[0m\n") == "a\\x1b[31mred\\x1b[0m\\x0a"
    assert plain.visible("evil\u202egnp.exe \u2066x\u2069 \ufeff") == "evil\\u202egnp.exe \\u2066x\\u2069 \\ufeff"
    assert plain.visible("\ud800\U000e0041") == "\\ud800\\U000e0041"
    family = "naïve, 中文, עברית, \U0001f469\u200d\U0001f469"
    assert plain.visible(family) == family
    assert plain.lines("one\r\ntwo\rthree\tfour\x07") == "one\ntwo\nthree\tfour\\x07"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =cmd|' /C calc'!A0", "\uff1d1", " \uff20x"])
def test_a_text_that_a_spreadsheet_would_compute_is_a_text(text):
    cell = plain.table_cell(text)
    assert cell.startswith("'")
    assert text.strip() in cell


def test_numbers_and_other_texts_stay_as_they_are():
    assert [plain.table_cell(value) for value in (-1.5, 0, "", "    Points Possible", "a=b")] == [
        -1.5, 0, "", "    Points Possible", "a=b",
    ]  # fmt: skip


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
@pytest.mark.parametrize("between", [";", "; ", "|", ";;", "\t", "\r", "\n", "x;\t"])
def test_no_cell_begins_with_a_formula_however_a_program_divides_the_line(between, sign):
    cell = plain.table_cell(f"the file is called \u201cx{between}{sign}1+1;y.ipynb\u201d")
    for part in re.split("[;|\t\r\n]", cell):
        assert not part.lstrip().startswith(plain.FORMULA), cell
    assert sign in cell


def test_what_is_divided_and_no_formula_stays_as_it_is():
    assert plain.table_cell("step: a; largest_step: b - c; x|y") == "step: a; largest_step: b - c; x|y"
