"""Own claims about clipping, normalisation and skip connections."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, Quantity, claim, each, memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.audit.normalization import normalized_factors
from gradclinic.course.audit.recurrence import spiked_steps
from gradclinic.course.audit.skips import TwoLayerBranches, flows, predicted_flows
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.recorder import probe

# --- clipping ---

THRESHOLDS = (5.0, 1.0, 0.5, 0.1)


@memory.cache
def clipped_layers(thresholds: Sequence[float] = THRESHOLDS, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Gradient norm of each of 20 sigmoid layers after torch's clipping over before, in the first step.

    He's start, 32 units, 256 digits; shape (seeds, thresholds, layers).
    """
    found = []
    for seed in seeds:
        model = MLP(20, 32, "sigmoid", "he", seed=seed)
        weights = [model.get_parameter(f"layer{n}.weight") for n in range(1, 21)]
        rows = []
        for threshold in thresholds:
            model.zero_grad()
            cross_entropy(model(digits_batch()[0]), digits_batch()[1]).backward()
            before = [float(w.grad.double().norm()) for w in weights if w.grad is not None]
            nn.utils.clip_grad_norm_(model.parameters(), threshold)
            after = [float(w.grad.double().norm()) for w in weights if w.grad is not None]
            rows.append(np.divide(after, before))
        found.append(rows)
    return np.array(found)


class Faded(NamedTuple):
    """A run of a network whose gradient fades, clipped or not.

    Attributes:
        moved: distance that the weights of layer 1 went in all, relative to their norm at the start.
        loss, accuracy: on the test images at the end.
    """

    moved: float
    loss: float
    accuracy: float


@memory.cache
def faded_and_clipped(clip_norm: float | None, seed: int) -> Faded:
    """Five sigmoid layers of 32 units, weight scale 4, SGD at 0.2, 6 epochs on the digits."""
    model = MLP(5, 32, "sigmoid", 4.0, seed=seed)
    before = model.layer1.weight.detach().double().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    history = fit(model, digits(), optimizer, 6, clip_norm=clip_norm, seed=seed, progress=False)
    moved = (model.layer1.weight.detach().double() - before).norm() / before.norm()
    return Faded(float(moved), history.test_loss[-1], history.test_accuracy[-1])


@claim("T26")
def _t26() -> Finding:
    factors = clipped_layers()
    free, calm, tight = ([faded_and_clipped(clip, seed) for seed in SEEDS] for clip in (None, 0.5, 0.1))
    return Finding(
        "T26",
        "Clipping by norm lengthens no layer's gradient and scales all layers alike. A vanishing network that it does "
        "change learns less in its first layer.",
        (
            each(
                "largest factor on a layer's gradient in the first step, 20 sigmoid layers, thresholds 5, 1, 0.5, 0.1",
                factors.max((1, 2)),
                "at most 1",
                lambda v: v <= 1,
            ),
            each(
                "factor on layer 1 at the threshold 0.1",
                factors[:, -1, 0],
                "below 1: it is shortened",
                lambda v: v < 1,
            ),
            each(
                "that factor over the one on layer 20",
                factors[:, -1, 0] / factors[:, -1, -1],
                "1 ± 0.1 %: all layers alike",
                lambda v: abs(v - 1) < 1e-3,
            ),
            each(
                "way that layer 1 goes in training, 5 sigmoid layers, clipped at 0.5 over not clipped",
                [held.moved / run.moved for held, run in zip(calm, free, strict=True)],
                "below 1",
                lambda v: v < 1,
            ),
            each(
                "the same, clipped at 0.1",
                [held.moved / run.moved for held, run in zip(tight, free, strict=True)],
                "below 1/2",
                lambda v: v < 0.5,
            ),
            each(
                "test loss then, less that without clipping",
                [held.loss - run.loss for held, run in zip(tight, free, strict=True)],
                "above 0",
                lambda v: v > 0,
            ),
        ),
    )


def adam_after_spike(spike: float, at: int) -> float:
    """Adam's step over the learning rate at a spike, after ``at`` gradients of 1; Kingma & Ba 2015, algorithm 1."""
    first = 0.9 * (1 - 0.9**at) + 0.1 * spike
    second = 0.999 * (1 - 0.999**at) + 0.001 * spike**2
    return first / (1 - 0.9 ** (at + 1)) / math.sqrt(second / (1 - 0.999 ** (at + 1)))


# By the inequality of Cauchy and Schwarz, m <= sqrt(v) times this, for any sequence of gradients.
LONGEST_ADAM_STEP = (1 - 0.9) / math.sqrt(1 - 0.999) / math.sqrt(1 - 0.9**2 / 0.999)


