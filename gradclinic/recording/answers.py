"""The model's own input and output, and what the loss gradient at its output tells of the loss."""

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from gradclinic.recording.hooks import first_numbers, first_tensor
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks
from gradclinic.recording.revealed import Revealed
from gradclinic.recording.sizes import square
from gradclinic.recording.table import Columns, Row, Table

_NAMES = (
    "input_rms",
    "answer_rms",
    "answer_low",
    "answer_high",
    "answer_spread",
    "answer_sum",
    "answer_gradient",
    "answer_gradient_sum",
    "answer_alone",
)

# So many entries are looked at, of whole examples.
_ENTRIES = 2**17


def answers_in(output: object) -> Tensor | None:
    """What a model answers: its logits, where it names some, else its first tensor that is no single number."""
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        output = output["logits"]
    found = first_tensor(output)
    if found is not None and found.dim() == 0 and isinstance(output, (Mapping, tuple, list)):
        parts = output.values() if isinstance(output, Mapping) else output
        found = next((part for part in parts if isinstance(part, Tensor) and part.dim() > 0), None)
    return found if found is not None and found.dim() > 0 and found.is_floating_point() and found.numel() else None


def some(tensor: Tensor) -> Tensor:
    """Whole examples, the first ones, but not more entries than need be."""
    if tensor.numel() <= _ENTRIES:
        return tensor
    return tensor[: max(2, _ENTRIES * len(tensor) // tensor.numel())]


class Seen:
    """What the passes of one step have shown."""

    def __init__(self) -> None:
        self.input_rms = math.nan
        self.examples = 0
        self.total: Tensor | None = None  # sum over the examples, and of the squares of all entries
        self.squares = 0.0
        self.low, self.high = math.inf, -math.inf
        self.sum = math.nan
        self.gradient = math.nan
        self.gradient_sum = self.alone = math.nan

    def answers(self, found: Tensor) -> None:
        """Each of several passes adds its examples, if they have the shape of those before."""
        total = found.sum(0)
        if self.total is not None and self.total.shape != total.shape:
            return
        self.total = total if self.total is None else self.total + total
        self.squares += float((found * found).sum())
        self.examples += len(found)
        low, high = (float(end) for end in found.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if found.dim() > 1:
            off = math.sqrt(float(((found.sum(-1) - 1) ** 2).mean()))
            self.sum = off if math.isnan(self.sum) else max(self.sum, off)

    def spread(self, before: "Seen | None") -> float:
        """Of the examples about their mean. One example is compared with that of the row before."""
        if self.total is None:
            return math.nan
        if self.examples == 1:
            if before is None or before.total is None or before.examples > 1 or before.total.shape != self.total.shape:
                return math.nan
            return math.sqrt(float(((self.total - before.total) ** 2).mean()) / 2)
        mean = float((self.total * self.total).sum()) / self.examples
        return math.sqrt(max(0.0, self.squares - mean) / (self.examples * self.total.numel()))

    def came_back(self, answers: Tensor, gradient: Tensor) -> None:
        before = 0.0 if math.isnan(self.gradient) else self.gradient**2
        self.gradient = math.sqrt(before + square(gradient))
        if gradient.dim() > 1 and gradient.shape[-1] > 1:
            lengths = float((gradient * gradient).sum(-1).mean())
            if lengths > 0:
                self.gradient_sum = math.sqrt(float((gradient.sum(-1) ** 2).mean()) / lengths)
        if gradient.numel() > 7:
            apart, residual = answers - answers.mean(), gradient - gradient.mean()
            across, size = float((apart * apart).sum()), float((residual * residual).sum())
            if across > 0 and size > 0:
                self.alone = max(0.0, 1 - float((apart * residual).sum()) ** 2 / across / size)


class Answers(Observer):
    """Size, spread and form of the model's answers in each recorded step, and the gradient that comes back to them."""

    def __init__(self, notes: Notes, watched: bool):
        self._notes, self._watched = notes, watched
        self._now = Seen()
        self._before: Seen | None = None
        self.revealed = Revealed()

    def columns(self) -> Columns:
        return dict.fromkeys(_NAMES, ((), np.float64)) if self._watched else {}

    def passed(self, step: int, inputs: object, keywords: object, output: object) -> None:
        """A forward pass of the model is over, in a step that is recorded."""
        if not self._watched:
            return
        with self._notes.guard("the model's answers"):
            given = first_numbers(inputs, keywords)
            if given is not None and given.numel() and math.isnan(self._now.input_rms):
                few = some(given.detach()) if given.dim() else given.detach()
                self._now.input_rms = math.sqrt(square(few) / few.numel())
            answers = answers_in(output)
            if answers is None:
                return
            few = some(answers.detach())
            self._now.answers(few.double())
            if answers.requires_grad:
                self._watch_gradient(step, answers)

    def _watch_gradient(self, step: int, answers: Tensor) -> None:
        now, known, version = self._now, answers.detach(), answers._version  # noqa: SLF001  # no public name

        def hook(gradient: Tensor) -> None:
            if known._version != version:  # noqa: SLF001  # changed in place since: the gradient is of other answers
                return
            with self._notes.guard("the gradient at the answers"):
                here, back = some(known).double(), some(gradient.detach()).double()
                now.came_back(here, back)
                whole = known.numel() == here.numel()
                self.revealed.see(step, here, back, known.numel() if whole else 0)

        answers.register_hook(hook)

    def forget(self) -> None:
        if self._now.total is not None:
            self._before = self._now
        self._now = Seen()

    def row(self, _ranks: Ranks | None, /) -> Row:
        now = self._now
        if now.total is None:
            values = dict.fromkeys(_NAMES, math.nan)
            return values | {"input_rms": now.input_rms}
        rms = math.sqrt(now.squares / (now.examples * now.total.numel()))
        found = (now.input_rms, rms, now.low, now.high, now.spread(self._before), now.sum)
        return dict(zip(_NAMES, (*found, now.gradient, now.gradient_sum, now.alone), strict=True))

    def joined(self, _name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        return ranks.mean_loss(own)

    def fields(self, table: Table, _order: Order, /) -> dict[str, np.ndarray]:
        return {name: table[name].copy() for name in _NAMES} if self._watched else {}
