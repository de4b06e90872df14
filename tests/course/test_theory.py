"""The predictions agree with closed forms, with autograd and with an integrator that shares no line with them."""

import ast
import contextlib
import io
import math
import re
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import chi2
from torch.nn import functional

from gradclinic.course import audit, theory, training
from tests.helpers import ROOT

VARIANCES = [1e-4, 1e-2, 0.25, 1.0, 10.0, 1e2, 1e4]


def gaussian_integral(f, variance: float) -> float:
    """E[f(z)] by adaptive quadrature over z itself, split at 0; f(z) must vanish beyond |z| = 45."""
    reach = min(12 * math.sqrt(variance), 45.0)

    def weighted(z: float) -> float:
        return f(z) * math.exp(-z * z / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    parts = [quad(weighted, a, b, epsabs=0, epsrel=1e-11, limit=400)[0] for a, b in ((-reach, 0), (0, reach))]
    return sum(parts)


def wide_integral(f, variance: float) -> float:
    """E[f(z)] where f does not vanish for large z: adaptive quadrature over z, split where f bends."""
    scale = math.sqrt(variance)
    ends = sorted({0.0, *(s * e for s in (-1, 1) for e in (min(10, 12 * scale), 12 * scale))})

    def weighted(z: float) -> float:
        return f(z) * math.exp(-z * z / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    return sum(quad(weighted, a, b, epsabs=0, epsrel=1e-11, limit=400)[0] for a, b in pairwise(ends))


def normal_share(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def normal_density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def sigmoid_slope(z: float) -> float:
    return sigmoid(z) * sigmoid(-z)


def tanh_slope(z: float) -> float:
    return 1 / math.cosh(z) ** 2


# E[phi'^2], and E[phi^2] written so that only what vanishes far out is integrated.
SQUARED_SLOPE = {
    "tanh": lambda v: gaussian_integral(lambda z: tanh_slope(z) ** 2, v),
    "sigmoid": lambda v: gaussian_integral(lambda z: sigmoid_slope(z) ** 2, v),
    "linear": lambda v: 1.0,
    "relu": lambda v: 0.5,
    "leaky_relu": lambda v: (1 + 0.01**2) / 2,
    "gelu": lambda v: wide_integral(lambda z: (normal_share(z) + z * normal_density(z)) ** 2, v),
    "silu": lambda v: wide_integral(lambda z: (sigmoid(z) + z * sigmoid_slope(z)) ** 2, v),
}
SECOND_MOMENT = {
    "tanh": lambda v: (
        gaussian_integral(lambda z: math.tanh(z) ** 2, v) if v < 10 else 1 - gaussian_integral(tanh_slope, v)
    ),
    "sigmoid": lambda v: 0.5 - gaussian_integral(sigmoid_slope, v),  # sigmoid^2 = sigmoid - sigmoid', E sigmoid = 1/2
    "linear": lambda v: v,
    "relu": lambda v: v / 2,
    "leaky_relu": lambda v: (1 + 0.01**2) * v / 2,
    "gelu": lambda v: wide_integral(lambda z: (z * normal_share(z)) ** 2, v),
    "silu": lambda v: wide_integral(lambda z: (z * sigmoid(z)) ** 2, v),
}


def close(value: float, expected: float, what: str, rel: float = 1e-6) -> None:
    assert value == pytest.approx(expected, rel=rel, abs=0), f"{what}: {value!r}, but the truth is {expected!r}"


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("k", [0, 1, 2, 3, 4])
def test_even_moments_of_a_gaussian_are_the_double_factorials(k, variance):
    expected = math.prod(range(1, 2 * k, 2)) * variance**k
    close(theory.gaussian_expectation(lambda z: z ** (2 * k), variance), expected, f"E[z^{2 * k}] at {variance}")


@pytest.mark.parametrize("variance", VARIANCES)
def test_odd_moments_of_a_gaussian_are_zero(variance):
    moment = theory.gaussian_expectation(lambda z: z**3, variance) / variance**1.5
    assert abs(moment) < 1e-12, f"E[z^3] must be 0 by symmetry, got {moment} standard deviations cubed"


@pytest.mark.parametrize("variance", [1e-4, 1e-2, 1.0, 4.0, 10.0])
def test_the_mean_cosine_is_the_characteristic_function(variance):
    close(theory.gaussian_expectation(torch.cos, variance), math.exp(-variance / 2), f"E[cos z] at {variance}")


@pytest.mark.parametrize("variance", [*VARIANCES, 1e6])
def test_erf_follows_the_arcsine_law(variance):
    second = theory.variance_map(torch.erf, 1.0, variance)
    close(second, 2 / math.pi * math.asin(2 * variance / (1 + 2 * variance)), f"E[erf^2] at {variance}")
    close(theory.chi(torch.erf, 1.0, variance), 4 / math.pi / math.sqrt(1 + 4 * variance), f"E[erf'^2] at {variance}")


@pytest.mark.parametrize("variance", [*VARIANCES, 1e6])
@pytest.mark.parametrize("activation", theory.ACTIVATIONS)
def test_chi_and_variance_map_agree_with_an_adaptive_integrator(activation, variance):
    weight_std, bias_std = 1.7, 0.3
    expected = weight_std**2 * SQUARED_SLOPE[activation](variance)
    close(theory.chi(activation, weight_std, variance), expected, f"chi of {activation} at variance {variance}")
    expected = weight_std**2 * SECOND_MOMENT[activation](variance) + bias_std**2
    mapped = theory.variance_map(activation, weight_std, variance, bias_std=bias_std)
    close(mapped, expected, f"the next variance of {activation} at {variance}")


def test_a_very_wide_gaussian_sees_the_sigmoid_as_a_step():
    # the integral of sigmoid'^2 over the line is 1/6, and the density is flat where it lives
    close(theory.chi("sigmoid", 1.0, 1e6), 1 / 6 / math.sqrt(2 * math.pi * 1e6), "chi of sigmoid at 1e6", rel=1e-5)
    close(theory.gaussian_expectation(torch.sigmoid, 1e6), 0.5, "E[sigmoid] at 1e6")


@pytest.mark.parametrize("weight_std", [0.0, 0.5, 1.0, math.sqrt(2), 3.0])
def test_relu_halves_the_squared_gradient_at_every_variance(weight_std):
    for variance in VARIANCES:
        value = theory.chi("relu", weight_std, variance)
        assert value == pytest.approx(weight_std**2 / 2, rel=1e-12), f"chi of ReLU at {variance} is {value}"


@pytest.mark.parametrize(
    ("name", "function"),
    [("linear", lambda z: z), ("relu", torch.relu), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)],
)
def test_slopes_in_closed_form_are_what_autograd_says(name, function):
    z = torch.cat([torch.linspace(-30, 30, 601, dtype=torch.float64), torch.tensor([0.0])]).requires_grad_()
    expected = torch.autograd.grad(function(z).sum(), z)[0]
    found = theory.slope(name, z.detach())
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-15), f"the slope of {name} differs from autograd's"
    assert torch.equal(theory.activation_function(name)(z), function(z)), f"{name} is not the function it names"


def test_a_callable_is_differentiated_even_where_gradients_are_off():
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)
    with torch.no_grad():
        found = theory.slope(torch.sin, z)
    assert torch.allclose(found, torch.cos(z)), "the derivative of sin is cos"
    assert not found.requires_grad, "the slope must not drag a graph along"
    assert not z.requires_grad, "the slope must not drag a graph along"


