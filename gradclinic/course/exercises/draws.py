"""Random numbers for the cases of an exercise. All come from a generator, so that a seed gives the same cases again."""

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """From ``low`` to ``high``, in double precision."""
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def over_decades(generator: torch.Generator, low: float, high: float) -> float:
    """From ``low`` to ``high``, each factor as likely as another; both above 0."""
    return math.exp(uniform(generator, math.log(low), math.log(high)))


def sign(generator: torch.Generator) -> int:
    """1 or -1."""
    return 2 * whole(generator, 0, 1) - 1


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """From ``low`` to ``high``, both included."""
    return low + int(torch.randint(high - low + 1, (), generator=generator))


def new_seed(generator: torch.Generator) -> int:
    """For the weights of a network."""
    return whole(generator, 0, 2**31 - 1)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Of this shape and variance 1, in double precision."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def shuffled(generator: torch.Generator, items: Iterable[T]) -> list[T]:
    """In an order that the seed decides, so that no answer can be told from its place."""
    kept = list(items)
    return [kept[i] for i in torch.randperm(len(kept), generator=generator).tolist()]


def rotation(generator: torch.Generator, size: int) -> Tensor:
    """An orthogonal matrix of double precision; its columns are directions that lie along no axis."""
    directions: Tensor = torch.linalg.qr(normal(generator, size, size))[0]
    return directions
