"""Starting weights, by the names people use for them."""

import math
from collections.abc import Callable
from numbers import Real
from typing import TypeVar

from torch import nn

from gradclinic.arguments import number, whole

# name -> sigma_w, the standard deviation of W * sqrt(fan_in), as a function of fan_in and fan_out
_WEIGHT_STD: dict[str, Callable[[int, int], float]] = {
    "pytorch": lambda *_: 1 / math.sqrt(3),
    "xavier": lambda fan_in, fan_out: math.sqrt(2 * fan_in / (fan_in + fan_out)),
    "he": lambda *_: math.sqrt(2),
    "lecun": lambda *_: 1.0,
    "orthogonal": lambda fan_in, fan_out: min(1.0, math.sqrt(fan_in / fan_out)),
}

INITIALIZERS = tuple(_WEIGHT_STD)

Initializer = str | float

_Layer = TypeVar("_Layer", bound=nn.Linear | nn.Conv2d)


def weight_std(init: Initializer, fan_in: int, fan_out: int) -> float:
    """sigma_w of an initialiser: the standard deviation of W * sqrt(fan_in), dimensionless.

    Args:
        init: one of ``INITIALIZERS``, or sigma_w itself as a number.
        fan_in, fan_out: inputs and outputs of the layer, at least 1.
    Raises:
        ValueError: for an unknown name, a negative or non-finite number, or a fan below 1.
        TypeError: for an init that is neither a name nor a number, or a fan that is no integer.
    Source: Glorot & Bengio 2010, eq. 12 (xavier); He et al. 2015, eq. 10 (he); LeCun et al. 1998, section 4.6 (lecun);
        Saxe et al. 2014 (orthogonal); U(-1/sqrt(fan_in), 1/sqrt(fan_in)) is what ``torch.nn.Linear`` draws (pytorch).
    """
    fan_in, fan_out = whole("fan_in", fan_in), whole("fan_out", fan_out)
    known = f"{', '.join(INITIALIZERS)}, or a number sigma_w"
    if isinstance(init, bool) or not isinstance(init, (str, Real)):
        raise TypeError(f"init must be one of {known}; got {init!r}")
    if not isinstance(init, str):
        return number("init (a weight scale)", init)
    if init not in _WEIGHT_STD:
        raise ValueError(f"unknown initializer {init!r}; known: {known}")
    return _WEIGHT_STD[init](fan_in, fan_out)


def initialize(layer: _Layer, init: Initializer) -> _Layer:
    """Draw new weights for ``layer`` in place, from torch's global generator, and return it.

    Biases become 0, except for ``"pytorch"``, which keeps that library's own default for both. A convolution's fan-in
    is its input channels times the area of its kernel, its fan-out the output channels times that area.

    Raises:
        ValueError, TypeError: as ``weight_std``; TypeError also for a layer that is neither ``nn.Linear`` nor
            ``nn.Conv2d``.
    """
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        raise TypeError(f"initialize needs a torch.nn.Linear or torch.nn.Conv2d, got {type(layer).__name__}")
    area = layer.weight[0, 0].numel()
    fan_in, fan_out = layer.weight.shape[1] * area, layer.weight.shape[0] * area
    std = weight_std(init, fan_in, fan_out)
    if init == "pytorch":
        layer.reset_parameters()
        return layer
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=std / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
