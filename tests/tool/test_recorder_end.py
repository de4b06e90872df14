"""How a recording ends: with the last step, with a word where nothing was recorded, and with nothing left behind."""

import gc
import math
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.recording.optimizers import LISTENERS
from tests.helpers.hooks import hooks_of

MEASURED_BY_HOOKS = ("update_norm", "output_rms", "output_gradient_norm", "time_ratio", "saturation", "dead")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2))


def norms(model: nn.Sequential, of) -> list[float]:
    layers = [module for module in model if list(module.parameters())]
    return [math.sqrt(sum(float(of(p).double().square().sum()) for p in layer.parameters())) for layer in layers]


def train(model, optimizer, recorder, steps: int, seed: int = 1) -> list[float]:
    """The losses of the steps."""
    generator, told = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 3, generator=generator)).square().mean()
        recorder.log_loss(loss)
        told.append(loss.item())
        loss.backward()
        optimizer.step()
    return told


class InPlace(torch.optim.Optimizer):
    """As many optimisers outside torch do, it writes into the gradients that it is given."""

    def __init__(self, parameters, lr: float):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad.mul_(group["lr"]))


# --- the last step -----------------------------------------------------------------------------------------------


def test_the_last_step_has_a_row_of_what_can_still_be_read():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with Recorder(model, every=4, histograms=True) as recorder:
        told = train(model, optimizer, recorder, 7)
    record = recorder.record
    assert record.step.tolist() == [1, 5, 7]
    assert record.last_step == 7
    np.testing.assert_allclose(record.loss, [told[0], np.mean(told[1:5]), np.mean(told[5:])], rtol=1e-6)
    np.testing.assert_allclose(record.gradient_norm[-1], norms(model, lambda p: p.grad), rtol=1e-6)
    np.testing.assert_allclose(record.weight_norm[-1], norms(model, lambda p: p.detach()), rtol=1e-6)
    for name in MEASURED_BY_HOOKS:
        assert np.isnan(getattr(record, name)[-1]).all(), f"{name} was not measured"
    assert record.histogram[-1].sum(1).tolist() == [20, 30, 12], "every gradient entry is counted"
    assert not record.faulty.any(), "what is unknown is not an overflow"


def test_a_last_step_that_is_due_has_one_whole_row():
    model = network()
    with Recorder(model, every=4) as recorder:
        train(model, torch.optim.SGD(model.parameters(), 0.1), recorder, 5)
    assert recorder.record.step.tolist() == [1, 5]
    assert np.isfinite(recorder.record.update_norm).all()


@pytest.mark.parametrize("case", ["none", "zero", "another backward pass", "changed in place"])
def test_gradients_that_are_not_those_of_the_last_step_are_unknown(case):
    model = network()
    optimizer = (InPlace if case == "changed in place" else torch.optim.SGD)(model.parameters(), 0.01)
    with Recorder(model, every=4) as recorder:
        train(model, optimizer, recorder, 6)
        if case in ("none", "zero"):
            optimizer.zero_grad(set_to_none=case == "none")
        elif case == "another backward pass":  # of a step that never comes
            optimizer.zero_grad()
            model(torch.ones(2, 3)).sum().backward()
    record = recorder.record
    assert record.step.tolist() == [1, 5, 6]
    assert np.isnan(record.gradient_norm[-1]).all(), "a gradient of another pass, or of none, is not told as this one's"
    np.testing.assert_allclose(record.weight_norm[-1], norms(model, lambda p: p.detach()), rtol=1e-6)
    assert np.isfinite(record.loss[-1])
    assert not record.faulty.any()


def test_weights_that_overflow_after_the_last_row_are_seen():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Recorder(model, every=100) as recorder:
        train(model, optimizer, recorder, 3)
        optimizer.param_groups[0]["lr"] = math.inf
        train(model, optimizer, recorder, 1)
    assert recorder.record.step.tolist() == [1, 4]
    assert not np.isfinite(recorder.record.weight_norm[-1]).any()


