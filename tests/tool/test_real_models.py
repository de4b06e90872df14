"""The recorder on networks that people train: right numbers, readable names, depth as the signal runs, no trace."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.checkpoint import checkpoint

from gradclinic.diagnosis import diagnose
from gradclinic.recorder import Recorder
from tests.helpers.hooks import global_hooks, hooks_of


def norm(tensors) -> float:
    dense = [(t.to_dense() if t.is_sparse else t).detach().double().numpy().ravel() for t in tensors]
    return float(np.linalg.norm(np.concatenate(dense)))


# --- the networks, each with what its loss is and what is odd about it ------------------------------------------------


class ResidualBlock(nn.Module):
    """The block of torchvision: one ReLU module in two places, and a shortcut that is defined last and runs first."""

    def __init__(self, before: int, channels: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(before, channels, 1, stride, bias=False)

    def forward(self, x):
        identity = self.shortcut(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + identity)


def residual_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), ResidualBlock(8, 8, 1), ResidualBlock(8, 16, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


class UNet(nn.Module):
    """Read-out and way up are defined before the way down, so only the forward pass tells the depth."""

    def __init__(self):
        super().__init__()
        self.readout = nn.Conv2d(8, 1, 1)
        self.up = nn.ModuleList([nn.Conv2d(24, 8, 3, padding=1), nn.ConvTranspose2d(32, 16, 2, 2)])
        self.bottom = nn.Conv2d(16, 32, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)])
        self.pool, self.act = nn.MaxPool2d(2), nn.ReLU()

    def forward(self, x):
        one = self.act(self.down[0](x))
        two = self.act(self.down[1](self.pool(one)))
        low = self.act(self.bottom(self.pool(two)))
        middle = torch.cat([self.up[1](low), two], 1)[:, :16]
        return self.readout(
            self.act(self.up[0](torch.cat([nn.functional.interpolate(middle, scale_factor=2), one], 1)))
        )


class Autoencoder(nn.Module):
    """Variational, and trained through its parts: ``forward`` of the whole is never called."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 12))
        self.encoder = nn.Sequential(nn.Linear(12, 16), nn.Tanh())
        self.mean, self.log_variance = nn.Linear(16, 2), nn.Linear(16, 2)


def autoencoder_loss(model, x):
    h = model.encoder(x)
    mean, log_variance = model.mean(h), model.log_variance(h)
    z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    divergence = -(1 + log_variance - mean**2 - log_variance.exp()).sum() / 2
    return mse_loss(model.decoder(z), x, reduction="sum") + divergence


class Translator(nn.Module):
    def __init__(self, norm_first: bool):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.transformer = nn.Transformer(16, 2, 2, 2, 32, dropout=0.1, norm_first=norm_first, batch_first=True)
        self.readout = nn.Linear(16, 20)

    def forward(self, tokens):
        return self.readout(self.transformer(self.embed(tokens), self.embed(tokens.flip(1)))).flatten(0, 1)


class LstmStack(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8, sparse=True)
        self.lstm = nn.LSTM(8, 12, num_layers=3, bidirectional=True, batch_first=True)
        self.readout = nn.Linear(24, 5)

    def forward(self, tokens):
        return self.readout(self.lstm(self.embed(tokens))[0][:, -1])


