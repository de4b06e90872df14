"""Claims about exploding gradients."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, Quantity, claim, each, memory
from gradclinic.course.audit.networks import (
    digits_batch,
    layer_factor,
    mean_slopes,
    profiles,
    settled_prediction,
    settled_profiles,
)
from gradclinic.course.models import MLP
from gradclinic.course.training import descend
from gradclinic.recorder import probe


@functools.cache
def first_step(activation: str, scale: float, learning_rate: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Of layer 1 of 20: the gradient, and how far one step of SGD moves it, both relative to the norm of its weights.

    Shapes (seeds,). The distance is read off the weights after the step, not computed from the gradient.
    """
    gradients, moved = [], []
    for seed in SEEDS:
        model = MLP(20, 128, activation, scale, seed=seed)
        before = model.layer1.weight.detach().double().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
        x, y = digits_batch()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        gradients.append(float(model.layer1.weight.grad.double().norm() / before.norm()))
        moved.append(float((model.layer1.weight.detach().double() - before).norm() / before.norm()))
    return np.array(gradients), np.array(moved)


@claim("S21")
def _s21() -> Finding:
    (calm, calm_step), (large, large_step) = (first_step("tanh", scale) for scale in (1.0, 4.0))
    return Finding(
        "S21",
        "Exploding gradients: the gradients of the loss become excessively large.",
        (
            each(
                "gradient of layer 1, 20 tanh layers, σ_w = 4, over the same at σ_w = 1 (each relative to its weights)",
                large / calm,
                "above 100",
                lambda v: v > 100,
            ),
            each(
                "distance one step at learning rate 0.01 moves layer 1, relative to its norm, σ_w = 4",
                large_step,
                "above 0.05",
                lambda v: v > 0.05,
            ),
            each("the same at σ_w = 1", calm_step, "below 0.001", lambda v: v < 1e-3),
        ),
    )


@memory.cache
def steepest_curvature(scale: float, seeds: Sequence[int] = SEEDS) -> tuple[np.ndarray, np.ndarray]:
    """Norm of the gradient, and largest curvature of the loss, along layer 1's weights: 20 tanh layers, 64 digits.

    Shapes (seeds,). The curvature is the largest eigenvalue of the Hessian of these weights, by Lanczos' method.
    """
    x, y = digits_batch(64)
    gradients, curvatures = [], []
    for seed in seeds:
        model = MLP(20, 64, "tanh", scale, seed=seed).double()
        weight = model.layer1.weight
        (gradient,) = torch.autograd.grad(cross_entropy(model(x.double()), y), weight, create_graph=True)

        def times_hessian(vector: np.ndarray, gradient: Tensor = gradient, weight: Tensor = weight) -> np.ndarray:
            direction = torch.from_numpy(np.array(vector)).reshape(weight.shape)
            return torch.autograd.grad(gradient, weight, direction, retain_graph=True)[0].flatten().numpy()

        size = weight.numel()
        hessian = LinearOperator((size, size), matvec=times_hessian, dtype=np.float64)
        start = np.random.default_rng(seed).standard_normal(size)  # or Lanczos draws its own, another each time
        (largest,) = eigsh(hessian, k=1, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)
        gradients.append(float(gradient.detach().norm()))
        curvatures.append(float(largest))
    return np.array(gradients), np.array(curvatures)


S22_CASES = (("tanh", 1.414), ("tanh", 4.0), ("relu", 4.0), ("linear", 4.0), ("sigmoid", 20.0))


def norm_factors(activation: str, scale: float) -> np.ndarray:
    """Factor of the gradient norm per layer, where the signal has settled; shape (seeds,)."""
    factors: np.ndarray = np.sqrt(layer_factor(settled_profiles(activation, scale)))
    return factors


def predicted_norm_factor(activation: str, scale: float) -> float:
    """What ``theory`` predicts for ``norm_factors``: the root of chi."""
    return math.sqrt(float(layer_factor(settled_prediction(activation, scale))))


