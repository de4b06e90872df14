"""What a stranger's programs refuted in verdicts and in their sentences: the smallest of each, rebuilt."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradclinic import Record, Recorder, diagnose
from tests.helpers.sentences import check

STEPS = 150


def batches(steps=STEPS):
    """A task that a small network learns: which of the first three of eight numbers is the largest."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        x = torch.randn(32, 8, generator=generator)
        yield x, x[:, :3].argmax(1)


def small(*behind: nn.Module, outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), *behind, nn.Linear(24, outputs))


def trained(model, optimizer, loss=functional.cross_entropy, before=None, data=batches) -> Record:
    with Recorder(model) as recorder:
        for number, (x, y) in enumerate(data()):
            if before is not None:
                before(number)
            value = loss(model(x), y)
            optimizer.zero_grad()
            value.backward()
            recorder.log_loss(value)
            optimizer.step()
    check(recorder.record, diagnose(recorder.record))
    return recorder.record


# --- what works with another layer's parameters -------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.middle = nn.Embedding(12, 16), nn.Linear(16, 16)
        self.decoder = nn.Linear(16, 12, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.middle(self.embedding(x))))


def next_letters():
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        x = torch.randint(12, (32,), generator=generator)
        yield x, (5 * x + 1) % 12


@pytest.mark.parametrize(("rate", "kind"), [(1e-7, "learning rate too low"), (1e-2, "healthy")])
def test_a_tied_decoder_is_not_said_to_have_no_gradient(rate, kind):
    model = Tied()
    verdict = diagnose(trained(model, torch.optim.Adam(model.parameters(), rate), data=next_letters))
    assert verdict.kind == kind
    assert "no gradient" not in str(verdict)


# --- nothing moves ---------------------------------------------------------------------------------------------------


def test_a_learning_rate_of_zero_is_named():
    model = small()
    verdict = diagnose(trained(model, torch.optim.SGD(model.parameters(), 0.0)))
    assert verdict.kind == "learning rate too low"
    assert "the learning rate is 0" in verdict.evidence[0]
    assert "schedule" in verdict.remedies[0].advice


def test_a_rate_that_is_zero_for_a_warm_up_only_is_none_of_it():
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), 0.0)

    def warm(number):
        optimizer.param_groups[0]["lr"] = 0.01 * min(1, number / 20)

    assert diagnose(trained(model, optimizer, before=warm)).kind != "learning rate too low"


@pytest.mark.parametrize("layers", [1, 3])
def test_a_backbone_that_is_frozen_and_was_never_trained_is_named(layers):
    torch.manual_seed(0)
    deep = nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(8, 8), nn.Sigmoid())))
    model = nn.Sequential(deep.requires_grad_(False), nn.Linear(8, 3))
    verdict = diagnose(trained(model, torch.optim.SGD(model.parameters(), 1e-3)))
    assert not verdict.healthy
    if verdict.kind == "not trained":
        assert verdict.remedies[0].name == "thaw"
        assert set(verdict.layers) == {name for name, _ in model.named_modules() if name.startswith("0.")} - {
            f"0.{2 * layer + 1}" for layer in range(layers)
        }
    thawed = nn.Sequential(deep.requires_grad_(True), nn.Linear(8, 3))
    assert diagnose(trained(thawed, torch.optim.Adam(thawed.parameters(), 0.01))).kind != "not trained"


# --- the loss of the best constant answer, where answers are sure --------------------------------------------------


def sure(size: float) -> Record:
    """Answers that are ``size`` times too large, so that many are exactly right or wrong."""
    model = small()
    with torch.no_grad():
        model[-1].weight.mul_(size)
        model[-1].bias.mul_(size)
    return trained(model, torch.optim.SGD(model.parameters(), 1e-12))


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_sure_answers_do_not_bend_the_loss_of_knowing_nothing(size):
    labels = torch.cat([y for _, y in batches()])
    shares = torch.bincount(labels).double() / len(labels)
    truth = float(-(shares * shares.log()).sum())
    found = sure(size).guessing_loss
    assert math.isnan(found) or found == pytest.approx(truth, rel=0.03), "unknown, or right"


def test_probabilities_of_exactly_one_do_not_bend_it_either():
    def loss(answers: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy(answers[:, 0], (y > 0).float())

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 1), nn.Softmax(1))
    record = trained(model, torch.optim.SGD(model.parameters(), 0.1), loss)
    share = float(torch.cat([y > 0 for _, y in batches()]).double().mean())
    truth = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert record.guessing_loss == pytest.approx(truth, rel=0.03)


