"""What README shows to a practitioner runs as it stands, with a model of theirs."""

import re

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic import Record, diagnose
from tests.helpers import ROOT
from tests.helpers.watched import same


def test_the_lines_for_a_run_of_ones_own_run_as_they_stand(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    batches = [(torch.randn(16, 6), torch.arange(16) % 3) for _ in range(40)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    theirs = {"model": model, "batches": batches, "optimizer": optimizer, "loss_function": cross_entropy}
    exec(block, theirs)
    record = theirs["record"]
    assert record.step.tolist() == list(range(1, 41))
    assert capsys.readouterr().out == f"{diagnose(record)}\n"
    same(Record.load("today.npz"), record)
    assert list((tmp_path / "runs" / "today").iterdir())
    for name in ("gradient_norm", "weight_norm", "update_ratio", "saturation", "dead", "loss", "first_nonfinite"):
        assert name in block
        assert hasattr(record, name)


def test_the_files_and_classes_that_are_named_are_there():
    text = (ROOT / "README.md").read_text()
    for module in ("lightning", "transformers"):
        assert f"`gradclinic.{module}.DiagnosisCallback`" in text
        assert "class DiagnosisCallback" in (ROOT / "gradclinic" / f"{module}.py").read_text()
    assert "python -m gradclinic diagnose today.npz" in text
