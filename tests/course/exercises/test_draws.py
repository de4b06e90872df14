"""The draws that cases are made of: in their bounds, and the same again for the same seed."""

import pytest
import torch

from gradclinic.course.exercises.draws import (
    new_seed,
    normal,
    over_decades,
    rotation,
    seeded,
    shuffled,
    sign,
    uniform,
    whole,
)


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


def test_signs_decades_orders_and_rotations():
    generator = seeded(1)
    assert {sign(generator) for _ in range(50)} == {-1, 1}
    sizes = torch.tensor([over_decades(generator, 1e-6, 1e2) for _ in range(4000)])
    assert ((sizes >= 1e-6) & (sizes < 1e2)).all()
    assert (sizes < 1e-2).double().mean().item() == pytest.approx(0.5, abs=0.05)
    orders = {tuple(shuffled(generator, "abc")) for _ in range(200)}
    assert len(orders) == 6
    assert all(set(order) == set("abc") for order in orders)
    turned = rotation(generator, 4)
    assert torch.allclose(turned @ turned.T, torch.eye(4, dtype=torch.float64))