# --- signs -----------------------------------------------------------------------------------------------------------


def test_a_loss_that_falls_without_end_is_told_by_its_sign():
    model = small()
    record = trained(model, torch.optim.SGD(model.parameters(), 1.0), lambda a, y: -functional.cross_entropy(a, y) * 10)
    verdict = diagnose(record)
    assert verdict.alarming
    assert "had grown to" not in str(verdict), "it fell"
    assert verdict.remedies[0].name == "sign"


def test_a_loss_that_is_climbed_is_told_by_its_sign():
    model = small()
    record = trained(model, torch.optim.Adam(model.parameters(), 3e-3, maximize=True))
    verdict = diagnose(record)
    assert verdict.kind == "diverging"
    assert verdict.remedies[0].name == "sign"
    assert "had been lower" not in str(verdict)


def test_a_density_whose_likelihood_rises_is_no_wrong_sign():
    def loss(answers: Tensor, y: Tensor) -> Tensor:
        spread = answers[:, 1].clamp(min=-3)
        return (spread + 0.5 * ((answers[:, 0] - 0.01 * y) / spread.exp()) ** 2).mean()

    model = small(outputs=2)
    verdict = diagnose(trained(model, torch.optim.Adam(model.parameters(), 3e-3), loss))
    assert not verdict.alarming


# --- not finite ------------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cells, self.last = nn.RNN(8, 32, nonlinearity="relu", batch_first=True), nn.Linear(32, 3)
        with torch.no_grad():
            self.cells.weight_hh_l0.mul_(15)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.cells(x[:, None].expand(-1, 12, -1))[0][:, -1])


def test_numbers_that_were_huge_in_the_first_step_had_grown():
    model = Recurrent()
    verdict = diagnose(trained(model, torch.optim.SGD(model.parameters(), 0.01)))
    assert verdict.kind == "exploding"
    assert "Nothing had grown" not in str(verdict)


def test_in_half_precision_adam_s_epsilon_is_named():
    model = small().half()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def loss(answers: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(answers.float(), y)

    def half():
        return ((x.half(), y) for x, y in batches())

    verdict = diagnose(trained(model, optimizer, loss, data=half))
    assert verdict.kind == "not finite"
    assert "loss and gradients were not" in verdict.evidence[0]
    assert "eps" in verdict.remedies[0].advice
    model = small().half()
    mended = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-4)
    assert not diagnose(trained(model, mended, loss, data=half)).alarming


# --- what cuts, and what empties -------------------------------------------------------------------------------------


class Rounded(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(8, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.sigmoid(self.first(x)).round())


def test_what_rounding_cuts_off_comes_before_what_looks_saturated():
    model = Rounded()
    verdict = diagnose(trained(model, torch.optim.SGD(model.parameters(), 1e-3)))
    assert verdict.kind == "no gradient"
    assert verdict.layers == ("first",)
    assert "rounding" in verdict.remedies[0].advice


def test_units_that_dropout_puts_to_zero_are_not_called_dead():
    model = small(nn.Dropout(0.99))
    verdict = diagnose(trained(model, torch.optim.Adam(model.parameters(), 0.01)))
    assert not verdict.healthy
    assert "dying ReLU" not in str(verdict)


def test_examples_that_are_alike_from_the_start_are_not_blamed_on_the_pairs_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 3), nn.LayerNorm(1))

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.norm = model[:3], nn.LayerNorm(1)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.inner(x)[..., None])[..., 0]

    normed = Normed()
    verdict = diagnose(trained(normed, torch.optim.Adam(normed.parameters(), 0.01)))
    assert verdict.kind in ("collapsed", "no gradient")
    if verdict.kind == "collapsed":
        assert verdict.remedies[0].name == "compare two examples"


def test_little_is_not_called_nothing():
    def weak():
        generator = torch.Generator().manual_seed(0)
        for _ in range(600):
            x = torch.randn(256, 8, generator=generator)
            yield x, 0.45 * x[:, :1] + torch.randn(256, 1, generator=generator)

    model = small(outputs=1)
    record = trained(model, torch.optim.Adam(model.parameters(), 1e-3), functional.mse_loss, data=weak)
    assert 0.8 < np.median(record.told_loss[-60:]) / record.guessing_loss < 0.95
    assert "does not learn" not in str(diagnose(record))
