"""What is recorded is what autograd, the weights and the activations say, and recording changes nothing."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course.models import MLP
from gradclinic.record import HISTOGRAM_EDGES
from gradclinic.recorder import Recorder, probe
from gradclinic.recording.layers import layers_of
from gradclinic.recording.notes import Notes
from gradclinic.recording.parameters import Parameters
from gradclinic.recording.watch import Watch
from tests.helpers import ROOT
from tests.helpers.hooks import global_hooks, hooks_of

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
}


def network(seed: int = 0) -> nn.Sequential:
    """Dropout draws random numbers and batch normalisation keeps statistics, so any interference would show."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(8, 16),
            nn.BatchNorm1d(16),
            nn.Tanh(),
            nn.Dropout(0.3),
            nn.Linear(16, 16),
            nn.ReLU(),
            nn.Linear(16, 4),
        )


def batches(count: int, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randn(12, 8, generator=generator), torch.randint(4, (12,), generator=generator)


def steps(model, optimizer, count: int = 6, seed: int = 1):
    """A training loop that knows nothing of recorders; yields after each step."""
    for x, y in batches(count, seed):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        yield


def train(model, optimizer, count: int = 6) -> None:
    for _ in steps(model, optimizer, count):
        pass


def norm(tensors) -> float:
    """The Euclidean norm by numpy, in double precision."""
    return float(np.linalg.norm(np.concatenate([t.detach().double().numpy().ravel() for t in tensors])))


def behind(model: nn.Module, **options) -> Watch:
    """What a ``Recorder`` of the model does its work with."""
    usual = {"activations": True, "updates": True, "histograms": False, "every": None, "alarm": None}
    return Watch(model, **usual | options)


# --- it changes nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_recorder_leaves_training_bit_for_bit_unchanged(name, every):
    results = []
    for watched in (False, True):
        model = network()
        optimizer = OPTIMIZERS[name](model.parameters())
        torch.manual_seed(2)
        if watched:
            with Recorder(model, every=every) as recorder:
                train(model, optimizer)
            assert len(recorder.record.step) > 1, "the watched run must really have been watched"
        else:
            train(model, optimizer)
        results.append((model.state_dict(), torch.get_rng_state(), [p.grad for p in model.parameters()]))
    (plain, rng, gradients), (watched, rng_watched, gradients_watched) = results
    for key, value in plain.items():
        assert torch.equal(value, watched[key]), f"{key} of a run with {name} differs when it is watched"
    assert torch.equal(rng, rng_watched), "recording drew from torch's global generator"
    for a, b in zip(gradients, gradients_watched, strict=True):
        assert torch.equal(a, b), "recording changed a gradient"


def test_no_hook_is_left_behind():
    model = network()
    before = global_hooks()
    with Recorder(model):
        assert hooks_of(model) > 0, "inside the block it listens"
        assert global_hooks() == before + 1
    assert hooks_of(model) == 0, f"{hooks_of(model)} hooks are left on the model"
    assert global_hooks() == before, "it still listens to optimisers"


def test_an_exception_leaves_no_hook_and_keeps_what_was_recorded():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    before = global_hooks()
    recorder = Recorder(model)

    def train_until_the_power_goes_out() -> None:
        with recorder:
            for number, _ in enumerate(steps(model, optimizer), 1):
                if number == 4:
                    raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError, match="the power went out"):
        train_until_the_power_goes_out()
    assert (hooks_of(model), global_hooks()) == (0, before), "an exception left hooks behind"
    assert recorder.record.step.tolist() == [1, 2, 3, 4], "the four steps before the exception must be kept"
    assert np.isfinite(recorder.record.gradient_norm).all(), "with their gradients"
    train(model, optimizer)
    assert len(recorder.record.step) == 4, "after the block nothing more is recorded"


