"""The tool stands without the course: as a wheel, in an interpreter that has torch and numpy and no more."""

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT
from tests.helpers.bare import Bare
from tests.helpers.imports import COURSE, PACKAGE, imported

# What the course and the extras need; none of it is there when a stranger installs the tool.
ABSENT = ("scipy", "sklearn", "matplotlib", "ipywidgets", "anywidget", "IPython", "joblib", "tqdm", "tensorboard")
ABSENT += ("lightning", "pytorch_lightning", "transformers", "accelerate", "cloudpickle", "pandas")

# What a file of the tool may import beside Python's own modules, torch and numpy: its extra.
EXTRAS = {"plots": {"matplotlib"}, "lightning": {"lightning"}, "transformers": {"transformers"}}

TRAINING = """
import json
import math
import sys

import torch
from torch import nn

import gradclinic
from gradclinic import Record, Recorder, diagnose, probe

torch.manual_seed(0)
model = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(8, 8), nn.Sigmoid())], nn.Linear(8, 2))
x, y = torch.randn(64, 8), torch.arange(64) % 2
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Recorder(model, chance_loss=math.log(2), histograms=True) as recorder:
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(x), y)
        recorder.log_loss(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
recorder.record.save("run.npz")
again = Record.load("run.npz")
assert len(probe(model, x, y).step) == 1
told = diagnose(again)
print(json.dumps({"file": gradclinic.__file__, "modules": sorted(sys.modules), "diagnosis": told.to_dict()}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy: an earlier build in the tree would leave its files in it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns("__pycache__", ".*", "_build", "build", "node_modules", "*.egg-info")
    for folder in ("gradclinic", "tests", "tools", "benchmarks"):  # those that must not be in it are there too
        shutil.copytree(ROOT / folder, source / folder, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run(
        [*command, "--wheel-dir", str(built), str(source)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Bare:
    installed = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return Bare(tmp_path_factory.mktemp("bare"), ABSENT, installed)


@pytest.fixture(scope="module")
def seen(bare) -> dict:
    """What a small training with the bare tool said; its record is kept in run.npz."""
    ended = bare.run("-c", TRAINING)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


# --- the wheel -------------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_package_its_types_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for kind in ("py", "js", "css", "wasm", "txt") for path in PACKAGE.rglob(f"*.{kind}")]
    wanted = {str(path.relative_to(ROOT)) for path in files}
    assert "gradclinic/py.typed" in held
    assert held - {"gradclinic/py.typed"} == wanted


def test_the_wheel_asks_for_torch_and_numpy_and_has_the_version_of_the_package(wheel):
    import gradclinic

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(archive.read(name).decode())
    assert (told["Name"], told["Version"]) == ("gradclinic", gradclinic.__version__)
    needed = [Requirement(line) for line in told.get_all("Requires-Dist")]
    assert {r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})} == {"torch", "numpy"}
    assert set(told.get_all("Provides-Extra")) >= {"plots", "course", "tensorboard", "lightning", "transformers"}


# --- without everything else -----------------------------------------------------------------------------------------


def test_what_should_be_absent_is(bare):
    code = f"""
for library in {ABSENT}:
    try:
        __import__(library)
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert bare.run("-c", code).stdout.split() == list(ABSENT)


def test_a_network_is_recorded_saved_loaded_and_diagnosed(seen, bare):
    assert "installed" in seen["file"], "the wheel is tried, and not the tree"
    assert seen["diagnosis"]["kind"] == "vanishing"
    assert seen["diagnosis"]["remedies"][0]["page"] == "remedies/activations"


def test_nothing_of_the_course_and_no_extra_is_imported(seen):
    modules = set(seen["modules"])
    assert not {name for name in modules if name.startswith("gradclinic.course")}
    extras = ("plots", "tensorboard", "monitor", "lightning", "transformers")
    assert not {f"gradclinic.{name}" for name in extras} & modules
    assert not {name.split(".")[0] for name in modules} & set(ABSENT)


def test_the_package_loads_no_library_that_torch_has_not_loaded(bare):
    """How long that takes is measured in benchmarks/import_time.py."""
    code = "import sys, torch; before = set(sys.modules); import gradclinic; print(*sorted(set(sys.modules) - before))"
    loaded = bare.run("-c", code).stdout.split()
    assert "gradclinic.recorder" in loaded
    assert {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) == {"gradclinic"}


def test_the_command_prints_the_diagnosis_of_the_saved_run(seen, bare):
    ended = bare.run("-m", "gradclinic", "diagnose", "run.npz", "--json")
    assert ended.returncode == 1, ended.stderr
    assert json.loads(ended.stdout) == seen["diagnosis"]
    ended = bare.run("-m", "gradclinic", "diagnose", "run.npz")
    assert ended.stdout.startswith(f"Diagnosis after {seen['diagnosis']['steps']} steps: vanishing\n")


@pytest.mark.parametrize(
    ("code", "install"),
    [
        ("import gradclinic.plots", "pip install matplotlib"),
        ("import gradclinic.lightning", "pip install lightning"),
        ("import gradclinic.transformers", "pip install transformers accelerate"),
        ("from gradclinic import Record, tensorboard as t; t.write(Record.load('run.npz'), 'new')", "tensorboard"),
        ("import runpy, sys; sys.argv[1:] = ['demo']; runpy.run_module('gradclinic', run_name='__main__')", "scipy"),
    ],
)
def test_what_needs_a_library_says_which_one_to_install(code, install, bare, seen):
    ended = bare.run("-c", code)
    assert ended.returncode != 0
    last = ended.stderr.strip().splitlines()[-1]
    assert "pip install" in last
    assert install in last
    assert "gradclinic[" not in last, "nobody is told to fetch this package itself from an index"


# --- as it is written ------------------------------------------------------------------------------------------------


TOOL = sorted(path for path in PACKAGE.rglob("*.py") if COURSE not in path.parents)


@pytest.mark.parametrize("path", TOOL, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_of_the_tool_imports_no_course_and_no_library_but_torch_numpy_and_its_extra(path):
    tree = ast.parse(path.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if node.module]
    allowed = set(sys.stdlib_module_names) | {"gradclinic", "torch", "numpy"}
    allowed |= EXTRAS.get(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), set())
    assert {name.split(".")[0] for name in names} <= allowed
    if path.name != "__main__.py":
        assert "course" not in imported(path.read_text())


def test_the_command_opens_the_course_only_when_the_demonstration_is_asked_for():
    source = (PACKAGE / "__main__.py").read_text()
    assert "course" in imported(source)
    outside = "\n".join(ast.unparse(node) for node in ast.parse(source).body if not isinstance(node, ast.FunctionDef))
    assert "course" not in imported(outside)
