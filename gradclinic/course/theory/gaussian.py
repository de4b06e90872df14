"""Means over Gaussian numbers, by quadrature in double precision."""

import math
from collections.abc import Callable

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from gradclinic.arguments import number
from gradclinic.course.theory.activations import elementwise


def _quadrature(panels: int = 25, order: int = 24) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E[f(z)], z ~ N(0, 1).

    Gauss-Legendre on panels that shrink geometrically towards 0: a kink at 0 falls on a panel's edge, and a
    transition as narrow as 1e-6 (a sigmoid of a very wide Gaussian) is still resolved. Gauss-Hermite does neither.
    """
    edges = 12.0 * 2.0 ** torch.arange(1 - panels, 1, dtype=torch.float64)
    lower = torch.cat([torch.zeros(1, dtype=torch.float64), edges[:-1]])
    x, w = (torch.from_numpy(a) for a in leggauss(order))
    half = ((edges - lower) / 2)[:, None]
    nodes = (((edges + lower) / 2)[:, None] + half * x).flatten()
    weights = (half * w).flatten() * torch.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    return torch.cat([-nodes, nodes]), torch.cat([weights, weights])


_NODES, _WEIGHTS = _quadrature()
_COARSE_NODES, _COARSE_WEIGHTS = _quadrature(panels=9, order=10)  # for double integrals, where the grid is their square


def gaussian_expectation(function: Callable[[Tensor], Tensor], variance: float = 1.0) -> float:
    """E[f(z)] for z ~ N(0, variance), by quadrature in double precision.

    Args:
        function: maps a float64 tensor of nodes to a tensor of the same shape; smooth except possibly at 0.
        variance: of z, dimensionless, at least 0.
    Raises:
        ValueError: for a negative or non-finite variance, or a function that is not element-wise.
        TypeError: for a function that cannot be called, or a variance that is no number.
    """
    variance = number("variance", variance)
    if not callable(function):
        raise TypeError(f"function must be a callable, got {function!r}")
    return float((_WEIGHTS * elementwise(function, _NODES * math.sqrt(variance))).sum())


def pair_expectation(function: Callable[[Tensor], Tensor], variance: float, correlation: float) -> float:
    """E[f(u) f(v)] for two Gaussian numbers of mean 0, by quadrature in double precision.

    Args:
        function: maps a float64 tensor to one of the same shape, element by element; smooth except possibly at 0.
        variance: of u and of v, dimensionless, at least 0.
        correlation: between u and v, from -1 to 1.
    Raises:
        ValueError: for a variance or a correlation that is out of range, or a function that is not element-wise.
        TypeError: for a variance or a correlation that is no number.
    """
    u = math.sqrt(number("variance", variance)) * _COARSE_NODES
    correlation = number("correlation", correlation, -1, maximum=1)
    v = correlation * u[:, None] + math.sqrt(max(1 - correlation**2, 0.0)) * u
    return float(_COARSE_WEIGHTS * elementwise(function, u) @ (elementwise(function, v) @ _COARSE_WEIGHTS))
