"""Build the site: `make book`. The old site stays in place until a new one is complete.

python tools/book.py [--root FOLDER]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def key(root: Path = ROOT) -> str:
    """A hash of all that results depend on besides the notebooks: the package and the pinned versions."""
    digest = hashlib.sha256()
    for path in [*sorted((root / "gradlab").rglob("*.py")), root / "requirements.txt"]:
        if path.exists():
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def measurements(root: Path = ROOT) -> Path:
    """Where this version of the package keeps measurements that took long."""
    return root / "_build" / "measurements" / key(root)


def copy_assets(root: Path) -> None:
    """Place what pages load (widgets, mathematics) beside them, so that no page asks another host."""
    modules, target = root / "node_modules", root / "book" / "assets" / "offline"
    if not modules.exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    widgets = modules / "@jupyter-widgets" / "html-manager" / "dist"
    target.mkdir(parents=True)
    for file in [widgets / "embed.js", *widgets.glob("*.woff2")]:
        shutil.copy(file, target)
    mathjax = modules / "mathjax" / "es5"
    (target / "mathjax").mkdir()
    shutil.copy(mathjax / "tex-chtml.js", target / "mathjax")
    fonts = Path("output") / "chtml" / "fonts" / "woff-v2"
    shutil.copytree(mathjax / fonts, target / "mathjax" / fonts)


def pages(root: Path) -> list[Path]:
    """Every page of the table of contents that is executed, as a path."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    names = [toc["root"]]
    for part in toc.get("parts", [toc]):
        names += [chapter["file"] for chapter in part.get("chapters", [])]
    found = []
    for name in names:
        for suffix in (".md", ".ipynb"):
            path = root / f"{name}{suffix}"
            if path.exists() and (suffix == ".ipynb" or "jupytext:" in path.read_text()[:200]):
                found.append(path)
    return found


def run(command: list[str], root: Path, **kwargs: object) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "GRADLAB_CACHE": str(measurements(root)),
        "OMP_NUM_THREADS": "1",  # two notebooks run at once; more threads each would only get in each other's way
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    return subprocess.run(command, cwd=root, env=environment, **kwargs)


def execute(root: Path) -> None:
    """Run the notebooks that changed, in parallel, into the cache that the build then reads."""
    cache = root / "_build" / ".jupyter_cache"
    stamp = cache / "made-for"
    if cache.exists() and (not stamp.exists() or stamp.read_text() != key(root)):
        shutil.rmtree(cache)  # the package or a pin changed: every stored figure may be old
    for old in (root / "_build" / "measurements").glob("*"):
        if old != measurements(root):
            shutil.rmtree(old)
    jcache = str(BIN / "jcache")
    notebooks = pages(root)
    for reader, suffix in (("myst_nb_md", ".md"), ("nbformat", ".ipynb")):
        chosen = [str(path) for path in notebooks if path.suffix == suffix]
        if chosen:
            command = [jcache, "notebook", "-p", str(cache), "add", "-r", reader, *chosen]
            run(command, root, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    stamp.write_text(key(root))
    print(f"Running the notebooks that changed ({len(notebooks)} in all), two at a time ...", flush=True)
    run(
        [jcache, "project", "-p", str(cache), "execute", "--executor", "local-parallel", "--timeout", "600"],
        root,
        check=False,  # a failed notebook is reported by the build below, with its page
        stdin=subprocess.DEVNULL,
    )


def build(root: Path) -> int:
    """Build into a folder of its own and put it in place only when all went well. Returns the exit code."""
    copy_assets(root)
    execute(root)
    staging = root / "_build" / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    command = [str(BIN / "jupyter-book"), "build", ".", "--all", "-W", "--keep-going", "--quiet"]
    print("Building the pages ...", flush=True)
    result = run([*command, "--path-output", str(staging)], root)
    site, built = root / "_build" / "html", staging / "_build" / "html"
    if result.returncode or not built.exists():
        kept = " The site built before is untouched." if site.exists() else ""
        print(f"The build failed; what went wrong stands above.{kept}", file=sys.stderr)
        return result.returncode or 1
    old = root / "_build" / "html.old"
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
    sys.exit(build(parser.parse_args().root.resolve()))
