"""Claims about recurrence through time and about clipping."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import adding_problem, digits
from gradclinic.course.models import MLP, RecurrentClassifier
from gradclinic.course.training import fit
from gradclinic.recorder import Recorder, probe


class Adding(NamedTuple):
    """What is kept of one training run on the adding problem.

    Attributes:
        errors: mean squared test error after each epoch; answering always 1 gives 1/6.
        ratio_before, ratio_after: of the trained network and of its start, the gradient norm at the state after the
            first step over that after the last (``Record.time_ratio``), on 256 test sequences.
    """

    errors: np.ndarray
    ratio_before: float
    ratio_after: float


@memory.cache
def adding_run(cell: str, length: int, epochs: int, seed: int, forget_bias: float | None = None) -> Adding:
    """Train on the adding problem: 32 units, Adam at 0.01, clipped at a norm of 1.

    An epoch is 128 batches of 32 sequences.
    """
    data = adding_problem(length, 4096, seed)
    model = RecurrentClassifier(cell, 32, in_features=2, out_features=1, forget_bias=forget_bias, seed=seed)

    def ratio() -> float:
        return float(probe(model, data.x_test[:256], data.y_test[:256], mse_loss).time_ratio[0, 0])

    before = ratio()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = fit(model, data, optimizer, epochs, batch_size=32, clip_norm=1.0, seed=seed, progress=False)
    return Adding(np.array(history.test_loss), before, ratio())


@memory.cache
def through_time(
    cell: str,
    length: int,
    recurrent_init: str | float = "pytorch",
    forget_bias: float | None = None,
    seeds: Sequence[int] = SEEDS,
) -> np.ndarray:
    """Gradient norm at the state after each time step, over that after the last; 64 units, 64 adding problems.

    Shape (seeds, length). The loss is the mean squared error of the answer after the last step. The first column is
    ``Record.time_ratio`` of the cell.
    """
    rows = []
    for seed in seeds:
        data = adding_problem(length, 64, seed)
        model = RecurrentClassifier(
            cell,
            64,
            in_features=2,
            out_features=1,
            recurrent_init=recurrent_init,
            forget_bias=forget_bias,
            seed=seed,
        )
        states: list[Tensor] = []

        def keep(
            _module: object, _inputs: object, output: Tensor | tuple[Tensor, Tensor], states: list[Tensor] = states
        ) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        handle = model.cell.register_forward_hook(keep)
        loss = mse_loss(model(data.x_train), data.y_train)
        handle.remove()
        norms = [float(g.double().norm()) for g in torch.autograd.grad(loss, states)]
        rows.append(np.array(norms) / norms[-1])
    return np.stack(rows)


@memory.cache
def cell_memory(
    forget_bias: float, length: int, through_gates: bool = False, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """What the cell of a fresh LSTM still holds of itself after 0, 1, ... steps: size of d c_T / d c_(T - k).

    Shape (seeds, length), 1 in the first column. By autograd, of a sum of the units of c_T with random signs, as a norm
    over 64 units and 64 adding problems. Without ``through_gates`` the state that the gates read is taken as given, so
    that only the path from cell to cell counts, as in Hochreiter & Schmidhuber 1997, section 4.
    """
    rows = []
    for seed in seeds:
        model = RecurrentClassifier("lstm", 64, in_features=2, out_features=1, forget_bias=forget_bias, seed=seed)
        signs = torch.randint(0, 2, (64,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
        state, cells = torch.zeros(64, 64), [torch.zeros(64, 64, requires_grad=True)]
        for inputs in adding_problem(length, 64, seed).x_train[:, 1:].unbind(1):
            state, cell = model.cell(inputs, (state if through_gates else state.detach(), cells[-1]))
            cells.append(cell)
        norms = [float(g.double().norm()) for g in torch.autograd.grad((cells[-1] * signs).sum(), cells)]
        rows.append(np.array(norms[::-1]) / norms[-1])
    return np.stack(rows)


def predicted_through_time(radius: float, length: int) -> np.ndarray:
    """What ``theory`` predicts for ``through_time`` of a plain cell with this spectral radius; shape (length,).

    The radius of a wide Gaussian matrix is its weight scale (the circular law). Inputs and both biases enter like one
    bias: numbers from 0 to 1 and two marks, through weights of variance 1 / (3 * 64).
    """
    drive = math.sqrt((1 / 3 + 2 / length + 2) / (3 * 64))
    # a state is followed by the slopes of the next step only, hence one layer more, and the first left out
    return theory.gradient_profile("tanh", length + 1, radius, 0.0, bias_std=drive)[1:].numpy()


def horizon(kept: np.ndarray) -> float:
    """The number of steps after which a decaying row of ``cell_memory`` is 1/e, by interpolating its logarithm."""
    below = int(np.argmax(kept < math.exp(-1)))
    if kept[below] >= math.exp(-1):
        return math.inf
    before, after = np.log(kept[below - 1]), np.log(kept[below])
    return float(below - 1 + (before + 1) / (before - after))


ADDING_SEEDS = SEEDS[:10]  # trainings are compared on ten seeds; gradients are measured on twenty


@claim("S19")
def _s19() -> Finding:
    runs = {cell: [adding_run(cell, 20, 4, seed) for seed in ADDING_SEEDS] for cell in ("rnn", "lstm", "gru")}
    names = {"rnn": "plain cell", "lstm": "LSTM", "gru": "GRU"}
    kept = cell_memory(2.0, 50)
    predicted = float(theory.cell_memory(2.0, 1)[1])
    return Finding(
        "S19",
        "LSTM and GRU ease vanishing gradients in sequences, by gating.",
        (
            each(
                "test error of the plain cell after 512 steps, adding two numbers of 20",
                [run.errors[-1] for run in runs["rnn"]],
                "above 0.1; answering always 1 gives 0.167",
                lambda v: v > 0.1,
            ),
            *(
                each(
                    f"the same of the {names[cell]}",
                    [run.errors[-1] for run in runs[cell]],
                    "below 0.02",
                    lambda v: v < 0.02,
                )
                for cell in ("lstm", "gru")
            ),
            *(
                each(
                    f"gradient at the first state over that at the last, {names[cell]}, trained over fresh",
                    [run.ratio_after / run.ratio_before for run in runs[cell]],
                    "above 100: the gates have learned to keep it",
                    lambda v: v > 100,
                )
                for cell in ("lstm", "gru")
            ),
            each(
                "factor of a cell's gradient per step, along the cell, fresh LSTM with forget bias 2, 49 steps",
                kept[:, -1] ** (1 / 49),
                f"{predicted:.4f} ± 2 %, the sigmoid of the bias",
                lambda v: abs(v / predicted - 1) < 0.02,
            ),
        ),
    )


def gradient_vector(model: torch.nn.Module) -> Tensor:
    """All gradients of a model as one vector, float64; shape (parameters,)."""
    return torch.cat([p.grad.detach().double().flatten() for p in model.parameters() if p.grad is not None])


@functools.cache
def clipped_gradients(threshold: float = 1.0) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """(gradient, the same after torch's clipping) of 20 exploding tanh layers, by "norm" and by "value", one a seed."""
    clips: dict[str, Callable[..., object]] = {
        "norm": torch.nn.utils.clip_grad_norm_,
        "value": torch.nn.utils.clip_grad_value_,
    }
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {how: [] for how in clips}
    for seed in SEEDS:
        model = MLP(20, 32, "tanh", 4.0, seed=seed)
        for how, clip in clips.items():
            model.zero_grad()
            cross_entropy(model(digits_batch()[0]), digits_batch()[1]).backward()
            before = gradient_vector(model)
            clip(model.parameters(), threshold)
            pairs[how].append((before, gradient_vector(model)))
    return pairs


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two vectors."""
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def vanishing_and_clipped(clip_norm: float, seed: int) -> tuple[float, int, float]:
    """One epoch of 20 sigmoid layers on the digits, with and without clipping.

    Returns:
        The largest gradient norm of the run without it; how many weights end differently with it; and the gradient
        norm of layer 1 after clipping over before, in the first step.
    """
    free, held = (MLP(20, 32, "sigmoid", "he", seed=seed) for _ in range(2))
    recorder = Recorder(free, activations=False, every=1)
    for model, bound, watch in ((free, None, recorder), (held, clip_norm, None)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, digits(), optimizer, 1, clip_norm=bound, seed=seed, recorder=watch, progress=False)
    ends = [torch.nn.utils.parameters_to_vector(model.parameters()).detach() for model in (free, held)]
    model = MLP(20, 32, "sigmoid", "he", seed=seed)
    cross_entropy(model(digits_batch()[0]), digits_batch()[1]).backward()
    before = float(model.layer1.weight.grad.double().norm())
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    after = float(model.layer1.weight.grad.double().norm())
    largest = float(np.sqrt((recorder.record.gradient_norm**2).sum(1)).max())
    return largest, int((ends[0] != ends[1]).sum()), after / before


@claim("S20")
def _s20() -> Finding:
    exploding = [float(after.norm()) for _, after in clipped_gradients()["norm"]]
    _, changed, factor = zip(*(vanishing_and_clipped(5.0, seed) for seed in SEEDS), strict=True)
    return Finding(
        "S20",
        "Gradient clipping keeps gradients from becoming too small, and from exploding.",
        (
            each(
                "gradient norm after clipping at 1, 20 tanh layers, σ_w = 4",
                exploding,
                "at most 1",
                lambda v: v <= 1 + 1e-6,
            ),
            each(
                "gradient of layer 1 after clipping at 5 over before, 20 sigmoid layers",
                factor,
                "above 1, if clipping keeps it from becoming too small",
                lambda v: v > 1,
            ),
            each(
                "weights that end differently after an epoch with clipping, 20 sigmoid layers",
                changed,
                "above 0, if clipping changes anything",
                lambda v: v > 0,
            ),
        ),
    )


def cliff_loss(w: Tensor, b: Tensor, steps: int = 50) -> Tensor:
    """Loss of one unit, x ← w·sigmoid(x) + b from x = 0.5, asked for an output of 0.7 after ``steps`` steps.

    Args:
        w, b: float64, of one shape, which is the loss's too.
    Source: Pascanu et al. 2013, figure 6.
    """
    x = torch.full_like(w, 0.5)
    for _ in range(steps):
        x = w * torch.sigmoid(x) + b
    return (torch.sigmoid(x) - 0.7) ** 2


class Walks(NamedTuple):
    """``path``: shape (walks, steps + 1, 2), weight and bias; ``loss`` and ``gradient_norm``: shape (walks, steps)."""

    path: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray


def cliff_starts(count: int = len(SEEDS)) -> list[list[float]]:
    """Starts on the plateau above the cliff: a weight from 5 to 6.5 and a bias from -2.6 to -2."""
    draws = torch.rand(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (torch.tensor([5.0, -2.6]) + torch.tensor([1.5, 0.6]) * draws).tolist()


@memory.cache
def cliff_walks(
    starts: Sequence[Sequence[float]], learning_rate: float, clip_norm: float | None = None, steps: int = 150
) -> Walks:
    """``torch.optim.SGD`` on ``cliff_loss`` from each start, with torch's own clipping; norms are those before."""
    # side by side, because the loss is slow; each walk is a parameter of its own and is clipped by its own norm
    positions = [torch.nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in starts]
    optimizer = torch.optim.SGD(positions, lr=learning_rate)
    path, losses, norms = [[p.tolist() for p in positions]], [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cliff_loss(*torch.stack(list(positions), dim=1))
        loss.sum().backward()
        losses.append(loss.tolist())
        norms.append([p.grad.norm().item() for p in positions if p.grad is not None])
        if clip_norm is not None:
            for position in positions:
                torch.nn.utils.clip_grad_norm_([position], clip_norm)
        optimizer.step()
        path.append([p.tolist() for p in positions])
    return Walks(np.swapaxes(path, 0, 1), np.array(losses).T, np.array(norms).T)


@claim("S33")
def _s33() -> Finding:
    pairs = clipped_gradients()
    by_norm, by_value = pairs["norm"], pairs["value"]
    free, held = (cliff_walks(cliff_starts(), 0.5, clip) for clip in (None, 0.5))

    def longest(walks: Walks) -> np.ndarray:
        lengths: np.ndarray = np.linalg.norm(np.diff(walks.path, axis=1), axis=2).max(1)
        return lengths

    return Finding(
        "S33",
        "Clipping sets a maximum for the gradient; what exceeds the threshold becomes the threshold.",
        (
            each(
                "by value at 1: share of the entries beyond it that become 1 or -1, 20 tanh layers, σ_w = 4",
                [float((after[before.abs() > 1].abs() == 1).double().mean()) for before, after in by_value],
                "1",
                lambda v: v == 1,
            ),
            each(
                "norm of that gradient",
                [float(after.norm()) for _, after in by_value],
                "at most 1, if the gradient has got a maximum",
                lambda v: v <= 1,
            ),
            each(
                "cosine between that gradient and the one before",
                [cosine(*pair) for pair in by_value],
                "above 0.99, if only its size is limited",
                lambda v: v > 0.99,
            ),
        ),
        "There are two kinds. By value, each entry has its maximum, and the direction turns. By norm, the whole "
        "gradient is scaled to the threshold, and the direction is kept. Then no step of plain gradient descent is "
        "longer than learning rate × threshold.",
        (
            each(
                "by norm at 1: norm of the gradient",
                [float(after.norm()) for _, after in by_norm],
                "1",
                lambda v: abs(v - 1) < 1e-5,
            ),
            each(
                "cosine between that gradient and the one before",
                [cosine(*pair) for pair in by_norm],
                "1",
                lambda v: abs(v - 1) < 1e-9,
            ),
            each(
                "longest step at the cliff of Pascanu 2013, clipped by norm at 0.5, learning rate 0.5",
                longest(held),
                "at most 0.25",
                lambda v: v <= 0.25 + 1e-9,
            ),
            each("the same without clipping", longest(free), "above 0.25", lambda v: v > 0.25),
            each(
                "smallest error in the last 50 steps there, clipped",
                held.loss[:, -50:].min(1),
                "below 0.01: it has stayed at the cliff, where the minimum is",
                lambda v: v < 0.01,
            ),
        ),
    )


class ClipRun(NamedTuple):
    """``accuracy`` on the test images at the end; ``norms``: of the whole gradient before clipping, shape (steps,)."""

    accuracy: float
    norms: np.ndarray


@memory.cache
def clip_run(scale: float, percentile: float | None, seed: int) -> ClipRun:
    """20 tanh layers of 32 units, SGD at 0.3, 4 epochs on the digits; clipped by norm, or not with None.

    The threshold is that percentile of the gradient norms recorded in the run of the same seed without clipping.
    """
    bound = None if percentile is None else float(np.percentile(clip_run(scale, None, seed).norms, percentile))
    model = MLP(20, 32, "tanh", scale, seed=seed)
    recorder = Recorder(model, activations=False, every=1) if bound is None else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    history = fit(model, digits(), optimizer, 4, clip_norm=bound, seed=seed, recorder=recorder, progress=False)
    norms = np.empty(0) if recorder is None else np.sqrt((recorder.record.gradient_norm**2).sum(1))
    return ClipRun(history.test_accuracy[-1], norms)


def spiked_steps(optimizer: str, spike: float, clip_norm: float | None, steps: int = 200, at: int = 100) -> np.ndarray:
    """Size of each step over the learning rate, of one weight with a gradient of 1, ``spike`` in step ``at``."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    trainer = getattr(torch.optim, optimizer)([weight], lr=1e-3)
    sizes = []
    for step in range(steps):
        weight.grad = torch.full_like(weight, spike if step == at else 1.0)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([weight], clip_norm)
        before = weight.item()
        trainer.step()
        sizes.append(abs(weight.item() - before) / 1e-3)
    return np.array(sizes)
