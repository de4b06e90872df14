"""Runs as other people have them: the right kind, no alarm on what works, and only sentences that are true."""

import functools
import importlib
import itertools
import json
import math
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gradclinic import Record, Recorder, diagnose
from gradclinic.diagnosis import KINDS
from tests.helpers import ROOT
from tests.helpers.sentences import check, told

FIELD = ROOT / "benchmarks" / "field"
SEED = 5  # in no table


@pytest.fixture(scope="module")
def cases():
    """The half of the bank that rules were set with; it is a script beside the package."""
    sys.path.insert(0, str(FIELD))
    try:
        module = importlib.import_module("case")
        for program in ("tables", "images", "recurrent", "generative", "metric", "text"):
            importlib.import_module(f"programs.{program}")
    finally:
        sys.path.remove(str(FIELD))
    return module


def watched(cases, name, variant):
    """(score, records) of one run."""
    case = cases.CASES[name]
    setup = cases.Setup(watcher=lambda model, _, falls: Recorder(model, loss_falls=falls), seed=SEED)
    return cases.trained(case, variant, setup), [recorder.record for recorder in setup.recorders]


# One of each kind that FIELD names, in both styles where the half has both; then runs that work and look ill.
BROKEN = [
    "tables.shapes_that_broadcast",
    "tables.softmax_twice",
    "tables.wine_as_measured",
    "tables.all_zeros",
    "tables.constant_column",
    "tables.schedule_per_batch",
    "images.sigmoid_twice",
    "images.sigmoid_for_normalised_pixels",
    "images.decay_of_a_half",
    "images.constant_weights",
    "images.zero_grad_per_epoch",
    "images.distance_of_an_image_to_itself",
    "images.adam_at_three_tenths",
    "images.relu_for_sigmoid",
    "recurrent.digits_two_pixels_at_a_time",
    "recurrent.weights_from_zero_to_one",
    "recurrent.cleared_once_an_epoch",
    "metric.norm_of_no_difference",
    "text.table_enlarged_afterwards",
    "text.word_picked_by_argmax",
    "text.state_after_the_padding",
]
WORKS = [
    "tables.two_at_a_time",
    "tables.eight_batches_a_step",
    "tables.density_above_one",
    "images.noisy_labels",
    "images.summed_over_pixels",
    "images.most_units_dead",
    "images.warm_up",
    "recurrent.half_noise",
    "generative.two_adversaries",
    "metric.byol_near_minus_one",
    "text.words_hard_to_foresee",
]


@pytest.mark.long
@pytest.mark.parametrize("name", BROKEN)
def test_a_reported_fault_is_named(cases, name):
    case = cases.CASES[name]
    score, records = watched(cases, name, "faulty")
    assert score < case.passes, "the fault does no harm with this seed"
    found = [diagnose(record) for record in records]
    assert any(verdict.kind in (case.kind, *case.also) for verdict in found), f"{case.kind}:\n{found[0]}"
    assert any(verdict.remedies for verdict in found)
    for record, verdict in zip(records, found, strict=True):
        check(record, verdict)


@pytest.mark.long
@pytest.mark.parametrize("name", WORKS)
def test_what_works_raises_no_alarm(cases, name):
    case = cases.CASES[name]
    score, records = watched(cases, name, "fixed")
    assert score >= case.passes
    for record in records:
        verdict = diagnose(record)
        assert not verdict.alarming, f"{case.cause}:\n{verdict}"
        check(record, verdict)


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_a_sentence_keeps_its_numbers_when_it_is_copied(cases):
    _, (record,) = watched(cases, "tables.softmax_twice", "faulty")
    verdict = diagnose(record)
    again = pickle.loads(pickle.dumps(verdict))
    assert again == verdict
    assert [e.numbers for e in again.evidence] == [e.numbers for e in verdict.evidence]
    assert json.loads(json.dumps(verdict.to_dict()))["findings"][0]["kind"] == verdict.kind


# --- modules or functions, each step or some -----------------------------------------------------------------


class Layers(nn.Module):
    """The same network with activation modules, or with functions."""

    def __init__(self, sizes, activation, functions, change=None):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.kinds = nn.ModuleList(activation() for _ in sizes[2:]) if not functions else None
        self.function = {nn.Tanh: torch.tanh, nn.Sigmoid: torch.sigmoid, nn.ReLU: torch.relu}[activation]
        if change is not None:
            with torch.no_grad():
                change(self.layers)

    def forward(self, x):
        for number, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            x = self.function(x) if self.kinds is None else self.kinds[number](x)
        return self.layers[-1](x)


