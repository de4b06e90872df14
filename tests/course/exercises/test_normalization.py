"""Lab 06: the references, against numpy and random numbers."""

import numpy as np
import pytest
import torch

from gradclinic.course import theory
from gradclinic.course.exercises import normalization
from tests.helpers.seeds import every_seed


@every_seed
def test_normalised_by_hand_in_numpy(seed):
    for z, gamma, beta, eps in normalization.NORMALIZED.cases(seed):
        by_hand = gamma.numpy() * (z.numpy() - z.numpy().mean(0)) / np.sqrt(z.numpy().var(0) + eps) + beta.numpy()
        found = normalization.NORMALIZED.reference(z, gamma, beta, eps)
        assert found.numpy() == pytest.approx(by_hand, abs=1e-9)
        if len(z) > 1:  # torch refuses a batch of one
            theirs = torch.nn.functional.batch_norm(z, None, None, gamma, beta, training=True, eps=eps)
            assert torch.allclose(found, theirs)
    for batches, x, momentum, eps in normalization.EVALUATED.cases(seed):
        mean, variance = np.zeros(x.shape[1]), np.ones(x.shape[1])
        for batch in batches:
            mean += momentum * (batch.numpy().mean(0) - mean)
            variance += momentum * (batch.numpy().var(0, ddof=1) - variance)
        by_hand = (x.numpy() - mean) / np.sqrt(variance + eps)
        assert normalization.EVALUATED.reference(batches, x, momentum, eps).numpy() == pytest.approx(by_hand, abs=1e-9)


@every_seed
def test_the_factor_of_batch_norm_agrees_with_random_numbers(seed):
    z = torch.randn(2_000_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for (phi,) in normalization.FACTOR.cases(seed):
        drawn = theory.slope(phi, z).square().mean() / phi(z).var()
        assert normalization.FACTOR.reference(phi) == pytest.approx(drawn.item(), rel=0.02)
