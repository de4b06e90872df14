"""Whether a page that is open can be read by everyone, and is no wider than the window."""

from tests.helpers import ROOT, absent

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


def check(page) -> None:
    """``page`` has a ``name``, that of the file without its suffix."""
    if not AXE.exists():
        absent("axe-core (make book fetches it)")
    assert page.evaluate("document.documentElement.dataset.theme") == page.theme
    if page.name.startswith("labs/"):
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
    if page.name.startswith("labs/"):
        page.locator(".dropdown-launch-buttons button").click()
