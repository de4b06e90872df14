"""Own claims about recurrence: eigenvalues, starts, and the ways back through an LSTM."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.recurrence import cell_memory, through_time
from gradclinic.course.data import adding_problem
from gradclinic.course.models import RecurrentClassifier
from gradclinic.course.training import fit
from gradclinic.recorder import probe


def held_at_a_slope(w: Tensor, biases: Sequence[float], state: Sequence[float], steps: int = 50) -> float:
    """Norm of d h_T / d h_0 of a tanh cell without inputs, by autograd, in float64.

    Args:
        w: the state-to-state weights, shape (units, units).
        biases, state: of each unit; the state is h_0.
        steps: T.
    """
    cell = nn.RNNCell(1, len(w)).double()
    with torch.no_grad():
        cell.weight_hh.copy_(w)
        cell.bias_ih.copy_(torch.tensor(biases))
        cell.bias_hh.zero_()

    def walk(h: Tensor) -> Tensor:
        for _ in range(steps):
            h = cell(torch.zeros(1, dtype=torch.float64), h)
        return h

    jacobian = torch.autograd.functional.jacobian(walk, torch.tensor(state, dtype=torch.float64))
    return float(torch.linalg.matrix_norm(jacobian, 2))


def _gradient_through(cell: nn.RNNCellBase, inputs: Tensor, state: Tensor, signs: Tensor) -> float:
    """Gradient norm at the first state over that at the last; the loss is a signed sum of the last."""
    states = []
    for step in inputs.unbind(1):
        state = cell(step, state)
        states.append(state)
    first, last = torch.autograd.grad((states[-1] * signs).sum(), (states[0], states[-1]))
    return float(first.norm() / last.norm())


@memory.cache
def without_eigenvalues(
    length: int = 50, gain: float = 2.0, seeds: Sequence[int] = SEEDS
) -> tuple[np.ndarray, np.ndarray]:
    """Plain cells whose state-to-state matrix has no eigenvalue but 0: its size in the spectrum, and the gradient.

    Of 128 units the second half is held at the flat end of tanh by large biases; the first half is a Gaussian matrix A
    of spectral radius ``gain``. The whole, (A, I; -A^2, -A), has the square 0. Returns the spectral radius that LAPACK
    finds, and the gradient norm at the first state over that at the last, on 16 adding problems; both of shape
    (seeds,).
    """
    radii, ratios = [], []
    for seed in seeds:
        model = RecurrentClassifier("rnn", 64, in_features=2, out_features=1, recurrent_init=gain, seed=seed).double()
        a = model.cell.weight_hh.detach()
        whole = torch.cat([torch.cat([a, torch.eye(64, dtype=torch.float64)], dim=1), torch.cat([-a @ a, -a], dim=1)])
        cell = nn.RNNCell(2, 128).double()
        with torch.no_grad():
            cell.weight_hh.copy_(whole)
            cell.weight_ih.zero_()
            cell.weight_ih[:64] = model.cell.weight_ih
            cell.bias_hh.zero_()
            cell.bias_ih[:64] = -1.0  # takes away the 1 that comes from the second half
            cell.bias_ih[64:] = 100.0
        generator = torch.Generator().manual_seed(seed)
        inputs = adding_problem(length, 16, seed).x_train.double()
        state = torch.cat([torch.zeros(16, 64), torch.ones(16, 64)], dim=1).double()
        signs = torch.randint(0, 2, (128,), generator=generator).double() * 2 - 1
        radii.append(float(torch.linalg.eigvals(whole).abs().max()))
        ratios.append(_gradient_through(cell, inputs, state, signs))
    return np.array(radii), np.array(ratios)


@memory.cache
def with_singular_value(largest: float, length: int = 50, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Gradient at the first state over the last of plain cells with orthogonal weights times a number; shape (seeds,).

    64 units, no inputs, a small state: the slopes of tanh are near 1, so that the matrix alone counts.
    """
    found = []
    for seed in seeds:
        model = RecurrentClassifier("rnn", 64, in_features=2, out_features=1, recurrent_init="orthogonal", seed=seed)
        cell = model.cell.double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            cell.weight_hh.mul_(largest)
            cell.bias_ih.zero_()
            cell.bias_hh.zero_()
        state = 1e-3 * torch.randn(16, 64, generator=generator, dtype=torch.float64)
        inputs = torch.zeros(16, length, 2, dtype=torch.float64)
        signs = torch.randint(0, 2, (64,), generator=generator).double() * 2 - 1
        found.append(_gradient_through(cell, inputs, state, signs))
    return np.array(found)


