"""What mean-field theory predicts about signals and gradients, before any network is built.

Nothing here knows a network: every number comes from a closed form or from a Gaussian integral, so that a
prediction can never be computed from the measurement it is compared with.
"""

import math
from collections.abc import Callable

import torch
from numpy.polynomial.legendre import leggauss
from scipy.optimize import brentq
from torch import Tensor

Activation = str | Callable[[Tensor], Tensor]


def _sigmoid_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s)


def _silu_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def _gelu_slope(z: Tensor) -> Tensor:
    return torch.special.ndtr(z) + z * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


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


def _elementwise(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """function(z), or an error if that is no tensor of the shape of ``z``: a sum would pass for a mean otherwise."""
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
        return torch.autograd.grad(_elementwise(phi, z).sum(), z)[0]


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


def _require(name: str, value: float, minimum: float = 0.0, strict: bool = False) -> float:
    """``value`` as a float, or an error that names it: finite, and at least (strict: above) ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or value < minimum or (strict and value == minimum):
        bound = "above" if strict else "at least"
        raise ValueError(f"{name} must be finite and {bound} {minimum:g}, got {value!r}")
    return float(value)


def gaussian_expectation(function: Callable[[Tensor], Tensor], variance: float = 1.0) -> float:
    """E[f(z)] for z ~ N(0, variance), by quadrature in double precision.

    Args:
        function: maps a float64 tensor of nodes to a tensor of the same shape; smooth except possibly at 0.
        variance: of z, dimensionless, at least 0.
    Raises:
        ValueError: for a negative or non-finite variance, or a function that is not element-wise.
        TypeError: for a function that cannot be called, or a variance that is no number.
    """
    variance = _require("variance", variance)
    if not callable(function):
        raise TypeError(f"function must be a callable, got {function!r}")
    return float((_WEIGHTS * _elementwise(function, _NODES * math.sqrt(variance))).sum())


def variance_map(activation: Activation, weight_std: float, variance: float = 1.0, *, bias_std: float = 0.0) -> float:
    """Variance of the next layer's pre-activations, from this layer's.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w, the standard deviation of W * sqrt(fan_in), dimensionless.
        variance: second moment of the pre-activations entering the layer.
        bias_std: sigma_b, standard deviation of the biases.
    Returns:
        sigma_w^2 * E[phi(z)^2] + sigma_b^2 with z ~ N(0, variance).
    Raises:
        ValueError: for an unknown activation, or a negative or non-finite argument.
    Source: Poole et al. 2016, eq. 3.
    """
    weight_std, bias_std = _require("weight_std", weight_std), _require("bias_std", bias_std)
    phi = activation_function(activation)
    return weight_std**2 * gaussian_expectation(lambda z: _elementwise(phi, z) ** 2, variance) + bias_std**2


def chi(activation: Activation, weight_std: float, variance: float = 1.0) -> float:
    """Factor by which one layer multiplies the squared gradient, going backward.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w, the standard deviation of W * sqrt(fan_in), dimensionless.
        variance: second moment of the pre-activations entering the layer.
    Returns:
        sigma_w^2 * E[phi'(z)^2] with z ~ N(0, variance); 1 keeps gradients, below 1 vanishes, above 1 explodes.
    Raises:
        ValueError: for an unknown activation, or a negative or non-finite argument.
    Source: Schoenholz et al. 2017, eq. 5.
    """
    weight_std = _require("weight_std", weight_std)
    activation_function(activation)
    return weight_std**2 * gaussian_expectation(lambda z: slope(activation, z) ** 2, variance)


def fixed_point(activation: Activation, weight_std: float, variance: float = 1.0, *, bias_std: float = 0.0) -> float:
    """The variance that pre-activations settle at in a very deep network.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w.
        variance: where the network starts; matters only where several fixed points exist (ReLU at sqrt 2 keeps
            whatever it is given).
        bias_std: sigma_b.
    Returns:
        q with q = variance_map(q); 0.0 if the signal dies out, ``math.inf`` if it grows without bound.
    Raises:
        ValueError: for an unknown activation, or a negative or non-finite argument.
    Source: Poole et al. 2016, section 3.
    """
    variance = _require("variance", variance, strict=True)

    def drift(log_q: float) -> float:
        q = math.exp(log_q)
        return variance_map(activation, weight_std, q, bias_std=bias_std) / q - 1

    start, step = math.log(variance), 0.25
    here = drift(start)
    if abs(here) < 1e-9:
        return variance
    direction = step if here > 0 else -step
    log_q = start
    while -25 < log_q - start < 60:  # below 1e-11 of the start drift is rounding; e^60 is far above any signal
        if (drift(log_q + direction) > 0) != (here > 0):
            return math.exp(brentq(drift, min(log_q, log_q + direction), max(log_q, log_q + direction), xtol=1e-12))
        log_q += direction
    return math.inf if here > 0 else 0.0


def gradient_profile(
    activation: Activation,
    depth: int,
    weight_std: float,
    input_variance: float = 1.0,
    *,
    bias_std: float = 0.0,
) -> Tensor:
    """Predicted gradient norm at each layer's pre-activations, relative to the last hidden layer.

    Args:
        activation: a name or a smooth element-wise callable.
        depth: number of hidden layers, at least 1.
        weight_std: sigma_w, the same in every layer.
        input_variance: mean square of the network's inputs.
        bias_std: sigma_b, the same in every layer.
    Returns:
        float64 tensor of shape (depth,): entry l - 1 is the root of the product of chi over layers l .. depth - 1,
        so the last entry is 1. Layers are assumed wide and of equal width.
    Raises:
        ValueError: for an unknown activation, a depth below 1, or a negative or non-finite argument.
    Source: Schoenholz et al. 2017, section 4.
    """
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise TypeError(f"depth must be an integer, got {depth!r}")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    weight_std = _require("weight_std", weight_std)
    variance = weight_std**2 * _require("input_variance", input_variance) + _require("bias_std", bias_std) ** 2
    log_factors = []
    for _ in range(depth - 1):
        factor = chi(activation, weight_std, variance)
        log_factors.append(math.log(factor) / 2 if factor > 0 else -math.inf)
        following = variance_map(activation, weight_std, variance, bias_std=bias_std)
        # A signal that leaves the range of float64 has reached its limit: chi no longer depends on its size.
        variance = min(max(following, 1e-300), 1e300) if variance > 0 else following
    log_norm = torch.tensor([*log_factors, 0.0], dtype=torch.float64)
    return torch.exp(log_norm.flip(0).cumsum(0).flip(0))


def critical_weight_std(activation: Activation, *, bias_std: float = 0.0) -> float:
    """The weight scale at which gradients neither vanish nor explode in a very deep network.

    Args:
        activation: a name or a smooth element-wise callable.
        bias_std: sigma_b.
    Returns:
        The smallest sigma_w whose factor ``chi``, taken at the variance where the signal settles, reaches 1.
    Raises:
        ValueError: for an unknown activation, a negative or non-finite argument, or an activation whose factor stays
            on one side of 1 for every sigma_w between 0.05 and 200.
    Source: Schoenholz et al. 2017, section 4 (the border between the ordered and the chaotic phase).
    """

    def log_factor(log_weight_std: float) -> float:
        weight_std = math.exp(log_weight_std)
        settled = fixed_point(activation, weight_std, bias_std=bias_std)
        return math.log(max(chi(activation, weight_std, min(max(settled, 1e-300), 1e300)), 1e-300))

    grid = torch.linspace(math.log(0.05), math.log(200), 42, dtype=torch.float64).tolist()
    below = grid[0]
    if log_factor(below) < 0:
        for above in grid[1:]:
            if log_factor(above) >= 0:
                return math.exp(brentq(log_factor, below, above, xtol=1e-9))
            below = above
    raise ValueError(f"no critical weight scale for {activation!r}: its factor crosses 1 nowhere from 0.05 to 200")


def _pair_expectation(function: Callable[[Tensor], Tensor], variance: float, correlation: float) -> float:
    """E[f(u) f(v)] for two Gaussians of one variance and this correlation."""
    u = math.sqrt(variance) * _COARSE_NODES
    v = correlation * u[:, None] + math.sqrt(max(1 - correlation**2, 0.0)) * u
    return float(_COARSE_WEIGHTS * function(u) @ (function(v) @ _COARSE_WEIGHTS))


def correlation_length(activation: Activation, weight_std: float, *, bias_std: float = 0.0) -> float:
    """How many layers it takes until two different inputs look the same as far as they ever will.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w, the same in every layer.
        bias_std: sigma_b, the same in every layer.
    Returns:
        xi: the distance between the correlation of two signals and its limit shrinks by e every xi layers. It is
        ``math.inf`` where the distance does not shrink exponentially, at the critical scale.
    Raises:
        ValueError: for an unknown activation, a weight_std that is not above 0, a negative or non-finite bias_std, or a
            network whose signal grows without bound.
    Source: Schoenholz et al. 2017, section 3: -1 / log(sigma_w^2 E[phi'(u) phi'(v)]) at the limit.
    """
    weight_std = _require("weight_std", weight_std, strict=True)
    q = fixed_point(activation, weight_std, bias_std=bias_std)
    if math.isinf(q):
        raise ValueError(
            f"the signal of {activation!r} grows without bound at weight_std {weight_std}: it has no limit"
        )
    q = max(q, 1e-300)
    phi = activation_function(activation)

    def excess(correlation: float) -> float:
        second = weight_std**2 * _pair_expectation(phi, q, correlation) + bias_std**2
        return second / q - correlation

    limit = 1.0
    if chi(activation, weight_std, q) > 1 + 1e-9:
        # the same inputs drift apart: the limit lies below 1. The map of correlations is convex, so it crosses once.
        limit = 0.0 if excess(0.0) <= 1e-12 else brentq(excess, 0.0, 1 - 1e-6, xtol=1e-12)
    factor = weight_std**2 * _pair_expectation(lambda z: slope(activation, z), q, limit)
    return -1 / math.log(factor) if 0 < factor < 1 - 1e-6 else (math.inf if factor > 0 else 0.0)


def product_rate(width: int, weight_std: float) -> float:
    """By how much the logarithm of a signal's length grows per layer in a linear network: the typical rate.

    Args:
        width: units per layer, at least 1.
        weight_std: sigma_w; one weight has the standard deviation sigma_w / sqrt(width).
    Returns:
        log(sigma_w) + (log(2 / width) + digamma(width / 2)) / 2, in nats a layer. With sigma_w = 1 the *mean square*
        of the length stays as it is, and this rate is about -1 / (2 width): a typical network loses what a rare one
        gains.
    Raises:
        TypeError: for a width that is no integer.
        ValueError: for a width below 1, or a weight_std that is not above 0 and finite.
    Source: half the mean logarithm of a chi-squared variable; Cohen & Newman 1984 for products of random matrices.
    """
    if isinstance(width, bool) or not isinstance(width, int):
        raise TypeError(f"width must be an integer, got {width!r}")
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    growth = float(torch.special.digamma(torch.tensor(width / 2, dtype=torch.float64)))
    return math.log(_require("weight_std", weight_std, strict=True)) + (math.log(2 / width) + growth) / 2


def largest_gain(depth: int) -> float:
    """The largest singular value of a product of wide square Gaussian matrices with sigma_w = 1.

    Args:
        depth: number L of factors, at least 1.
    Returns:
        sqrt((L + 1)^(L + 1) / L^L), close to sqrt(e (L + 1/2)). Of orthogonal matrices it is 1.
    Raises:
        TypeError, ValueError: for a depth that is no integer of at least 1.
    Source: the edge of the Fuss-Catalan law; Pennington et al. 2017, section 2.
    """
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise TypeError(f"depth must be an integer, got {depth!r}")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return math.exp(((depth + 1) * math.log(depth + 1) - depth * math.log(depth)) / 2)


def residual_growth(
    activation: Activation,
    depth: int,
    weight_std: float,
    branch_scale: float = 1.0,
    input_variance: float = 1.0,
    *,
    bias_std: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Predicted sizes along h_l = h_(l-1) + branch_scale * phi(W h_(l-1)): the sum going forward, the gradient back.

    Args:
        activation: a name or a smooth element-wise callable.
        depth: number L of layers, at least 1; the first has no skip connection.
        weight_std, bias_std: sigma_w and sigma_b, the same in every layer.
        branch_scale: factor s of the branch; 0 leaves the identity.
        input_variance: mean square of the network's inputs, above 0.
    Returns:
        Two tensors of shape (depth,), float64: the root mean square of h_l over that of h_1, and the gradient norm at
        h_l over that at h_L. Forward, the branch and the sum are not independent where phi has a mean, as ReLU has:
        twice the product of the two means comes on top. Backward, a block multiplies the square of a random gradient
        by 1 + s^2 chi. This is a lower bound for ReLU: the part of the gradient along h grows as h does.
    Raises:
        ValueError: for an unknown activation, a depth below 1, or an argument that is not finite or out of range.
        TypeError: for a depth that is no integer.
    """
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise TypeError(f"depth must be an integer, got {depth!r}")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    phi = activation_function(activation)
    weight_std = _require("weight_std", weight_std, strict=True)
    branch_scale = _require("branch_scale", branch_scale)
    bias_std = _require("bias_std", bias_std)
    square, mean, scale = _require("input_variance", input_variance, strict=True), 0.0, 1.0
    squares, factors = [], []
    for number in range(depth):
        variance = weight_std**2 * square + bias_std**2
        branch_mean = gaussian_expectation(phi, variance)
        branch_square = gaussian_expectation(lambda z: phi(z) ** 2, variance)
        if number:
            factors.append(math.sqrt(1 + scale**2 * chi(activation, weight_std, variance)))
            square += 2 * scale * mean * branch_mean + scale**2 * branch_square
            mean += scale * branch_mean
        else:
            square, mean, scale = branch_square, branch_mean, branch_scale
        squares.append(square)
    forward = torch.tensor(squares, dtype=torch.float64).sqrt()
    back = torch.tensor([*factors, 1.0], dtype=torch.float64).flip(0).cumprod(0).flip(0)
    return forward / forward[0], back


def overflow_depth(
    activation: Activation, weight_std: float, *, input_variance: float = 1.0, width: int = 256
) -> float:
    """The first layer whose pre-activations leave the range of float32.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w, the same in every layer; there are no biases.
        input_variance: mean square of the network's inputs, above 0.
        width: units per layer; of so many Gaussian values the largest is about sqrt(2 ln width) times their root mean
            square.
    Returns:
        The layer's number, counted from 1, as a float; ``math.inf`` if the signal never grows so far. Wide layers are
        assumed: each layer of n ReLU units adds about sqrt(5 / n) / 2 to the spread of the logarithm.
    Raises:
        ValueError: for an unknown activation, a width below 2, or an argument that is not positive and finite.
    """
    if isinstance(width, bool) or not isinstance(width, int):
        raise TypeError(f"width must be an integer, got {width!r}")
    if width < 2:
        raise ValueError(f"width must be at least 2, got {width}")
    weight_std = _require("weight_std", weight_std, strict=True)
    log_variance = 2 * math.log(weight_std) + math.log(_require("input_variance", input_variance, strict=True))
    log_limit = 2 * math.log(torch.finfo(torch.float32).max) - math.log(2 * math.log(width))
    layer = 1
    while log_variance < log_limit:
        # far beyond any bend of the activation its growth no longer depends on the size, and float64 need not hold it
        variance = math.exp(min(max(log_variance, -600), 600))
        growth = math.log(max(variance_map(activation, weight_std, variance) / variance, 1e-300))
        if growth < 1e-9:
            return math.inf
        log_variance += growth
        layer += 1
    return float(layer)


def batch_norm_factor(activation: Activation) -> float:
    """By how much a layer with batch normalisation multiplies the squared gradient on its way back, before training.

    The layers are wide, the batch is large, and pre-activations are normalised. Whatever the scale of the weights, a
    layer then divides by the spread of the activation's output: E[phi'(z)^2] / Var[phi(z)] for a standard Gaussian z.

    Args:
        activation: a name of ``ACTIVATIONS`` or an element-wise callable.
    Returns:
        The factor, dimensionless: 1 for a linear layer, pi / (pi - 1) for ReLU, and below 1 for none.
    Raises:
        ValueError: for an unknown activation, or a constant one, whose output has no spread.
        TypeError: for an activation that is neither a name nor a callable.
    Source: Yang et al. 2019, theorem 3.9 for ReLU; that it is never below 1 is the Gaussian Poincare inequality.
    """
    function = activation_function(activation)
    spread = gaussian_expectation(lambda z: function(z) ** 2) - gaussian_expectation(function) ** 2
    if spread <= 1e-12:
        raise ValueError(f"activation must not be constant, and {activation!r} is")
    return gaussian_expectation(lambda z: slope(activation, z) ** 2) / spread


def stability_limit(curvature: float) -> float:
    """The learning rate above which gradient descent on a quadratic diverges.

    Args:
        curvature: largest second derivative of the loss (largest eigenvalue of the Hessian), above 0. Its unit is
            loss per squared unit of weight.
    Returns:
        2 / curvature. Below it the error shrinks by abs(1 - lr * curvature) a step; at it, it oscillates for ever.
    Raises:
        ValueError: for a curvature that is not positive and finite.
    Source: LeCun et al. 1998, section 5.
    """
    return 2 / _require("curvature", curvature, strict=True)


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
        bound = _require("value", value, strict=True)
        return gradient.clamp(-bound, bound)
    bound, length = _require("norm", norm, strict=True), float(torch.linalg.vector_norm(gradient))
    return gradient * (bound / length) if length > bound else gradient.clone()


def cell_memory(forget_bias: float, steps: int) -> Tensor:
    """What the cell of an LSTM keeps of itself after 0, 1, ..., ``steps`` steps, along the path from cell to cell.

    Args:
        forget_bias: b of the forget gate, whose other inputs are taken as 0.
        steps: at least 0.
    Returns:
        float64 tensor of shape (steps + 1,): sigmoid(b)^k, the product of k forget gates.
    Raises:
        ValueError: for fewer than 0 steps, or a bias that is not finite.
        TypeError: for steps that are no integer, or a bias that is no number.
    Source: Gers et al. 2000, section 3; d c_T / d c_t is the product of the forget gates in between.
    """
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"steps must be an integer, got {steps!r}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    bias = torch.tensor(_require("forget_bias", forget_bias, minimum=-math.inf), dtype=torch.float64)
    return torch.sigmoid(bias) ** torch.arange(steps + 1, dtype=torch.float64)


def memory_horizon(forget_bias: float) -> float:
    """After how many steps the cell of an LSTM keeps 1/e of itself.

    Args:
        forget_bias: b of the forget gate, whose other inputs are taken as 0.
    Returns:
        -1 / log(sigmoid(b)), in steps; about exp(b) for a large b.
    Raises:
        ValueError: for a bias that is not finite.
        TypeError: for a bias that is no number.
    Source: Tallec & Ollivier 2018, section 2.
    """
    # log(sigmoid(b)) = -log(1 + e^-b), written so that neither end of the scale rounds it away
    bias = _require("forget_bias", forget_bias, minimum=-math.inf)
    decay = math.log1p(math.exp(-bias)) if bias > 0 else -bias + math.log1p(math.exp(bias))
    return 1 / decay if decay > 0 else math.inf
