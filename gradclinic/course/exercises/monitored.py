"""Networks after backward, for the monitor of lab 03: gradients that fit nowhere, are missing or were spoiled."""

import copy
import functools
import math
from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course.exercises.draws import new_seed, seeded, uniform, whole
from gradclinic.course.exercises.exercise import Case
from gradclinic.course.models import MLP


class Trained(nn.Sequential):
    """Layers with the gradients that backward has left. A parameter's own copy forgets its gradient; this one's not."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Trained":
        twin = Trained(OrderedDict((name, copy.deepcopy(module, memo)) for name, module in self.named_children()))
        for mine, its in zip(self.parameters(), twin.parameters(), strict=True):
            its.grad = None if mine.grad is None else mine.grad.clone()
        return twin


@functools.lru_cache(maxsize=256)
def after_backward(
    seed: int, factor: float, frozen: int = 0, weight_std: float = 1.0, brightness: float = 1.0
) -> Trained:
    """Five linear layers after backward, with the loss multiplied by ``factor`` and one layer frozen (from 1, or 0).

    A factor of 0 stands for a backward that was never called.
    """
    generator = seeded(seed)
    children = MLP(4, 12, "linear", weight_std, seed=seed).named_children()
    model = Trained(OrderedDict((name, module) for name, module in children if isinstance(module, nn.Linear)))
    if frozen:
        model[frozen - 1].requires_grad_(False)
    if factor:
        x, y = torch.randn(16, 64, generator=generator), torch.randint(10, (16,), generator=generator)
        (factor * cross_entropy(model(brightness * x), y)).backward()
    return model


def monitored(seed: int) -> list[Case]:
    """Seven networks, one for each way in which a monitor can go wrong."""
    generator = seeded(seed)
    found = [
        after_backward(new_seed(generator), 1.0, frozen=whole(generator, 2, 4)),
        after_backward(new_seed(generator), 1e25),  # finite, but their squares are not
        after_backward(new_seed(generator), 1e-30),  # not 0, but their squares are
        after_backward(new_seed(generator), 0.0),  # no gradient anywhere
    ]
    # a single bad entry, as of a number that overflowed or a division of 0 by 0
    lost = copy.deepcopy(after_backward(new_seed(generator), 1.0))
    _spoil(lost, whole(generator, 2, 4), math.inf, generator)
    # NaN towards the loss, inf towards the input
    spoiled = copy.deepcopy(after_backward(new_seed(generator), 1.0, frozen=1))
    _spoil(spoiled, 4, math.nan, generator, bias=True)
    _spoil(spoiled, 2, math.inf, generator)
    # gradients that leave float32 on their way back; dark inputs, so that those of the weights hold out longer
    overflown = after_backward(
        new_seed(generator), 10 ** uniform(generator, 35, 37.5), weight_std=30.0, brightness=1e-8
    )
    return [(model,) for model in (*found, lost, spoiled, overflown)]


def _spoil(model: Trained, layer: int, value: float, generator: torch.Generator, bias: bool = False) -> None:
    """Set one entry of a layer's gradient."""
    parameter = getattr(model, f"layer{layer}").get_parameter("bias" if bias else "weight")
    parameter.grad[tuple(whole(generator, 0, size - 1) for size in parameter.shape)] = value
