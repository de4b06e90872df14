"""What holds for the recorder on any network: drawn by hypothesis, the same every time."""

import copy
import pickle
import sys
import threading

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import mse_loss

from gradclinic.record import HISTOGRAM_EDGES
from gradclinic.recorder import Recorder
from gradclinic.recording.sizes import histogram, square, squares_together
from tests.helpers.hooks import global_hooks, hooks_of

# The same examples on every machine, and no time limit: a busy machine is not a failure.
STEADY = settings(derandomize=True, deadline=None, max_examples=40, database=None)

ACTIVATIONS = [nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU, nn.LeakyReLU, lambda: nn.ReLU(inplace=True)]
OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, 0.05),
    lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    lambda p: torch.optim.AdamW(p, 1e-2, foreach=True),
    lambda p: torch.optim.Adam(p, 1e-2, fused=True),
    lambda p: torch.optim.RMSprop(p, 1e-3),
]


class Skip(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


@st.composite
def networks(draw):
    """A function that builds the same network each time, and the shape of its input."""
    depth, width = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 8]))
    image, dtype = draw(st.booleans()), draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    kinds = [draw(st.sampled_from(range(len(ACTIVATIONS)))) for _ in range(depth)]
    norms, skips = [draw(st.booleans()) for _ in range(depth)], [draw(st.booleans()) for _ in range(depth)]
    one_activation, dropout, frozen = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())

    def build() -> nn.Module:
        torch.manual_seed(0)
        shared, layers = ACTIVATIONS[kinds[0]](), []
        for number in range(depth):
            layer = nn.Conv2d(width, width, 3, padding=1) if image else nn.Linear(width, width)
            parts = [layer]
            if norms[number]:
                parts.append(nn.BatchNorm2d(width) if image else nn.LayerNorm(width))
            parts.append(shared if one_activation else ACTIVATIONS[kinds[number]]())
            if dropout:
                parts.append(nn.Dropout(0.2))
            block = nn.Sequential(*parts)
            layers.append(Skip(block) if skips[number] else block)
        model = nn.Sequential(*layers, *([nn.Flatten(), nn.Linear(width * 16, 2)] if image else [nn.Linear(width, 2)]))
        if frozen and depth > 1:
            model[0].requires_grad_(False)
        return model.to(dtype)

    return build, ((4, width, 4, 4) if image else (4, width)), dtype


def train(build, shape, dtype, optimizer, steps, accumulate, watch, user_hooks, log):
    """A training that may be watched, among hooks of someone else that double a gradient and scale an output."""
    model = build()
    trainer = OPTIMIZERS[optimizer](p for p in model.parameters() if p.requires_grad)
    recorder = Recorder(model, **watch) if watch is not None else None
    handles = []

    def others():
        handles.append(model[0].register_forward_hook(lambda module, inputs, output: output * 0.5))
        handles.append(model[-1].register_full_backward_hook(lambda module, into, out: None))
        handles.append(model[-1].weight.register_hook(lambda gradient: 2 * gradient))

    torch.manual_seed(1)
    if user_hooks == "before":
        others()
    if recorder is not None:
        recorder.__enter__()
    if user_hooks == "after":
        others()
    for _ in range(steps):
        trainer.zero_grad()
        for _ in range(accumulate):
            x = torch.randn(shape).to(dtype)
            mse_loss(model(x), torch.zeros(shape[0], 2, dtype=dtype)).backward()
        log.append([None if p.grad is None else p.grad.detach().double().numpy().copy() for p in model.parameters()])
        trainer.step()
    if recorder is not None:
        recorder.__exit__()
    for handle in handles:
        handle.remove()
    return model, recorder


@STEADY
@given(
    network=networks(),
    optimizer=st.integers(0, len(OPTIMIZERS) - 1),
    steps=st.integers(1, 4),
    accumulate=st.integers(1, 2),
    watch=st.fixed_dictionaries(
        {
            "activations": st.booleans(),
            "updates": st.booleans(),
            "histograms": st.booleans(),
            "every": st.sampled_from([None, 1, 2]),
        }
    ),
    user_hooks=st.sampled_from(["none", "before", "after"]),
)
def test_any_network_trains_the_same_when_it_is_watched_and_its_norms_are_those_of_numpy(
    network, optimizer, steps, accumulate, watch, user_hooks
):
    (build, shape, dtype), gradients, before = network, [], global_hooks()
    plain, _ = train(build, shape, dtype, optimizer, steps, accumulate, None, user_hooks, [])
    random = torch.get_rng_state()
    model, recorder = train(build, shape, dtype, optimizer, steps, accumulate, watch, user_hooks, gradients)
    assert torch.equal(random, torch.get_rng_state())
    for (name, value), other in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(value, other), f"{name} differs"
    assert hooks_of(model) == 0
    assert global_hooks() == before
    assert recorder.notes == []
    assert not any(getattr(p, "_backward_hooks", None) for p in model.parameters())
    record = recorder.record
    assert len(set(record.layers)) == len(record.layers)
    assert record.step.tolist() == sorted({*range(1, steps + 1, watch["every"] or 1), steps})
    names = [name.rpartition(".")[0] for name, _ in model.named_parameters()]
    for row, step in enumerate(record.step):
        for column, layer in enumerate(record.layers):
            own = [g for g, name in zip(gradients[step - 1], names, strict=True) if name == layer and g is not None]
            found = record.gradient_norm[row, column]
            if not own:
                assert np.isnan(found)
                continue
            expected = np.sqrt(sum((g**2).sum() for g in own))
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{layer} at step {step}")
    assert not record.faulty.any() or any(g is not None and not np.isfinite(g).all() for gs in gradients for g in gs)
    again = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert hooks_of(again) == 0