@memory.cache
def adam_walk(kind: str, steps: int = 8000, weights: int = len(SEEDS)) -> np.ndarray:
    """Longest step of ``torch.optim.Adam`` over the learning rate, for each of several weights; shape (weights,).

    Gradients are 1 and grow by 11 % in each of the last 300 steps ("growing"), double in each of the last ten
    ("doubling"), or are drawn anew for each weight and step, e to the power of three times a Gaussian ("wild").
    """
    weight = nn.Parameter(torch.zeros(weights, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    longest = torch.zeros_like(weight)
    for step in range(steps):
        if kind == "wild":
            gradient = (3 * torch.randn(weights, generator=generator, dtype=torch.float64)).exp()
        else:
            factor, rising = (0.999 / 0.9, 300) if kind == "growing" else (2.0, 10)
            gradient = torch.full_like(weight, factor ** max(0, step + 1 - steps + rising))
        weight.grad = gradient
        before = weight.detach().clone()
        optimizer.step()
        longest = torch.maximum(longest, (weight.detach() - before).abs() / 1e-3)
    return np.array(longest.tolist())


@claim("T27")
def _t27() -> Finding:
    early, late = (spiked_steps("Adam", 1000.0, None, at + 12, at)[at:] for at in (100, 1000))
    held = spiked_steps("Adam", 1000.0, 2.0, 1012, 1000)[1000:]
    return Finding(
        "T27",
        "Late in training a spike makes Adam take steps of several learning rates, at most 7.27 of them. Clipping "
        "holds them.",
        (
            each(
                "step over the learning rate at a gradient of 1,000, after 100 gradients of 1",
                [early[0]],
                f"{adam_after_spike(1000.0, 100):.3f} ± 0.1 %, by the formula",
                lambda v: abs(v / adam_after_spike(1000.0, 100) - 1) < 1e-3,
            ),
            each(
                "the same after 1,000",
                [late[0]],
                f"{adam_after_spike(1000.0, 1000):.3f} ± 0.1 %",
                lambda v: abs(v / adam_after_spike(1000.0, 1000) - 1) < 1e-3,
            ),
            each(
                "steps there that are longer than one learning rate",
                [int((late > 1).sum())],
                "10: the mean of the gradients forgets by a tenth a step",
                lambda v: v == 10,
            ),
            each("the longest of them when clipped at 2", [held.max()], "at most 1.2", lambda v: v <= 1.2),
            each(
                "longest step when gradients grow by 11 % a step, after 7,700 gradients of 1",
                adam_walk("growing", weights=1),
                f"{LONGEST_ADAM_STEP:.2f} ± 0.1 %: the most there can be",
                lambda v: abs(v / LONGEST_ADAM_STEP - 1) < 1e-3,
            ),
            each(
                "longest of 8,000 steps with wild gradients",
                adam_walk("wild"),
                f"at most {LONGEST_ADAM_STEP:.2f}",
                lambda v: v <= LONGEST_ADAM_STEP,
            ),
        ),
    )


# --- normalisation ---


def layer_norm_factor(activation: str) -> float:
    """By how much a wide layer with layer normalisation multiplies the squared gradient on its way back, at the start.

    Pre-activations of one image have mean 0, because weights have; their variance is the mean square of the layer
    below. So it divides by E[phi(z)^2], where batch normalisation divides by Var[phi(z)].
    """
    function = theory.activation_function(activation)
    slopes = theory.gaussian_expectation(lambda z: theory.slope(activation, z) ** 2)
    return slopes / theory.gaussian_expectation(lambda z: function(z) ** 2)


@memory.cache
def layer_normalized_profiles(activation: str, depth: int = 20, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """As ``normalization.normalized_profiles``, with layer normalisation, 256 units and 64 digits; (seeds, depth)."""
    found = []
    for seed in seeds:
        record = probe(MLP(depth, 256, activation, "he", norm="layer", seed=seed), *digits_batch(64))
        norms = [i for i, name in enumerate(record.layers) if name.startswith("norm")]
        found.append(record.output_gradient_norm[0, norms] / record.output_gradient_norm[0, norms[-1]])
    return np.stack(found)


def layer_normalized_factors(activation: str) -> np.ndarray:
    """Factor of the squared gradient per layer, layers 6 to 20; shape (seeds,)."""
    profile = layer_normalized_profiles(activation)
    factors: np.ndarray = (profile[:, 5] / profile[:, -1]) ** (2 / (profile.shape[1] - 6))
    return factors


@claim("T28")
def _t28() -> Finding:
    names = {"sigmoid": "sigmoid", "relu": "ReLU", "tanh": "tanh"}

    def factor(name: str, told: str) -> Quantity:
        want = layer_norm_factor(name)
        return each(
            f"factor of the squared gradient per {told} layer with layer normalisation, mean of 20 networks",
            [layer_normalized_factors(name).mean()],
            f"E[φ′²]/E[φ²] = {want:.3f} ± 4 %",
            lambda v: abs(v / want - 1) < 0.04,
        )

    return Finding(
        "T28",
        "Layer normalisation divides by the mean square where batch normalisation divides by the variance. So with it "
        "the gradient of a sigmoid, whose outputs have a mean, still vanishes.",
        (
            *(factor(name, told) for name, told in names.items()),
            each(
                "first over last gradient of 20 sigmoid layers with it",
                layer_normalized_profiles("sigmoid")[:, 0],
                "below 10⁻⁶: it vanishes",
                lambda v: v < 1e-6,
            ),
        ),
    )


@claim("T31")
def _t31() -> Finding:
    small, large = (normalized_factors("relu", width=128, batch=batch) for batch in (16, 512))
    told = theory.batch_norm_factor("relu")
    return Finding(
        "T31",
        "With batch normalisation the gradient of a ReLU network grows faster where the batch is small.",
        (
            each(
                "factor of the squared gradient per layer, batches of 16 less batches of 512",
                small - large,
                "above 0",
                lambda v: v > 0,
            ),
            each(
                "the factor with batches of 16", small, f"above {told:.3f}, that of large batches", lambda v: v > told
            ),
        ),
    )


def _wavy(seed: int) -> theory.Activation:
    """Some smooth function: a sum of four waves and a cubic, all drawn from the seed."""
    draws = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a, b, c = draws.unbind(1)

    def function(z: Tensor) -> Tensor:
        waves: Tensor = (a * torch.sin(b * z[..., None] + c)).sum(-1)
        return waves + 0.1 * a[0] * z**3

    return function


@claim("T35")
def _t35() -> Finding:
    return Finding(
        "T35",
        "The factor of a wide layer with batch normalisation, E[φ′²]/Var[φ] of a Gaussian, is below 1 for no "
        "activation that is the integral of its slope.",
        (
            each(
                "least factor of the course's activations",
                [min(theory.batch_norm_factor(name) for name in theory.ACTIVATIONS)],
                "at least 1; the linear one has 1",
                lambda v: v >= 1 - 1e-9,
            ),
            each(
                "factor of a function drawn at random, waves and a cubic",
                [theory.batch_norm_factor(_wavy(seed)) for seed in SEEDS],
                "at least 1",
                lambda v: v >= 1 - 1e-9,
            ),
        ),
    )


# --- skip connections ---


@claim("T29")
def _t29() -> Finding:
    def growth(scale: float, depth: int, activation: str = "relu", init: str = "he") -> np.ndarray:
        return flows(depth, activation, init, True, scale)[0][:, -1]

    told = predicted_flows(20, "relu", "he", 1.0)[0][-1]
    # in the limit of many blocks, each times 1/L: m and q follow a differential equation with this solution
    rate = 1 / math.sqrt(math.pi)
    limit = math.cosh(rate) + rate * math.sinh(rate)
    return Finding(
        "T29",
        "The mean of ReLU adds up in step: unscaled, the sum grows faster than by doubling; a branch times 1/√L still "
        "grows with the depth, one times 1/L does not.",
        (
            each(
                "growth of the sum over 20 ReLU blocks, He's start",
                growth(1.0, 20),
                f"above 2^(19/2) = {2**9.5:.0f}, what doubling its square gives; predicted {told:,.0f}",
                lambda v: v > 2**9.5,
            ),
            each(
                "times 1/√L: growth over 50 blocks, over the mean growth over 20",
                growth(50**-0.5, 50) / growth(20**-0.5, 20).mean(),
                "above 2",
                lambda v: v > 2,
            ),
            each(
                "the same with tanh, Xavier's start",
                growth(50**-0.5, 50, "tanh", "xavier") / growth(20**-0.5, 20, "tanh", "xavier").mean(),
                "1 ± 10 %",
                lambda v: abs(v - 1) < 0.1,
            ),
            each(
                "ReLU times 1/L: growth over 50 blocks",
                growth(1 / 50, 50),
                f"{limit:.2f} ± 10 %, the limit of many blocks",
                lambda v: abs(v / limit - 1) < 0.1,
            ),
        ),
    )


@claim("T34")
def _t34() -> Finding:
    found: dict[str, list[float]] = {}
    for last in ("zero", "relu"):
        found[last] = []
        for seed in SEEDS:
            model = TwoLayerBranches(10, 32, last, seed)
            cross_entropy(model(digits_batch()[0]), digits_batch()[1]).backward()
            parameters = [p for layer in model.ending for p in layer.parameters()]
            sizes = [float(p.grad.abs().max()) for p in parameters if p.grad is not None]
            found[last].append(max(sizes) if last == "relu" else min(sizes))
    return Finding(
        "T34",
        "A branch that ends in zeros learns at once. Behind those zeros a ReLU lets no gradient through, in any step.",
        (
            each(
                "least of the largest gradients of ten last layers, zeros at the end of the branch",
                found["zero"],
                "above 0",
                lambda v: v > 0,
            ),
            each(
                "largest gradient there with a ReLU behind them: 0 leaves the zeros as they are, so it stays 0",
                found["relu"],
                "0, to the last bit",
                lambda v: v == 0,
            ),
        ),
    )
