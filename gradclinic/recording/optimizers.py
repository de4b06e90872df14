"""Who listens to optimisers, and how they are told of a step.

torch goes through its own list of hooks while they run, so one that a thread put in or took out would stop the step of
another thread. So two hooks are put in when the first recorder begins, stay, and ask here.
"""

import threading
import weakref
from typing import Protocol

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


class Listener(Protocol):
    """What is told of every step of every optimiser."""

    def before_step(self, optimizer: torch.optim.Optimizer, closure: bool) -> None:
        """It must not raise. ``closure`` is whether the step is given a function that computes the gradients."""

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """It must not raise."""

    def speak(self) -> None:
        """All listeners know of the step. What this raises reaches the training."""


class Listeners:
    """They are held weakly: who forgets a recorder, and the model, is rid of both."""

    def __init__(self) -> None:
        self._there: tuple[weakref.ref[Listener], ...] = ()
        self._changing = threading.Lock()
        self._installed = False

    def __len__(self) -> int:
        return sum(listener() is not None for listener in self._there)

    def add(self, listener: Listener) -> None:
        self._change(None, listener)

    def remove(self, listener: Listener) -> None:
        self._change(listener, None)

    def _change(self, gone: Listener | None, new: Listener | None) -> None:
        with self._changing:
            if not self._installed:
                register_optimizer_step_pre_hook(self._before)
                register_optimizer_step_post_hook(self._after)
                self._installed = True
            others = [there for there in self._there if there() not in (None, gone, new)]
            # a new tuple, since another thread may be going through the old one
            self._there = (*others, *([] if new is None else [weakref.ref(new)]))

    def _now(self) -> list[Listener]:
        return [listener for there in self._there if (listener := there()) is not None]

    def _before(
        self, optimizer: torch.optim.Optimizer, arguments: tuple[object, ...], keywords: dict[str, object]
    ) -> None:
        listeners = self._now()
        if listeners:
            closure = any(callable(argument) for argument in (*arguments, *keywords.values()))
            for listener in listeners:
                listener.before_step(optimizer, closure)

    def _after(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        listeners = self._now()
        for listener in listeners:
            listener.after_step(optimizer)
        for listener in listeners:
            listener.speak()


LISTENERS = Listeners()