@claim("T25")
def _t25() -> Finding:
    small = torch.tensor([[2.0, 4.0], [-1.0, -2.0]], dtype=torch.float64)
    radii, ratios = without_eigenvalues()
    limit = 0.99**49
    by_hand = 2**49 * math.sqrt(20)
    return Finding(
        "T25",
        "Through tanh a gradient can explode though the spectral radius of the state matrix is 0. With a largest "
        "singular value below 1 it vanishes.",
        (
            each(
                "largest entry of the square of (2, 4; −1, −2): with 0, all its eigenvalues are 0",
                [(small @ small).abs().max()],
                "0",
                lambda v: v == 0,
            ),
            each(
                "norm of its Jacobian over 50 steps, one unit at the steepest place of tanh, the other at the flat end",
                [held_at_a_slope(small, (-4.0, 100.0), (0.0, 1.0))],
                "2⁴⁹·√20, by hand, ± 0.1 %",
                lambda v: abs(v / by_hand - 1) < 1e-3,
            ),
            each("spectral radius of 128 units of that kind", radii, "0, up to rounding", lambda v: v < 1e-5),
            each(
                "gradient at the first of 50 states over the last, on adding problems",
                ratios,
                "above 100",
                lambda v: v > 100,
            ),
            each(
                "the same, 64 units, all singular values 0.99, slopes near 1",
                with_singular_value(0.99),
                f"at most 0.99⁴⁹ = {limit:.2f}",
                lambda v: v <= limit * (1 + 1e-9),
            ),
        ),
    )


@memory.cache
def orthogonal_adding(length: int, epochs: int, seed: int) -> np.ndarray:
    """Test error after each epoch of a plain cell with an orthogonal start; all else as ``recurrence.adding_run``."""
    data = adding_problem(length, 4096, seed)
    model = RecurrentClassifier("rnn", 32, in_features=2, out_features=1, recurrent_init="orthogonal", seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = fit(model, data, optimizer, epochs, batch_size=32, clip_norm=1.0, seed=seed, progress=False)
    return np.array(history.test_loss)


@claim("T30")
def _t30() -> Finding:
    return Finding(
        "T30",
        "An orthogonal start alone does not teach a plain cell to add two numbers of 20 in the steps in which gated "
        "cells learn it.",
        (
            each(
                "test error after 512 steps of Adam at 0.01, orthogonal start",
                [orthogonal_adding(20, 4, seed)[-1] for seed in SEEDS],
                "above 0.05; gated cells are below 0.02 then (S19), answering 1 gives 0.167",
                lambda v: v > 0.05,
            ),
            each(
                "gradient at the first of 20 states over the last, before training",
                through_time("rnn", 20, "orthogonal")[:, 0],
                "between 0.1 and 1: it is not that the gradient vanished",
                lambda v: 0.1 < v < 1,
            ),
        ),
    )


def open_by_chrono(cell: nn.RNNCellBase, horizon: int, seed: int) -> None:
    """Give an LSTM the start of Tallec & Ollivier 2018: forget biases ln u, u uniform from 1 to horizon - 1.

    The input gate's biases are the negatives of these, so that a unit which forgets slowly also takes in slowly.
    """
    units = cell.hidden_size
    draws = torch.rand(units, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        cell.bias_ih[units : 2 * units] = (1 + draws * (horizon - 2)).log()
        cell.bias_ih[:units] = -cell.bias_ih[units : 2 * units]
        cell.bias_hh[: 2 * units] = 0


@memory.cache
def chrono_through_time(length: int, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """First column of ``recurrence.through_time``, of an LSTM with the chrono start for that length; shape (seeds,)."""
    found = []
    for seed in seeds:
        data = adding_problem(length, 64, seed)
        model = RecurrentClassifier("lstm", 64, in_features=2, out_features=1, seed=seed)
        open_by_chrono(model.cell, length, seed)
        found.append(float(probe(model, data.x_train, data.y_train, mse_loss).time_ratio[0, 0]))
    return np.array(found)


@claim("T32")
def _t32() -> Finding:
    horizons = [theory.memory_horizon(math.log(u)) - u for u in (2, 10, 49)]
    return Finding(
        "T32",
        "Forget biases ln u remember for about u steps. Spread over the length of the sequence, they let a fresh LSTM "
        "hand back far more of the gradient.",
        (
            each(
                "horizon of a bias of ln u, less u, largest distance from 1/2 for u = 2, 10, 49",
                [max(abs(h - 0.5) for h in horizons)],
                "below 0.05",
                lambda v: v < 0.05,
            ),
            each(
                "gradient at the first of 50 states over the last, LSTM with the chrono start",
                chrono_through_time(50),
                "above 0.001",
                lambda v: v > 1e-3,
            ),
            each("the same with PyTorch's start", through_time("lstm", 50)[:, 0], "below 10⁻⁹", lambda v: v < 1e-9),
        ),
    )


@claim("T33")
def _t33() -> Finding:
    along, through = (cell_memory(0.0, 50, through_gates)[:, -1] for through_gates in (False, True))
    return Finding(
        "T33",
        "Through half-open gates next to nothing of a gradient comes back along the cell; most of what arrives in a "
        "fresh LSTM comes by way of the output.",
        (
            each(
                "factor along the cell per step, forget bias 0, 49 steps",
                along ** (1 / 49),
                "0.50 ± 0.02: a gate that is half open",
                lambda v: abs(v - 0.5) < 0.02,
            ),
            each(
                "gradient by all ways over that along the cell alone", through / along, "above 100", lambda v: v > 100
            ),
        ),
    )
