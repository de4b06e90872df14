"""What a training tells its recorder, and what the recorder tells it while it goes on."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from gradclinic import diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.recording import looks
from gradclinic.recording.losses import Losses
from tests.helpers.hooks import global_hooks, hooks_of


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def train(recorder: Recorder, steps: int, bad: int | None = None, value: float = math.nan, lr: float = 0.01) -> None:
    """A training whose loss is a number as long as it is sound; from step ``bad`` on it is told as ``value``."""
    model = recorder.model
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for number in range(1, steps + 1):
        optimizer.zero_grad()
        loss = model(torch.ones(4, 3)).square().mean()
        recorder.log_loss(loss if bad is None or number < bad else loss * value)
        loss.backward()
        optimizer.step()


# --- the loss ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        2,
        2.0,
        Fraction(2),
        np.float32(2),
        np.int64(2),
        np.array(2.0),
        np.array([[2.0]]),
        torch.tensor(2.0),
        torch.tensor([2], dtype=torch.int32),
        torch.tensor(2.0, dtype=torch.bfloat16, requires_grad=True),
    ],
    ids=repr,
)
def test_one_number_of_any_kind_is_a_loss(loss):
    model = network()
    with Recorder(model) as recorder:
        recorder.log_loss(loss)
        model(torch.ones(1, 3)).sum().backward()
        recorder.capture()
    assert recorder.record.loss.tolist() == [2.0]


@pytest.mark.parametrize(
    ("loss", "error"),
    [
        ([1.0], TypeError),
        (None, TypeError),
        ("2.0", TypeError),
        (True, TypeError),
        (1 + 2j, TypeError),
        (np.complex64(1), TypeError),
        (np.array("2.0"), TypeError),
        (np.bool_(True), TypeError),
        (torch.tensor(True), TypeError),
        (torch.tensor(1 + 2j), TypeError),
        (torch.ones(2), ValueError),
        (torch.empty(0), ValueError),
        (np.ones(3), ValueError),
        (np.empty(0), ValueError),
    ],
    ids=repr,
)
def test_what_is_no_loss_is_refused_with_what_was_given_and_what_is_allowed(loss, error):
    recorder = Recorder(network())
    given = {ValueError: r"shape \((2|0|3),\)", TypeError: r"\[1\.0\]|None|'2\.0'|True|1\+2j|1\+0j|complex64|bool"}[
        error
    ]
    with pytest.raises(error, match=rf"log_loss takes (a real|one) number.*got.*({given})"):
        recorder.log_loss(loss)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_exact_step_of_a_loss_that_is_no_number_is_known_though_it_is_not_recorded(value, tmp_path):
    with Recorder(network()) as recorder:
        train(recorder, 80, bad=61, value=value)
    record = recorder.record
    assert record.step.tolist()[-3:] == [50, 75, 80], "step 61 has no row"
    assert record.first_bad_loss == 61
    assert record.first_nonfinite == (61, "the loss", "loss")
    assert Record.load(record.save(tmp_path / "run")).first_bad_loss == 61


def test_a_layer_that_broke_no_later_than_the_loss_is_named_before_it():
    model = network()
    with Recorder(model, every=1) as recorder:
        train(recorder, 3)
        with torch.no_grad():
            model[2].weight.fill_(math.inf)
        train(recorder, 2)
    record = recorder.record
    assert record.first_bad_loss == 4
    assert record.first_nonfinite == (4, "2", "output")


def test_a_loss_that_is_told_when_the_step_is_done_belongs_to_that_step():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Recorder(model) as recorder:
        for number in range(1, 66):
            optimizer.zero_grad()
            loss = model(torch.ones(4, 3)).square().mean()
            loss.backward()
            optimizer.step()
            recorder.log_loss(loss if number < 61 else math.nan)
    assert recorder.record.first_bad_loss == 61


def test_the_first_bad_loss_of_a_resumed_training_is_counted_on():
    sound, broken = Recorder(network()), Recorder(network())
    with sound:
        train(sound, 10)
    with broken:
        train(broken, 10, bad=4)
    before, after = sound.record, broken.record
    assert before.then(after).first_bad_loss == 14
    assert after.then(before).first_bad_loss == 4
    assert after.then(before, after=3).first_bad_loss is None, "what came after the checkpoint was lost"
    assert after.then(after, after=3).first_bad_loss == 7
    assert before.then(before).first_bad_loss is None


class Elsewhere(torch.Tensor):
    """Stands for a tensor of an accelerator: to fetch its value is to wait for it."""

    fetched = 0

    @property
    def is_cpu(self) -> bool:
        return False

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        Elsewhere.fetched += name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__")
        return super().__torch_function__(function, types, args, kwargs or {})


def test_losses_of_an_accelerator_are_fetched_together_when_a_row_is_written():
    losses, told = Losses(), np.random.default_rng(0).normal(size=3000).astype(np.float32)
    Elsewhere.fetched = 0
    kept = torch.empty(())
    for step, value in enumerate(told, 1):
        kept.fill_(float(value))  # one tensor in which each loss replaces the last, as a training may do it
        losses.tell(kept.as_subclass(Elsewhere), step)
    losses.tell(torch.tensor(math.nan).as_subclass(Elsewhere), 3001)
    assert Elsewhere.fetched == 0, "no step may wait for the accelerator"
    row = losses.row(None)
    assert Elsewhere.fetched == 1
    assert math.isnan(row["loss"])
    assert losses.first_bad == 3001
    losses.written()
    for step, value in enumerate(told, 3002):
        losses.tell(torch.tensor(value).as_subclass(Elsewhere), step)
    assert losses.row(None)["loss"] == pytest.approx(told.astype(float).mean(), rel=1e-9)
    assert losses.first_bad == 3001


# --- a look at a training that goes on ---------------------------------------------------------------------------


def test_a_check_in_the_loop_is_the_diagnosis_of_what_was_recorded_so_far():
    recorder = Recorder(network(), every=1)
    seen = []
    with recorder:
        for _ in range(4):
            train(recorder, 5)
            seen.append(str(recorder.check()))
            assert seen[-1] == str(diagnose(recorder.record))
    assert len(set(seen)) == 4, "each look sees more"


def test_the_handler_is_called_once_and_as_soon_as_something_is_not_finite():
    told = []
    recorder = Recorder(network(), every=1, on_alarm=lambda found: told.append((found, recorder.record.last_step)))
    with recorder:
        train(recorder, 30, bad=7)
    with recorder:
        train(recorder, 200, bad=1)
    assert len(told) == 1
    found, step = told[0]
    assert found.alarming
    assert step == 7


def test_a_fault_that_is_no_overflow_has_to_be_seen_in_two_looks():
    told = []
    recorder = Recorder(network(), chance_loss=1e-9, on_alarm=lambda found: told.append(recorder.record.last_step))
    with recorder:
        train(recorder, 230, lr=1e-12)
    assert diagnose(recorder.record).alarming
    assert told == [200]


def test_a_healthy_training_is_not_disturbed():
    told = []
    recorder = Recorder(network(), on_alarm=told.append)
    with recorder:
        train(recorder, 300, lr=0.1)
    assert recorder.check().kind == "undecided", "its loss fell, and nobody knows by how much it might"
    assert told == []


class Stop(Exception):
    """What somebody raises to end a training."""


def stop(found) -> None:
    raise Stop(found.kind)


def test_what_the_handler_raises_comes_out_of_the_step_and_ends_the_training_cleanly():
    recorder, before = Recorder(network(), every=1, on_alarm=stop), global_hooks()
    with Recorder(recorder.model, every=1) as bystander, pytest.raises(Stop), recorder:
        train(recorder, 30, bad=7)
    assert recorder.record.last_step == 7, "the step itself is done and recorded"
    assert recorder.record.step.tolist() == bystander.record.step.tolist()
    assert recorder.notes == []
    assert hooks_of(recorder.model) == 0
    assert global_hooks() == before


def test_the_handler_is_heard_by_a_loop_that_captures_too():
    with Recorder(model := network(), every=1, on_alarm=stop) as recorder:
        recorder.log_loss(math.inf)
        model(torch.ones(1, 3)).sum().backward()
        with pytest.raises(Stop):
            recorder.capture()
    assert recorder.record.last_step == 1


def test_an_error_of_our_own_never_reaches_the_training(monkeypatch):
    def broken(record):
        raise ZeroDivisionError("a rule is wrong")

    monkeypatch.setattr(looks, "diagnose", broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Recorder(network(), every=1, on_alarm=stop) as recorder:
            train(recorder, 150, bad=120)
    assert recorder.record.last_step == 150
    assert recorder.notes == ["the diagnosis cannot be measured (ZeroDivisionError: a rule is wrong)"]


def test_looks_are_few(monkeypatch):
    seen = []
    monkeypatch.setattr(looks, "diagnose", lambda record: seen.append(record.last_step) or diagnose(record))
    with Recorder(network(), every=1, on_alarm=lambda found: None) as recorder:
        train(recorder, 1500, lr=0.1)
    assert seen == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1210, 1331, 1464]


def test_a_handler_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match=r"on_alarm must be a function.*got 'mail'"):
        Recorder(network(), on_alarm="mail")
