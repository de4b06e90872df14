"""Lab 03: the references, against real networks, torch's own optimiser and numpy."""

import numpy as np
import pytest
import torch

from gradclinic.course import theory
from gradclinic.course.data import digits
from gradclinic.course.exercises import exploding
from gradclinic.course.exercises.curves import Kink
from gradclinic.course.exercises.measured import Factor, WideFactor
from gradclinic.course.models import MLP
from gradclinic.recorder import probe
from tests.helpers.seeds import every_seed


@every_seed
def test_at_the_critical_scale_the_factor_crosses_1(seed):
    for factor, low, high in exploding.CRITICAL_SCALE.cases(seed):
        scale = exploding.CRITICAL_SCALE.reference(factor, low, high)
        assert factor(0.999 * scale) < 1 < factor(1.001 * scale)
        assert factor(low) < 1
        assert not factor(high) <= 1


@every_seed
def test_a_search_meets_factors_that_are_not_numbers_that_bend_and_that_hardly_change(seed):
    cases = exploding.CRITICAL_SCALE.cases(seed)
    assert sum(np.isnan(factor(high)) for factor, _, high in cases) == 2
    scales = [exploding.CRITICAL_SCALE.reference(*case) for case in cases]
    assert min(scales) < 0.02
    growth = [factor(1.1 * scale) for (factor, _, _), scale in zip(cases, scales, strict=True)]
    assert sum(found < 1.001 for found in growth) == 2
    assert sum(0.95 < found / 1.1 < 1.05 for found in growth) >= 2


def test_networks_measure_what_the_theory_predicts():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(6, 256, 256, generator=generator) / 16
    signal = torch.randn(64, 256, generator=generator)
    assert Factor(weights, signal, Kink(1.0, 1.0))(1.0) == pytest.approx(1, rel=0.03)
    wide = WideFactor(torch.randn(100_000, generator=generator), torch.tanh)
    assert wide(1.7) ** 2 == pytest.approx(theory.chi("tanh", 1.7, 1.7**2), rel=0.02)


@every_seed
def test_real_networks_overflow_within_one_layer_of_the_answer(seed):
    cases = [case for case in exploding.OVERFLOW_LAYER.cases(seed) if case[1] > 1.5 and 1e-3 < case[2] < 1e35]
    assert len(cases) >= 4
    x = digits().x_train[:64]
    for activation, asked, input_rms, _ in cases:
        # slow growth takes hundreds of layers, whose random factors add up; so do those of narrow layers
        weight_std, width = max(asked, 8.0), 256
        signal = x * (input_rms / x.square().mean().sqrt())
        predicted = exploding.OVERFLOW_LAYER.reference(activation, weight_std, input_rms, width)
        record = probe(
            MLP(int(predicted) + 3, width, activation, weight_std, seed=seed), signal, torch.zeros(64).long()
        )
        _, layer, what = record.first_nonfinite
        assert what == "output", (activation, weight_std)
        assert abs(int(layer.removeprefix("layer")) - predicted) <= 1, (activation, weight_std)


@every_seed
def test_layers_are_counted_as_by_the_package_and_a_signal_that_does_not_grow_never_overflows(seed):
    for activation, weight_std, input_rms, width in exploding.OVERFLOW_LAYER.cases(seed):
        found = exploding.OVERFLOW_LAYER.reference(activation, weight_std, input_rms, width)
        if not 20 < found < 1e9:  # else it takes seconds, layer by layer
            assert found == theory.overflow_depth(activation, weight_std, input_variance=input_rms**2, width=width)
        if found == float("inf"):
            x = torch.randn(8, 64, generator=torch.Generator().manual_seed(seed))
            model = MLP(50, 64, activation, weight_std, seed=seed)
            assert probe(model, x, torch.zeros(8).long()).first_nonfinite is None


@every_seed
def test_what_diverges_is_decided_by_rate_times_curvature_and_by_torch(seed):
    cases = exploding.DIVERGES.cases(seed)
    verdicts = [exploding.DIVERGES.reference(*case) for case in cases]
    for (rate, hessian, gradient), diverges in zip(cases, verdicts, strict=True):
        curvature = torch.linalg.eigvalsh(hessian).max().item()
        assert diverges == (rate > theory.stability_limit(curvature))
        one = torch.eye(len(hessian), dtype=torch.float64) - rate * hessian
        many = torch.linalg.matrix_power(
            one, 2**14
        ).norm()  # so many steps at once; beyond the largest number it is NaN
        assert diverges == (not many <= 1e6)
        values, directions = torch.linalg.eigh(hessian)
        if abs(rate * values[-1] - 2) < 0.05 or (directions[:, -1] @ gradient).abs() < 0.01 * gradient.norm():
            continue  # step by step it would take too many
        position = torch.nn.Parameter(torch.linalg.solve(hessian, gradient))
        start = position.detach().norm()
        optimizer = torch.optim.SGD([position], lr=rate)
        for _ in range(400):
            optimizer.zero_grad()
            (position @ hessian @ position / 2).backward()
            optimizer.step()
        assert diverges == bool(position.norm() > start)
    norms = [gradient.norm().item() for _, _, gradient in cases]
    assert any(n > 999 and not d for n, d in zip(norms, verdicts, strict=True)), "a large gradient that converges"
    assert any(n < 1.001e-3 and d for n, d in zip(norms, verdicts, strict=True)), "a small one that diverges"


@every_seed
def test_the_monitor_agrees_with_numpy_and_has_every_trap_to_avoid(seed):
    cases = [model for (model,) in exploding.MONITOR.cases(seed)]
    for model in cases:
        norm, number = exploding.MONITOR.reference(model)
        entries = [p.grad.numpy().ravel().astype(np.float64) for p in model.parameters() if p.grad is not None]
        assert norm == pytest.approx(np.linalg.norm(np.concatenate([*entries, [0.0]])), rel=1e-9, nan_ok=True)
        finite = [all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters()) for layer in model]
        assert finite[number:] == [True] * (len(model) - number)
        assert number == 0 or not finite[number - 1]
    gradients = [[p.grad for p in model.parameters() if p.grad is not None] for model in cases]
    norms = [exploding.MONITOR.reference(model)[0] for model in cases]
    single = [torch.nn.utils.get_total_norm(found).item() for found in gradients]
    pairs = list(zip(norms, single, strict=True))
    assert any(norm < 1e38 and lost == float("inf") for norm, lost in pairs), "torch's own norm is lost in float32"
    assert any(norm > 0 and lost == 0 for norm, lost in pairs), "torch's own norm is lost in float32"
    assert any(3.5e38 < norm < float("inf") for norm in norms), "no float32 holds the norm"
    assert [] in gradients
    missing = [sum(p.grad is None for p in model.parameters()) for model in cases]
    assert {1, 2} < set(missing), "a frozen weight, and a frozen layer"
    numbers = [exploding.MONITOR.reference(model)[1] for model in cases]
    assert {0, 1, len(cases[0])} < set(numbers), "none, the first, the last"
