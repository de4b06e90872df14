"""What is put on a model to see its passes, and what that gives."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.jit._trace import TopLevelTracedModule

from gradclinic.recording.notes import Notes

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Hook:
    """A hook that stays behind when the model is copied or pickled: copies are not watched."""

    def __init__(self, function: Callable[..., None]):
        self._function = function

    def __call__(self, *arguments: object) -> None:
        self._function(*arguments)

    def __reduce__(self) -> tuple[type["Hook"], tuple[Callable[..., None]]]:
        return Hook, (nothing,)


def nothing(*_: object) -> None:
    """What the hooks of a copy do."""


class Switch:
    """Forward hooks that are on a model for some steps only."""

    def __init__(self, notes: Notes):
        self._notes = notes
        self._hooks: list[tuple[nn.Module, Hook]] = []
        self._handles: list[RemovableHandle] = []

    @property
    def on(self) -> bool:
        return bool(self._handles)

    def take(self, hooks: Iterable[tuple[nn.Module, Hook]]) -> None:
        """Serve these from now on."""
        self.turn(False)
        self._hooks = list(hooks)

    def turn(self, on: bool) -> None:
        if on and not self._handles:
            for module, hook in self._hooks:
                with self._notes.guard(f"the output of {type(module).__name__}"):
                    self._handles.append(module.register_forward_hook(hook))
        elif not on and self._handles:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()


def compiled(model: nn.Module) -> set[int]:
    """Ids of all modules that run inside ``torch.compile``: a hook there would break up the graph, or never run."""
    heads = [
        m for m in model.modules() if hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None
    ]
    return {id(module) for head in heads for module in head.modules()}


def scripted(model: nn.Module) -> set[int]:
    """Ids of all modules that run inside ``torch.jit``: a script refuses hooks, and a trace never calls them.

    Only a traced module that is called from outside calls its own, so it is not among them.
    """
    heads = [m for m in model.modules() if isinstance(m, torch.jit.ScriptModule)]
    inside = {id(module) for head in heads for module in head.modules() if module is not head}
    return inside | {id(head) for head in heads if not isinstance(head, TopLevelTracedModule)}


def first_tensor(output: object) -> Tensor | None:
    """The output itself, or the first tensor in it: recurrent layers give their state too, attention its weights."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        return next((found for part in output if (found := first_tensor(part)) is not None), None)
    return None


def in_backward() -> bool:
    """Whether a backward pass is running: a forward pass inside it is one of gradient checkpointing."""
    # torch has no public name for it; its own checkpointing asks in the same way
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001
