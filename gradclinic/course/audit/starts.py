"""Claims about activations and starting weights."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.exploding import norm_factors
from gradclinic.course.audit.league import LEAGUE_SEEDS, treated
from gradclinic.course.audit.networks import digits_batch, profiles, run
from gradclinic.course.data import digits
from gradclinic.course.initializers import Initializer, initialize
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.recorder import probe


@memory.cache
def flows(
    depth: int, activation: theory.Activation, init: Initializer, width: int = 128, seeds: Sequence[int] = SEEDS
) -> tuple[np.ndarray, np.ndarray]:
    """The signal on its way forward and the gradient on its way back, at each hidden layer's pre-activations.

    Two arrays of shape (seeds, depth): the root mean square over the first layer's, and the gradient norm over the last
    layer's, on 64 digits.
    """
    records = [probe(MLP(depth, width, activation, init, seed=seed), *digits_batch(64)) for seed in seeds]
    signal = np.stack([record.output_rms[0, :depth] for record in records])
    gradient = np.stack([record.output_gradient_norm[0, :depth] for record in records])
    return signal / signal[:, :1], gradient / gradient[:, -1:]


def layer_factors(init: Initializer, fan_in: int, fan_out: int, seed: int) -> tuple[float, float]:
    """By how much one linear layer multiplies the mean square of a signal, and, backward, that of a gradient.

    Measured on 1,024 Gaussian rows each; the gradient comes back through autograd.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = initialize(torch.nn.Linear(fan_in, fan_out, bias=False), init)
        x, gradient = torch.randn(1024, fan_in, requires_grad=True), torch.randn(1024, fan_out)
        z = layer(x)
        back = torch.autograd.grad(z, x, gradient)[0]
    return (
        float(z.detach().square().mean() / x.detach().square().mean()),
        float(back.square().mean() / gradient.square().mean()),
    )


_critical = functools.cache(theory.critical_weight_std)
_images = functools.cache(digits)


