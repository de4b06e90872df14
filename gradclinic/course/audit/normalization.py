"""Claims about batch normalisation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.league import DEEP, LEAGUE_SEEDS, treated
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.recorder import probe


@memory.cache
def normalized_profiles(
    activation: str,
    depth: int = DEEP,
    width: int = 256,
    batch: int = 512,
    skip: bool = False,
    seeds: Sequence[int] = SEEDS,
) -> np.ndarray:
    """Gradient norm at each batch norm's output over the last one's, before training; shape (seeds, depth).

    Networks have He's start, which does not matter: batch normalisation undoes any scale.
    """
    found = []
    for seed in seeds:
        model = MLP(depth, width, activation, "he", norm="batch", skip=skip, seed=seed)
        record = probe(model, *digits_batch(batch))
        norms = [i for i, name in enumerate(record.layers) if name.startswith("norm")]
        found.append(record.output_gradient_norm[0, norms] / record.output_gradient_norm[0, norms[-1]])
    return np.stack(found)


def normalized_factors(activation: str, width: int = 256, batch: int = 512) -> np.ndarray:
    """Factor of the squared gradient per layer, over layers in which the signal has settled; shape (seeds,)."""
    profile = normalized_profiles(activation, width=width, batch=batch)
    first, last = 5, profile.shape[1] - 1  # the digits themselves are not Gaussian; a few layers make them so
    factors: np.ndarray = (profile[:, first] / profile[:, last]) ** (2 / (last - first))
    return factors


class Shaken(NamedTuple):
    """``accuracy``: on the test images at the end. ``shift``: how far the mean of a unit's input to the activation of
    the middle layer moves from one step to the next, mean over units and steps. The sigmoid bends at about 1.
    """

    accuracy: float
    shift: float


@memory.cache
def shaken(norm: str | None, noise: float, seed: int, depth: int = 10, epochs: int = 6) -> Shaken:
    """Train sigmoid layers on the digits, and shake what goes into every activation.

    At each step every unit gets a shift and a factor of its own, drawn anew, of standard deviation ``noise``: after
    batch normalisation the distribution of each layer's input changes at every step, as Santurkar et al. 2018 (section
    2.1) made it.
    """
    model = MLP(depth, 64, "sigmoid", "xavier", norm=norm, seed=seed)
    generator, means = torch.Generator().manual_seed(seed), []

    def shake(module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        shift = noise * torch.randn(output.shape[1], generator=generator)
        factor = 1 + noise * torch.randn(output.shape[1], generator=generator)
        return output * factor + shift

    def watch(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if module.training:
            means.append(inputs[0].detach().mean(0))

    for name, module in model.named_children():
        if noise and name.startswith("norm"):
            module.register_forward_hook(shake)
    model.get_submodule(f"activation{depth // 2}").register_forward_pre_hook(watch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = fit(model, digits(), optimizer, epochs, seed=seed, progress=False)
    moved = torch.stack(means).diff(dim=0).abs()
    return Shaken(history.test_accuracy[-1], float(moved.mean()))


SHAKING = 0.5


@claim("S16")
def _s16() -> Finding:
    with_norm = [treated("batch normalisation", seed).accuracy for seed in LEAGUE_SEEDS]
    without = [treated("nothing", seed).accuracy for seed in LEAGUE_SEEDS]
    model = MLP(3, 64, "sigmoid", norm="batch", seed=0)
    signal = digits_batch()[0]
    normalized = model.norm1(model.layer1(signal)).detach()
    runs = {
        name: [shaken(norm, noise, seed) for seed in LEAGUE_SEEDS]
        for name, norm, noise in (("none", None, 0.0), ("norm", "batch", 0.0), ("shaken", "batch", SHAKING))
    }
    plain = float(np.mean([run.accuracy for run in runs["none"]]))
    shifted = float(np.mean([run.shift for run in runs["none"]]))
    accuracy = [run.accuracy for run in runs["shaken"]]
    return Finding(
        "S16",
        "Batch normalisation normalises the inputs of layers and reduces internal covariate shift; so training is "
        "faster and steadier.",
        (
            each(
                "largest mean of a unit over the batch, after it",
                [normalized.mean(0).abs().max()],
                "0",
                lambda v: v < 1e-5,
            ),
            each(
                "least standard deviation",
                [normalized.std(0, correction=0).min()],
                "1 ± 1e-3",
                lambda v: abs(v - 1) < 1e-3,
            ),
            each("accuracy of 20 sigmoid layers with it, 6 epochs", with_norm, "above 0.5", lambda v: v > 0.5),
            each("accuracy without", without, "below 0.2", lambda v: v < 0.2),
            each(
                "accuracy of 10 layers with it and with shifts put back in at each step",
                accuracy,
                f"near that without it, {plain:.2f} ± 0.1, if fewer shifts are what helps",
                lambda v: abs(v - plain) < 0.1,
            ),
        ),
        "It speeds up a deep network, and that is measured. It is not because inputs shift less: put more shift back "
        "in than there ever was, and it still trains.",
        (
            each("accuracy with it, 20 layers", with_norm, "above 0.5", lambda v: v > 0.5),
            each(
                "shift from step to step with the shifts put back in",
                [run.shift for run in runs["shaken"]],
                f"above ten times that without batch norm, {shifted:.3f}",
                lambda v: v > 10 * shifted,
            ),
            each("accuracy then", accuracy, f"above {plain:.2f} + 0.3", lambda v: v > plain + 0.3),
        ),
    )


@claim("S34")
def _s34() -> Finding:
    told = theory.batch_norm_factor("relu")
    ratios = {skip: normalized_profiles("relu", skip=skip)[:, 0] for skip in (False, True)}
    return Finding(
        "S34",
        "Batch normalisation prevents both vanishing and exploding gradients.",
        (
            each(
                "first over last gradient, 20 sigmoid layers with it, before training",
                normalized_profiles("sigmoid")[:, 0],
                "between 0.1 and 10",
                lambda v: 0.1 < v < 10,
            ),
            each(
                "the same, 20 ReLU layers",
                ratios[False],
                "between 0.1 and 10",
                lambda v: 0.1 < v < 10,
            ),
        ),
        "It prevents vanishing: no activation's factor is below 1. But in a deep ReLU network without skip connections "
        "the squared gradient grows by π/(π − 1) per layer. With skips it does not.",
        (
            each(
                "factor of the squared gradient per ReLU layer, width 512, mean over 20 networks",
                [normalized_factors("relu", width=512).mean()],
                f"{told:.3f} ± 3 %",
                lambda v: abs(v / told - 1) < 0.03,
            ),
            each("first over last gradient with it, without skips", ratios[False], "above 10", lambda v: v > 10),
            each("with it and skips", ratios[True], "between 0.1 and 10", lambda v: 0.1 < v < 10),
        ),
    )
