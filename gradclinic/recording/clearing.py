"""Whether the gradients of one step are still there when the next one's are computed."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import distributed, nn

from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks, own
from gradclinic.recording.table import Columns, Row, Table

# So many gradients are looked at, the smallest.
_LOOKED_AT = 3


class Clearing(Observer):
    """Looks at gradients when a backward pass begins. Accumulation on purpose begins, once a step, with none; whoever
    forgets to clear them, and adds to those of the step before, never does.

    Args:
        parameters: those that an optimiser holds; nobody has to clear the others.
    """

    def __init__(self, parameters: Callable[[], Sequence[nn.Parameter]]):
        self._parameters = parameters
        self._passes = self._dirty = 0  # backward passes since the last step; those that began with old gradients
        self._first = True  # whether no step was recorded yet

    def columns(self) -> Columns:
        return {"uncleared": ((), np.bool_)}

    def backward_begins(self) -> None:
        self._passes += 1
        there = [p.grad for p in self._parameters() if p.grad is not None and not p.grad.is_sparse]
        few = sorted((own(gradient.detach()) for gradient in there), key=lambda gradient: gradient.numel())[:_LOOKED_AT]
        self._dirty += any(bool((gradient != 0).any()) for gradient in few)

    def forget(self) -> None:
        self._passes = self._dirty = 0

    def row(self, _ranks: Ranks | None, /) -> Row:
        found = not self._first and 0 < self._passes == self._dirty
        self._first = False
        return {"uncleared": found}

    def joined(self, _name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        return ranks.reduced(own.astype(np.uint8), distributed.ReduceOp.MIN).astype(bool)

    def fields(self, table: Table, _order: Order, /) -> dict[str, np.ndarray]:
        return {"uncleared": table["uncleared"].copy()}
