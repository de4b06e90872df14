"""Networks after backward, for the monitor of lab 03: gradients that fit nowhere, are missing or were spoiled."""

import copy
import functools
import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradclinic.course.exercises.draws import new_seed, seeded, shuffled, sign, uniform, whole
from gradclinic.course.exercises.exercise import Case
from gradclinic.course.models import MLP


class Kept(nn.Sequential):
    """Layers with the gradients that backward has left. A parameter's own copy forgets its gradient; this one's not."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Kept":
        twin = Kept(OrderedDict((name, copy.deepcopy(module, memo)) for name, module in self.named_children()))
        for mine, its in zip(self.parameters(), twin.parameters(), strict=True):
            its.grad = None if mine.grad is None else mine.grad.clone()
        return twin


@functools.lru_cache(maxsize=256)
def after_backward(seed: int, factor: float, frozen: int = 0, weight_std: float = 1.0, brightness: float = 1.0) -> Kept:
    """Five linear layers after backward, with the loss multiplied by ``factor`` and one layer frozen (from 1, or 0).

    A factor of 0 stands for a backward that was never called.
    """
    generator = seeded(seed)
    children = MLP(4, 12, "linear", weight_std, seed=seed).named_children()
    model = Kept(OrderedDict((name, module) for name, module in children if isinstance(module, nn.Linear)))
    if frozen:
        model[frozen - 1].requires_grad_(False)
    if factor:
        x, y = torch.randn(16, 64, generator=generator), torch.randint(10, (16,), generator=generator)
        (factor * cross_entropy(model(brightness * x), y)).backward()
    return model


def monitored(seed: int) -> list[Case]:
    """Networks after backward, at least one for each way in which a monitor can go wrong."""
    generator = seeded(seed)

    def fresh(factor: float = 1.0, frozen: int = 0) -> Kept:
        return copy.deepcopy(after_backward(new_seed(generator), factor, frozen=frozen))

    found = [
        fresh(frozen=whole(generator, 2, 4)),
        fresh(1e25),  # finite, but their squares are not
        fresh(1e-30),  # not 0, but their squares are
        fresh(0.0),  # no gradient anywhere
        # gradients that leave float32 on their way back; dark inputs, so that those of the weights hold out longer
        after_backward(new_seed(generator), 10 ** uniform(generator, 35, 37.5), weight_std=30.0, brightness=1e-8),
    ]
    # a single bad entry, as of a number that overflowed or a division of 0 by 0; in some layer, the last, the first
    for layer, value, bias in (
        (whole(generator, 2, 4), math.inf, False),
        (5, sign(generator) * math.inf, True),
        (5, math.nan, False),
        (1, math.nan, True),
        (1, -math.inf, False),
    ):
        lost = fresh()
        _spoil(lost, layer, value, generator, bias)
        found.append(lost)
    # NaN towards the loss, inf towards the input, and the other way round
    for near, value, far, other in ((4, math.nan, 2, math.inf), (whole(generator, 4, 5), -math.inf, 3, math.nan)):
        spoiled = fresh(frozen=1)
        _spoil(spoiled, near, value, generator, bias=True)
        _spoil(spoiled, far, other, generator)
        found.append(spoiled)
    # only a bias is trained, and it breaks; its weight has no gradient
    half, fine = fresh(), fresh()
    trained = whole(generator, 2, 5)
    for model, number in ((half, trained), (fine, whole(generator, 1, 5))):
        weight = _layer(model, number).weight
        weight.requires_grad_(False)
        weight.grad = None
    _spoil(half, trained, math.inf, generator, bias=True)
    _spoil(half, 1, math.inf, generator)
    # finite in float32, but not their sum; nor, in the second, their norm
    heavy, heavier = fresh(), fresh()
    _gradient(heavy, whole(generator, 1, 5))[0, :2] = 3.2e38
    for number in (1, 3, 5):
        _gradient(heavier, number)[:, 0] = 3e38
    single = Kept(OrderedDict(layer1=nn.Linear(3, 2)))
    for parameter in single.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    _spoil(single, 1, sign(generator) * math.inf, generator, bias=True)
    return [(model,) for model in shuffled(generator, [*found, half, fine, heavy, heavier, single])]


def _layer(model: Kept, number: int) -> nn.Linear:
    layer = model[number - 1]
    assert isinstance(layer, nn.Linear)
    return layer


def _gradient(model: Kept, number: int) -> Tensor:
    gradient = _layer(model, number).weight.grad
    assert gradient is not None
    return gradient


def _spoil(model: Kept, layer: int, value: float, generator: torch.Generator, bias: bool = False) -> None:
    """Set one entry of a layer's gradient."""
    parameter = _layer(model, layer).get_parameter("bias" if bias else "weight")
    assert parameter.grad is not None
    parameter.grad[tuple(whole(generator, 0, size - 1) for size in parameter.shape)] = value
