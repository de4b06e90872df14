"""The activations by name, and their slopes in closed form."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Activation = str | Callable[[Tensor], Tensor]


def _sigmoid_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s)


def _silu_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    value: Tensor = s * (1 + z * (1 - s))
    return value


def _gelu_slope(z: Tensor) -> Tensor:
    value: Tensor = torch.special.ndtr(z) + z * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return value


LEAK = 0.01  # slope of leaky ReLU below 0, as torch has it

# name -> (the function, its derivative in closed form). The derivative of ReLU at 0 is 0 by convention, as in torch;
# that of leaky ReLU there is the leak.
_CLOSED_FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "linear": (lambda z: z, torch.ones_like),
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "sigmoid": (torch.sigmoid, _sigmoid_slope),
    "leaky_relu": (lambda z: torch.where(z > 0, z, LEAK * z), lambda z: torch.where(z > 0, 1.0, LEAK).to(z.dtype)),
    "gelu": (lambda z: z * torch.special.ndtr(z), _gelu_slope),
    "silu": (lambda z: z * torch.sigmoid(z), _silu_slope),
}

ACTIVATIONS = tuple(_CLOSED_FORMS)


def activation_function(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The function phi behind a name, or the callable itself.

    Args:
        activation: one of ``ACTIVATIONS``, or a smooth callable that maps a tensor to a tensor of the same shape,
            element by element.
    Raises:
        ValueError: for an unknown name.
        TypeError: for something that is neither a name nor a callable.
    """
    if callable(activation):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"activation must be a name or a callable, got {activation!r}")
    if activation not in _CLOSED_FORMS:
        raise ValueError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}, or any smooth callable")
    return _CLOSED_FORMS[activation][0]


def elementwise(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """function(z), a tensor of the shape of ``z``.

    Raises:
        ValueError: for a function that gives anything else. A sum would pass for a mean otherwise.
    """
    value = function(z)
    if not isinstance(value, Tensor) or value.shape != z.shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
        raise ValueError(f"a function must return a tensor of its input's shape {tuple(z.shape)}, got {got}")
    return value


def slope(activation: Activation, z: Tensor) -> Tensor:
    """The derivative phi'(z), element by element.

    Args:
        activation: a name (closed form) or a callable (differentiated by autograd).
        z: pre-activations, any shape, floating point.
    Returns:
        A tensor of the shape of ``z``.
    Raises:
        ValueError: for an unknown name, or a callable that is not element-wise (its output has another shape).
        TypeError: for an activation that is neither, or a ``z`` that is no tensor of floating-point numbers.
    """
    phi = activation_function(activation)
    if not isinstance(z, Tensor) or not z.is_floating_point():
        raise TypeError(f"z must be a tensor of floating-point numbers, got {z!r}")
    if isinstance(activation, str):
        return _CLOSED_FORMS[activation][1](z)
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        return torch.autograd.grad(elementwise(phi, z).sum(), z)[0]
