"""What the page on half precision measures, against two predictions; and the sentences of its prose."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course.audit import half_precision
from gradclinic.course.audit.networks import digits_batch
from gradclinic.recorder import Recorder


def test_half_of_the_smallest_number_becomes_zero_and_a_little_more_does_not():
    edge = half_precision.BECOMES_ZERO
    assert torch.tensor([edge, edge * 1.001]).half().tolist() == [0.0, 2.0**-24]
    last = half_precision.LAST_FINITE
    assert torch.tensor([last, last + 1]).half().isfinite().tolist() == [True, False]


@pytest.mark.parametrize("exponent", [0, 4, 8])
def test_what_is_lost_is_what_rounding_by_hand_predicts(exponent):
    measured, predicted = half_precision.lost("float16", exponent), half_precision.predicted_on_the_way(exponent)
    assert np.abs(measured - predicted).max() < 0.1
    assert np.abs(measured.mean(0) - predicted.mean(0)).max() < 0.03


def test_by_hand_without_rounding_is_what_autograd_gives(monkeypatch):
    monkeypatch.setattr(half_precision, "rounded", lambda values: values)
    true = half_precision.gradients("float32", 0, 3)
    for found, expected in zip(half_precision.by_hand(0, 3, half_precision.LAYERS), true, strict=True):
        assert torch.allclose(found, expected, rtol=1e-3, atol=float(expected.abs().max()) * 1e-4)


def test_the_size_in_float32_is_too_low_where_the_gradient_was_lost_on_the_way():
    measured, own = half_precision.lost("float16"), half_precision.predicted_by_size()
    assert (measured[:, :2] >= own[:, :2]).all()
    assert measured[:, 1].mean() > own[:, 1].mean() + 0.2
    assert (measured[:, 0] > 0.99).all()
    assert measured[:, 4].mean() < 0.01
    assert np.abs(half_precision.lost("float16", 8) - half_precision.predicted_by_size(8)).max() < 0.02


def test_bfloat16_loses_none_in_the_hidden_layers_and_some_of_the_readout_at_any_scale():
    for exponent in (0, 20):
        lost = half_precision.lost("bfloat16", exponent)
        assert (lost[:, :-1] == 0).all()
        assert 0 < lost[:, -1].max() < 0.2
        assert (lost[:, -1] > 0).sum() < 5


def test_between_the_ends_of_the_window_next_to_nothing_is_lost():
    for seed in range(20):
        low, high = half_precision.window(seed)
        assert low < 14 < 16 < high
    for exponent in (12, 16):
        assert half_precision.lost("float16", exponent).max() < 0.01
        assert half_precision.overflowed("float16", exponent).max() == 0
    assert half_precision.overflowed("float16", 24).min() == 1


@pytest.mark.parametrize("seed", [0, 2, 7])
def test_without_a_scaler_training_stays_at_guessing_and_with_it_it_does_not(seed):
    lone, scaled, full = (
        half_precision.trained(dtype, start, seed)
        for dtype, start in (("float16", None), ("float16", 16), ("float32", None))
    )
    assert lone.accuracy.max() < 0.13 < 0.15 < min(full.accuracy[-1], scaled.accuracy[-1])
    assert lone.skipped == full.skipped == 0
    assert scaled.skipped < 10


@pytest.mark.parametrize("seed", range(20))
def test_the_scaler_finds_the_window(seed):
    found = half_precision.trained("float16", 24, seed, 1)
    low, high = half_precision.window(seed)
    exponent = 24 - found.skipped  # each step left out halves the scale
    assert np.log2(found.scale[-1]) in (exponent, exponent + 1), "the last step may be one of them"
    assert low < exponent <= high, (low, exponent, high)


def test_begun_far_too_high_about_four_in_five_leave_guessing():
    ends = [half_precision.trained("float16", 24, seed).accuracy[-1] for seed in range(20)]
    assert 13 <= sum(end > 0.15 for end in ends) <= 18, ends


def test_after_unscaling_the_recorder_sees_the_size_it_has_in_float32():
    true = float(half_precision.gradients("float32", 0, 0)[0].norm())
    model, (x, y) = half_precision.network(0), digits_batch(64)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    with Recorder(model, every=1) as recorder:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        assert float(model.layer1.weight.grad.norm()) > 1e4 * true
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
    assert recorder.record.gradient_norm[0, 0] == pytest.approx(true, rel=0.05)


def test_an_unknown_type_is_named():
    with pytest.raises(ValueError, match=r"'float8'.*float32.*float16.*bfloat16"):
        half_precision.gradients("float8", 0, 0)
    with pytest.raises(ValueError, match=r"'half'.*float32.*float16.*bfloat16"):
        half_precision.trained("half", None, 0)