class Shared(nn.Module):
    """One block called three times, and one weight in two modules."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 12)
        self.block = nn.Sequential(nn.Linear(12, 12), nn.Tanh())
        self.readout = nn.Linear(12, 20, bias=False)
        self.readout.weight = self.embed.weight

    def forward(self, tokens):
        h = self.embed(tokens)
        for _ in range(3):
            h = self.block(h)
        return self.readout(h).flatten(0, 1)


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 40, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def bert():
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForMaskedLM(BertConfig(vocab_size=40, max_position_embeddings=16, **sizes))


def weight_normalised():
    model = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 5))
    nn.utils.parametrizations.weight_norm(model[0])
    return model


def lazy():
    return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(5))


class Case(NamedTuple):
    build: Callable[[], nn.Module]
    data: Callable[[], Tensor]
    loss: Callable[[nn.Module, Tensor], Tensor]
    first: str
    last: str
    absent: tuple[str, ...] = ()  # layers without an output of their own


def images(*shape):
    return lambda: torch.randn(*shape)


def tokens(high: int):
    return lambda: torch.randint(high, (4, 9))


def labelled(model, x):
    scores = model(x)
    return cross_entropy(scores, torch.arange(len(scores)) % scores.shape[1])


CASES = {
    "residual CNN": Case(residual_cnn, images(6, 3, 8, 8), labelled, "0", "6"),
    "U-Net": Case(UNet, images(4, 1, 8, 8), lambda m, x: mse_loss(m(x), x), "down.0", "readout"),
    "variational autoencoder": Case(Autoencoder, images(8, 12), autoencoder_loss, "encoder.0", "decoder.2"),
    "GPT-2": Case(
        gpt2, tokens(40), lambda m, x: m(x, labels=x).loss, "transformer.wte", "lm_head"
    ),
    "BERT": Case(
        bert, tokens(40), lambda m, x: m(x, labels=x).loss, "bert.embeddings.word_embeddings", "cls.predictions"
    ),
    "Transformer, post-norm": Case(lambda: Translator(False), tokens(20), labelled, "embed", "readout"),
    "Transformer, pre-norm": Case(lambda: Translator(True), tokens(20), labelled, "embed", "readout"),
    "LSTM stack": Case(LstmStack, tokens(20), labelled, "embed", "readout", ("lstm.l0", "lstm.l1")),
    "shared and tied": Case(Shared, tokens(20), labelled, "embed", "readout"),
    "weight normalisation": Case(weight_normalised, images(8, 6), labelled, "0", "2"),
    "lazy": Case(lazy, images(8, 6), labelled, "0", "2"),
    "mixture": Case(
        lambda: nn.ModuleDict({"b": nn.Linear(6, 5), "gate": nn.Linear(6, 1), "a": nn.Linear(6, 5)}),
        images(8, 6),
        lambda m, x: labelled(lambda x: m["gate"](x).sigmoid() * m["a"](x) + m["b"](x), x),
        "gate",
        "b",
    ),
}  # fmt: skip


def trained(case: Case, watched: bool, steps: int = 3, after: Callable | None = None, **options):
    torch.manual_seed(0)
    model, x = case.build(), case.data()
    case.loss(model, x)  # lets lazy layers take shape
    sparse = [p for m in model.modules() if getattr(m, "sparse", False) for p in m.parameters()]
    dense = [p for p in model.parameters() if not any(p is s for s in sparse)]
    optimizers = [torch.optim.AdamW(dense, 1e-2)] + ([torch.optim.SparseAdam(sparse, 1e-2)] if sparse else [])
    recorder = Recorder(model, **options) if watched else None
    torch.manual_seed(1)
    if recorder is not None:
        recorder.__enter__()
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = case.loss(model, x)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    if recorder is not None:
        recorder.__exit__()
    return model, recorder


@pytest.mark.parametrize("name", CASES)
def test_a_real_network_is_watched_rightly_and_undisturbed(name):
    case = CASES[name]
    before = global_hooks()
    plain, _ = trained(case, False)
    rng = torch.get_rng_state()
    model, recorder = trained(case, True)
    assert torch.equal(rng, torch.get_rng_state()), "recording drew random numbers"
    for (key, expected), found in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(expected, found), f"{key} of {name} differs when it is watched"
    assert (hooks_of(model), global_hooks()) == (0, before), "a hook is left behind"
    record = recorder.record
    assert recorder.notes == [], "everything in it can be measured"
    assert len(set(record.layers)) == len(record.layers), f"two layers have one name: {record.layers}"
    assert record.step.tolist() == [1, 2, 3]
    assert (record.layers[0], record.layers[-1]) == (case.first, case.last), f"from input to output: {record.layers}"
    total = norm(p.grad for p in model.parameters() if p.grad is not None)
    assert np.sqrt(np.nansum(record.gradient_norm[-1] ** 2)) == pytest.approx(total, rel=1e-5), "each parameter once"
    owners, known = dict(model.named_modules()), set()
    for layer, module in owners.items():
        own = [p for p in module.parameters(recurse=False) if p not in known]
        known.update(own)
        if own and layer in record.layers and "parametrizations" not in dict(module.named_children()):
            found = record.gradient_norm[-1, record.layers.index(layer)]
            assert found == pytest.approx(norm(p.grad for p in own), rel=1e-5), f"gradient norm of {layer}"
    seen = np.isfinite(record.output_rms[0]) & np.isfinite(record.output_gradient_norm[0])
    absent = {layer for layer, finite in zip(record.layers, seen, strict=True) if not finite}
    inside = {layer for layer in absent if layer.endswith("out_proj")}  # attention uses its weights, never calls it
    assert absent - inside == set(case.absent), "every layer that is called has an output"
    copy.deepcopy(model)
    if name != "weight normalisation":  # torch itself refuses to pickle one
        pickle.loads(pickle.dumps(model))
    diagnose(record)


def names(case: str) -> tuple[str, ...]:
    return trained(CASES[case], True, 1)[1].record.layers


def test_a_branched_network_reads_from_input_to_output():
    assert names("U-Net") == ("down.0", "down.1", "bottom", "up.1", "up.0", "readout")
    assert names("residual CNN")[1:6] == ("2.shortcut", "2.conv1", "2.bn1", "2.conv2", "2.bn2")
    assert names("LSTM stack") == ("embed", "lstm.l0", "lstm.l1", "lstm.l2", "readout")
    assert names("weight normalisation") == ("0", "2"), "what a parametrisation keeps belongs to its layer"
    assert names("mixture") == ("gate", "a", "b")
    found = names("GPT-2")
    assert found[:4] == ("transformer.wte", "transformer.wpe", "transformer.h.0.ln_1", "transformer.h.0.attn.c_attn")
    assert found[-2:] == ("transformer.ln_f", "lm_head")
    found = names("Transformer, pre-norm")
    assert found.index("transformer.encoder.layers.1.linear2") < found.index("transformer.decoder.layers.0.linear1")
    attention = found.index("transformer.encoder.layers.0.self_attn")
    assert found[attention + 1] == "transformer.encoder.layers.0.self_attn.out_proj", "behind the one that uses it"


def test_a_tied_weight_counts_once_for_the_module_that_comes_first():
    model, recorder = trained(CASES["shared and tied"], True)
    record = recorder.record
    embed, readout = record.layers.index("embed"), record.layers.index("readout")
    assert record.gradient_norm[-1, embed] == pytest.approx(norm([model.embed.weight.grad]), rel=1e-6)
    assert math.isnan(record.gradient_norm[-1, readout])
    assert math.isnan(record.weight_norm[-1, readout])
    assert record.output_rms[-1, readout] > 0, "its output is still its own"
    assert np.isfinite(record.time_ratio[-1, record.layers.index("block.0")]), "three calls of one block"


def test_one_activation_in_places_of_different_size_counts_all_their_units():
    model = residual_cnn()
    with Recorder(model) as recorder:
        labelled(model, torch.randn(6, 3, 8, 8)).backward()
        recorder.capture()
    assert recorder.record.activations == ("1", "2.relu", "3.relu")
    assert np.isfinite(recorder.record.dead).all()

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.act = nn.Linear(4, 6), nn.Linear(6, 2), nn.ReLU()

        def forward(self, x):
            return self.act(self.two(self.act(self.one(x))))

    model = Twice()
    with torch.no_grad():
        model.one.bias.copy_(torch.tensor([-100.0, 100, 100, 100, 100, 100]))
        model.two.bias.copy_(torch.tensor([-1000.0, 1000]))
    with Recorder(model) as recorder:
        model(torch.randn(5, 4)).sum().backward()
        recorder.capture()
    assert recorder.record.dead[0, 0] == 2 / 8


# --- how people train ------------------------------------------------------------------------------------------------


class Deep(nn.Module):
    """Eight blocks, checkpointed or not."""

    def __init__(self, reentrant: bool | None):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(4))
        self.readout, self.reentrant = nn.Linear(8, 5), reentrant

    def forward(self, x):
        h = self.first(x)
        for block in self.blocks:
            h = block(h) if self.reentrant is None else checkpoint(block, h, use_reentrant=self.reentrant)
        return self.readout(h)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing_in_the_record(reentrant):
    records = []
    for way in (None, reentrant):
        case = Case(lambda way=way: Deep(way), images(8, 6), labelled, "first", "readout")
        records.append(trained(case, True)[1].record)
    plain, spared = records
    assert plain.layers == spared.layers, "the order is that of the first time through"
    for field in ("gradient_norm", "update_norm", "output_rms", "output_gradient_norm", "dead", "time_ratio"):
        np.testing.assert_allclose(getattr(plain, field), getattr(spared, field), rtol=1e-6, err_msg=field)
    assert np.isnan(spared.time_ratio).all(), "a layer that is run again has no time"


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("watch", ["compiled", "own", "in place"])
def test_a_compiled_network_is_watched_by_its_parameters(backend, watch):
    results = []
    for watched in (False, True):
        torch.compiler.reset()
        torch.manual_seed(0)
        model, x = Deep(None), torch.randn(8, 6)
        if watch == "in place":
            model.compile(backend=backend)
        runs = model if watch == "in place" else torch.compile(model, backend=backend)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        recorder = Recorder(model if watch == "own" else runs, every=1)
        if watched:
            with pytest.warns(RuntimeWarning, match="compile") if watch != "own" else torch.enable_grad():
                recorder.__enter__()
        for _ in range(3):
            optimizer.zero_grad()
            labelled(runs, x).backward()
            optimizer.step()
        if watched:
            recorder.__exit__()
            record = recorder.record
            assert (record.layers[0], record.layers[-1]) == ("first", "readout"), "names without a wrapper"
            assert record.step.tolist() == [1, 2, 3]
            assert record.gradient_norm[-1, 0] == pytest.approx(
                norm(p.grad for p in model.first.parameters()), rel=1e-5
            )
            assert np.isnan(record.output_rms).all(), "outputs inside are not seen"
            assert hooks_of(runs) == 0
        results.append(model.state_dict())
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), f"{key} differs when it is watched"


class Mixed(nn.Module):
    """Two layers in the middle that torch.jit may take over."""

    def __init__(self, how: str):
        super().__init__()
        self.first, self.readout = nn.Linear(6, 8), nn.Linear(8, 5)
        self.middle = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        if how == "script":
            self.middle = torch.jit.script(self.middle)
        elif how == "trace":
            self.middle = torch.jit.trace(self.middle, torch.zeros(2, 8))

    def forward(self, x):
        return self.readout(self.middle(self.first(x)))


def jitted(how: str, part: str) -> nn.Module:
    torch.manual_seed(0)
    model = Mixed(how if part == "middle" else "")
    if part == "all" and how == "script":
        return torch.jit.script(model)
    return torch.jit.trace(model, torch.zeros(2, 6)) if part == "all" else model


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("part", ["middle", "all"])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_inside_a_script_or_a_trace_parameters_are_watched_and_the_rest_is_noted(how, part):
    results = []
    for watched in (False, True):
        model, x = jitted(how, part), torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        recorder = Recorder(model, every=1)
        if watched:
            with pytest.warns(RuntimeWarning, match=r"outputs inside torch\.jit"):
                recorder.__enter__()
        for _ in range(3):
            optimizer.zero_grad()
            labelled(model, x).backward()
            optimizer.step()
        if watched:
            recorder.__exit__()
            record = recorder.record
            assert record.step.tolist() == [1, 2, 3]
            assert set(record.layers) == {"first", "middle.0", "middle.2", "readout"}
            for layer in record.layers:
                own = [p.grad for name, p in model.named_parameters() if name.rpartition(".")[0] == layer]
                assert record.gradient_norm[-1, record.layers.index(layer)] == pytest.approx(norm(own), rel=1e-5)
            assert (record.update_norm > 0).all()
            unseen = {name for n, name in enumerate(record.layers) if np.isnan(record.output_rms[:, n]).all()}
            assert unseen == {"middle.0", "middle.2"} | ({"first", "readout"} if part == "all" else set())
            assert len(recorder.notes) == 1
            assert str(recorder).startswith("Recorder of Mixed")
        results.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True)), "a watched run ends in other weights"


def test_a_traced_layer_that_is_called_from_outside_has_its_output_watched():
    model = nn.Sequential(torch.jit.trace(nn.Linear(6, 8), torch.zeros(2, 6)), nn.Linear(8, 5))
    with Recorder(model) as recorder:
        labelled(model, torch.randn(8, 6)).backward()
        recorder.capture()
    assert np.isfinite(recorder.record.output_rms).all()
    assert recorder.notes == []


class Vision(nn.Module):
    """As in a vision transformer: a token and a table of positions that belong to the model itself."""

    def __init__(self, late: bool = False, name: str = "blocks"):
        super().__init__()
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        self.readout, self.patches = nn.Linear(8, 5), nn.Linear(3, 8)  # defined last, used first
        setattr(self, name, nn.ModuleList(nn.Linear(8, 8) for _ in range(2)))
        self.late, self.name = late, name

    def forward(self, x):
        x = self.patches(x)
        if not self.late:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for block in getattr(self, self.name):
            x = block(x).relu()
        if self.late:
            x = x * self.token
        return self.readout(x[:, 0])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("late", "layers"),
    [
        (False, ("patches", "Vision", "blocks.0", "blocks.1", "readout")),
        (True, ("patches", "blocks.0", "blocks.1", "Vision", "readout")),
    ],
)
def test_the_models_own_parameters_have_its_name_and_the_place_of_their_first_use(late, layers, accumulate):
    torch.manual_seed(0)
    model = Vision(late)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Recorder(model) as recorder:
        for _ in range(2):
            for _ in range(accumulate):
                labelled(model, torch.randn(6, 4, 3)).backward()
            optimizer.step()
    record = recorder.record
    assert record.layers == layers
    own = record.layers.index("Vision")
    found = norm(p.grad for p in (model.token, model.positions) if p.grad is not None)
    assert record.gradient_norm[-1, own] == pytest.approx(found, rel=1e-5)
    assert np.isnan(record.output_rms[:, own]).all(), "the output of the model is that of its last layer"
    kept = [getattr(p, "_post_accumulate_grad_hooks", None) for p in model.parameters()]
    assert not any(kept), "a hook is left behind"


def test_where_their_first_use_is_not_seen_they_stand_before_the_layer_that_is_defined_first():
    model = Vision()
    assert Recorder(model).record.layers == ("Vision", "readout", "patches", "blocks.0", "blocks.1")
    with Recorder(model, activations=False) as recorder:
        labelled(model, torch.randn(6, 4, 3)).backward()
        recorder.capture()
    assert recorder.record.layers == ("patches", "blocks.0", "blocks.1", "Vision", "readout")


def test_no_name_is_given_twice():
    assert Recorder(Vision(name="Vision")).record.layers == ("Vision", "readout", "patches", "Vision.0", "Vision.1")

    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.Twin = nn.Parameter(torch.ones(2)), nn.Linear(2, 2)

    assert Recorder(Twin()).record.layers == ("Twin itself", "Twin")


@pytest.mark.parametrize("model", [nn.Linear(6, 5), nn.LSTM(6, 5)], ids=["Linear", "LSTM"])
def test_a_model_that_is_one_layer_has_the_name_of_its_class_and_an_output(model):
    with Recorder(model) as recorder:
        output = model(torch.randn(4, 6))
        (output if isinstance(output, torch.Tensor) else output[0]).sum().backward()
        recorder.capture()
    assert recorder.record.layers == (type(model).__name__,)
    assert np.isfinite(recorder.record.output_rms).all()


def test_bfloat16_under_autocast_is_measured_in_more_than_bfloat16():
    torch.manual_seed(0)
    model, x = Deep(None), torch.randn(8, 6)
    outputs = []
    handle = model.first.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with Recorder(model) as recorder:
        with torch.autocast("cpu", torch.bfloat16):
            loss = labelled(model, x)
        loss.backward()
        recorder.capture()
    handle.remove()
    assert outputs[0].dtype is torch.bfloat16
    expected = norm([outputs[0].float()]) / math.sqrt(outputs[0].numel())
    assert recorder.record.output_rms[0, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("unscale", [False, True])
def test_a_loss_scaler_is_undone_before_gradients_are_read(fused, unscale):
    def run(scale: float):
        torch.manual_seed(0)
        model, x = Deep(None), torch.randn(8, 6)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        with Recorder(model, histograms=True) as recorder:
            for _ in range(3):
                optimizer.zero_grad()
                scaler.scale(labelled(model, x)).backward()
                if unscale:
                    scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
        return recorder.record

    plain, scaled = run(1.0), run(2.0**12)
    np.testing.assert_allclose(plain.gradient_norm, scaled.gradient_norm, rtol=1e-5)
    np.testing.assert_allclose(plain.update_norm, scaled.update_norm, rtol=1e-3)
    assert np.array_equal(plain.histogram, scaled.histogram), "a power of two moves no entry"


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_loss_scaler_leaves_out_is_not_counted(fused):
    torch.manual_seed(0)
    model, x = Deep(None), torch.randn(8, 6)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=1000)
    with Recorder(model) as recorder:
        for step in range(4):
            optimizer.zero_grad()
            loss = labelled(model, x if step else x * 1e30)
            scaler.scale(loss * (1 if step else math.inf)).backward()
            scaler.step(optimizer)
            scaler.update()
    record = recorder.record
    assert record.step.tolist() == [1, 2, 3], "the first of four was left out"
    assert record.first_nonfinite is None
    assert (record.output_rms < 1e10).all(), "and nothing of it is mixed in"


def test_float16_gradients_that_underflow_are_seen_as_zero():
    torch.manual_seed(0)
    model, x = Deep(None).to(torch.float16), torch.randn(8, 6, dtype=torch.float16)
    with Recorder(model) as recorder:
        (model(x).float().sum() * 1e-9).backward()
        recorder.capture()
        model.zero_grad()
        (model(x).float().sum() * 1e-9 * 2.0**20).backward()
        recorder.capture()
    lost, kept = recorder.record.gradient_norm
    assert (lost == 0).all(), "below 6e-8 a float16 is 0"
    assert (kept[[0, -1]] > 0).all(), "the loss scaler saves it"


def test_a_frozen_backbone_that_thaws_is_followed():
    torch.manual_seed(0)
    model, x = Deep(None), torch.randn(8, 6)
    model.blocks.requires_grad_(False)
    groups = [{"params": model.first.parameters(), "lr": 0.1}, {"params": model.readout.parameters(), "lr": 0.01}]
    optimizer = torch.optim.SGD(groups)
    with Recorder(model) as recorder:
        for step in range(4):
            if step == 2:
                model.blocks.requires_grad_(True)
                optimizer.add_param_group({"params": model.blocks.parameters(), "lr": 0.1})
            optimizer.zero_grad()
            labelled(model, x).backward()
            optimizer.step()
    inside = [recorder.record.layers.index(f"blocks.{i}.0") for i in range(4)]
    assert np.isnan(recorder.record.gradient_norm[:2, inside]).all()
    assert (recorder.record.update_norm[:2, inside] == 0).all()
    assert (recorder.record.update_norm[2:, inside] > 0).all()
    assert (recorder.record.weight_norm > 0).all(), "frozen weights have a norm"


def test_what_cannot_be_measured_is_noted_and_training_goes_on():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.act, self.two = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)

        def forward(self, x):
            return self.two(self.act(self.one(x)))

    model = Odd()
    model.act.forward = lambda x: (torch.relu(x), "and a word")[0] if x.dim() == 2 else None
    broken = nn.ReLU()
    broken.forward = lambda x: {"not": "a tensor"}
    model.extra = broken
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def train() -> Recorder:
        with Recorder(model) as recorder:
            for _ in range(2):
                optimizer.zero_grad()
                model.extra(torch.zeros(1))
                model(torch.randn(3, 4)).sum().backward()
                optimizer.step()
        return recorder

    with pytest.warns(RuntimeWarning, match="the units of extra"):
        recorder = train()
    assert len(recorder.notes) == 1
    assert "the units of extra" in recorder.notes[0]
    record = recorder.record
    assert record.step.tolist() == [1, 2]
    assert np.isfinite(record.gradient_norm).all()
    assert np.isnan(record.dead[:, record.activations.index("extra")]).all()
