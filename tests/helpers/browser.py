"""A page as a reader sees it: with its formulas drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_page(browser, theme: str = "light", width: int = 1280) -> Iterator:
    """An empty page that notes its errors (``noise``) and what it asks for (``asked``)."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    chosen = f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    context.add_init_script(f"try {{ {chosen} }} catch {{}}")  # a frame without an address has no storage
    page = context.new_page()
    page.theme = theme
    page.set_default_timeout(60_000)
    page.noise = []
    page.on("console", lambda message: page.noise.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.noise.append(str(error)))
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


def visit(page, url: str) -> None:
    """Open a page and wait until its formulas are drawn."""
    page.goto(url)
    page.wait_for_load_state("load")
    page.wait_for_function("() => [...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-container'))")
    repainted(page)


def repainted(page) -> None:
    """Wait for two repaints, however long they take: what a script plans for the next one has happened then."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


INSIDE = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('text')].filter(text => {
    const [box, page] = [text.getBBox(), svg.viewBox.baseVal];
    return box.x < 0 || box.y < 0 || box.x + box.width > page.width || box.y + box.height > page.height;
}).map(text => text.textContent))"""
SMALL = """svgs => svgs.flatMap(svg => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const small = (text) => parseFloat(getComputedStyle(text).fontSize) * scale < 12;
    return [...svg.querySelectorAll('text')].filter(small).map(text => text.textContent);
})"""


LEGIBLE = Path(__file__).with_name("legible.js").read_text()  # a function of drawings by matplotlib


def check_letters(drawings) -> None:
    """No letter of these drawings (a locator of SVGs) is cut off at their edge, or smaller than 12 pixels."""
    assert drawings.count(), "there is no drawing"
    for wrong in (INSIDE, SMALL):
        found = drawings.evaluate_all(wrong)
        assert found == [], found
