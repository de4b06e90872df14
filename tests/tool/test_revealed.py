"""The gradient at the answers tells which loss it is, and what guessing gets: compared with the targets themselves."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gradclinic import Recorder, chance_loss

STEPS, BATCH = 60, 48
SHARES = torch.tensor([0.55, 0.25, 0.15, 0.05])


def recorded(loss, targets, answer=lambda scores: scores, columns=4, seed=0, shape=None):
    """A short training of a small network on targets that have nothing to do with its input."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, columns))
    whole = nn.Sequential(model, Ends(answer))
    optimizer = torch.optim.Adam(whole.parameters(), 1e-3)
    with Recorder(whole, every=1) as recorder:
        for i in range(STEPS):
            x = torch.randn(BATCH, 6) if shape is None else torch.randn(BATCH, shape, 6)
            value = loss(whole(x), targets[i])
            optimizer.zero_grad()
            value.backward()
            recorder.log_loss(value)
            optimizer.step()
    return recorder.record


class Ends(nn.Module):
    """What is done to the scores inside the model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, scores):
        return self.function(scores)


def labels(seed=0, *more):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(SHARES, STEPS * BATCH * math.prod(more), replacement=True, generator=generator)
    return drawn.reshape(STEPS, BATCH, *more)


def entropy(drawn):
    shares = np.bincount(drawn.flatten().numpy()) / drawn.numel()
    return -(shares * np.log(shares)).sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("loss", "answer", "kind", "times"),
    [
        (functional.cross_entropy, lambda s: s, "cross-entropy", 1),
        (lambda a, t: 3 * functional.cross_entropy(a, t, reduction="sum"), lambda s: s, "cross-entropy", 3 * BATCH),
        (functional.cross_entropy, lambda s: s.softmax(1), "squashed cross-entropy", 1),
        (functional.nll_loss, lambda s: s.log_softmax(1), "negative log-likelihood", 1),
        (lambda a, t: functional.nll_loss(a.log(), t), lambda s: s.softmax(1), "negative log-likelihood", 1),
    ],
)
def test_losses_over_classes(loss, answer, kind, times, seed):
    """A sum over the batch is so many times as large, and so is what guessing gets."""
    drawn = labels(seed)
    record = recorded(loss, drawn, answer, seed=seed)
    assert record.loss_kind == kind
    assert record.guessing_loss == pytest.approx(times * entropy(drawn), rel=0.01)


def test_classes_with_weights():
    """What is guessed is by the shares, and the best answer by the weights, too: about the same, not exactly."""
    drawn, weights = labels(), torch.tensor([1.0, 2, 3, 4])
    record = recorded(lambda a, t: functional.cross_entropy(a, t, weights), drawn)
    assert record.loss_kind == "cross-entropy"
    best = chance_loss(drawn.flatten(), lambda a, t: functional.cross_entropy(a.float(), t, weights))
    assert record.guessing_loss == pytest.approx(best, rel=0.2)


def test_classes_in_the_second_dimension_and_places_behind():
    drawn = labels(0, 5)
    record = recorded(functional.cross_entropy, drawn, lambda s: s.transpose(1, 2), shape=5)
    assert record.loss_kind == "cross-entropy"
    assert record.guessing_loss == pytest.approx(entropy(drawn), abs=0.01)


def test_targets_that_are_left_out_do_not_count():
    drawn = labels()
    drawn[:, ::3] = -100
    record = recorded(functional.cross_entropy, drawn)
    assert record.loss_kind == "cross-entropy"
    assert record.guessing_loss == pytest.approx(entropy(drawn[drawn >= 0]), abs=0.01)


def test_softened_labels_are_shares():
    drawn = labels()
    record = recorded(lambda a, t: functional.cross_entropy(a, t, label_smoothing=0.2), drawn)
    soft = 0.8 * torch.bincount(drawn.flatten()) / drawn.numel() + 0.05
    assert record.loss_kind == "cross-entropy"
    assert record.guessing_loss == pytest.approx(float(-(soft * soft.log()).sum()), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("loss", "answer", "kind"),
    [
        (functional.binary_cross_entropy_with_logits, lambda s: s, "binary cross-entropy"),
        (functional.binary_cross_entropy, lambda s: s.sigmoid(), "binary cross-entropy"),
        (functional.binary_cross_entropy_with_logits, lambda s: s.sigmoid(), "squashed binary cross-entropy"),
    ],
)
def test_losses_of_two_classes(loss, answer, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(STEPS, BATCH, 2, generator=generator) < torch.tensor([0.2, 0.6])).float()
    record = recorded(loss, targets, answer, columns=2, seed=seed)
    share = targets.mean((0, 1))
    assert record.loss_kind == kind
    expected = -(share * share.log() + (1 - share) * (1 - share).log()).mean()
    assert record.guessing_loss == pytest.approx(float(expected), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [1.0, 0.5, 40.0])
def test_a_squared_error_by_any_factor(factor, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(STEPS, BATCH, 4, generator=generator) * torch.tensor([1.0, 2, 5, 0.1]) + 3
    record = recorded(lambda a, t: factor * functional.mse_loss(a, t), targets, seed=seed)
    assert record.loss_kind == "squared error"
    expected = factor * targets.var((0, 1), correction=0).mean()
    assert record.guessing_loss == pytest.approx(float(expected), rel=0.02)


@pytest.mark.parametrize(
    "loss",
    [
        functional.l1_loss,
        functional.smooth_l1_loss,
        lambda a, t: functional.mse_loss(a[:, :1], t[:, 0]),  # broadcasts to (N, N)
        lambda a, t: -(a.log_softmax(1)[:, 0] * t[:, 0]).mean(),  # a policy's, with rewards of both signs
        lambda a, t: (a * t).mean(),
        lambda a, t: functional.mse_loss(a, t) + 3 * a.abs().mean() * t.std(),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_of_other_losses_nothing_is_claimed(loss):
    targets = torch.randn(STEPS, BATCH, 4, generator=torch.Generator().manual_seed(0)) + 1
    record = recorded(loss, targets)
    assert record.loss_kind == ""
    assert math.isnan(record.guessing_loss)


def test_a_game_of_two_networks_is_none_of_them():
    """Each pass has one target for all examples, so the best constant answer is no measure."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    judge = functional.binary_cross_entropy_with_logits
    with Recorder(model) as recorder:
        for _ in range(60):
            real, fake = model(torch.randn(32, 4) + 1), model(torch.randn(32, 4))
            loss = judge(real, torch.ones(32, 1)) + judge(fake, torch.zeros(32, 1))
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            optimizer.step()
    assert recorder.record.loss_kind == ""


