"""The claim that exploding gradients end in NaN, and where numbers first leave the range of float32."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from gradclinic.course.audit.claims import SEEDS, Finding, Quantity, claim, each, memory
from gradclinic.course.audit.identification.descents import Descent, descended
from gradclinic.course.audit.networks import digits_batch, predicted_overflow
from gradclinic.course.models import MLP
from gradclinic.recorder import probe


class Overflow(NamedTuple):
    """Where one forward pass left the range of float32.

    Attributes:
        layer: the first layer with a pre-activation that is not finite, counted from 1.
        inf_share: share of inf among what is not finite in that layer; the rest is NaN.
        nan_share: share of NaN among all pre-activations two layers on.
        named: what ``Record.first_nonfinite`` says, as (layer's name, "output" or "gradient").
    """

    layer: int
    inf_share: float
    nan_share: float
    named: tuple[str, str]


@memory.cache
def overflowed(activation: str, scale: float, seed: int) -> Overflow:
    """Send 64 digits through a network that is four layers deeper than its predicted overflow, and look."""
    depth = int(predicted_overflow(activation, scale)) + 4
    model, (x, y) = MLP(depth, 256, activation, scale, seed=seed), digits_batch(64)
    inf, nan, signal = [], [], x
    with torch.no_grad():
        for name, module in model.named_children():
            signal = module(signal)
            if name.startswith("layer"):
                inf.append(float(signal.isinf().double().mean()))
                nan.append(float(signal.isnan().double().mean()))
    first = next(n for n in range(depth) if inf[n] + nan[n] > 0)
    told = probe(model, x, y).first_nonfinite
    named = ("none", "none") if told is None else told[1:]
    return Overflow(first + 1, inf[first] / (inf[first] + nan[first]), nan[first + 2], named)


def _near(what: str, layers: Sequence[int], predicted: float) -> Quantity:
    return each(what, layers, f"{predicted:g} ± 1, predicted from σ_w", lambda v: abs(v - predicted) <= 1)


S30_CASES = (("relu", 8.0), ("relu", 20.0), ("linear", 8.0), ("linear", 20.0))


@claim("S30")
def _s30() -> Finding:
    found = {case: [overflowed(*case, seed) for seed in SEEDS] for case in S30_CASES}
    trained, calm = ([descended(20, "relu", init, "SGD", 0.01, 10, seed) for seed in SEEDS] for init in (2.0, "he"))

    def first_nan(run: Descent) -> int:
        """Step before which the loss was first NaN, counted from 1; 0 for never."""
        return int(np.isnan(run.loss).argmax()) + 1 if np.isnan(run.loss).any() else 0

    return Finding(
        "S30",
        "A sign of exploding gradients is NaN in the loss, or on the way to it.",
        (
            *(
                _near(
                    f"layer with the first inf, {activation}, σ_w = {scale:g}",
                    [o.layer for o in cases],
                    predicted_overflow(activation, scale),
                )
                for (activation, scale), cases in found.items()
            ),
            each(
                "share of inf in that layer, of what is not finite there, mean of these four networks",
                [np.mean([o.inf_share for o in row]) for row in zip(*found.values(), strict=True)],
                "above 0.5: inf comes before NaN",
                lambda v: v > 0.5,
            ),
            each(
                "share of NaN two layers on, lowest of the four",
                [min(o.nan_share for o in row) for row in zip(*found.values(), strict=True)],
                "above 0.9",
                lambda v: v > 0.9,
            ),
            each(
                "whether the recorder names that very layer, all four (1: yes)",
                [
                    all(o.named == (f"layer{o.layer}", "output") for o in row)
                    for row in zip(*found.values(), strict=True)
                ],
                "1",
                lambda v: v == 1,
            ),
            each(
                "step at which the loss is first NaN, 20 ReLU layers, σ_w = 2, learning rate 0.01",
                [first_nan(r) for r in trained],
                "at most 10",
                lambda v: 1 <= v <= 10,
            ),
            each(
                "the same at σ_w = √2, in as many steps (0: never)",
                [first_nan(r) for r in calm],
                "0",
                lambda v: v == 0,
            ),
        ),
    )