def below_zero(layers):
    layers[1].bias.fill_(-30.0)


def all_one(layers):
    for layer in layers:
        layer.weight.fill_(0.05)
        layer.bias.zero_()


NETWORKS = {
    "healthy ReLU": ([64, 32, 32, 10], nn.ReLU, 1.0, 0.1, None),
    "healthy tanh": ([64, 32, 32, 10], nn.Tanh, 1.0, 0.1, None),
    "pixels into tanh": ([64, 32, 32, 10], nn.Tanh, 100.0, 3.0, None),
    "pixels into a sigmoid": ([64, 32, 32, 10], nn.Sigmoid, 100.0, 0.1, None),
    "dead from the start": ([64, 32, 32, 10], nn.ReLU, 1.0, 0.1, below_zero),
    "sigmoids in a row": ([64, *[24] * 12, 10], nn.Sigmoid, 1.0, 0.1, None),
    "a rate too high": ([64, 32, 32, 32, 10], nn.ReLU, 1.0, 100.0, None),
    "a rate too low": ([64, 32, 32, 10], nn.Tanh, 1.0, 1e-6, None),
    "all alike": ([64, 32, 32, 10], nn.Tanh, 1.0, 0.1, all_one),
    "tanh with a rate too high": ([64, 32, 32, 10], nn.Tanh, 1.0, 300.0, None),
}


def digits_run(name, functions, every=None):
    from sklearn.datasets import load_digits

    sizes, activation, scale, rate, change = NETWORKS[name]
    x, y = load_digits(return_X_y=True)
    x = torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32) * scale
    y = torch.tensor(y)
    torch.manual_seed(0)
    model = Layers(sizes, activation, functions, change)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    with Recorder(model, every=every) as recorder:
        for batch in torch.randint(len(x), (250, 64), generator=torch.Generator().manual_seed(0)):
            loss = functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            optimizer.step()
    return recorder.record


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_modules_or_functions_each_step_or_some_the_verdict_is_one(name):
    ways = list(itertools.product((False, True), (None, 1)))
    verdicts = {(functions, every): diagnose(digits_run(name, functions, every)) for functions, every in ways}
    kinds = {key: verdict.kind for key, verdict in verdicts.items()}
    assert len(set(kinds.values())) == 1, kinds
    assert (kinds[False, None] == "healthy") == name.startswith("healthy"), verdicts[False, None]
    assert kinds[False, None] != "undecided"


# --- odd records -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record():
    return digits_run("healthy ReLU", functions=True)


def cut(record, rows):
    arrays = {name: value[rows] for name, value in vars(record).items() if isinstance(value, np.ndarray)}
    arrays["told_step"], arrays["told_loss"] = record.told_step, record.told_loss
    return replace(record, **arrays)


def test_numbers_that_are_all_unknown(record):
    for but in ((), ("told_loss", "loss"), ("gradient_norm",)):
        nothing = {
            name: np.full_like(value, math.nan)
            for name, value in vars(record).items()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in but
        }
        verdict = diagnose(replace(record, **nothing, guessing_loss=math.nan))
        assert verdict.kind in KINDS
        assert not verdict.healthy


def test_one_row_and_no_row(record):
    for rows in (slice(0, 1), slice(0, 0)):
        assert diagnose(cut(record, rows)).kind in KINDS


def test_a_hundred_thousand_rows(record):
    many = np.arange(100_000) % len(record.step)
    arrays = {
        name: value[many]
        for name, value in vars(record).items()
        if isinstance(value, np.ndarray) and not name.startswith("told_")
    }
    long = replace(record, **arrays | {"step": np.arange(1, 100_001)}, last_step=100_000)
    assert diagnose(long).kind == "healthy"


def test_a_record_of_an_earlier_version_is_judged():
    old = Record.load(ROOT / "tests" / "tool" / "earlier-format.npz")
    assert diagnose(old).kind in KINDS


# --- one by one: what went wrong outside, and no longer does --------------------------------------------------


