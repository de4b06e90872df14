"""Each initialiser draws what its paper, and PyTorch's own function of that name, draw."""

import math

import pytest
import torch
from torch import nn

from gradclinic.course.initializers import INITIALIZERS, initialize, weight_std

SHAPES = [(400, 400), (800, 200), (200, 800)]  # fan_in, fan_out

# PyTorch's own initialisers, which share no line with gradclinic's
PEERS = {
    "pytorch": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "xavier": nn.init.xavier_normal_,
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "lecun": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}


@pytest.mark.parametrize(("fan_in", "fan_out"), SHAPES)
@pytest.mark.parametrize("init", INITIALIZERS)
def test_drawn_weights_have_the_spread_of_pytorchs_own_initialiser_and_the_promised_one(init, fan_in, fan_out):
    torch.manual_seed(0)
    peer = PEERS[init](torch.empty(fan_out, fan_in)).std() * math.sqrt(fan_in)
    torch.manual_seed(1)
    drawn = initialize(nn.Linear(fan_in, fan_out), init).weight
    spread = drawn.std() * math.sqrt(fan_in)
    promised = weight_std(init, fan_in, fan_out)
    # 80,000 or more draws: their deviation is known to a quarter of a percent
    assert spread.item() == pytest.approx(promised, rel=0.01), f"{init} promises {promised:.3f} and draws {spread:.3f}"
    assert peer.item() == pytest.approx(promised, rel=0.01), f"torch's own {init} has {peer:.3f}, not {promised:.3f}"
    assert abs(drawn.mean().item()) * math.sqrt(fan_in) < 0.02, f"{init} must draw around 0"


@pytest.mark.parametrize("scale", [0.5, 1, 5 / 3])
def test_a_number_is_the_weight_scale_itself(scale):
    torch.manual_seed(0)
    spread = initialize(nn.Linear(500, 300), scale).weight.std().item() * math.sqrt(500)
    assert spread == pytest.approx(scale, rel=0.01), f"asked for sigma_w = {scale}, drew {spread:.3f}"
    assert weight_std(scale, 500, 300) == scale, "a number is returned as it is"


def test_scale_zero_gives_zero_weights():
    assert not initialize(nn.Linear(5, 7), 0.0).weight.any(), "sigma_w = 0 leaves nothing to draw"


@pytest.mark.parametrize(("fan_in", "fan_out"), [(50, 50), (80, 30), (30, 80)])
def test_orthogonal_weights_keep_lengths(fan_in, fan_out):
    torch.manual_seed(0)
    w = initialize(nn.Linear(fan_in, fan_out), "orthogonal").weight.detach().double()
    singular = torch.linalg.svdvals(w)
    assert torch.allclose(singular, torch.ones_like(singular), atol=1e-5), (
        f"every singular value must be 1, they run from {singular.min():.4f} to {singular.max():.4f}"
    )


@pytest.mark.parametrize("init", [*(name for name in INITIALIZERS if name != "pytorch"), 1.5])
def test_biases_start_at_zero(init):
    layer = nn.Linear(20, 10)
    assert layer.bias.any(), "torch draws biases, so this test can see them set to 0"
    assert not initialize(layer, init).bias.any(), f"{init} must set biases to 0"


def test_pytorch_keeps_its_own_default_for_weights_and_biases():
    torch.manual_seed(3)
    expected = nn.Linear(20, 10)
    layer = nn.Linear(20, 10)
    torch.manual_seed(3)
    initialize(layer, "pytorch")
    assert torch.equal(layer.weight, expected.weight), "the weights must be those torch.nn.Linear draws"
    assert torch.equal(layer.bias, expected.bias), "the biases must be those torch.nn.Linear draws"


def test_a_layer_is_initialised_in_place_and_may_have_no_bias():
    layer = nn.Linear(4, 3, bias=False)
    before = layer.weight.detach().clone()
    assert initialize(layer, "he") is layer, "the layer itself is returned"
    assert not torch.equal(layer.weight, before), "its weights must be new"
    assert layer.weight.requires_grad, "and still be a leaf that can be trained"
    assert layer.weight.grad_fn is None, "and still be a leaf that can be trained"


@pytest.mark.parametrize(
    ("init", "expected"),
    [("he", math.sqrt(2 / 45)), ("xavier", math.sqrt(2 / (45 + 7200))), (1.3, 1.3 / math.sqrt(45))],
)
def test_a_convolution_counts_the_area_of_its_kernel_in_its_fans(init, expected):
    torch.manual_seed(0)
    layer = initialize(nn.Conv2d(5, 800, 3), init)
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert not layer.bias.any()
