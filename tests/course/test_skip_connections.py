"""The growth of a residual sum, the path past the branch, and what the skip connections' page says of both."""

import math

import numpy as np
import pytest
import torch

from gradclinic.course import audit, theory
from gradclinic.course.models import MLP

skips = audit.skips


def test_a_linear_network_grows_as_the_closed_form_says():
    forward, back = theory.residual_growth("linear", 12, 0.7, 0.5)
    factor = math.sqrt(1 + 0.25 * 0.49)
    assert forward.tolist() == pytest.approx([factor**block for block in range(12)])
    assert back.tolist() == pytest.approx([factor**block for block in reversed(range(12))])


def test_relu_grows_by_the_root_of_the_factor_its_mean_asks_for():
    # the fixed point of mean over root mean square, found by hand: r = 1 / (sqrt(pi) (g - 1)), g^2 = 2 + 2 r / sqrt(pi)
    g = 1.0
    for _ in range(200):
        g = (g + math.sqrt(2 + 2 / (math.pi * (g - 1 + 1e-12)))) / 2
    forward, _ = theory.residual_growth("relu", 80, math.sqrt(2))
    assert float(forward[-1] / forward[-2]) == pytest.approx(g, rel=1e-6)
    assert g**2 == pytest.approx(2.9, abs=0.02), "the page says 2.9"


def test_without_a_branch_nothing_changes():
    forward, back = theory.residual_growth("relu", 9, 3.0, 0.0)
    assert forward.tolist() == back.tolist() == [1.0] * 9
    assert np.allclose(skips.identity_path(9, range(3)), 1, rtol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_sum_grows_as_predicted_over_twenty_networks(activation, scale):
    init = "he" if activation == "relu" else "xavier"
    sizes, gradients = skips.flows(10, activation, init, True, scale)
    forward, back = skips.predicted_flows(10, activation, init, scale)
    assert np.exp(np.log(sizes).mean(0)) == pytest.approx(forward, rel=0.08)
    if activation != "relu":
        assert np.exp(np.log(gradients).mean(0)) == pytest.approx(back, rel=0.08)
    else:  # the prediction is of a gradient in a random direction, which is the least there is
        assert (np.exp(np.log(gradients).mean(0)) >= back * 0.97).all()


def test_what_is_measured_is_the_sum_and_not_the_branch():
    model, x = MLP(3, 8, "tanh", "xavier", skip=True, branch_scale=0.5, seed=1), torch.randn(5, 64)
    answer, sums = skips.sums_of(model, x)
    h1 = torch.tanh(model.layer1(x))
    h2 = h1 + 0.5 * torch.tanh(model.layer2(h1))
    h3 = h2 + 0.5 * torch.tanh(model.layer3(h2))
    for found, want in zip((*sums, answer), (h1, h2, h3, model.readout(h3)), strict=True):
        assert torch.allclose(found, want)


def test_in_a_relu_network_the_gradient_along_the_sum_is_the_same_at_every_depth():
    """Euler: without biases each logit is homogeneous in h, so h times its gradient is the logit, at every depth."""
    model, x = MLP(6, 32, "relu", "he", skip=True, seed=0).double(), torch.rand(4, 64, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    answer, sums = skips.sums_of(model, x)
    for h, gradient in zip(sums, torch.autograd.grad(answer[:, 3].sum(), sums), strict=True):
        assert torch.allclose((h * gradient).sum(1), answer[:, 3])


def test_zeros_behind_a_relu_never_wake_and_zeros_at_the_end_do():
    assert skips.moved_branches("relu", 0)[1] == 0 < skips.moved_branches("zero", 0)[1]
    with pytest.raises(ValueError, match=r"'hee'.*he, zero, relu"):
        skips.TwoLayerBranches(2, 8, "hee", 0)


def test_an_unknown_scale_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"'half'.*1/L"):
        skips.branch_scale("half", 4)
