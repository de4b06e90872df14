"""Own claims about starts and activations: what they keep of a signal, a gradient, a direction, a likeness, a unit."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.exploding import norm_factors
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit


def keeping_scale(activation: theory.Activation, variance: float) -> float:
    """The weight scale at which a signal of this second moment leaves a wide layer as large as it came."""
    return math.sqrt(variance / theory.variance_map(activation, 1.0, variance))


def _near(expected: float, share: float, value: float) -> bool:
    return abs(value / expected - 1) < share


# --- one condition for the signal, another for the gradient ---

STRAIGHT: dict[str, theory.Activation] = {"ReLU": "relu", "leaky ReLU": "leaky_relu"}
BENT: dict[str, theory.Activation] = {
    "tanh": "tanh",
    "GELU": "gelu",
    "SiLU": "silu",
    "ELU": functional.elu,
    "SELU": functional.selu,
    "softsign": functional.softsign,
    "sine": torch.sin,
}
VARIANCES = (0.1, 1.0, 10.0)


@claim("T13")
def _t13() -> Finding:
    def factors(activation: theory.Activation) -> list[float]:
        return [theory.chi(activation, keeping_scale(activation, q), q) for q in VARIANCES]

    measured = {name: norm_factors(name, keeping_scale(name, 1.0)) ** 2 for name in ("relu", "tanh", "sigmoid")}
    predicted = {name: theory.chi(name, keeping_scale(name, 1.0), 1.0) for name in measured}
    return Finding(
        "T13",
        "Of the activations with φ(0) = 0, those that are straight on each side of 0 keep the gradient wherever they "
        "keep the signal. With the others the gradient then grows.",
        (
            each(
                "furthest from 1: chi of ReLU and leaky ReLU where the signal is kept, q = 0.1, 1, 10",
                [max((c for a in STRAIGHT.values() for c in factors(a)), key=lambda c: abs(c - 1))],
                "1",
                lambda v: abs(v - 1) < 1e-6,
            ),
            each(
                f"smallest such chi of {', '.join(BENT)}",
                [min(c for a in BENT.values() for c in factors(a))],
                "above 1",
                lambda v: v > 1,
            ),
            *(
                each(
                    f"factor of the squared gradient per layer, {name}, σ_w = {keeping_scale(name, 1.0):.3f}, which "
                    "keeps a signal of variance 1",
                    measured[name],
                    f"{predicted[name]:.3f} ± 5 %",
                    partial(_near, predicted[name], 0.05),
                )
                for name in ("relu", "tanh")
            ),
            each(
                f"the same of sigmoid, σ_w = {keeping_scale('sigmoid', 1.0):.3f}: φ(0) is not 0",
                measured["sigmoid"],
                f"{predicted['sigmoid']:.3f} ± 5 %, below 1",
                partial(_near, predicted["sigmoid"], 0.05),
            ),
        ),
    )


# --- GELU and SiLU have an edge, and no critical scale ---


def edge(activation: theory.Activation, weight_std: float) -> float:
    """The second moment above which a signal grows for ever, and below which it dies, at a scale that has such an edge.

    Raises:
        ValueError: for a scale that has none between e⁻²⁰ and e²⁰.
    """
    return math.exp(
        brentq(lambda t: math.log(theory.variance_map(activation, weight_std, math.exp(t))) - t, -20, 20, xtol=1e-12)
    )


_BY_TORCH: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "silu": functional.silu}


@memory.cache
def kept_signal(
    activation: str, weight_std: float, variance: float, depth: int, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Mean square after ``depth`` layers of 256 units over ``variance``, the mean square of each input; (seeds,)."""
    function = _BY_TORCH[activation]
    found = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(16, 256, generator=generator)
        z *= math.sqrt(variance) / z.square().mean(1, keepdim=True).sqrt()
        for _ in range(depth):
            z = function(z) @ (torch.randn(256, 256, generator=generator) * weight_std / 16)
        found.append(float(z.double().square().mean()) / variance)
    return np.array(found)


EDGE_SCALE, EDGE_DEPTH = 1.6, 30


@claim("T14")
def _t14() -> Finding:
    scales = [math.sqrt(v) for v in (2.1, 2.3, 2.6, 3.0, 3.4, 3.8)]
    steepness, factor = [], []
    for activation in ("gelu", "silu"):
        for q in np.geomspace(1e-4, 1e4, 65):
            up, down = (theory.variance_map(activation, 1.0, q * math.exp(h)) for h in (1e-2, -1e-2))
            steepness.append(math.log(up / down) / 2e-2)
        factor += [theory.chi(activation, scale, edge(activation, scale)) for scale in scales]
    ends = {q: kept_signal("gelu", EDGE_SCALE, q, EDGE_DEPTH) for q in (0.3, 1.0)}
    return Finding(
        "T14",
        "GELU and SiLU have no weight scale at which a signal settles above 0. From √2 to 2 there is an edge: below it "
        "the signal dies, above it grows, and on it the gradient grows.",
        (
            each(
                f"signal after {EDGE_DEPTH} GELU layers over before, σ_w = {EDGE_SCALE}, begun at 0.3",
                ends[0.3],
                f"below 0.01; the edge is at {edge('gelu', EDGE_SCALE):.2f}",
                lambda v: v < 0.01,
            ),
            each("the same, begun at 1", ends[1.0], "above 10", lambda v: v > 10),
            each(
                "smallest d log E[φ²] / d log q − 1 for q from 10⁻⁴ to 10⁴, GELU and SiLU",
                [min(steepness) - 1],
                "above 0: one edge to a scale, and what is off it goes further off",
                lambda v: v > 0,
            ),
            each("smallest chi on the edge, both, at 6 scales", [min(factor)], "above 1", lambda v: v > 1),
            each(
                "largest chi where the signal has died, σ_w = √2, where the edges begin",
                [max(theory.chi(a, math.sqrt(2), 1e-12) for a in ("gelu", "silu"))],
                "1/2",
                lambda v: abs(v - 0.5) < 1e-4,
            ),
        ),
    )


