"""What tests share: one thread each, kept measurements, the built site, and a real browser."""

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tests.helpers import ROOT, absent
from tests.helpers.browser import new_page
from tools import measurements, tarball

# Before the package is imported: the pages' measurements and the tests' are the same ones. Workers inherit the folder.
if "GRADCLINIC_CACHE" not in os.environ:
    os.environ["GRADCLINIC_CACHE"] = str(measurements.prepare(ROOT))
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test needs that `make check` does without follows from its fixtures and its folder."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "browser" in fixtures:
            item.add_marker(pytest.mark.browser)
        if "site" in fixtures:
            item.add_marker(pytest.mark.site)
        if ROOT / "tests" / "grading" in item.path.parents:
            item.add_marker(pytest.mark.grader)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").exists():
        absent("the built site (make book)")
    return folder


@pytest.fixture(scope="session")
def packed(site: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The built site as `make tarball` packs it: the tarball, its checksum, its manifest."""
    return tarball.pack(site, tmp_path_factory.mktemp("packed"))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The built site, served on loopback by the standard library."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator["playwright.sync_api.Browser"]:  # noqa: F821  (imported only where it is there)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        path = next((p for p in map(shutil.which, names) if p), own if Path(own).exists() else None)
        if path is None:
            absent("Chromium or Chrome")
        quiet = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        quiet += " --disable-component-update --disable-sync"
        instance = playwright.chromium.launch(executable_path=path, args=quiet.split())
        yield instance
        instance.close()


@pytest.fixture
def page(browser):
    with new_page(browser) as page:
        yield page
