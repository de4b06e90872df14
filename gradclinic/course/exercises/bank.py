"""Runs that are trained on the spot, with a fault or without: what the rules of lab 04 are scored on."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from gradclinic.course.data import digits
from gradclinic.course.exercises.identification import KINDS
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.record import Record
from gradclinic.recorder import Recorder

Trainer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def watched(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = 3) -> Record:
    """The record of every step of a training on the digits."""
    recorder = Recorder(model, histograms=True, every=1)
    fit(model, digits(), optimizer, epochs, batch_size=71, progress=False, recorder=recorder)
    return recorder.record


def _adam(rate: float) -> Trainer:
    return lambda parameters: torch.optim.Adam(parameters, rate)


def _sgd(rate: float) -> Trainer:
    return lambda parameters: torch.optim.SGD(parameters, rate)


def mystery_runs() -> dict[str, tuple[str, Record]]:
    """Name -> (true kind, record): four faults and a healthy run, in no order."""
    quick, slow = MLP(6, 48, "relu", "he", seed=1), MLP(4, 48, "relu", "he", seed=2)
    wild, mute = MLP(16, 48, "tanh", 6.0, seed=3), MLP(8, 48, "relu", "he", seed=4)
    idle = MLP(2, 256, "relu", "he", seed=5)
    for layer, value in ((mute.layer4, -20.0), (idle.layer1, -4.5)):
        nn.init.constant_(layer.bias, value)
    return {
        name: (KINDS[kind], watched(model, train(model.parameters()), epochs))
        for name, kind, model, train, epochs in (
            ("red", 4, quick, _adam(0.5), 3),
            ("blue", 5, slow, _sgd(1e-5), 3),
            ("green", 2, wild, _sgd(0.05), 3),
            ("grey", 3, mute, _sgd(0.05), 3),
            ("white", 0, idle, _adam(3e-3), 8),
        )
    }


def small_bank() -> list[tuple[str, Record]]:
    """Pairs of (true kind, record). Each fault was put into a network that works without it."""
    return [
        (KINDS[kind], watched(model := MLP(depth, 48, activation, init, seed=6), train(model.parameters()), epochs=4))
        for kind, depth, activation, init, train in (
            (0, 4, "relu", "he", _adam(3e-3)),
            (0, 8, "tanh", "xavier", _sgd(0.1)),
            (0, 2, "sigmoid", "xavier", _adam(1e-2)),
            (1, 16, "sigmoid", "xavier", _adam(1e-3)),
            (1, 20, "relu", 0.7, _sgd(0.05)),
            (2, 16, "relu", 4.0, _adam(1e-3)),
            (4, 8, "tanh", "xavier", _sgd(10.0)),
            (5, 8, "tanh", "xavier", _adam(2e-7)),
        )
    ]
