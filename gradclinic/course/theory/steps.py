"""How long a step may be: the learning rate that a curvature allows, and clipping."""

import torch
from torch import Tensor

from gradclinic.arguments import number


def stability_limit(curvature: float) -> float:
    """The learning rate above which gradient descent on a quadratic diverges.

    Args:
        curvature: largest second derivative of the loss (largest eigenvalue of the Hessian), above 0. Its unit is
            loss per squared unit of weight.
    Returns:
        2 / curvature. Below it the error shrinks by abs(1 - lr * curvature) a step; at it, it oscillates for ever.
    Raises:
        ValueError: for a curvature that is not positive and finite.
        TypeError: for one that is no number.
    Source: LeCun et al. 1998, section 5.
    """
    return 2 / number("curvature", curvature, above_minimum=True)


def clip(gradient: Tensor, *, norm: float | None = None, value: float | None = None) -> Tensor:
    """A gradient after clipping, by its norm or entry by entry.

    Args:
        gradient: any shape, floating point.
        norm: the longest Euclidean norm allowed, above 0: the whole gradient is scaled by min(1, norm / its norm).
        value: the largest size of an entry allowed, above 0: what is larger becomes plus or minus ``value``.
    Returns:
        A tensor of the shape of ``gradient``. One that is short enough comes back as it is.
    Raises:
        ValueError: unless exactly one bound is given, above 0 and finite.
        TypeError: for a gradient that is no tensor of floating-point numbers, or a bound that is no number.
    Source: Pascanu et al. 2013, algorithm 1, for the norm.
    """
    if not isinstance(gradient, Tensor) or not gradient.is_floating_point():
        raise TypeError(f"gradient must be a tensor of floating-point numbers, got {gradient!r}")
    if (norm is None) == (value is None):
        raise ValueError(f"exactly one of norm and value must be given, got norm={norm!r} and value={value!r}")
    if value is not None:
        bound = number("value", value, above_minimum=True)
        return gradient.clamp(-bound, bound)
    bound, length = number("norm", norm, above_minimum=True), float(torch.linalg.vector_norm(gradient))
    return gradient * (bound / length) if length > bound else gradient.clone()