def test_entering_twice_is_refused_and_entering_again_continues():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    recorder = Recorder(model)
    with recorder:
        train(model, optimizer, 2)
        with pytest.raises(ValueError, match="already recording"):
            recorder.__enter__()
        train(model, optimizer, 1)
    assert recorder.record.step.tolist() == [1, 2, 3], "the refused entry must not disturb the one that runs"
    with recorder:
        train(model, optimizer, 2)
    assert recorder.record.step.tolist() == [1, 2, 3, 4, 5], "a second block continues the count"
    assert hooks_of(model) == 0, "and leaves nothing behind either"


# --- it is right -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_norms_are_those_of_the_gradients_weights_and_real_updates(name):
    model = network()
    layers = {"0": model[0], "1": model[1], "4": model[4], "6": model[6]}
    optimizer = OPTIMIZERS[name](model.parameters())
    before = [copy.deepcopy([p.detach() for p in layer.parameters()]) for layer in layers.values()]
    gradient, weight, update = [], [], []
    with Recorder(model) as recorder:
        for _ in steps(model, optimizer):
            now = [[p.detach().clone() for p in layer.parameters()] for layer in layers.values()]
            gradient.append([norm(p.grad for p in layer.parameters()) for layer in layers.values()])
            weight.append([norm(group) for group in now])
            update.append([norm(a - b for a, b in zip(*pair, strict=True)) for pair in zip(now, before, strict=True)])
            before = now
    record = recorder.record
    assert record.layers == tuple(layers), f"layers in the model's order, got {record.layers}"
    np.testing.assert_allclose(record.gradient_norm, gradient, rtol=1e-6, err_msg="gradient norms")
    np.testing.assert_allclose(record.weight_norm, weight, rtol=1e-6, err_msg="weight norms")
    np.testing.assert_allclose(record.update_norm, update, rtol=1e-6, err_msg="norms of what the optimiser changed")
    np.testing.assert_allclose(record.update_ratio, np.array(update) / weight, rtol=1e-6, err_msg="update ratios")
    if name != "sgd":
        assert not np.allclose(update, 0.1 * np.array(gradient), rtol=0.01), "this case must differ from lr * gradient"


def test_output_norms_are_those_of_the_pre_activations_and_their_gradients():
    model = network()
    x, y = next(batches(1))
    torch.manual_seed(5)
    kept, h = [], x
    for module in model:
        h = module(h)
        if list(module.parameters()):
            h.retain_grad()
            kept.append(h)
    cross_entropy(h, y).backward()
    torch.manual_seed(5)
    with Recorder(model) as recorder:
        cross_entropy(model(x), y).backward()
        recorder.capture()
    rms = [[norm([t]) / math.sqrt(t.numel()) for t in kept]]
    np.testing.assert_allclose(recorder.record.output_rms, rms, rtol=1e-6, err_msg="root mean square of outputs")
    gradients = [[norm([t.grad]) for t in kept]]
    np.testing.assert_allclose(
        recorder.record.output_gradient_norm, gradients, rtol=1e-6, err_msg="gradient at the outputs"
    )
    assert np.isnan(recorder.record.update_norm).all(), "without an optimiser there is no update"


def test_several_passes_before_one_step_count_as_one_batch():
    whole, split = MLP(3, 8, seed=0, in_features=8, out_features=4), MLP(3, 8, seed=0, in_features=8, out_features=4)
    x, y = next(batches(1))
    records = []
    for model, parts in ((whole, [slice(None)]), (split, [slice(0, 6), slice(6, 12)])):
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        with Recorder(model) as recorder:
            for part in parts:
                cross_entropy(model(x[part]), y[part], reduction="sum").backward()
            optimizer.step()
        records.append(recorder.record)
    assert len(records[1].step) == 1, "two backward passes before one step are one row"
    for name in ("gradient_norm", "output_rms", "output_gradient_norm", "saturation", "update_norm"):
        pair = [getattr(record, name) for record in records]
        np.testing.assert_allclose(*pair, rtol=1e-5, err_msg=f"{name} of accumulated passes")


