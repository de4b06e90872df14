"""What is read of the parameters around an optimiser's step: their gradients, the weights, and how far they move."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks, copies_of, own
from gradclinic.recording.sizes import ABSENT, BINS, histogram, square, squares
from gradclinic.recording.table import Columns, Row, Table


class Reading(NamedTuple):
    """What one optimiser's step changes: read before it, and compared after.

    Attributes:
        held: places of the parameters that the optimiser holds.
        copied: places of those whose weights were copied.
        gradients: sum of squares for each parameter, or None where a closure has yet to compute them.
        counts: histogram for each layer, if they are counted.
    """

    held: list[int]
    copied: list[int]
    gradients: np.ndarray | None
    counts: np.ndarray | None


class Parameters(Observer):
    """Norms of gradients, weights and updates, summed over the parameters of each layer."""

    def __init__(self, layers: Sequence[Layer], notes: Notes, updates: bool, histograms: bool):
        self._names = [layer.name for layer in layers]
        self._notes, self._updates, self._histograms = notes, updates, histograms
        self._copies: dict[int, Tensor] = {}
        # Of the last row, a value for each parameter, so that another optimiser can add to it.
        self._squares: dict[str, np.ndarray] = {}
        self._counts: np.ndarray | None = None
        self.know(layers, None)

    def know(self, layers: Sequence[Layer], ranks: Ranks | None) -> None:
        """Take these layers' parameters, and find how much each counts among those of all ranks."""
        self._parameters = [p for layer in layers for p in layer.parameters]
        self._layer = np.array([i for i, layer in enumerate(layers) for _ in layer.parameters], dtype=np.intp)
        self._place = {id(p): i for i, p in enumerate(self._parameters)}
        self._scale = np.array([1 if ranks is None else ranks.size // copies_of(p, ranks) for p in self._parameters])

    def columns(self) -> Columns:
        names = ("gradient", "weight", "update") if self._updates else ("gradient",)
        size = len(self._names)
        columns: dict[str, tuple[tuple[int, ...], type]] = dict.fromkeys(names, ((size,), np.float64))
        return columns | ({"histogram": ((size, BINS), np.int32)} if self._histograms else {})

    def given(self, reading: Reading) -> list[nn.Parameter]:
        """Those that an optimiser holds."""
        return [self._parameters[i] for i in reading.held]

    # --- who holds what ----------------------------------------------------------------------------------------------

    def held(self, optimizer: torch.optim.Optimizer) -> list[int]:
        places = (self._place.get(id(p)) for group in optimizer.param_groups for p in group["params"])
        return [place for place in places if place is not None]

    def concern(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether the optimiser holds one of the parameters."""
        return any(id(p) in self._place for group in optimizer.param_groups for p in group["params"])

    def any_gradient(self) -> bool:
        return any(p.grad is not None for p in self._parameters)

    def gradient_stamp(self) -> tuple[int, int] | None:
        """Tells whether gradients were changed in place, at the cost of a look at one: its parameter and version."""
        for i, p in enumerate(self._parameters):
            if p.grad is not None:
                with contextlib.suppress(RuntimeError):  # made in inference mode, it has no version
                    return i, p.grad._version  # noqa: SLF001  # torch has no public name for it
        return None

    # --- around a step -----------------------------------------------------------------------------------------------

    def before(self, optimizer: torch.optim.Optimizer, joins: bool, closure: bool) -> Reading:
        """Read what the step is about to change.

        Args:
            joins: whether the step is begun already, by an optimiser of other parameters.
            closure: whether the gradients are computed inside the step, so that they can only be read after it.
        """
        held = self.held(optimizer)
        copied = [i for i in held if closure or _may_move(self._parameters[i])] if self._updates else []
        for i in copied:
            copy, weights = self._copies.get(i), own(self._parameters[i])
            if copy is None or copy.shape != weights.shape:
                self._copies[i] = torch.empty_like(weights)
        if copied:
            torch._foreach_copy_([self._copies[i] for i in copied], [own(self._parameters[i]) for i in copied])
        gradients = counts = None
        if not closure:
            read = held if joins else range(len(self._parameters))
            # a fused optimiser is given the factor of a loss scaler, and divides by it itself
            gradients, counts = self._read_gradients(read, getattr(optimizer, "grad_scale", None))
        return Reading(held, copied, gradients, counts)

    def after(self, reading: Reading, joins: bool) -> None:
        """Compare. What another optimiser has done in this step stays, if this one joins it."""
        gradients, counts = reading.gradients, reading.counts
        if gradients is None:
            gradients, counts = self._read_gradients(reading.held if joins else range(len(self._parameters)), None)
        if joins:
            self._squares["gradient"][reading.held] = gradients[reading.held]
            if counts is not None and self._counts is not None:
                layers = np.unique(self._layer[reading.held])
                self._counts[layers] = counts[layers]
        else:
            updates = np.zeros(len(self._parameters))
            weights = self._read_weights(set(range(len(updates))).difference(reading.copied))
            self._squares = {"gradient": gradients, "weight": weights, "update": updates}
            self._counts = counts
        moved, weights = self._squares["update"], self._squares["weight"]
        # one tensor after the other, so that it is still in the cache when its own norm is taken
        for i in reading.copied:
            parameter = own(self._parameters[i].detach())
            try:
                moved[i] += square(self._copies[i].sub_(parameter))
                weights[i] = square(parameter)
            except Exception as error:
                moved[i] = weights[i] = ABSENT
                self._notes.add(f"the update of {self._names[self._layer[i]]}", error)

    def stand(self, gradients: bool = True) -> None:
        """Read gradients, unless they are of no step, and weights as they are now; how far they moved is unknown."""
        everything = range(len(self._parameters))
        found, self._counts = self._read_gradients(everything if gradients else (), None)
        unknown = np.full(len(everything), ABSENT)
        self._squares = {"gradient": found, "weight": self._read_weights(everything), "update": unknown}

    def let_go(self) -> None:
        """Give the memory of the copies back."""
        self._copies.clear()

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read_weights(self, places: Iterable[int]) -> np.ndarray:
        found = np.full(len(self._parameters), ABSENT)
        places = list(places) if self._updates else []
        found[places] = self._all_squares(places, [own(self._parameters[i].detach()) for i in places], "weights")
        return found

    def _read_gradients(self, places: Iterable[int], scale: Tensor | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Squares per parameter, and the histogram per layer; ``scale`` is what they are still multiplied by."""
        factor = 1.0 if scale is None else 1.0 / float(scale)
        there = [(i, gradient) for i in places if (gradient := self._parameters[i].grad) is not None]
        found, gradients = [i for i, _ in there], [own(gradient.detach()) for _, gradient in there]
        sums = np.full(len(self._parameters), ABSENT)
        sums[found] = self._all_squares(found, gradients, "gradient")
        sums[found] *= np.where(sums[found] < 0, 1.0, factor**2)
        if not self._histograms:
            return sums, None
        counts = np.zeros((len(self._names), BINS), np.int32)
        for i, gradient in zip(found, gradients, strict=True):
            with self._notes.guard(f"the histogram of {self._names[self._layer[i]]}"):
                values = gradient.coalesce().values() if gradient.is_sparse else gradient
                values = values.flatten().cpu()
                counted = histogram(values if factor == 1 else values.double() * factor)
                counts[self._layer[i]] += self._scale[i] * counted
        return sums, counts

    def _all_squares(self, places: list[int], tensors: list[Tensor], what: str) -> list[float]:
        with contextlib.suppress(Exception):
            return squares(tensors)
        found = [ABSENT] * len(places)
        for number, (i, tensor) in enumerate(zip(places, tensors, strict=True)):
            with self._notes.guard(f"the {what} of {self._names[self._layer[i]]}"):
                found[number] = square(tensor)
        return found

    # --- in a row ----------------------------------------------------------------------------------------------------

    def row(self, _ranks: Ranks | None, /) -> Row:
        """Of the last step that was read."""
        row: dict[str, object] = {name: self._by_layer(values) for name, values in self._squares.items()}
        return row | ({} if self._counts is None else {"histogram": self._counts})

    def _by_layer(self, sums: np.ndarray) -> np.ndarray:
        """Sums over the parameters of each layer; nothing was measured where none was."""
        there = ~(sums < 0)
        layer = self._layer[there]
        total = np.bincount(layer, sums[there] * self._scale[there], minlength=len(self._names))
        total[np.bincount(layer, minlength=len(self._names)) == 0] = ABSENT
        return total

    def fields(self, table: Table, order: Order, /) -> dict[str, np.ndarray]:
        counted = (
            table["histogram"][:, order.layers] if self._histograms else np.empty((len(table), len(self._names), 0))
        )
        return {
            "gradient_norm": table.norms("gradient", order.layers),
            "weight_norm": table.norms("weight", order.layers),
            "update_norm": table.norms("update", order.layers),
            "nonfinite": ~np.isfinite(table.sums("gradient", order.layers)),
            "histogram": counted.astype(np.int64),
        }


def _may_move(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad or parameter.grad is not None
