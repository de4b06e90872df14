"""What the results of a page or a notebook depend on, as one hash."""

import hashlib
from pathlib import Path

from jupyter_cache.readers import get_reader

from tools.imports import sources, texts

READERS = {".md": "myst_nb_md", ".ipynb": "nbformat"}


def page_key(root: Path, page: Path) -> str:
    """A hash of all that the results of a page or a notebook depend on.

    That is its code, the code of the package that it can reach, the files that either names, and the pinned versions.
    Text, docstrings and comments do not count.
    """
    notebook = get_reader({"name": READERS[page.suffix], "type": "plugin"})(str(page))
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    package = sources(root)
    places = package.of_page(cells)
    digest = hashlib.sha256("\0".join([*cells, package.digest(places), *_pins(root)]).encode())
    for file in _named(root, page, package.texts(places) | texts(cells)):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _pins(root: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (root / "requirements.txt").read_text().splitlines())
    return sorted(filter(None, lines))


def _named(root: Path, page: Path, texts: set[str]) -> list[Path]:
    """The files of data that a page names: beside it, among the book's assets, in the package."""
    names = {text.rpartition("/")[2] for text in texts}
    endings = tuple(name.lstrip("*") for name in names if name.startswith((".", "*.")) and len(name) > 2)
    assets = root / "book" / "assets"
    beside = [file for file in page.parent.iterdir() if file.is_file()]
    files = [*beside, *assets.rglob("*"), *(root / "gradclinic").rglob("*")]
    data = {file for file in files if file.is_file() and file.suffix not in (".py", ".pyc", ".md", ".ipynb")}
    return sorted(
        file
        for file in data
        if (file.name in names or file.name.endswith(endings)) and assets / "offline" not in file.parents
    )
