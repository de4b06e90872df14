"""Every page, dark and narrow: readable by everyone, and no wider than the window.

Colours depend on the theme and overflow on the width, so two of the four pairs see all there is. The other one, light
and wide, is in test_site.py, where each page is open already.
"""

import pytest

from tests.helpers import page_names
from tests.helpers.accessibility import check
from tests.helpers.browser import new_page, visit


@pytest.fixture(scope="module")
def page(browser):
    with new_page(browser, "dark", 390) as page:
        yield page


@pytest.mark.parametrize("name", page_names())
def test_page_is_readable_by_everyone_in_dark_and_narrow(name, page, address):
    page.name = name
    visit(page, f"{address}/{name}.html")
    check(page)
