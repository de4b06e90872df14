"""`make book` on a small book of its own: what it leaves alone when a page breaks, and what it notices."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache

from tests.helpers import ROOT
from tools import book, runs
from tools.imports import sources

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
    command = [sys.executable, "-m", "tools.book", "--root", str(root), *options]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.notebook
def test_a_good_book_is_built_and_says_where(small_book):
    result = make(small_book)
    assert result.returncode == 0, result.stdout + result.stderr
    site = small_book / "_build" / "html"
    assert (site / "index.html").as_uri() in result.stdout
    assert "42" in (site / "book" / "page.html").read_text()


@pytest.mark.notebook
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


# --- what is executed again -------------------------------------------------------------------------------------------

FIGURES = """def phase_diagram():
    '''Order and chaos.'''
    return 1


def overflow():
    return 2
"""


@pytest.fixture
def stamped(tmp_path) -> Path:
    """Two pages that print when they were run: one draws a figure and reads a file, one does neither."""
    (tmp_path / "requirements.txt").write_text("torch==1\n")
    for name in ("__init__", "course/__init__", "course/figures"):
        (tmp_path / "gradclinic" / "course").mkdir(parents=True, exist_ok=True)
        (tmp_path / "gradclinic" / f"{name}.py").write_text(FIGURES if name.endswith("figures") else "")
    (tmp_path / "book" / "assets").mkdir(parents=True)
    (tmp_path / "book" / "assets" / "labs.json").write_text("{}")
    (tmp_path / "book" / "assets" / "skips.json").write_text("{}")
    (tmp_path / "_toc.yml").write_text("root: book/draws\nchapters:\n  - file: book/counts\n")
    draws = "if False:\n    from gradclinic.course import figures\n    figures.phase_diagram(), 'assets/labs.json'\n"
    for name, code in {"draws": draws, "counts": "6 * 7\n"}.items():
        stamp = "import time\nprint(time.time_ns())\n"
        page = f"{HEADER}# {name}\n\n```{{code-cell}} python\n{code}{stamp}```\n"
        (tmp_path / "book" / f"{name}.md").write_text(page)
    return tmp_path


def executed(root: Path) -> set[str]:
    """Bring the cache up to date, as in a new process; returns the pages that were executed."""

    def stamps() -> dict[str, str]:
        cache = get_cache(root / "_build" / ".jupyter_cache")
        kept = {
            Path(record.uri).stem: cache.get_cached_project_nb(record.uri) for record in cache.list_project_records()
        }
        bundles = {name: cache.get_cache_bundle(record.pk) for name, record in kept.items() if record}
        return {name: bundle.nb.cells[0].outputs[0].text for name, bundle in bundles.items()}

    sources.cache_clear()
    before = stamps()
    book.execute(root)
    after = stamps()
    assert set(after) == {"draws", "counts"}
    return {name for name in after if after[name] != before.get(name)}


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.notebook
def test_a_page_is_executed_again_when_what_it_stands_on_changed(stamped):
    figures, page = stamped / "gradclinic" / "course" / "figures.py", stamped / "book" / "draws.md"
    assert executed(stamped) == {"draws", "counts"}
    edit(figures, "Order and chaos.", "Where order ends.")
    edit(figures, "return 2", "return 3")
    edit(page, "# draws", "# It draws")
    (stamped / "book" / "assets" / "skips.json").write_text("[]")
    assert executed(stamped) == set()
    edit(figures, "return 1", "return 10")
    assert executed(stamped) == {"draws"}
    edit(figures, "return 10", "return 1")
    assert executed(stamped) == {"draws"}, "what was kept for the first state is gone"
    (stamped / "book" / "assets" / "labs.json").write_text("[]")
    assert executed(stamped) == {"draws"}
    edit(stamped / "requirements.txt", "1", "1  # a remark")
    assert executed(stamped) == set()
    edit(stamped / "requirements.txt", "torch==1", "torch==2")
    assert executed(stamped) == {"draws", "counts"}
    edit(page, "time_ns())", "time_ns() + 1)")
    edit(figures, "return 1", "return 100")
    assert executed(stamped) == {"draws"}
    edit(page, "time_ns() + 1)", "time_ns())")
    assert executed(stamped) == {"draws"}, "its code was seen before, but with another package"


@pytest.mark.notebook
def test_a_page_that_asks_for_it_is_always_executed(stamped):
    edit(stamped / "book" / "counts.md", "---\n\n", "rerun: always\n---\n\n")
    assert executed(stamped) == {"draws", "counts"}
    assert executed(stamped) == {"counts"}


@pytest.mark.notebook
def test_a_page_that_hangs_is_begun_once_more(stamped):
    hangs = "from pathlib import Path\nif not Path('seen').exists():\n    Path('seen').touch()\n    time.sleep(999)\n"
    edit(stamped / "book" / "counts.md", "import time\n", f"import time\n{hangs}")
    sources.cache_clear()
    assert book.execute(stamped, patience=20)
    assert (stamped / "book" / "seen").exists()
    edit(stamped / "book" / "counts.md", "if not Path('seen').exists()", "if True")
    sources.cache_clear()
    assert not book.execute(stamped, patience=5), "it hung twice"


def test_a_page_shows_the_run_of_a_lab_that_is_there_already(stamped, monkeypatch):
    lab_file = stamped / "labs" / "01-lab" / "01-lab.ipynb"
    lab_file.parent.mkdir(parents=True)
    lab_file.write_text(lab(["print('run here')"]))
    (stamped / "_toc.yml").write_text("root: labs/01-lab/01-lab\n")
    run = nbformat.read(lab_file, as_version=4)
    run.cells[1].outputs = [nbformat.v4.new_output("stream", text="run before")]
    run.cells.append(nbformat.v4.new_code_cell("print('added')"))
    sources.cache_clear()
    monkeypatch.setattr(runs, "added", lambda notebook: [nbformat.v4.new_code_cell("print('added')")])
    runs.keep(lab_file, run)
    monkeypatch.setattr(book, "process_map", lambda *args, **kwargs: pytest.fail("it was executed"))
    book.execute(stamped)
    cache = get_cache(stamped / "_build" / ".jupyter_cache")
    (cell,) = cache.get_cache_bundle(cache.get_cached_project_nb(str(lab_file)).pk).nb.cells
    assert cell.outputs[0].text == "run before"


# --- two editions -----------------------------------------------------------------------------------------------------


def lab(cells: list[str]) -> str:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Lab 01: A lab"), *map(nbformat.v4.new_code_cell, cells)],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )
    return nbformat.writes(notebook)


@pytest.mark.notebook
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