@memory.cache
def singular_values(
    depth: int, activation: str, start: str, width: int = 64, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Singular values of the Jacobian from the input to the last hidden layer, at one digit a seed.

    ``start`` is ``"gaussian"`` or ``"orthogonal"``; both get the activation's critical weight scale. All layers are
    square: a digit is repeated where the width is more than its 64 pixels. Shape (seeds, width), the largest first.
    """
    scale = _critical(activation)
    found = []
    for seed in seeds:
        init = {"gaussian": "lecun", "orthogonal": "orthogonal"}[start]
        model = MLP(depth, width, activation, init, in_features=width, seed=seed).double()
        digit = digits_batch(64)[0][seed].double().repeat(-(-width // 64))[:width]
        x = digit.repeat(width, 1).requires_grad_()
        signal = x
        for number in range(1, depth + 1):
            layer = getattr(model, f"layer{number}")
            signal = getattr(model, f"activation{number}")(scale * layer(signal))  # the biases are 0
        # row i of the copies asks for output i, so that one backward pass gives the whole Jacobian
        jacobian = torch.autograd.grad(signal, x, torch.eye(width, dtype=torch.float64))[0]
        found.append(torch.linalg.svdvals(jacobian).numpy())
    return np.stack(found)


@memory.cache
def product_rates(width: int, depth: int = 200, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Growth of the logarithm of a signal's length per layer, in linear networks with sigma_w = 1; shape (seeds,)."""
    rates = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        signal, total = torch.randn(width, generator=generator, dtype=torch.float64), 0.0
        signal /= signal.norm()
        for _ in range(depth):
            signal = torch.randn(width, width, generator=generator, dtype=torch.float64) @ signal / math.sqrt(width)
            total += math.log(signal.norm())
            signal /= signal.norm()
        rates.append(total / depth)
    return np.array(rates)


class Worn(NamedTuple):
    """``off``: share of hidden units that are negative on every training image at the end; ``accuracy``: on the test
    images then.
    """

    off: float
    accuracy: float


@memory.cache
def worn(activation: str, learning_rate: float, seed: int) -> Worn:
    """3 layers of 64 units, He's start, 2 epochs of Adam on the digits."""
    model, data = MLP(3, 64, activation, "he", seed=seed), _images()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    history = fit(model, data, optimizer, 2, seed=seed, progress=False)
    signal, off = data.x_train, []
    with torch.no_grad():
        for name, module in model.named_children():
            signal = module(signal)
            if name.startswith("layer"):
                off.append(float((signal <= 0).all(0).double().mean()))
    return Worn(float(np.mean(off)), history.test_accuracy[-1])


@memory.cache
def born_dead(depth: int, width: int, networks: int = 1000) -> float:
    """Share of ReLU networks that give 0 at the last hidden layer for one digit, whatever the read-out."""
    dead = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        signal = _images().x_train[:networks, None].double()
        for _ in range(depth):
            fan_in = signal.shape[2]
            weights = torch.randn(networks, fan_in, width, dtype=torch.float64) * math.sqrt(2 / fan_in)
            signal = torch.relu(signal @ weights)
        dead = int((signal == 0).all(2).sum())
    return dead / networks


def trained_depths(kept: dict[str, Any], share: float = 0.5) -> dict[str, float]:
    """Per weight scale, the depth at which the median training accuracy falls below ``share``; inf if it never does.

    ``kept`` is what ``benchmarks/starts.py`` keeps. Between two depths the line is straight in the logarithm of depth.
    """
    found = {}
    for scale, runs in kept["tanh"].items():
        depths = [int(depth) for depth in runs["accuracy"]]
        middle = [float(np.median(shares)) for shares in runs["accuracy"].values()]
        found[scale] = math.inf
        for (d0, a0), (d1, a1) in zip(
            zip(depths, middle, strict=True), zip(depths[1:], middle[1:], strict=True), strict=False
        ):
            if a0 >= share > a1:
                found[scale] = math.exp(math.log(d0) + (a0 - share) / (a0 - a1) * math.log(d1 / d0))
                break
    return found


TWENTY_RELU = ("pytorch", "xavier", "he")


def twenty_relu_layers(init: str) -> list[float]:
    """Test accuracy of 20 ReLU layers after 6 epochs on the digits, one value for each of ``LEAGUE_SEEDS``."""
    in_the_league = {"pytorch": "ReLU", "he": "ReLU, He start"}
    if init in in_the_league:
        return [treated(in_the_league[init], seed).accuracy for seed in LEAGUE_SEEDS]
    return [run(20, "relu", init, "Adam", 1e-3, 6, seed).accuracy for seed in LEAGUE_SEEDS]


@claim("S17")
def _s17() -> Finding:
    at = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    below, zero, above = torch.autograd.grad(torch.relu(at).sum(), at)[0].tolist()
    size = 1e-6
    left, right = ((torch.relu(torch.tensor(h, dtype=torch.float64)) / h).item() for h in (-size, size))
    start = {init: profiles(20, "relu", init, width=128)[:, 0] for init in ("pytorch", "he")}
    accuracy = {init: twenty_relu_layers(init) for init in TWENTY_RELU}
    off = {name: [worn(name, 0.1, seed) for seed in SEEDS] for name in ("relu", "leaky_relu")}
    return Finding(
        "S17",
        "ReLU's gradient is 0 for negative and zero input and 1 for positive input, which alleviates vanishing.",
        (
            each("slope torch gives at -1", [below], "0", lambda v: v == 0),
            each("slope torch gives at 1", [above], "1", lambda v: v == 1),
            each(
                "slope to the right of 0 minus slope to its left",
                [right - left],
                "0, if there is a slope at 0",
                lambda v: v == 0,
            ),
            each(
                "first over last gradient of 20 ReLU layers, PyTorch's start",
                start["pytorch"],
                "above 0.01, if ReLU alone keeps gradients",
                lambda v: v > 0.01,
            ),
        ),
        "At 0 there is no slope; libraries agree on one. ReLU alone halves the squared gradient in every layer. Only "
        "weights that are √2 larger (He) make the factor 1. Units that are off for every input are the price.",
        (
            each("slope torch takes at 0", [zero], "0, a convention", lambda v: v == 0),
            each(
                "factor of the squared gradient per ReLU layer, σ_w = 1",
                norm_factors("relu", 1.0) ** 2,
                "1/2 ± 4 %",
                lambda v: abs(v - 0.5) < 0.02,
            ),
            each(
                "the same with σ_w = √2",
                norm_factors("relu", math.sqrt(2)) ** 2,
                "1 ± 4 %",
                lambda v: abs(v - 1) < 0.04,
            ),
            each("first over last gradient of 20 layers, He's start", start["he"], "above 0.1", lambda v: v > 0.1),
            each(
                "accuracy of 20 layers after 6 epochs, PyTorch's start",
                accuracy["pytorch"],
                "below 0.2",
                lambda v: v < 0.2,
            ),
            each("the same, Xavier's start", accuracy["xavier"], "above 0.2", lambda v: v > 0.2),
            each(
                "the same, He's start",
                accuracy["he"],
                f"above Xavier's mean, {np.mean(accuracy['xavier']):.2f}",
                lambda v: v > np.mean(accuracy["xavier"]),
            ),
            each(
                "share of units off for every image after training, Adam at 0.1",
                [w.off for w in off["relu"]],
                "above 0.2: they get no gradient any more",
                lambda v: v > 0.2,
            ),
            each(
                "accuracy there of leaky ReLU minus ReLU, mean",
                [np.mean([w.accuracy for w in off["leaky_relu"]]) - np.mean([w.accuracy for w in off["relu"]])],
                "above 0: with a leak they get one",
                lambda v: v > 0,
            ),
        ),
    )