# --- mirrored weights ---


def mirrored(depth: int, seed: int, start: str = "mirrored", width: int = 64, in_features: int = 64) -> MLP:
    """A ReLU network whose units come in pairs with opposite weights, so that of each pair one is on.

    Every block of the weights is an orthogonal matrix A, as [[A, -A], [-A, A]]. With ``start="orthogonal"`` the same
    network has orthogonal weights times √2, and no pairs. The weight scale is √2 either way, biases are 0.
    Source: Balduzzi et al. 2017, section 4; Burkholz & Dubatovka 2019, section 3.
    """
    model, half = MLP(depth, width, "relu", "he", in_features=in_features, seed=seed), width // 2
    generator = torch.Generator().manual_seed(seed)

    def orthogonal(rows: int, columns: int) -> Tensor:
        return torch.nn.init.orthogonal_(torch.empty(rows, columns), generator=generator)

    with torch.no_grad():
        for number in range(1, depth + 1):
            weight: Tensor = getattr(model, f"layer{number}").weight
            if start == "orthogonal":
                weight.copy_(math.sqrt(2) * orthogonal(*weight.shape))
                continue
            block = orthogonal(half, in_features if number == 1 else half)
            weight.copy_(
                torch.cat([block, -block]) if number == 1 else torch.kron(torch.tensor([[1.0, -1], [-1, 1]]), block)
            )
        if start == "mirrored":
            model.readout.weight[:, half:] = -model.readout.weight[:, :half]
    return model


