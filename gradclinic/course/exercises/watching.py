"""What lab 11 asks of an instrument, and the usual ways in which it goes wrong."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gradclinic.course.exercises.programs import Pass, Step


def layers_of(model: nn.Module, leaves: bool = False) -> list[nn.Module]:
    """The modules that own parameters; or, as a usual slip, those that hold no other module."""
    if leaves:
        return [module for module in model.modules() if not list(module.children())]
    return [module for module in model.modules() if list(module.parameters(recurse=False))]


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def squared(tensor: Tensor, single: bool = False) -> float:
    """The sum of squares."""
    return (tensor.detach() if single else tensor.detach().double()).square().sum().item()


def norm(tensors: Sequence[Tensor], single: bool = False) -> float:
    """Of all their entries, as one long vector."""
    return math.sqrt(sum(squared(tensor, single) for tensor in tensors))


def rms(tensors: Sequence[Tensor], single: bool = False) -> float:
    """Root mean square of all their entries."""
    return norm(tensors, single) / math.sqrt(sum(tensor.numel() for tensor in tensors))


# --- outputs ---------------------------------------------------------------------------------------------------------


def sizes(
    model: nn.Module,
    x: Tensor,
    size: Callable[[list[Tensor]], float] = rms,
    order: str = "finished",
    late: bool = False,
    leaves: bool = False,
) -> list[list[float]]:
    """[place, size] of each layer: which one it is in ``order``, from 1, and the size of all that it puts out.

    A layer that is not called has [0, 0]. With ``late`` outputs are looked at when the pass is over.
    """
    layers, kept = layers_of(model, leaves), dict[nn.Module, list[Tensor]]()

    def begun(module: nn.Module, _inputs: object) -> None:
        kept.setdefault(module, [])

    def finished(module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        kept.setdefault(module, []).append(first(output) if late else first(output).detach().clone())

    handles = [layer.register_forward_hook(finished) for layer in layers]
    if order == "begun":
        handles += [layer.register_forward_pre_hook(begun) for layer in layers]
    model(x)
    for handle in handles:
        handle.remove()
    called = [layer for layer in layers if layer in kept] if order == "defined" else list(kept)
    return [[called.index(m) + 1, size(kept[m])] if m in kept else [0, 0.0] for m in layers]


def mean_over_calls(outputs: Sequence[Tensor]) -> float:
    return sum(rms([output]) for output in outputs) / len(outputs)


def spread(outputs: Sequence[Tensor]) -> float:
    """The standard deviation of all entries."""
    return float(torch.cat([output.double().flatten() for output in outputs]).std(correction=0))


# --- gradients at them -----------------------------------------------------------------------------------------------


def gradients(
    model: nn.Module,
    passes: Sequence[Pass],
    watched: int,
    size: Callable[[list[Tensor]], float] = norm,
    how: str = "right",
) -> list[float]:
    """The size of the gradient at each layer's output in one of the passes; ``how`` as a usual slip."""
    layers = layers_of(model)
    back: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers}
    kept: list[tuple[nn.Module, Tensor]] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        tensor = inputs[0] if how == "inputs" else first(output)
        if not tensor.requires_grad:
            return
        if how == "kept":
            tensor.retain_grad()
            kept.append((module, tensor))
        else:
            tensor.register_hook(back[module].append)

    for number, run in enumerate(passes, 1):
        if how == "alone" and number != watched:
            continue
        on = number == watched or how == "all"
        handles = [layer.register_forward_hook(hook) for layer in layers] if on else []
        if how == "clears":
            model.zero_grad()
        run(model)
        if number == watched and how == "parameters":
            for layer in layers:
                own = [p.grad for p in layer.parameters(recurse=False) if p.grad is not None]
                back[layer] = [gradient.clone() for gradient in own]
        for handle in handles if how != "left on" else ():
            handle.remove()
    for module, tensor in kept:
        back[module] += [] if tensor.grad is None else [tensor.grad]
    return [size(back[layer]) for layer in layers]


# --- steps -----------------------------------------------------------------------------------------------------------


