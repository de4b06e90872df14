"""The built site in a real browser: quiet, self-contained, every control alive."""

import gzip
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tests.helpers import ROOT, page_names
from tests.helpers.accessibility import check
from tests.helpers.browser import new_page, repainted, visit

PAGES = page_names()
HEAVIEST = 300_000  # bytes, gzipped: what a page may weigh without the files that all pages share
FIRST_VISIT = 700_000  # bytes, gzipped: with all of them

# The drawing that is shown now, for each explorer: hidden frames do not count.
SHOWN = """explorer => [...explorer.querySelectorAll('svg')].filter(e => e.checkVisibility())
    .map(e => e.outerHTML).join('')"""


@pytest.fixture(scope="module", params=PAGES)
def page(request, browser, address):
    """Each page is opened once, for all tests that look at it: the first of them right after it was loaded."""
    with new_page(browser) as page:
        page.name = request.param
        visit(page, f"{address}/{page.name}.html")
        yield page


def test_page_is_quiet_and_asks_no_other_host(page, address):
    assert page.noise == []
    outside = [
        url for url in page.asked if urlsplit(url).scheme not in ("data", "blob") and not url.startswith(address)
    ]
    assert outside == []
    assert page.locator("mjx-merror").count() == 0
    assert page.locator("article h1").count() == 1


def test_a_first_visit_is_light(page, site, address):
    """With all that the page asks for, as a server sends it: fonts are packed already."""
    asked = {site / unquote(urlsplit(url).path).lstrip("/") for url in page.asked if url.startswith(address)}
    assert sum(min(len(gzip.compress(f.read_bytes())), f.stat().st_size) for f in asked if f.is_file()) < FIRST_VISIT


def test_page_is_readable_by_everyone_in_light_and_wide(page):
    check(page)


def explorers(page) -> list:
    return page.locator(".gradclinic-explorer").all()


def test_every_frame_of_an_explorer_has_its_own_text_alternative(page):
    for explorer in explorers(page):
        data = json.loads(explorer.locator("script[type='application/json']").text_content())
        drawings = ["".join(data["parts"][part] for part in frame) for frame in data["frames"]]
        texts = [tuple(svg["aria-label"] for svg in BeautifulSoup(d, "html.parser").find_all("svg")) for d in drawings]
        assert all(text.strip() for row in texts for text in row)
        assert len(set(texts)) == len(texts)


def test_every_control_changes_its_picture_by_keyboard_and_by_mouse(page):
    source = ROOT / f"{page.name}.md"
    promised = len(re.findall(r"^explore\(", source.read_text(), re.MULTILINE)) if source.exists() else 0
    assert len(explorers(page)) == promised
    for explorer in explorers(page):
        controls = explorer.locator(".gradclinic-control").all()
        assert controls, "an explorer without a control"
        for control in controls:
            if control.locator("input[type=range]").count():
                _try_slider(page, explorer, control)
            else:
                _try_buttons(page, explorer, control)
    assert page.noise == []


def test_what_is_touched_is_large_enough_for_a_finger(page):
    """At least 24 CSS pixels, as WCAG 2.2 asks in 2.5.8."""
    for touched in page.locator(".gradclinic-control > input, .gradclinic-control > div > label").all():
        box = touched.bounding_box()
        assert min(box["width"], box["height"]) >= 24


def changed(page, explorer, before: str) -> str:
    """The drawing that is shown, once it is another one than before."""
    arguments = [explorer.element_handle(), before]
    page.wait_for_function(f"([explorer, before]) => ({SHOWN})(explorer) !== before", arg=arguments)
    return explorer.evaluate(SHOWN)


def _try_slider(page, explorer, control) -> None:
    slider = control.locator("input")
    assert slider.evaluate("e => e.labels[0].firstElementChild.textContent").strip()
    last = int(slider.get_attribute("max"))
    assert last > 1
    slider.focus()
    page.keyboard.press("Home")
    repainted(page)
    seen = [explorer.evaluate(SHOWN)]
    page.keyboard.press("ArrowRight")
    seen.append(changed(page, explorer, seen[-1]))
    assert slider.get_attribute("aria-valuetext") == control.locator("output").text_content()
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    seen.append(changed(page, explorer, seen[-1]))
    assert int(slider.input_value()) == last
    assert slider.get_attribute("aria-valuetext") == control.locator("output").text_content()
    assert len(set(seen)) == len(seen)
    assert all(seen)


def _try_buttons(page, explorer, control) -> None:
    buttons = control.locator("input").all()
    assert len(buttons) > 1
    assert control.locator("legend").text_content().strip()
    buttons[0].check()
    repainted(page)
    seen = [explorer.evaluate(SHOWN)]
    for number, button in enumerate(buttons[1:]):
        if number % 2:
            control.locator("label").nth(number + 1).click()
        else:
            buttons[number].focus()
            page.keyboard.press("ArrowRight")
        seen.append(changed(page, explorer, seen[-1]))
        assert button.is_checked()
    assert len(set(seen)) == len(buttons)
    assert all(seen)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_light(name, site):
    assert len(gzip.compress((site / f"{name}.html").read_bytes())) < HEAVIEST


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_has_a_text_alternative(name, site):
    article = BeautifulSoup((site / f"{name}.html").read_text(), "html.parser").find("article")
    for image in article.find_all("img"):
        assert image.get("alt", "").strip(), image.get("src")
    for drawing in article.find_all("svg", recursive=True):
        assert drawing.get("aria-label", "").strip() or drawing.get("aria-hidden") == "true"


def test_the_search_page_s_glass_stands_beside_the_words(browser, address):
    with new_page(browser) as page:
        visit(page, f"{address}/search.html")
        form = page.locator("form.bd-search").filter(visible=True).first
        glass, field = form.locator("i").bounding_box(), form.locator("input")
        begins = field.bounding_box()["x"] + field.evaluate("e => parseFloat(getComputedStyle(e).paddingLeft)")
        assert glass["x"] + glass["width"] <= begins


def test_nothing_is_there_that_no_reader_needs(site):
    assert not [*site.rglob("fontawesome*.js"), *site.rglob("*.map")]
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "fontawesome" not in text
        assert "# NBVAL_" not in text


def test_every_icon_of_the_theme_is_drawn(site):
    drawn = set(re.findall(r"^\.(fa-[\w-]+) ", (ROOT / "book" / "assets" / "course.css").read_text(), re.MULTILINE))
    for page in site.rglob("*.html"):
        used = set(re.findall(r'class="(?:fas|fa-solid) (fa-[\w-]+)', page.read_text()))
        assert used <= drawn, page.name


def test_links_inside_the_book_lead_somewhere(site):
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in site.rglob("*.html")}
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages.items()}
    broken, followed = [], 0
    for path, soup in pages.items():
        for link in soup.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            followed += 1
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {link['href']}")
            elif parts.fragment and target in anchors and unquote(parts.fragment) not in anchors[target]:
                broken.append(f"{path.relative_to(site)}: {link['href']} (no such place)")
    assert broken == []
    assert followed > 100


def test_the_site_names_no_folder_of_the_machine_it_was_built_on(site):
    private = [str(site.parent.parent), str(Path.home()) + "/"]
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".txt", ".ipynb", ".md") and "_static" not in path.parts:
            text = path.read_text()
            assert [name for name in private if name in text] == [], path.relative_to(site)
