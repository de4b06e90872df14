"""Claims about the optimisation process and vanishing gradients."""

import math
import operator
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, Quantity, claim, each
from gradclinic.course.audit.networks import (
    accuracy_by_depth,
    digits_batch,
    layer_factor,
    mean_slopes,
    predicted_profile,
    probes,
    profiles,
    stuck,
)
from gradclinic.course.models import MLP
from gradclinic.recorder import SATURATED_BELOW, probe


@claim("S1")
def _s1() -> Finding:
    low, high = profiles(30, "tanh", 0.5), profiles(30, "tanh", 4.0)
    return Finding(
        "S1",
        "Gradient descent can meet vanishing and exploding gradients.",
        (
            each(
                "first over last gradient norm, 30 tanh layers, σ_w = 0.5", low[:, 0], "below 10⁻³", lambda v: v < 1e-3
            ),
            each("the same network at σ_w = 4", high[:, 0], "above 10³", lambda v: v > 1e3),
        ),
    )


S2_CASES = (
    ("sigmoid", 1.0),
    ("sigmoid", 4.0),
    ("tanh", 1.0),
    ("tanh", 5 / 3),
    ("relu", math.sqrt(2)),
    ("relu", 1.0),
    ("linear", 1.0),
)


@claim("S2")
def _s2() -> Finding:
    ends = [mean_slopes(30, "sigmoid", 1.0, seed) for seed in SEEDS]
    corrected = []
    for activation, scale in S2_CASES:
        measured = layer_factor(profiles(30, activation, scale))
        predicted = float(layer_factor(predicted_profile(30, activation, scale).numpy()))
        # the mean over seeds is compared: a single network of finite width scatters around it
        near = abs(measured.mean() / predicted - 1) < 0.02
        corrected.append(
            Quantity(
                f"factor of the squared gradient per layer, {activation}, σ_w = {scale:.3g}",
                tuple(measured),
                f"{predicted:.4g} ± 2 %",
                near,
            )
        )
    return Finding(
        "S2",
        "Gradients vanish because the slopes of the activations get smaller going backward through the layers.",
        (
            each(
                "mean slope of the activation in layer 1 over layer 30, sigmoid",
                [slopes[0] / slopes[-1] for slopes in ends],
                "below 0.5, if slopes shrink going backward",
                lambda v: v < 0.5,
            ),
        ),
        "Each layer's slopes are about as large as the next one's. What shrinks is the product of the layers' "
        "Jacobians: each layer multiplies the squared gradient by chi = σ_w² E[φ′(z)²].",
        tuple(corrected),
    )


@claim("S3")
def _s3() -> Finding:
    by_depth = {depth: profiles(depth, "sigmoid", 1.0)[:, 0] for depth in (5, 10, 20, 30)}
    deep = np.log(profiles(30, "sigmoid", 1.0))
    layers = np.arange(1, 31)
    slopes = np.array([np.polyfit(layers, row, 1)[0] for row in deep])
    straightness = [np.corrcoef(layers, row)[0, 1] ** 2 for row in deep]
    predicted = -math.log(theory.chi("sigmoid", 1.0, theory.fixed_point("sigmoid", 1.0))) / 2
    return Finding(
        "S3",
        "The deeper the network, the worse.",
        (
            *(
                each(
                    f"first over last gradient norm, {depth} sigmoid layers",
                    values,
                    f"below {bound:.0e}",
                    partial(operator.gt, bound),
                )
                for (depth, values), bound in zip(by_depth.items(), (1e-2, 1e-5, 1e-11, 1e-17), strict=True)
            ),
            Quantity(
                "slope of the log gradient norm per layer",
                tuple(slopes),
                f"{predicted:.3f} ± 2 %, which is −log(chi)/2",
                bool(abs(slopes.mean() / predicted - 1) < 0.02),
            ),
            each("how straight that line is (R²)", straightness, "above 0.999", lambda v: v > 0.999),
        ),
    )


@claim("S4")
def _s4() -> Finding:
    sgd, adam = stuck("SGD"), stuck("Adam")
    decades = [np.log10(r.gradient_norm[0, :20] / r.gradient_norm[0, 19]) for r in sgd]
    return Finding(
        "S4",
        "Updates become exponentially small; training crawls or halts.",
        (
            each(
                "decades the weight gradient loses from layer 20 to layer 1, at the start",
                [-d[0] for d in decades],
                "above 10",
                lambda v: v > 10,
            ),
            each(
                "share of recorded steps that left layer 1 exactly where it was, SGD",
                [(r.update_ratio[:, 0] == 0).mean() for r in sgd],
                "above 0.95",
                lambda v: v > 0.95,
            ),
            each(
                "median update-to-weight ratio of the read-out in the same runs",
                [np.median(r.update_ratio[:, -1]) for r in sgd],
                "above 10⁻³",
                lambda v: v > 1e-3,
            ),
            each(
                "test accuracy after 20 epochs, SGD",
                [r.accuracy for r in sgd],
                "below 0.15 (guessing 0.10)",
                lambda v: v < 0.15,
            ),
            each("the same with Adam", [r.accuracy for r in adam], "below 0.15 (guessing 0.10)", lambda v: v < 0.15),
        ),
    )


