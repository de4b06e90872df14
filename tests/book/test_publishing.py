"""Where the course goes: Binder, Colab, the workflows, and the site as one file."""

import csv
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers import ROOT, absent, page_names
from tools import labs as tool
from tools import tarball
from tools.grading import inside

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
ADDRESS, BRANCH = CONFIG["repository"]["url"], CONFIG["repository"]["branch"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

every_lab = pytest.mark.parametrize("name", tool.names())


def by_name(lines: list[str]) -> dict[str, Requirement]:
    requirements = map(Requirement, filter(None, (line.split("#")[0].strip() for line in lines)))
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


# --- the address -----------------------------------------------------------------------------------------------------


def test_all_mentions_of_the_address_are_those_of_the_configuration():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == ADDRESS
    assert PROJECT["urls"]["Repository"] == ADDRESS
    binder = f"{CONFIG['launch_buttons']['binderhub_url']}/v2/gh{urlsplit(ADDRESS).path}/{BRANCH}"
    assert f"({binder}?urlpath=lab/tree/labs)" in (ROOT / "README.md").read_text()


# --- Binder ----------------------------------------------------------------------------------------------------------


def test_binder_has_what_the_labs_need_at_the_pins_of_everyone():
    pins = by_name((ROOT / "requirements.txt").read_text().splitlines())
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    (pip,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    conda = by_name([part for part in environment["dependencies"] if isinstance(part, str)])
    found = by_name(pip)
    found["torch"] = conda.pop("pytorch-cpu")
    assert set(conda) == {"python", "pip"}
    assert set(found) == set(by_name(PROJECT["dependencies"])) | {"jupyterlab", "ipykernel"}
    assert {name: str(one.specifier) for name, one in found.items()} == {
        name: str(pins[name].specifier) for name in found
    }


def test_python_is_exact_on_binder_and_one_that_the_package_and_the_workflows_have():
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    python = by_name([part for part in environment["dependencies"] if isinstance(part, str)])["python"]
    (exact,) = python.specifier
    assert exact.operator == "=="
    assert exact.version.count(".") == 2
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(exact.version)
    steps = [step for path in WORKFLOWS for job in jobs(path).values() for step in job["steps"]]
    tested = {step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")}
    assert tested == {exact.version.rpartition(".")[0]}


def test_binder_installs_the_package_itself():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert "pip install --no-deps -e ." in script.read_text().splitlines()
    assert subprocess.run(["sh", "-n", script]).returncode == 0


# --- buttons ---------------------------------------------------------------------------------------------------------


def launches(site: Path, name: str) -> dict[str, str]:
    """The links of the launch menu of a page: name of the service -> address."""
    soup = BeautifulSoup((site / f"{name}.html").read_text(), "html.parser")
    return {link.get_text(strip=True): link["href"] for link in soup.select(".dropdown-launch-buttons a")}


@pytest.mark.parametrize("name", page_names())
def test_labs_can_be_launched_and_nothing_else(name, site):
    found = launches(site, name)
    if not name.startswith("labs/"):
        assert found == {}
        return
    assert set(found) == {"Binder", "Colab"}
    binder, colab = urlsplit(found["Binder"]), urlsplit(found["Colab"])
    repository = urlsplit(ADDRESS).path
    assert f"{binder.scheme}://{binder.netloc}" == CONFIG["launch_buttons"]["binderhub_url"]
    assert binder.path == f"/v2/gh{repository}/{BRANCH}"
    (opened,) = parse_qs(binder.query)["urlpath"]
    assert f"{colab.scheme}://{colab.netloc}" == CONFIG["launch_buttons"]["colab_url"]
    for path, before in ((opened, "lab/tree/"), (colab.path, f"/github{repository}/blob/{BRANCH}/")):
        file = path.removeprefix(before)
        assert file == f"{name}.ipynb"
        nbformat.validate(nbformat.read(ROOT / file, as_version=4))


# --- Colab -----------------------------------------------------------------------------------------------------------


def first_code_cell(kind: str, name: str) -> nbformat.NotebookNode:
    notebook = nbformat.read(ROOT / kind / name / f"{name}.ipynb", as_version=4)
    return next(cell for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("kind", ["labs", "solutions"])
@every_lab
def test_a_lab_begins_with_what_colab_needs(name, kind):
    cell = first_code_cell(kind, name)
    assert cell.source == first_code_cell("solutions", tool.names()[0]).source
    assert cell.source.splitlines()[-1].split() == ["%pip", "install", "--quiet", f"git+{ADDRESS}"]
    assert cell.metadata.tags == ["remove-cell"]  # on the page it would only be in the way


@pytest.mark.parametrize("there", [True, False])
def test_the_package_is_fetched_where_it_is_missing_and_only_there(there, monkeypatch):
    asked = []
    shell = InteractiveShell()
    shell.register_magic_function(asked.append, "line", "pip")
    if not there:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shell.run_cell(first_code_cell("labs", tool.names()[0]).source).raise_error()
    assert asked == ([] if there else [f"install --quiet git+{ADDRESS}"])


def test_the_grader_does_not_run_what_colab_needs():
    assert inside.statements([first_code_cell("labs", tool.names()[0]).source]) == []


def test_the_package_is_python_alone_so_that_pip_brings_all_of_it():
    others = {path.name for path in (ROOT / "gradclinic").rglob("*") if path.is_file()}
    assert {name for name in others if not name.endswith((".py", ".pyc"))} == set()


# --- workflows -------------------------------------------------------------------------------------------------------


def jobs(path: Path) -> dict:
    return yaml.safe_load(path.read_text())["jobs"]


def runs(path: Path) -> str:
    return "\n".join(step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step)


def lint(folder: Path) -> subprocess.CompletedProcess:
    checker = ROOT / "node_modules" / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if node is None or not checker.exists():
        absent("actionlint (make book fetches it)")
    command = [node, checker, ".github/workflows/*.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_workflows_are_such_as_github_understands():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Checking {len(WORKFLOWS)} workflow file(s)" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("github.ref ", "github.reff "), ("needs: test", "needs: tests"), ("pages: write", "page: write")],
)
def test_a_slip_in_a_workflow_is_seen(right, wrong, tmp_path):
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    text = (ROOT / ".github" / "workflows" / "site.yml").read_text()
    assert right in text
    (folder / "site.yml").write_text(text.replace(right, wrong))
    assert lint(tmp_path).returncode == 1


def test_workflows_do_what_everyone_does():
    makefile = (ROOT / "Makefile").read_text()
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"
    called = set()
    for path in WORKFLOWS:
        lines = [line.split() for line in runs(path).splitlines()]
        called |= {words[1] for words in lines if words and words[0] == "make"}
        assert ["bash", ".ci/run"] in [words[:2] for words in lines], path.name
    assert called == {"book", "setup", "tarball"}
    for target in called | {"test"}:
        assert f"\n{target}:" in makefile


def test_workflows_may_do_no_more_than_they_must():
    allowed = {}
    for path in WORKFLOWS:
        allowed[path.stem] = yaml.safe_load(path.read_text())["permissions"]
        for name, job in jobs(path).items():
            if "permissions" in job:
                allowed[f"{path.stem} {name}"] = job["permissions"]
            for step in job["steps"]:
                if "checkout" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False
    assert allowed == {
        "site": {"contents": "read"},
        "site publish": {"pages": "write", "id-token": "write"},
        "newest-pytorch": {"contents": "read", "issues": "write"},
        "release": {"contents": "write"},
    }


GH = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$1 $2" != "issue list" ] || cat "$OPEN"
"""


@pytest.mark.parametrize("open_issue", [True, False])
def test_the_weekly_run_opens_an_issue_and_not_a_second_one(open_issue, tmp_path):
    (step,) = (step for step in jobs(ROOT / ".github/workflows/newest-pytorch.yml")["test"]["steps"] if "if" in step)
    assert step["if"] == "failure()"
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "calls").touch()
    title = step["env"]["TITLE"]
    (tmp_path / "open").write_text(f"{title}, and more\n" + (f"{title}\n" if open_issue else ""))
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "OPEN": str(tmp_path / "open"),
        "TITLE": title,
        "RUN": "RUN-ADDRESS",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]  # as GitHub runs it
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("issue list --state open")
    created = [call for call in calls if call.startswith("issue create")]
    assert len(created) == len(calls) - 1 == (0 if open_issue else 1)
    assert all(f"--title {title} " in call and "RUN-ADDRESS" in call for call in created)


def test_a_release_attaches_what_make_tarball_writes():
    attached = runs(ROOT / ".github" / "workflows" / "release.yml").splitlines()[-1]
    assert attached.split("--clobber ")[1].split() == [f"_build/{name}" for name in tarball.NAMES]


# --- the tarball -----------------------------------------------------------------------------------------------------


def small_site(folder: Path) -> Path:
    (folder / "_static").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>A page</h1>")
    (folder / "_static" / "style.css").write_text("h1 {color: red}")
    return folder


def test_the_checksum_is_that_of_the_tarball(packed):
    file, checksum = packed[:2]
    assert checksum.read_text() == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"


def test_the_manifest_names_every_file_with_its_size(site, packed):
    with packed[2].open(newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    with tarfile.open(packed[0]) as archive:
        members = {member.name.removeprefix("site/"): member.size for member in archive if member.isfile()}
    there = {path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*") if path.is_file()}
    assert {row["file"]: int(row["bytes"]) for row in rows} == members == there
    for row in rows[:5]:
        assert int(row["gzipped"]) == len(gzip.compress((site / row["file"]).read_bytes(), mtime=0))
    assert {f"{name}.html" for name in page_names()} <= set(there)


def test_the_same_pages_give_the_same_tarball(tmp_path):
    one, other = small_site(tmp_path / "one"), small_site(tmp_path / "other")
    os.utime(other / "index.html", (0, 0))
    (other / "index.html").chmod(0o600)
    packed = [[path.read_bytes() for path in tarball.pack(folder, folder.parent / "out")] for folder in (one, other)]
    assert packed[0] == packed[1]
    (other / "index.html").write_text("<h1>Another page</h1>")
    assert tarball.pack(other, tmp_path / "out")[0].read_bytes() != packed[0][0]


def test_without_a_site_the_old_tarball_stays(tmp_path):
    site = small_site(tmp_path / "site")
    before = [path.read_bytes() for path in tarball.pack(site, tmp_path / "out")]
    (site / "index.html").unlink()
    command = [sys.executable, ROOT / "tools" / "tarball.py", "--site", site, "--into", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "make book" in result.stderr
    assert "Traceback" not in result.stderr
    assert [(tmp_path / "out" / name).read_bytes() for name in tarball.NAMES] == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(tarball.NAMES)
