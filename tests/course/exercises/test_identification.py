"""Lab 04: the references, against the fault that was put in, and a peer library."""

import statistics
from fractions import Fraction
from itertools import pairwise

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
        other = answer.double() + torch.linspace(-0.1, 0.1, answer.shape[1], dtype=torch.float64)
        worse = cross_entropy(other, labels).item()
        assert worse > cross_entropy(answer.double(), labels).item(), "no other constant answer does better"


@every_seed
def test_the_gradient_is_blocked_at_the_layer_whose_units_are_stuck(seed):
    generator = torch.Generator().manual_seed(seed)
    for activation, bias in (("tanh", 2.0), ("relu", -20.0), ("tanh", 3.0)):
        layer = 3 + int(torch.randint(3, (), generator=generator))
        norms = identification.blocked_network(generator, activation, bias, layer)
        assert identification.BLOCKED_AT.reference(norms) == layer
    for (norms,) in identification.BLOCKED_AT.cases(seed):  # by exact fractions
        shares = {n + 1: Fraction(a) / Fraction(b) for n, (a, b) in enumerate(pairwise(norms.tolist())) if b}
        assert identification.BLOCKED_AT.reference(norms) == min(shares, key=shares.get)


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
    """Short runs on real digits, with the fault that was put in; the one without lasts until it is well."""
    runs = []
    for kind, depth, init, lr, bias, epochs in (
        ("healthy", 3, "he", 3e-3, None, 6),
        ("vanishing", 16, 0.5, 1e-3, None, 2),
        ("exploding", 16, 4.0, 1e-3, None, 2),
        ("dying ReLU", 6, "he", 1e-3, -20.0, 2),
        ("learning rate too high", 6, "he", 0.5, None, 2),
        ("learning rate too low", 4, "he", 1e-7, None, 2),
    ):
        model = MLP(depth, 32, "relu", init, seed=0)
        if bias is not None:
            torch.nn.init.constant_(model.layer3.bias, bias)
        recorder = Recorder(model, every=1)
        fit(model, digits(), torch.optim.Adam(model.parameters(), lr), epochs, progress=False, recorder=recorder)
        runs.append((recorder.record, kind))
    return runs


@every_seed
def test_macro_f1_is_that_of_a_peer_library(seed):
    for truth, said in identification.MACRO_F1.cases(seed):
        expected = f1_score(truth, said, labels=truth.unique(), average="macro", zero_division=0.0)
        assert identification.MACRO_F1.reference(truth, said) == pytest.approx(expected)
