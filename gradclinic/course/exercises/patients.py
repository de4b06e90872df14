"""Networks with faults, and what a recorder saw of them: what the exercises of lab 10 are tried on."""

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course.data import digits
from gradclinic.course.exercises.draws import new_seed, seeded, uniform, whole
from gradclinic.course.exercises.exercise import Case
from gradclinic.course.models import MLP
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.rules.limits import MOSTLY

DEPTH, WIDTH = 16, 48  # of the patient
STEPS = 8  # of a time line


def linear_layers(model: MLP) -> list[nn.Linear]:
    return [module for module in model if isinstance(module, nn.Linear)]


def _fill_biases(model: MLP, layer: int, value: float) -> None:
    with torch.no_grad():
        linear_layers(model)[layer - 1].bias.fill_(value)


def patient(seed: int) -> tuple[MLP, float]:
    """A network of 16 ReLU layers that does not learn, and the learning rate that Adam was given with it."""
    generator = seeded(seed)
    model = MLP(DEPTH, WIDTH, "relu", uniform(generator, 0.35, 0.45), seed=seed)
    _fill_biases(model, whole(generator, 3, 8), -50.0)
    return model, uniform(generator, 0.2, 0.4)


def _recorded(
    model: MLP, optimizer: torch.optim.Optimizer, steps: int = 1, before: Callable[[int], None] = lambda step: None
) -> Record:
    """A few steps on the same 512 digits, enough to call a unit dead; ``before`` each of them something may change."""
    data = digits()
    x, y = data.x_train[:512], data.y_train[:512]
    with Recorder(model) as recorder:
        for step in range(steps):
            before(step)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    return recorder.record


@functools.lru_cache(maxsize=8)  # every mistake is tried on the same runs
def time_lines(seed: int) -> list[Case]:
    """Shares of dead units and update ratios, (steps, layers), of real runs in which one thing leads to the next."""
    generator = seeded(seed)

    def run(first_dead: int = 0, others: float = 0.0, jump: int = 0, at: int = 0) -> Case:
        """``first_dead``: a layer without living units, ``others`` the biases of those above it. ``jump``: the step at
        which the learning rate becomes too high, of layer ``at`` or of all."""
        model = MLP(9, 32, "relu", "he", seed=new_seed(generator))
        if first_dead:
            for number in range(first_dead + 1, 10):
                _fill_biases(model, number, others)
            _fill_biases(model, first_dead, -50.0)
        layers = linear_layers(model)
        optimizer = torch.optim.Adam([{"params": list(layer.parameters())} for layer in layers], 1e-3)
        rate = uniform(generator, 0.3, 0.5)

        def before(step: int) -> None:
            for number, group in enumerate(optimizer.param_groups, 1):
                if jump and step + 1 >= jump and number <= 9 and at in (0, number):
                    group["lr"] = rate

        record = _recorded(model, optimizer, STEPS, before)
        return torch.from_numpy(record.dead), torch.from_numpy(record.update_ratio[:, :9])

    all_jump = run(jump=whole(generator, 2, 4))
    while not (all_jump[0] >= MOSTLY).any():  # keep one in which units die of it
        all_jump = run(jump=whole(generator, 2, 4))
    return [
        run(first_dead=whole(generator, 3, 6)),  # and with it all above it
        run(first_dead=whole(generator, 3, 6), others=0.1, jump=1),  # those above live on, and move too far
        run(jump=whole(generator, 3, 5), at=whole(generator, 3, 6)),  # one layer has too high a rate, later
        all_jump,
        run(),  # healthy
    ]


@functools.lru_cache(maxsize=8)
def first_steps(seed: int) -> list[Case]:
    """One recorded step of networks with one fault, with several, and with none: dead, gradient, update ratio."""
    generator = seeded(seed)
    cases = []
    for first_dead, low, high, rate in (
        (True, 0.45, 0.55, 0.3),
        (False, 0.45, 0.55, 0.3),
        (False, 3.5, 4.5, 0.5),
        (False, math.sqrt(2), math.sqrt(2), 0.3),
        (False, math.sqrt(2), math.sqrt(2), 1e-3),
    ):
        depth, std = whole(generator, 10, 12), uniform(generator, low, high)
        model = MLP(depth, 32, "relu", std, seed=new_seed(generator))
        if first_dead:
            _fill_biases(model, whole(generator, 3, 6), -50.0)
        record = _recorded(model, torch.optim.Adam(model.parameters(), rate * uniform(generator, 0.8, 1.2)))
        rows = (record.dead[0], record.output_gradient_norm[0, :-1], record.update_ratio[0, :-1])
        cases.append(tuple(torch.from_numpy(np.ascontiguousarray(row)) for row in rows))
    return cases
