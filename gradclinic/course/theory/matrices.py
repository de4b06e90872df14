"""Products of random matrices: linear networks, in which nothing but the weights acts."""

import math

import torch

from gradclinic.arguments import number, whole


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
        TypeError: for a width that is no integer, or a weight_std that is no number.
        ValueError: for a width below 1, or a weight_std that is not above 0 and finite.
    Source: half the mean logarithm of a chi-squared variable; Cohen & Newman 1984 for products of random matrices.
    """
    width = whole("width", width)
    growth = float(torch.special.digamma(torch.tensor(width / 2, dtype=torch.float64)))
    return math.log(number("weight_std", weight_std, above_minimum=True)) + (math.log(2 / width) + growth) / 2


def largest_gain(depth: int) -> float:
    """The largest singular value of a product of wide square Gaussian matrices with sigma_w = 1.

    Args:
        depth: number L of factors, at least 1.
    Returns:
        sqrt((L + 1)^(L + 1) / L^L), close to sqrt(e (L + 1/2)). Of orthogonal matrices it is 1.
    Raises:
        TypeError: for a depth that is no integer.
        ValueError: for one below 1.
    Source: the edge of the Fuss-Catalan law; Pennington et al. 2017, section 2.
    """
    depth = whole("depth", depth)
    return math.exp(((depth + 1) * math.log(depth + 1) - depth * math.log(depth)) / 2)
