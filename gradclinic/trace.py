"""Where a NaN is born: one step, repeated operation by operation, forward and backward."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that only put a number where somebody wants it: an inf there is on purpose (a mask), a NaN is not theirs.
# fmt: off
_PLACING: tuple[str, ...] = (
    "masked_fill", "where", "full", "fill", "scalar_tensor", "copy", "clone", "view", "expand", "zeros", "ones",
    "empty", "detach", "_to_copy", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "t.", "cat",
    "index", "triu", "tril", "_unsafe_view", "reshape", "lift_fresh", "new_", "gather", "alias", "stack",
)
# fmt: on

# Words for operations that have no answer to some numbers.
_NO_ANSWER = {
    "sqrt": "the square root has slope infinity at 0, and no value below",
    "log": "the logarithm is -inf at 0, and has no value below",
    "div": "a division by 0",
    "reciprocal": "a division by 0",
    "pow": "a power that has no value, or no slope, there",
    "_softmax": "a softmax over a row that is -inf everywhere: masked whole",
    "_log_softmax": "a softmax over a row that is -inf everywhere: masked whole",
    "_safe_softmax": "a softmax over a row that is -inf everywhere: masked whole",
    "acos": "its slope is infinite at -1 and 1",
    "asin": "its slope is infinite at -1 and 1",
    "norm": "the norm has no slope at 0",
    "linalg_vector_norm": "the norm has no slope at 0",
    "var": "the variance of one number",
    "std": "the deviation of one number, or its slope where all are equal",
    "mean": "the mean of nothing",
    "exp": "it overflows above 88 in single precision",
    "mul": "0 times infinity, or an overflow",
    "sub": "infinity minus infinity",
}


@dataclass(frozen=True)
class Nonfinite:
    """The operation that first gave inf or NaN.

    Attributes:
        direction: "input", "weights", "forward" or "backward".
        operation: its name, as PyTorch has it; in the backward pass that of the step of autograd, then the operation in
            it. Of an input or weights, which.
        line: the line of your code that called it (in the backward pass: that called what is differentiated), as
            "file:number: code"; empty if there is none.
        given: what it was given, in words, with smallest and largest entry.
        gave: "NaN" or "inf".
    """

    direction: str
    operation: str
    line: str
    given: str
    gave: str

    def __str__(self) -> str:
        where = f"\n  {self.line}" if self.line else ""
        given = f"\n  given {self.given}" if self.given else ""
        return f"{self.direction}: {self.operation} gave {self.gave}{where}{given}"


def trace_nonfinite(model: nn.Module, batch: Any, loss: Callable[[Any, Any], Tensor]) -> Nonfinite | None:
    """Repeat one step, forward and backward, and name the operation that first gives inf or NaN.

    An inf that a mask puts somewhere is no fault; one that an operation computes is, if it or the NaN that comes of it
    reaches the loss or a gradient. Weights, gradients, statistics of batch normalisation and the random generator stay
    as they were. It is slow: every operation is looked at.

    Args:
        model: as it stood before the bad step; weights that are NaN already are named as such.
        batch: (inputs, targets), or a mapping that the model takes by name.
        loss: function of the model's answers and the targets (or the mapping) that gives one number.
    Returns:
        A ``Nonfinite``; None if everything was finite.
    Raises:
        TypeError: if ``model`` is no ``nn.Module``, or ``batch`` neither a pair nor a mapping.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"trace_nonfinite needs a torch.nn.Module, got {model!r}")
    if not isinstance(batch, Mapping) and not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        raise TypeError(f"batch must be (inputs, targets) or a mapping, got {type(batch).__name__}")
    found = _in_tensors("weights", dict(model.named_parameters())) or _in_batch(batch)
    if found is not None:
        return found
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    gpus = list({p.device for p, _ in gradients if p.is_cuda})
    watch = _Watch()
    try:
        with (
            torch.random.fork_rng(devices=gpus),
            torch.enable_grad(),
            torch.autograd.set_detect_anomaly(True, check_nan=False),  # which does not warn of its cost
        ):
            for p, _ in gradients:
                p.grad = None
            with watch:
                value = _loss(model, batch, loss)
                finite = bool(value.isfinite().all())
                watch.direction = "backward"
                value.sum().backward()
            bad = [p for p, _ in gradients if p.grad is not None and not bool(_values(p.grad).isfinite().all())]
    finally:
        for p, gradient in gradients:
            p.grad = gradient
        with torch.no_grad():
            for b, before in buffers:
                b.copy_(before)
    return None if finite and not bad else watch.verdict()


