"""Lab 09: the references, against torch's own clipping and a walk by hand."""

import numpy as np
import pytest
import torch

from gradclinic.course.exercises import clipping
from tests.helpers.seeds import every_seed


@every_seed
def test_clipping_agrees_with_torch(seed):
    for gradients, threshold in clipping.CLIPPED.cases(seed):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(parameters, threshold)
        for parameter, mine in zip(parameters, clipping.CLIPPED.reference(gradients, threshold), strict=True):
            assert torch.allclose(parameter.grad, mine, rtol=1e-5)
    for gradient, value in clipping.KEPT_DIRECTION.cases(seed):
        parameter = torch.nn.Parameter(torch.zeros_like(gradient))
        parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_value_([parameter], value)
        expected = np.dot(gradient, parameter.grad) / np.linalg.norm(gradient) / np.linalg.norm(parameter.grad)
        assert clipping.KEPT_DIRECTION.reference(gradient, value).item() == pytest.approx(expected)


@every_seed
def test_clipped_walks_are_those_of_pen_and_paper(seed):
    for loss, start, learning_rate, threshold, steps in clipping.TRAINED.cases(seed):
        w = start.numpy().copy()
        for _ in range(steps):
            away = w - loss.bottom.numpy()
            gradient = loss.curvature.numpy() * away + 3 * loss.steepness * np.linalg.norm(away) * away
            gradient *= min(1, threshold / np.linalg.norm(gradient))
            w -= learning_rate * gradient
        *weights, last = clipping.TRAINED.reference(loss, start, learning_rate, threshold, steps)
        assert [float(v) for v in weights] == pytest.approx(w.tolist(), rel=1e-4, abs=1e-6)
        assert float(last) == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


@every_seed
def test_the_share_of_the_steps_lies_above_the_threshold(seed):
    for norms, share in clipping.THRESHOLD.cases(seed):
        finite = norms[norms.isfinite()]
        above = (finite > clipping.THRESHOLD.reference(norms, share)).sum().item()
        assert above == round(share * len(finite))