def test_a_gradient_of_1e_minus_30_is_reported_and_not_rounded_to_zero():
    model = nn.Linear(5, 5, bias=False)
    model.weight.grad = torch.full((5, 5), 1e-30)
    with Recorder(model) as recorder:
        recorder.capture()
    found = recorder.record.gradient_norm[0, 0]
    assert found == pytest.approx(5e-30, rel=1e-6), f"25 entries of 1e-30 have the norm 5e-30, got {found}"


def test_the_gradient_of_thirty_sigmoid_layers_is_reported_as_it_is():
    model = MLP(30, 32, "sigmoid", "pytorch", seed=0)
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    with Recorder(model) as recorder:
        cross_entropy(model(x), torch.arange(16) % 10).backward()
        recorder.capture()
    expected = [norm(p.grad for p in getattr(model, f"layer{n}").parameters()) for n in range(1, 31)]
    assert 0 < expected[0] < 1e-20, "this network must have a gradient whose square float32 cannot hold"
    np.testing.assert_allclose(recorder.record.gradient_norm[0, :30], expected, rtol=1e-6)


def test_gradients_that_are_not_finite_stay_visible():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].weight.grad = torch.tensor([[math.inf, 0.0], [0.0, 1.0]])
    model[1].weight.grad = torch.tensor([[math.nan, 0.0], [0.0, 1.0]])
    with Recorder(model) as recorder:
        recorder.capture()
    first, second = recorder.record.gradient_norm[0]
    assert first == math.inf, f"inf must stay inf, got {first}"
    assert math.isnan(second), f"NaN must stay NaN, got {second}"


class Leaky(nn.Tanh):
    """A subclass of an activation that is watched."""


@pytest.mark.parametrize(
    ("module", "function", "largest"),
    [(nn.Tanh(), torch.tanh, 1.0), (nn.Sigmoid(), torch.sigmoid, 0.25), (Leaky(), torch.tanh, 1.0)],
    ids=["tanh", "sigmoid", "subclass"],
)
def test_saturation_is_the_share_of_outputs_with_hardly_any_slope(module, function, largest):
    model = nn.Sequential(nn.Linear(8, 50), module, nn.Linear(50, 4))
    torch.manual_seed(0)
    nn.init.normal_(model[0].weight, std=1.5)
    x, y = next(batches(1))
    with Recorder(model) as recorder:
        cross_entropy(model(x), y).backward()
        recorder.capture()
    z = model[0](x).detach().requires_grad_()
    slope = torch.autograd.grad(function(z).sum(), z)[0]
    expected = (slope < 0.05 * largest).double().mean().item()
    assert 0.1 < expected < 0.9, "this test needs some units of each kind"
    found = recorder.record.saturation[0, 0]
    assert found == pytest.approx(expected, abs=1e-9), f"{expected:.3f} are saturated, {found:.3f} reported"
    assert recorder.record.activations == ("1",), "the activation is named as the model names it"
    assert math.isnan(recorder.record.dead[0, 0]), "what cannot die has no share of dead units"


def test_a_dead_unit_is_one_that_is_zero_for_every_example():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    torch.manual_seed(0)
    nn.init.zeros_(model[0].bias)
    with torch.no_grad():
        model[0].bias[:3] = -1000.0
    x, y = next(batches(1))
    with Recorder(model) as recorder:
        cross_entropy(model(x), y).backward()
        recorder.capture()
    outputs = torch.relu(model[0](x))
    assert (outputs[:, 3:] == 0).any(), "the living units must be silent for some examples, or the test is too easy"
    assert (outputs[:, 3:] > 0).any(0).all(), "and speak for others"
    assert recorder.record.dead[0, 0] == 3 / 8, f"3 of 8 units are dead, got {recorder.record.dead[0, 0]}"


def test_a_dead_unit_of_a_convolution_is_a_channel():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))
    with torch.no_grad():
        model[0].bias[:2] = -1000.0
    with Recorder(model) as recorder:
        cross_entropy(model(torch.randn(5, 1, 8, 8)), torch.arange(5) % 4).backward()
        recorder.capture()
    assert recorder.record.dead[0, 0] == pytest.approx(2 / 6), (
        f"2 of 6 channels are dead, got {recorder.record.dead[0, 0]}"
    )


