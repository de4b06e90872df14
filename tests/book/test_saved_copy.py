"""What `make tarball` packs works from a folder, without a server."""

import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.helpers import page_names
from tests.helpers.browser import visit


@pytest.fixture(scope="session")
def saved_copy(packed, tmp_path_factory) -> Path:
    """What `make tarball` packs, unpacked."""
    folder = tmp_path_factory.mktemp("saved") / "a copy"  # a blank in the path, as at home
    with tarfile.open(packed[0]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "site"


@pytest.mark.parametrize("name", page_names())
def test_page_works_from_a_saved_copy(name, page, saved_copy):
    visit(page, (saved_copy / f"{name}.html").as_uri())
    assert page.noise == []
    assert [url for url in page.asked if urlsplit(url).scheme not in ("file", "data", "blob")] == []
