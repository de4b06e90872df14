"""Lab 01: the references, against pen and paper, divergence and finite differences."""

import pytest
import torch

from gradclinic.course.exercises import gradient_descent
from tests.helpers.seeds import every_seed


@every_seed
def test_step_is_a_step_downhill(seed):
    for weight, gradient, learning_rate in gradient_descent.STEP.cases(seed):
        stepped = gradient_descent.STEP.reference(weight.clone(), gradient, learning_rate).double()
        assert torch.allclose(stepped, weight.double() - learning_rate * gradient.double(), atol=1e-6)


@every_seed
def test_largest_step_is_where_descent_begins_to_diverge(seed):
    for (hessian,) in gradient_descent.LARGEST_STEP.cases(seed):
        limit = gradient_descent.LARGEST_STEP.reference(hessian)
        for factor, shrinks in ((0.98, True), (1.02, False)):
            one = torch.eye(len(hessian), dtype=torch.float64) - factor * limit * hessian
            many = torch.linalg.matrix_power(one, 2**12).norm()
            assert many > 1e6 if not shrinks else many <= len(hessian) ** 0.5 + 1e-6


@every_seed
def test_backpropagation_agrees_with_finite_differences(seed):
    def loss(x, y, w1, w2):
        return ((torch.tanh(x @ w1.T) @ w2.T - y) ** 2).sum(1).mean() / 2

    for x, y, w1, w2 in gradient_descent.BACKPROPAGATE.cases(seed):
        gradients = gradient_descent.BACKPROPAGATE.reference(x, y, w1.clone(), w2.clone())
        for which, gradient in enumerate(gradients):
            nudge = [torch.zeros_like(w1), torch.zeros_like(w2)]
            nudge[which][0, -1] = 1e-6
            up = loss(x, y, w1 + nudge[0], w2 + nudge[1])
            down = loss(x, y, w1 - nudge[0], w2 - nudge[1])
            assert ((up - down) / 2e-6).item() == pytest.approx(gradient[0, -1].item(), rel=1e-5, abs=1e-7)
