"""Theory and measurement agree, though neither is computed from the other: the course's central promise."""

import numpy as np
import pytest

from gradclinic.course import theory
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.recorder import probe

DEPTH, WIDTH, SEEDS, EXAMPLES = 30, 256, 20, 256
CASES = [
    ("linear", 0.8),
    ("linear", 1.0),
    ("linear", 1.2),
    ("relu", 1.0),
    ("relu", 2**0.5),
    ("relu", 1.8),
    ("tanh", 0.8),
    ("tanh", 1.0),
    ("tanh", 5 / 3),
    ("sigmoid", 1.0),
    ("sigmoid", 4.0),
    ("sigmoid", 10.0),
]


@pytest.fixture(scope="module")
def batch():
    data = digits()
    return data.x_train[:EXAMPLES], data.y_train[:EXAMPLES]


def measure(activation: str, weight_std: float, batch, seeds: int = SEEDS) -> np.ndarray:
    """Norm of the loss gradient at the pre-activations, shape (seeds, hidden layers), on real digits."""
    networks = (MLP(DEPTH, WIDTH, activation, weight_std, seed=seed) for seed in range(seeds))
    return np.array([probe(network, *batch).output_gradient_norm[0, :DEPTH] for network in networks])


@pytest.mark.parametrize(("activation", "weight_std"), CASES)
def test_a_layer_scales_the_squared_gradient_by_the_predicted_factor(activation, weight_std, batch):
    norms = measure(activation, weight_std, batch)
    factors = (norms[:, 0] / norms[:, -1]) ** (2 / (DEPTH - 1))
    mean_square = (batch[0].double() ** 2).mean().item()
    profile = theory.gradient_profile(activation, DEPTH, weight_std, mean_square)
    predicted = profile[0].item() ** (2 / (DEPTH - 1))
    print(
        f"| {activation} | {weight_std:.3f} | {predicted:.4f} | {factors.mean():.4f} "
        f"| {factors.min():.4f} to {factors.max():.4f} |"
    )
    assert factors.mean() == pytest.approx(predicted, rel=0.02), (
        f"{activation}, sigma_w = {weight_std:.3g}: a layer multiplies the squared gradient by {factors.mean():.4f} "
        f"over {SEEDS} seeds ({factors.min():.4f} to {factors.max():.4f}), predicted {predicted:.4f}"
    )


def test_the_log_of_the_sigmoid_gradient_falls_on_a_straight_line(batch):
    log_norm = np.log(measure("sigmoid", 1.0, batch, seeds=5)).mean(0)
    layers = np.arange(1, DEPTH + 1)
    slope, offset = np.polyfit(layers, log_norm, 1)
    unexplained = ((log_norm - slope * layers - offset) ** 2).sum() / ((log_norm - log_norm.mean()) ** 2).sum()
    assert 1 - unexplained > 0.999, f"the decay must be geometric: R^2 is {1 - unexplained:.5f}"
    predicted = -np.log(theory.chi("sigmoid", 1.0, theory.fixed_point("sigmoid", 1.0))) / 2
    assert slope == pytest.approx(predicted, rel=0.02), (
        f"a layer adds {slope:.4f} to the log, predicted {predicted:.4f}"
    )


def test_a_wrong_weight_scale_would_have_been_noticed(batch):
    """The margin of 2 % can tell a weight scale from one that is 2 % larger, so agreement is no accident."""
    norms = measure("relu", 1.02 * 2**0.5, batch, seeds=10)
    factor = ((norms[:, 0] / norms[:, -1]) ** (2 / (DEPTH - 1))).mean()
    predicted = theory.gradient_profile("relu", DEPTH, 2**0.5)[0].item() ** (2 / (DEPTH - 1))
    assert factor != pytest.approx(predicted, rel=0.02), f"{factor:.4f} must not pass for {predicted:.4f}"