@claim("S22")
def _s22() -> Finding:
    ends = [mean_slopes(20, "tanh", 4.0, seed) for seed in SEEDS]
    corrected = []
    for activation, scale in S22_CASES:
        measured, predicted = norm_factors(activation, scale), predicted_norm_factor(activation, scale)
        near = abs(measured.mean() / predicted - 1) < 0.02 and measured.min() > 1
        corrected.append(
            Quantity(
                f"factor of the gradient norm per layer, {activation}, σ_w = {scale:.3g}",
                tuple(measured),
                f"{predicted:.4g} ± 2 %, and above 1 in every network",
                bool(near),
            )
        )
    return Finding(
        "S22",
        "Gradients explode because the slopes get larger going backward through the layers.",
        (
            each(
                "mean slope of the activation in layer 1 over layer 20, tanh, σ_w = 4",
                [slopes[0] / slopes[-1] for slopes in ends],
                "above 2, if slopes grow going backward",
                lambda v: v > 2,
            ),
        ),
        "The slopes do not grow; no slope of tanh is above 1. What grows is the product of the layers' Jacobians: each "
        "layer multiplies the gradient norm by the root of chi = σ_w² E[φ′(z)²], and chi is above 1.",
        tuple(corrected),
    )


@claim("S23")
def _s23() -> Finding:
    shared = 1.2  # the same draws of the same weights; only the activation differs
    corrected = []
    for activation in ("linear", "tanh", "relu", "sigmoid"):
        critical = theory.critical_weight_std(activation)
        corrected += [
            each(
                f"factor of the gradient norm per layer, {activation}, at 0.85 of its critical σ_w = {critical:.4g}",
                norm_factors(activation, 0.85 * critical),
                "below 1",
                lambda v: v < 1,
            ),
            each(
                f"the same at 1.25 of it, {activation}",
                norm_factors(activation, 1.25 * critical),
                "above 1",
                lambda v: v > 1,
            ),
        ]
    growth = np.log(norm_factors("tanh", 20.0) / norm_factors("tanh", 10.0)) * 2 / math.log(2)
    straight = np.log(norm_factors("linear", 20.0) / norm_factors("linear", 10.0)) * 2 / math.log(2)
    return Finding(
        "S23",
        "The root cause of exploding gradients is the weights rather than the activation.",
        tuple(
            each(
                f"factor of the gradient norm per layer, {activation}, σ_w = {shared}, the same weights",
                norm_factors(activation, shared),
                "above 1, if weights alone decide",
                lambda v: v > 1,
            )
            for activation in ("linear", "relu", "sigmoid")
        ),
        "It is both: gradients explode where σ_w² E[φ′(z)²] is above 1. Each activation has a critical weight scale of "
        "its own. Larger weights also saturate tanh, so that its factor chi grows like σ_w, not like σ_w².",
        (
            *corrected,
            each(
                "power of σ_w with which chi grows, tanh, from σ_w = 10 to 20",
                growth,
                "1 ± 0.5",
                lambda v: abs(v - 1) < 0.5,
            ),
            each("the same without an activation", straight, "2", lambda v: abs(v - 2) < 1e-3),
        ),
    )


@claim("S24")
def _s24() -> Finding:
    scales = (1.0, 2.0, 4.0)
    steps = [first_step("tanh", scale) for scale in scales]
    rises = [
        (low, high, later / earlier)
        for low, high, (earlier, _), (later, _) in zip(scales, scales[1:], steps, steps[1:], strict=False)
    ]
    longer = [
        (low, high, later / earlier)
        for low, high, (_, earlier), (_, later) in zip(scales, scales[1:], steps, steps[1:], strict=False)
    ]
    return Finding(
        "S24",
        "Large weights give large derivatives, and new weights that deviate far from the old ones.",
        (
            *(
                each(
                    f"relative gradient of layer 1 at σ_w = {high:g} over σ_w = {low:g}, 20 tanh layers",
                    rise,
                    "above 2",
                    lambda v: v > 2,
                )
                for low, high, rise in rises
            ),
            *(
                each(
                    f"distance one step moves layer 1 at σ_w = {high:g} over σ_w = {low:g}, relative to its norm",
                    rise,
                    "above 2",
                    lambda v: v > 2,
                )
                for low, high, rise in longer
            ),
        ),
    )


