"""The training loop does what a hand-written one does, and nothing else."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course.data import Dataset, adding_problem, digits
from gradclinic.course.models import MLP, RecurrentClassifier
from gradclinic.course.training import accuracy, chance_loss, descend, fit
from gradclinic.recorder import Recorder
from tests.helpers.hooks import hooks_of


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture
def few(data):
    return Dataset(data.x_train[:150], data.y_train[:150], data.x_test[:40], data.y_test[:40])


def train(data, *, seed=0, epochs=2, lr=0.1, model=None, **kwargs):
    model = model or MLP(2, 16, "tanh", "xavier", seed=1)
    history = fit(model, data, torch.optim.SGD(model.parameters(), lr=lr), epochs, seed=seed, progress=False, **kwargs)
    return model, history


@pytest.mark.parametrize("depth", [1, 2])
def test_a_shallow_sigmoid_network_learns_the_digits(data, depth):
    model = MLP(depth, 64, "sigmoid", "xavier", seed=0)
    history = fit(model, data, torch.optim.Adam(model.parameters(), lr=3e-3), 20, progress=False)
    final = history.test_accuracy[-1]
    assert final > 0.9, f"{depth} hidden layers should pass 0.9 on the held-back digits, got {final:.3f}"


def test_the_run_is_that_of_a_loop_written_by_hand(few):
    model = MLP(2, 16, "tanh", "xavier", seed=1)
    byhand = copy.deepcopy(model)
    _, history = train(few, model=model, seed=7, batch_size=64)
    order, losses = torch.Generator().manual_seed(7), []
    for _ in range(2):
        rows = torch.randperm(150, generator=order)
        for start in range(0, 150, 64):
            x, y = few.x_train[rows[start : start + 64]], few.y_train[rows[start : start + 64]]
            loss = cross_entropy(byhand(x), y)
            gradients = torch.autograd.grad(loss, list(byhand.parameters()))
            with torch.no_grad():
                for p, g in zip(byhand.parameters(), gradients, strict=True):
                    p.sub_(0.1 * g)
            losses.append(loss.item())
    assert history.loss == pytest.approx(losses, rel=1e-6), "the losses differ from those of the hand-written loop"
    for (name, p), q in zip(model.named_parameters(), byhand.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6), f"{name} ended elsewhere than in the hand-written loop"


def test_the_history_has_one_loss_a_step_and_one_accuracy_an_epoch(few):
    model, history = train(few, epochs=3, batch_size=64)
    assert len(history.loss) == 9, "150 examples in batches of 64 are 3 steps an epoch, the last one smaller"
    assert len(history.train_accuracy) == len(history.test_accuracy) == 3, "one accuracy an epoch"
    right = (model(few.x_test).argmax(1) == few.y_test).sum().item() / 40
    assert history.test_accuracy[-1] == pytest.approx(right), "the last accuracy is that of the trained model"
    right = (model(few.x_train).argmax(1) == few.y_train).sum().item() / 150
    assert history.train_accuracy[-1] == pytest.approx(right), "train accuracy is over the training examples"


def test_the_same_seed_is_the_same_run_and_another_is_not(few):
    (model, first), (twin, again), (_, other) = (train(few, seed=seed) for seed in (3, 3, 4))
    assert first.loss == again.loss, "the same seed must give the same losses, bit for bit"
    assert first.loss != other.loss, "another seed must shuffle otherwise"
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q), f"{name} of two runs with one seed differ"


def test_the_order_of_examples_does_not_touch_the_global_generator(few):
    before = torch.get_rng_state()
    train(few)
    assert torch.equal(torch.get_rng_state(), before), "shuffling drew from torch's global generator"


def test_accuracy_leaves_the_model_in_its_mode_and_draws_nothing(few):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 10))
    before = torch.get_rng_state()
    for mode in (True, False):
        model.train(mode)
        accuracy(model, few.x_test, few.y_test)
        assert model.training is mode, "accuracy must give the mode back"
        assert model[0].training is mode, "accuracy must give the mode back"
    assert torch.equal(torch.get_rng_state(), before), "dropout was on while accuracy was measured"


def test_accuracy_counts_right_answers():
    scores, truth = torch.eye(10)[[0, 1, 2, 3]], torch.tensor([0, 1, 2, 9])
    assert accuracy(nn.Identity(), scores, truth) == 0.75, "three of four answers are right"


def test_dropout_is_on_while_training_and_off_while_judging(few):
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return x

    model = nn.Sequential(Spy(), nn.Linear(64, 10)).eval()
    train(few, model=model, epochs=1, batch_size=150)
    assert seen == [(True, True), (False, False), (False, False)], f"(training, gradients) at each pass were {seen}"
    assert model.training, "the model is left in training mode"


def test_training_goes_on_through_a_loss_that_is_not_finite(few):
    model = MLP(4, 16, "linear", 50.0, seed=0)
    _, history = train(few, model=model, lr=1e6, epochs=3)
    assert len(history.loss) == 9, "a NaN must not end the training"
    assert not math.isfinite(history.loss[-1]), "this run was built to explode"


def test_the_recorder_is_entered_for_the_training_only(few):
    model = MLP(2, 16, seed=1)
    recorder = Recorder(model, every=1)
    _, history = train(few, model=model, recorder=recorder)
    assert len(recorder.record.step) == len(history.loss), "one recorded row a step"
    assert hooks_of(model) == 0, "and no hook afterwards"


def test_progress_can_be_silenced(few, capsys):
    train(few)
    out, err = capsys.readouterr()
    assert (out, err) == ("", ""), "progress=False must print nothing"
    model = MLP(1, 4, seed=0)
    fit(model, few, torch.optim.SGD(model.parameters(), lr=0.1), 1)
    assert "training" in capsys.readouterr().err, "and by default there is a bar"


def test_descent_is_the_recursion_on_paper():
    rate, curvatures, start = 0.3, [4.0, 0.5], [1.0, -2.0]
    path = descend(rate, curvatures, start, 25)
    assert path.shape == (26, 2), "every position, the start included"
    assert path.dtype == torch.float64, "every position, the start included"
    for axis, (c, x0) in enumerate(zip(curvatures, start, strict=True)):
        expected = x0 * (1 - rate * c) ** torch.arange(26, dtype=torch.float64)
        assert torch.allclose(path[:, axis], expected, rtol=1e-12, atol=0), f"axis {axis} leaves x0 (1 - lr c)^t"


def test_a_gradient_above_one_may_converge_and_one_far_below_may_diverge():
    """The counterexample to "gradients greater than 1 make weights explode": the criterion is lr times curvature."""
    huge = descend(0.1, [1.0], [1000.0], 300)  # gradient 1000 at the start
    assert huge[-1].abs() < 1e-9, "a gradient of 1000 on a flat bowl converges"
    tiny = descend(0.1, [21.0], [1e-3 / 21], 300)  # gradient 1e-3 at the start
    assert tiny[-1].abs() > 1e3, "a gradient of 1e-3 with lr * curvature above 2 diverges"


@pytest.mark.parametrize("how", ["clip_norm", "clip_value"])
def test_clipping_bounds_what_the_optimiser_sees_and_a_wide_bound_changes_nothing(few, how):
    start = MLP(2, 16, "tanh", "xavier", seed=1)
    free, _ = train(few, epochs=1, model=copy.deepcopy(start))
    wide, _ = train(few, epochs=1, model=copy.deepcopy(start), **{how: 1e6})
    for a, b in zip(free.parameters(), wide.parameters(), strict=True):
        assert torch.equal(a, b), "a bound that is never reached must leave the run as it is"
    model, bound = copy.deepcopy(start), 1e-3
    steps = []

    def look(optimizer, args, kwargs):
        steps.append(torch.cat([p.grad.flatten() for p in model.parameters()]))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(look)
    fit(model, few, optimizer, 1, progress=False, **{how: bound})
    reached = [(g.norm() if how == "clip_norm" else g.abs().max()).item() for g in steps]
    assert max(reached) <= bound * (1 + 1e-5), f"{how}={bound} let {max(reached)} through"
    assert max(reached) > 0.99 * bound, f"{how}={bound} let {max(reached)} through"


def test_numbers_are_trained_in_the_mean_square():
    held = adding_problem(4, 256, seed=0)
    model = RecurrentClassifier("gru", 16, in_features=2, out_features=1, seed=0)
    with torch.no_grad():
        first = (model(held.x_test) - held.y_test).square().mean().item()
    recorder = Recorder(model, every=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = fit(model, held, optimizer, 15, progress=False, recorder=recorder)
    with torch.no_grad():
        last = (model(held.x_test) - held.y_test).square().mean().item()
    assert last < first / 3
    assert history.test_loss[-1] == pytest.approx(last)
    assert history.train_accuracy == history.test_accuracy == [], "numbers are never simply right or wrong"
    assert recorder.record.chance_loss == pytest.approx(np.var(held.y_train.numpy()), rel=1e-5)


def test_the_loss_of_chance_is_that_of_the_best_constant_answer(data):
    labels = data.y_train
    answer = torch.zeros(10, requires_grad=True)
    best = torch.optim.LBFGS([answer], max_iter=100)

    def loss():
        best.zero_grad()
        value = cross_entropy(answer.expand(len(labels), 10), labels)
        value.backward()
        return value

    best.step(loss)
    assert chance_loss(labels) == pytest.approx(loss().item(), abs=1e-5)
    assert chance_loss(torch.zeros(5, dtype=torch.int64)) == 0, "one class only leaves nothing to learn"
