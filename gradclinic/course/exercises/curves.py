"""Activations that nobody has a name for: what the exercises are tried on that are to hold for any."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Step = tuple[float, float, float]  # height, steepness, place


def _unnamed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function, without a word in it that could be read."""
    function.__name__ = function.__qualname__ = ""
    return function


class Curve:
    """A function of a tensor, element by element: bent steps, added to powers of z.

    A named activation, or a function with readable settings, would tell what is asked for without a calculation. So
    this one keeps its terms in no attribute.

    Args:
        steps: each adds height * tanh(steepness * (z - place)).
        powers: the coefficients of z, z^2, ...
    """

    def __init__(self, steps: Sequence[Step], powers: Sequence[float] = ()) -> None:
        terms, coefficients = tuple(steps), tuple(powers)

        def value(z: Tensor) -> Tensor:
            total = torch.zeros_like(z)
            for height, steepness, place in terms:
                total = total + height * torch.tanh(steepness * (z - place))
            for exponent, coefficient in enumerate(coefficients, 1):
                total = total + coefficient * z**exponent
            return total

        self.__call = _unnamed(value)

    def __call__(self, z: Tensor) -> Tensor:
        return self.__call(z)


class Kink:
    """A function of a tensor with one slope above 0 and another below, as a leaky ReLU has."""

    def __init__(self, up: float, down: float) -> None:
        def value(z: Tensor) -> Tensor:
            return up * z.clamp_min(0) + down * z.clamp_max(0)

        self.__call = _unnamed(value)

    def __call__(self, z: Tensor) -> Tensor:
        return self.__call(z)