def _same(expected: float, value: float) -> bool:
    return abs(value - expected) < 1e-12


@claim("S5")
def _s5() -> Finding:
    z = torch.linspace(-15, 15, 30001, dtype=torch.float64).requires_grad_()
    quantities = []
    for name, function, top in (("sigmoid", torch.sigmoid, 0.25), ("tanh", torch.tanh, 1.0)):
        slope = torch.autograd.grad(function(z).sum(), z)[0]
        quantities += [
            each(f"largest slope of {name}, by autograd", [slope.max()], f"{top:g}", partial(_same, top)),
            each(f"where {name} is steepest", [z[slope.argmax()].detach()], "0", lambda v: abs(v) < 1e-9),
            each(f"smallest slope of {name} on −15 … 15", [slope.min()], "above 0", lambda v: v > 0),
        ]
    return Finding(
        "S5", "The slope of sigmoid lies between 0 and 0.25, that of tanh between 0 and 1.", tuple(quantities)
    )


@claim("S6")
def _s6() -> Finding:
    runs = stuck("SGD")
    return Finding(
        "S6",
        "Weights become very small, so that updated weights resemble the old ones.",
        (
            each(
                "norm of layer 1 after training over before",
                [r.first_norm for r in runs],
                "below 0.5, if weights become small",
                lambda v: v < 0.5,
            ),
        ),
        "The weights stay as large as they were. It is the updates that become small, and so the weights stay where "
        "they started.",
        (
            each(
                "norm of layer 1 after training over before, minus 1",
                [abs(r.first_norm - 1) for r in runs],
                "below 10⁻⁶",
                lambda v: v < 1e-6,
            ),
            each(
                "distance layer 1 moved, relative to its norm",
                [r.first_moved for r in runs],
                "below 10⁻⁶",
                lambda v: v < 1e-6,
            ),
        ),
    )


def first_rounded_to_one(function: Callable[[Tensor], Tensor]) -> float:
    """The smallest float32 at which ``function`` returns exactly 1, by bisection over the float32 numbers."""
    low, high = torch.tensor(1.0).view(torch.int32).item(), torch.tensor(64.0).view(torch.int32).item()
    while high - low > 1:  # positive floats are ordered like the integers with the same bits
        middle = (low + high) // 2
        value = torch.tensor(middle, dtype=torch.int32).view(torch.float32)
        low, high = (low, middle) if function(value) == 1 else (middle, high)
    return torch.tensor(high, dtype=torch.int32).view(torch.float32).item()


@claim("S7")
def _s7() -> Finding:
    wide = torch.tensor(15.0, dtype=torch.float64)
    return Finding(
        "S7",
        "Sigmoid saturates at 0 and 1, tanh at −1 and 1.",
        (
            each(
                "1 − sigmoid(15) in double precision",
                [1 - torch.sigmoid(wide)],
                "above 0, below 10⁻⁶",
                lambda v: 0 < v < 1e-6,
            ),
            each("sigmoid(−15)", [torch.sigmoid(-wide)], "above 0, below 10⁻⁶", lambda v: 0 < v < 1e-6),
            each("1 − tanh(15)", [1 - torch.tanh(wide)], "above 0, below 10⁻¹²", lambda v: 0 < v < 1e-12),
            each("1 + tanh(−15)", [1 + torch.tanh(-wide)], "above 0, below 10⁻¹²", lambda v: 0 < v < 1e-12),
            each(
                "float32 input at which sigmoid is rounded to exactly 1",
                [first_rounded_to_one(torch.sigmoid)],
                f"{24 * math.log(2):.2f} ± 1, which is 24 log 2",
                lambda v: abs(v - 24 * math.log(2)) < 1,
            ),
            each(
                "float32 input at which tanh is rounded to exactly 1",
                [first_rounded_to_one(torch.tanh)],
                f"{26 * math.log(2) / 2:.2f} ± 0.5, which is 13 log 2",
                lambda v: abs(v - 13 * math.log(2)) < 0.5,
            ),
        ),
    )


