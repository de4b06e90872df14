"""Every figure of the built book can be read, in a window and on a phone, in light and in dark."""

import itertools
import re

import pytest
from matplotlib.figure import Figure

from gradclinic.plots import KINDS, PALETTE
from tests.helpers import ROOT, page_names
from tests.helpers.browser import LEGIBLE, new_page, visit
from tests.helpers.colours import EYES, apart, contrast
from tests.helpers.legible import flaws

FIGURES = ".gradclinic-figures > svg"
STYLE = (ROOT / "book" / "assets" / "course.css").read_text()
BACKGROUND = {"light": "#ffffff", "dark": "#121212"}  # the theme's, as a test below sees it
# Puts every drawing of an explorer on the page, one after the other, and back again the first.
EACH = f"""explorer => {{
    const data = JSON.parse(explorer.querySelector("script[type='application/json']").textContent);
    const frame = explorer.querySelector(".gradclinic-frame"), first = frame.innerHTML, found = [];
    for (const parts of data.frames) {{
        frame.innerHTML = parts.map((part) => data.parts[part]).join("");
        found.push(...({LEGIBLE})([...frame.querySelectorAll("svg")]));
    }}
    frame.innerHTML = first;
    return [data.frames.length, [...new Set(found)]];
}}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", page_names())
def test_every_figure_of_a_page_can_be_read(name, width, browser, address):
    with new_page(browser, width=width) as page:
        visit(page, f"{address}/{name}.html")
        drawings = page.locator(FIGURES)
        assert drawings.evaluate_all(LEGIBLE) == []
        assert drawings.evaluate_all(BEYOND) == [], "nothing is cut off, or has to be scrolled to"
        if width > 1000:
            for explorer in page.locator(".gradclinic-explorer").all():
                count, found = explorer.evaluate(EACH)
                assert count > 1
                assert found == []


# Drawings that reach out of something that clips or scrolls, out of their card, or over the contents beside the text.
BEYOND = """drawings => drawings.flatMap((svg) => {
    const {left, right} = svg.getBoundingClientRect(), found = [];
    for (let around = svg.parentElement; around; around = around.parentElement) {
        const box = around.getBoundingClientRect(), style = getComputedStyle(around);
        const holds = style.overflowX !== 'visible' || style.borderRightStyle !== 'none' || around.nodeName === 'BODY';
        if (holds && (left < box.left - 1 || right > box.right + 1)) found.push(around.className);
    }
    const beside = document.querySelector('.bd-sidebar-secondary').getBoundingClientRect();
    if (beside.left < innerWidth && right > beside.left + 24) found.push('the contents');
    return found;
})"""

BAD = """<div class="gradclinic-figures"><svg width="358" viewBox="0 0 358 200">
<g class="xtick"><text x="200" y="190" font-size="12">one tick</text></g>
<text x="10" y="20" font-size="12">free</text><text x="10" y="60" font-size="11">small</text>
<text x="10" y="100" font-size="12">one</text><text x="20" y="102" font-size="12">other</text>
<text x="340" y="140" font-size="12">outside</text>
<text x="100" y="160" font-size="12">struck</text>
<path d="M0 156H358" fill="none" stroke="black"/><path d="M0 16H5" fill="none" stroke="black"/></svg></div>"""


def test_what_cannot_be_read_is_found_in_a_page(page):
    page.set_content(f"<html><body>{BAD}</body></html>")
    assert sorted(page.locator(FIGURES).evaluate_all(LEGIBLE)) == [
        "a line runs through struck",
        "one lies over other",
        "one tick alone on an axis",
        "outside is cut off",
        "small has 11.0 pixels",
    ]


def bad() -> Figure:
    figure = Figure(figsize=(4.7, 3))
    figure.subplots_adjust(left=0.2, bottom=0.2)
    axes = figure.subplots()
    axes.set(xlabel="steps", ylabel="loss", xticks=[1], xlim=(0, 2), ylim=(0, 2))
    axes.axhline(1)
    for x, y, words, size in ((1, 1, "struck", 12), (0.2, 0.5, "one", 12), (0.22, 0.5, "other", 12)):
        axes.text(x, y, words, size=size, va="center")
    axes.text(1, 1.6, "small", size=11)
    axes.text(1.9, 1.3, "far outside of it", size=12)
    axes.text(1.2, 0.3, "$a_1$", size=13)
    return figure


def test_what_cannot_be_read_is_found_in_a_figure():
    found = [flaw for flaw in flaws(bad()) if "has letters of 10.6" not in flaw]  # matplotlib's own ticks and names
    assert sorted(found) == [
        "'$a_1$' has letters of 9.6 pixels",
        "'far outside of it' is cut off at a side",
        "'one' lies over 'other'",
        "'small' has letters of 11.6 pixels",
        "'steps' has 1 ticks",
        "a line runs through 'struck'",
        "a panel does not say what it shows",
    ]


def colours(theme: str) -> dict[str, str]:
    """The colours of figures as a page has them."""
    rules = re.findall(r"(?:^|\n)(:root|html\[data-theme=\"dark\"\]) \{(.*?)\}", STYLE, re.DOTALL)
    found = [dict(re.findall(r"--gradclinic-(\w+): (#[0-9a-f]{6})", rule)) for _, rule in rules[:2]]
    return found[0] if theme == "light" else found[1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_kinds_are_told_apart_by_everyone(theme):
    shown = colours(theme)
    assert set(shown) == {*PALETTE, *KINDS}
    for name in shown:
        assert contrast(shown[name], BACKGROUND[theme]) >= 4.5, f"{name} is too pale"
    for eyes in EYES:
        for one, other in itertools.combinations(KINDS, 2):
            assert apart(shown[one], shown[other], eyes) > 25, f"{one} and {other}, {eyes}"
    for kind, meaning in itertools.product(KINDS, PALETTE):
        assert apart(shown[kind], shown[meaning], "all three cones") > 25, f"{kind} looks like {meaning}"


def test_a_figure_in_a_notebook_has_the_colours_of_the_light_page():
    assert {name: kind.color for name, kind in KINDS.items()} == {name: colours("light")[name] for name in KINDS}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_lies_on_the_colour_that_contrast_is_measured_to(theme, browser, address):
    with new_page(browser, theme) as page:
        visit(page, f"{address}/book/intro.html")
        channels = [int(BACKGROUND[theme][i : i + 2], 16) for i in (1, 3, 5)]
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == f"rgb({', '.join(map(str, channels))})"
        )