def test_the_sparse_gradient_of_an_embedding_is_recorded():
    model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Linear(4, 3))
    with Recorder(model) as recorder:
        model(torch.tensor([1, 1, 2])).square().sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    expected = norm([model[0].weight.grad.to_dense()])
    assert recorder.record.gradient_norm[0, 0] == pytest.approx(expected, rel=1e-6), "a token twice in a batch adds up"


def test_activations_that_work_in_place_are_watched_too():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 4))
    x, y = next(batches(1))
    with Recorder(model) as recorder:
        cross_entropy(model(x), y).backward()
        recorder.capture()
    z = model[0](x).detach()
    found = recorder.record.output_rms[0, 0]
    assert found == pytest.approx(norm([z]) / math.sqrt(z.numel()), rel=1e-5), "of the values before they are replaced"


def test_without_activations_only_weights_and_gradients_are_recorded():
    model = network()
    with Recorder(model, activations=False) as recorder:
        train(model, OPTIMIZERS["sgd"](model.parameters()), 2)
        assert hooks_of(model) == 2, "where a pass begins, and where it ends; nothing listens to the layers"
    record = recorder.record
    assert record.activations == (), "no activation is watched"
    assert record.saturation.shape == (2, 0)
    assert np.isnan(record.output_rms).all()
    assert np.isfinite(record.gradient_norm).all(), "gradients still are"


def test_a_frozen_layer_has_no_gradient_rather_than_a_zero_one():
    model = MLP(2, 8, in_features=8, out_features=4, seed=0)
    model.layer1.requires_grad_(False)
    with Recorder(model) as recorder:
        train(model, OPTIMIZERS["sgd"]([p for p in model.parameters() if p.requires_grad]), 1)
    assert math.isnan(recorder.record.gradient_norm[0, 0]), "a gradient that does not exist is NaN"
    assert recorder.record.update_norm[0, 0] == 0, "and its weights did not move"


# --- it counts the right steps -----------------------------------------------------------------------------------


def test_every_third_step_is_the_first_fourth_and_seventh_and_the_last_is_there_in_any_case():
    records = []
    for every in (1, 3):
        model = network()
        torch.manual_seed(2)
        with Recorder(model, every=every) as recorder:
            train(model, OPTIMIZERS["adam"](model.parameters()), 8)
        records.append(recorder.record)
    full, sparse = records
    assert sparse.step.tolist() == [1, 4, 7, 8], f"one in three, the first included; got {sparse.step.tolist()}"
    for name in ("gradient_norm", "weight_norm", "update_norm", "output_rms", "output_gradient_norm", "saturation"):
        np.testing.assert_array_equal(getattr(sparse, name)[:-1], getattr(full, name)[::3], err_msg=name)


def test_the_usual_schedule_is_dense_first_and_ever_thinner_and_stays_small():
    model = nn.Sequential(*(m for _ in range(100) for m in (nn.Linear(2, 2), nn.ReLU())))
    model(torch.ones(1, 2)).sum().backward()
    watch = behind(model)
    watch.enter()
    for _ in range(100_000):
        watch.capture()
    watch.leave(failed=False)
    arrays = watch.rows.fields(watch.order)
    expected = [*range(1, 51), *range(75, 25_000, 25), *range(25_000, 100_001, 250)]
    assert arrays["step"].tolist() == expected
    layers, activations = 100, 100
    held = watch.rows.table.nbytes
    needed = len(expected) * (147 * layers + 24 * activations + 89)
    assert needed <= held < 2 * needed, "the bytes that the documentation states, and room to grow"
    assert held + sum(array.nbytes for array in arrays.values()) < 90e6


@pytest.mark.parametrize(
    ("options", "bytes_a_layer"),
    [
        ({}, 147),
        ({"activations": False}, 59),
        ({"activations": False, "updates": False}, 43),
        ({"histograms": True}, 951),
    ],
)
def test_a_recorded_step_takes_the_bytes_that_are_stated(options, bytes_a_layer):
    more = 24 * 2 + 72 if options.get("activations", True) else 0
    assert behind(network(), **options).rows.table.row_nbytes == bytes_a_layer * 4 + more + 17


