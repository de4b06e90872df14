"""The network is the one its arguments describe, and its seed is the only thing that decides its weights."""

import math

import pytest
import torch
from torch import nn

from gradclinic.course.initializers import INITIALIZERS
from gradclinic.course.models import MLP, ConvNet, RecurrentClassifier, Transformer, TransformerBlock


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


def plain(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """An MLP with norms and skip connections, written once more with torch's functions."""
    p, h = dict(model.named_parameters()), x
    for n in range(1, model.depth + 1):
        z = h @ p[f"layer{n}.weight"].T + p[f"layer{n}.bias"]
        if f"norm{n}.weight" in p:
            dims = 0 if isinstance(getattr(model, f"norm{n}"), nn.BatchNorm1d) else 1
            centred = z - z.mean(dims, keepdim=True)
            z = centred / torch.sqrt(centred.square().mean(dims, keepdim=True) + 1e-5)
        branch = z.clamp(min=0)
        h = branch if n == 1 or not model.skip else h + model.branch_scale * branch
    return h @ p["readout.weight"].T + p["readout.bias"]


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize(("skip", "branch_scale"), [(False, 1.0), (True, 1.0), (True, 0.5)])
def test_norms_and_skip_connections_are_where_they_belong(norm, skip, branch_scale):
    model = MLP(4, 6, "relu", "he", norm=norm, skip=skip, branch_scale=branch_scale, in_features=5, seed=0)
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model(x), plain(model, x), atol=1e-5)


def test_a_branch_of_scale_zero_leaves_the_first_layer_alone():
    deep = MLP(9, 6, "relu", "he", skip=True, branch_scale=0.0, seed=0)
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(deep(x), deep.readout(deep.layer1(x).relu()))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_a_convolutional_network_is_its_layers_in_order(norm, skip):
    model = ConvNet(3, 4, norm=norm, skip=skip, in_channels=2, side=5, out_features=3, seed=0)
    x = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    h = x.reshape(7, 2, 5, 5)
    for n in (1, 2, 3):
        layer = getattr(model, f"layer{n}")
        z = nn.functional.conv2d(h, layer.weight, layer.bias, padding=1)
        if norm == "batch":
            z = nn.functional.batch_norm(z, None, None, training=True)
        elif norm == "layer":
            z = nn.functional.layer_norm(z, z.shape[1:])
        h = h + z.relu() if skip and n > 1 else z.relu()
    expected = h.mean((2, 3)) @ model.readout.weight.T + model.readout.bias
    assert model(x).shape == (7, 3)
    assert torch.allclose(model(x), expected, atol=1e-5)


def test_a_convolution_starts_at_the_scale_of_its_fan_in():
    wide = ConvNet(2, 64, init=1.7, seed=0).layer2.weight
    assert (wide.std() * math.sqrt(64 * 9)).item() == pytest.approx(1.7, rel=0.02)


PEERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("cell", PEERS)
def test_a_recurrent_network_agrees_with_the_library_that_reads_whole_sequences(cell):
    model = RecurrentClassifier(cell, 5, in_features=3, out_features=4, seed=0)
    peer = PEERS[cell](3, 5, batch_first=True)
    peer.load_state_dict({f"{name}_l0": value for name, value in model.cell.state_dict().items()})
    x = torch.randn(6, 9, 3, generator=torch.Generator().manual_seed(0))
    expected = model.readout(peer(x)[0][:, -1])
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_one_output_is_a_number_an_example():
    assert RecurrentClassifier("gru", 4, in_features=2, out_features=1)(torch.zeros(6, 3, 2)).shape == (6,)


@pytest.mark.parametrize("cell", PEERS)
def test_recurrent_weights_start_as_asked(cell):
    for square in RecurrentClassifier(cell, 12, recurrent_init="orthogonal", seed=0).cell.weight_hh.split(12):
        assert torch.allclose(square @ square.T, torch.eye(12), atol=1e-5), "each gate's square must be orthogonal"
    for square in RecurrentClassifier(cell, 12, recurrent_init=1.3, seed=0).cell.weight_hh.split(12):
        radius = torch.linalg.eigvals(square).abs().max().item()
        assert radius == pytest.approx(1.3, rel=1e-4), "the spectral radius must be the one asked for"


def test_the_forget_bias_decides_how_much_of_an_lstm_cell_is_kept():
    model = RecurrentClassifier("lstm", 6, forget_bias=2.0, seed=0)
    with torch.no_grad():
        model.cell.weight_ih.zero_()
        model.cell.weight_hh.zero_()
        model.cell.bias_ih.view(4, 6)[2].zero_()  # nothing new is written: the candidate is tanh(0)
        model.cell.bias_hh.view(4, 6)[2].zero_()
    state = (torch.zeros(1, 6), torch.ones(1, 6))
    kept = model.cell(torch.zeros(1, 1), state)[1]
    assert torch.allclose(kept, torch.full((1, 6), 1 / (1 + math.exp(-2.0)))), "the cell keeps sigmoid(forget_bias)"


@pytest.mark.parametrize("build", [lambda s: ConvNet(2, 4, seed=s), lambda s: RecurrentClassifier("lstm", 4, seed=s)])
def test_a_seed_decides_the_weights_of_every_network(build):
    first, again, other = (nn.utils.parameters_to_vector(build(seed).parameters()) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("seed", range(3))
def test_a_transformer_block_computes_what_that_of_torch_computes(norm, seed):
    torch.manual_seed(seed)
    block = TransformerBlock(12, 3, 20, norm=norm)
    theirs = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    own = block.attention
    for norm_layer in (block.norm1, block.norm2):
        nn.init.normal_(norm_layer.weight)
        nn.init.normal_(norm_layer.bias)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([own.query.bias, own.key.bias, own.value.bias]))
    pairs = {
        theirs.self_attn.out_proj: own.projection,
        theirs.linear1: block.up,
        theirs.linear2: block.down,
        theirs.norm1: block.norm1,
        theirs.norm2: block.norm2,
    }
    for other, mine in pairs.items():
        other.load_state_dict(mine.state_dict())
    x = torch.randn(4, 5, 12, requires_grad=True)
    given, expected = block(x), theirs(x)
    assert torch.allclose(given, expected, atol=1e-5)
    weights = torch.randn(given.shape)
    mine, other = (torch.autograd.grad((answer * weights).sum(), x)[0] for answer in (given, expected))
    assert torch.allclose(mine, other, atol=1e-5)


def test_a_transformer_without_norm_is_the_sum_of_its_branches():
    model = Transformer(2, 8, 2, norm=None, side=4, out_features=3, seed=0)
    assert not [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    x = torch.randn(5, 16)
    tokens = model.embed(x.unflatten(1, (4, 4))) + model.positions.table
    for block in (model.block1, model.block2):
        tokens = tokens + block.attention(tokens)
        tokens = tokens + block.down(block.up(tokens).clamp(min=0))
    assert torch.allclose(model(x), model.readout(tokens.mean(1)), atol=1e-6)


def test_a_transformer_knows_the_order_of_its_rows_and_its_seed_decides_its_weights():
    model, x = Transformer(1, 8, 2, side=4, out_features=3, seed=0), torch.randn(5, 16)
    upside_down = x.unflatten(1, (4, 4)).flip(1).flatten(1)
    assert not torch.allclose(model(x), model(upside_down), atol=1e-3)
    again, other = (Transformer(1, 8, 2, side=4, out_features=3, seed=seed) for seed in (0, 1))
    assert torch.equal(model(x), again(x))
    assert not torch.equal(model(x), other(x))