def two_valleys(learning_rate: float, start: float, steps: int = 150) -> np.ndarray:
    """Positions of ``torch.optim.SGD`` on 0.1 w² − exp(−8 (w − 4)²): a wide valley at 0, a steep, higher one near 4."""
    w = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    path = [start]
    for _ in range(steps):
        optimizer.zero_grad()
        (0.1 * w**2 - torch.exp(-8 * (w - 4) ** 2)).backward()
        optimizer.step()
        path.append(w.item())
    return np.array(path)


@claim("S25")
def _s25() -> Finding:
    generator = torch.Generator().manual_seed(0)
    starts = (4 + 0.1 * torch.randn(20, generator=generator, dtype=torch.float64)).tolist()
    small, large = ([two_valleys(rate, start)[-1] for start in starts] for rate in (0.02, 0.5))
    far = descend(0.5, [1.0], [1000.0], 200)[:, 0].numpy()
    exact = []
    for product in (0.1, 0.5, 1.5, 1.9, 2.0, 2.1):
        walk = descend(product / 4.0, [4.0], [1.0], 60)[:, 0].abs().numpy()
        exact.append(np.abs(walk / abs(1 - product) ** np.arange(61) - 1).max())
    at_limit = descend(2.0, [1.0], [1.0], 200)[:, 0].numpy()
    return Finding(
        "S25",
        "With exploding gradients, training oscillates around minima and misses the global one.",
        (
            each(
                "share of steps that cross the minimum: bowl, first gradient 1000, learning rate × curvature 0.5",
                [(far[1:] * far[:-1] < 0).mean()],
                "above 0.5, if a large gradient makes it oscillate",
                lambda v: v > 0.5,
            ),
            each(
                "where steps too long for a steep valley end, if a wide, deeper one is at 0",
                large,
                "farther than 1 from 0, if oscillating means missing the global minimum",
                lambda v: abs(v) > 1,
            ),
        ),
        "Whether it oscillates is decided by learning rate × curvature: on a bowl each step multiplies the error by "
        "1 − αc, which changes sign above 1 and grows above 2. A loss with several valleys promises no one the global "
        "minimum: here short steps stay in the steep valley, and long ones leave it for the deeper.",
        (
            each(
                "largest relative distance from |1 − αc|^t over 60 steps, αc from 0.1 to 2.1",
                [max(exact)],
                "below 10⁻¹⁴",
                lambda v: v < 1e-14,
            ),
            each(
                "error after 200 steps over the first, learning rate × curvature exactly 2",
                [abs(at_limit[-1])],
                "1",
                lambda v: v == 1,
            ),
            each("where short steps end", small, "3.95 ± 0.05, the steep valley", lambda v: abs(v - 3.95) < 0.05),
            each("where long steps end", large, "0, the deeper one", lambda v: abs(v) < 1e-3),
        ),
    )


def jacobian_gains(depth: int, activation: str, scale: float, seed: int, width: int = 128) -> np.ndarray:
    """Mean squared singular value of each Jacobian between the pre-activations of neighbouring layers, on real digits.

    Shape (depth − 1,). It is the squared Frobenius norm over the width, as a mean over the digits.
    """
    model, gains = MLP(depth, width, activation, scale, seed=seed), []
    signal = digits_batch()[0]
    with torch.no_grad():
        for layer in range(1, depth):
            signal = getattr(model, f"layer{layer}")(signal)
            slopes = theory.slope(activation, signal.double())
            columns = getattr(model, f"layer{layer + 1}").weight.double().square().sum(0)
            gains.append(float((slopes**2 @ columns).mean() / width))
            signal = getattr(model, f"activation{layer}")(signal)
    return np.array(gains)


