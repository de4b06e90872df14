"""Lab 08: the references, against numpy and torch's own cell."""

import numpy as np
import pytest
import torch

from gradclinic.course.exercises import recurrence
from tests.helpers.seeds import every_seed


@every_seed
def test_a_step_of_an_lstm_by_hand_and_what_its_biases_do_in_torch(seed):
    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    for case in recurrence.LSTM_STEP.cases(seed):
        x, h, c, w_x, w_h, bias = (part.numpy() for part in case)
        i, f, g, o = np.split(x @ w_x.T + h @ w_h.T + bias, 4, axis=1)
        kept = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        state, cell = recurrence.LSTM_STEP.reference(*case)
        assert cell.numpy() == pytest.approx(kept)
        assert state.numpy() == pytest.approx(sigmoid(o) * np.tanh(kept))
    for b_x, b_h, bias in recurrence.FORGET_BIAS.cases(seed):
        units = len(b_x) // 4
        layer = torch.nn.LSTMCell(2, units, dtype=torch.float64)
        with torch.no_grad():
            for parameter, value in zip(
                (layer.bias_ih, layer.bias_hh), recurrence.FORGET_BIAS.reference(b_x, b_h, bias), strict=True
            ):
                parameter.copy_(value)
            layer.weight_ih.zero_(), layer.weight_hh.zero_()
            zero, one = torch.zeros(1, units, dtype=torch.float64), torch.ones(1, units, dtype=torch.float64)
            kept = (
                layer(torch.zeros(1, 2).double(), (zero, one))[1] - layer(torch.zeros(1, 2).double(), (zero, zero))[1]
            )
        assert kept.numpy() == pytest.approx(sigmoid(bias))  # what is left of a cell that held 1


@every_seed
def test_a_cell_holds_the_share_after_so_many_steps_and_a_radius_is_met(seed):
    for bias, share in recurrence.REMEMBERED.cases(seed):
        steps = recurrence.REMEMBERED.reference(bias, share)
        assert torch.sigmoid(torch.tensor(bias, dtype=torch.float64)).item() ** steps == pytest.approx(share)
    for w, radius in recurrence.SCALED.cases(seed):
        scaled = recurrence.SCALED.reference(w, radius).numpy()
        assert np.abs(np.linalg.eigvals(scaled)).max() == pytest.approx(radius)
        assert np.linalg.matrix_rank(np.stack([scaled.ravel(), w.numpy().ravel()])) == 1
        assert (scaled * w.numpy() >= 0).all()
