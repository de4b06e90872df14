"""What a model is made of: its layers, their parameters and readable names, and what hooks on it give."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

# What wrappers put into the name of a module.
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")


def _layers_of(model: nn.Module) -> list[tuple[str, nn.Module | None, list[nn.Parameter]]]:
    """Name, module whose output is the layer's, and parameters of each layer, as the model defines them.

    A layer is a module that owns parameters. A recurrent module that stacks several layers is one for each of them,
    and only the last has an output of its own. A parameter that several modules share belongs to the first.
    """
    modules = dict(model.named_modules())
    layers: dict[str, tuple[nn.Module | None, list[nn.Parameter]]] = {}
    known: set[int] = set()
    for path, module in modules.items():
        # what a parametrisation (weight normalisation, low rank) keeps apart belongs to the module it serves
        owner = path.split(".parametrizations.")[0] if ".parametrizations." in path else path
        if path.startswith("parametrizations."):
            owner = ""
        stacked = isinstance(module, nn.RNNBase) and module.num_layers > 1
        for name, parameter in module.named_parameters(recurse=False):
            number = int(name.split("_l")[1].split("_")[0]) if stacked else 0
            last = not stacked or number == module.num_layers - 1
            label = f"{owner}.l{number}" if stacked else owner
            own = layers.setdefault(label, (modules[owner] if last else None, []))[1]
            if id(parameter) not in known:
                known.add(id(parameter))
                own.append(parameter)
    named, taken = [], set()
    for label, (module, parameters) in layers.items():
        name = _readable(label, modules).strip(".") or _kind(_unwrapped(model))
        while name in taken:
            name += "_"
        taken.add(name)
        named.append((name, module, parameters))
    return named


def _is_parallel(model: nn.Module) -> bool:
    return isinstance(model, (nn.DataParallel, DistributedDataParallel))


def _readable(path: str, modules: Mapping[str, nn.Module]) -> str:
    """The name of a module, without the parts that wrappers put into it."""
    parts = path.split(".")
    return ".".join(
        part
        for number, part in enumerate(parts)
        if part not in _WRAPPERS and not (part == "module" and _is_parallel(modules[".".join(parts[:number])]))
    )


def _kind(module: nn.Module) -> str:
    """The name of its class. ``fully_shard`` puts a class of its own before the one that someone wrote."""
    kind = type(module)
    return (kind.__bases__[1] if kind.__bases__[0].__name__ == "FSDPModule" else kind).__name__


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module that someone wrote, without what torch wraps around it."""
    while (inner := getattr(model, "_orig_mod", model.module if _is_parallel(model) else None)) is not None:
        model = inner
    return model


def _compiled(model: nn.Module) -> set[int]:
    """Ids of all modules that run inside ``torch.compile``: a hook there would break up the graph, or never run."""
    heads = [
        m for m in model.modules() if hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None
    ]
    return {id(module) for head in heads for module in head.modules()}


def _first_tensor(output: object) -> Tensor | None:
    """The output itself, or the first tensor in it: recurrent layers give their state too, attention its weights."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        return next((found for part in output if (found := _first_tensor(part)) is not None), None)
    return None


def _units_alive(output: Tensor) -> np.ndarray:
    """Which units are not 0 for some example: channels of images (batch, channels, ...), else the last dimension."""
    dimensions = output.dim()
    units = 1 if dimensions > 3 else dimensions - 1
    largest = output.amax([d for d in range(dimensions) if d != units]) if dimensions > 1 else output.reshape(-1)
    return (largest if largest.is_cpu else largest.cpu()).float().numpy() != 0  # nothing that dies is negative


def _in_backward() -> bool:
    """Whether a backward pass is running: a forward pass inside it is one of gradient checkpointing."""
    return torch._C._current_graph_task_id() != -1
