"""Every page, light and wide, dark and narrow: readable by everyone, and no wider than the window."""

import pytest

from tests.helpers import ROOT, absent, page_names
from tests.helpers.browser import visit

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


# Colours depend on the theme and overflow on the width, so two of the four pairs see all there is.
@pytest.fixture(scope="module", params=[("light", 1280), ("dark", 390)], ids=["light-wide", "dark-narrow"])
def page(request, browser):
    theme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.theme = theme
    yield page
    context.close()


@pytest.mark.parametrize("name", page_names())
def test_page(name, page, address):
    if not AXE.exists():
        absent("axe-core (make book fetches it)")
    visit(page, f"{address}/{name}.html")
    assert page.evaluate("document.documentElement.dataset.theme") == page.theme
    if name.startswith("labs/"):
        page.locator(".dropdown-launch-buttons button").click()
        page.locator(".dropdown-launch-buttons a", has_text="Binder").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.add_script_tag(path=AXE)
    report = page.evaluate("axe.run({include: [['article'], ['.bd-header-article']]}, {resultTypes: ['violations']})")
    serious = [
        f"{violation['id']}: {node['html'][:150]}"
        for violation in report["violations"]
        if violation["impact"] in ("critical", "serious")
        for node in violation["nodes"]
    ]
    assert serious == []
