"""Build the site: `make book`. The old site stays in place until a new one is complete.

python -m tools.book [--root FOLDER] [--edition instructor]
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import nbformat
import psutil
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors import load_executor
from tqdm.contrib.concurrent import process_map

from gradclinic.course import live
from tools import measurements, runs
from tools.pages import READERS, page_key

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
RERUN = "\nrerun: always"  # in the header of a page that reads what the cache does not know of
EDITIONS = {"public": "html", "instructor": "instructor"}  # and the folder in _build that holds its site


def environment(root: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "GRADCLINIC_CACHE": str(measurements.folder(root)),
        "OMP_NUM_THREADS": "1",  # notebooks run side by side; more threads each would only get in each other's way
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def copy_assets(root: Path) -> None:
    """Place what pages load (mathematics, the live lab) beside them, so that no page asks another host."""
    modules, target = root / "node_modules", root / "book" / "assets" / "offline"
    if not modules.exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    mathjax = modules / "mathjax" / "es5"
    (target / "mathjax").mkdir()
    shutil.copy(mathjax / "tex-chtml.js", target / "mathjax")
    fonts = Path("output") / "chtml" / "fonts" / "woff-v2"
    shutil.copytree(mathjax / fonts, target / "mathjax" / fonts)
    patients = root / "book" / "assets" / "patients"
    if patients.with_suffix(".js").exists():  # a page from a folder may run scripts, but read no data
        runs_of = f"gradclinicPatients.runs = {patients.with_suffix('.json').read_text().strip()};\n"
        (target / "patients.js").write_text(f"{patients.with_suffix('.js').read_text()}\n{runs_of}")
    (target / "live.js").write_text(live.script())
    (target / "live.css").write_text(live.style())


def contents(root: Path, edition: str = "public") -> dict:
    """The table of contents. The instructor's has each lab's solution below the lab, where there is one."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    if edition == "instructor":
        for part in toc.get("parts", [toc]):
            for chapter in part.get("chapters") or []:
                solution = chapter["file"].replace("labs/", "solutions/", 1)
                if chapter["file"].startswith("labs/") and (root / f"{solution}.ipynb").exists():
                    chapter["sections"] = [{"file": solution, "title": f"Solution of {Path(solution).name}"}]
    return toc


def settings(root: Path, edition: str) -> list[str]:
    """Options that make jupyter-book build this edition: for the instructor's, of files written for it."""
    if edition == "public":
        return []
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["title"] += ", with solutions"
    config["exclude_patterns"] = [pattern for pattern in config["exclude_patterns"] if pattern != "solutions"]
    options = []
    for name, content in {"toc": contents(root, edition), "config": config}.items():
        file = root / "_build" / f"{edition}-{name}.yml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        options += [f"--{name}", str(file)]
    return options


def pages(root: Path, edition: str = "public") -> list[Path]:
    """Every page of the table of contents that is executed, as a path."""
    toc = contents(root, edition)
    names = [toc["root"]]
    for part in toc.get("parts", [toc]):
        for chapter in part.get("chapters") or []:
            names += [chapter["file"], *(section["file"] for section in chapter.get("sections") or [])]
    found = []
    for name in names:
        for suffix in READERS:
            path = root / f"{name}{suffix}"
            if path.exists() and (suffix == ".ipynb" or "jupytext:" in path.read_text()[:200]):
                found.append(path)
    return found


class Late(BaseException):
    """A page took longer than it may. No ``Exception``, so that what runs notebooks doesn't take it for a cell's."""


def _late(*_: object) -> None:
    raise Late


def _execute_page(cache: Path, timeout: int, patience: int, page: Path) -> bool:
    """Run one page into the cache, in a process of its own; True if it ran to its end.

    A cell that never ends is stopped by its own limit. What starts and ends kernels has none, and has hung before: so
    a page that is late as a whole is begun once more.
    """
    # A kernel's own warnings would tear the progress bar; what goes wrong in a page is shown by the build.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGALRM, _late)  # ``make`` is for systems that have it
    for _ in range(2):
        signal.alarm(patience)
        try:
            executor = load_executor("local-serial", get_cache(cache))
            return bool(executor.run_and_cache(filter_uris=[str(page)], timeout=timeout).succeeded)
        except Late:
            for kernel in psutil.Process().children(recursive=True):
                kernel.kill()
        finally:
            signal.alarm(0)
    return False


