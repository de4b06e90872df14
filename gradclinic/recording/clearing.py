"""Whether the gradients of one step are still there when the next one's are computed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import distributed, nn

from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks, own
from gradclinic.recording.table import Columns, Row, Table

# So many gradients of each optimiser are looked at, the smallest.
_LOOKED_AT = 3


class Held:
    """What one optimiser holds, and the backward passes since its last step: how many began, and with old gradients."""

    def __init__(self, parameters: Sequence[nn.Parameter]):
        self.few = sorted(parameters, key=lambda p: p.numel())[:_LOOKED_AT]
        self.passes = self.dirty = 0

    def backward_begins(self) -> None:
        there = [own(p.grad.detach()) for p in self.few if p.grad is not None and not p.grad.is_sparse]
        self.passes += 1
        self.dirty += any(bool((gradient != 0).any()) for gradient in there)


class Clearing(Observer):
    """Looks at gradients when a backward pass begins, for each optimiser on its own: nobody has to clear what another
    holds. Accumulation on purpose begins, once a step, with none, and so does a loss that takes gradients of its own
    first; whoever forgets to clear them, and adds to those of the step before, never does."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._found = False

    def columns(self) -> Columns:
        return {"uncleared": ((), np.bool_)}

    def know(self, optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        """An optimiser that steps holds these."""
        if id(optimizer) not in self._held:
            self._held[id(optimizer)] = Held(parameters)

    def backward_begins(self) -> None:
        for held in self._held.values():
            held.backward_begins()

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """It has used its gradients."""
        held = self._held.get(id(optimizer))
        if held is not None:
            self._found |= 0 < held.passes == held.dirty
            held.passes = held.dirty = 0

    def row(self, _ranks: Ranks | None, /) -> Row:
        found, self._found = self._found, False
        return {"uncleared": found}

    def joined(self, _name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        return ranks.reduced(own.astype(np.uint8), distributed.ReduceOp.MIN).astype(bool)

    def fields(self, table: Table, _order: Order, /) -> dict[str, np.ndarray]:
        return {"uncleared": table["uncleared"].copy()}
