"""The network is the one its arguments describe, and its seed is the only thing that decides its weights."""

import math

import pytest
import torch
from torch import nn

from gradlab.initializers import INITIALIZERS
from gradlab.models import MLP

torch.set_num_threads(1)


@pytest.mark.parametrize("depth", [1, 3, 12])
def test_layers_are_numbered_from_the_input_and_the_readout_comes_last(depth):
    model = MLP(depth, 7, in_features=5, out_features=4)
    expected = [name for n in range(1, depth + 1) for name in (f"layer{n}", f"activation{n}")] + ["readout"]
    assert [name for name, _ in model.named_children()] == expected, "the names must count from 1 at the input"
    shapes = [tuple(module.weight.shape) for module in model if isinstance(module, nn.Linear)]
    assert shapes == [(7, 5)] + [(7, 7)] * (depth - 1) + [(4, 7)], f"weights are (out, in), got {shapes}"
    assert model.depth == depth, "depth counts hidden layers, without the read-out"


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("linear", lambda z: z),
        ("relu", lambda z: z.clamp(min=0)),
        ("tanh", torch.tanh),
        ("sigmoid", lambda z: 1 / (1 + torch.exp(-z))),
        (torch.sin, torch.sin),
    ],
    ids=["linear", "relu", "tanh", "sigmoid", "callable"],
)
def test_the_forward_pass_is_the_composition_written_by_hand(activation, function):
    model = MLP(3, 6, activation, "he", in_features=4, out_features=2, seed=0)
    p = dict(model.named_parameters())
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    h = x
    for n in (1, 2, 3):
        h = function(h @ p[f"layer{n}.weight"].T + p[f"layer{n}.bias"])
    expected = h @ p["readout.weight"].T + p["readout.bias"]
    assert torch.allclose(model(x), expected, atol=1e-6), f"{activation} network and hand-written network disagree"


def test_a_seed_decides_the_weights():
    first, again, other = (MLP(3, 8, seed=seed) for seed in (5, 5, 6))
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), f"the same seed must draw the same {name}"
        assert not torch.equal(a, c), f"another seed must draw another {name}"
    assert not torch.equal(first.layer2.weight, first.layer3.weight), "layers must not be copies of one another"


def test_a_seed_leaves_the_global_generator_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    MLP(2, 8, seed=3)
    assert torch.equal(torch.get_rng_state(), before), "a seeded network drew from torch's global generator"
    MLP(2, 8)
    assert not torch.equal(torch.get_rng_state(), before), "without a seed, the global generator is what it draws from"


def test_a_refused_network_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="glorott"):
        MLP(2, 8, init="glorott", seed=3)
    assert torch.equal(torch.get_rng_state(), before), "an error must not leave the seed behind"


def test_without_a_seed_the_global_seed_decides():
    torch.manual_seed(4)
    first = MLP(2, 8)
    torch.manual_seed(4)
    assert torch.equal(first.layer1.weight, MLP(2, 8).layer1.weight), "torch.manual_seed must make it reproducible"


@pytest.mark.parametrize("init", [*INITIALIZERS, 1.8])
def test_every_layer_and_the_readout_have_the_promised_weight_scale(init):
    fan_in, width, classes = 300, 400, 200

    def formula(n_in: int, n_out: int) -> float:
        by_name = {
            "pytorch": 1 / math.sqrt(3),
            "xavier": math.sqrt(2 * n_in / (n_in + n_out)),
            "he": math.sqrt(2),
            "lecun": 1.0,
            "orthogonal": math.sqrt(min(n_in, n_out) / n_out),  # |W|^2 is the rank, spread over n_in * n_out entries
        }
        return by_name[init] if isinstance(init, str) else init

    model = MLP(2, width, init=init, in_features=fan_in, out_features=classes, seed=0)
    for name in ("layer1", "layer2", "readout"):
        weight = getattr(model, name).weight
        n_out, n_in = weight.shape
        spread = weight.std().item() * math.sqrt(n_in)
        assert spread == pytest.approx(formula(n_in, n_out), rel=0.01), f"{name} of {init} has sigma_w = {spread:.3f}"


def test_the_default_network_fits_the_digits():
    assert MLP(2)(torch.zeros(5, 64)).shape == (5, 10), "64 pixels in, 10 classes out"
