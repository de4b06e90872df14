"""In which step the model's input, its answers or its weights first held inf or NaN: every step is looked at."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradclinic.recording.answers import answers_in
from gradclinic.recording.hooks import first_numbers
from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes
from gradclinic.recording.ranks import own
from gradclinic.recording.sizes import square

# Of a tensor with more entries than these, the first ones are looked at: the loss tells of the others.
_ENTRIES = 2**22


class Finite:
    """One pass over the input and the answers of each step. Elsewhere than on the CPU the result stays there until a
    row is written, so that no step waits for the accelerator; of weights nothing is known then.

    Attributes:
        input, answer, weights: the first step of each, or None.
        layers: names of the layers whose weights they are.
        before: rms of the last answers that were finite, if some are not.
    """

    def __init__(self, notes: Notes, bad_weights: Callable[[], list[str]]):
        self._notes, self._bad_weights = notes, bad_weights
        self.input: int | None = None
        self.answer: int | None = None
        self.weights: int | None = None
        self.layers: list[str] = []
        self._last = self.before = math.nan
        self._waiting: list[tuple[int, Tensor | None, Tensor | None]] = []

    def see(self, step: int, inputs: object, keywords: object, output: object) -> None:
        """A forward pass of this step is over."""
        if self.answer is not None:
            return
        with self._notes.guard("whether numbers are finite"), torch.no_grad():
            given, answers = first_numbers(inputs, keywords), answers_in(output)
            if (given is None or given.is_cpu) and (answers is None or answers.is_cpu):
                found = [None if t is None else _size(t) for t in (given, answers)]
                entries = 1 if answers is None else min(answers.numel(), _ENTRIES)
                self._take(step, found[0], found[1], entries)
            else:
                held = [None if t is None else t.detach().isfinite().all() for t in (given, answers)]
                self._waiting.append((step, held[0], held[1]))

    def _take(self, step: int, given: float | None, answers: float | None, entries: int) -> None:
        if given is not None and self.input is None and not math.isfinite(given):
            self.input = step
        if answers is None:
            return
        if math.isfinite(answers):
            self._last = math.sqrt(answers / entries)
        elif self.answer is None:
            self.answer, self.before = step, self._last
            self.look(step - 1)

    def look(self, step: int) -> None:
        """Look at the weights now, after so many steps, if nothing is known of them."""
        if self.weights is None:
            with self._notes.guard("whether weights are finite"), torch.no_grad():
                self.layers = self._bad_weights()
                self.weights = step if self.layers else None

    def fetch(self) -> None:
        """What waits on an accelerator."""
        for step, given, answers in self._waiting:
            if given is not None and self.input is None and not bool(given):
                self.input = step
            if answers is not None and self.answer is None and not bool(answers):
                self.answer = step
        self._waiting = []


def _size(tensor: Tensor) -> float:
    """Sum of squares, of the first entries."""
    tensor = tensor.detach()
    return square(tensor if tensor.numel() <= _ENTRIES else tensor.reshape(-1)[:_ENTRIES])


def layers_not_finite(layers: Sequence[Layer]) -> list[str]:
    """Names of the layers whose weights hold inf or NaN."""
    return [
        layer.name
        for layer in layers
        if any(p.is_floating_point() and not bool(own(p.detach()).isfinite().all()) for p in layer.parameters)
    ]
