"""Whether the gradients of one step are still there when the next one's are computed."""

import weakref
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, distributed, nn

from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks, own
from gradclinic.recording.table import Columns, Row, Table

# So many gradients of each optimiser are looked at, at even distances through the model.
_LOOKED_AT = 6


class Held:
    """What one optimiser holds, and the backward passes since its last step: how many began, and with old gradients.

    Old they are if all tensors that the last step has used are still there, and not 0. Where a parameter is used behind
    the last hook, its gradient may be there anew, but then it is another tensor.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]):
        self._few = list(parameters)[:: 1 + len(parameters) // _LOOKED_AT]
        self._used: list[tuple[nn.Parameter, weakref.ref[Tensor]]] = []
        self.passes = self.dirty = 0

    def backward_begins(self) -> None:
        if self._used:
            self.passes += 1
            self.dirty += all(p.grad is not None and p.grad is old() and _not_zero(p.grad) for p, old in self._used)

    def stepped(self) -> bool:
        """Its step is done. Whether it has used old gradients."""
        found = 0 < self.passes == self.dirty
        self.passes = self.dirty = 0
        there = ((p, p.grad) for p in self._few)
        self._used = [(p, weakref.ref(g)) for p, g in there if g is not None and not g.is_sparse and _not_zero(g)]
        return found


def _not_zero(gradient: Tensor) -> bool:
    return bool((own(gradient.detach()) != 0).any())


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
            self._found |= held.stepped()

    def row(self, _ranks: Ranks | None, /) -> Row:
        found, self._found = self._found, False
        return {"uncleared": found}

    def joined(self, _name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        return ranks.reduced(own.astype(np.uint8), distributed.ReduceOp.MIN).astype(bool)

    def fields(self, table: Table, _order: Order, /) -> dict[str, np.ndarray]:
        return {"uncleared": table["uncleared"].copy()}
