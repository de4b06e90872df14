"""What skip connections, batch normalisation and gates do to the size of a gradient."""

import math

import torch
from torch import Tensor

from gradclinic.arguments import number, whole
from gradclinic.course.theory.activations import Activation, activation_function, slope
from gradclinic.course.theory.depth import chi
from gradclinic.course.theory.gaussian import gaussian_expectation


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
        TypeError: for a depth that is no integer, or another argument that is no number.
    """
    depth = whole("depth", depth)
    phi = activation_function(activation)
    weight_std = number("weight_std", weight_std, above_minimum=True)
    branch_scale = number("branch_scale", branch_scale)
    bias_std = number("bias_std", bias_std)
    square, mean, scale = number("input_variance", input_variance, above_minimum=True), 0.0, 1.0
    squares, factors = [], []
    for layer in range(depth):
        variance = weight_std**2 * square + bias_std**2
        branch_mean = gaussian_expectation(phi, variance)
        branch_square = gaussian_expectation(lambda z: phi(z) ** 2, variance)
        if layer:
            factors.append(math.sqrt(1 + scale**2 * chi(activation, weight_std, variance)))
            square += 2 * scale * mean * branch_mean + scale**2 * branch_square
            mean += scale * branch_mean
        else:
            square, mean, scale = branch_square, branch_mean, branch_scale
        squares.append(square)
    forward = torch.tensor(squares, dtype=torch.float64).sqrt()
    back = torch.tensor([*factors, 1.0], dtype=torch.float64).flip(0).cumprod(0).flip(0)
    return forward / forward[0], back


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
    steps = whole("steps", steps, 0)
    bias = torch.tensor(number("forget_bias", forget_bias, -math.inf), dtype=torch.float64)
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
    bias = number("forget_bias", forget_bias, -math.inf)
    decay = math.log1p(math.exp(-bias)) if bias > 0 else -bias + math.log1p(math.exp(bias))
    return 1 / decay if decay > 0 else math.inf
