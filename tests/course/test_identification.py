"""What the pages on identification say in words, and the measures they rest on, against truths found another way."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course import audit
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.diagnosis import diagnose
from gradclinic.recorder import Recorder, probe

# What ``diagnose``, which has rules of its own, should call each of the runs on the page about stuck runs.
CALLED = {
    "healthy": "healthy",
    "vanishing": "vanishing",
    "too small a rate": "learning rate too low",
    "dead ReLU": "dying ReLU",
    "no signal": "undecided",
}


def descent(loss, chance: float = 1.0) -> audit.identification.Descent:
    """A run with losses written by hand."""
    record = probe(MLP(1, 2, in_features=2, out_features=2, seed=0), torch.zeros(1, 2), torch.tensor([0]))
    object.__setattr__(record, "chance_loss", chance)
    return audit.identification.Descent(np.array(loss, dtype=float), record)


def adam_at_three_tenths(seed: int, epochs: int):
    model = MLP(12, 64, "relu", "he", seed=seed)
    recorder = Recorder(model, every=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    fit(model, digits(), optimizer, epochs, seed=seed, recorder=recorder, progress=False)
    return recorder.record


def test_every_look_alike_has_a_name_of_its_own():
    assert set(CALLED) == set(audit.identification.LOOKALIKES)


@pytest.mark.parametrize("kind", CALLED)
def test_diagnose_agrees_with_the_page(kind):
    assert diagnose(audit.identification.lookalike(kind, 0, every=1)[0]).kind == CALLED[kind]


def test_a_look_alike_changes_nothing_else():
    healthy, slow = (audit.identification.lookalike(kind, 3)[0] for kind in ("healthy", "too small a rate"))
    np.testing.assert_array_equal(healthy.gradient_norm[0], slow.gradient_norm[0])
    ratio = healthy.update_norm[0] / slow.update_norm[0]
    # weights are rounded to seven digits, and these updates are eight digits smaller: their norm is known roughly
    assert ((ratio > 5_000) & (ratio < 80_000)).all(), f"20,000 is what the page says; found {ratio}"


def test_rising_counts_only_what_can_be_seen():
    assert audit.identification.rising(descent([2.0, 1.0, 1.5, 0.5, 0.5])) == 1 / 4
    assert audit.identification.rising(descent([2.0, 2.0005, 2.0])) == 0, "half a thousandth of guessing is no rise"
    assert audit.identification.rising(descent([2.0, 2.0005, 2.0], chance=0.1)) == 1 / 2


@pytest.mark.parametrize(("activation", "scale"), audit.identification.S30_CASES)
def test_overflow_is_where_a_plain_loop_in_double_precision_leaves_float32(activation, scale):
    found = audit.identification.overflowed(activation, scale, 0)
    model = MLP(found.layer + 2, 256, activation, scale, seed=0).double()
    signal, layer = digits().x_train[:64].double(), 0
    for name, module in model.named_children():
        signal = module(signal)
        if name.startswith("layer"):
            layer += 1
            if signal.abs().max() > torch.finfo(torch.float32).max:
                break
    assert layer - 1 <= found.layer <= layer  # a sum may leave the range on its way to a result inside it


def test_a_weight_without_gradient_halves_in_69_000_steps_at_usual_values():
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1e-3, weight_decay=1e-2)
    for _ in range(69):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    assert round(math.log(2) / -math.log(weight.item()) * 69, -3) == 69_000


def test_adam_turns_a_weak_decay_into_full_steps():
    record = audit.identification.descended(10, "sigmoid", "pytorch", "Adam", 5e-3, 61, 0, 1e-4, every=1).record
    parameters = 64 * 32 + 32
    full = 5e-3 * math.sqrt(parameters)
    assert record.update_norm[0, 0] == pytest.approx(full, rel=0.02), "each weight should move by the learning rate"


def test_the_last_batch_of_an_epoch_has_three_images():
    assert len(digits().x_train) % 64 == 3


def test_exploding_steps_are_nearly_as_long_as_the_weights():
    first = [run.record.update_ratio[0, 0] for run in audit.identification.erratic_runs("exploding")]
    assert min(first) > 0.75, first


def test_after_an_overflow_every_layer_holds_nan():
    model = MLP(20, 64, "relu", 2.0, seed=12)
    recorder = Recorder(model, every=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    fit(model, digits(), optimizer, 1, recorder=recorder, progress=False)
    assert recorder.record.first_nonfinite is not None
    assert np.isnan(recorder.record.weight_norm[-1]).all()


@pytest.mark.parametrize("seed", audit.SEEDS)
def test_steps_too_long_kill_most_units_of_a_layer(seed):
    record = adam_at_three_tenths(seed, 1)
    assert record.dead[0].max() < 0.5 < 0.6 < record.dead[-1].max()
    assert record.update_ratio[0].max() > 0.5


def test_a_sound_network_learns_random_labels_by_heart_and_a_vanishing_one_does_not():
    x = digits().x_train[:64]
    y = torch.randint(10, (64,), generator=torch.Generator().manual_seed(0))
    ends = {}
    for start in ("he", "pytorch"):
        model = MLP(12, 64, "relu", start, seed=0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        for _ in range(1000):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        ends[start] = loss.item()
    assert ends["he"] < 0.1 < 2 < ends["pytorch"], ends
