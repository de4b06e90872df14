"""The losses that a training tells its recorder."""

import math
from array import array
from typing import SupportsFloat

import numpy as np
import torch
from torch import Tensor

from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks
from gradclinic.recording.table import Columns, Row, Table

# So many losses wait on an accelerator one by one; then they are laid side by side, where they take less room.
_WAIT_APART = 1024


class Losses(Observer):
    """Their mean since the last row, that of each step, and the first step whose loss was not finite.

    Elsewhere than on the CPU a loss is copied where it lies, and fetched together with others when a row is written:
    so no step waits for the accelerator.
    """

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0
        self._first_bad: int | None = None
        self._waiting: list[Tensor] = []
        self._steps: list[int] = []  # of those that wait
        self._told_steps, self._told_sums = array("q"), array("d")
        self._told_counts = array("q")  # a step may be told several times
        self._told_before = 0  # how many steps were told before this block

    @property
    def first_bad(self) -> int | None:
        """The first step with a loss of inf or NaN."""
        self._fetch()
        return self._first_bad

    def tell(self, loss: object, step: int) -> None:
        """Take in the loss of a step.

        Raises:
            TypeError: for what is no real number, or a tensor of another kind.
            ValueError: for a tensor or array with no entry, or with several.
        """
        if not isinstance(loss, Tensor):
            self._take(_number(loss), step)
            return
        if loss.numel() != 1:
            raise ValueError(f"log_loss takes one number, got a tensor of shape {tuple(loss.shape)}")
        if loss.is_complex() or loss.dtype is torch.bool:
            raise TypeError(f"log_loss takes a real number, got a tensor of {loss.dtype}")
        if loss.is_cpu:
            self._take(loss.item(), step)
            return
        precise = torch.float64 if loss.dtype is torch.float64 else torch.float32
        self._waiting.append(loss.detach().reshape(1).to(precise, copy=True))  # it may be changed in place later
        self._steps.append(step)
        if len(self._waiting) >= _WAIT_APART:
            self._waiting = [self._side_by_side()]

    def _take(self, loss: float, step: int) -> None:
        self._sum += loss
        self._count += 1
        if self._first_bad is None and not math.isfinite(loss):
            self._first_bad = step
        if self._told_steps and self._told_steps[-1] == step:
            self._told_sums[-1] += loss
            self._told_counts[-1] += 1
        else:
            self._told_steps.append(step)
            self._told_sums.append(loss)
            self._told_counts.append(1)

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps that were told a loss, and the mean loss of each."""
        self._fetch()
        steps = np.array(self._told_steps, np.int64)
        return steps, np.array(self._told_sums, np.float64) / np.array(self._told_counts, np.int64)

    def _side_by_side(self) -> Tensor:
        return torch.cat([loss.to(self._waiting[0]) for loss in self._waiting])

    def _fetch(self) -> None:
        if self._waiting:
            for loss, step in zip(self._side_by_side().tolist(), self._steps, strict=True):
                self._take(loss, step)
            self._waiting, self._steps = [], []

    def columns(self) -> Columns:
        return {"loss": ((), np.float64)}

    def row(self, _ranks: Ranks | None, /) -> Row:
        self._fetch()
        return {"loss": self._sum / self._count if self._count else math.nan}

    def new_block(self) -> None:
        self._fetch()
        self._told_before = len(self._told_steps)

    def written(self) -> None:
        """The row stays, so the next one begins a new mean."""
        self._sum, self._count = 0.0, 0

    def joined(self, _name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        return ranks.mean_loss(own)

    def join_rest(self, ranks: Ranks, /) -> None:
        """The first step whose loss was not finite on any rank."""
        first = ranks.least(math.inf if self.first_bad is None else self.first_bad)
        self._first_bad = int(first) if math.isfinite(first) else None
        new = np.array(self._told_steps[self._told_before :], np.int64)
        if ranks.agree(new.tobytes()):
            means = ranks.mean_loss(self.told()[1][self._told_before :])
            self._told_sums[self._told_before :] = array("d", means)
            self._told_counts[self._told_before :] = array("q", [1] * len(means))

    def fields(self, table: Table, _order: Order, /) -> dict[str, np.ndarray]:
        steps, losses = self.told()
        return {"loss": table["loss"].copy(), "told_step": steps, "told_loss": losses}


def _number(loss: object) -> float:
    """A number of Python or numpy, or whatever knows itself as a float; but no truth value, and no text."""
    if isinstance(loss, np.ndarray):
        if loss.size != 1:
            raise ValueError(f"log_loss takes one number, got an array of shape {loss.shape}")
        loss = loss.reshape(())[()]
    real = loss.dtype.kind in "iuf" if isinstance(loss, np.generic) else isinstance(loss, SupportsFloat)
    if not real or isinstance(loss, bool):
        raise TypeError(f"log_loss takes a real number, or a tensor with one entry, got {loss!r}")
    return float(loss)  # type: ignore[arg-type]  # it supports that