@pytest.mark.parametrize(("name", "function"), [("tanh", torch.tanh), ("sigmoid", torch.sigmoid), ("relu", torch.relu)])
def test_a_callable_gives_what_its_name_gives(name, function):
    for variance in VARIANCES:
        close(theory.chi(function, 1.3, variance), theory.chi(name, 1.3, variance), f"chi of {name}", rel=1e-9)
        named = theory.variance_map(name, 1.3, variance)
        close(theory.variance_map(function, 1.3, variance), named, f"the variance map of {name}", rel=1e-12)


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (torch.nn.functional.silu, lambda z: sigmoid(z) * (1 + z * sigmoid(-z))),
        (
            torch.nn.functional.gelu,
            lambda z: math.erfc(-z / math.sqrt(2)) / 2 + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
        ),
        (lambda z: z + torch.sin(z) / 2, lambda z: 1 + math.cos(z) / 2),
    ],
    ids=["silu", "gelu", "lambda"],
)
@pytest.mark.parametrize("variance", [0.01, 1.0, 9.0])
def test_chi_of_any_smooth_callable_agrees_with_its_derivative_on_paper(function, derivative, variance):
    expected = gaussian_integral(lambda z: derivative(z) ** 2, variance)
    close(theory.chi(function, 1.0, variance), expected, f"chi at variance {variance}")


