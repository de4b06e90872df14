"""Where the course goes: Binder, Colab, the workflows, forms and habits on GitHub, and the site as one file."""

import csv
import gzip
import hashlib
import json
import os
import re
import shlex
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

import gradclinic
from tests.helpers import ROOT, absent, page_names
from tools import labs as tool
from tools import tarball
from tools.grading.cells import Choice, statements

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
ADDRESS, BRANCH = CONFIG["repository"]["url"], CONFIG["repository"]["branch"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))

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


# --- the version -----------------------------------------------------------------------------------------------------


def test_all_mentions_of_the_version_are_that_of_the_package():
    assert PROJECT["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gradclinic.__version__"}
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == gradclinic.__version__
    newest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert re.fullmatch(rf"{re.escape(gradclinic.__version__)} \((unreleased|\d{{4}}-\d\d-\d\d)\)", newest)


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
    course = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["course"]
    assert set(found) == set(by_name(course)) | {"jupyterlab", "ipykernel"}
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
    for path in WORKFLOWS:
        for job in jobs(path).values():
            for step in job["steps"]:
                if "setup-python" in step.get("uses", "") and "strategy" not in job:
                    assert step["with"]["python-version"] == exact.version.rpartition(".")[0]


def test_binder_installs_the_package_itself():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert "pip install --no-deps -e ." in script.read_text().splitlines()
    subprocess.run(["sh", "-n", script], check=True)


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
    *command, what = shlex.split(cell.source.splitlines()[-1])
    assert command == ["%pip", "install", "--quiet"]
    asked = Requirement(what)
    assert (asked.name, asked.extras, asked.url) == (PROJECT["name"], {"course"}, f"git+{ADDRESS}")
    assert cell.metadata.tags == ["remove-cell"]  # on the page it would only be in the way


@pytest.mark.parametrize("there", [True, False])
def test_the_package_is_fetched_where_it_is_missing_and_only_there(there, monkeypatch):
    asked = []
    shell = InteractiveShell()
    shell.register_magic_function(asked.append, "line", "pip")
    if not there:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shell.run_cell(first_code_cell("labs", tool.names()[0]).source).raise_error()
    assert asked == ([] if there else [f'install --quiet "gradclinic[course] @ git+{ADDRESS}"'])


def test_the_grader_does_not_run_what_colab_needs():
    found = statements([first_code_cell("labs", tool.names()[0]).source, "def answer():\n    return 1"])
    assert [found[number].cell for number in Choice("answer", found).all()] == [1]


def test_what_is_not_python_is_named_so_that_pip_brings_all_of_it():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [f"{name.replace('.', '/')}/{kind}" for name, kinds in declared.items() for kind in kinds]
    brought = {path for pattern in patterns for path in ROOT.glob(pattern)}
    others = {path for path in (ROOT / "gradclinic").rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert {path.name for path in others - brought} <= {"README.md", "kernel.ts"}, "the kernel is brought compiled"


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
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


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
        if path.stem != "versions":
            assert ["bash", ".ci/run"] in [words[:2] for words in lines], path.name
    assert called == {"check", "measure", "setup", "tarball"}
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
        "versions": {"contents": "read"},
        "weekly": {"contents": "read"},
        "weekly links": {"pages": "read"},
        "weekly tell": {"issues": "write"},
        "release": {"contents": "write"},
    }


REPORT = """\
Name                      Stmts   Miss  Cover
---------------------------------------------
gradclinic/lightning.py      30      9    70%
gradclinic/recorder.py      200     20    90%
gradclinic/record.py        100      0   100%
---------------------------------------------
TOTAL                       330     29    91%
"""


def test_coverage_is_printed_for_all_and_for_the_files_below_ninety_percent(tmp_path):
    *_, measured, printed, _ = jobs(GITHUB / "workflows" / "site.yml")["test"]["steps"]
    assert measured["run"] == "bash .ci/run"
    assert measured["env"] == {"PYTEST_ADDOPTS": "--cov --cov-report="}
    assert PYPROJECT["tool"]["coverage"]["run"] == {"source": ["gradclinic"]}
    (tmp_path / "report").write_text(REPORT)
    command = printed["run"].replace(".venv/bin/coverage report --sort=cover", "cat report")
    shown = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in shown.splitlines() if not line.startswith("---")]
    assert names == ["Name", "gradclinic/lightning.py", "TOTAL"]


