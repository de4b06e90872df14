"""A page as a reader sees it: with its widgets and formulas drawn."""


def visit(page, url: str) -> None:
    """Open a page and wait until its widgets and formulas are drawn."""
    page.goto(url)
    page.wait_for_load_state("load")
    page.wait_for_function(
        """() => [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')]
            .every(e => e.parentElement.querySelector('.jupyter-widgets'))
            && [...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-container'))"""
    )
    repainted(page)  # names of controls are set after they are drawn


def repainted(page) -> None:
    """Wait for two repaints, however long they take: what a script plans for the next one has happened then."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