def test_without_updates_only_gradients_are_read():
    model = network()
    with Recorder(model, activations=False, updates=False) as recorder:
        train(model, OPTIMIZERS["adam"](model.parameters()), 3)
    assert np.isfinite(recorder.record.gradient_norm).all()
    assert np.isnan(recorder.record.weight_norm).all()
    assert np.isnan(recorder.record.update_norm).all()
    parameters = Parameters(layers_of(model), Notes(), updates=False, histograms=False)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    assert parameters.before(optimizer, joins=False, closure=False).copied == [], "and nothing is copied"


def test_capturing_obeys_every_too():
    model = network()
    with Recorder(model, every=2) as recorder:
        for x, y in batches(5):
            model.zero_grad()
            cross_entropy(model(x), y).backward()
            recorder.capture()
    assert recorder.record.step.tolist() == [1, 3, 5], f"one in two, got {recorder.record.step.tolist()}"
    assert np.isfinite(recorder.record.output_rms).all(), "a recorded step is recorded whole"


def test_passes_without_gradients_are_not_counted():
    records = []
    for judged in (False, True):
        model = network()
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        torch.manual_seed(2)
        with Recorder(model) as recorder:
            for _ in steps(model, optimizer, 3):
                if judged:
                    model.eval()
                    with torch.no_grad():
                        model(100 * torch.ones(50, 8))
                    with torch.inference_mode():
                        model(100 * torch.ones(50, 8))
                    model.train()
        records.append(recorder.record)
    for name in ("output_rms", "saturation", "dead", "step"):
        plain, judged = (getattr(record, name) for record in records)
        np.testing.assert_array_equal(plain, judged, err_msg=f"{name} changed by evaluating between steps")


def test_the_steps_of_another_model_are_not_recorded():
    model, other = network(), network(1)
    with Recorder(model) as recorder:
        train(other, OPTIMIZERS["adam"](other.parameters()), 4)
        assert len(recorder.record.step) == 0, "another model's steps were recorded"
        train(model, OPTIMIZERS["adam"](model.parameters()), 2)
    assert recorder.record.step.tolist() == [1, 2], "and only the model's own are counted"


def test_an_empty_record_has_the_right_shapes():
    record = Recorder(network()).record
    assert (record.gradient_norm.shape, record.saturation.shape) == ((0, 4), (0, 2)), "no rows, but all columns"


# --- a single look -----------------------------------------------------------------------------------------------


def test_probe_sees_what_autograd_computes_and_leaves_no_trace():
    model = network()
    x, y = next(batches(1))
    for p in model[0].parameters():
        p.grad = torch.full_like(p, 7.0)
    kept = [p.grad for p in model.parameters()]
    state, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    record = probe(model, x, y)
    for p, gradient in zip(model.parameters(), kept, strict=True):
        assert p.grad is gradient, "probe must hand back the very gradients it found, None included"
    assert all((p.grad == 7).all() for p in model[0].parameters()), "and not have written to them"
    for key, value in state.items():
        assert torch.equal(model.state_dict()[key], value), f"probe changed {key}"
    assert torch.equal(torch.get_rng_state(), rng), "probe drew from the generator the training uses"
    assert hooks_of(model) == 0, "and left a hook"
    expected = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
    by_layer = [[norm(expected[i : i + 2]) for i in range(0, 8, 2)]]
    np.testing.assert_allclose(record.gradient_norm, by_layer, rtol=1e-5, err_msg="gradient norms of the probe")


def test_probe_takes_any_loss_function():
    model = nn.Linear(3, 1)
    x, y = torch.randn(4, 3), torch.randn(4, 1)
    record = probe(model, x, y, nn.functional.mse_loss)
    expected = torch.autograd.grad(((model(x) - y) ** 2).mean(), list(model.parameters()))
    assert record.gradient_norm[0, 0] == pytest.approx(norm(expected), rel=1e-5), (
        "the gradient of the loss it was given"
    )