@claim("S8")
def _s8() -> Finding:
    x = digits_batch()[0]
    share, slope_there, slope_all = [], [], []
    for seed in SEEDS:
        z = MLP(1, 256, "sigmoid", 16.0, seed=seed)[0](x).detach().double()
        slope = theory.slope("sigmoid", z)
        saturated = slope < SATURATED_BELOW * 0.25
        share.append(saturated.double().mean())
        slope_there.append(slope[saturated].mean() / 0.25)
        slope_all.append(slope.mean() / 0.25)
    exact = math.exp(-10) / (1 + math.exp(-10)) ** 2
    ten = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    measured = torch.autograd.grad(torch.sigmoid(ten), ten)[0]
    return Finding(
        "S8",
        "In saturation the derivative is about zero.",
        (
            each(
                "slope of sigmoid at 10, by autograd", [measured], f"{exact:.4g}", lambda v: abs(v / exact - 1) < 1e-9
            ),
            each("share of units saturated by digits, sigmoid, σ_w = 16", share, "above 0.5", lambda v: v > 0.5),
            each("their mean slope, relative to the largest", slope_there, "below 0.05", lambda v: v < 0.05),
            each("mean slope of all units, relative to the largest", slope_all, "below 0.3", lambda v: v < 0.3),
        ),
    )


@claim("S9")
def _s9() -> Finding:
    accuracy = accuracy_by_depth("sigmoid", (1, 2, 20))
    return Finding(
        "S9",
        "A shallow network is hardly troubled, a deep one badly.",
        (
            each("test accuracy, 1 sigmoid layer", accuracy[1], "above 0.9", lambda v: v > 0.9),
            each("2 sigmoid layers", accuracy[2], "above 0.9", lambda v: v > 0.9),
            each(
                "20 sigmoid layers, everything else equal",
                accuracy[20],
                "below 0.15 (guessing 0.10)",
                lambda v: v < 0.15,
            ),
        ),
    )


@claim("S10")
def _s10() -> Finding:
    below, above = [], []
    for seed in SEEDS:
        free, forced = (MLP(6, 64, "tanh", "xavier", seed=seed) for _ in range(2))
        with torch.no_grad():
            forced.layer4.bias.fill_(10.0)  # the bias, not the weights: those also carry the gradient backward
        ratio = probe(forced, *digits_batch()).gradient_norm[0] / probe(free, *digits_batch()).gradient_norm[0]
        below.append(ratio[2])
        above.append(ratio[4])
    return Finding(
        "S10",
        "Inputs in the saturated range leave the weights of the layer before them unmoved.",
        (
            each(
                "weight gradient of layer 3 with layer 4 saturated, over without (tanh, 6 layers)",
                below,
                "below 10⁻⁴",
                lambda v: v < 1e-4,
            ),
            each("the same for layer 5, after the saturated one", above, "above 0.1", lambda v: v > 0.1),
        ),
    )


@claim("S11")
def _s11() -> Finding:
    norms = np.stack([r.gradient_norm[0] for r in probes(20, "sigmoid", "pytorch", width=64)])
    runs = stuck("SGD")
    return Finding(
        "S11",
        "Small factors multiply; the first layer learns very slowly; training can fail.",
        (
            each(
                "first over last layer's weight gradient, 20 sigmoid layers, PyTorch's start",
                norms[:, 0] / norms[:, -1],
                "below 10⁻¹⁴",
                lambda v: v < 1e-14,
            ),
            each(
                "distance layer 1 moved in 20 epochs, relative to its norm",
                [r.first_moved for r in runs],
                "below 10⁻⁶",
                lambda v: v < 1e-6,
            ),
            each("test accuracy then", [r.accuracy for r in runs], "below 0.15 (guessing 0.10)", lambda v: v < 0.15),
        ),
    )


@claim("S26")
def _s26() -> Finding:
    different, rounded_twice, ulp = [], [], []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        weight, gradient = torch.randn(2, 100_000, generator=generator)
        parameter = torch.nn.Parameter(weight.clone())
        parameter.grad = gradient.clone()
        torch.optim.SGD([parameter], lr=0.1).step()
        stepped = parameter.detach()
        different.append((stepped != torch.add(weight, gradient, alpha=-0.1)).double().mean())
        by_hand = weight - 0.1 * gradient
        rounded_twice.append((stepped != by_hand).double().mean())
        # a unit in the last place of the largest number involved, because the difference itself may cancel
        largest = torch.stack([stepped.abs(), weight.abs(), (0.1 * gradient).abs()]).amax(0)
        ulp.append(((stepped - by_hand).abs() / torch.from_numpy(np.spacing(largest.numpy()))).max())
    return Finding(
        "S26",
        "One step changes each weight by minus the learning rate times its gradient: ΔW = −α ∂L/∂W.",
        (
            each(
                "share of weights that differ from torch.optim.SGD, W + (−α) g rounded once",
                different,
                "0",
                lambda v: v == 0,
            ),
            each(
                "largest difference if W − α g is rounded twice, in units of the last place",
                ulp,
                "at most 1",
                lambda v: v <= 1,
            ),
            each("share of weights that this second rounding touches", rounded_twice, "below 0.15", lambda v: v < 0.15),
        ),
    )
