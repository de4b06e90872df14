"""Lab 03: at which weight scale a gradient explodes, where float32 ends, what diverges, and a monitor that sees it."""

import math
from collections.abc import Callable, Iterable

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from gradclinic.course import theory
from gradclinic.course.exercises.bowls import starts
from gradclinic.course.exercises.draws import seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab
from gradclinic.course.exercises.measured import searches
from gradclinic.course.exercises.monitored import monitored
from gradclinic.recorder import Recorder

FLOAT32_MAX = torch.finfo(torch.float32).max


# --- 3.1: the critical weight scale ----------------------------------------------------------------------------------


def _critical(factor: Callable[[float], float], low: float, high: float) -> float:
    def log_factor(log_scale: float) -> float:
        found = factor(math.exp(log_scale))
        return math.log(found) if 0 < found < math.inf else 700.0  # beyond the numbers it explodes

    return math.exp(brentq(log_factor, math.log(low), math.log(high), xtol=1e-9))


def _bisect(
    factor: Callable[[float], float],
    low: float,
    high: float,
    explodes: Callable[[float], bool] = lambda found: not found < 1,
    halvings: int | None = None,
) -> float:
    """Halve the interval so many times, or until its ends agree."""
    while high - low > 1e-5 * high if halvings is None else halvings > 0:
        middle = (low + high) / 2
        if explodes(factor(middle)):
            high = middle
        else:
            low = middle
        halvings = None if halvings is None else halvings - 1
    return (low + high) / 2


def _until_near(factor: Callable[[float], float], low: float, high: float) -> float:
    """Stop when the factor is near 1, as one who does not expect NaN would write it."""
    middle = (low + high) / 2
    while abs(factor(middle) - 1) > 1e-4 and high - low > 1e-9:
        low, high = (middle, high) if factor(middle) < 1 else (low, middle)
        middle = (low + high) / 2
    return middle


CRITICAL_SCALE = Exercise(
    id="3.1-critical_scale",
    points=2,
    claims=("S22", "S23"),
    level="warm-up",
    minutes=15,
    after=("2.3-decay_factor",),
    cases=searches,
    reference=_critical,
    rtol=2e-3,
    atol=0.0,
    mistakes=(
        Mistake(
            "wrong half kept",
            lambda factor, low, high: _bisect(factor, low, high, lambda found: found < 1),
            "You end at a bound: each time the half without the crossing was kept. Where the factor is below 1 the "
            "scale is too small, and the answer lies above.",
        ),
        Mistake(
            "NaN taken for small",
            lambda factor, low, high: _bisect(factor, low, high, lambda found: found > 1),
            "Right, except where numbers overflow. There the factor is NaN, every comparison with NaN is False, and "
            "you took that for a small factor. Ask whether it is below 1, and let all else count as large.",
        ),
        Mistake(
            "stopped at NaN",
            _until_near,
            "Right, except where numbers overflow. The distance of NaN from 1 is NaN, which is not larger than any "
            "tolerance, so your loop ended there. Let the width of the interval decide when to stop.",
        ),
        Mistake(
            "crossing of 0",
            lambda factor, low, high: _bisect(factor, low, high, lambda found: not found < 0),
            "A factor is never below 0. Look for where it crosses 1, or its logarithm crosses 0.",
        ),
        Mistake(
            "one measurement, scaled",
            lambda factor, low, high: low / factor(low),
            "You measured once, and took the factor to be proportional to the scale. That holds for linear and ReLU "
            "networks. Other activations bend: measure again at each new scale.",
            belief="Explosion is a matter of the weights alone: twice the weights, twice the factor.",
        ),
        Mistake(
            "ten halvings",
            lambda factor, low, high: _bisect(factor, low, high, halvings=10),
            "The right idea, but the interval is still wide. Go on until its ends agree to a thousandth; how often "
            "that is depends on how wide it was at first.",
        ),
    ),
)


# --- 3.2: where float32 ends -----------------------------------------------------------------------------------------


