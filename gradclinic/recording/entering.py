"""What enters each layer. Whoever computed it, a module or a function, it shows what the activation before has done."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, distributed, nn

from gradclinic.recording.hooks import Hook, first_numbers, first_tensor, in_backward
from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks
from gradclinic.recording.sizes import square
from gradclinic.recording.table import Columns, Row, Table
from gradclinic.recording.units import DEAD_AFTER, FLAT, units_alive

# So many examples are looked at, and about so many entries of them.
EXAMPLES, ENTRIES = 32, 8192

_NAMES = ("entering_rms", "entering_low", "entering_high", "entering_zero", "entering_ends", "entering_dead")


def thinned(tensor: Tensor) -> Tensor:
    """The first examples, and at even distances so many places of them that few entries are left; units stay whole."""
    found = tensor[:EXAMPLES] if tensor.dim() > 1 else tensor[:ENTRIES]
    more = found.numel() // ENTRIES
    if more < 2:
        return found
    if found.dim() > 3:
        apart = math.isqrt(more) + 1
        return found[..., ::apart, ::apart]
    return found[:, :: more + 1]


class Entered:
    """What has entered one layer since the last step."""

    def __init__(self) -> None:
        self.calls, self.entries = 0, 0
        self.squares = 0.0
        self.low, self.high = math.inf, -math.inf
        self.zeros = self.tanh_ends = self.sigmoid_ends = 0
        self.alive: np.ndarray | None = None
        self.examples = 0
        self.of_states = 0  # entries that low, high and the shares are of

    def see(self, given: Tensor | None, states: Tensor) -> None:
        """``given`` is what enters, for its size; ``states`` the same or, of a recurrent layer, its hidden states."""
        if given is not None:
            self.squares += square(given)
            self.entries += given.numel()
        low, high = (float(end) for end in states.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.of_states += states.numel()
        if self.low >= 0:
            self.zeros += int((states == 0).sum())
            alive = units_alive(states)
            if self.alive is not None and len(alive) == len(self.alive):
                alive = alive | self.alive
            self.alive, self.examples = alive, self.examples + len(states)
        if self.low >= -1 and self.high <= 1:
            if self.low < 0:
                self.tanh_ends += int((states.abs() > FLAT).sum())
            else:
                self.sigmoid_ends += int(((states - 0.5).abs() > FLAT / 2).sum())

    @property
    def ends(self) -> float:
        if not (self.low >= -1 and self.high <= 1):
            return math.nan
        return (self.tanh_ends if self.low < 0 else self.sigmoid_ends) / self.of_states


class Entering(Observer):
    """Size and form of what enters each layer, on a few examples. The hidden states of a recurrent layer enter it, too:
    there they count for all but the size."""

    def __init__(self, layers: Sequence[Layer], notes: Notes, watched: bool):
        self._layers, self._notes, self._watched = layers, notes, watched
        self._now: dict[int, Entered] = {}
        self._silent: dict[int, tuple[np.ndarray, int]] = {}  # examples since each unit was last not 0; seen in all

    def columns(self) -> Columns:
        return dict.fromkeys(_NAMES, ((len(self._layers),), np.float64)) if self._watched else {}

    def hooks(self) -> Iterator[tuple[nn.Module, Hook]]:
        for index, layer in enumerate(self._layers):
            if self._watched and layer.module is not None:
                yield layer.module, self._hook(index, layer.module)

    def _hook(self, index: int, watched: nn.Module) -> Hook:
        def hook(module: nn.Module, inputs: object, keywords: object, output: object) -> None:
            if torch.compiler.is_compiling() or module is not watched or not torch.is_grad_enabled() or in_backward():
                return
            now = self._now.setdefault(index, Entered())
            now.calls += 1
            if now.calls & (now.calls - 1):  # of many calls only the first, the second, the fourth and so on
                return
            with self._notes.guard(f"what enters {self._layers[index].name}"):
                given = first_numbers(inputs, keywords)
                states = first_tensor(output) if isinstance(module, nn.RNNBase) else given
                if states is not None and states.numel():
                    few = thinned(states.detach())
                    now.see(few if states is given else None if given is None else thinned(given.detach()), few)

        return Hook(hook, with_kwargs=True)

    def forget(self) -> None:
        self._now = {}

    def row(self, _ranks: Ranks | None, /) -> Row:
        found = np.full((len(_NAMES), len(self._layers)), math.nan)
        for i, now in self._now.items():
            if now.of_states:
                size = math.sqrt(now.squares / now.entries) if now.entries else math.nan
                zero = now.zeros / now.of_states
                dead = self._dead(i, now.alive, now.examples) if now.low >= 0 and now.alive is not None else math.nan
                found[:, i] = size, now.low, now.high, zero, now.ends, dead
        return dict(zip(_NAMES, found, strict=True))

    def _dead(self, index: int, alive: np.ndarray, examples: int) -> float:
        """Share of units that none of the last examples woke; see ``Units``."""
        silent, seen = self._silent.get(index, (np.zeros(len(alive), np.int64), 0))
        if len(silent) != len(alive):
            silent, seen = np.zeros(len(alive), np.int64), 0
        silent = np.where(alive, 0, silent + examples)
        self._silent[index] = silent, seen + examples
        return float((silent >= min(DEAD_AFTER, seen + examples)).mean())

    def joined(self, name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        """Sizes and shares as their mean. A unit that is dead for all is so for the rank with the fewest."""
        if name in ("entering_rms", "entering_zero", "entering_ends"):
            return ranks.mean_loss(own)
        smallest = name != "entering_high"
        known = np.where(np.isnan(own), math.inf if smallest else -math.inf, own)
        how = distributed.ReduceOp.MIN if smallest else distributed.ReduceOp.MAX
        found = ranks.reduced(known, how)
        return np.where(np.isinf(found), math.nan, found)

    def fields(self, table: Table, order: Order, /) -> dict[str, np.ndarray]:
        if not self._watched:
            return {}
        return {name: table[name][:, order.layers] for name in _NAMES}