@pytest.mark.parametrize(
    ("activation", "weight_std", "bias_std", "start"),
    [
        ("tanh", 5 / 3, 0.0, 1.0),
        ("tanh", 3.0, 0.2, 0.01),
        ("tanh", 0.5, 0.1, 2.0),
        ("sigmoid", 1.0, 0.0, 1.0),
        ("sigmoid", 4.0, 0.0, 50.0),
        ("relu", 1.0, 0.5, 3.0),
    ],
)
def test_a_fixed_point_is_where_variances_settle(activation, weight_std, bias_std, start):
    found = theory.fixed_point(activation, weight_std, start, bias_std=bias_std)
    again = theory.variance_map(activation, weight_std, found, bias_std=bias_std)
    close(again, found, "the variance map must leave its fixed point alone", rel=1e-9)
    for begun in (start, 100 * start, start / 100):
        q = begun
        for _ in range(300):
            q = theory.variance_map(activation, weight_std, q, bias_std=bias_std)
        close(q, found, f"300 layers of {activation} end elsewhere")


def test_the_fixed_point_of_tanh_at_five_thirds_agrees_with_an_independent_root():
    root = brentq(lambda q: 25 / 9 * SECOND_MOMENT["tanh"](q) - q, 0.1, 5, xtol=1e-12)
    close(theory.fixed_point("tanh", 5 / 3), root, "fixed point of tanh at 5/3")


def test_a_biased_relu_settles_at_the_geometric_series():
    close(theory.fixed_point("relu", 1.0, bias_std=0.5), 0.25 / (1 - 0.5), "q = q/2 + 1/4")


@pytest.mark.parametrize(
    ("activation", "weight_std", "start", "expected"),
    [
        ("relu", 1.0, 1.0, 0.0),
        ("relu", 2.0, 1.0, math.inf),
        ("relu", math.sqrt(2), 3.7, 3.7),
        ("linear", 1.0, 0.2, 0.2),
        ("linear", 0.9, 0.2, 0.0),
        ("linear", 1.1, 0.2, math.inf),
        ("tanh", 1.0, 1.0, 0.0),
        ("tanh", 0.5, 1.0, 0.0),
        ("tanh", 0.0, 1.0, 0.0),
    ],
)
def test_a_signal_dies_lives_or_grows_as_the_weight_scale_says(activation, weight_std, start, expected):
    found = theory.fixed_point(activation, weight_std, start)
    assert found == pytest.approx(expected, rel=1e-12), f"{activation} at {weight_std}: {found}, not {expected}"


def test_the_sigmoid_never_lets_the_signal_die():
    for weight_std in (0.1, 1.0, 10.0):  # its output is 1/2 on average, so its square stays above 1/4
        found = theory.fixed_point("sigmoid", weight_std)
        assert found >= weight_std**2 / 4, f"at sigma_w = {weight_std} the variance settles at {found}"


