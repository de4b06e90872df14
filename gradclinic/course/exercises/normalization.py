"""Lab 06: batch normalisation written out, its running means, and what it multiplies a gradient by."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gradclinic.course import theory
from gradclinic.course.exercises.curves import Curve, Kink
from gradclinic.course.exercises.draws import normal, seeded, shuffled, sign, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab

# --- 6.1: one forward pass -------------------------------------------------------------------------------------------


def _pre_activations(seed: int) -> list[Case]:
    """Batches of one example and of many, an eps that shows, gammas of either sign, and units that do not vary."""
    generator = seeded(seed)
    cases = []
    for size, units, eps in (
        (8, whole(generator, 3, 5), 1e-5),
        (6, 6, 1e-3),
        (whole(generator, 2, 5), whole(generator, 6, 9), uniform(generator, 0.05, 0.5)),
        (whole(generator, 10, 20), 1, uniform(generator, 1, 2)),
        (1, whole(generator, 2, 4), 1e-3),
        (4, 3, 1e-5),
    ):
        spread = torch.linspace(0.5, 3, units, dtype=torch.float64)
        z = normal(generator, size, units) * spread + 2 * normal(generator, units)
        gamma, beta = 1.5 * normal(generator, units), 2 * normal(generator, units)
        cases.append((z, gamma, beta, eps))
    cases[0][0][:, 2] = 0.75  # a unit that gives the same for every example
    cases[5][0][:, 0] *= 1e-3  # and one that nearly does
    return shuffled(generator, cases)


def _normalized(
    z: Tensor, gamma: Tensor, beta: Tensor, eps: float, dim: int = 0, correction: int = 0, power: float = 0.5
) -> Tensor:
    mean = z.mean(dim, keepdim=True)
    variance = (z - mean).square().sum(dim, keepdim=True) / (z.shape[dim] - correction)  # one example less one is 0/0
    return gamma * (z - mean) / (variance + eps) ** power + beta


NORMALIZED = Exercise(
    id="6.1-normalized",
    points=3,
    claims=("S16",),
    level="warm-up",
    minutes=15,
    cases=_pre_activations,
    reference=_normalized,
    atol=1e-7,
    mistakes=(
        Mistake(
            "over the units",
            partial(_normalized, dim=1),
            "You took the mean over the units of one example: that is layer normalisation. Batch normalisation goes "
            "along the examples, the first axis.",
            belief="Batch and layer normalisation do the same thing.",
        ),
        Mistake(
            "divided by one less",
            partial(_normalized, correction=1),
            "torch.var and torch.std divide by the number of examples less one. Here the plain mean of squares is "
            "meant: correction=0.",
        ),
        Mistake(
            "root forgotten",
            partial(_normalized, power=1.0),
            "You divided by the variance. Divide by its root.",
        ),
        Mistake(
            "eps outside the root",
            lambda z, gamma, beta, eps: gamma * (z - z.mean(0)) / (z.var(0, correction=0).sqrt() + eps) + beta,
            "You added eps to the root. Add it to the variance, and take the root of the sum.",
        ),
        Mistake(
            "eps forgotten",
            lambda z, gamma, beta, eps: _normalized(z, gamma, beta, 0.0),
            "One unit gives the same number for every example, and you divided 0 by 0. eps is there for that.",
        ),
        Mistake(
            "mean left in",
            lambda z, gamma, beta, eps: gamma * z / (z.var(0, correction=0) + eps).sqrt() + beta,
            "You divided by the spread, and left the mean in. Subtract it first.",
        ),
        Mistake(
            "gamma and beta without effect",
            lambda z, gamma, beta, eps: _normalized(z, torch.ones_like(gamma), torch.zeros_like(beta), eps),
            "Your gamma and beta change nothing. Multiply and add after the normalisation: before, they are taken away "
            "again.",
        ),
    ),
)

_mean = theory.gaussian_expectation


# --- 6.2: what is used after training --------------------------------------------------------------------------------


def _batches(seed: int) -> list[Case]:
    """From no batch to seven, of different sizes; a momentum of either half, and an eps that shows."""
    generator = seeded(seed)
    cases = []
    for seen, rows, momentum, eps in (
        (5, 3, uniform(generator, 0.03, 0.08), 1e-5),
        (whole(generator, 6, 8), whole(generator, 4, 6), uniform(generator, 0.25, 0.45), 1e-2),
        (whole(generator, 2, 4), 1, uniform(generator, 0.55, 0.9), uniform(generator, 0.1, 0.5)),
        (1, 2, uniform(generator, 0.1, 0.4), 1e-5),
        (3, whole(generator, 2, 4), 1.0, 1e-3),
        (0, 3, 0.1, uniform(generator, 0.2, 0.5)),
    ):
        units = whole(generator, 1, 5)
        shift, spread = 2 * normal(generator, units), 0.2 + normal(generator, units).abs()
        batches = [spread * normal(generator, whole(generator, 2, 9), units) + shift for _ in range(seen)]
        cases.append((batches, spread * normal(generator, rows, units) + shift, momentum, eps))
    return shuffled(generator, cases)


def _running(
    batches: list[Tensor],
    x: Tensor,
    momentum: float,
    eps: float,
    correction: int = 1,
    start: bool = True,
    power: float = 0.5,
) -> Tensor:
    mean, variance = torch.zeros_like(x[0]), torch.ones_like(x[0])
    if not start and batches:
        mean, variance = batches[0].mean(0), batches[0].var(0, correction=correction)
    for batch in batches:
        mean = (1 - momentum) * mean + momentum * batch.mean(0)
        variance = (1 - momentum) * variance + momentum * batch.var(0, correction=correction)
    return (x - mean) / (variance + eps) ** power


def _by_torch(batches: list[Tensor], x: Tensor, momentum: float, eps: float) -> Tensor:
    layer = torch.nn.BatchNorm1d(x.shape[1], eps=eps, momentum=momentum, affine=False, dtype=torch.float64)
    for batch in batches:
        layer(batch)
    evaluated: Tensor = layer.eval()(x)
    return evaluated


def _by_itself(batches: list[Tensor], x: Tensor, momentum: float, eps: float) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()


EVALUATED = Exercise(
    id="6.2-evaluated",
    points=3,
    claims=("S16",),
    level="core",
    minutes=20,
    after=("6.1-normalized",),
    cases=_batches,
    reference=_by_torch,
    mistakes=(
        Mistake(
            "left in training mode",
            _by_itself,
            "You normalised x by its own mean and spread, as in training. After training the running ones count: that "
            "is what model.eval() switches to.",
            belief="A network with batch normalisation is one function, in training and after.",
        ),
        Mistake(
            "momentum the wrong way round",
            lambda batches, x, momentum, eps: _running(batches, x, 1 - momentum, eps),
            "Here the momentum is the share of the *new* batch. You gave it to the old mean.",
        ),
        Mistake(
            "variance of the batch alone",
            partial(_running, correction=0),
            "Nearly. For the running variance torch estimates that of all data: it divides by the number of examples "
            "less one.",
        ),
        Mistake(
            "begun with the first batch",
            partial(_running, start=False),
            "The running mean begins at 0 and the running variance at 1, and the first batch gets its share like any "
            "other.",
        ),
        Mistake(
            "last batch only",
            lambda batches, x, momentum, eps: _running(batches[-1:], x, 1.0, eps),
            "You used the last batch alone. The running mean keeps a share of all of them.",
        ),
        Mistake(
            "root forgotten",
            partial(_running, power=1.0),
            "You divided by the running variance. Divide by its root.",
        ),
    ),
)


# --- 6.3: the factor per layer ---------------------------------------------------------------------------------------


def _activations(seed: int) -> list[Case]:
    """Curves with a mean and without, bent in several places, and kinks with any two slopes."""
    generator = seeded(seed)

    def step(steepness: float) -> tuple[float, float, float]:
        return sign(generator) * uniform(generator, 0.5, 2), steepness, sign(generator) * uniform(generator, 0.4, 1.5)

    def coefficient() -> float:
        return sign(generator) * uniform(generator, 0.2, 0.6)

    found: list[Callable[[Tensor], Tensor]] = [
        Kink(uniform(generator, 0.5, 2), uniform(generator, 0.1, 0.4)),
        Kink(uniform(generator, 0.3, 2), 0.0),
        Kink(uniform(generator, 0.2, 0.6), -uniform(generator, 0.7, 2)),
        Curve([step(uniform(generator, 1, 3))]),
        Curve([step(uniform(generator, 3, 5)), step(uniform(generator, 0.5, 1))]),
        Curve([step(uniform(generator, 0.5, 2))], [coefficient(), coefficient()]),
        Curve([step(1.0)], [0.1, 0.0, uniform(generator, 0.3, 0.6)]),
    ]
    return [(phi,) for phi in shuffled(generator, found)]


def _squared_slope(phi: Callable[[Tensor], Tensor]) -> float:
    return _mean(lambda z: theory.slope(phi, z) ** 2)


FACTOR = Exercise(
    id="6.3-norm_factor",
    points=3,
    claims=("S34",),
    level="stretch",
    minutes=20,
    after=("2.3-decay_factor", "6.1-normalized"),
    cases=_activations,
    reference=theory.batch_norm_factor,
    rtol=2e-2,  # so that a mean over random numbers will do
    atol=0.0,
    mistakes=(
        Mistake(
            "mean square for the variance",
            lambda phi: _squared_slope(phi) / _mean(lambda z: phi(z) ** 2),
            "You divided by the mean square. The normalisation takes the mean away, so only the variance of φ(z) is "
            "left to divide by.",
        ),
        Mistake(
            "mean slope, squared",
            lambda phi: _mean(lambda z: theory.slope(phi, z)) ** 2 / (_mean(lambda z: phi(z) ** 2) - _mean(phi) ** 2),
            "You squared the mean slope. Take the mean of the squared slope.",
        ),
        Mistake(
            "upside down",
            lambda phi: 1 / theory.batch_norm_factor(phi),
            "Slopes multiply the gradient, and the normalisation divides it by the spread: the variance stands below.",
        ),
        Mistake(
            "slope alone",
            _squared_slope,
            "This is what the activation does. The normalisation divides by the spread of what the activation gave.",
            belief="Normalisation acts on the signal, and leaves the gradient's factor as it was.",
        ),
        Mistake(
            "factor of the norm",
            lambda phi: theory.batch_norm_factor(phi) ** 0.5,
            "This is the factor of the norm. Asked for is that of the squared gradient.",
        ),
    ),
)


check = Lab("06-batch-normalization", (NORMALIZED, EVALUATED, FACTOR), after=("book/remedies/batch-normalization",))