@claim("S27")
def _s27() -> Finding:
    x, y = digits_batch()

    def ends(scale: float, factor: float) -> tuple[list[float], list[float], list[float]]:
        """First over last gradient at the pre-activations, and the smallest and the largest weight gradient."""
        records = [
            probe(MLP(20, 128, "tanh", scale, seed=seed), x, y, lambda a, b: factor * cross_entropy(a, b))
            for seed in SEEDS
        ]
        norms = np.stack([r.gradient_norm[0] for r in records])
        ratio = np.stack([r.output_gradient_norm[0, 0] / r.output_gradient_norm[0, 19] for r in records])
        return ratio.tolist(), norms.min(1).tolist(), norms.max(1).tolist()

    level, smallest, _ = ends(1.0, 2.0**20)
    steep, _, largest = ends(4.0, 2.0**-30)
    gains = {
        scale: [np.exp(np.log(jacobian_gains(20, "tanh", scale, seed)).mean()) for seed in SEEDS]
        for scale in (0.8, 4.0)
    }
    spectral = [
        float(torch.linalg.matrix_norm(MLP(2, 128, "linear", 0.8, seed=seed).layer2.weight.detach(), 2))
        for seed in SEEDS
    ]
    shrunk = profiles(20, "linear", 0.8, width=128)[:, 0]
    return Finding(
        "S27",
        "Exploding gradients are caused by gradients greater than 1.",
        (
            each(
                "smallest weight gradient of 20 tanh layers, σ_w = 1, loss × 2²⁰",
                smallest,
                "above 1, so that all gradients are",
                lambda v: v > 1,
            ),
            each(
                "first over last gradient of that network",
                level,
                "above 100, if that makes them explode",
                lambda v: v > 100,
            ),
            each(
                "largest weight gradient of 20 tanh layers, σ_w = 4, loss × 2⁻³⁰",
                largest,
                "below 1, so that all gradients are",
                lambda v: v < 1,
            ),
            each(
                "first over last gradient of that network",
                steep,
                "below 100, if none above 1 means no explosion",
                lambda v: v < 100,
            ),
        ),
        "The gradient's own size has no say; it changes with the unit of the loss. Gradients explode where the layers' "
        "Jacobians have a mean squared singular value above 1. That the largest one is above 1 is not enough.",
        (
            each(
                "mean squared singular value of a layer's Jacobian, tanh, σ_w = 4",
                gains[4.0],
                "above 1",
                lambda v: v > 1,
            ),
            each("the same at σ_w = 0.8, where gradients vanish", gains[0.8], "below 1", lambda v: v < 1),
            each("largest singular value of a linear layer, σ_w = 0.8", spectral, "above 1", lambda v: v > 1),
            each("first over last gradient of 20 such layers", shrunk, "below 0.1: they vanish", lambda v: v < 0.1),
        ),
    )


@claim("S28")
def _s28() -> Finding:
    # the flat bowl starts at gradient 1000, the steep one at 0.001; 200 steps each
    flat = descend(1.0, [1e-3], [1e6], 200)[:, 0].numpy()
    steep = descend(2.2, [1.0], [1e-3], 200)[:, 0].numpy()
    return Finding(
        "S28",
        "A gradient larger than 1 in size makes the weights grow exponentially.",
        (
            each(
                "factor of the weight per step: first gradient 1000, learning rate × curvature 0.001",
                [(abs(flat[-1] / flat[0])) ** (1 / 200)],
                "above 1, if gradients above 1 make weights grow",
                lambda v: v > 1,
            ),
            each(
                "smallest gradient in those 200 steps",
                [1e-3 * np.abs(flat).min()],
                "above 1, so that every step had one",
                lambda v: v > 1,
            ),
            each(
                "factor of the weight per step: first gradient 0.001, learning rate × curvature 2.2",
                [(abs(steep[-1] / steep[0])) ** (1 / 200)],
                "at most 1, if gradients below 1 let no weight grow",
                lambda v: v <= 1,
            ),
            each(
                "the same in the 30 steps in which the gradient is still below 1",
                [abs(steep[30] / steep[0]) ** (1 / 30)],
                "at most 1",
                lambda v: v <= 1,
            ),
        ),
    )