@pytest.mark.parametrize("options", [{"updates": False}, {"activations": False}])
def test_what_was_not_asked_for_is_not_in_the_last_row_either(options):
    model = network()
    with Recorder(model, every=4, **options) as recorder:
        train(model, torch.optim.SGD(model.parameters(), 0.01), recorder, 2)
    record = recorder.record
    assert np.isfinite(record.gradient_norm).all()
    assert np.isfinite(record.weight_norm).all() == options.get("updates", True)


def test_a_block_that_is_left_by_an_exception_has_its_last_step_too():
    recorder = Recorder(model := network(), every=4)

    def train_until_somebody_has_enough() -> None:
        with recorder:
            train(model, torch.optim.SGD(model.parameters(), 0.01), recorder, 6)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_until_somebody_has_enough()
    assert recorder.record.step.tolist() == [1, 5, 6]


def test_a_step_that_fails_half_way_is_told_as_no_step():
    class Fails(torch.optim.SGD):
        def step(self, closure=None):
            if recorder.record.last_step == 6:
                raise RuntimeError("out of memory")
            return super().step(closure)

    model = network()
    optimizer, recorder = Fails(model.parameters(), 0.01), Recorder(model, every=4)
    with pytest.raises(RuntimeError, match="out of memory"), recorder:
        train(model, optimizer, recorder, 9)
    assert recorder.record.step.tolist() == [1, 5], "nobody knows what the weights of step 6 were"
    assert recorder.record.last_step == 6


def test_a_training_goes_on_after_a_step_that_failed():
    class Once(torch.optim.SGD):
        failed = False

        def step(self, closure=None):
            if not self.failed:
                self.failed = True
                raise RuntimeError("out of memory")
            return super().step(closure)

    model = network()
    optimizer = Once(model.parameters(), 0.01)
    with Recorder(model, every=1) as recorder:
        with pytest.raises(RuntimeError, match="out of memory"):
            train(model, optimizer, recorder, 1)
        train(model, optimizer, recorder, 2)
    assert recorder.record.step.tolist() == [1, 2]
    assert np.isfinite(recorder.record.update_norm).all()


def test_several_blocks_give_the_record_of_one():
    records, arrays = [], [name for name, kind in Record.__annotations__.items() if kind is np.ndarray]
    for blocks in ([14], [6, 1, 7]):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        recorder = Recorder(model, every=4)
        seen = []
        for number, steps in enumerate(blocks):
            with recorder:
                train(model, optimizer, recorder, steps, seed=number if len(blocks) == 1 else 0)
            seen.append(recorder.record.step.tolist())
        records.append((recorder.record, seen))
    (whole, _), (parts, seen) = records
    assert seen == [[1, 5, 6], [1, 5, 7], [1, 5, 9, 13, 14]], "what ended a block goes when the training goes on"
    assert whole.step.tolist() == parts.step.tolist()
    assert (np.diff(parts.step) > 0).all()
    assert {name for name in arrays if getattr(whole, name).shape != getattr(parts, name).shape} == set()


def test_the_losses_of_a_block_count_for_the_row_that_takes_the_place_of_its_last():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    recorder = Recorder(model, every=4)
    with recorder:
        told = train(model, optimizer, recorder, 3)
    assert recorder.record.loss[-1] == pytest.approx(np.mean(told[1:]))
    with recorder:
        told += train(model, optimizer, recorder, 2)
    assert recorder.record.step.tolist() == [1, 5]
    assert recorder.record.loss[-1] == pytest.approx(np.mean(told[1:]))


def test_a_block_in_which_nothing_is_trained_keeps_the_last_row():
    model = network()
    recorder = Recorder(model, every=4)
    with recorder:
        train(model, torch.optim.SGD(model.parameters(), 0.01), recorder, 3)
    before = recorder.record
    with recorder, torch.no_grad():
        model(torch.ones(2, 3))
    after = recorder.record
    assert after.step.tolist() == before.step.tolist() == [1, 3]
    np.testing.assert_array_equal(after.weight_norm, before.weight_norm)


def test_captured_steps_end_as_others_do():
    model = network()
    with Recorder(model, every=4) as recorder:
        for _ in range(3):
            model.zero_grad()
            model(torch.ones(2, 3)).sum().backward()
            recorder.capture()
    assert recorder.record.step.tolist() == [1, 3]
    np.testing.assert_allclose(recorder.record.gradient_norm[-1], norms(model, lambda p: p.grad), rtol=1e-6)