@pytest.mark.parametrize("activation", theory.ACTIVATIONS)
@pytest.mark.parametrize("weight_std", [0.7, 1.8])
def test_the_gradient_profile_is_the_product_of_the_factors_above_each_layer(activation, weight_std):
    depth, inputs, bias_std = 5, 0.9, 0.2
    variance, factors = weight_std**2 * inputs + bias_std**2, []
    for _ in range(depth - 1):
        factors.append(weight_std**2 * SQUARED_SLOPE[activation](variance))
        variance = weight_std**2 * SECOND_MOMENT[activation](variance) + bias_std**2
    profile = theory.gradient_profile(activation, depth, weight_std, inputs, bias_std=bias_std)
    assert profile.shape == (depth,), f"one entry per layer, got {tuple(profile.shape)}"
    assert profile[-1] == 1, "the profile is relative to the last hidden layer"
    for layer in range(depth):
        expected = math.sqrt(math.prod(factors[layer:]))
        close(profile[layer].item(), expected, f"{activation}, layer {layer + 1}")


@pytest.mark.parametrize("weight_std", [0.2, math.sqrt(2), 10.0])
def test_a_profile_of_hundreds_of_layers_neither_overflows_nor_underflows_on_the_way(weight_std):
    depth = 450  # the variance itself leaves the range of float64 at 0.2 and at 10
    log_profile = theory.gradient_profile("relu", depth, weight_std).log()
    steps = log_profile[:-1] - log_profile[1:]
    expected = math.log(weight_std**2 / 2) / 2
    near = steps[-50:]
    assert torch.allclose(near, torch.full_like(near, expected), atol=1e-9), (
        f"every layer of a ReLU network has the factor {expected:.3f}, got {near.min():.3f} to {near.max():.3f}"
    )


@pytest.mark.parametrize("curvature", [0.01, 1.0, 3.0, 250.0])
def test_the_stability_limit_is_where_real_descent_turns(curvature):
    limit, steps = theory.stability_limit(curvature), 200
    for share, verdict in ((0.99, "below"), (1.0, "at"), (1.01, "above")):
        path = training.descend(share * limit, [curvature], [1.5], steps)[:, 0]
        factor = abs(1 - 2 * share)
        expected = 1.5 * factor ** torch.arange(steps + 1, dtype=torch.float64)
        error = ((path.abs() - expected) / expected).abs().max().item()
        assert error < 1e-12, f"{verdict} the limit the error should shrink by {factor} a step; it is off by {error}"
        assert (path[1:] * path[:-1] < 0).all(), f"{verdict} the limit every step crosses the minimum"
    far = training.descend(1.5 * limit, [curvature], [1.5], steps)[-1].abs()
    assert far > 1e50, "well above the limit descent must diverge"


# closed forms: the factor of a linear layer is sigma_w^2, of ReLU sigma_w^2 / 2, and of tanh sigma_w^2 where z is small
@pytest.mark.parametrize(("activation", "expected"), [("linear", 1.0), ("relu", math.sqrt(2)), ("tanh", 1.0)])
def test_the_critical_weight_scale_of_known_activations(activation, expected):
    assert theory.critical_weight_std(activation) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", torch.nn.functional.silu, torch.nn.functional.gelu])
def test_at_the_critical_weight_scale_a_settled_signal_keeps_its_gradient(activation):
    critical = theory.critical_weight_std(activation)
    for share, sign in ((0.98, -1), (1.02, 1)):
        variance = 1.0
        for _ in range(2000):  # the signal settles by itself here, not by the search for a fixed point under test
            variance = min(theory.variance_map(activation, share * critical, variance), 1e300)
        z = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * math.sqrt(variance)
        z.requires_grad_(True)
        function = torch.sigmoid if activation == "sigmoid" else activation
        (slopes,) = torch.autograd.grad(function(z).sum(), z)
        factor = (share * critical) ** 2 * slopes.square().mean().item()
        assert sign * (factor - 1) > 0, f"at {share} of the critical scale the factor is {factor:.3f}"


def test_an_activation_that_never_carries_a_gradient_has_no_critical_weight_scale():
    with pytest.raises(ValueError, match=r"no critical weight scale.*0\.05 to 200"):
        theory.critical_weight_std(lambda z: 0 * z)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("weight_std", [6.0, 8.0, 32.0])