def test_actions_are_pinned_by_hash_and_say_their_version():
    pins = {}
    for path in WORKFLOWS:
        for action, pin in re.findall(r"uses: ([^@\s]+)@(.*)$", path.read_text(), re.MULTILINE):
            assert re.fullmatch(r"[0-9a-f]{40}  # v\d+\.\d+\.\d+", pin), f"{path.name}: {action}@{pin}"
            assert pins.setdefault(action, pin) == pin, f"{action} is pinned twice"
        assert path.read_text().count("uses:") == len(re.findall(r"uses: \S+@[0-9a-f]{40}  # v", path.read_text()))


def test_the_package_is_tried_on_every_python_it_is_for_and_on_the_lowest_pytorch():
    versions = jobs(GITHUB / "workflows" / "versions.yml")
    pythons = versions["python"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert [float(one) for one in pythons] == [3.11, 3.12, 3.13]
    (lowest,) = by_name(PROJECT["dependencies"])["torch"].specifier
    (script,) = (step["run"] for step in versions["lowest-pytorch"]["steps"] if "torch" in step.get("run", ""))
    found = subprocess.run(
        ["bash", "-e", "-c", script.replace(".venv/bin/python", "echo")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["-m", "pip", "install", f"torch=={lowest.version}"]


GH = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$1 $2" != "issue list" ] || cat "$OPEN"
"""


@pytest.mark.parametrize("open_issue", [True, False])
def test_the_weekly_run_opens_an_issue_and_not_a_second_one(open_issue, tmp_path):
    weekly = jobs(GITHUB / "workflows" / "weekly.yml")
    tell = weekly["tell"]
    assert set(tell["needs"]) == set(tell["strategy"]["matrix"]["job"]) == set(weekly) - {"tell"}
    assert tell["if"] == "${{ !cancelled() }}"  # also when a job it waits for has failed
    (step,) = tell["steps"]
    assert step["if"] == "needs[matrix.job].result != 'success'"
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "calls").touch()
    title = step["env"]["TITLE"].replace("${{ matrix.job }}", "links")
    (tmp_path / "open").write_text(f"{title}, and more\n" + (f"{title}\n" if open_issue else ""))
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "OPEN": str(tmp_path / "open"),
        "TITLE": title,
        "ON": "PyTorch 2.99. ",
        "RUN": "RUN-ADDRESS",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]  # as GitHub runs it
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("issue list --state open")
    created = [call for call in calls if call.startswith("issue create")]
    assert len(created) == len(calls) - 1 == (0 if open_issue else 1)
    told = "issue create --title Weekly run: links fails --body PyTorch 2.99. What went wrong: RUN-ADDRESS"
    assert set(created) <= {told}


def test_a_release_attaches_what_make_tarball_writes_and_the_wheel():
    attached = runs(GITHUB / "workflows" / "release.yml").splitlines()[-1]
    names = [f"_build/{name}" for name in tarball.NAMES]
    assert attached.split("--clobber ")[1].split() == ["_build/wheel/*.whl", *names]


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v0.3.0", "## 0.3.0 (2027-01-31)", ""),
        ("v0.2.0", "## 0.3.0 (2027-01-31)", "The tag is v0.2.0, and the package says v0.3.0."),
        ("v0.3.0", "## 0.3.0 (unreleased)", "CHANGELOG.md has no heading '## 0.3.0 ("),
    ],
)
def test_a_release_is_of_the_version_that_the_package_says_with_its_notes(tag, heading, said, tmp_path):
    (tmp_path / "gradclinic").mkdir()
    (tmp_path / "gradclinic" / "__init__.py").write_text('"""A package."""\n\n__version__ = "0.3.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Title\n\n{heading}\n\n- new\n\n### More\n\n## 0.2.0 (2026-01-31)\n\n- old\n"
    )
    (step,) = (
        step for step in jobs(GITHUB / "workflows" / "release.yml")["release"]["steps"] if step.get("id") == "notes"
    )
    result = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env={**os.environ, "GITHUB_REF_NAME": tag, "RUNNER_TEMP": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == bool(said)
    assert result.stdout.startswith(said)
    if not said:
        assert (tmp_path / "notes.md").read_text().split() == ["-", "new", "###", "More"]


# --- forms and habits ------------------------------------------------------------------------------------------------

# GitHub's form schema: what an element may say, by its type. All but Markdown needs a label and takes an id.
ATTRIBUTES = {
    "markdown": {"value"},
    "input": {"label", "description", "placeholder", "value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}


def test_there_is_a_form_for_a_claim_an_exercise_and_a_diagnosis():
    assert {path.stem for path in FORMS} == {"claim", "exercise", "diagnosis"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_such_as_github_understands(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) == {"name", "description", "title", "body"}
    assert all(isinstance(form[key], str) and form[key].strip() for key in ("name", "description", "title"))
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    for key in ("id", "label"):
        values = [part[key] if key == "id" else part["attributes"][key] for part in asked]
        assert len(set(values)) == len(values) > 0, f"each {key} once"
    for part in form["body"]:
        assert set(part) <= {"type", "id", "attributes", "validations"}
        assert set(part["attributes"]) <= ATTRIBUTES[part["type"]]
        assert part.get("validations", {"required": True}) == {"required": True}
        assert all(isinstance(value, (str, list)) and value for value in part["attributes"].values())
        if part["type"] != "markdown":
            assert re.fullmatch(r"[a-z_-]+", part["id"])
        if part["type"] == "dropdown":
            options = part["attributes"]["options"]
            assert len(set(options)) == len(options) > 1
            assert all(isinstance(option, str) for option in options)
    assert any("validations" in part for part in asked), "an empty form helps nobody"


def test_updates_are_watched_wherever_something_is_pinned():
    watched = yaml.safe_load((GITHUB / "dependabot.yml").read_text())
    assert watched["version"] == 2
    places = {
        part["package-ecosystem"]: part.get("directories", [part.get("directory")]) for part in watched["updates"]
    }
    assert places == {"github-actions": ["/"], "pip": ["/", "/benchmarks"], "npm": ["/"]}
    for part in watched["updates"]:
        assert part["schedule"] == {"interval": "weekly"}
        assert [group["patterns"] for group in part["groups"].values()] == [["*"]]
    for folder in places["pip"]:
        assert (ROOT / folder.strip("/") / "requirements.txt").exists()


def test_what_a_commit_is_asked_is_pinned_and_runs_the_tools_of_make_lint():
    local, *others = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    commands = [shlex.split(hook["entry"]) for hook in local["hooks"]]
    assert [command[:2] for command in commands[:2]] == [[".venv/bin/ruff", "check"], [".venv/bin/ruff", "format"]]
    assert all(re.fullmatch(r"[0-9a-f]{40}", repository["rev"]) for repository in others)
    hook = [sys.executable, *commands[2][1:]]
    labs = [str(path) for path in (ROOT / "labs").glob("*/*.ipynb")]
    assert subprocess.run([*hook, *labs], check=False).returncode == 0
    assert subprocess.run([*hook, "README.md"], cwd=ROOT, check=False, capture_output=True).returncode == 1


def test_the_development_container_has_what_the_tests_look_for():
    folder = ROOT / ".devcontainer"
    container = json.loads((folder / "devcontainer.json").read_text())
    assert container["image"].startswith("mcr.microsoft.com/devcontainers/python:3.11-")
    assert container["postCreateCommand"] == "bash .devcontainer/setup"
    script = (folder / "setup").read_text()
    subprocess.run(["bash", "-n", folder / "setup"], check=True)
    assert {"make", "chromium", "bubblewrap"} <= set(script.split())
    assert script.splitlines()[-1] == "make setup"


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
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "make book" in result.stderr
    assert "Traceback" not in result.stderr
    assert [(tmp_path / "out" / name).read_bytes() for name in tarball.NAMES] == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(tarball.NAMES)
