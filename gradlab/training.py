"""A short, honest training loop: what it does fits on a screen, and nothing else happens."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import trange

from gradlab.data import Dataset


@dataclass
class History:
    """Attributes:
    loss: cross-entropy of each mini-batch, in nats, one entry a step.
    train_accuracy, test_accuracy: share of examples classified rightly, one entry an epoch.
    """

    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of rows of ``x`` whose largest output is the class in ``y``; the model is left in its mode."""
    was_training = model.training
    model.eval()
    share = (model(x).argmax(1) == y).double().mean().item()
    model.train(was_training)
    return share


def fit(
    model: nn.Module,
    data: Dataset,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    batch_size: int = 64,
    seed: int = 0,
    recorder: object | None = None,
    progress: bool = True,
) -> History:
    """Train a classifier with cross-entropy.

    Args:
        model: maps inputs (batch, ...) to scores (batch, classes).
        data: a ``Dataset``.
        optimizer: any torch optimiser over the model's parameters.
        epochs: passes over the training data, at least 1.
        batch_size: examples a step, at least 1; the last batch of an epoch may be smaller.
        seed: of the order of the examples; the starting weights are the model's own.
        recorder: a ``Recorder`` of the model; it is entered for the length of the training.
        progress: show a bar.
    Returns:
        The ``History``. Training goes on through a loss that is not finite, so that it can be looked at.
    Raises:
        ValueError: for empty data, inputs and labels of different length, or a number below 1.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    for part in ("train", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        if len(x) == 0:
            raise ValueError(f"x_{part} is empty; fit needs at least one example")
        if len(x) != len(y):
            raise ValueError(f"x_{part} has {len(x)} examples but y_{part} has {len(y)} labels")
    generator = torch.Generator().manual_seed(seed)
    history = History()
    model.train()
    with recorder if recorder is not None else nullcontext():
        for _ in trange(epochs, desc="training", unit="epoch", disable=not progress):
            for batch in torch.randperm(len(data.x_train), generator=generator).split(batch_size):
                optimizer.zero_grad()
                loss = cross_entropy(model(data.x_train[batch]), data.y_train[batch])
                loss.backward()
                optimizer.step()
                history.loss.append(loss.item())
            history.train_accuracy.append(accuracy(model, data.x_train, data.y_train))
            history.test_accuracy.append(accuracy(model, data.x_test, data.y_test))
    return history


def descend(learning_rate: float, curvatures: Sequence[float], start: Sequence[float], steps: int) -> Tensor:
    """Walk down the bowl sum(c_i x_i^2) / 2 with ``torch.optim.SGD``.

    Args:
        learning_rate: above 0.
        curvatures: c_i, the second derivative along each axis.
        start: the first position, as many numbers as curvatures.
        steps: at least 1.
    Returns:
        float64 tensor of shape (steps + 1, axes): every position, the start included.
    Raises:
        ValueError: for a learning rate that is not above 0, fewer than 1 step, or lengths that differ.
    """
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0, got {learning_rate!r}")
    if len(curvatures) != len(start):
        raise ValueError(f"{len(curvatures)} curvatures but {len(start)} starting coordinates")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be an integer of at least 1, got {steps!r}")
    position = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    bowl = torch.tensor(curvatures, dtype=torch.float64)
    optimizer = torch.optim.SGD([position], lr=learning_rate)
    path = [position.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        (bowl * position**2).sum().div(2).backward()
        optimizer.step()
        path.append(position.detach().clone())
    return torch.stack(path)
