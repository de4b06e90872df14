"""Signals going forward and gradients going back, layer by layer, in wide networks of plain layers."""

import math

import torch
from scipy.optimize import brentq
from torch import Tensor

from gradclinic.arguments import number, whole
from gradclinic.course.theory.activations import Activation, activation_function, elementwise, slope
from gradclinic.course.theory.gaussian import gaussian_expectation, pair_expectation


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
        TypeError: for an activation that is neither a name nor a callable, or an argument that is no number.
    Source: Poole et al. 2016, eq. 3.
    """
    weight_std, bias_std = number("weight_std", weight_std), number("bias_std", bias_std)
    phi = activation_function(activation)
    return weight_std**2 * gaussian_expectation(lambda z: elementwise(phi, z) ** 2, variance) + bias_std**2


def chi(activation: Activation, weight_std: float, variance: float) -> float:
    """Factor by which one layer multiplies the squared gradient, going backward.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w, the standard deviation of W * sqrt(fan_in), dimensionless.
        variance: second moment of the pre-activations entering the layer. It has to be said, because it decides: tanh
            at a weight scale of 1 has 0.464 at variance 1 and 1 where its signal has faded. Deep down it is
            ``fixed_point``; where that is 0 take a small number instead, for at 0 itself ReLU has no slope.
    Returns:
        sigma_w^2 * E[phi'(z)^2] with z ~ N(0, variance); 1 keeps the gradient in this layer, below 1 shrinks it, above
        1 lets it grow.
    Raises:
        ValueError: for an unknown activation, or a negative or non-finite argument.
        TypeError: for an activation that is neither a name nor a callable, or an argument that is no number.
    Source: Schoenholz et al. 2017, eq. 5.
    """
    weight_std = number("weight_std", weight_std)
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
        TypeError: for an activation that is neither a name nor a callable, or an argument that is no number.
    Source: Poole et al. 2016, section 3.
    """
    variance = number("variance", variance, above_minimum=True)

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
        TypeError: for a depth that is no integer, or another argument that is no number.
    Source: Schoenholz et al. 2017, section 4.
    """
    depth = whole("depth", depth)
    weight_std = number("weight_std", weight_std)
    variance = weight_std**2 * number("input_variance", input_variance) + number("bias_std", bias_std) ** 2
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
        The smallest sigma_w whose factor ``chi``, taken at the variance where the signal settles, reaches 1. GELU and
        SiLU have no such scale without biases: for them it is the sigma_w that divides vanishing from exploding where
        the signal starts with variance 1.
    Raises:
        ValueError: for an unknown activation, a negative or non-finite argument, or an activation whose factor stays
            on one side of 1 for every sigma_w between 0.05 and 200.
        TypeError: for an activation that is neither a name nor a callable, or a bias_std that is no number.
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


def correlation_length(activation: Activation, weight_std: float, *, bias_std: float = 0.0) -> float:
    """How many layers it takes until two different inputs look the same as far as they ever will.

    Args:
        activation: a name or a smooth element-wise callable.
        weight_std: sigma_w, the same in every layer.
        bias_std: sigma_b, the same in every layer.
    Returns:
        xi: the distance between the correlation of two signals and its limit shrinks by e every xi layers. It is
        ``math.inf`` where the distance does not shrink exponentially, at the critical scale. Where the signal dies
        out, it is the mean square difference of two signals that shrinks so; their correlation stays.
    Raises:
        ValueError: for an unknown activation, a weight_std that is not above 0, a negative or non-finite bias_std, or a
            network whose signal grows without bound.
        TypeError: for an activation that is neither a name nor a callable, or an argument that is no number.
    Source: Schoenholz et al. 2017, section 3: -1 / log(sigma_w^2 E[phi'(u) phi'(v)]) at the limit.
    """
    weight_std = number("weight_std", weight_std, above_minimum=True)
    q = fixed_point(activation, weight_std, bias_std=bias_std)
    if math.isinf(q):
        raise ValueError(
            f"the signal of {activation!r} grows without bound at weight_std {weight_std}: it has no limit"
        )
    q = max(q, 1e-300)
    phi = activation_function(activation)

    def excess(correlation: float) -> float:
        second = weight_std**2 * pair_expectation(phi, q, correlation) + bias_std**2
        return second / q - correlation

    limit = 1.0
    if chi(activation, weight_std, q) > 1 + 1e-9:
        # the same inputs drift apart: the limit lies below 1. The map of correlations is convex, so it crosses once.
        limit = 0.0 if excess(0.0) <= 1e-12 else brentq(excess, 0.0, 1 - 1e-6, xtol=1e-12)
    factor = weight_std**2 * pair_expectation(lambda z: slope(activation, z), q, limit)
    return -1 / math.log(factor) if 0 < factor < 1 - 1e-6 else (math.inf if factor > 0 else 0.0)


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
        TypeError: for a width that is no integer, or another argument that is no number.
    """
    width = whole("width", width, 2)
    weight_std = number("weight_std", weight_std, above_minimum=True)
    log_variance = 2 * math.log(weight_std) + math.log(number("input_variance", input_variance, above_minimum=True))
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
