"""Networks with faults, and what a recorder saw of them: what the exercises of lab 10 are tried on."""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course.data import digits
from gradclinic.course.exercises.draws import new_seed, over_decades, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case
from gradclinic.course.models import MLP
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.rules.limits import EXPLODES_ABOVE, MOSTLY, UPDATE_TOO_LARGE, VANISHES_BELOW

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
    """Shares of dead units and update ratios, (steps, layers), of real runs and of made ones."""
    generator = seeded(seed + 1)
    return shuffled(generator, real_lines(seed) + _made_lines(generator))


def real_lines(seed: int) -> list[Case]:
    """Of real runs in which one thing leads to the next: two with a layer that is dead from the first step, two with
    updates that become too long, and a healthy one."""
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


def _made_lines(generator: torch.Generator) -> list[Case]:
    """Time lines of any size, with symptoms on the limits and beside them, in the first place and in the last."""

    def line(*symptoms: tuple[int, int, int, float], steps: int = 0, layers: int = 0) -> Case:
        """``symptoms``: step and layer, from 0, or from the end; 0 for dead units or 1 for the update; the value."""
        steps, layers = steps or whole(generator, 5, 9), layers or whole(generator, 5, 9)
        dead = 0.85 * torch.rand(steps, layers, generator=generator, dtype=torch.float64)
        update = 0.15 * torch.rand(steps, layers, generator=generator, dtype=torch.float64)
        for step, layer, which, value in symptoms:
            (dead, update)[which][step, layer] = value
        return dead, update

    def high() -> float:
        return uniform(generator, 0.91, 1)

    def long() -> float:
        return uniform(generator, 0.21, 0.9)

    step, later = whole(generator, 1, 2), whole(generator, 3, 4)
    low, up = whole(generator, 0, 1), whole(generator, 2, 4)
    return [
        line((step, up, 0, 0.9), (later, low, 0, 1.0)),  # on the limit; an earlier step, but a later layer
        line((step, up, 1, 0.2), (later, low, 1, long())),  # 0.2 is not more than 0.2
        line((step, up, 1, 0.2), (later, low, 0, 0.8999), (later, up, 1, 0.2001)),
        line((step, up, 0, high()), (step, low, 1, 5.0)),  # both in one step: dead units, though of a later layer
        line((step, low, 0, 0.91), (step, up, 0, 1.0)),  # the nearest, not the worst
        line((step, low, 1, 0.21), (step, up, 1, 9.0), (later, 0, 1, 50.0)),
        line((later, up, 0, 1.0), (step, up, 1, long())),
        line((0, 0, 0, high()), (1, 1, 1, long())),
        line((0, 0, 1, long())),
        line((-1, -1, 0, high())),
        line((-1, -1, 1, long())),
        line((-1, 0, 1, long()), (-1, -1, 0, high())),
        line(),
        line((0, 0, 0, 0.8999), (1, 0, 1, 0.2)),
        line((0, 0, 1, long()), steps=1, layers=1),
        line((0, up, 0, high()), steps=1),
        line((step, 0, 0, high()), layers=1),
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
        cases.append(tuple(torch.from_numpy(np.array(row)) for row in rows))
    return shuffled(generator, cases + _made_steps(generator))


def _made_steps(generator: torch.Generator) -> list[Case]:
    """First steps of networks of 2 to 15 layers, with numbers on the limits and beside them."""

    def step(
        ratio: float = 1.0,
        longest: float = 0.01,
        dead: Sequence[tuple[int, float]] = (),
        layers: int = 0,
        at: int | None = None,
    ) -> Case:
        layers = layers or whole(generator, 4, 15)
        silent = 0.85 * torch.rand(layers, generator=generator, dtype=torch.float64)
        for layer, share in dead:
            silent[layer] = share
        gradient = torch.exp(torch.linspace(math.log(ratio), 0, layers, dtype=torch.float64))
        gradient[1:-1] *= 0.5 + torch.rand(layers - 2, generator=generator, dtype=torch.float64)
        gradient[0], gradient[-1] = ratio, 1.0
        update = longest * (0.2 + 0.7 * torch.rand(layers, generator=generator, dtype=torch.float64))
        update[whole(generator, 0, layers - 1) if at is None else at] = longest
        return silent, gradient * 2.0 ** whole(generator, -20, 20), update

    def high() -> float:
        return uniform(generator, 0.91, 1)

    def long() -> float:
        return uniform(generator, 0.3, 3)

    def faded() -> float:
        return over_decades(generator, 1e-8, 5e-4)

    up = whole(generator, 2, 3)
    return [
        step(dead=[(up, MOSTLY)]),
        step(faded(), long(), dead=[(0, high()), (up, 1.0)]),
        step(over_decades(generator, 200, 1e6), long(), dead=[(-1, high())]),
        step(faded(), long(), dead=[(1, high()), (up, high())]),
        step(longest=long(), dead=[(up, 0.8999)]),
        step(VANISHES_BELOW, long()),
        step(EXPLODES_ABOVE, long()),
        step(VANISHES_BELOW * 0.99),
        step(EXPLODES_ABOVE * 1.01),
        step(VANISHES_BELOW * 1.01, 0.01),
        step(over_decades(generator, 0.01, 0.1), long(), at=0),
        step(over_decades(generator, 5, 50), long(), at=-1),
        step(longest=UPDATE_TOO_LARGE),
        step(longest=UPDATE_TOO_LARGE * 1.01),
        step(longest=UPDATE_TOO_LARGE * 0.99),
        step(longest=uniform(generator, 1e-6, 1e-4)),
        step(faded(), long(), layers=2),
        step(over_decades(generator, 200, 1e6), 1e-5, layers=3),
    ]
