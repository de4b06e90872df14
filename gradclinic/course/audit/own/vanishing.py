"""Own claims about slopes, and about what Adam makes of gradients that vanish."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.networks import digits_batch, mean_slopes, profiles
from gradclinic.course.data import digits
from gradclinic.course.initializers import Initializer
from gradclinic.course.models import MLP
from gradclinic.course.training import fit


def _near(expected: float, share: float, value: float) -> bool:
    return abs(value / expected - 1) < share


# --- slopes, and what they do not tell ---


@memory.cache
def slope_ratios(activation: str, init: Initializer, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Mean slope of the activation in layer 1 over that in layer 30, on digits; shape (seeds,)."""
    ends = [mean_slopes(30, activation, init, seed) for seed in seeds]
    return np.array([slopes[0] / slopes[-1] for slopes in ends])


SLOPED: dict[str, tuple[str, Initializer]] = {
    "sigmoid, Xavier": ("sigmoid", "xavier"),
    "sigmoid, He": ("sigmoid", "he"),
    "tanh, Xavier": ("tanh", "xavier"),
    "tanh, He": ("tanh", "he"),
}


@claim("T15")
def _t15() -> Finding:
    slopes = {name: slope_ratios(*network) for name, network in SLOPED.items()}
    gradients = {name: profiles(30, *network)[:, 0] for name, network in SLOPED.items()}
    return Finding(
        "T15",
        "How slopes change across depth does not tell what the gradient does: they can be level where it vanishes, and "
        "shrink going backward where it grows.",
        (
            each(
                "mean slope in layer 1 over layer 30, sigmoid, Xavier's start",
                slopes["sigmoid, Xavier"],
                "0.95 to 1: level",
                lambda v: 0.95 < v < 1,
            ),
            each(
                "gradient there, first over last layer",
                gradients["sigmoid, Xavier"],
                "below 10⁻¹⁷",
                lambda v: v < 1e-17,
            ),
            each(
                "mean slope in layer 1 over layer 30, tanh, He's start",
                slopes["tanh, He"],
                "below 0.85: they shrink",
                lambda v: v < 0.85,
            ),
            each("gradient there, first over last layer", gradients["tanh, He"], "above 1: it grows", lambda v: v > 1),
        ),
    )


# --- Adam's epsilon ---


def first_adam_step(epsilon: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each layer's weights in the first step on 20 sigmoid layers, He's start, learning rate 0.003.

    Three arrays of shape (layers,): root mean square of the step over the learning rate; the same of |g| / (|g| + ε),
    which Adam's equations give for a first step; norm of the step over norm of the weights.
    """
    model, (x, y) = MLP(20, 64, "sigmoid", "he", seed=seed), digits_batch()
    weights = [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]
    before = [weight.detach().clone().double() for weight in weights]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, eps=epsilon)
    cross_entropy(model(x), y).backward()
    optimizer.step()
    rows = []
    for weight, old in zip(weights, before, strict=True):
        step, size = weight.detach().double() - old, weight.grad.double().abs()  # type: ignore[union-attr]
        told = size / (size + epsilon)
        rows.append(
            [
                float(step.square().mean().sqrt()) / 3e-3,
                float(told.square().mean().sqrt()),
                float(step.norm() / old.norm()),
            ]
        )
    found = np.array(rows)
    return found[:, 0], found[:, 1], found[:, 2]


@memory.cache
def moved_by_adam(loss_times: float, epsilon: float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Distance that 60 steps of Adam move 3 ReLU layers on 256 digits, with the loss times a number; shape (seeds,)."""
    (x, y), found = digits_batch(), []
    for seed in seeds:
        model = MLP(3, 64, "relu", "he", seed=seed)
        before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=epsilon)
        for _ in range(60):
            optimizer.zero_grad()
            (loss_times * cross_entropy(model(x), y)).backward()
            optimizer.step()
        after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        found.append(float((after - before).norm()))
    return np.array(found)


