"""Lab 05: the references, against torch's own starts, random numbers and the Jacobian."""

import numpy as np
import pytest
import torch

from gradclinic.course.exercises import starts
from tests.helpers.seeds import every_seed


@every_seed
def test_first_weights_are_as_spread_as_torch_draws_them(seed):
    torch.manual_seed(seed)
    draw = {
        "lecun": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="linear"),
        "xavier": torch.nn.init.xavier_normal_,
        "he": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
    }
    for fan_in, fan_out, start in starts.START_STD.cases(seed):
        found = starts.START_STD.reference(fan_in, fan_out, start)
        if fan_in * fan_out > 10**8:  # torch's own formula does without the matrix
            gain = torch.nn.init.calculate_gain("relu" if start == "he" else "linear")
            assert found == pytest.approx(gain * ((fan_in + fan_out) / 2 if start == "xavier" else fan_in) ** -0.5)
            continue
        rounds = max(1, 4000 // (fan_in * fan_out))
        drawn = torch.cat([draw[start](torch.empty(fan_out, fan_in)).flatten() for _ in range(rounds)]).std().item()
        assert found == pytest.approx(drawn, rel=0.07)


@every_seed
def test_the_critical_gain_keeps_the_mean_square_of_random_numbers(seed):
    z = torch.randn(4_000_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for (phi,) in starts.CRITICAL_GAIN.cases(seed):
        gain = starts.CRITICAL_GAIN.reference(phi)
        assert gain**2 * phi(z).square().mean().item() == pytest.approx(1, rel=0.02)


@every_seed
def test_dead_units_are_those_that_get_no_gradient(seed):
    for model, x in starts.DEAD_SHARE.cases(seed):
        torch.manual_seed(seed)
        expected, signal = [], x
        for module in model:
            entering, signal = signal.detach().requires_grad_(), module(signal)
            if isinstance(module, torch.nn.ReLU):  # each by itself: a dead layer lets nothing through to those below it
                (module(entering) * torch.randn(entering.shape)).sum().backward()
                expected.append((entering.grad == 0).all(0).double().mean().item())
        assert [share.item() for share in starts.DEAD_SHARE.reference(model, x)] == pytest.approx(expected)


@every_seed
def test_stretched_directions_are_those_of_the_jacobian(seed):
    for (weights,) in starts.STRETCHED.cases(seed):

        def through(x, weights=weights):
            for weight in weights:
                x = weight @ x
            return x

        jacobian = torch.autograd.functional.jacobian(through, torch.ones(len(weights[0]), dtype=torch.float64)).numpy()
        values = np.sqrt(np.linalg.eigvalsh(jacobian.T @ jacobian).clip(0))[::-1]
        assert starts.STRETCHED.reference(weights).numpy() == pytest.approx(
            values / np.sqrt((values**2).mean()), rel=1e-4, abs=1e-5
        )