def ratio(moved: float, size: float) -> float:
    return 0.0 if moved == 0 else math.inf if size == 0 else moved / size


def relative(before: Tensor, after: Tensor) -> float:
    return ratio(float((after - before).norm()), float(before.norm()))


def moves(
    model: nn.Module,
    step: Step,
    size: Callable[[Tensor, Tensor], float] = relative,
    how: str = "right",
) -> list[float]:
    """``size`` of each layer's parameters, as one vector before and after the step; ``how`` as a usual slip."""
    layers = layers_of(model)

    def now() -> list[Tensor]:
        each = [[p.detach().double().flatten() for p in layer.parameters(recurse=how == "nested")] for layer in layers]
        return [torch.cat(own[:1] if how == "first" else own) for own in each]

    before = now()
    for _ in range(2 if how == "twice" else 1):
        step(model)
    return [size(old, new) for old, new in zip(before, now(), strict=True)]


def by_entry(before: Tensor, after: Tensor) -> float:
    return float(((after - before) / before).abs().nan_to_num(0.0, math.inf).mean())


def by_length(before: Tensor, after: Tensor) -> float:
    return ratio(abs(float(after.norm() - before.norm())), float(before.norm()))


def by_new_size(before: Tensor, after: Tensor) -> float:
    return ratio(float((after - before).norm()), float(after.norm()))


def in_single(before: Tensor, after: Tensor) -> float:
    moved, size = (vector.float().square().sum().sqrt().item() for vector in (after - before, before))
    return ratio(moved, size)


def by_gradient(model: nn.Module, step: Step) -> list[float]:
    """As if every step were the learning rate times the gradient."""
    own = [list(layer.parameters(recurse=False)) for layer in layers_of(model)]
    before = [norm([p.detach().clone() for p in parameters]) for parameters in own]
    step(model)
    each = [[p.grad for p in parameters if p.grad is not None] for parameters in own]
    return [ratio(step.rate * norm(found), size) for found, size in zip(each, before, strict=True)]


def by_tensor(model: nn.Module, step: Step) -> list[float]:
    """The mean of the ratios of a layer's tensors."""
    own = [list(layer.parameters(recurse=False)) for layer in layers_of(model)]
    before = [[p.detach().clone().double().flatten() for p in parameters] for parameters in own]
    step(model)
    found = []
    for parameters, old in zip(own, before, strict=True):
        each = [relative(was, p.detach().double().flatten()) for was, p in zip(old, parameters, strict=True)]
        found.append(sum(each) / len(each))
    return found


def undefined(model: nn.Module, step: Step) -> list[float]:
    """As 0/0 is, of a layer of zeros that stays: not a number, or infinite."""
    zero = [not any(p.count_nonzero() for p in layer.parameters(recurse=False)) for layer in layers_of(model)]
    return [math.nan if was and found == 0 else found for was, found in zip(zero, moves(model, step), strict=True)]


# --- who is cut off --------------------------------------------------------------------------------------------------


def starved(norms: Tensor, place: int, share: float) -> bool:
    return bool(norms[place] < share * norms[place + 1])


def reached(norms: Tensor, place: int, share: float) -> int:
    return int((norms[:place] >= share * norms[place + 1]).sum())


def cut_off(
    norms: Tensor,
    share: float,
    lost: Callable[[Tensor, int, float], bool] = starved,
    others: Callable[[Tensor, int, float], int] = reached,
    from_input: bool = False,
) -> list[int]:
    """The layer that is cut off, from 1, and how many before it are reached; both 0 if there is none."""
    places = range(len(norms) - 1) if from_input else range(len(norms) - 2, -1, -1)
    for place in places:
        if lost(norms, place, share):
            return [place + 1, others(norms, place, share)]
    return [0, 0]


def worst(norms: Tensor, share: float) -> list[int]:
    """The one with the smallest share, if any is cut off."""
    if cut_off(norms, share) == [0, 0]:
        return [0, 0]
    kept = torch.where(norms[1:] > 0, norms[:-1] / norms[1:], torch.inf)
    place = int(kept.argmin())
    return [place + 1, reached(norms, place, share)]