@memory.cache
def mirrored_singular_values(start: str, depth: int = 64, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Singular values of the Jacobian from 64 pixels to the last of ``depth`` layers of 128 ReLUs; (seeds, 64)."""
    found = []
    for seed in seeds:
        model = mirrored(depth, seed, start, 128).double()
        x = digits_batch(64)[0][seed].double().repeat(128, 1).requires_grad_()
        signal = x
        for name, module in model.named_children():
            signal = signal if name == "readout" else module(signal)
        jacobian = torch.autograd.grad(signal, x, torch.eye(128, dtype=torch.float64))[0]
        found.append(torch.linalg.svdvals(jacobian).numpy())
    return np.stack(found)


@memory.cache
def mirrored_accuracy(start: str, learning_rate: float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Test accuracy of 64 ReLU layers of 64 units after 2 epochs of SGD with momentum 0.9 on the digits; (seeds,)."""
    found = []
    for seed in seeds:
        model = mirrored(64, seed, start)
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
        found.append(fit(model, digits(), optimizer, 2, seed=seed, progress=False).test_accuracy[-1])
    return np.array(found)


def directions_left(values: np.ndarray) -> np.ndarray:
    """How many singular values are above a tenth of their root mean square; ``values`` of shape (seeds, directions)."""
    left: np.ndarray = (values > 0.1 * np.sqrt((values**2).mean(1, keepdims=True))).sum(1)
    return left


@claim("T19")
def _t19() -> Finding:
    values = mirrored_singular_values("mirrored")
    return Finding(
        "T19",
        "ReLU networks can have perfect isometry: with mirrored orthogonal weights 64 layers keep every direction, and "
        "learn.",
        (
            each(
                "largest distance of a singular value from 1, 64 layers of 128 ReLUs",
                np.abs(values - 1).max(1),
                "below 10⁻⁴: all 64 are 1",
                lambda v: v < 1e-4,
            ),
            each(
                "directions that keep a tenth of the root mean square, orthogonal without mirrors",
                directions_left(mirrored_singular_values("orthogonal")),
                "below 16 of 64",
                lambda v: v < 16,
            ),
            each(
                "test accuracy of 64 layers of 64 after 2 epochs of SGD at 0.001, mirrored",
                mirrored_accuracy("mirrored", 1e-3),
                "above 0.75",
                lambda v: v > 0.75,
            ),
            each(
                "the same, orthogonal without mirrors",
                mirrored_accuracy("orthogonal", 1e-3),
                "below 0.3",
                lambda v: v < 0.3,
            ),
        ),
    )


# --- units that wake ---


def _off(model: MLP, x: Tensor) -> np.ndarray:
    """Which hidden units are off on all rows of ``x``; shape (layers, units)."""
    signal, off = x, []
    with torch.no_grad():
        for name, module in model.named_children():
            signal = module(signal)
            if name.startswith("layer"):
                off.append((signal <= 0).all(0).numpy())
    return np.stack(off)


@memory.cache
def asleep(seed: int, epochs: int = 8, held: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Which of 3 layers of 64 ReLUs are off on every training image at the end of each epoch.

    Two arrays of shape (epochs, layers, units): of ``epochs`` epochs of Adam at 0.03; and of ``held`` more, in which
    layers 1 and 2 are frozen and the rest is trained by plain gradient descent at 0.1, the state before them first.
    """
    model, data = MLP(3, 64, "relu", "he", seed=seed), digits()
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    moving, still = [], []
    for epoch in range(epochs):
        fit(model, data, optimizer, 1, seed=100 * seed + epoch, progress=False)
        moving.append(_off(model, data.x_train))
    above = [*model.layer3.parameters(), *model.readout.parameters()]
    optimizer = torch.optim.SGD(above, lr=0.1)
    still.append(moving[-1])
    for epoch in range(held):
        fit(model, data, optimizer, 1, seed=100 * seed + epochs + epoch, progress=False)
        still.append(_off(model, data.x_train))
    return np.stack(moving), np.stack(still)


def woken(states: np.ndarray) -> tuple[int, int]:
    """How many units were off at the end of an epoch, and how many of them lived one epoch later; all epochs added."""
    before, after = states[:-1], states[1:]
    return int(before.sum()), int((before & ~after).sum())


@claim("T20")
def _t20() -> Finding:
    runs = [asleep(seed) for seed in SEEDS]
    moving = [woken(states) for states, _ in runs]
    held = [woken(states[:, 2:]) for _, states in runs]
    return Finding(
        "T20",
        "A dead unit can wake while the layers below it learn. With these frozen and plain descent it stays dead.",
        (
            each(
                "of 100 units dead on all training images at the end of an epoch, alive one epoch later (Adam at 0.03)",
                [100 * lived / dead for dead, lived in moving],
                "above 1",
                lambda v: v > 1,
            ),
            each(
                "dead units of layer 3 that wake in 4 epochs of plain descent, with layers 1 and 2 frozen",
                [lived for _, lived in held],
                "0: they get no gradient, and their inputs stay",
                lambda v: v == 0,
            ),
        ),
    )


# --- what becomes of two images ---

PAIR_DEPTH = 30


@memory.cache
def pairs(weight_std: float, similar: bool, seeds: Sequence[int] = SEEDS) -> tuple[np.ndarray, np.ndarray]:
    """Correlation, and mean square difference, of the pre-activations of two images in each of 30 tanh layers of 256.

    Two arrays of shape (seeds, layers), means over 64 pairs: a digit and the same with a little noise, or two digits.
    """
    x, correlations, differences = digits_batch(128)[0].double(), [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(64, 64, generator=generator, dtype=torch.float64)
        noise *= 0.15 * x[:64].norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
        a, b = x[:64], x[:64] + noise if similar else x[64:]
        row = []
        for _ in range(PAIR_DEPTH):
            weight = (
                torch.randn(a.shape[1], 256, generator=generator, dtype=torch.float64)
                * weight_std
                / math.sqrt(a.shape[1])
            )
            a, b = a @ weight, b @ weight
            row.append((float(torch.cosine_similarity(a, b).mean()), float((a - b).square().mean())))
            a, b = torch.tanh(a), torch.tanh(b)
        correlations.append([c for c, _ in row])
        differences.append([d for _, d in row])
    return np.array(correlations), np.array(differences)


@claim("T21")
def _t21() -> Finding:
    small, other = pairs(0.8, True), pairs(0.8, False)
    large = pairs(2.0, True)[0]
    length = theory.correlation_length("tanh", 0.8)
    factor = math.exp(-1 / length)
    return Finding(
        "T21",
        "Above its critical scale a deep tanh network makes similar images unrelated. Below it, without biases, they "
        "stay as similar as they were, and their difference fades with the signal.",
        (
            each(
                "correlation of a digit and its noisy twin in layer 1, σ_w = 2",
                large[:, 0],
                "above 0.97",
                lambda v: v > 0.97,
            ),
            each("the same in layer 30", large[:, -1], "below 0.5", lambda v: v < 0.5),
            each(
                "change of that correlation from layer 1 to 30, σ_w = 0.8",
                small[0][:, -1] - small[0][:, 0],
                "0 ± 0.02",
                lambda v: abs(v) < 0.02,
            ),
            each("the same for two digits", other[0][:, -1] - other[0][:, 0], "0 ± 0.1", lambda v: abs(v) < 0.1),
            each(
                "factor per layer of their mean square difference, σ_w = 0.8, layers 10 to 30",
                (other[1][:, -1] / other[1][:, 9]) ** (1 / 20),
                f"{factor:.3f} ± 5 %: one e-th in {length:.2f} layers, the correlation length",
                partial(_near, factor, 0.05),
            ),
        ),
    )