def train(model, steps=120, *, loss=functional.cross_entropy, optimizer=None, data=None, before=None, **options):
    """A plain loop on a task that can be learnt; ``before`` is called with the number of each step."""
    torch.manual_seed(0)
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)
    generator = torch.Generator().manual_seed(0)
    with Recorder(model, **options) as recorder:
        for number in range(1, steps + 1):
            x = torch.randn(32, 8, generator=generator)
            y = (x[:, :3]).argmax(1)
            if before is not None:
                before(number)
            if data is not None:
                x, y = data(number, x, y)
            value = loss(model(x), y)
            optimizer.zero_grad()
            value.backward()
            recorder.log_loss(value)
            optimizer.step()
    return recorder


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 3))


def test_1_only_the_first_loss_is_untouched_by_updates():
    """A loss that leaps in the second step and comes back to guessing has learnt nothing."""
    model = small()
    record = train(model, optimizer=torch.optim.Adam(model.parameters(), 3.0)).record
    assert not diagnose(replace(record, guessing_loss=math.nan, loss_kind="")).healthy


def test_2_a_fall_to_the_mean_is_no_learning():
    model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 1))

    def data(number, x, y):
        return x, 20 + torch.randn(32, 1, generator=torch.Generator().manual_seed(number))

    verdict = diagnose(train(model, 300, loss=functional.l1_loss, data=data).record)
    assert not verdict.healthy


def test_3_a_slow_fall_is_not_called_no_learning(record):
    slow = 2.3 - 0.4 * np.arange(400) / 400 + 0.01 * np.random.default_rng(0).standard_normal(400)
    crawling = replace(record, told_step=np.arange(1, 401), told_loss=slow, loss_kind="", guessing_loss=math.nan)
    verdict = diagnose(crawling)
    assert not verdict.alarming
    assert "does not learn" not in str(verdict)


def test_4_a_gradient_that_is_zero_everywhere_is_said():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(1))
    verdict = diagnose(
        train(model, loss=functional.binary_cross_entropy, data=lambda n, x, y: (x, (y > 0).float()[:, None])).record
    )
    assert verdict.kind == "no gradient"
    assert "ordinary" not in str(verdict)


def test_5_a_nan_without_growth_is_no_overflow():
    def loss(answers, y):
        return functional.cross_entropy(answers, y) + 0 * torch.sqrt(answers[:, 0] * 0).sum()

    verdict = diagnose(train(small(), loss=loss).record)
    assert verdict.kind == "not finite"
    assert verdict.remedies[0].name == "guard the operation"


def test_6_a_nan_behind_the_last_row_is_known_to_the_step():
    def data(number, x, y):
        return (x * math.nan if number == 111 else x), y

    record = train(small(), 112, data=data).record
    assert record.first_nonfinite == (111, "the input", "input")
    assert diagnose(record).kind == "not finite"
    assert diagnose(record).remedies[0].name == "data"


def test_7_recent_are_the_last_steps_not_the_last_rows(record):
    losses = np.r_[np.full(200, 2.3), np.full(50, 0.1)]
    sudden = replace(record, told_step=np.arange(1, 251), told_loss=losses)
    assert diagnose(sudden).healthy


def test_8_a_rate_that_grows_too_high_later_is_seen():
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def warm_up(number):
        optimizer.param_groups[0]["lr"] = 1e-3 * 1.1 ** max(0, number - 40)

    verdict = diagnose(train(model, 160, optimizer=optimizer, before=warm_up).record)
    assert verdict.kind in ("learning rate too high", "diverging")


def test_9_weights_that_shrink_do_not_make_the_rate_too_high():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1.0)
    verdict = diagnose(train(model, 200, optimizer=optimizer).record)
    assert verdict.kind == "weight decay too strong"


def test_10_an_exact_zero_in_the_first_step_is_no_evidence():
    class Adapter(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.base = nn.Linear(8, 3).requires_grad_(False)
            self.down, self.up = nn.Linear(8, 4, bias=False), nn.Linear(4, 3, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x):
            return self.base(x) + self.up(self.down(x))

    model = Adapter()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    assert not diagnose(train(model, 60, optimizer=optimizer).record).alarming


def test_11_the_sigmoid_of_the_answer_is_not_to_be_replaced():
    model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 1), nn.Sigmoid())
    optimizer = torch.optim.SGD(model.parameters(), 1e-7)
    verdict = diagnose(
        train(model, loss=functional.mse_loss, optimizer=optimizer, data=lambda n, x, y: (x, 9.0 * y[:, None])).record
    )
    assert not any("Replace the sigmoid" in remedy.advice for remedy in verdict.remedies)


