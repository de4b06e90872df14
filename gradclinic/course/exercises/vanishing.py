"""Lab 02: measure a vanishing gradient, predict it, and find the depth that is spared."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.exercises.curves import Curve
from gradclinic.course.exercises.draws import seeded, shuffled, sign, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab
from gradclinic.course.exercises.monitored import Kept

# --- 2.1: the steepest slope -----------------------------------------------------------------------------------------


def _functions(seed: int) -> list[Case]:
    """Curves that are steepest anywhere from one end to the other, rising or falling, and outside steeper still."""
    generator = seeded(seed)

    def height() -> float:
        return uniform(generator, 0.5, 3)

    def between(low: int, high: int) -> float:
        """Between two whole numbers, and far from both."""
        return whole(generator, low, high - 1) + uniform(generator, 0.4, 0.6)

    def steep() -> float:
        return uniform(generator, 3.5, 3.9)

    def gentle() -> float:
        return uniform(generator, 0.3, 0.8)

    found = [
        Curve([(height(), steep(), place), (0.3 * height(), gentle(), uniform(generator, -3, 3))], [0.1])
        for place in (between(2, 5), between(-5, -2), between(-2, 2))
    ]
    # falls more steeply than it rises
    found.append(Curve([(height(), steep(), between(-4, -1)), (-4 * height(), steep(), between(1, 4))]))
    # rises to the right end, or from the left one, and goes on
    found.append(Curve([(height(), gentle(), between(-4, 4))], [0.1, 0.2 * height(), 0.02, 0.03 * height()]))
    found.append(Curve([(height(), gentle(), between(-4, 4))], [0.1, -0.2 * height(), 0.02, -0.03 * height()]))
    # falls everywhere
    found.append(Curve([(-height(), gentle(), between(-4, 4))], [-height(), 0.05 * sign(generator)]))
    # a bend at either side, nothing at 0
    found.append(Curve([(height(), 1.0, -uniform(generator, 2, 4)), (height(), 1.0, uniform(generator, 2, 4))]))
    return [(phi,) for phi in shuffled(generator, found)]


def _grid() -> Tensor:
    return torch.linspace(-5, 5, 10001, dtype=torch.float64)


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
            "slope at 0",
            lambda phi: theory.slope(phi, torch.zeros(1, dtype=torch.float64))[0],
            "This is the slope at z = 0, where sigmoid and tanh are steepest. Any activation may come: look at many "
            "points between -5 and 5.",
            belief="Every activation is steepest at 0.",
        ),
        Mistake(
            "steepest fall",
            lambda phi: theory.slope(phi, _grid()).abs().max(),
            "You took the absolute value, so that a fall counts as a rise. Asked for is the largest slope itself.",
        ),
        Mistake(
            "right of 0 only",
            lambda phi: theory.slope(phi, _grid()[5000:]).max(),
            "You looked from 0 to 5 only. Begin at -5: an activation may be steepest at negative z.",
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


def _plain(generator: torch.Generator, sizes: Sequence[int], bend: Callable[[], nn.Module]) -> list[nn.Module]:
    """Layers of these sizes, with a bend behind each but the last; weights in proportion, biases of their own."""
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) / math.sqrt(inputs))
            layer.bias.copy_(0.3 * torch.randn(outputs, generator=generator))
        modules += [layer, bend()]
    return modules[:-1]


def _batches(seed: int) -> list[Case]:
    """Networks of one layer and of many, with normalisation between layers, two layers in a row, old gradients."""
    generator = seeded(seed)

    def sizes(depth: int) -> list[int]:
        return [whole(generator, 3, 9) for _ in range(depth)] + [whole(generator, 2, 7)]

    shallow = _plain(generator, sizes(1), nn.Tanh)
    deep = _plain(generator, sizes(whole(generator, 5, 7)), nn.Sigmoid)
    between = _plain(generator, sizes(2), nn.ReLU)
    between.insert(2, nn.LayerNorm(between[0].out_features))
    between.insert(0, nn.LayerNorm(between[0].in_features))
    row = _plain(generator, sizes(3), nn.Tanh)
    del row[3]  # two layers in a row
    stale = _plain(generator, sizes(2), nn.Tanh)
    cases = []
    for modules, batch in ((shallow, 5), (deep, whole(generator, 6, 20)), (between, 1), (row, 3), (stale, 8)):
        model = Kept(*modules)
        linear = [module for module in modules if isinstance(module, nn.Linear)]
        x = torch.randn(batch, linear[0].in_features, generator=generator)
        y = torch.randint(linear[-1].out_features, (batch,), generator=generator)
        if modules is stale:  # of an earlier batch
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator) / 10
        cases.append((model, x, y))
    return shuffled(generator, cases)


def _norms(model: nn.Sequential, x: Tensor, y: Tensor, reduction: str = "mean", with_bias: bool = True) -> list[Tensor]:
    layers = [module for module in model if isinstance(module, nn.Linear)]
    groups = [[layer.weight, layer.bias] if with_bias else [layer.weight] for layer in layers]
    gradients = torch.autograd.grad(
        cross_entropy(model(x), y, reduction=reduction), [p for group in groups for p in group]
    )
    remaining = iter(gradients)
    return [torch.cat([next(remaining).flatten() for _ in group]).double().norm() for group in groups]


def _added(model: nn.Sequential, x: Tensor, y: Tensor) -> list[Tensor]:
    cross_entropy(model(x), y).backward()
    layers = [module for module in model if isinstance(module, nn.Linear)]
    return [torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]).norm() for layer in layers]


GRADIENT_NORMS = Exercise(
    id="2.2-gradient_norms",
    points=3,
    claims=("S3", "S6", "S11"),
    level="core",
    minutes=20,
    after=("1.4-backpropagate",),
    cases=_batches,
    reference=_norms,
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
            "old gradients left in",
            _added,
            "Right for a fresh model. backward adds to what stands in .grad: set it to zero first.",
        ),
        Mistake(
            "two norms added",
            lambda model, x, y: [
                w + (n**2 - w**2).clamp_min(0).sqrt()
                for w, n in zip(_norms(model, x, y, with_bias=False), _norms(model, x, y), strict=True)
            ],
            "You added the norm of the bias's gradient to that of the weight's. Take both for one long vector: the "
            "squares add up.",
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
    """Several activations, weights that shrink and that stretch, and signals from faint to far into the flat parts."""
    generator = seeded(seed)
    others = shuffled(generator, ("silu", "gelu", "leaky_relu"))
    return shuffled(
        generator,
        [
            ("sigmoid", uniform(generator, 1.5, 3.0), uniform(generator, 2.0, 5.0)),
            ("tanh", uniform(generator, 1.5, 3.0), uniform(generator, 2.0, 5.0)),
            ("tanh", uniform(generator, 4, 7), uniform(generator, 28, 36)),
            ("tanh", uniform(generator, 0.03, 0.08), uniform(generator, 0.02, 0.06)),
            ("relu", uniform(generator, 1.2, 2), uniform(generator, 0.5, 3)),
            (others[0], uniform(generator, 0.5, 2), uniform(generator, 1.5, 4)),
            (others[1], uniform(generator, 0.5, 2), uniform(generator, 0.2, 0.6)),
        ],
    )


DECAY_FACTOR = Exercise(
    id="2.3-decay_factor",
    points=3,
    claims=("S2",),
    level="core",
    minutes=20,
    after=("2.1-steepest",),
    cases=_settings,
    reference=theory.chi,
    rtol=1e-2,  # so that a mean over a million random numbers will do as well
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


# chi and the number of halvings that the share stands for, so that the share is met to the last bit; of whole powers
# of 2 the logarithms are so, too, whichever way the formula is written
_MET = ((0.25, 2), (0.25, 3), (0.0625, 2), (0.0625, 4), (0.25, 4))


def _limits(seed: int) -> list[Case]:
    """Factors from small to nearly 1; shares that are met exactly, that one factor misses, and that are all or 1."""
    generator = seeded(seed)
    found = [(uniform(generator, 0.3, 0.85), 10 ** -uniform(generator, 2.5, 6)) for _ in range(3)]
    found += [(uniform(generator, 0.9, 0.97), 10 ** -uniform(generator, 3, 6))]
    found += [(uniform(generator, 0.99, 0.995), 10 ** -uniform(generator, 4, 8))]
    for factor, share in shuffled(generator, _MET)[:2]:
        found.append((factor, 2.0**-share))
    factor = uniform(generator, 0.01, 0.06)
    found.append((factor, uniform(generator, 1.1, 1.2) * math.sqrt(factor)))  # one factor is too many
    found.append((factor / 2, uniform(generator, 0.8, 0.9) * math.sqrt(factor / 2)))  # one is not
    found.append((uniform(generator, 0.2, 0.8), 1.0))
    return shuffled(generator, found)


def _deepest(factor: float, share: float) -> int:
    """Counted, and not computed: multiply until the next factor would be one too many."""
    depth, left = 1, 1.0
    while left * math.sqrt(factor) >= share:
        left *= math.sqrt(factor)
        depth += 1
    return depth


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
