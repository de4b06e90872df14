"""`make book` on a small book of its own: what it leaves alone when a page breaks, and what it notices."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.helpers import ROOT
from tests.helpers.imports import imported, modules
from tools import book

HEADER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

"""
GOOD = HEADER + "# A page\n\n```{code-cell} python\n6 * 7\n```\n"


@pytest.fixture(scope="module")
def small_book(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("small")
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copy(ROOT / "requirements.txt", root)
    shutil.copytree(ROOT / "book" / "assets", root / "book" / "assets", ignore=shutil.ignore_patterns("offline"))
    (root / "book" / "reference").mkdir()
    (root / "book" / "reference" / "references.bib").write_text("")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: book/page\n")
    (root / "book" / "intro.md").write_text("# A small book\n\n[A page](page.md)\n")
    (root / "book" / "page.md").write_text(GOOD)
    return root


def make(root: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "book.py"), "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True)


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_good_book_is_built_and_says_where(small_book):
    result = make(small_book)
    assert result.returncode == 0, result.stdout + result.stderr
    site = small_book / "_build" / "html"
    assert (site / "index.html").as_uri() in result.stdout
    assert "42" in (site / "book" / "page.html").read_text()


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("```{code-cell} python\nraise ArithmeticError('a broken cell')\n```\n", "ArithmeticError"),
        ("[nowhere](no-such-page.md)\n", "no-such-page"),
        ("```{code-cell} python\nimport sys\nprint('a stray warning', file=sys.stderr)\n```\n", "stderr"),
    ],
    ids=["cell raises", "link to nowhere", "cell writes to stderr"],
)
def test_a_broken_page_fails_every_time_and_leaves_the_old_site(small_book, fault, named):
    site = small_book / "_build" / "html"
    (small_book / "book" / "page.md").write_text(GOOD)
    if not site.exists():
        assert make(small_book).returncode == 0
    before = fingerprint(site)
    (small_book / "book" / "page.md").write_text(GOOD + "\n" + fault)
    for _ in range(2):  # a second build must not go green because the page was seen before
        result = make(small_book)
        assert result.returncode != 0
        assert named in result.stdout + result.stderr
        assert "untouched" in result.stderr
        assert fingerprint(site) == before


def test_results_are_kept_only_for_the_package_and_pins_they_came_from(tmp_path):
    (tmp_path / "gradclinic").mkdir()
    (tmp_path / "requirements.txt").write_text("torch==1\n")
    module = tmp_path / "gradclinic" / "theory.py"
    module.write_text("A = 1\n")
    keys = {book.key(tmp_path)}
    module.write_text("A = 2\n")
    keys.add(book.key(tmp_path))
    (tmp_path / "requirements.txt").write_text("torch==2\n")
    keys.add(book.key(tmp_path))
    (tmp_path / "gradclinic" / "models.py").write_text("")
    keys.add(book.key(tmp_path))
    assert len(keys) == 4
    assert book.key(tmp_path) in keys


def test_measurements_outlive_a_change_of_what_only_draws_or_judges(tmp_path):
    (tmp_path / "gradclinic" / "exercises").mkdir(parents=True)
    before = book.measurements(tmp_path), book.key(tmp_path)
    (tmp_path / "gradclinic" / "plots.py").write_text("A = 1\n")
    (tmp_path / "gradclinic" / "exercises" / "vanishing.py").write_text("A = 1\n")
    assert book.measurements(tmp_path) == before[0]
    assert book.key(tmp_path) != before[1]
    (tmp_path / "gradclinic" / "recorder.py").write_text("A = 1\n")
    assert book.measurements(tmp_path) != before[0]


def test_measurements_rest_on_nothing_that_their_key_leaves_out():
    reached, new = set(), {"audit"}
    while new:
        reached |= new
        new = set().union(*(imported(p.read_text()) for name in new for p in modules()[name])) - reached
    assert not reached & book.NO_MEASUREMENTS


def lab(cells: list[str]) -> str:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Lab 01: A lab"), *map(nbformat.v4.new_code_cell, cells)],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )
    return nbformat.writes(notebook)


def test_only_the_instructors_edition_holds_solutions_and_it_leaves_the_public_site_alone(small_book):
    (small_book / "book" / "page.md").write_text(GOOD)
    for kind, source in (("labs", "answer = None"), ("solutions", "answer = 6 * 7  # the solution")):
        (small_book / kind / "01-lab").mkdir(parents=True)
        (small_book / kind / "01-lab" / "01-lab.ipynb").write_text(lab([source]))
    contents = (small_book / "_toc.yml").read_text()
    (small_book / "_toc.yml").write_text(contents + "  - file: labs/01-lab/01-lab\n")
    try:
        assert make(small_book).returncode == 0
        public = small_book / "_build" / "html"
        before = fingerprint(public)
        result = make(small_book, "--edition", "instructor")
        assert result.returncode == 0, result.stdout + result.stderr
        site = small_book / "_build" / "instructor"
        assert (site / "index.html").as_uri() in result.stdout
        page = (site / "solutions" / "01-lab" / "01-lab.html").read_text()
        assert "the solution" in page
        assert "Solution of 01-lab" in (site / "labs" / "01-lab" / "01-lab.html").read_text(), "it is in the contents"
        assert fingerprint(public) == before
        assert not any("the solution" in p.read_text() for p in public.rglob("*.html"))
        assert not (public / "solutions").exists()
    finally:
        (small_book / "_toc.yml").write_text(contents)
