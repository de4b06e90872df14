"""Whether a model that is trained ever changes, where no step of an optimiser is seen."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes
from gradclinic.recording.ranks import own


class Idle:
    """Counts the backward passes that began before the first step, and keeps a few weights as they were then.

    Attributes:
        concerned: whether an optimiser that holds one of its parameters ever began a step.
    """

    def __init__(self) -> None:
        self.concerned = False
        self._passes = 0
        self._start: list[tuple[nn.Parameter, Tensor]] = []

    def begin(self, layers: Sequence[Layer], notes: Notes) -> None:
        """In the first block: look at three parameters, of those with the fewest weights."""
        if self._start:
            return
        few = sorted((p for layer in layers for p in layer.parameters), key=lambda p: p.numel())[:3]
        with notes.guard("the weights at the start"):
            self._start = [(p, own(p.detach()).clone()) for p in few]

    def backward_begins(self) -> None:
        self._passes += 1

    def passes(self) -> int:
        """How many times a gradient came while nothing moved the weights."""
        moved = any(not torch.equal(own(p.detach()), before) for p, before in self._start)
        return 0 if moved else self._passes

    def tell(self, notes: Notes) -> None:
        """At the end of a block in which gradients came and no step was counted."""
        if not self.concerned:
            notes.add(
                "the training",
                "no optimiser that holds the model's parameters took a step; a loop that changes them by hand calls "
                "recorder.capture() after loss.backward()",
            )