def test_probe_gives_gradients_back_when_the_loss_fails():
    model = network()
    kept = [torch.ones_like(p) for p in model.parameters()]
    for p, gradient in zip(model.parameters(), kept, strict=True):
        p.grad = gradient

    def broken(output, target):
        raise RuntimeError("no loss today")

    with pytest.raises(RuntimeError, match="no loss today"):
        probe(model, *next(batches(1)), broken)
    assert all(p.grad is g for p, g in zip(model.parameters(), kept, strict=True)), "gradients were lost"
    assert hooks_of(model) == 0, "hooks were left behind"


def test_the_loss_is_what_was_told_or_nan():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, chance_loss=1.5) as recorder:
        train(model, optimizer, 1)
        recorder.log_loss(torch.tensor([2.0], requires_grad=True))
        train(model, optimizer, 1)
        recorder.log_loss(1.0)
        recorder.log_loss(4.0)  # two batches before one step
        train(model, optimizer, 1)
    assert np.array_equal(recorder.record.loss, [math.nan, 2.0, 2.5], equal_nan=True)
    assert recorder.record.chance_loss == 1.5


def test_a_histogram_counts_every_gradient_entry_where_it_belongs():
    model = nn.Linear(4, 2, bias=False)
    model.weight.grad = torch.tensor([[0.0, 1e-30, -3e-5, 2.0], [2.0, -1e20, math.inf, math.nan]])
    with Recorder(model, histograms=True) as recorder:
        recorder.capture()
    counts = recorder.record.histogram[0, 0]
    assert len(counts) == len(HISTOGRAM_EDGES) - 1
    expected, _ = np.histogram(np.float64([0.0, np.float32(1e-30), np.float32(-3e-5), 2.0, 2.0]), HISTOGRAM_EDGES)
    expected[0] += 1  # beyond the last edge: in the outermost bin
    assert np.array_equal(counts, expected)
    assert recorder.record.nonfinite[0, 0]
    assert recorder.record.faulty.tolist() == [True]


def test_sizes_are_counted_without_their_sign_and_zeros_apart():
    model = nn.Linear(4, 2, bias=False)
    model.weight.grad = torch.tensor([[0.0, 1e-30, -3e-5, 2.0], [2.0, -2.0, 3e-5, 1e-5]])
    with Recorder(model, histograms=True) as recorder:
        recorder.capture()
    sizes = recorder.record.size_histogram[0, 0]
    positive = HISTOGRAM_EDGES[HISTOGRAM_EDGES > 0]
    entries = model.weight.grad.abs().double().flatten().numpy()
    assert sizes[0] == 1
    assert np.array_equal(sizes[1:], np.histogram(entries[entries > 0], positive)[0])


def test_a_step_is_faulty_if_an_output_or_a_gradient_is_not_finite():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with Recorder(model) as recorder:
        for scale in (1.0, math.inf, 1.0, math.nan):
            model.zero_grad()
            (model(torch.ones(2, 3)).sum() * scale).backward()
            recorder.capture()
    assert recorder.record.faulty.tolist() == [False, True, False, True]
    assert not recorder.record.output_nonfinite.any()


def test_without_histograms_there_is_nothing_to_store():
    model = network()
    with Recorder(model) as recorder:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), 2)
    assert recorder.record.histogram.shape == (2, len(recorder.record.layers), 0)
    assert recorder.record.size_histogram.shape == (2, len(recorder.record.layers), 0)


@pytest.mark.parametrize("scale", [1e25, 1e39])
def test_the_first_layer_that_is_not_finite_is_named(scale):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    with torch.no_grad():
        model[1].weight.mul_(min(scale, 1e30)).mul_(max(scale / 1e30, 1))
        model[2].weight.mul_(1e30)
    with Recorder(model) as recorder:
        model(torch.randn(5, 3)).sum().backward()
        recorder.capture()
    with torch.no_grad():
        x = torch.randn(5, 3)
        finite = [bool(x.isfinite().all()) for layer in model if (x := layer(x)) is not None]
    expected = str(finite.index(False))
    assert recorder.record.first_nonfinite == (1, expected, "output")


