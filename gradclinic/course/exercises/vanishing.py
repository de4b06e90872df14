"""Lab 02: measure a vanishing gradient, predict it, and find the depth that is spared."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.exercises.draws import seeded, uniform
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab
from gradclinic.course.models import MLP
from gradclinic.recorder import probe

# --- 2.1: the steepest slope -----------------------------------------------------------------------------------------


def _scaled(z: Tensor, function: str, height: float, narrowness: float) -> Tensor:
    """Shifted up so far that its output never comes near 0, where it is steepest."""
    return height * (theory.activation_function(function)(narrowness * z) + 2)


def _functions(seed: int) -> list[Case]:
    generator = seeded(seed)
    return [
        (partial(_scaled, function=name, height=uniform(generator, 0.5, 3), narrowness=narrowness),)
        for name in ("sigmoid", "tanh")
        for narrowness in (1.0, uniform(generator, 0.5, 2))
    ]


def _grid() -> Tensor:
    return torch.linspace(-5, 5, 1001, dtype=torch.float64)


STEEPEST = Exercise(
    id="2.1-steepest",
    points=2,
    claims=("S5",),
    level="warm-up",
    minutes=10,
    cases=_functions,
    reference=lambda phi: theory.slope(phi, _grid()).max(),
    rtol=1e-3,
    mistakes=(
        Mistake(
            "largest value",
            lambda phi: phi(_grid()).max(),
            "This is the largest value of the function. Asked for is the largest value of its derivative.",
        ),
        Mistake(
            "derivative at the output",
            lambda phi: theory.slope(phi, phi(_grid())).max(),
            "You differentiated at φ(z), the output. The slope is taken at the input z.",
        ),
        Mistake(
            "slope at one point",
            lambda phi: theory.slope(phi, torch.ones(1, dtype=torch.float64))[0],
            "This is the slope at z = 1. Look at many points, and take the largest.",
        ),
        Mistake(
            "mean slope",
            lambda phi: theory.slope(phi, _grid()).mean(),
            "This is the slope on average over the grid. Asked for is the largest.",
        ),
    ),
)

_mean = theory.gaussian_expectation


# --- 2.2: one norm per layer -----------------------------------------------------------------------------------------


def _batches(seed: int) -> list[Case]:
    generator = seeded(seed)
    cases = []
    for depth, activation in ((3, "sigmoid"), (6, "tanh")):
        model = MLP(depth, 12, activation, "xavier", seed=seed)
        x = torch.randn(16, 64, generator=generator)
        y = torch.randint(0, 10, (16,), generator=generator)
        cases.append((model, x, y))
    return cases


def _norms(model: MLP, x: Tensor, y: Tensor, reduction: str = "mean", with_bias: bool = True) -> list[Tensor]:
    layers = [module for module in model if isinstance(module, nn.Linear)]
    groups = [[layer.weight, layer.bias] if with_bias else [layer.weight] for layer in layers]
    gradients = torch.autograd.grad(
        cross_entropy(model(x), y, reduction=reduction), [p for group in groups for p in group]
    )
    remaining = iter(gradients)
    return [torch.cat([next(remaining).flatten() for _ in group]).double().norm() for group in groups]


GRADIENT_NORMS = Exercise(
    id="2.2-gradient_norms",
    points=3,
    claims=("S3", "S6", "S11"),
    level="core",
    minutes=20,
    after=("1.4-backpropagate",),
    cases=_batches,
    reference=lambda model, x, y: probe(model, x, y).gradient_norm[0],
    rtol=1e-3,
    atol=0.0,
    mistakes=(
        Mistake(
            "squared norm",
            lambda model, x, y: [n**2 for n in _norms(model, x, y)],
            "These are the sums of squares. The norm is the root of that.",
        ),
        Mistake(
            "mean over the batch forgotten",
            lambda model, x, y: _norms(model, x, y, reduction="sum"),
            "Too large by the size of the batch. The loss is the mean over the examples, and cross_entropy takes it "
            "unless told otherwise.",
        ),
        Mistake(
            "order of layers reversed",
            lambda model, x, y: _norms(model, x, y)[::-1],
            "Right numbers, but from the read-out back. Start with layer 1, at the input.",
        ),
        Mistake(
            "biases left out",
            lambda model, x, y: _norms(model, x, y, with_bias=False),
            "Nearly. A layer owns a weight and a bias: put both gradients into one norm.",
        ),
        Mistake(
            "norm of the weights",
            lambda model, x, y: [
                torch.cat([p.detach().flatten() for p in layer.parameters()]).norm()
                for layer in model
                if isinstance(layer, nn.Linear)
            ],
            "These are the norms of the weights themselves. Call backward on the loss, and look at .grad.",
            belief="Where gradients vanish, the weights are small.",
        ),
    ),
)


# --- 2.3: predict the factor -----------------------------------------------------------------------------------------


def _settings(seed: int) -> list[Case]:
    generator = seeded(seed)
    return [
        (activation, uniform(generator, 1.5, 3.0), uniform(generator, 2.0, 5.0))
        for activation in ("sigmoid", "tanh", "tanh")
    ]


DECAY_FACTOR = Exercise(
    id="2.3-decay_factor",
    points=3,
    claims=("S2",),
    level="core",
    minutes=20,
    after=("2.1-steepest",),
    cases=_settings,
    reference=theory.chi,
    rtol=2e-3,
    mistakes=(
        Mistake(
            "slope not squared",
            lambda a, s, q: s**2 * _mean(lambda z: theory.slope(a, z), q),
            "Asked for is the factor of the squared gradient: the slope enters squared, as the weight scale does.",
        ),
        Mistake(
            "mean squared, not mean of squares",
            lambda a, s, q: s**2 * _mean(lambda z: theory.slope(a, z), q) ** 2,
            "You averaged the slopes and squared the average. Square each slope first, then average.",
            belief="A layer's factor is that of its average unit.",
        ),
        Mistake(
            "weight scale not squared",
            lambda a, s, q: s * _mean(lambda z: theory.slope(a, z) ** 2, q),
            "The weight scale enters squared: this is the factor of a squared norm.",
        ),
        Mistake(
            "derivative at the output",
            lambda a, s, q: s**2 * _mean(lambda z: theory.slope(a, theory.activation_function(a)(z)) ** 2, q),
            "You took the slope at φ(z), the output. It belongs at the pre-activation z.",
            belief="How much a unit passes back depends on what it gives, not on what it gets.",
        ),
        Mistake(
            "variance taken for standard deviation",
            lambda a, s, q: theory.chi(a, s, q**2),
            "The pre-activations have variance q, so a standard normal number is stretched by the root of q, not by q.",
        ),
    ),
)


# --- 2.4: how deep is still shallow ----------------------------------------------------------------------------------


_DEEP = 200  # deeper than any answer below


def _limits(seed: int) -> list[Case]:
    generator = seeded(seed)
    return [(uniform(generator, 0.3, 0.85), 10 ** -uniform(generator, 2.5, 6)) for _ in range(5)]


def _deepest(factor: float, share: float) -> int:
    # Counted from the last layer, the profile of one deep network holds the first layer's share at every depth.
    return int((theory.gradient_profile("linear", _DEEP, math.sqrt(factor)) >= share).sum())


def _factors(factor: float, share: float) -> float:
    """How many factors of the norm fit, as a real number."""
    return 2 * math.log(share) / math.log(factor)


DEEPEST = Exercise(
    id="2.4-deepest",
    points=2,
    claims=("S9",),
    level="stretch",
    minutes=10,
    after=("2.3-decay_factor",),
    cases=_limits,
    reference=_deepest,
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "factor of the norm",
            lambda factor, share: 1 + math.floor(_factors(factor, share) / 2),
            "You used chi as the factor of the norm. It is the factor of the squared norm: the norm changes by its "
            "root.",
        ),
        Mistake(
            "factors counted, not layers",
            lambda factor, share: math.floor(_factors(factor, share)),
            "One too few. Between L layers lie L − 1 factors.",
        ),
        Mistake(
            "one layer too many",
            lambda factor, share: 1 + math.ceil(_factors(factor, share)),
            "At this depth the first layer's share is already below the limit. Take the last depth that meets it.",
        ),
        Mistake(
            "not a whole number",
            lambda factor, share: 1 + _factors(factor, share),
            "The formula is right. A network has a whole number of layers: round down.",
        ),
    ),
)

check = Lab(
    "02-vanishing",
    (STEEPEST, GRADIENT_NORMS, DECAY_FACTOR, DEEPEST),
    after=("book/vanishing/what", "book/vanishing/why"),
)