def execute(root: Path, edition: str = "public", timeout: int = 600, patience: int = 600) -> bool:
    """Run the notebooks that changed, or whose package did, side by side, into the cache that the build then reads.

    A cell that runs longer than ``timeout`` seconds is stopped, and a page that runs longer than ``patience`` is begun
    once more. Returns whether all notebooks ran to their end.
    """
    folder = root / "_build" / ".jupyter_cache"
    folder.mkdir(parents=True, exist_ok=True)
    made_for = folder / "keys.json"
    keys = json.loads(made_for.read_text()) if made_for.exists() else {}
    cache = get_cache(folder)
    notebooks = {str(page): page for page in pages(root, edition)}
    for uri, page in notebooks.items():
        cache.add_nb_to_project(uri, read_data={"name": READERS[page.suffix], "type": "plugin"})
        name, key = page.relative_to(root).as_posix(), page_key(root, page)
        always = page.suffix == ".md" and RERUN in page.read_text()[:500]
        if (always or keys.get(name) != key) and (old := cache.get_cached_project_nb(uri)):
            cache.remove_cache(old.pk)
        keys[name] = key
        if page.suffix == ".ipynb" and not cache.get_cached_project_nb(uri) and (run := runs.kept(page)):
            run.cells = run.cells[: len(nbformat.read(page, as_version=4).cells)]  # without the added ones
            cache.cache_notebook_bundle(CacheBundleIn(run, uri), check_validity=False)
    made_for.write_text(json.dumps(keys, indent=1))
    changed = [notebooks[record.uri] for record in cache.list_unexecuted() if record.uri in notebooks]
    if not changed:
        return True
    os.environ.update(environment(root))
    done = process_map(
        partial(_execute_page, folder, timeout, patience),
        changed,
        desc="running notebooks",
        unit="notebook",
        max_workers=os.cpu_count(),
    )
    for page, fine in zip(changed, done, strict=True):
        if not fine:
            print(f"{page.relative_to(root)} stopped with an error, which the build shows.", file=sys.stderr)
    return all(done)


def lighten(site: Path) -> None:
    """Take out what no reader needs.

    The theme's icons as a script and as two thousand rules of style, of which ``course.css`` draws the few that are
    used; maps for those who develop the theme; the comments that tell nbval which outputs to compare; and the state of
    widgets, which need a kernel.
    """
    for page in site.rglob("*.html"):
        text = re.sub(r"\s*<script [^>]*/fontawesome\.js[^>]*></script>", "", page.read_text())
        text = re.sub(r"<script [^>]*jupyter\.widget-state\+json[^>]*>.*?</script>", "", text, flags=re.DOTALL)
        page.write_text(re.sub(r'<span class="c1"># NBVAL_\w+</span>\n', "", text))
    static = site / "_static"
    for style in static.glob("styles/*.css"):
        style.write_text(re.sub(r'(?:\.fa-[\w-]+::?before,?)+\{content:"[^"]*"\}', "", style.read_text()))
    for file in {*static.rglob("fontawesome.js*"), *static.rglob("*.map")}:
        file.unlink()


def build(root: Path, edition: str = "public") -> int:
    """Build into a folder of its own and put it in place only when all went well. Returns the exit code."""
    copy_assets(root)
    measurements.prepare(root)
    execute(root, edition)
    staging = root / "_build" / f"staging-{edition}"
    shutil.rmtree(staging, ignore_errors=True)
    command = [str(BIN / "jupyter-book"), "build", ".", "--all", "-W", "--keep-going", "--quiet"]
    print("Building the pages ...", flush=True)
    command += ["--path-output", str(staging), *settings(root, edition)]
    result = subprocess.run(command, check=False, cwd=root, env=environment(root))
    site, built = root / "_build" / EDITIONS[edition], staging / "_build" / "html"
    if result.returncode or not built.exists():
        kept = " The site built before is untouched." if site.exists() else ""
        print(f"The build failed; what went wrong stands above.{kept}", file=sys.stderr)
        return result.returncode or 1
    lighten(built)
    old = site.with_name(f"{site.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    built.rename(site)
    for leftover in (old, staging):
        shutil.rmtree(leftover, ignore_errors=True)
    print(f"The site is ready. Open {(site / 'index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that holds _config.yml")
    parser.add_argument("--edition", choices=EDITIONS, default="public", help="instructor: with the solutions")
    arguments = parser.parse_args()
    sys.exit(build(arguments.root.resolve(), arguments.edition))
