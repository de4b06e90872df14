"""Lab 02: the references, against finite differences, autograd and random numbers."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.exercises import vanishing
from tests.helpers.seeds import every_seed


@every_seed
def test_steepest_slope_agrees_with_finite_differences(seed):
    z = torch.linspace(-5, 5, 20001, dtype=torch.float64)
    for (phi,) in vanishing.STEEPEST.cases(seed):
        differences = (phi(z + 1e-6) - phi(z - 1e-6)) / 2e-6
        assert vanishing.STEEPEST.reference(phi).item() == pytest.approx(differences.max().item(), rel=1e-5)


@every_seed
def test_gradient_norms_agree_with_grad(seed):
    for model, x, y in vanishing.GRADIENT_NORMS.cases(seed):
        model.zero_grad()
        cross_entropy(model(x), y).backward()
        layers = [module for module in model if isinstance(module, torch.nn.Linear)]
        norms = [torch.nn.utils.get_total_norm([p.grad for p in layer.parameters()]).item() for layer in layers]
        assert list(vanishing.GRADIENT_NORMS.reference(model, x, y)) == pytest.approx(norms, rel=1e-5)


@every_seed
def test_decay_factor_agrees_with_random_numbers(seed):
    u = torch.randn(2_000_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for activation, weight_std, variance in vanishing.DECAY_FACTOR.cases(seed):
        drawn = weight_std**2 * (theory.slope(activation, variance**0.5 * u) ** 2).mean().item()
        assert vanishing.DECAY_FACTOR.reference(activation, weight_std, variance) == pytest.approx(drawn, rel=0.02)


@every_seed
def test_deepest_is_the_last_depth_that_meets_the_share(seed):
    for factor, share in vanishing.DEEPEST.cases(seed):
        depth = vanishing.DEEPEST.reference(factor, share)
        assert factor ** ((depth - 1) / 2) >= share > factor ** (depth / 2)