@STEADY
@given(
    exponents=st.lists(st.integers(-44, 38), min_size=1, max_size=6),
    entries=st.integers(1, 300),
    seed=st.integers(0, 9),
)
def test_a_norm_is_that_of_float64_whatever_the_size_of_the_entries(exponents, entries, seed):
    """From the smallest number that float32 holds to the largest, also side by side."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(len(exponents), entries, generator=generator, dtype=torch.float64) + 0.5
    values *= 10.0 ** torch.tensor(exponents, dtype=torch.float64)[:, None]
    single = values.clamp(max=3e38).float()
    expected = float(np.square(single.double().numpy()).sum())
    np.testing.assert_allclose(square(single), expected, rtol=1e-5)
    np.testing.assert_allclose(squares_together([single, single.T]), [expected] * 2, rtol=1e-12)


@STEADY
@given(bits=st.lists(st.integers(0, 2**32 - 1), max_size=200), edges=st.lists(st.integers(0, 201), max_size=50))
def test_every_float32_is_counted_in_the_bin_that_numpy_finds(bits, edges):
    """Any pattern of bits, NaN and the smallest numbers too, and the neighbours of the edges on both sides."""
    values = np.array(bits, np.uint32).view(np.float32)
    near = HISTOGRAM_EDGES[edges].astype(np.float32)
    near = np.concatenate([near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))])
    values = np.concatenate([values, near])
    finite = values[np.isfinite(values)].astype(np.float64)
    bins = np.searchsorted(HISTOGRAM_EDGES, finite).clip(1, len(HISTOGRAM_EDGES) - 1) - 1
    expected = np.bincount(bins, minlength=len(HISTOGRAM_EDGES) - 1)
    assert np.array_equal(histogram(torch.from_numpy(values)), expected)
    assert np.array_equal(histogram(torch.from_numpy(values.astype(np.float64))), expected)


@STEADY
@given(dead=st.integers(0, 3), wide=st.integers(1, 40), depth=st.integers(1, 4))
def test_a_copy_of_a_model_that_is_watched_is_not_watched(dead, wide, depth):
    model = nn.Sequential(*(nn.Linear(wide, wide) for _ in range(depth)), nn.ReLU())
    with Recorder(model) as recorder:
        twin, stored = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        for other in (twin, stored):
            other(torch.full((dead + 1, wide), 1e30)).sum().backward()
        model(torch.zeros(3, wide)).sum().backward()
        recorder.capture()
    assert recorder.record.output_rms.max() < 1e3, "what a copy computes is not recorded"
    assert hooks_of(model) == 0


def test_two_recorders_in_two_threads_do_not_mix():
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    alone, together, start = {}, {}, threading.Barrier(2)

    def run(model: nn.Module, scale: float, into: dict, wait: bool) -> None:
        optimizer, x = torch.optim.SGD(model.parameters(), 0.01), torch.linspace(-1, 1, 12).reshape(3, 4) * scale
        with Recorder(model, every=1) as recorder:
            for _ in range(60):
                if wait:
                    start.wait()
                optimizer.zero_grad()
                loss = model(x).square().sum()
                recorder.log_loss(loss)
                loss.backward()
                optimizer.step()
        into[scale] = recorder.record

    before = global_hooks()
    for scale in (1.0, 3.0):
        run(network(), scale, alone, False)
    models = {scale: network() for scale in (1.0, 3.0)}
    threads = [threading.Thread(target=run, args=(model, scale, together, True)) for scale, model in models.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert global_hooks() == before
    for scale, record in alone.items():
        other = together[scale]
        assert other.step.tolist() == list(range(1, 61))
        for field in ("loss", "gradient_norm", "update_norm", "weight_norm", "output_rms", "output_gradient_norm"):
            np.testing.assert_array_equal(getattr(record, field), getattr(other, field), err_msg=field)


def test_a_recorder_that_begins_or_ends_in_one_thread_stops_no_step_in_another():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads change places in the middle of everything
    model, other, failed = nn.Linear(64, 64), nn.Linear(2, 2), []

    def train() -> None:
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        try:
            with Recorder(model, every=1):
                for _ in range(1500):
                    model(torch.ones(1, 64)).sum().backward()
                    optimizer.step()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    while thread.is_alive():
        with Recorder(other):
            pass
    thread.join()
    sys.setswitchinterval(interval)
    assert failed == []
