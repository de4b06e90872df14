"""What the activations do: which of their outputs are saturated, which of their units are dead."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, distributed, nn

from gradclinic.recording.hooks import Hook
from gradclinic.recording.layers import readable
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks
from gradclinic.recording.sizes import ABSENT
from gradclinic.recording.table import Columns, Row, Table

# A unit is saturated for one example where its activation's slope is below this share of the largest slope it has.
SATURATED_BELOW = 0.05

# A unit is called dead when it gave 0 on at least this many examples in a row: a small batch may miss a living one.
DEAD_AFTER = 512

# Saturation of an output with more entries than these is counted on its first examples, 32 or more.
_COUNTED, _COUNTED_EXAMPLES = 65_536, 32

# A saturated unit, told from its output: that spares a second evaluation of the function.
FLAT = math.sqrt(1 - SATURATED_BELOW)
_IS_SATURATED: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: lambda output: output.abs() > FLAT,  # slope 1 - output^2
    nn.Sigmoid: lambda output: (output - 0.5).abs() > FLAT / 2,  # slope output (1 - output)
}
_WATCHED: tuple[type[nn.Module], ...] = (*_IS_SATURATED, nn.ReLU, nn.ReLU6)  # the last two can die


class Activation:
    """An activation module, and what it did since the last step.

    Attributes:
        name: as the model names it.
        saturated: outputs that are, and how many were looked at; None until it is called.
        alive: number of units -> which were awake, and for how many examples.
    """

    def __init__(self, name: str, module: nn.Module):
        self.name, self.module = name, module
        self.is_saturated = next((test for kind, test in _IS_SATURATED.items() if isinstance(module, kind)), None)
        self.forget()

    def forget(self) -> None:
        self.saturated: tuple[int, int] | None = None
        self.alive: dict[int, tuple[np.ndarray, int]] = {}

    def see(self, output: Tensor) -> None:
        if self.is_saturated is None:
            alive, examples = units_alive(output), len(output)
            if len(alive) in self.alive:
                before, others = self.alive[len(alive)]
                alive, examples = alive | before, examples + others
            self.alive[len(alive)] = alive, examples
            return
        if output.numel() > _COUNTED:
            output = output[: max(_COUNTED_EXAMPLES, _COUNTED * len(output) // output.numel())]
        found, of = self.saturated or (0, 0)
        self.saturated = found + int(self.is_saturated(output).sum()), of + output.numel()


def activations_of(model: nn.Module) -> list[Activation]:
    """The activation modules that can saturate or die, as the model defines them."""
    modules = dict(model.named_modules())
    found = ((path, module) for path, module in modules.items() if isinstance(module, _WATCHED))
    return [Activation(readable(path, modules), module) for path, module in found]


def units_alive(output: Tensor) -> np.ndarray:
    """Which units are not 0 for some example: channels of images (batch, channels, ...), else the last dimension."""
    dimensions = output.dim()
    units = 1 if dimensions > 3 else dimensions - 1
    largest = output.amax([d for d in range(dimensions) if d != units]) if dimensions > 1 else output.reshape(-1)
    alive: np.ndarray = (largest if largest.is_cpu else largest.cpu()).float().numpy() != 0  # nothing is negative here
    return alive


class Units(Observer):
    """Shares of saturated outputs and of dead units, for each activation."""

    def __init__(self, activations: Sequence[Activation], notes: Notes):
        self._activations, self._notes = activations, notes
        self._silent: dict[tuple[int, int], tuple[np.ndarray, int]] = {}  # examples since each unit was last awake
        self._asleep: dict[tuple[int, int], list[np.ndarray | None]] = {}  # bits of units, per row of this block
        self._rows = 0  # of this block

    def columns(self) -> Columns:
        if not self._activations:
            return {}
        return dict.fromkeys(("saturated", "counted", "dead"), ((len(self._activations),), np.float64))

    def hooks(self) -> Iterator[tuple[nn.Module, Hook]]:
        for activation in self._activations:
            yield activation.module, self._hook(activation)

    def forget(self) -> None:
        for activation in self._activations:
            activation.forget()

    def new_block(self) -> None:
        """What the rows of an earlier block need to be joined is no longer needed."""
        self._asleep.clear()
        self._rows = 0

    def _hook(self, activation: Activation) -> Hook:
        def hook(module: nn.Module, _inputs: object, output: Tensor) -> None:
            if torch.compiler.is_compiling() or module is not activation.module or not torch.is_grad_enabled():
                return
            with self._notes.guard(f"the units of {activation.name}"):
                activation.see(output.detach())

        return Hook(hook)

    def row(self, ranks: Ranks | None, /) -> Row:
        saturated, counted, dead = np.full((3, len(self._activations)), ABSENT)
        for i, activation in enumerate(self._activations):
            if activation.saturated is not None:
                saturated[i], counted[i] = activation.saturated
            if activation.alive:
                dead[i] = self._dead(i, activation.alive, ranks)
        self._rows += 1
        return {"saturated": saturated, "counted": counted, "dead": dead}

    def _dead(self, index: int, by_size: dict[int, tuple[np.ndarray, int]], ranks: Ranks | None) -> float:
        """Share of units that none of the last examples woke. A module used in several places has several sizes."""
        asleep = units = 0
        for size, (alive, examples) in by_size.items():
            silent, seen = self._silent.get((index, size), (np.zeros(size, np.int64), 0))
            silent += examples
            silent[alive] = 0
            self._silent[index, size] = silent, seen + examples
            asleep += int(np.count_nonzero(silent >= min(DEAD_AFTER, seen + examples)))
            if ranks is not None:  # this rank's share of the examples
                bits = np.packbits(silent >= min(DEAD_AFTER / ranks.size, seen + examples))
                rows = self._asleep.setdefault((index, size), [])
                rows += [None] * (self._rows - len(rows))  # it was not called in these
                last = rows[-1] if rows else None
                rows.append(last if last is not None and np.array_equal(last, bits) else bits)  # seldom does one change
            units += size
        return asleep / units

    def alike(self) -> object:
        return sorted(self._asleep)

    def width(self, name: str, column: np.ndarray, /) -> int:
        return sum(size for _, size in self._asleep) if name == "dead" else super().width(name, column)

    def joined(self, name: str, own: np.ndarray, rows: slice, ranks: Ranks, /) -> np.ndarray:
        """For the dead, per row and activation, the share of units that no rank has seen awake."""
        if name != "dead":
            return ranks.mean(own)
        dead, of = np.zeros((2, *own.shape))
        for index, size in sorted(self._asleep):
            unknown = np.packbits(np.ones(size, bool))
            there = [unknown if bits is None else bits for bits in self._asleep[index, size][rows]]
            there += [unknown] * (len(own) - len(there))
            bits = np.unpackbits(np.stack(there), axis=1, count=size)
            dead[:, index] += ranks.reduced(bits, distributed.ReduceOp.MIN).sum(1)
            of[:, index] += size
        measured = ranks.reduced(own, distributed.ReduceOp.MAX) >= 0
        return np.where(measured, dead / np.maximum(of, 1), ABSENT)

    def fields(self, table: Table, order: Order, /) -> dict[str, np.ndarray]:
        dead = table.sums("dead", order.activations)
        return {
            "saturation": table.shares("saturated", "counted", order.activations),
            "dead": np.where(dead < 0, math.nan, dead),
        }