# --- chance_loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_of_knowing_nothing_by_closed_forms(seed):
    drawn = labels(seed).flatten()
    assert chance_loss(drawn) == pytest.approx(entropy(drawn), rel=1e-6)
    assert chance_loss(drawn, functional.nll_loss) == pytest.approx(entropy(drawn), rel=1e-6)
    numbers = torch.randn(501, 3, generator=torch.Generator().manual_seed(seed)) * 7 + 2
    assert chance_loss(numbers, functional.mse_loss) == pytest.approx(float(numbers.var(0, correction=0).mean()), 1e-5)
    distance = (numbers - numbers.median(0).values).abs().mean()
    assert chance_loss(numbers, functional.l1_loss) == pytest.approx(float(distance), rel=1e-3)
    two = (torch.rand(900, 1, generator=torch.Generator().manual_seed(seed)) < 0.2).float()
    share = float(two.mean())
    expected = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    for loss in (functional.binary_cross_entropy, nn.BCELoss(), functional.binary_cross_entropy_with_logits):
        assert chance_loss(two, loss) == pytest.approx(expected, rel=1e-5)


def test_no_constant_answer_gets_less():
    numbers = torch.randn(400, generator=torch.Generator().manual_seed(0)).exp()
    best = chance_loss(numbers, functional.smooth_l1_loss)
    tried = [float(functional.smooth_l1_loss(torch.full_like(numbers, c), numbers)) for c in np.linspace(0, 5, 501)]
    assert best <= min(tried) + 1e-6
    assert best == pytest.approx(min(tried), rel=1e-3)


def test_classes_and_places():
    drawn = labels(0, 5)[0]
    assert chance_loss(drawn, classes=9) == pytest.approx(entropy(drawn), rel=1e-4)
