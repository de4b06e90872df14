"""Activations that nobody has a name for: what the exercises are tried on that are to hold for any."""

from collections.abc import Sequence

import torch
from torch import Tensor

Step = tuple[float, float, float]  # height, steepness, place


class Curve:
    """A function of a tensor, element by element: bent steps, added to powers of z.

    A named activation, or a function with readable settings, would tell what is asked for without a calculation. This
    one holds its terms and nothing else.

    Args:
        steps: each adds height * tanh(steepness * (z - place)).
        powers: the coefficients of z, z^2, ...
    """

    def __init__(self, steps: Sequence[Step], powers: Sequence[float] = ()) -> None:
        self._steps, self._powers = tuple(steps), tuple(powers)

    def __call__(self, z: Tensor) -> Tensor:
        value = torch.zeros_like(z)
        for height, steepness, place in self._steps:
            value = value + height * torch.tanh(steepness * (z - place))
        for exponent, coefficient in enumerate(self._powers, 1):
            value = value + coefficient * z**exponent
        return value


class Kink:
    """A function of a tensor with one slope above 0 and another below, as a leaky ReLU has."""

    def __init__(self, up: float, down: float) -> None:
        self._up, self._down = up, down

    def __call__(self, z: Tensor) -> Tensor:
        return self._up * z.clamp_min(0) + self._down * z.clamp_max(0)
