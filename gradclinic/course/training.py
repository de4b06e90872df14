"""A short, honest training loop: what it does fits on a screen, and nothing else happens."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from tqdm.auto import trange

from gradclinic.arguments import number, whole
from gradclinic.course.data import Dataset
from gradclinic.recorder import Recorder


@dataclass
class History:
    """Attributes:
    loss: of each mini-batch, one entry a step: cross-entropy in nats, or the mean squared error for numbers.
    test_loss: the same of all test examples, one entry an epoch.
    train_accuracy, test_accuracy: share of examples classified rightly, one entry an epoch; none for numbers.
    """

    loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


def _paired(x: Tensor, y: Tensor, x_name: str, y_name: str) -> None:
    """Refuse what has no example, and labels of another length, which could be broadcast without a word."""
    if len(x) == 0:
        raise ValueError(f"{x_name} is empty: its length is 0, and at least one example is needed")
    if len(x) != len(y):
        raise ValueError(f"{x_name} has {len(x)} examples but {y_name} has {len(y)} labels")


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of rows of ``x`` whose largest output is the class in ``y``; the model is left in its mode.

    Raises:
        ValueError: for no example, or inputs and labels of different length.
    """
    _paired(x, y, "x", "y")
    return _share_right(_answers(model, x), y)


@torch.no_grad()
def _answers(model: nn.Module, x: Tensor) -> Tensor:
    was_training = model.training
    model.eval()
    answers: Tensor = model(x)
    model.train(was_training)
    return answers


def _share_right(answers: Tensor, y: Tensor) -> float:
    return (answers.argmax(1) == y).double().mean().item()


def chance_loss(y: Tensor) -> float:
    """Loss of the best answer that ignores the input: what a network that learns nothing cannot beat.

    Args:
        y: class labels (integers), or numbers (floating point); at least one.
    Returns:
        The entropy of the shares of the classes, in nats, or the variance of the numbers.
    Raises:
        ValueError: for no target at all.
    """
    if len(y) == 0:
        raise ValueError("chance_loss needs at least one target, got none")
    if y.is_floating_point():
        return float(y.double().var(correction=0))
    return float(torch.special.entr(torch.bincount(y).double() / len(y)).sum())


def fit(
    model: nn.Module,
    data: Dataset,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    batch_size: int = 64,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
    progress: bool = True,
) -> History:
    """Train a classifier with cross-entropy, or with the mean squared error where the targets are numbers.

    Args:
        model: maps inputs (batch, ...) to scores (batch, classes), or to numbers (batch,).
        data: a ``Dataset``.
        optimizer: any torch optimiser over the model's parameters.
        epochs: passes over the training data, at least 1.
        batch_size: examples a step, at least 1; the last batch of an epoch may be smaller.
        clip_norm, clip_value: bounds applied to the gradient before each step, by ``torch.nn.utils``: on its norm
            over all parameters, or on each entry.
        seed: of the order of the examples; the starting weights are the model's own.
        recorder: a ``Recorder`` of the model; it is entered for the length of the training.
        progress: show a bar.
    Returns:
        The ``History``. Training goes on through a loss that is not finite, so that it can be looked at.
    Raises:
        ValueError: for empty data, inputs and labels of different length, a number below 1, or a bound that is not
            above 0.
        TypeError: for a model, data, optimizer or recorder that is none, a bound that is no number, or epochs, a
            batch_size or a seed that is no integer.
    """
    wanted = {"model": (model, nn.Module), "data": (data, Dataset), "optimizer": (optimizer, torch.optim.Optimizer)}
    for name, (value, kind) in wanted.items():
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r}")
    if not isinstance(recorder, Recorder | None):
        raise TypeError(f"recorder must be a Recorder or None, got {recorder!r}")
    epochs, batch_size = whole("epochs", epochs), whole("batch_size", batch_size)
    for name, bound in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if bound is not None:
            number(name, bound, above_minimum=True)
    _paired(data.x_train, data.y_train, "x_train", "y_train")
    _paired(data.x_test, data.y_test, "x_test", "y_test")
    generator = torch.Generator().manual_seed(whole("seed", seed, -math.inf))
    history = History()
    numbers = data.y_train.is_floating_point()
    loss_function = mse_loss if numbers else cross_entropy
    model.train()
    if recorder is not None and recorder.chance_loss is None:
        recorder.chance_loss = chance_loss(data.y_train)
    watched: AbstractContextManager[object] = nullcontext() if recorder is None else recorder
    with watched:
        for _ in trange(epochs, desc="training", unit="epoch", disable=not progress):
            for batch in torch.randperm(len(data.x_train), generator=generator).split(batch_size):
                optimizer.zero_grad()
                loss = loss_function(model(data.x_train[batch]), data.y_train[batch])
                loss.backward()
                if recorder is not None:
                    recorder.log_loss(loss)
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                if clip_value is not None:
                    nn.utils.clip_grad_value_(model.parameters(), clip_value)
                optimizer.step()
                history.loss.append(loss.item())
            answers = _answers(model, data.x_test)
            history.test_loss.append(loss_function(answers, data.y_test).item())
            if not numbers:
                history.train_accuracy.append(accuracy(model, data.x_train, data.y_train))
                history.test_accuracy.append(_share_right(answers, data.y_test))
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
        ValueError: for a learning rate that is not finite and above 0, fewer than 1 step, no axis, or lengths that
            differ.
        TypeError: for a learning rate that is no number, or steps that are no integer.
    """
    learning_rate = number("learning_rate", learning_rate, above_minimum=True)
    if len(curvatures) == 0 or len(curvatures) != len(start):
        raise ValueError(
            f"one curvature is needed for each starting coordinate, and at least one of them; got {len(curvatures)} "
            f"curvatures and {len(start)} coordinates"
        )
    steps = whole("steps", steps)
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