def test_12_functions_show_in_what_enters_the_layers():
    record = digits_run("pixels into tanh", functions=True)
    assert record.activations == ()
    assert (record.entering_ends[0, 1:] > 0.9).any()


def test_13_the_optimiser_is_asked():
    model = small()
    groups = [{"params": model[0].parameters(), "lr": 0.2, "weight_decay": 0.01}, {"params": model[2].parameters()}]
    record = train(model, 5, optimizer=torch.optim.SGD(groups, 0.1, momentum=0.9)).record
    np.testing.assert_array_equal(record.learning_rate, [[0.2, 0.1]] * 5)
    np.testing.assert_array_equal(record.weight_decay, [[0.01, 0.0]] * 5)
    np.testing.assert_array_equal(record.momentum, [[0.9, 0.9]] * 5)
    held = train(small(), 5, optimizer=torch.optim.AdamW(model.parameters(), 1e-2)).record
    assert len(held.step) == 0, "an optimiser of another model"


def test_14_the_input_and_the_answer_are_looked_at():
    record = train(small(), 40, data=lambda n, x, y: (x * 146, y)).record
    assert record.input_rms == pytest.approx(146, rel=0.1)
    assert np.isfinite(record.answer_spread).all()


def test_an_optimiser_of_a_copy_trains_nothing():
    model, other = small(), small()
    verdict = diagnose(train(model, 40, optimizer=torch.optim.SGD(other.parameters(), 0.1)).record)
    assert verdict.kind == "not trained"


def test_accumulation_on_purpose_is_no_fault_and_forgetting_to_clear_is():
    for forgets in (False, True):
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), 0.02)
        with Recorder(model) as recorder:
            for number in range(160):
                x = torch.randn(8, 8)
                loss = functional.cross_entropy(model(x), x[:, :3].argmax(1))
                loss.backward()
                recorder.log_loss(loss)
                if number % 4 == 3:
                    optimizer.step()
                    if not forgets:
                        optimizer.zero_grad()
        assert recorder.record.uncleared[1:].all() == forgets


@pytest.mark.parametrize("none", [True, False])
def test_a_parameter_behind_the_last_layer_is_no_old_gradient(none):
    """Its gradient is there before any hook on a layer hears of the backward pass."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.scale, self.shift = small(), nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return self.body(x) * self.scale + self.shift

    model = Scaled()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.zero_grad = functools.partial(optimizer.zero_grad, set_to_none=none)
    record = train(model, 60, optimizer=optimizer).record
    assert not record.uncleared.any()


def test_an_optimiser_of_such_parameters_alone_clears_them_too():
    """All that it holds is there anew when the first hook hears of the pass: only the tensors tell."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.scale = small(), nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.body(x)

    model = Scaled()
    optimizers = [torch.optim.SGD(model.body.parameters(), 0.1), torch.optim.SGD([model.scale], 0.1)]
    with Recorder(model) as recorder:
        for _ in range(60):
            x = torch.randn(16, 8)
            loss = functional.cross_entropy(model(x) * model.scale, x[:, :3].argmax(1))
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            for optimizer in optimizers:
                optimizer.step()
    assert not recorder.record.uncleared.any()


def test_a_table_of_the_models_own_has_no_units_that_could_be_alike():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.table = small(), nn.Parameter(torch.zeros(32, 3))

        def forward(self, x):
            return self.body(x) + 0 * self.table

    record = train(Table(), 40).record
    assert not record.alike.any()


def test_what_is_learnt_in_part_is_not_called_healthy():
    """More than guessing, and far from what can be learnt: nobody knows which from a record."""
    model = small()
    record = train(model, 60, optimizer=torch.optim.SGD(model.parameters(), 0.1)).record
    verdict = diagnose(record)
    assert 0.3 < told(record)[1] / record.guessing_loss < 0.8
    assert verdict.kind == "undecided"
    assert "It learns" in verdict.evidence[0]


def test_a_loss_that_need_not_fall_raises_no_alarm_by_not_falling():
    model = small()
    record = train(model, optimizer=torch.optim.SGD(model.parameters(), 1e-9), loss_falls=False).record
    assert not diagnose(record).alarming
    assert diagnose(replace(record, loss_falls=True)).alarming