def _growing(seed: int) -> list[Case]:
    """Signals that grow slowly and fast, that keep their size, that shrink, and that are beyond the limit at once."""
    generator = seeded(seed)

    def input_rms() -> float:
        return uniform(generator, 0.3, 1)

    def drawn() -> list[Case]:
        return [
            ("linear", uniform(generator, 1.45, 1.7), input_rms(), 256),
            ("relu", uniform(generator, 1.7, 1.9), input_rms(), 1024),
            ("relu", uniform(generator, 8, 30), input_rms(), 64),
            ("relu", uniform(generator, 2, 3), input_rms(), whole(generator, 2, 8)),
            ("linear", uniform(generator, 3, 9), 10 ** uniform(generator, 20, 30), 512),  # inputs nobody normalised
            ("linear", uniform(generator, 1.1, 1.35), input_rms(), whole(generator, 2000, 5000)),
            ("linear", uniform(generator, 1.005, 1.015), input_rms(), whole(generator, 3, 30)),  # thousands of layers
            ("relu", uniform(generator, 1.425, 1.435), input_rms(), whole(generator, 3000, 9000)),
            ("relu", uniform(generator, 1.1, 1.35), input_rms(), 128),  # here the signal shrinks
            ("linear", uniform(generator, 0.5, 0.95), input_rms(), 256),
            ("linear", 1.0, input_rms(), 256),  # and here it stays as it is
            ("linear", uniform(generator, 2, 4), uniform(generator, 2e38, 3e38), 100),  # layer 1
            ("relu", uniform(generator, 0.9, 1.2), uniform(generator, 2e38, 3e38), 100),
            ("relu", uniform(generator, 1.6, 1.9), 10 ** uniform(generator, -30, -20), 300),
        ]

    def clear(activation: str, weight_std: float, input_rms: float, width: int) -> bool:
        """Not so near to a whole number of layers that rounding would decide."""
        growth = _growth(activation, weight_std)
        layers = _layers(growth, weight_std * input_rms * math.sqrt(2 * math.log(width))) if growth != 1 else 0.5
        return abs(layers - round(layers)) > 1e-4

    cases = drawn()
    while not all(clear(*case) for case in cases):
        cases = drawn()
    return shuffled(generator, cases)


def _layers(
    growth: float, largest: float, limit: float = FLOAT32_MAX, log: Callable[[float], float] = math.log
) -> float:
    """After how many layers the largest number is at the limit, as a real number."""
    return log(limit / largest) / math.log(growth)


def _overflow(activation: str, weight_std: float, input_rms: float, width: int) -> float:
    return _counted(_growth(activation, weight_std), weight_std * input_rms, width)


def _growth(activation: str, weight_std: float) -> float:
    return weight_std / math.sqrt(2) if activation == "relu" else weight_std


def _counted(
    growth: float,
    first: float,
    width: int | None,
    limit: float = FLOAT32_MAX,
    log: Callable[[float], float] = math.log,
    grows_only: bool = True,
    at_once: bool = True,
) -> float:
    """The first layer beyond the limit, if layer 1 has root mean square ``first``; a shrinking signal has none."""
    largest = first * math.sqrt(2 * math.log(width)) if width else first
    if at_once and largest > limit:
        return 1
    if growth == 1 or (grows_only and growth < 1):
        return math.inf
    layers = _layers(growth, largest, limit, log)
    return 1 + math.ceil(layers) if math.isfinite(layers) else layers


OVERFLOW_LAYER = Exercise(
    id="3.2-overflow_layer",
    points=3,
    claims=("S30",),
    level="core",
    minutes=15,
    after=("2.3-decay_factor",),
    cases=_growing,
    reference=_overflow,
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "factor of the square",
            lambda a, s, r, n: _counted(_growth(a, s) ** 2, s * r, n),
            "You multiply by the factor of the mean square, σ_w² or σ_w²/2. A number in the network is not squared: "
            "its size grows by the root of that.",
        ),
        Mistake(
            "half of ReLU forgotten",
            lambda a, s, r, n: _counted(s, s * r, n),
            "Right for the linear network. ReLU sets half of the numbers to 0, and so halves the mean square that goes "
            "on to the next layer.",
            belief="ReLU hands a signal on at its full size.",
        ),
        Mistake(
            "size halved, not the square",
            lambda a, s, r, n: _counted(s / 2 if a == "relu" else s, s * r, n),
            "ReLU halves the mean square. The root mean square is divided by the root of 2 only.",
        ),
        Mistake(
            "input halved as well",
            lambda a, s, r, n: _counted(_growth(a, s), _growth(a, s) * r, n),
            "Your layer 1 is too small in ReLU networks. The input has passed no ReLU yet: layer 1 multiplies by all "
            "of σ_w.",
        ),
        Mistake(
            "one layer too few",
            lambda a, s, r, n: _counted(_growth(a, s), s * r, n) - 1,
            "One too few. Layers are counted from 1, and asked for is the first that is beyond the limit, not the last "
            "below it.",
        ),
        Mistake(
            "typical number, not the largest",
            lambda a, s, r, n: _counted(_growth(a, s), s * r, None),
            "You waited until the root mean square is too large. One number is enough, and the largest of a layer is "
            "about √(2 ln width) times as large.",
        ),
        Mistake(
            "logarithms of two bases",
            lambda a, s, r, n: _counted(_growth(a, s), s * r, n, log=math.log10),
            "You divided a decimal logarithm by a natural one. Any base will do, if it is the same above and below.",
        ),
        Mistake(
            "limit of float64",
            lambda a, s, r, n: _counted(_growth(a, s), s * r, n, limit=torch.finfo(torch.float64).max),
            "This is where double precision ends. torch computes in float32, whose largest number is 3.4e38.",
        ),
        Mistake(
            "shrinking signal overflows",
            lambda a, s, r, n: _counted(_growth(a, s), s * r, n, grows_only=False),
            "Look at your answer for a small weight scale: a layer with a negative number. Where the signal does not "
            "grow it never overflows. Return math.inf there.",
        ),
        Mistake(
            "layer 1 not looked at",
            lambda a, s, r, n: _counted(_growth(a, s), s * r, n, at_once=False),
            "Right, unless the input is so large that layer 1 is beyond the limit. No layer has a number below 1.",
        ),
    ),
)