def test_a_gradient_that_overflows_behind_a_finite_output_is_named_from_the_loss_back():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with Recorder(model) as recorder:
        (model(torch.randn(5, 3)) * 1e30 * 1e30).sum().mul(1e30).backward()
        recorder.capture()
    record = recorder.record
    assert not record.output_nonfinite.any()
    assert record.first_nonfinite == (1, "1", "gradient")


class Unrolled(nn.Module):
    """A recurrent network written as a loop over a cell."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell, self.readout = cell, nn.Linear(6, 2)

    def forward(self, x):
        state = None
        self.seen = []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            hidden = state[0] if isinstance(state, tuple) else state
            hidden.retain_grad()
            self.seen.append(hidden)
        return self.readout(hidden)


@pytest.mark.parametrize(
    "cell", [nn.RNNCell(3, 6), nn.GRUCell(3, 6), nn.LSTMCell(3, 6)], ids=lambda c: type(c).__name__
)
def test_the_time_ratio_compares_the_first_call_of_a_cell_with_its_last(cell):
    model = Unrolled(cell)
    record = probe(model, torch.randn(5, 9, 3), torch.randint(0, 2, (5,)))
    first, last = (model.seen[t].grad.double().norm() for t in (0, -1))
    assert record.layers == ("cell", "readout")
    assert record.time_ratio[0, 0] == pytest.approx(float(first / last), rel=1e-6)
    assert math.isnan(record.time_ratio[0, 1])  # called once


def test_a_unit_is_dead_only_if_none_of_the_last_512_examples_woke_it():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0]]))
        model[0].bias.copy_(torch.tensor([0.0, -100.0]))  # the second never wakes
    with Recorder(model) as recorder:
        for value in [1.0, *[-1.0] * 9]:  # the first wakes in the first batch of 64 only
            model(torch.full((64, 1), value)).sum().backward()
            recorder.capture()
    assert recorder.record.dead[:, 0].tolist() == [0.5] * 8 + [1.0] * 2


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("activations", [True, False])
def test_several_optimisers_share_a_step_and_the_row_holds_all_their_updates(every, activations):
    alone, shared = (MLP(3, 8, seed=0, in_features=8, out_features=4) for _ in range(2))
    single = torch.optim.SGD(alone.parameters(), lr=0.1)
    first = torch.optim.SGD([p for n, p in shared.named_parameters() if n < "layer2"], lr=0.1)
    second = torch.optim.SGD([p for n, p in shared.named_parameters() if n >= "layer2"], lr=0.1)
    records = []
    for model, optimizers in ((alone, [single]), (shared, [first, second])):
        with Recorder(model, every=every, activations=activations) as recorder:
            for x, y in batches(5):
                model.zero_grad()
                loss = cross_entropy(model(x), y)
                recorder.log_loss(loss)
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
        records.append(recorder.record)
    assert records[0].step.tolist() == records[1].step.tolist() == list(range(1, 6, every))
    for name in ("gradient_norm", "weight_norm", "update_norm", "output_rms", "loss"):
        np.testing.assert_array_equal(*(getattr(record, name) for record in records), err_msg=name)


def test_two_optimisers_with_a_pass_each_are_two_steps():
    model = MLP(2, 8, seed=0, in_features=8, out_features=4)
    optimizers = [torch.optim.SGD(model.layer1.parameters(), 0.1), torch.optim.SGD(model.readout.parameters(), 0.1)]
    with Recorder(model) as recorder:
        for x, y in batches(3):
            for optimizer in optimizers:
                model.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
    assert recorder.record.step.tolist() == [1, 2, 3, 4, 5, 6]
    moved = recorder.record.update_norm[:, [0, 2]] > 0
    assert moved.tolist() == [[True, False], [False, True]] * 3


def test_a_closure_that_runs_several_passes_is_one_step():
    plain, watched = (MLP(2, 8, seed=0, in_features=8, out_features=4) for _ in range(2))
    x, y = next(batches(1))
    calls = []
    for model in (plain, watched):
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            calls.append(loss.item())
            return loss

        if model is plain:
            optimizer.step(closure)
            continue
        start = [p.detach().clone() for p in model.parameters()]
        with Recorder(model) as recorder:
            optimizer.step(closure)
    assert len(calls) > 4, "the optimiser must have asked for several passes"
    assert recorder.record.step.tolist() == [1]
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b), "the watched run must end in the same weights"
    moved = [(p - s).double().square().sum() for p, s in zip(watched.parameters(), start, strict=True)]
    by_layer = torch.stack(moved).reshape(-1, 2).sum(1).sqrt()  # a weight and a bias each
    np.testing.assert_allclose(recorder.record.update_norm[0], by_layer.detach(), rtol=1e-6)


def test_shared_and_unused_layers_are_recorded_once_or_not_at_all():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.unused = nn.Linear(6, 6), nn.Linear(6, 6)
            self.same = nn.Linear(6, 6)
            self.same.weight = self.one.weight

        def forward(self, x):
            return self.same(self.one(x).tanh())

    model = Odd()
    record = probe(model, torch.randn(5, 6), torch.randint(0, 6, (5,)))
    assert record.layers == ("one", "unused", "same")
    assert np.isfinite(record.gradient_norm[0, [0, 2]]).all()
    assert np.isnan(record.gradient_norm[0, 1])
    assert not record.nonfinite.any(), "a layer without a gradient is not one with a NaN"
    with Recorder(model) as recorder:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        cross_entropy(model(torch.randn(5, 6)), torch.randint(0, 6, (5,))).backward()
        optimizer.step()
    assert recorder.record.update_norm[0, 1] == 0, "what has no gradient does not move"
    assert recorder.record.update_norm[0, 0] > 0


def test_accumulated_passes_are_no_time_steps():
    model = Unrolled(nn.RNNCell(3, 6))
    x, y = torch.randn(8, 9, 3), torch.randint(0, 2, (8,))
    with Recorder(model) as recorder:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for part in (slice(0, 4), slice(4, 8)):
            model.seen = []
            cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()
    first, last = (model.seen[t].grad.double().norm() for t in (0, -1))  # of the second pass alone
    assert recorder.record.time_ratio[0, 0] == pytest.approx(float(first / last), rel=1e-6)
    assert math.isnan(recorder.record.time_ratio[0, 1]), "a layer called once in each pass has no time"


def test_capturing_without_a_gradient_says_what_to_do():
    with Recorder(network()) as recorder, pytest.raises(ValueError, match=r"Sequential.*loss\.backward\(\) before"):
        recorder.capture()
    assert len(recorder.record.step) == 0


def test_the_kept_costs_are_of_these_ways_and_reach_what_was_asked():
    """Times are of one machine; ``benchmarks/recorder_overhead.py`` takes them anew."""
    kept = json.loads((ROOT / "book" / "assets" / "recorder-overhead.json").read_text())
    assert len(kept["networks"]) == 4
    for network, by_threads in kept["networks"].items():
        assert set(by_threads) == {"1", "2"}
        for threads, rows in by_threads.items():
            where, cost = f"{network}, {threads} threads", {name: row["median"] for name, row in rows.items()}
            # how far two bare networks are apart is what a median may be off
            error = max(0.01, abs(cost["bare again (control)"] - 1))
            for way, asked in kept["asked"].items():
                # the copy of the weights is dear beside so small a step; the page says so
                dear = way == "Recorder(activations=False, every=1)" and network.startswith("MLP")
                assert cost[way] <= (1.2 if dear else asked) + error, f"{way} costs {cost[way]} on {where}"
            counts = cost["Recorder(every=1, histograms=True)"]
            for peer in ("TensorBoard add_histogram, weights too", "wandb.watch all"):
                assert counts < cost[peer], f"{peer} keeps less and is cheaper on {where}"
            assert cost["Recorder(every=1)"] < cost["fastai ActivationStats, histograms"], where
