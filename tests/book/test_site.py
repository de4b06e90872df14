"""The built site in a real browser: quiet, self-contained, every control alive."""

import gzip
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tests.helpers import page_names
from tests.helpers.accessibility import check
from tests.helpers.browser import new_page, repainted, visit

PAGES = page_names()
HEAVIEST = 300_000  # bytes, gzipped: what a page may weigh without the files that all pages share

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


def test_page_is_readable_by_everyone_in_light_and_wide(page):
    check(page)


def explorers(page) -> list:
    return page.locator(".cell_output:has(.widget-vbox)").all()


def test_every_frame_of_an_explorer_has_its_own_text_alternative(page):
    for explorer in explorers(page):
        texts = explorer.evaluate(
            "e => [...e.querySelectorAll('.gradclinic-figures')].map(f => "
            "[...f.querySelectorAll('svg')].map(s => s.getAttribute('aria-label')).join(' '))"
        )
        assert all(text.strip() for text in texts)
        assert len(set(texts)) == len(texts)


def test_every_control_changes_its_picture_by_keyboard_and_by_mouse(page, site):
    found = explorers(page)
    assert bool(found) == ("jupyter.widget-view" in (site / f"{page.name}.html").read_text())
    for explorer in found:
        controls = explorer.locator(".widget-hslider, .widget-toggle-buttons").all()
        assert controls, "an explorer without a control"
        for control in controls:
            if control.locator(".noUi-handle").count():
                _try_slider(page, explorer, control)
            else:
                _try_buttons(page, explorer, control)
    assert page.noise == []


def changed(page, explorer, before: str) -> str:
    """The drawing that is shown, once it is another one than before."""
    arguments = [explorer.element_handle(), before]
    page.wait_for_function(f"([explorer, before]) => ({SHOWN})(explorer) !== before", arg=arguments)
    return explorer.evaluate(SHOWN)


def _try_slider(page, explorer, slider) -> None:
    handle = slider.locator(".noUi-handle")
    assert handle.get_attribute("aria-label") == slider.locator(".widget-label").text_content().strip()
    seen = [explorer.evaluate(SHOWN)]
    handle.focus()
    page.keyboard.press("ArrowRight")
    seen.append(changed(page, explorer, seen[-1]))
    repainted(page)
    assert handle.get_attribute("aria-valuetext") == slider.locator(".widget-readout").text_content().strip()
    if float(handle.get_attribute("aria-valuemax")) > 1:  # else the end is reached already
        slider.scroll_into_view_if_needed()
        box = slider.locator(".noUi-target").bounding_box()
        page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
        seen.append(changed(page, explorer, seen[-1]))
    assert len(set(seen)) == len(seen)
    assert all(seen)


def _try_buttons(page, explorer, group) -> None:
    buttons = group.locator("button").all()
    assert len(buttons) > 1
    seen = []
    for number, button in enumerate(buttons):
        if number % 2:
            button.focus()
            page.keyboard.press("Enter")
        else:
            button.click()
        repainted(page)
        seen.append(changed(page, explorer, seen[-1]) if seen else explorer.evaluate(SHOWN))
        pressed = [other.get_attribute("aria-pressed") for other in buttons]
        assert pressed == ["true" if other is button else "false" for other in buttons]
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
