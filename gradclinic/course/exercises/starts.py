"""Lab 05: how large weights start, the scale an activation asks for, dead units, and directions that are lost."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradclinic.course import theory
from gradclinic.course.exercises.curves import Curve, Kink
from gradclinic.course.exercises.draws import (
    normal,
    over_decades,
    rotation,
    seeded,
    shuffled,
    sign,
    uniform,
    whole,
)
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab
from gradclinic.course.initializers import weight_std

# --- 5.1: the standard deviation of the first weights ----------------------------------------------------------------


STARTS = ("lecun", "xavier", "he")


def _layers(seed: int) -> list[Case]:
    """Each start for layers that narrow, that widen and that do neither, from one unit to a hundred thousand."""
    generator = seeded(seed)
    cases: list[Case] = []
    for start in STARTS:
        size = whole(generator, 20, 60)
        cases += [
            (size, size * whole(generator, 4, 9), start),
            (size * whole(generator, 3, 7), size, start),
            (2 * whole(generator, 2, 9), 2 * whole(generator, 1, 9) + 1, start),  # an odd sum
            (1, whole(generator, 4, 6), start),
            (whole(generator, 50_000, 200_000), whole(generator, 50_000, 200_000), start),
        ]
    return shuffled(generator, cases)


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

# --- 5.2: the scale an activation asks for ---------------------------------------------------------------------------

# A grid, for curves with edges too: a rule of few points does not see those.
_NODES = torch.linspace(-10, 10, 40001, dtype=torch.float64)
_DENSITY = torch.exp(-(_NODES**2) / 2)


def _mean(function: Callable[[Tensor], Tensor]) -> float:
    """Of a function of a standard Gaussian number."""
    return float((_DENSITY * function(_NODES)).sum() / _DENSITY.sum())


def _activations(seed: int) -> list[Case]:
    """Curves that are not odd, with edges, and with much of their size far out; and leaky ReLU's kink."""
    generator = seeded(seed)

    def height() -> float:
        return uniform(generator, 0.5, 2)

    def place() -> float:
        return sign(generator) * uniform(generator, 0.4, 1.2)

    def edge() -> Curve:
        """Little below its place and much above, or the other way round."""
        up = height()
        return Curve([(sign(generator) * up, 80.0, place()), (1.5 * up, 1.0, sign(generator) * 3.0)])

    return [
        (phi,)
        for phi in shuffled(
            generator,
            [
                Kink(uniform(generator, 0.5, 1.5), uniform(generator, 0.2, 0.4)),
                Kink(uniform(generator, 0.2, 0.4), -uniform(generator, 0.5, 1.5)),
                Curve([(height(), uniform(generator, 0.7, 2), place())], [0.3]),
                Curve([(height(), uniform(generator, 0.7, 2), 0.0)]),
                # of so steep a growth that what lies beyond 4 counts
                Curve([(0.05, 1.0, place())], [0.0, 0.0, uniform(generator, 0.3, 1)]),
                *(edge() for _ in range(3)),
            ],
        )
    ]


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
            "uniform numbers",
            lambda phi: float(phi(_NODES[(_NODES > 0) & (_NODES < 1)]).square().mean()) ** -0.5,
            "You drew from 0 to 1, each number as likely as another: that is rand. The pre-activations are Gaussian: "
            "randn.",
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


def _sink(layer: nn.Linear, z: Tensor, generator: torch.Generator) -> None:
    """Change some units of a layer, ``z`` being its pre-activations: dead in three ways, and alive for little or one.

    The units are: pushed down, without weights, and negative; on for a single example, and faint.
    """
    units = torch.randperm(len(layer.bias), generator=generator).tolist()
    with torch.no_grad():
        for unit in units[: whole(generator, 1, 2)]:
            layer.bias[unit] -= 50.0
        layer.weight[units[2]], layer.bias[units[2]] = 0.0, 0.0
        layer.weight[units[3]] = -layer.weight[units[3]].abs()
        layer.bias[units[3]] = -0.01
        if len(z) > 1:  # the mean of the two lies between the first and all others
            layer.bias[units[4]] -= z[:, units[4]].topk(2).values.mean()
        layer.weight[units[5]] *= 1e-5
        layer.bias[units[5]] = 1e-5


def _worn(seed: int) -> list[Case]:
    """ReLU networks of several shapes; in some layers no unit is dead, in others some are, in one all."""
    generator = seeded(seed)
    cases: list[Case] = []
    for examples, hidden in (
        (40, (16, 12)),
        (whole(generator, 210, 300), (9, 14, 8)),
        (whole(generator, 3, 9), (7,)),
        (1, (6, 11)),
        (60, (10, 8, 13, 7)),
    ):
        inputs = whole(generator, 3, 12)
        x = torch.randn(examples, inputs, generator=generator) + len(cases) % 2  # of both signs, and rather above 0
        modules: list[nn.Module] = []
        signal = x
        for number, units in enumerate(hidden):
            layer = _drawn(generator, signal.shape[1], units)
            if number or len(hidden) < 3:
                with torch.no_grad():
                    _sink(layer, layer(signal), generator)
            if number == 3:
                with torch.no_grad():
                    layer.bias.sub_(50.0)
            modules += [layer, nn.ReLU()]
            if number == 1 and number < len(hidden) - 1:  # two layers in a row
                modules.append(_drawn(generator, units, 5))
            with torch.no_grad():
                signal = nn.Sequential(*modules)(x)
        if examples != 40:  # some end in a ReLU
            modules.append(_drawn(generator, signal.shape[1], whole(generator, 2, 6)))
        order = torch.randperm(examples, generator=generator)
        cases.append((nn.Sequential(*modules), x[order]))
    return shuffled(generator, cases)


def _drawn(generator: torch.Generator, inputs: int, outputs: int) -> nn.Linear:
    """A layer with He's start and small biases."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(math.sqrt(2 / inputs) * torch.randn(outputs, inputs, generator=generator))
        layer.bias.copy_(0.1 * torch.randn(outputs, generator=generator))
    return layer


def _outputs(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What each ReLU gives; each of shape (examples, units)."""
    found = []
    with torch.no_grad():
        for module in model:
            x = module(x)
            if isinstance(module, nn.ReLU):
                found.append(x)
    return found


def _shares(model: nn.Sequential, x: Tensor, dead: Callable[[Tensor], Tensor]) -> list[Tensor]:
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
    """From one layer to many and from one direction to eight; some directions are nearly lost."""
    generator = seeded(seed)
    cases: list[Case] = []
    for depth, width in ((3, 6), (8, 5), (1, whole(generator, 2, 5)), (2, 3), (whole(generator, 12, 20), 2), (4, 1)):
        scale = uniform(generator, 0.7, 1.5) / math.sqrt(width)
        cases.append(([scale * normal(generator, width, width) for _ in range(depth)],))
    for size in (over_decades(generator, 1e-8, 3e-8), over_decades(generator, 1e-7, 1e-6)):
        stretch = torch.diag(torch.tensor([uniform(generator, 0.5, 2), uniform(generator, 0.5, 2), size])).double()
        before, between, after = (rotation(generator, 3) for _ in range(3))
        cases.append(([stretch.sqrt() @ before, between, stretch.sqrt() @ between.T, after],))
    return shuffled(generator, cases)


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
    atol=1e-12,  # of a direction that is nearly lost every digit counts that double precision has
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
