"""Lab 04: the references, against the fault that was put in, and a peer library."""

import statistics

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy

from gradclinic import Recorder, diagnose
from gradclinic.course.data import digits
from gradclinic.course.exercises import identification
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from tests.helpers.seeds import every_seed


@every_seed
def test_against_guessing_divides_by_the_best_constant_answer(seed):
    for losses, labels in identification.AGAINST_GUESSING.cases(seed):
        counts = torch.bincount(labels)
        answer = (counts / counts.sum()).log().expand(len(labels), -1)  # scores of who ignores the input
        guessing = cross_entropy(answer, labels).item()
        expected = statistics.median(losses[-20:].tolist()) / guessing
        assert identification.AGAINST_GUESSING.reference(losses, labels).item() == pytest.approx(expected, rel=1e-5)
        worse = cross_entropy(answer + 0.1 * torch.randn(answer.shape[1]), labels).item()
        assert worse > guessing, "no other constant answer does better"


@every_seed
def test_the_gradient_is_blocked_at_the_layer_whose_units_are_stuck(seed):
    generator = torch.Generator().manual_seed(seed)
    for (norms,) in identification.BLOCKED_AT.cases(seed):  # the cases draw the layer first, then the network
        layer = 3 + int(torch.randint(3, (), generator=generator))
        torch.randint(2**31, (), generator=generator)
        torch.randn(32, 64, generator=generator)
        torch.randint(10, (32,), generator=generator)
        assert identification.BLOCKED_AT.reference(norms) == layer


def test_which_fault_agrees_with_diagnose_on_real_runs(bench_runs):
    for record, kind in bench_runs:
        assert diagnose(record).kind == kind
        ratios = record.update_ratio[:10]
        norms = record.output_gradient_norm[0, :-1]
        summary = (
            np.median(record.loss[-20:]) / record.chance_loss,
            norms[0] / norms[-1] if norms[-1] > 0 else 0.0,
            np.nanmax(record.dead[0]),
            np.nanmax(record.dead[-1]),
            np.nanmedian(ratios, axis=1).max(),
        )
        assert identification.KINDS[identification.WHICH_FAULT.reference(*summary)] == kind


@pytest.fixture
def bench_runs():
    """Four short runs on real digits, with the fault that was put in."""
    runs = []
    for kind, depth, init, lr, bias in (
        ("healthy", 3, "he", 3e-3, None),
        ("vanishing", 16, 0.5, 1e-3, None),
        ("exploding", 16, 4.0, 1e-3, None),
        ("dying ReLU", 6, "he", 1e-3, -20.0),
        ("learning rate too high", 6, "he", 0.5, None),
        ("learning rate too low", 4, "he", 1e-7, None),
    ):
        model = MLP(depth, 32, "relu", init, seed=0)
        if bias is not None:
            torch.nn.init.constant_(model.layer3.bias, bias)
        recorder = Recorder(model, every=1)
        fit(model, digits(), torch.optim.Adam(model.parameters(), lr), 2, progress=False, recorder=recorder)
        runs.append((recorder.record, kind))
    return runs


@every_seed
def test_macro_f1_is_that_of_a_peer_library(seed):
    for truth, said in identification.MACRO_F1.cases(seed):
        expected = f1_score(truth, said, average="macro")
        assert identification.MACRO_F1.reference(truth, said) == pytest.approx(expected)
