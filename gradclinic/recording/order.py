"""In which order the first forward pass goes through a model: that is what depth means in a record."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gradclinic.recording.hooks import Hook
from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class ForwardOrder:
    """Modules in the order in which the first forward pass finished them, and where it used what no module applies.

    A parameter of the model itself (a class token, a table of positions) is multiplied or added somewhere inside
    ``forward``, where no hook is. But the first backward pass comes to it right after all that used it: the layers
    whose gradients are there by then lie behind its first use.
    """

    def __init__(self, notes: Notes):
        self._notes = notes
        self._finished: list[nn.Module] = []
        self._unseen: dict[int, tuple[nn.Module, RemovableHandle]] = {}
        self._unused: dict[int, RemovableHandle] = {}  # parameters of the model itself
        self._first_use: float | None = None  # between the places of two modules

    def watch(self, modules: Iterable[nn.Module]) -> None:
        """Find out when each of them is finished for the first time. Done for each, its hook goes."""
        known = {id(module) for module in self._finished}
        for module in modules:
            if id(module) not in known:
                known.add(id(module))
                with self._notes.guard(f"the order of {type(module).__name__}"):
                    self._unseen[id(module)] = (module, module.register_forward_hook(Hook(self._finish)))

    def watch_use(self, parameters: Iterable[nn.Parameter], reached: Callable[[], list[nn.Module]]) -> None:
        """Find out where parameters of the model itself are first used, if that is not known.

        Args:
            parameters: those of the model itself.
            reached: the layers to whose outputs the backward pass has come.
        """
        if self._first_use is not None:
            return

        def come(parameter: Tensor) -> None:
            handle = self._unused.pop(id(parameter), None)
            if handle is not None:
                handle.remove()
                with self._notes.guard("the order of the model's own parameters"):
                    place = {id(module): number for number, module in enumerate(self._finished)}
                    behind = [place[id(module)] for module in reached() if id(module) in place]
                    here = min(behind, default=len(place)) - 0.5
                    self._first_use = here if self._first_use is None else min(self._first_use, here)

        for parameter in parameters:
            if parameter.requires_grad:
                with self._notes.guard("the order of the model's own parameters"):
                    handle = parameter.register_post_accumulate_grad_hook(Hook(come))
                    self._unused[id(parameter)] = handle

    def settled(self) -> None:
        """The first step is over: a later pass would not tell where a parameter was used first."""
        for handle in self._unused.values():
            handle.remove()
        self._unused.clear()

    def unwatch(self) -> None:
        self.settled()
        for _, handle in self._unseen.values():
            handle.remove()
        self._unseen.clear()

    def _finish(self, module: nn.Module, *_: object) -> None:
        if torch.compiler.is_compiling() or id(module) not in self._unseen:
            return
        self._finished.append(module)
        self._unseen.pop(id(module))[1].remove()

    def layers(self, layers: Sequence[Layer]) -> list[int]:
        """Their indices as the signal runs through them. What was not called stays behind its neighbour.

        A layer without an output (inside a recurrent stack) goes with the one that has it. The model's own parameters
        stand where they are first used or, where that is unknown, before the layer that is defined first.
        """
        own = {i: self._first_use for i, layer in enumerate(layers) if layer.whole and self._first_use is not None}
        followed = [
            layer.module or next((later.module for later in layers[i:] if later.module is not None), None)
            for i, layer in enumerate(layers)
        ]
        return self._sorted(followed, own)

    def modules(self, modules: Sequence[nn.Module]) -> list[int]:
        """The same for modules without parameters."""
        return self._sorted(modules, {})

    def _sorted(self, modules: Sequence[nn.Module | None], known: dict[int, float]) -> list[int]:
        finished = {id(module): number for number, module in enumerate(self._finished)}
        places: list[tuple[float, int]] = []
        before = -1.0
        for i, module in enumerate(modules):
            if i in known:
                places.append((known[i], i))
                continue
            before = finished.get(id(module), before)
            places.append((before, i))
        return [i for _, i in sorted(places)]
