"""``python -m gradclinic``: a saved run is diagnosed for people and for programs; what goes wrong is said in a line."""

import json
import math
import tomllib

import numpy as np
import pytest
import torch
from torch import nn

import gradclinic
import gradclinic.__main__ as command
from gradclinic import Record, Recorder, diagnose
from tests.helpers import ROOT
from tests.helpers.bare import Bare


def trained(learning_rate: float, steps: int = 60) -> Record:
    """Of a small network that learns by which of two classes a point was drawn, or does not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    y = torch.arange(64) % 2
    x = torch.randn(64, 2) / 4 + y[:, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    with Recorder(model, every=1, chance_loss=math.log(2)) as recorder:
        for _ in range(steps):
            loss = nn.functional.cross_entropy(model(x), y)
            recorder.log_loss(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return recorder.record


RUNS = {  # kind of diagnosis -> learning rate, steps, exit status
    "healthy": (0.5, 60, 0),
    "undecided": (1e-6, 5, 0),
    "learning rate too low": (1e-6, 60, 1),
}


@pytest.mark.parametrize("kind", RUNS)
def test_the_status_says_whether_a_fault_was_found(kind, tmp_path, capsys):
    rate, steps, status = RUNS[kind]
    record = trained(rate, steps)
    record.save(tmp_path / "run.npz")
    assert command.main(["diagnose", str(tmp_path / "run.npz")]) == status
    assert capsys.readouterr().out == f"{diagnose(record)}\n"
    assert diagnose(record).kind == kind
    assert command.main(["diagnose", "--json", str(tmp_path / "run.npz")]) == status
    assert json.loads(capsys.readouterr().out) == diagnose(record).to_dict()


def missing(folder):
    return folder / "nothing.npz"


def a_folder(folder):
    return folder


def no_record(folder):
    np.savez(folder / "other.npz", a=np.zeros(3))
    return folder / "other.npz"


def cut_off(folder):
    trained(0.5, 3).save(folder / "whole.npz")
    (folder / "half.npz").write_bytes((folder / "whole.npz").read_bytes()[:500])
    return folder / "half.npz"


@pytest.mark.parametrize("file", [missing, a_folder, no_record, cut_off])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_file_that_cannot_be_read_is_named_in_one_line(file, options, tmp_path, capsys):
    path = file(tmp_path)
    assert command.main(["diagnose", str(path), *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("python -m gradclinic diagnose: ")
    assert str(path) in said.err


def test_the_help_tells_what_the_status_means(capsys):
    with pytest.raises(SystemExit):
        command.main(["diagnose", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Exit status: 0 for a run that is healthy or undecided, 1 for a fault, 2 if FILE cannot be read." in said


@pytest.mark.parametrize("arguments", [[], ["train"], ["demo", "--fast"], ["diagnose"]])
def test_anything_else_is_answered_with_how_to_call_it(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        command.main(arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.startswith("usage: python -m gradclinic")
    assert any(words in said for words in ("command", "unrecognized arguments: --fast", "required: FILE"))


def test_the_version_stands_in_one_place(capsys):
    with pytest.raises(SystemExit) as left:
        command.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"gradclinic {gradclinic.__version__}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gradclinic.__version__"}


@pytest.mark.parametrize("library", command.LIBRARIES)
def test_without_its_libraries_the_demonstration_says_in_one_line_what_to_install(library, tmp_path):
    ended = Bare(tmp_path, {library}, ROOT).run("-m", "gradclinic", "demo")
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"No module named '{library}" in ended.stderr
    assert ended.stderr.endswith("pip install scipy scikit-learn tqdm\n")


def test_the_demonstration_needs_no_library_beside_those_it_names(tmp_path):
    bare = Bare(tmp_path, {"matplotlib", "ipywidgets", "IPython", "lightning", "transformers"}, ROOT)
    ended = bare.run("-c", "import gradclinic.course.demo")
    assert ended.returncode == 0, ended.stderr
