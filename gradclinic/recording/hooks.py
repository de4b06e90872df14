"""What is put on a model to see its passes, and what that gives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.jit._trace import TopLevelTracedModule

from gradclinic.recording.notes import Notes

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Hook:
    """A hook that stays behind when the model is copied or pickled: copies are not watched.

    Attributes:
        with_kwargs: whether a forward hook is given what the module was called with by name, too.
    """

    def __init__(self, function: Callable[..., None], with_kwargs: bool = False):
        self._function, self.with_kwargs = function, with_kwargs

    def __call__(self, *arguments: object) -> None:
        self._function(*arguments)

    def __reduce__(self) -> tuple[type["Hook"], tuple[Callable[..., None]]]:
        return Hook, (nothing,)


def nothing(*_: object) -> None:
    """What the hooks of a copy do."""


class ModelHooks:
    """The hooks on a model: one hears of its forward passes, those on layers are on for some steps only."""

    def __init__(self, model: nn.Module, notes: Notes):
        self._model, self._notes = model, notes
        self._shut: set[int] = set()  # ids of modules that take no hook
        self._layers: list[tuple[nn.Module, Hook]] = []
        self._layer_handles: list[RemovableHandle] = []
        self._pass_handles: list[RemovableHandle] = []

    def put_on(
        self,
        new_pass: Callable[..., None],
        passed: Callable[..., None],
        layers: Iterable[tuple[nn.Module, Hook]],
        wanted: Sequence[nn.Module],
    ) -> None:
        """Hear of passes from now on, and serve these hooks on layers when they are turned on.

        Args:
            new_pass: a forward pre-hook of the model.
            passed: a forward hook of the model, with keywords.
            layers: forward hooks, and the modules they are for.
            wanted: modules whose output somebody wants to see: that it cannot be seen is noted.
        """
        inside, scripts = compiled(self._model), scripted(self._model)
        if any(id(module) in inside for module in wanted):
            self._notes.add("outputs inside torch.compile", "hooks there would change what is compiled")
        if any(id(module) in scripts for module in wanted):
            self._notes.add("outputs inside torch.jit", "a script takes no hooks, and a trace never calls them")
        self._shut = inside | scripts
        self._layers = [(module, hook) for module, hook in layers if self.reach(module)]
        if id(self._model) not in scripts:
            with self._notes.guard("the forward pass"):
                self._pass_handles.append(self._model.register_forward_pre_hook(Hook(new_pass)))
        if self.reach(self._model):
            with self._notes.guard("the answers"):
                hook = Hook(passed, with_kwargs=True)
                self._pass_handles.append(self._model.register_forward_hook(hook, with_kwargs=True))

    def reach(self, module: nn.Module) -> bool:
        """Whether a hook on the module is called."""
        return id(module) not in self._shut

    @property
    def on(self) -> bool:
        """Whether the hooks on layers are."""
        return bool(self._layer_handles)

    def turn(self, on: bool) -> None:
        """Put the hooks on the layers, or take them off."""
        if on and not self._layer_handles:
            for module, hook in self._layers:
                with self._notes.guard(f"the output of {type(module).__name__}"):
                    handle = module.register_forward_hook(hook, with_kwargs=hook.with_kwargs)
                    self._layer_handles.append(handle)
        elif not on and self._layer_handles:
            for handle in self._layer_handles:
                handle.remove()
            self._layer_handles.clear()

    def take_off(self) -> None:
        self.turn(False)
        for handle in self._pass_handles:
            handle.remove()
        self._pass_handles.clear()


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


def first_numbers(*given: object) -> Tensor | None:
    """The first tensor of floating-point numbers, as ``first_tensor`` looks for it."""
    for part in given:
        if isinstance(part, Tensor):
            found = part if part.is_floating_point() and part.dim() else None  # one number is a setting
        elif isinstance(part, Mapping):
            found = first_numbers(*part.values())
        else:
            found = first_numbers(*part) if isinstance(part, (tuple, list)) else None
        if found is not None:
            return found
    return None


def backward_pass() -> int:
    """The number of the backward pass that is running, or -1."""
    # torch has no public name for it; its own checkpointing asks in the same way
    return torch._C._current_graph_task_id()  # noqa: SLF001


def in_backward() -> bool:
    """Whether a backward pass is running: a forward pass inside it is one of gradient checkpointing."""
    return backward_pass() != -1
