"""Lab 05: how large weights start, the scale an activation asks for, dead units, and directions that are lost."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradclinic.course import theory
from gradclinic.course.exercises.draws import new_seed, seeded, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab
from gradclinic.course.initializers import weight_std
from gradclinic.course.models import MLP

# --- 5.1: the standard deviation of the first weights ----------------------------------------------------------------


STARTS = ("lecun", "xavier", "he")


def _layers(seed: int) -> list[Case]:
    generator = seeded(seed)
    sizes = torch.randint(20, 60, (3,), generator=generator).tolist()
    return [(size, size * times, start) for size, times, start in zip(sizes, (4, 9, 3), STARTS, strict=True)]


def _std(fan_in: int, fan_out: int, start: str) -> float:
    return weight_std(start, fan_in, fan_out) / math.sqrt(fan_in)


START_STD = Exercise(
    id="5.1-start_std",
    points=2,
    claims=("S17",),
    level="warm-up",
    minutes=10,
    cases=_layers,
    reference=_std,
    mistakes=(
        Mistake(
            "variance for the standard deviation",
            lambda i, o, start: _std(i, o, start) ** 2,
            "This is the variance. Asked for is the standard deviation, its root.",
        ),
        Mistake(
            "fan-out for fan-in",
            lambda i, o, start: _std(o, i, start),
            "LeCun's and He's start keep the signal on its way forward. A unit adds up its inputs: count those.",
        ),
        Mistake(
            "He's 2 forgotten",
            lambda i, o, start: _std(i, o, "lecun" if start == "he" else start),
            "Your He is LeCun's. ReLU drops half of the mean square, and He's start doubles the variance for it.",
        ),
        Mistake(
            "He's 2 for every start",
            lambda i, o, start: _std(i, o, start) * (1 if start == "he" else math.sqrt(2)),
            "The 2 that makes up for ReLU belongs to He's start alone. LeCun's and Xavier's were made without ReLU.",
            belief="Every good start has He's factor of 2.",
        ),
        Mistake(
            "doubled after the root",
            lambda i, o, start: _std(i, o, start) * (math.sqrt(2) if start == "he" else 1),
            "Your He is √2 too large: the 2 stands under the root, where it multiplies the variance.",
        ),
        Mistake(
            "bound of a uniform draw",
            lambda i, o, start: _std(i, o, start) * math.sqrt(3),
            "This is the a of a uniform draw between −a and a. Its standard deviation is a/√3.",
        ),
        Mistake(
            "Xavier's 2 forgotten",
            lambda i, o, start: _std(i, o, start) / (math.sqrt(2) if start == "xavier" else 1),
            "Xavier's start takes the mean of the fans, (fan_in + fan_out)/2. You took their sum.",
        ),
        Mistake(
            "mean of the roots",
            lambda i, o, start: (i**-0.5 + o**-0.5) / 2 if start == "xavier" else _std(i, o, start),
            "For Xavier's start you took the mean of two standard deviations. Take the mean of the fans first.",
        ),
    ),
)

_mean = theory.gaussian_expectation


# --- 5.2: the scale an activation asks for ---------------------------------------------------------------------------


def _activations(seed: int) -> list[Case]:
    generator = seeded(seed)
    return [
        (partial(functional.leaky_relu, negative_slope=uniform(generator, 0.2, 0.5)),),
        (functional.elu,),
        (partial(_tall_tanh, height=uniform(generator, 1.5, 3)),),
    ]


def _tall_tanh(z: Tensor, height: float) -> Tensor:
    return height * torch.tanh(z)


def _variance(phi: Callable[[Tensor], Tensor]) -> float:
    return _mean(lambda z: phi(z) ** 2) - _mean(phi) ** 2


CRITICAL_GAIN = Exercise(
    id="5.2-critical_gain",
    points=3,
    claims=("S17", "S22"),
    level="core",
    minutes=15,
    after=("3.1-critical_scale",),
    cases=_activations,
    reference=lambda phi: _mean(lambda z: phi(z) ** 2) ** -0.5,
    rtol=1e-2,  # so that a mean over random numbers will do
    atol=0.0,
    mistakes=(
        Mistake(
            "variance for the mean square",
            lambda phi: _variance(phi) ** -0.5,
            "You took the mean away first. What reaches the next layer is φ(z) with its mean, so take the mean of "
            "φ(z)², not the variance.",
            belief="A signal has mean 0, so its variance is all that counts.",
        ),
        Mistake(
            "slope for the value",
            lambda phi: _mean(lambda z: theory.slope(phi, z) ** 2) ** -0.5,
            "This keeps the gradient for an input of variance 1. Asked for is what keeps the signal: φ itself, not "
            "its slope.",
        ),
        Mistake(
            "upside down",
            lambda phi: _mean(lambda z: phi(z) ** 2) ** 0.5,
            "This is what the activation leaves. The weights have to undo it: one over that.",
        ),
        Mistake(
            "root forgotten",
            lambda phi: 1 / _mean(lambda z: phi(z) ** 2),
            "This is σ_w², which multiplies the mean square. Return σ_w.",
        ),
        Mistake(
            "mean size for the mean square",
            lambda phi: 1 / _mean(lambda z: phi(z).abs()),
            "You took the mean of |φ(z)|. It is mean squares that add up in a layer.",
        ),
        Mistake(
            "He's scale for all",
            lambda phi: math.sqrt(2),
            "√2 is ReLU's own scale. Each activation drops another share: compute it from φ.",
            belief="√2 is the right weight scale, whatever the activation.",
        ),
    ),
)


# --- 5.3: dead units -------------------------------------------------------------------------------------------------


def _worn(seed: int) -> list[Case]:
    """ReLU networks in which some biases have been pushed so far down that their units are off for every input."""
    generator = seeded(seed)
    cases = []
    for depth, width in ((2, 16), (3, 24)):
        model = MLP(depth, width, "relu", "he", seed=new_seed(generator))
        x = torch.rand(40, 64, generator=generator)
        for number in range(1, depth + 1):
            lost = torch.randperm(width, generator=generator)[: whole(generator, 2, 5)]
            with torch.no_grad():
                getattr(model, f"layer{number}").bias[lost] -= 50.0
        cases.append((model, x))
    return cases


def _outputs(model: MLP, x: Tensor) -> list[Tensor]:
    """What each ReLU gives; each of shape (examples, units)."""
    found = []
    with torch.no_grad():
        for module in model:
            x = module(x)
            if isinstance(module, nn.ReLU):
                found.append(x)
    return found


def _shares(model: MLP, x: Tensor, dead: Callable[[Tensor], Tensor]) -> list[Tensor]:
    return [dead(output).double().mean() for output in _outputs(model, x)]


DEAD_SHARE = Exercise(
    id="5.3-dead_share",
    points=3,
    claims=("S17",),
    level="core",
    minutes=15,
    cases=_worn,
    reference=lambda model, x: _shares(model, x, lambda output: (output == 0).all(0)),
    mistakes=(
        Mistake(
            "share of zeros",
            lambda model, x: _shares(model, x, lambda output: output == 0),
            "You counted zeros. Half of all outputs are 0 in a healthy ReLU layer. A unit is dead if it is 0 for every "
            "example.",
            belief="A unit that gives 0 is dead.",
        ),
        Mistake(
            "off for one example",
            lambda model, x: _shares(model, x, lambda output: (output == 0).any(0)),
            "A unit that is off for one example may be on for the next, and still learns. Dead is off for all of them.",
        ),
        Mistake(
            "examples for units",
            lambda model, x: _shares(model, x, lambda output: (output == 0).all(1)),
            "You asked for examples that turn every unit off. The first axis counts the examples: go along that one.",
        ),
        Mistake(
            "living share",
            lambda model, x: _shares(model, x, lambda output: (output > 0).any(0)),
            "This is the share of units that live. Asked for is the other one.",
        ),
        Mistake(
            "number for the share",
            lambda model, x: [(output == 0).all(0).sum() for output in _outputs(model, x)],
            "You counted units. Divide by how many there are, so that wide and narrow layers compare.",
        ),
        Mistake(
            "one share for the network",
            lambda model, x: torch.cat([(output == 0).all(0) for output in _outputs(model, x)]).double().mean(),
            "This is one share for all layers. Return one for each ReLU layer, from the input on: it matters where "
            "units die.",
        ),
    ),
)


# --- 5.4: stretched and lost directions ------------------------------------------------------------------------------


def _stacks(seed: int) -> list[Case]:
    generator = seeded(seed)
    cases = []
    for depth, width in ((3, 6), (8, 5)):
        scale = uniform(generator, 0.7, 1.5) / math.sqrt(width)
        cases.append(
            ([scale * torch.randn(width, width, generator=generator, dtype=torch.float64) for _ in range(depth)],)
        )
    return cases


def _map(weights: list[Tensor]) -> Tensor:
    product = torch.eye(len(weights[0]), dtype=torch.float64)
    for weight in weights:
        product = weight @ product
    return product


def _over_rms(values: Tensor) -> Tensor:
    return values / values.square().mean().sqrt()


def _stretched(weights: list[Tensor]) -> Tensor:
    return _over_rms(torch.linalg.svdvals(_map(weights)))


STRETCHED = Exercise(
    id="5.4-stretched",
    points=3,
    claims=("S22",),
    level="stretch",
    minutes=20,
    after=("5.1-start_std",),
    cases=_stacks,
    reference=_stretched,
    mistakes=(
        Mistake(
            "layers in the wrong order",
            lambda weights: _stretched(weights[::-1]),
            "The first layer acts first: it stands at the right end of the product, W_L ⋯ W_2 W_1.",
        ),
        Mistake(
            "eigenvalues",
            lambda weights: _over_rms(torch.linalg.eigvals(_map(weights)).abs().sort(descending=True).values),
            "These are eigenvalues. How much a direction is stretched is a singular value; for a matrix that is not "
            "symmetric the two differ.",
            belief="Eigenvalues say how much a layer stretches.",
        ),
        Mistake(
            "squares",
            lambda weights: _over_rms(torch.linalg.svdvals(_map(weights)) ** 2),
            "These are eigenvalues of JᵀJ: the squares of what is asked for.",
        ),
        Mistake(
            "over the largest",
            lambda weights: (lambda values: values / values[0])(torch.linalg.svdvals(_map(weights))),
            "You divided by the largest. Divide by the root mean square of them all: that is how the average direction "
            "is stretched.",
        ),
        Mistake(
            "over the mean",
            lambda weights: (lambda values: values / values.mean())(torch.linalg.svdvals(_map(weights))),
            "You divided by the mean. The root mean square counts: squares add up.",
        ),
        Mistake(
            "not divided",
            lambda weights: torch.linalg.svdvals(_map(weights)),
            "Right values, but not yet relative to their root mean square, so that two scales cannot be compared.",
        ),
        Mistake(
            "layer by layer",
            lambda weights: _over_rms(torch.stack([torch.linalg.svdvals(w) for w in weights]).prod(0)),
            "You multiplied the layers' singular values. The direction that one layer stretches most is not the next "
            "one's. Multiply the matrices first.",
            belief="What a network stretches is what its layers stretch, multiplied.",
        ),
    ),
)


check = Lab(
    "05-activations-and-initialization",
    (START_STD, CRITICAL_GAIN, DEAD_SHARE, STRETCHED),
    after=("book/remedies/activations", "book/remedies/initialization"),
)