def test_float32_overflows_within_a_layer_of_the_prediction(activation, weight_std):
    width = 256
    predicted = theory.overflow_depth(activation, weight_std, width=width)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        signal, layer = torch.randn(8, width, generator=generator), 0
        while signal.isfinite().all():
            weight = torch.randn(width, width, generator=generator) * weight_std / math.sqrt(width)
            signal, layer = signal @ weight, layer + 1
            signal = signal.relu() if activation == "relu" else signal
        assert abs(layer - predicted) <= 1, f"seed {seed}: overflow in layer {layer}, predicted {predicted:g}"


@pytest.mark.parametrize(
    ("activation", "weight_std"), [("tanh", 50.0), ("sigmoid", 50.0), ("relu", 1.0), ("linear", 1)]
)
def test_a_bounded_or_shrinking_signal_never_overflows(activation, weight_std):
    assert theory.overflow_depth(activation, weight_std) == math.inf


# --- clipping and memory ---


@pytest.mark.parametrize("bound", [0.1, 1.0, 1e3])
def test_clipping_is_what_torch_does_to_a_gradient(bound):
    gradient = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    for how, clip in (("norm", torch.nn.utils.clip_grad_norm_), ("value", torch.nn.utils.clip_grad_value_)):
        parameter = torch.nn.Parameter(torch.zeros_like(gradient))
        parameter.grad = gradient.clone()
        clip([parameter], bound)
        assert torch.allclose(theory.clip(gradient, **{how: bound}), parameter.grad, rtol=1e-5), how
    kept = theory.clip(gradient, norm=1e4)
    assert torch.equal(kept, gradient), "a short gradient comes back as it is, as a copy"
    assert kept is not gradient, "a short gradient comes back as it is, as a copy"


def test_a_gradient_of_zero_stays_zero():
    assert torch.equal(theory.clip(torch.zeros(3), norm=1.0), torch.zeros(3))


@pytest.mark.parametrize("bias", [-800.0, -2.0, 0.0, 3.0, 30.0])
def test_after_the_horizon_one_over_e_of_the_cell_is_left(bias):
    horizon = theory.memory_horizon(bias)
    log_gate = torch.nn.functional.logsigmoid(torch.tensor(bias, dtype=torch.float64)).item()
    assert horizon * log_gate == pytest.approx(-1, rel=1e-9)
    if bias >= 3:
        assert horizon == pytest.approx(math.exp(bias), rel=0.05), "about e^b, as the page says"


def test_the_cell_keeps_a_product_of_equal_gates():
    kept = theory.cell_memory(2.0, 3).tolist()
    gate = 1 / (1 + math.exp(-2))
    assert kept == pytest.approx([1, gate, gate * gate, gate * gate * gate])


@pytest.mark.parametrize("activation", theory.ACTIVATIONS)
def test_a_named_activation_is_torchs_own(activation):
    peers = {"leaky_relu": functional.leaky_relu, "gelu": functional.gelu, "silu": functional.silu, "relu": torch.relu}
    peers |= {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "linear": lambda z: z}
    z = torch.linspace(-6, 6, 240, dtype=torch.float64, requires_grad=True)
    value = peers[activation](z)
    assert torch.allclose(theory.activation_function(activation)(z), value, atol=1e-12)
    assert torch.allclose(theory.slope(activation, z.detach()), torch.autograd.grad(value.sum(), z)[0], atol=1e-12)


@pytest.mark.parametrize("leak", [0.01, 0.2, 0.9])
def test_a_leaky_relu_has_a_mean_and_its_scale_comes_from_the_second_moment(leak):
    mean = theory.gaussian_expectation(lambda z: functional.leaky_relu(z, leak))
    close(mean, (1 - leak) / math.sqrt(2 * math.pi), f"mean of a leaky ReLU, leak {leak}")
    found = theory.critical_weight_std(lambda z: functional.leaky_relu(z, leak))
    close(found, math.sqrt(2 / (1 + leak**2)), f"critical scale, leak {leak}", rel=1e-4)
    centred = theory.gaussian_expectation(lambda z: functional.leaky_relu(z, leak) ** 2) - mean**2
    assert abs(found - 1 / math.sqrt(centred)) > 0.005 or leak > 0.8, "the variance would give another scale"


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_the_critical_scale_of_gelu_and_silu_is_an_edge(activation):
    scale = theory.critical_weight_std(activation)
    close(theory.variance_map(activation, scale, 1.0), 1.0, "a signal of size 1 is kept", rel=1e-5)
    assert theory.fixed_point(activation, scale, 0.9) == 0
    assert theory.fixed_point(activation, scale, 1.1) == math.inf
    assert theory.chi(activation, scale, 1.0) > 1.05, "and there the gradient grows"


