"""Random numbers for the cases of an exercise. All come from a generator, so that a seed gives the same cases again."""

import torch
from torch import Tensor


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """From ``low`` to ``high``, in double precision."""
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """From ``low`` to ``high``, both included."""
    return low + int(torch.randint(high - low + 1, (), generator=generator))


def new_seed(generator: torch.Generator) -> int:
    """For the weights of a network."""
    return whole(generator, 0, 2**31 - 1)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Of this shape and variance 1, in double precision."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
