"""Lab 07: the references, against autograd and random numbers."""

import pytest
import torch

from gradclinic.course.exercises import skips
from tests.helpers.seeds import every_seed


@every_seed
def test_the_way_back_is_what_autograd_finds_for_the_block(seed):
    for h, weight, scale, delta in skips.WAY_BACK.cases(seed):
        entering = h.clone().requires_grad_()
        given = skips.BLOCK.reference(entering, weight, scale)
        assert torch.allclose(given, h + scale * torch.tanh(torch.nn.functional.linear(h, weight)))
        expected = torch.autograd.grad(given, entering, delta)[0]
        assert torch.allclose(skips.WAY_BACK.reference(h, weight, scale, delta), expected)


@every_seed
def test_the_sum_of_independent_branches_grows_by_the_growth(seed):
    generator = torch.Generator().manual_seed(seed)
    for c, scale, blocks in skips.GROWTH.cases(seed):
        h = torch.randn(100_000, generator=generator, dtype=torch.float64)
        start = h.square().mean().sqrt()
        for _ in range(blocks):
            branch = c**0.5 * h.square().mean().sqrt() * torch.randn(len(h), generator=generator, dtype=torch.float64)
            h = h + scale * branch
        grown = (h.square().mean().sqrt() / start).item()
        assert skips.GROWTH.reference(c, scale, blocks) == pytest.approx(grown, rel=0.02)


@every_seed
def test_with_the_scale_found_the_sum_grows_by_as_much_as_it_may(seed):
    for c, blocks, most in skips.SCALE.cases(seed):
        scale = skips.SCALE.reference(c, blocks, most)
        assert skips.GROWTH.reference(c, scale, blocks) == pytest.approx(most)