def _loss(model: nn.Module, batch: Any, loss: Callable[[Any, Any], Tensor]) -> Tensor:
    return loss(model(**batch), batch) if isinstance(batch, Mapping) else loss(model(batch[0]), batch[1])


def _in_batch(batch: Any) -> Nonfinite | None:
    named = batch if isinstance(batch, Mapping) else {"inputs": batch[0], "targets": batch[1]}
    return _in_tensors("input", {name: value for name, value in named.items() if isinstance(value, Tensor)})


def _in_tensors(direction: str, tensors: Mapping[str, Tensor]) -> Nonfinite | None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.detach().isfinite().all()):
            return Nonfinite(direction, name, "", _described(tensor), _what(tensor))
    return None


class _Watch(TorchDispatchMode):
    """Looks at what goes into every operation, and what comes out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.direction = "forward"
        self._first: dict[str, Nonfinite] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        given = [t for t in _tensors((arguments, keywords or {})) if t.is_floating_point()]
        clean = not any(bool(_values(t).isnan().any()) for t in given)
        finite = clean and not any(bool(_values(t).isinf().any()) for t in given)
        described = "" if not clean else " and ".join(_described(t) for t in given[:2])
        result = function(*arguments, **(keywords or {}))
        name = str(function.overloadpacket).removeprefix("aten.")
        if clean and not name.startswith(_PLACING):
            for tensor in _tensors(result):
                if tensor.is_floating_point():
                    what = _what(tensor)
                    if what == "NaN" or (what == "inf" and finite):
                        self._note(what, name, described)
        return result

    def _note(self, what: str, name: str, given: str) -> None:
        if what in self._first:
            return
        operation, line = name, _line_of(traceback.extract_stack())
        if self.direction == "backward":
            # autograd tells in no public way at which node it is, and anomaly mode keeps there where it was made
            node: Any = torch._C._current_autograd_node()  # noqa: SLF001
            if node is not None:
                operation = f"{node.name()} ({name})"
                line = _line_in(node.metadata.get("traceback_", []))
        plain = name.split("_backward")[0].removesuffix("_")
        if self.direction == "backward":
            plain = operation.split("Backward")[0].lower()
        why = _NO_ANSWER.get(name) or _NO_ANSWER.get(plain)
        given = f"{given}: {why}" if why else given
        self._first[what] = Nonfinite(self.direction, operation, line, given, what)

    def verdict(self) -> Nonfinite | None:
        """The inf that came first, where a NaN came of it; else the NaN."""
        return next(iter(self._first.values()), None)


def _values(tensor: Tensor) -> Tensor:
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    return [t for part in tree for t in _tensors(part)] if isinstance(tree, (tuple, list)) else []


def _what(tensor: Tensor) -> str:
    values = _values(tensor)
    return "NaN" if bool(values.isnan().any()) else "inf" if bool(values.isinf().any()) else ""


def _described(tensor: Tensor) -> str:
    values = _values(tensor.detach())
    known = values[values.isfinite()]
    text = f"a tensor of shape {tuple(tensor.shape)}"
    if known.numel():
        text += f", from {float(known.min()):.3g} to {float(known.max()):.3g}"
        zeros = int((known == 0).sum())
        text += f", {zeros} of them 0" if 0 < zeros < known.numel() else ""
    for name, odd in (("NaN", values.isnan()), ("inf", values.isinf())):
        count = int(odd.sum())
        text += f", {count} {name}" if count else ""
    return text


_TORCH, _HERE = str(Path(torch.__file__).parent), str(Path(__file__).parent)


def _line_of(stack: traceback.StackSummary) -> str:
    """The innermost frame that is neither PyTorch's nor this package's."""
    for frame in reversed(stack):
        if not frame.filename.startswith((_TORCH, _HERE, "<frozen")):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return ""


def _line_in(lines: list[str]) -> str:
    """The same of a traceback as text."""
    for text in reversed(lines):
        first, _, code = text.strip().partition("\n")
        parts = first.split('"')
        if len(parts) > 2 and not parts[1].startswith((_TORCH, _HERE, "<frozen")):
            number = parts[2].split("line ")[1].split(",")[0]
            return f"{parts[1]}:{number}: {code.strip()}"
    return ""