@pytest.mark.parametrize(
    ("weight_std", "bias_std"), [(0.7, 0.0), (0.9, 0.3), (1.5, 0.0), (2.0, 0.3), (3.0, 0.0), (1.2, 0.5)]
)
def test_the_correlation_length_is_how_fast_the_correlation_of_two_sampled_signals_settles(weight_std, bias_std):
    # iterate the map of correlations itself by Monte Carlo quadrature over pairs, and read the rate off its slope
    # where the signal dies out, ``following`` is the covariance over a fixed size: the correlation itself stays (T21)
    q = theory.fixed_point("tanh", weight_std, bias_std=bias_std) or 1e-12
    generator = torch.Generator().manual_seed(0)
    u, w = torch.randn(2, 2_000_000, generator=generator, dtype=torch.float64) * math.sqrt(q)

    def following(c: float) -> float:
        v = c * u + math.sqrt(1 - c * c) * w
        return float(weight_std**2 * (torch.tanh(u) * torch.tanh(v)).mean() + bias_std**2) / q

    limit = 0.5
    for _ in range(60):
        limit = min(max(following(limit), -1.0), 1.0)
    size = 0.02 if limit < 0.97 else -0.02
    slope = (
        (following(limit + size) - following(limit)) / size
        if limit < 0.97
        else (following(1.0) - following(1.0 - 0.002)) / 0.002
    )
    close(theory.correlation_length("tanh", weight_std, bias_std=bias_std), -1 / math.log(slope), "length", rel=0.08)


def test_the_correlation_length_of_an_ordered_network_is_that_of_its_gradient():
    for activation, weight_std in (("tanh", 0.8), ("relu", 1.1), ("sigmoid", 4.0)):
        settled = max(theory.fixed_point(activation, weight_std), 1e-300)
        expected = -1 / math.log(theory.chi(activation, weight_std, settled))
        close(theory.correlation_length(activation, weight_std), expected, activation, rel=1e-4)
    assert theory.correlation_length("tanh", 1.0) == theory.correlation_length("relu", math.sqrt(2)) == math.inf


@pytest.mark.parametrize("width", [1, 4, 16, 256])
def test_a_typical_product_grows_as_the_mean_logarithm_of_a_chi_squared_variable(width):
    expected = chi2(width).expect(math.log) / 2 - math.log(width) / 2 + math.log(1.7)
    close(theory.product_rate(width, 1.7), expected, f"rate at width {width}")


def test_four_by_four_matrices_explode_at_the_known_rate():
    close(theory.product_rate(4, 2.0), (math.log(2) + 1 - 0.5772156649015329) / 2, "nats a factor")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_largest_gain_is_that_of_a_wide_product(depth):
    generator = torch.Generator().manual_seed(0)
    product = torch.eye(800, dtype=torch.float64)
    for _ in range(depth):
        product = torch.randn(800, 800, generator=generator, dtype=torch.float64) @ product / math.sqrt(800)
    close(theory.largest_gain(depth), float(torch.linalg.matrix_norm(product, 2)), f"depth {depth}", rel=0.03)


def test_the_variance_of_critical_tanh_falls_like_one_over_twice_the_depth():
    q = 1.0
    for _ in range(10_000):
        q = theory.variance_map("tanh", 1.0, q)
    assert q * 2 * 10_000 == pytest.approx(1, abs=0.01)


