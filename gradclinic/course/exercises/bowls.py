"""Bowls: Hessians with chosen curvatures, and where descent in them begins."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradclinic.course.exercises.draws import (
    over_decades,
    rotation,
    seeded,
    shuffled,
    sign,
    uniform,
    whole,
)
from gradclinic.course.exercises.exercise import Case


def bowl(curvatures: Sequence[float], directions: Tensor) -> Tensor:
    """The Hessian with these curvatures along the columns of ``directions``."""
    hessian = directions @ torch.diag(torch.tensor(curvatures, dtype=torch.float64)) @ directions.T
    return (hessian + hessian.T) / 2


def tilted(generator: torch.Generator, curvatures: Sequence[float]) -> Tensor:
    """A bowl whose directions lie along no axis."""
    return bowl(curvatures, rotation(generator, len(curvatures)))


def around(direction: Sequence[float]) -> Tensor:
    """Directions at right angles to each other, of which the first is this one."""
    axes = torch.eye(len(direction), dtype=torch.float64)
    axes[:, 0] = torch.tensor(direction, dtype=torch.float64)
    directions: Tensor = torch.linalg.qr(axes)[0]
    return directions


def starts(seed: int) -> list[Case]:
    """Learning rates, bowls and first gradients. Rate times steepest curvature is the one thing that decides."""
    generator = seeded(seed)

    def below() -> float:
        return uniform(generator, 1.1, 1.9)

    def above() -> float:
        return uniform(generator, 2.1, 2.9)

    def rate() -> float:
        return uniform(generator, 0.05, 0.2)

    def even(size: int) -> list[float]:
        """Entries of about one size, none near 0, of either sign."""
        return [sign(generator) * uniform(generator, 0.8, 1.2) for _ in range(size)]

    cases: list[Case] = []

    def add(
        learning_rate: float, product: Sequence[float], directions: Tensor, parts: Sequence[float], norm: float
    ) -> None:
        """``product``: rate times curvature, of each direction. ``parts``: how much of the gradient is along it."""
        along = directions @ torch.tensor(parts, dtype=torch.float64)
        hessian = bowl([curvature / learning_rate for curvature in product], directions)
        cases.append((learning_rate, hessian, norm * along / along.norm()))

    def near(product: float, faint: float = 1.0) -> None:
        """Decided by the steepest direction alone, in which little of the gradient lies."""
        others = uniform(generator, 1.7, min(1.95, product - 0.01)), uniform(generator, 0.05, 0.3)
        add(rate(), [product, *others], rotation(generator, 3), [faint, *even(2)], over_decades(generator, 0.5, 5))

    # a large gradient in a flat bowl converges, and a small one in a steep bowl diverges
    flat = uniform(generator, 1e-3, 2e-3)
    add(uniform(generator, 0.5, 1), [flat, flat / 2, flat / 2], around(even(3)), even(3), 1000)
    add(uniform(generator, 0.005, 0.02), [above(), 2.2, 2.2], around(even(3)), even(3), 1e-3)
    add(rate(), [uniform(generator, 1.2, 1.9), 0.4], rotation(generator, 2), even(2), 1e7)
    add(rate(), [uniform(generator, 1.3, 1.7), 0.1, 0.1], around(even(3)), even(3), 0.5)  # swings
    add(rate(), [above(), 0.05, 0.05], around(even(3)), [1, 0, 0], 5)  # the steepest lies between the axes
    add(rate(), [above(), 0.05, 0.05], torch.eye(3, dtype=torch.float64), [0.1, 1, 1], 5)  # along one
    add(rate(), [0.05, below(), above()], torch.eye(3, dtype=torch.float64), even(3), 5)  # and along another
    # all are curved, none too much: what is added up is not asked for
    add(uniform(generator, 1.4, 1.8), [1.2, 0.95, 0.95], around(even(3)), even(3), 0.01)
    add(uniform(generator, 1.4, 1.8), [1.2] + [0.95] * 4, around(even(5)), even(5), 0.01)
    add(rate(), [1.9, 1.0, 0.4], around([2.0, 1.0, -1.0]), even(3), 1)  # row sums above 2, eigenvalues below
    add(rate(), [0.4, 1.9, 1.8], around([1.0, 1.2, 0.8]), even(3), 1)  # beside the diagonal all is negative
    add(uniform(generator, 4, 6), [above(), 0.1, 0.1], around(even(3)), even(3), 0.6)  # only the rate is large
    add(over_decades(generator, 1e-4, 1e-3), [below(), 0.3], rotation(generator, 2), even(2), 1)  # only the curvature
    # the steepest direction is exactly at right angles to (1, 1)
    step, flat, more = rate(), uniform(generator, 0.3, 0.5), uniform(generator, 0.9, 1.2)
    against = torch.tensor([[flat + more, -more], [-more, flat + more]], dtype=torch.float64) / step
    cases.append((step, against, torch.tensor(even(2), dtype=torch.float64)))
    near(uniform(generator, 2.002, 2.005), 1e-4)
    near(uniform(generator, 2.002, 2.005), 1e-4)
    near(uniform(generator, 2.05, 2.2), 1e-12)
    near(uniform(generator, 2.4, 2.6), 1e-18)
    near(uniform(generator, 1.99, 1.998))
    near(uniform(generator, 1.99, 1.998))
    for product in (below(), above()):  # one weight
        add(over_decades(generator, 0.05, 3), [product], torch.ones(1, 1, dtype=torch.float64), [1], 2)
    for _ in range(5):  # whatever the seed decides
        size = whole(generator, 2, 5)
        others = [uniform(generator, 0.05, 1) for _ in range(size - 1)]
        steepest = below() if whole(generator, 0, 1) else above()
        add(over_decades(generator, 0.02, 2), [steepest, *others], rotation(generator, size), even(size), 1)
    return shuffled(generator, cases)