# --- 3.3: what diverges ----------------------------------------------------------------------------------------------


def _diverges(learning_rate: float, hessian: Tensor, gradient: Tensor) -> bool:
    return learning_rate > theory.stability_limit(_steepest(hessian).item())


def _steepest(hessian: Tensor) -> Tensor:
    curvature: Tensor = torch.linalg.eigvalsh(hessian)[-1]
    return curvature


DIVERGES = Exercise(
    id="3.3-diverges",
    points=2,
    claims=("S25", "S28"),
    level="core",
    minutes=15,
    after=("1.3-largest_step",),
    cases=starts,
    reference=_diverges,
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "gradient above 1",
            lambda lr, h, g: g.norm() > 1,
            "The most common account, and wrong both ways: among the tries is a gradient of 1000 that converges, and "
            "one of 0.001 that diverges. What is the factor by which one step changes the gradient?",
            belief="A gradient above 1 makes the weights grow.",
        ),
        Mistake(
            "step longer than 1",
            lambda lr, h, g: lr * g.norm() > 1,
            "The length of the step depends on the unit of the weights. In a wide, flat bowl a long step is the right "
            "one. Compare with the curvature.",
        ),
        Mistake(
            "gradient times rate times curvature",
            lambda lr, h, g: lr * _steepest(h) * g.norm() > 2,
            "Right, without the gradient. Its size drops out: ten times the gradient is ten times the way to go, and "
            "ten times the step.",
            belief="The larger the gradient, the sooner training diverges.",
        ),
        Mistake(
            "one over the curvature",
            lambda lr, h, g: lr * _steepest(h) > 1,
            "Between 1 and 2 each step lands on the other side of the valley, but nearer. It swings, and converges.",
            belief="Whoever jumps over the minimum will never reach it.",
        ),
        Mistake(
            "learning rate forgotten",
            lambda lr, h, g: _steepest(h) > 2,
            "Without the learning rate no curvature is too large. Look at the product of both.",
        ),
        Mistake(
            "flattest direction",
            lambda lr, h, g: lr * torch.linalg.eigvalsh(h)[0] > 2,
            "You asked the flattest direction. It is enough that one diverges, and the steepest is the first.",
        ),
        Mistake(
            "curvature along the axes",
            lambda lr, h, g: lr * h.diagonal().max() > 2,
            "The diagonal holds the curvature along the axes. The steepest direction may lie between them: take an "
            "eigenvalue.",
        ),
        Mistake(
            "sum of the curvatures",
            lambda lr, h, g: lr * h.diagonal().sum() > 2,
            "The trace adds up all directions. Each goes its own way: ask the steepest alone.",
        ),
        Mistake(
            "norm over all entries",
            lambda lr, h, g: lr * h.norm() > 2,
            "torch.linalg.norm adds the squares of all entries, and with them those of all curvatures. Take the "
            "largest eigenvalue alone.",
        ),
        Mistake(
            "curvature along the gradient",
            lambda lr, h, g: lr * (g @ h @ g) / (g @ g) > 2,
            "This is the curvature along the first gradient. What little of it lies along the steepest direction grows "
            "at every step, and soon it is all there is.",
        ),
    ),
)