@claim("T16")
def _t16() -> Finding:
    steps, told, ratios = zip(*(first_adam_step(1e-8, seed) for seed in SEEDS), strict=True)
    usual, tiny = moved_by_adam(1.0, 1e-8), moved_by_adam(1.0, 1e-20)
    return Finding(
        "T16",
        "Adam's steps do not depend on the size of the gradient while it is far above ε. Below, they shrink with it.",
        (
            each(
                "first step of layer 3 of 20 sigmoid layers over learning rate × |g| / (|g| + ε), root mean squares",
                [step[2] / expected[2] for step, expected in zip(steps, told, strict=True)],
                "1 ± 2 %, by Adam's equations",
                lambda v: abs(v - 1) < 0.02,
            ),
            each("update ratio of layer 1 in that step", [r[0] for r in ratios], "below 10⁻⁵", lambda v: v < 1e-5),
            each("the same of the read-out", [r[-1] for r in ratios], "above 0.01", lambda v: v > 0.01),
            each(
                "distance moved in 60 steps with the loss × 0.01 over × 1, 3 ReLU layers",
                moved_by_adam(0.01, 1e-8) / usual,
                "1 ± 1 %",
                lambda v: abs(v - 1) < 0.01,
            ),
            each("the same with the loss × 10⁻⁶", moved_by_adam(1e-6, 1e-8) / usual, "below 0.8", lambda v: v < 0.8),
            each("the same with the loss × 10⁻⁹", moved_by_adam(1e-9, 1e-8) / usual, "below 0.02", lambda v: v < 0.02),
            each(
                "the same with the loss × 10⁻⁹ and ε = 10⁻²⁰",
                moved_by_adam(1e-9, 1e-20) / tiny,
                "1 ± 1 %",
                lambda v: abs(v - 1) < 0.01,
            ),
        ),
    )


@memory.cache
def taught_with(epsilon: float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Test accuracy of 20 sigmoid layers, He's start, after 4 epochs of Adam at 0.003 with this ε; shape (seeds,)."""
    found = []
    for seed in seeds:
        model = MLP(20, 64, "sigmoid", "he", seed=seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, eps=epsilon)
        found.append(fit(model, digits(), optimizer, 4, seed=seed, progress=False).test_accuracy[-1])
    return np.array(found)


@claim("T17")
def _t17() -> Finding:
    ratios = [first_adam_step(1e-20, seed)[2] for seed in SEEDS]
    return Finding(
        "T17",
        "Steps of full length in every layer need not mend a vanishing gradient: 20 sigmoid layers still guess after "
        "four epochs.",
        (
            each(
                "smallest update ratio of a layer in the first step, 20 sigmoid layers, ε = 10⁻²⁰",
                [r.min() for r in ratios],
                "above 0.01: all layers take long steps",
                lambda v: v > 0.01,
            ),
            each("test accuracy after 4 epochs", taught_with(1e-20), "below 0.15 (guessing 0.10)", lambda v: v < 0.15),
        ),
    )


@memory.cache
def left_by_decay(decay: float, epsilon: float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Norm of layer 1's weights after 60 steps over before: Adam at 0.005 with ``weight_decay``; shape (seeds,).

    10 sigmoid layers of 32 units, PyTorch's start, 128 digits.
    """
    (x, y), found = digits_batch(128), []
    for seed in seeds:
        model = MLP(10, 32, "sigmoid", "pytorch", seed=seed)
        before = model.layer1.weight.detach().norm().item()
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, eps=epsilon, weight_decay=decay)
        for _ in range(60):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        found.append(model.layer1.weight.detach().norm().item() / before)
    return np.array(found)


@claim("T18")
def _t18() -> Finding:
    told = {decay: (1 - 5e-3 * decay / 1e-8) ** 60 for decay in (1e-8, 1e-9)}
    return Finding(
        "T18",
        "Adam's weight_decay folds up a layer without gradient, if decay times weight is well above ε. Far below ε it "
        "is a plain decay, by learning rate × decay / ε in a step.",
        (
            each(
                "norm of layer 1 after 60 steps over before, decay 10⁻⁴, ε = 10⁻⁸",
                left_by_decay(1e-4, 1e-8),
                "below 0.1",
                lambda v: v < 0.1,
            ),
            each(
                "the same with decay 10⁻⁸, as decay times weight is a tenth of ε",
                left_by_decay(1e-8, 1e-8),
                f"{told[1e-8]:.3f} ± 4 %",
                partial(_near, told[1e-8], 0.04),
            ),
            each(
                "the same with decay 10⁻⁹",
                left_by_decay(1e-9, 1e-8),
                f"{told[1e-9]:.3f} ± 1 %",
                partial(_near, told[1e-9], 0.01),
            ),
            each("with decay 10⁻⁸ and ε = 10⁻¹²", left_by_decay(1e-8, 1e-12), "below 0.1", lambda v: v < 0.1),
        ),
    )
