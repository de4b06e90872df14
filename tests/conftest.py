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

from tools import book, tarball

ROOT = Path(__file__).resolve().parent.parent

# Before the package is imported: the pages' measurements and the tests' are the same ones.
os.environ.setdefault("GRADLAB_CACHE", str(book.measurements()))
torch.set_num_threads(1)


def absent(what: str) -> None:
    """Skip a test at home; in CI fail it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not there")


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
def browser() -> Iterator["playwright.sync_api.Browser"]:  # noqa: F821
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


def page_names() -> list[str]:
    """Every page of the table of contents, as a path inside the site without its suffix."""
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
