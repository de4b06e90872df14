"""Lab 03: the references, against real networks, torch's own optimiser and numpy."""

import numpy as np
import pytest
import torch

from gradclinic.course import theory
from gradclinic.course.data import digits
from gradclinic.course.exercises import exploding
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
        # 6 narrow layers scatter around the factor of wide ones
        name, narrowness = factor.keywords["activation"], factor.keywords.get("narrowness", 1.0)
        assert narrowness * scale == pytest.approx(theory.critical_weight_std(name), rel=0.3)


def test_a_search_meets_a_factor_that_is_not_a_number():
    *_, (factor, _, high) = exploding.CRITICAL_SCALE.cases(0)
    assert np.isnan(factor(high))


@every_seed
def test_real_networks_overflow_within_one_layer_of_the_answer(seed):
    cases = exploding.OVERFLOW_LAYER.cases(seed)
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
    activation, weight_std, input_rms, width = cases[-1]  # and here the signal dies out
    assert exploding.OVERFLOW_LAYER.reference(*cases[-1]) == float("inf")
    assert probe(MLP(150, 64, activation, weight_std, seed=seed), x, torch.zeros(64).long()).first_nonfinite is None


@every_seed
def test_what_diverges_is_decided_by_rate_times_curvature_and_by_torch(seed):
    cases = exploding.DIVERGES.cases(seed)
    verdicts = [exploding.DIVERGES.reference(*case) for case in cases]
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
    single = [torch.nn.utils.get_total_norm(found).item() for found in gradients]
    assert single[1] == float("inf"), "torch's own norm is lost in float32"
    assert single[2] == 0, "torch's own norm is lost in float32"
    assert gradients[3] == [], "none, and some missing"
    assert 0 < len(gradients[0]) < 10, "none, and some missing"
