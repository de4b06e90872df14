"""The draws that cases are made of: in their bounds, and the same again for the same seed."""

import pytest
import torch

from gradclinic.course.exercises.draws import new_seed, normal, seeded, uniform, whole


def test_the_same_seed_draws_the_same():
    first, again, other = (
        [uniform(g, 0, 1), whole(g, 1, 10**6), new_seed(g), *normal(g, 3).tolist()] for g in map(seeded, (7, 7, 8))
    )
    assert first == again
    assert not set(first) & set(other)


def test_draws_are_spread_over_their_range_and_stay_in_it():
    generator = seeded(0)
    reals = [uniform(generator, -2, 3) for _ in range(2000)]
    assert -2 <= min(reals) < -1.98 < 2.98 < max(reals) < 3
    assert {whole(generator, -1, 2) for _ in range(200)} == {-1, 0, 1, 2}
    numbers = normal(generator, 200, 100)
    assert numbers.dtype == torch.float64
    assert numbers.var().item() == pytest.approx(1, abs=0.05)


def test_a_network_may_be_seeded_with_any_seed():
    generator = seeded(0)
    seeds = [new_seed(generator) for _ in range(1000)]
    assert 0 <= min(seeds) < 2**31 / 100
    assert 2**31 * 0.99 < max(seeds) < 2**31
