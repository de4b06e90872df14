"""What a model is made of: its layers, their parameters and readable names."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# What wrappers put into the name of a module.
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")


class Layer(NamedTuple):
    """A module that owns parameters.

    Attributes:
        name: as the model names the module; that of its class for what belongs to the model itself.
        module: whose output is the layer's, or None if it has none of its own.
        parameters: those that no layer before it has.
        whole: whether it is what a model of several layers has besides them. Its output is that of the last of them.
    """

    name: str
    module: nn.Module | None
    parameters: list[nn.Parameter]
    whole: bool = False


def layers_of(model: nn.Module) -> list[Layer]:
    """The layers, as the model defines them.

    A recurrent module that stacks several layers is one for each of them, and only the last has an output of its own.
    A parameter that several modules share belongs to the first.
    """
    modules = dict(model.named_modules())
    found: dict[str, tuple[nn.Module | None, list[nn.Parameter]]] = {}
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
            own = found.setdefault(label, (modules[owner] if last else None, []))[1]
            if id(parameter) not in known:
                known.add(id(parameter))
                own.append(parameter)
    names = {label: readable(label, modules).strip(".") for label in found}
    taken = set(names.values())
    layers: dict[str, Layer] = {}
    for label, (owner_module, parameters) in found.items():
        name, whole = names[label], False
        if not name:
            name, whole = kind(unwrapped(model)), len(found) > 1
            name += " itself" if name in taken else ""
        while name in layers:
            name += "_"
        layers[name] = Layer(name, None if whole else owner_module, parameters, whole)
    return list(layers.values())


def is_parallel(model: nn.Module) -> bool:
    return isinstance(model, (nn.DataParallel, DistributedDataParallel))


def readable(path: str, modules: Mapping[str, nn.Module]) -> str:
    """The name of a module, without the parts that wrappers put into it."""
    parts = path.split(".")
    return ".".join(
        part
        for number, part in enumerate(parts)
        if part not in _WRAPPERS and not (part == "module" and is_parallel(modules[".".join(parts[:number])]))
    )


def kind(module: nn.Module) -> str:
    """The name of its class. ``torch.jit`` and ``fully_shard`` put one of their own before that which someone wrote."""
    found = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        return str(getattr(module, "original_name", found.__name__))
    return (found.__bases__[1] if found.__bases__[0].__name__ == "FSDPModule" else found).__name__


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that someone wrote, without what torch wraps around it."""
    while True:
        inner = getattr(model, "_orig_mod", model.module if is_parallel(model) else None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner
