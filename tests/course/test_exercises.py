"""Each exercise, without its notebook: right is right, each usual mistake is named, nothing else passes."""

import json
import statistics
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy

from gradclinic import Recorder, diagnose
from gradclinic.course import audit, theory
from gradclinic.course.data import digits
from gradclinic.course.exercises import Exercise, Lab, Mistake, labs
from gradclinic.course.exercises import clipping as ninth
from gradclinic.course.exercises import exploding as third
from gradclinic.course.exercises import gradient_descent as first
from gradclinic.course.exercises import identification as fourth
from gradclinic.course.exercises import normalization as sixth
from gradclinic.course.exercises import recurrence as eighth
from gradclinic.course.exercises import rescue as tenth
from gradclinic.course.exercises import starts as fifth
from gradclinic.course.exercises import vanishing as second
from gradclinic.course.models import MLP
from gradclinic.course.training import accuracy, fit
from gradclinic.recorder import probe

LABS = labs()
EXERCISES = [exercise for lab in LABS for exercise in lab.exercises]
SEEDS = range(20)

every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)


def test_ids_points_claims_and_levels_are_in_order():
    ids = [exercise.id for exercise in EXERCISES]
    assert len(set(ids)) == len(ids)
    for lab in LABS:
        number = lab.name.split("-")[0].lstrip("0")
        assert [e.id.split("-")[0] for e in lab.exercises] == [f"{number}.{i + 1}" for i in range(len(lab.exercises))]
        assert 3 <= len(lab.exercises) <= 4
    for exercise in EXERCISES:
        assert exercise.points > 0
        assert set(exercise.claims) <= set(audit.claims())
        assert exercise.claims
        assert exercise.level in ("warm-up", "core", "stretch")
        assert len(exercise.mistakes) >= 3
        hints = [mistake.hint for mistake in exercise.mistakes]
        assert len(set(hints)) == len(hints)
        assert all(hints)
    for lab in LABS:
        for number, essay in enumerate(lab.essays, len(lab.exercises) + 1):
            assert essay.id.split("-")[0] == f"{lab.name.split('-')[0].lstrip('0')}.{number}"
            assert set(essay.claims) <= set(audit.claims())
            assert essay.claims
            assert essay.level in ("warm-up", "core", "stretch")
            assert len(essay.rubric) >= 3
            assert essay.points == sum(c.points for c in essay.rubric)
            assert all(c.name and c.full and c.half and c.points > 0 for c in essay.rubric)


@every_exercise
@pytest.mark.parametrize("seed", SEEDS)
def test_right_is_right_and_each_mistake_is_named(exercise, seed):
    assert exercise.attempt(exercise.reference, seed).status == "right"
    for mistake in exercise.mistakes:
        verdict = exercise.attempt(mistake.function, seed)
        assert (verdict.status, verdict.mistake, verdict.message) == ("wrong", mistake.name, mistake.hint)


@every_exercise
def test_other_wrong_answers_get_a_message_that_says_what_is_wrong(exercise):
    def raises(*_):
        raise KeyError("a slip")

    tries = {
        "returned None": lambda *_: None,
        "Numbers were expected": lambda *_: "seven",
        "KeyError": raises,
        "positional argument": lambda: 1,
        "shape": lambda *_: torch.zeros(7, 7, 7),
    }
    for words, function in tries.items():
        verdict = exercise.attempt(function)
        assert verdict.status == "wrong"
        assert verdict.mistake is None
        assert words in verdict.message
    expected = exercise.answers(exercise.reference, 0)
    spoiled = [[torch.as_tensor(part) * float("nan") for part in _parts(answer)] for answer in expected]
    spoiled = [s if isinstance(e, list) else s[0] for s, e in zip(spoiled, expected, strict=True)]
    assert "not a finite number" in exercise.judge(spoiled, 0).message
    assert "answers were asked for" in exercise.judge(expected[:-1], 0).message


def _parts(answer):
    return answer if isinstance(answer, list) else [answer]


def test_equal_infinities_are_not_what_is_reported_as_wrong():
    exercise = replace(EXERCISES[0], cases=lambda seed: [()], reference=lambda: [float("inf"), 2.0], mistakes=())
    assert exercise.judge([[float("inf"), 2.0]], 0).status == "right"
    assert "gives 3 where 2 is right" in exercise.judge([[float("inf"), 3.0]], 0).message
    assert "gives nan where inf is right" in exercise.judge([[float("nan"), 2.0]], 0).message


@every_exercise
def test_blank_is_not_wrong(exercise):
    def blank(*_):
        raise NotImplementedError()

    assert exercise.attempt(blank).status == "blank"


@every_exercise
def test_a_function_that_writes_into_its_arguments_changes_no_case(exercise):
    kept = exercise.cases(3)

    def vandal(*arguments):
        for argument in arguments:
            for tensor in argument.parameters() if isinstance(argument, torch.nn.Module) else [argument]:
                if isinstance(tensor, torch.Tensor):
                    tensor.detach().zero_()

    replace(exercise, cases=lambda seed: kept).answers(vandal, 3)
    assert exercise.judge([exercise.reference(*case) for case in kept], 3).status == "right"


ELSEWHERE = """
import json, sys
import torch
from gradclinic.course.exercises import labs

seed = int(sys.argv[1])
plain = lambda a: a.tolist() if hasattr(a, "tolist") else [plain(p) for p in a] if isinstance(a, list) else a
print(json.dumps({
    exercise.id: [
        [plain(answer) for answer in exercise.answers(function, seed)]
        for function in (exercise.reference, *(mistake.function for mistake in exercise.mistakes))
    ]
    for lab in labs() for exercise in lab.exercises
}))
"""


def test_numbers_from_another_process_on_a_fresh_seed_are_judged_alike():
    seed = int(torch.randint(1000, 2**31, ()))
    result = subprocess.run([sys.executable, "-c", ELSEWHERE, str(seed)], capture_output=True, text=True, check=True)
    answers = json.loads(result.stdout)
    assert set(answers) == {exercise.id for exercise in EXERCISES}
    for exercise in EXERCISES:
        right, *wrong = answers[exercise.id]
        assert exercise.judge(right, seed).status == "right", (exercise.id, seed)
        names = [exercise.judge(numbers, seed).mistake for numbers in wrong]
        assert names == [mistake.name for mistake in exercise.mistakes], (exercise.id, seed)


# --- the references, against something else --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_step_is_a_step_downhill(seed):
    for weight, gradient, learning_rate in first.STEP.cases(seed):
        stepped = first.STEP.reference(weight.clone(), gradient, learning_rate).double()
        assert torch.allclose(stepped, weight.double() - learning_rate * gradient.double(), atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_largest_step_is_where_descent_begins_to_diverge(seed):
    for (hessian,) in first.LARGEST_STEP.cases(seed):
        limit = first.LARGEST_STEP.reference(hessian)
        for factor, shrinks in ((0.98, True), (1.02, False)):
            position = torch.ones(len(hessian), dtype=torch.float64)
            start = position.norm()
            for _ in range(2000):
                position = position - factor * limit * hessian @ position
            assert (position.norm() < start) == shrinks


@pytest.mark.parametrize("seed", SEEDS)
def test_backpropagation_agrees_with_finite_differences(seed):
    def loss(x, y, w1, w2):
        return ((torch.tanh(x @ w1.T) @ w2.T - y) ** 2).sum(1).mean() / 2

    for x, y, w1, w2 in first.BACKPROPAGATE.cases(seed):
        gradients = first.BACKPROPAGATE.reference(x, y, w1.clone(), w2.clone())
        for which, gradient in enumerate(gradients):
            nudge = [torch.zeros_like(w1), torch.zeros_like(w2)]
            nudge[which][0, 1] = 1e-6
            up = loss(x, y, w1 + nudge[0], w2 + nudge[1])
            down = loss(x, y, w1 - nudge[0], w2 - nudge[1])
            assert ((up - down) / 2e-6).item() == pytest.approx(gradient[0, 1].item(), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_steepest_slope_agrees_with_finite_differences(seed):
    z = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    for (phi,) in second.STEEPEST.cases(seed):
        differences = (phi(z + 1e-6) - phi(z - 1e-6)) / 2e-6
        assert second.STEEPEST.reference(phi).item() == pytest.approx(differences.max().item(), rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_norms_agree_with_grad(seed):
    for model, x, y in second.GRADIENT_NORMS.cases(seed):
        cross_entropy(model(x), y).backward()
        layers = [module for module in model if isinstance(module, torch.nn.Linear)]
        norms = [torch.nn.utils.get_total_norm([p.grad for p in layer.parameters()]).item() for layer in layers]
        assert list(second.GRADIENT_NORMS.reference(model, x, y)) == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_decay_factor_agrees_with_random_numbers(seed):
    u = torch.randn(400_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for activation, weight_std, variance in second.DECAY_FACTOR.cases(seed):
        drawn = weight_std**2 * (theory.slope(activation, variance**0.5 * u) ** 2).mean().item()
        assert second.DECAY_FACTOR.reference(activation, weight_std, variance) == pytest.approx(drawn, rel=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_deepest_is_the_last_depth_that_meets_the_share(seed):
    for factor, share in second.DEEPEST.cases(seed):
        depth = second.DEEPEST.reference(factor, share)
        assert factor ** ((depth - 1) / 2) >= share > factor ** (depth / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_at_the_critical_scale_the_factor_crosses_1(seed):
    for factor, low, high in third.CRITICAL_SCALE.cases(seed):
        scale = third.CRITICAL_SCALE.reference(factor, low, high)
        assert factor(0.999 * scale) < 1 < factor(1.001 * scale)
        assert factor(low) < 1
        assert not factor(high) <= 1
        # 6 narrow layers scatter around the factor of wide ones
        name, narrowness = factor.keywords["activation"], factor.keywords.get("narrowness", 1.0)
        assert narrowness * scale == pytest.approx(theory.critical_weight_std(name), rel=0.3)


def test_a_search_meets_a_factor_that_is_not_a_number():
    *_, (factor, _, high) = third.CRITICAL_SCALE.cases(0)
    assert np.isnan(factor(high))


@pytest.mark.parametrize("seed", SEEDS)
def test_real_networks_overflow_within_one_layer_of_the_answer(seed):
    cases = third.OVERFLOW_LAYER.cases(seed)
    x = digits().x_train[:64]
    for activation, weight_std, input_rms, _ in cases:
        # slow growth takes hundreds of layers, whose random factors add up; so do those of narrow layers
        weight_std, width = max(weight_std, 8.0), 256
        signal = x * (input_rms / x.square().mean().sqrt())
        predicted = third.OVERFLOW_LAYER.reference(activation, weight_std, input_rms, width)
        record = probe(
            MLP(int(predicted) + 3, width, activation, weight_std, seed=seed), signal, torch.zeros(64).long()
        )
        _, layer, what = record.first_nonfinite
        assert what == "output" and abs(int(layer.removeprefix("layer")) - predicted) <= 1, (activation, weight_std)
    activation, weight_std, input_rms, width = cases[-1]  # and here the signal dies out
    assert third.OVERFLOW_LAYER.reference(*cases[-1]) == float("inf")
    assert probe(MLP(150, 64, activation, weight_std, seed=seed), x, torch.zeros(64).long()).first_nonfinite is None


@pytest.mark.parametrize("seed", SEEDS)
def test_what_diverges_is_decided_by_rate_times_curvature_and_by_torch(seed):
    cases = third.DIVERGES.cases(seed)
    verdicts = [third.DIVERGES.reference(*case) for case in cases]
    for (rate, hessian, gradient), diverges in zip(cases, verdicts, strict=True):
        curvature = torch.linalg.eigvalsh(hessian).max().item()
        assert diverges == (rate > theory.stability_limit(curvature))
        position = torch.nn.Parameter(torch.linalg.solve(hessian, gradient))
        start = position.detach().norm()
        optimizer = torch.optim.SGD([position], lr=rate)
        for _ in range(200):
            optimizer.zero_grad()
            (position @ hessian @ position / 2).backward()
            optimizer.step()
        assert diverges == bool(position.norm() > start)
    norms = [gradient.norm().item() for _, _, gradient in cases]
    assert any(n > 999 and not d for n, d in zip(norms, verdicts, strict=True)), "a large gradient that converges"
    assert any(n < 1.001e-3 and d for n, d in zip(norms, verdicts, strict=True)), "a small one that diverges"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_monitor_agrees_with_numpy_and_has_every_trap_to_avoid(seed):
    cases = [model for (model,) in third.MONITOR.cases(seed)]
    for model in cases:
        norm, number = third.MONITOR.reference(model)
        entries = [p.grad.numpy().ravel().astype(np.float64) for p in model.parameters() if p.grad is not None]
        assert norm == pytest.approx(np.linalg.norm(np.concatenate([*entries, [0.0]])), rel=1e-9, nan_ok=True)
        finite = [all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters()) for layer in model]
        assert finite[number:] == [True] * (len(model) - number)
        assert number == 0 or not finite[number - 1]
    gradients = [[p.grad for p in model.parameters() if p.grad is not None] for model in cases]
    single = [torch.nn.utils.get_total_norm(found).item() for found in gradients]
    assert single[1] == float("inf") and single[2] == 0, "torch's own norm is lost in float32"
    assert gradients[3] == [] and 0 < len(gradients[0]) < 10, "none, and some missing"


@pytest.mark.parametrize("seed", SEEDS)
def test_against_guessing_divides_by_the_best_constant_answer(seed):
    for losses, labels in fourth.AGAINST_GUESSING.cases(seed):
        counts = torch.bincount(labels)
        answer = (counts / counts.sum()).log().expand(len(labels), -1)  # scores of who ignores the input
        guessing = cross_entropy(answer, labels).item()
        expected = statistics.median(losses[-20:].tolist()) / guessing
        assert fourth.AGAINST_GUESSING.reference(losses, labels).item() == pytest.approx(expected, rel=1e-5)
        worse = cross_entropy(answer + 0.1 * torch.randn(answer.shape[1]), labels).item()
        assert worse > guessing, "no other constant answer does better"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_gradient_is_blocked_at_the_layer_whose_units_are_stuck(seed):
    generator = torch.Generator().manual_seed(seed)
    for (norms,) in fourth.BLOCKED_AT.cases(seed):  # the cases draw the layer first, then the network
        layer = 3 + int(torch.randint(3, (), generator=generator))
        torch.randint(2**31, (), generator=generator)
        torch.randn(32, 64, generator=generator)
        torch.randint(10, (32,), generator=generator)
        assert fourth.BLOCKED_AT.reference(norms) == layer


def test_which_fault_agrees_with_diagnose_on_real_runs(bench_runs):
    for record, kind in bench_runs:
        assert diagnose(record).kind == kind
        ratios = record.update_ratio[:10]
        norms = record.output_gradient_norm[0, :-1]
        summary = (
            np.median(record.loss[-20:]) / record.chance_loss,
            norms[0] / norms[-1] if norms[-1] > 0 else 0.0,
            np.nanmax(record.dead[0]),
            np.nanmax(record.dead[-1]),
            np.nanmedian(ratios, axis=1).max(),
        )
        assert fourth.KINDS[fourth.WHICH_FAULT.reference(*summary)] == kind


@pytest.fixture
def bench_runs():
    """Four short runs on real digits, with the fault that was put in."""
    runs = []
    for kind, depth, init, lr, bias in (
        ("healthy", 3, "he", 3e-3, None),
        ("vanishing", 16, 0.5, 1e-3, None),
        ("exploding", 16, 4.0, 1e-3, None),
        ("dying ReLU", 6, "he", 1e-3, -20.0),
        ("learning rate too high", 6, "he", 0.5, None),
        ("learning rate too low", 4, "he", 1e-7, None),
    ):
        model = MLP(depth, 32, "relu", init, seed=0)
        if bias is not None:
            torch.nn.init.constant_(model.layer3.bias, bias)
        recorder = Recorder(model, every=1)
        fit(model, digits(), torch.optim.Adam(model.parameters(), lr), 2, progress=False, recorder=recorder)
        runs.append((recorder.record, kind))
    return runs


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_f1_is_that_of_a_peer_library(seed):
    for truth, said in fourth.MACRO_F1.cases(seed):
        expected = f1_score(truth, said, average="macro")
        assert fourth.MACRO_F1.reference(truth, said) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_first_weights_are_as_spread_as_torch_draws_them(seed):
    torch.manual_seed(seed)
    draw = {
        "lecun": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="linear"),
        "xavier": torch.nn.init.xavier_normal_,
        "he": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
    }
    for fan_in, fan_out, start in fifth.START_STD.cases(seed):
        drawn = draw[start](torch.empty(fan_out, fan_in)).std().item()
        assert fifth.START_STD.reference(fan_in, fan_out, start) == pytest.approx(drawn, rel=0.06)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_critical_gain_keeps_the_mean_square_of_random_numbers(seed):
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for (phi,) in fifth.CRITICAL_GAIN.cases(seed):
        gain = fifth.CRITICAL_GAIN.reference(phi)
        assert gain**2 * phi(z).square().mean().item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_units_are_those_whose_weights_get_no_gradient(seed):
    for model, x in fifth.DEAD_SHARE.cases(seed):
        torch.manual_seed(seed)
        (model(x) * torch.randn(len(x), 10)).sum().backward()
        layers = [module for module in model if isinstance(module, torch.nn.Linear)][:-1]
        expected = [(layer.weight.grad == 0).all(1).double().mean().item() for layer in layers]
        assert [share.item() for share in fifth.DEAD_SHARE.reference(model, x)] == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_stretched_directions_are_those_of_the_jacobian(seed):
    for (weights,) in fifth.STRETCHED.cases(seed):

        def through(x, weights=weights):
            for weight in weights:
                x = weight @ x
            return x

        jacobian = torch.autograd.functional.jacobian(through, torch.ones(len(weights[0]), dtype=torch.float64)).numpy()
        values = np.sqrt(np.linalg.eigvalsh(jacobian.T @ jacobian).clip(0))[::-1]
        assert fifth.STRETCHED.reference(weights).numpy() == pytest.approx(
            values / np.sqrt((values**2).mean()), rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_normalised_by_hand_in_numpy(seed):
    for z, gamma, beta, eps in sixth.NORMALIZED.cases(seed):
        by_hand = gamma.numpy() * (z.numpy() - z.numpy().mean(0)) / np.sqrt(z.numpy().var(0) + eps) + beta.numpy()
        assert sixth.NORMALIZED.reference(z, gamma, beta, eps).numpy() == pytest.approx(by_hand, abs=1e-9)
    for batches, x, momentum, eps in sixth.EVALUATED.cases(seed):
        mean, variance = np.zeros(4), np.ones(4)
        for batch in batches:
            mean += momentum * (batch.numpy().mean(0) - mean)
            variance += momentum * (batch.numpy().var(0, ddof=1) - variance)
        by_hand = (x.numpy() - mean) / np.sqrt(variance + eps)
        assert sixth.EVALUATED.reference(batches, x, momentum, eps).numpy() == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_factor_of_batch_norm_agrees_with_random_numbers(seed):
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for (phi,) in sixth.FACTOR.cases(seed):
        drawn = theory.slope(phi, z).square().mean() / phi(z).var()
        assert sixth.FACTOR.reference(phi) == pytest.approx(drawn.item(), rel=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_of_an_lstm_by_hand_and_what_its_biases_do_in_torch(seed):
    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    for case in eighth.LSTM_STEP.cases(seed):
        x, h, c, w_x, w_h, bias = (part.numpy() for part in case)
        i, f, g, o = np.split(x @ w_x.T + h @ w_h.T + bias, 4, axis=1)
        kept = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        state, cell = eighth.LSTM_STEP.reference(*case)
        assert cell.numpy() == pytest.approx(kept)
        assert state.numpy() == pytest.approx(sigmoid(o) * np.tanh(kept))
    for b_x, b_h, bias in eighth.FORGET_BIAS.cases(seed):
        units = len(b_x) // 4
        layer = torch.nn.LSTMCell(2, units, dtype=torch.float64)
        with torch.no_grad():
            for parameter, value in zip(
                (layer.bias_ih, layer.bias_hh), eighth.FORGET_BIAS.reference(b_x, b_h, bias), strict=True
            ):
                parameter.copy_(value)
            layer.weight_ih.zero_(), layer.weight_hh.zero_()
            zero, one = torch.zeros(1, units, dtype=torch.float64), torch.ones(1, units, dtype=torch.float64)
            kept = (
                layer(torch.zeros(1, 2).double(), (zero, one))[1] - layer(torch.zeros(1, 2).double(), (zero, zero))[1]
            )
        assert kept.numpy() == pytest.approx(sigmoid(bias))  # what is left of a cell that held 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cell_holds_the_share_after_so_many_steps_and_a_radius_is_met(seed):
    for bias, share in eighth.REMEMBERED.cases(seed):
        steps = eighth.REMEMBERED.reference(bias, share)
        assert torch.sigmoid(torch.tensor(bias, dtype=torch.float64)).item() ** steps == pytest.approx(share)
    for w, radius in eighth.SCALED.cases(seed):
        scaled = eighth.SCALED.reference(w, radius).numpy()
        assert np.abs(np.linalg.eigvals(scaled)).max() == pytest.approx(radius)
        assert np.linalg.matrix_rank(np.stack([scaled.ravel(), w.numpy().ravel()])) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_clipping_agrees_with_torch(seed):
    for gradients, threshold in ninth.CLIPPED.cases(seed):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(parameters, threshold)
        for parameter, mine in zip(parameters, ninth.CLIPPED.reference(gradients, threshold), strict=True):
            assert torch.allclose(parameter.grad, mine, rtol=1e-5)
    for gradient, value in ninth.KEPT_DIRECTION.cases(seed):
        parameter = torch.nn.Parameter(torch.zeros_like(gradient))
        parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_value_([parameter], value)
        expected = np.dot(gradient, parameter.grad) / np.linalg.norm(gradient) / np.linalg.norm(parameter.grad)
        assert ninth.KEPT_DIRECTION.reference(gradient, value).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_clipped_walks_are_those_of_pen_and_paper(seed):
    for loss, start, learning_rate, threshold, steps in ninth.TRAINED.cases(seed):
        w = start.numpy().copy()
        for _ in range(steps):
            gradient = np.arange(1, len(w) + 1) * w + 3 * loss.keywords["steepness"] * np.linalg.norm(w) * w
            gradient *= min(1, threshold / np.linalg.norm(gradient))
            w -= learning_rate * gradient
        *weights, last = ninth.TRAINED.reference(loss, start, learning_rate, threshold, steps)
        assert [float(v) for v in weights] == pytest.approx(w.tolist(), rel=1e-4, abs=1e-6)
        assert float(last) == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_share_of_the_steps_lies_above_the_threshold(seed):
    for norms, share in ninth.THRESHOLD.cases(seed):
        finite = norms[norms.isfinite()]
        above = (finite > ninth.THRESHOLD.reference(norms, share)).sum().item()
        assert abs(above - share * len(finite)) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_symptom_is_the_fault_that_was_put_in(seed):
    silent, lively, own, every, healthy = tenth.FIRST_SYMPTOM.cases(seed)
    for (dead, update), kind in ((silent, 1), (lively, 1), (own, 2), (every, 2)):
        step, layer, what = tenth.FIRST_SYMPTOM.reference(dead, update)
        dead, update = dead.numpy(), update.numpy()
        assert what == kind
        assert (dead[: step - 1] < 0.9).all() and (update[: step - 1] <= 0.2).all(), "nothing before that step"
        if kind == 1:
            assert step == 1
            assert dead[0, layer - 1] == 1
            assert (dead[0, : layer - 1] < 0.9).all()
        else:  # nothing but the learning rate has changed, and the step before was an ordinary one
            assert update[step - 1, layer - 1] > 0.2 > 0.02 > update[step - 2].max()
    _, layer, _ = tenth.FIRST_SYMPTOM.reference(*own)
    assert (own[1][tenth.FIRST_SYMPTOM.reference(*own)[0] - 1] > 0.02).nonzero().flatten().tolist() == [layer - 1]
    assert (every[0] >= 0.9).any() and not (every[0][0] >= 0.9).any(), "units die of the long steps"
    assert tenth.FIRST_SYMPTOM.reference(*healthy) == [0, 0, 0]


def _one_step(model, rate, x, y):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    recorder = Recorder(model)
    with recorder:
        cross_entropy(model(x), y).backward()
        optimizer.step()
    record = recorder.record
    hidden = (record.dead[0], record.output_gradient_norm[0, :-1], record.update_ratio[0, :-1])
    return [torch.from_numpy(row.copy()) for row in hidden]


@pytest.mark.parametrize("seed", SEEDS)
def test_one_repair_after_the_other_makes_the_patient_healthy(seed):
    x, y = digits(seed).x_train[:512], digits(seed).y_train[:512]

    def fresh(bias, scale):  # a step changes a network, so each is made anew
        model, rate = tenth.patient(seed)
        with torch.no_grad():
            if bias:
                getattr(model, f"layer{bias}").bias.zero_()
            for layer in model:
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.mul_(scale)
        return model, rate

    model, rate = fresh(0, 1)
    sunk = [n for n in range(1, 17) if (getattr(model, f"layer{n}").bias < -1).all()]
    assert [tenth.NEXT_REPAIR.reference(*_one_step(model, rate, x, y))] == [[sunk[0], 1, 1]]
    model, _ = fresh(sunk[0], 1)
    std = torch.cat([getattr(model, f"layer{n}").weight.flatten() for n in range(2, 17)]).std().item() * 48**0.5
    none, scale, one = tenth.NEXT_REPAIR.reference(*_one_step(model, rate, x, y))
    assert (none, one) == (0, 1) and scale * std == pytest.approx(2**0.5, rel=0.15), "He's, from the record alone"
    dead, gradient, update = _one_step(fresh(sunk[0], scale)[0], rate, x, y)
    assert 0.3 < gradient[0] / gradient[-1] < 3
    none, one, slower = tenth.NEXT_REPAIR.reference(dead, gradient, update)
    assert (none, one) == (0, 1)
    dead, gradient, update = _one_step(fresh(sunk[0], scale)[0], rate * slower, x, y)
    # the record divides by the weights after the step, and a step that was too long has made them larger
    assert 0.005 <= update.max().item() < 0.015
    assert tenth.NEXT_REPAIR.reference(dead, gradient, update) == [0, 1, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_patient_has_three_faults_each_hides_the_next_and_each_is_enough(seed):
    data = digits(seed)

    def trained(biases, weights, slower):
        model, rate = tenth.patient(seed)
        with torch.no_grad():
            torch.manual_seed(seed)
            for layer in model:
                if isinstance(layer, torch.nn.Linear):
                    if biases:
                        layer.bias.zero_()
                    if weights:
                        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        recorder = Recorder(model)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3 if slower else rate)
        fit(model, data, optimizer, 5, progress=False, recorder=recorder)
        return diagnose(recorder.record).kind, accuracy(model, data.x_test, data.y_test)

    rounds = [trained(*repairs) for repairs in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1))]
    assert [kind for kind, _ in rounds] == ["dying ReLU", "vanishing", "learning rate too high", "healthy"]
    one_left = [rounds[2], trained(0, 1, 1), trained(1, 0, 1)]
    assert max(reached for _, reached in one_left) < 0.3, "guessing gets 0.1"
    assert rounds[-1][1] > 0.5, "and after five epochs more"


def test_what_a_rescue_is_judged_by_is_the_network_that_comes_back():
    exercise, data = tenth.RESCUE, digits(4)
    (case,) = exercise.cases(4)
    assert torch.equal(case[2], data.x_train) and len(case) == 4, "the digits held apart are not given"
    healthy = MLP(16, 48, "relu", "he", seed=9)  # other weights than the reference's, and trained otherwise
    fit(healthy, data, torch.optim.AdamW(healthy.parameters(), 2e-3), 12, progress=False)
    reached = accuracy(healthy, data.x_test, data.y_test)
    assert reached >= tenth.ENOUGH
    lists = [parameter.tolist() for parameter in healthy.parameters()]  # as they come out of the jail
    assert exercise.judge([lists], 4).status == "right"
    assert exercise.judge([lists[:-1]], 4).message.startswith("The answer should have")
    assert "not a finite number" in exercise.judge([[*lists[:-1], [float("nan")] * 10]], 4).message
    assert (
        exercise.judge([[parameter.detach() for parameter in case[0].parameters()]], 4).mistake == "silent layer left"
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_proof_is_the_paired_interval_of_scipy(seed):
    for validation, held_apart, reference, t in tenth.PROOF.cases(seed):
        chosen = int(np.argmax(validation.numpy().mean(1)))
        expected = ttest_rel(held_apart[chosen], reference).confidence_interval(0.95).low
        assert tenth.PROOF.reference(validation, held_apart, reference, t).item() == pytest.approx(expected)
        assert chosen != int(held_apart.mean(1).argmax()), "to choose by the held-apart digits would be another choice"
        assert chosen != int(validation.max(1).values.argmax()), "and so would the best single run"


# --- what a learner sees ---------------------------------------------------------------------------------------------


@pytest.fixture
def lab():
    double = Exercise(
        id="0.1-double",
        points=1,
        claims=(),
        level="warm-up",
        cases=lambda seed: [(1.0 + seed,), (2.5,)],
        reference=lambda x: 2 * x,
        mistakes=(Mistake("squared", lambda x: x * x, "You multiplied by itself."),),
    )
    return Lab("00-example", (double,))


def blank(x):
    raise NotImplementedError()


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda x: x + x, "✓ double: Right."),
        (lambda x: x * x, "✗ double (squared): You multiplied by itself."),
        (blank, "○ double: Not attempted yet."),
        (lambda x: 3 * x, "✗ double: Not yet: on one of the tries it gives 3 where 2 is right."),
        (4.0, "✗ double: Pass the function itself, without calling it: got 4.0."),
    ],
)
def test_a_check_prints_one_line_and_stops_only_the_grader(lab, function, line, capsys, monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    lab.double(function)
    assert capsys.readouterr().out == line + "\n"
    for mode in ("autograde", "validate"):
        monkeypatch.setenv("NBGRADER_EXECUTION", mode)
        if line.startswith("✓"):
            lab.double(function)
        else:
            with pytest.raises(AssertionError, match="double"):
                lab.double(function)


def test_an_unknown_check_names_the_known_ones(lab):
    with pytest.raises(AttributeError, match=r"'duoble'.*double"):
        lab.duoble(blank)