# --- 3.4: a monitor --------------------------------------------------------------------------------------------------


def _gradients(model: nn.Sequential) -> list[list[Tensor]]:
    """Per layer; an empty list for one without."""
    return [[p.grad for p in layer.parameters() if p.grad is not None] for layer in model]


def _norm(groups: Iterable[Iterable[Tensor]], single: bool = False) -> float:
    squares = [(g if single else g.double()).square().sum() for group in groups for g in group]
    return math.sqrt(sum(s.item() for s in squares))


def _number(
    model: nn.Sequential,
    bad: Callable[[Tensor], Tensor] = lambda g: ~g.isfinite(),
    backward: bool = True,
    skip_frozen: bool = False,
) -> int:
    """Counted from 1 at the input: the layer that backward came to first, or (``backward`` off) last."""
    groups = [group for group in _gradients(model) if group or not skip_frozen]
    numbers = [number for number, group in enumerate(groups, 1) if any(bool(bad(g).any()) for g in group)]
    return (numbers[-1] if backward else numbers[0]) if numbers else 0


def _watched(model: nn.Sequential) -> list[float]:
    gradients = [p.grad.double() for p in model.parameters() if p.grad is not None]
    if not gradients:  # a recorder refuses a model on which backward was never called
        return [0.0, 0]
    with Recorder(model, activations=False) as recorder:
        recorder.capture()
    found = recorder.record.first_nonfinite
    number = 0 if found is None else recorder.record.layers.index(found[1]) + 1
    return [nn.utils.get_total_norm(gradients).item(), number]


def _per_layer(model: nn.Sequential) -> list[float]:
    return [_norm([group]) for group in _gradients(model)]


MONITOR = Exercise(
    id="3.4-monitor",
    points=4,
    claims=("S30",),
    level="stretch",
    minutes=20,
    after=("2.2-gradient_norms",),
    cases=monitored,
    reference=_watched,
    rtol=1e-4,
    atol=0.0,
    mistakes=(
        Mistake(
            "squared in single precision",
            lambda model: [_norm(_gradients(model), single=True), _number(model)],
            "The gradients fit into float32, their squares do not: 1e25 squared is inf, and 1e-30 squared is 0. Turn "
            "them into float64 first.",
        ),
        Mistake(
            "root forgotten",
            lambda model: [_norm(_gradients(model)) ** 2, _number(model)],
            "This is the sum of squares. The norm is its root.",
        ),
        Mistake(
            "sum of norms",
            lambda model: [math.fsum(_per_layer(model)), _number(model)],
            "You added the norms of the layers. Take all entries for one long vector: the squares add up, not the "
            "norms.",
        ),
        Mistake(
            "largest norm",
            lambda model: [torch.tensor(_per_layer(model)).double().max().item(), _number(model)],
            "This is the norm of the layer that has most. Asked for is the norm of all of them together.",
        ),
        Mistake(
            "biases left out",
            lambda model: [_norm([group[:1] for group in _gradients(model)]), _number(model)],
            "Your norm lacks the biases. They are parameters too, and an overflow may begin in one.",
        ),
        Mistake(
            "looked from the input",
            lambda model: [_norm(_gradients(model)), _number(model, backward=False)],
            "You name the layer nearest to the input. Backward comes from the loss: the one it met first is nearest to "
            "the output.",
        ),
        Mistake(
            "NaN not seen",
            lambda model: [_norm(_gradients(model)), _number(model, lambda g: g.abs() > FLOAT32_MAX)],
            "You find inf and miss NaN. A comparison with NaN is always False, == too. torch.isfinite sees both.",
        ),
        Mistake(
            "inf not seen",
            lambda model: [_norm(_gradients(model)), _number(model, torch.isnan)],
            "You find NaN and miss inf, which comes before it. torch.isfinite sees both.",
            belief="A broken run shows itself by NaN.",
        ),
        Mistake(
            "frozen layers not counted",
            lambda model: [_norm(_gradients(model)), _number(model, skip_frozen=True)],
            "Right, but you left out frozen layers when counting. The number should be that of the layer in the "
            "network.",
        ),
        Mistake(
            "counted from 0",
            lambda model: [_norm(_gradients(model)), _number(model) - 1],
            "One too few. Layers are counted from 1, and 0 means that all is finite.",
        ),
    ),
)

check = Lab(
    "03-exploding",
    (CRITICAL_SCALE, OVERFLOW_LAYER, DIVERGES, MONITOR),
    after=("book/exploding/what", "book/exploding/why"),
)