def test_the_last_row_reads_and_changes_nothing():
    results = []
    for watched in (False, True):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        recorder = Recorder(model, every=4)
        if watched:
            with recorder:
                train(model, optimizer, recorder, 6)
        else:
            train(model, optimizer, recorder, 6)
        results.append([*model.parameters(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# --- nothing recorded --------------------------------------------------------------------------------------------


def by_hand(model, steps: int = 3) -> None:
    for _ in range(steps):
        model(torch.ones(2, 3)).square().sum().backward()
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(0.01 * p.grad)
                p.grad = None


@pytest.mark.parametrize("activations", [True, False])
def test_a_loop_that_moves_the_weights_by_hand_is_told_of_capture(activations):
    recorder = Recorder(model := network(), activations=activations)
    with pytest.warns(RuntimeWarning, match=r"recorder\.capture\(\) after loss\.backward\(\)"), recorder:
        by_hand(model)
    assert len(recorder.record.step) == 0
    assert [note for note in recorder.notes if "recorder.capture() after loss.backward()" in note] == recorder.notes
    assert len(recorder.notes) == 1


def test_an_optimiser_of_other_parameters_is_told_in_the_same_note():
    model, stale = network(), network()  # as after a copy, or a move that made new parameters
    recorder, optimizer = Recorder(model), torch.optim.SGD(stale.parameters(), 0.1)
    recorder.__enter__()
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    with pytest.warns(RuntimeWarning, match="no optimiser that holds the model's parameters took a step"):
        recorder.__exit__()


def test_without_need_nothing_is_said():
    def captured(model, recorder):
        model(torch.ones(2, 3)).sum().backward()
        recorder.capture()

    def left_out(model, recorder):
        optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
        scaler.scale(model(torch.ones(2, 3)).sum() * math.inf).backward()
        scaler.step(optimizer)

    def judged(model, recorder):
        with torch.no_grad():
            model(torch.ones(2, 3))

    for loop in (captured, left_out, judged, lambda model, recorder: None):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Recorder(model := network()) as recorder:
                loop(model, recorder)
        assert recorder.notes == []
    recorder = Recorder(model := network())
    recorder.__enter__()
    model(torch.ones(2, 3)).sum().backward()
    error = ValueError("the user's own")
    recorder.__exit__(type(error), error, None)
    assert recorder.notes == [], "an exception says enough"


# --- nothing left ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alarm", [False, True])
def test_a_recorder_that_is_never_left_goes_with_its_model(alarm):
    before = len(LISTENERS)
    model, known = network(), []
    recorder = Recorder(model, on_alarm=known.append if alarm else None)
    known.append(recorder)  # so the handler knows the recorder
    recorder.__enter__()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    train(model, optimizer, recorder, 3)
    assert len(recorder.record.step) == 3
    gone = [weakref.ref(thing) for thing in (model, recorder, model[0].weight)]
    del model, recorder, optimizer, known
    gc.collect()
    assert [thing() for thing in gone] == [None] * 3, "something still holds the model or its recorder"
    assert len(LISTENERS) == before
    other = network()
    with Recorder(other) as another:
        train(other, torch.optim.SGD(other.parameters(), 0.01), another, 2)
    assert another.record.step.tolist() == [1, 2]


def test_who_forgets_the_recorder_alone_is_still_watched_until_the_model_goes():
    model = network()
    Recorder(model).__enter__()
    gc.collect()
    assert hooks_of(model) > 0
    train(model, torch.optim.SGD(model.parameters(), 0.01), Recorder(model), 2)


HOOKS = """
from torch import nn
from torch.optim import optimizer
count = lambda: len(optimizer._global_optimizer_pre_hooks) + len(optimizer._global_optimizer_post_hooks)
import gradclinic
found = [count()]
recorders = [gradclinic.Recorder(nn.Linear(1, 1)) for _ in range(2)]
for recorder in recorders:
    with recorder:
        found.append(count())
print([*found, count()])
"""


def test_the_import_leaves_no_hook_and_the_first_recorder_two():
    ended = subprocess.run([sys.executable, "-c", HOOKS], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[0, 2, 2, 2]"