def test_with_batch_norm_the_factor_is_that_of_yang_and_never_below_1():
    assert theory.batch_norm_factor("relu") == pytest.approx(math.pi / (math.pi - 1), rel=1e-6)
    assert theory.batch_norm_factor("linear") == pytest.approx(1, rel=1e-9)
    for activation in (*theory.ACTIVATIONS, torch.nn.functional.elu, torch.sin):
        assert theory.batch_norm_factor(activation) >= 1 - 1e-9


# --- chi in the book: each number that is shown is recomputed from the variance that stands beside it ---


def cells_with_chi() -> dict[str, list[str]]:
    """Of each page of the book, the code cells that call ``theory.chi``."""
    found = {}
    for page in sorted((ROOT / "book").rglob("*.md")):
        cells = re.findall(r"```\{code-cell\} python\n(?::[^\n]*\n)*(.*?)```", page.read_text(), re.DOTALL)
        calling = [code for code in cells if "theory.chi(" in code]
        if calling:
            found[page.relative_to(ROOT / "book").as_posix()] = calling
    return found


def shown(page: str, **given: object) -> tuple[str, dict[str, str], dict[str, object]]:
    """What the cells of a page that call ``theory.chi`` print, what they glue, and the names they leave behind."""
    glued: dict[str, str] = {}
    names: dict[str, object] = {"math": math, "audit": audit, "theory": theory, **given}
    names["glue"] = lambda name, text, display: glued.update({name: text})
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for code in cells_with_chi()[page]:
            exec(code, names)
    return printed.getvalue(), glued, names


def settled(activation: str, weight_std: float) -> float:
    """Where the variance goes, by walking there with the independent integrator."""
    q = 1.0
    for _ in range(60):
        q = weight_std**2 * SECOND_MOMENT[activation](q)
    return q


def test_these_pages_show_a_chi():
    assert set(cells_with_chi()) == {"remedies/activations.md", "vanishing/why.md"}, "recompute it here as well"


def test_chi_assumes_no_variance():
    with pytest.raises(TypeError, match="variance"):
        theory.chi("tanh", 1.0)


def test_why_prints_each_chi_with_its_variance():
    printed, glued, _ = shown("vanishing/why.md")
    line = r"^(\w+) +weight scale ([\d.]+), (layer 1|deep down) *, variance ([\d.]+): chi = ([\d.]+)$"
    rows = re.findall(line, printed, re.MULTILINE)
    assert len(rows) == len(printed.splitlines()) == 8, printed
    for activation, scale, layer, variance, chi in rows:
        weight_std = math.sqrt(2) if scale == "1.41" else float(scale)
        expected = weight_std**2 * SQUARED_SLOPE[activation](max(float(variance), 1e-6))
        assert float(chi) == pytest.approx(expected, abs=1e-3), f"{activation} at {scale}, variance {variance}"
        if layer == "layer 1":
            assert float(variance) == pytest.approx(weight_std**2, abs=1e-3), "of inputs with mean square 1"
    for scale in (1.0, 0.5):
        q = settled("sigmoid", scale)
        assert glued[f"q-{scale:g}"] == f"{q:.2f}"
        assert glued[f"chi-{scale:g}"] == f"{scale**2 * SQUARED_SLOPE['sigmoid'](q):.3f}"


def test_activations_shows_the_chi_of_a_kept_signal_of_variance_1():
    text = (ROOT / "book" / "remedies" / "activations.md").read_text()
    listed = re.search(r"^NAMES = (\{.*?\})$", text, re.MULTILINE)
    assert listed, "the page names its activations"
    _, _, names = shown("remedies/activations.md", NAMES=ast.literal_eval(listed[1]))
    assert {"tanh", "sigmoid", "relu", "gelu"} <= set(names["then"])
    for activation, chi in names["then"].items():
        scale = SECOND_MOMENT[activation](1.0) ** -0.5
        close(names["keeping"][activation], scale, f"the scale at which {activation} keeps variance 1")
        close(chi, scale**2 * SQUARED_SLOPE[activation](1.0), f"chi of {activation} there")
