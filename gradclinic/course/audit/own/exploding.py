"""Own claims about what explodes, and what a loss that rises tells."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.exploding import steepest_curvature
from gradclinic.course.audit.networks import digits_batch, predicted_profile, profiles, run
from gradclinic.course.models import MLP
from gradclinic.recorder import probe


class Overflow(NamedTuple):
    """A very deep tanh network before and after its first step.

    Attributes:
        largest: size of the largest output of any layer, before the step.
        last_nonfinite: the deepest layer at whose pre-activations the gradient is not finite; 0 if there is none.
        lost: share of the weights that are NaN or inf after one step of plain descent.
    """

    largest: float
    last_nonfinite: int
    lost: float


OVERFLOW_DEPTH = 250


@memory.cache
def tanh_overflow(seed: int) -> Overflow:
    """250 tanh layers of 64 units at a weight scale of 4, on 64 digits."""
    model, (x, y) = MLP(OVERFLOW_DEPTH, 64, "tanh", 4.0, seed=seed), digits_batch(64)
    signal, largest = x, 0.0
    with torch.no_grad():
        for name, module in model.named_children():
            signal = module(signal)
            if name.startswith("activation"):
                largest = max(largest, float(signal.abs().max()))
    lost = np.flatnonzero(~np.isfinite(probe(model, x, y).output_gradient_norm[0]))
    trainer = torch.optim.SGD(model.parameters(), lr=1e-3)
    trainer.zero_grad()
    cross_entropy(model(x), y).backward()
    trainer.step()
    weights = torch.nn.utils.parameters_to_vector(model.parameters())
    return Overflow(largest, int(lost.max()) + 1 if len(lost) else 0, float((~weights.isfinite()).double().mean()))


def layers_to_overflow() -> int:
    """How many tanh layers at a weight scale of 4 a gradient of 1 passes until it is beyond float32, by ``theory``."""
    variance = float(digits_batch(64)[0].square().mean())
    predicted = theory.gradient_profile("tanh", OVERFLOW_DEPTH, 4.0, variance).numpy()
    return int((predicted <= torch.finfo(torch.float32).max).sum())


@claim("T7")
def _t7() -> Finding:
    found = [tanh_overflow(seed) for seed in SEEDS]
    shallow = [probe(MLP(150, 64, "tanh", 4.0, seed=seed), *digits_batch(64)).output_gradient_norm[0] for seed in SEEDS]
    return Finding(
        "T7",
        "A deep enough tanh network overflows: not its signal, but its gradient, in the first step.",
        (
            each(
                "largest output of a layer, 250 tanh layers, σ_w = 4",
                [case.largest for case in found],
                "at most 1",
                lambda v: v <= 1,
            ),
            each(
                "layers that the gradient passes until it is not finite",
                [OVERFLOW_DEPTH - case.last_nonfinite for case in found],
                f"{layers_to_overflow()} ± 15 %, by theory",
                lambda v: abs(v / layers_to_overflow() - 1) < 0.15,
            ),
            each(
                "share of all weights that are not finite after one step",
                [case.lost for case in found],
                "above 0",
                lambda v: v > 0,
            ),
            each(
                "layers with a gradient that is not finite, of 150",
                [int((~np.isfinite(norms)).sum()) for norms in shallow],
                "0: not deep enough",
                lambda v: v == 0,
            ),
        ),
    )


@claim("T8")
def _t8() -> Finding:
    depths = (20, 80)
    first = {depth: profiles(depth, "tanh", 1.0, width=128)[:, 0] for depth in depths}
    ratio = np.exp(np.log(first[80]).mean() - np.log(first[20]).mean())
    near = float(predicted_profile(20, "tanh", 1.0, width=128)[0])
    predicted = [float(theory.gradient_profile("tanh", depth, 1.0)[0]) for depth in (1000, 4000)]
    return Finding(
        "T8",
        "At its critical scale tanh still loses gradient, slowly: like one over the root of the depth.",
        (
            each(
                "first over last gradient at 4,000 tanh layers over that at 1,000, by theory, σ_w = 1",
                [predicted[1] / predicted[0]],
                "0.5 ± 1 %",
                lambda v: abs(v / 0.5 - 1) < 0.01,
            ),
            each(
                "first over last gradient, 20 layers of 128 units",
                first[20],
                f"{near:.3f} ± 50 %, by theory",
                lambda v: abs(v / near - 1) < 0.5,
            ),
            each(
                "geometric mean over twenty networks of 80 layers over that of 20 layers",
                [ratio],
                "0.5 ± 20 %",
                lambda v: abs(v / 0.5 - 1) < 0.2,
            ),
        ),
    )


GELU_SCALE = 1.6


@memory.cache
def gelu_gradient(variance: float, seed: int) -> float:
    """First over last gradient in 30 GELU layers of 256 units; all of 64 digits reach layer 1 with this variance."""
    x, y = digits_batch(64)
    x = x * (math.sqrt(variance) / GELU_SCALE / x.square().mean(1, keepdim=True).sqrt())
    norms = probe(MLP(30, 256, "gelu", GELU_SCALE, seed=seed), x, y).output_gradient_norm[0]
    return float(norms[0] / norms[29])


@claim("T9")
def _t9() -> Finding:
    return Finding(
        "T9",
        "In one GELU network, with the same weights, the gradient of dim images vanishes and that of bright ones "
        "explodes.",
        (
            each(
                "first over last gradient, 30 GELU layers, σ_w = 1.6, digits dimmed to a variance of 0.1 in layer 1",
                [gelu_gradient(0.1, seed) for seed in SEEDS],
                "below 0.05",
                lambda v: v < 0.05,
            ),
            each(
                "the same with the digits raised to a variance of 3",
                [gelu_gradient(3.0, seed) for seed in SEEDS],
                "above 20",
                lambda v: v > 20,
            ),
        ),
    )


@memory.cache
def relu_ends_in_nan(seed: int) -> bool:
    """Whether 20 ReLU layers at a weight scale of 2 lose their numbers in eight steps of plain descent at 0.01."""
    model = MLP(20, 64, "relu", 2.0, seed=seed)
    trainer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = digits_batch(512)
    for step in range(8):
        trainer.zero_grad()
        cross_entropy(model(x[64 * step : 64 * step + 64]), y[64 * step : 64 * step + 64]).backward()
        trainer.step()
    return not bool(torch.nn.utils.parameters_to_vector(model.parameters()).isfinite().all())


@claim("T10")
def _t10() -> Finding:
    rate = 0.05
    (calm_gradient, calm_curvature), (gradient, curvature) = (steepest_curvature(scale) for scale in (1.0, 4.0))
    wild = [run(20, "tanh", 4.0, "SGD", rate, 2, seed) for seed in SEEDS]
    return Finding(
        "T10",
        "Where the gradient of a tanh network explodes, the curvature explodes like its square. Plain descent then "
        "throws the first layer far; tanh networks stay finite all the same, ReLU networks do not.",
        (
            each(
                "decades that curvature gains from σ_w = 1 to 4 over those of the gradient, layer 1 of 20 tanh layers",
                [np.log(curvature / calm_curvature).mean() / np.log(gradient / calm_gradient).mean()],
                "2 ± 0.2",
                lambda v: abs(v - 2) < 0.2,
            ),
            each(
                "learning rate × curvature of layer 1 at σ_w = 4, rate 0.05",
                rate * curvature,
                "above 1,000: a bowl would diverge",
                lambda v: v > 1000,
            ),
            each(
                "norm of layer 1 after two epochs over that at the start",
                [found.first_norm for found in wild],
                "above 2, and finite",
                lambda v: 2 < v < math.inf,
            ),
            each(
                "largest loss on the way over that of guessing",
                [found.loss.max() / math.log(10) for found in wild],
                "between 1 and 10: large, and finite",
                lambda v: 1 < v < 10,
            ),
            each(
                "20 ReLU layers at σ_w = 2, rate 0.01: 1 if weights are not finite after 8 steps",
                [relu_ends_in_nan(seed) for seed in SEEDS],
                "1",
                lambda v: v == 1,
            ),
        ),
    )


# optimiser, learning rate, epochs: two ways to train 3 tanh layers well
WELL = (("Adam", 3e-4, 10), ("Adam", 1e-2, 4))


@claim("T11")
def _t11() -> Finding:
    slow, fast = ([run(3, "tanh", 1.0, *how, seed) for seed in SEEDS] for how in WELL)
    middle = [[float(np.median(found.update_ratio)) for found in runs] for runs in (slow, fast)]
    return Finding(
        "T11",
        "Typical updates of networks that learn well lie a decade apart: from a thousandth of the weights to a "
        "hundredth.",
        (
            each(
                "test accuracy, 3 tanh layers, Adam at 0.0003, 10 epochs",
                [found.accuracy for found in slow],
                "above 0.85",
                lambda v: v > 0.85,
            ),
            each("median update ratio of that run", middle[0], "0.0005 to 0.002", lambda v: 5e-4 < v < 2e-3),
            each(
                "test accuracy, Adam at 0.01, 4 epochs",
                [found.accuracy for found in fast],
                "above 0.85",
                lambda v: v > 0.85,
            ),
            each("median update ratio of that run", middle[1], "0.005 to 0.02", lambda v: 5e-3 < v < 2e-2),
        ),
    )


ADAM_RATES = (1e-3, 1e-2)


def adam_on_exploding(seed: int) -> list[float]:
    """Test accuracies of 20 tanh layers at a weight scale of 4, three epochs of Adam at each of ``ADAM_RATES``."""
    return [run(20, "tanh", 4.0, "Adam", rate, 3, seed).accuracy for rate in ADAM_RATES]


@claim("T12")
def _t12() -> Finding:
    return Finding(
        "T12",
        "Adam gives each weight a step of its own length, and still does not train an exploding network.",
        (
            each(
                "best accuracy over learning rates 0.001 and 0.01, 20 tanh layers, σ_w = 4, three epochs of Adam",
                [max(adam_on_exploding(seed)) for seed in SEEDS],
                "below 0.3; guessing has 0.1",
                lambda v: v < 0.3,
            ),
            each(
                "the same at σ_w = 1, learning rate 0.001",
                [run(20, "tanh", 1.0, "Adam", 1e-3, 3, seed).accuracy for seed in SEEDS],
                "above 0.6",
                lambda v: v > 0.6,
            ),
        ),
    )
