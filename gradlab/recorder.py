"""Watch any ``nn.Module`` while it trains: norms per layer and step, and what the activations do.

The recorder only reads. It draws no random number and writes to no tensor of the training, so a watched run ends
in the same weights, bit for bit, as an unwatched one.
"""

import math
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradlab.record import HISTOGRAM_EDGES, Record

# A unit is saturated for one example where its activation's slope is below this share of the largest slope it has.
SATURATED_BELOW = 0.05

_EDGES = torch.from_numpy(HISTOGRAM_EDGES)

# A unit is called dead when it gave 0 on at least this many examples in a row: a small batch may miss a living one.
DEAD_AFTER = 512

# The slope from the output, relative to its maximum. Reading the output spares a second evaluation of the function.
_RELATIVE_SLOPE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: lambda output: 1 - output**2,
    nn.Sigmoid: lambda output: 4 * output * (1 - output),
}
_CAN_DIE = (nn.ReLU, nn.ReLU6)


def _relative_slope(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return next(slope for kind, slope in _RELATIVE_SLOPE.items() if isinstance(module, kind))


def _units_alive(output: Tensor) -> Tensor:
    """Which units are not 0 for some example: channels of images (batch, channels, ...), else the last dimension."""
    units = 1 if output.dim() > 3 else output.dim() - 1
    return (output != 0).movedim(units, 0).flatten(1).any(1) if output.dim() > 1 else output != 0


class _Pending:
    """What one step has gathered so far: sums over the forward and backward passes that belong to it."""

    def __init__(self) -> None:
        self.square_sum: dict[int, Tensor] = {}
        self.count: dict[int, int] = {}
        self.gradient_square_sum: dict[int, Tensor] = {}
        self.calls: dict[int, list[Tensor | None]] = {}  # per call of a layer, the squared gradient at its output
        self.loss: list[float] = []
        self.saturated: dict[int, Tensor] = {}
        self.outputs: dict[int, int] = {}
        self.alive: dict[int, Tensor] = {}


def _norm(tensors: list[Tensor]) -> Tensor:
    """Euclidean norm of all entries together, summed in float64: the square of a float32 1e-30 would be 0."""
    if not tensors:
        return torch.tensor(math.nan, dtype=torch.float64)
    # an embedding's gradient may be sparse: what it does not store is 0
    dense = (t.detach().coalesce().values() if t.is_sparse else t.detach() for t in tensors)
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in dense]))


def _first_over_last(squares: list[Tensor | None]) -> Tensor:
    if len(squares) < 2 or squares[0] is None or squares[-1] is None:
        return torch.tensor(math.nan, dtype=torch.float64)
    return torch.sqrt(squares[0] / squares[-1])


class Recorder:
    """Context manager that records every ``every``-th optimiser step of ``model``, whoever runs the loop::

        with Recorder(model) as recorder:
            for x, y in batches:
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
        recorder.record.gradient_norm        # (steps, layers)

    It listens to the optimisers that hold the model's parameters and to the model's forward passes with gradients
    on. Several optimisers that step after one pass share one recorded step. All its hooks are gone when the block
    ends, by an exception too; what was recorded until then stays.

    Args:
        model: any module with at least one parameter.
        activations: also watch layer outputs and activation modules (tanh and sigmoid: saturation; ReLU: dead units).
        histograms: also count the gradient entries of each layer by size. Costs a pass over all gradients.
        every: record one step in ``every``, the first included.
        chance_loss: loss of the best answer that ignores the input, if known: the entropy of the labels in nats, or
            the variance of the targets. ``training.fit`` fills it in.
    Raises:
        TypeError: if ``model`` is no ``nn.Module`` or ``every`` no integer.
        ValueError: if the model has no parameters, ``every`` is below 1, or a recorder is entered twice.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        activations: bool = True,
        histograms: bool = False,
        every: int = 1,
        chance_loss: float | None = None,
    ):
        if not isinstance(model, nn.Module):
            raise TypeError(f"Recorder needs a torch.nn.Module, got {model!r}")
        if isinstance(every, bool) or not isinstance(every, int):
            raise TypeError(f"every must be an integer, got {every!r}")
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        named = list(model.named_modules())
        layers = [(name, module) for name, module in named if next(module.parameters(recurse=False), None) is not None]
        if not layers:
            raise ValueError(f"{type(model).__name__} has no parameters, so there is no gradient to record")
        if chance_loss is not None and (isinstance(chance_loss, bool) or not isinstance(chance_loss, (int, float))):
            raise TypeError(f"chance_loss must be a number or None, got {chance_loss!r}")
        self.model = model
        self.every = every
        self.chance_loss = chance_loss
        self._histograms = histograms
        self._layers = [(name or type(module).__name__, module) for name, module in layers]
        self._parameters = [list(module.parameters(recurse=False)) for _, module in layers]
        self._ids = {id(p) for group in self._parameters for p in group}
        watched = (*_RELATIVE_SLOPE, *_CAN_DIE)
        self._activations = [(name, module) for name, module in named if activations and isinstance(module, watched)]
        self._watch_outputs = activations
        self._alive: dict[int, deque[tuple[Tensor, int]]] = {}
        self._rows: list[dict[str, Tensor]] = []
        self._steps: list[int] = []
        self._handles: list = []
        self._step = 0
        self._before: list[list[Tensor]] | None = None
        self._pending = _Pending()
        self._passed = False  # whether there was a forward pass since the last optimiser step
        self._stepped: set[int] = set()  # optimisers that have taken part in the current step

    def __enter__(self) -> "Recorder":
        if self._handles:
            raise ValueError("this Recorder is already recording; leave its with-block before entering it again")
        self._pending = _Pending()
        self._handles.append(register_optimizer_step_pre_hook(self._before_step))
        self._handles.append(register_optimizer_step_post_hook(self._after_step))
        self._handles.append(self.model.register_forward_pre_hook(self._new_pass))
        if self._watch_outputs:
            for index, (_, module) in enumerate(self._layers):
                self._handles.append(module.register_forward_hook(self._output_hook(index)))
        for index, (_, module) in enumerate(self._activations):
            self._handles.append(module.register_forward_hook(self._activation_hook(index, module)))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._before = None

    @property
    def record(self) -> Record:
        """Everything recorded so far, as arrays."""

        def column(name: str, *shape: int, kind: torch.dtype = torch.float64) -> np.ndarray:
            if not self._rows:
                return torch.empty((0, *shape), dtype=kind).numpy()
            return torch.stack([row[name].to("cpu", kind) for row in self._rows]).numpy()

        n, a = len(self._layers), len(self._activations)
        return Record(
            layers=tuple(name for name, _ in self._layers),
            activations=tuple(name for name, _ in self._activations),
            activation_kinds=tuple(type(module).__name__ for _, module in self._activations),
            step=np.array(self._steps, dtype=np.int64),
            **{
                name: column(name, n)
                for name in (
                    "gradient_norm",
                    "weight_norm",
                    "update_norm",
                    "output_rms",
                    "output_gradient_norm",
                    "time_ratio",
                )
            },
            **{name: column(name, a) for name in ("saturation", "dead")},
            loss=column("loss"),
            chance_loss=math.nan if self.chance_loss is None else float(self.chance_loss),
            output_nonfinite=column("output_nonfinite", n, kind=torch.bool),
            nonfinite=column("nonfinite", n, kind=torch.bool),
            histogram=column("histogram", n, len(_EDGES) - 1 if self._histograms else 0, kind=torch.int64),
        )

    def log_loss(self, loss: Tensor | float) -> None:
        """Tell the loss of the coming step; told several times before one step, their mean is kept.

        Args:
            loss: a number, or a tensor with one entry.
        Raises:
            ValueError: for a tensor with several entries.
        """
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise ValueError(f"log_loss takes one number, got a tensor of shape {tuple(loss.shape)}")
        self._pending.loss.append(float(loss.detach()) if isinstance(loss, Tensor) else float(loss))

    def capture(self) -> None:
        """Count one step that has no optimiser, and record the gradients as they stand; its update is NaN.

        Raises:
            ValueError: if no parameter has a gradient.
        """
        if all(p.grad is None for group in self._parameters for p in group):
            raise ValueError(
                f"no parameter of {type(self.model).__name__} has a gradient: call loss.backward() before capture()"
            )
        due = self._due()
        self._step += 1
        if due:
            self._write(update_norm=torch.full((len(self._layers),), math.nan, dtype=torch.float64))

    # --- what the hooks do -------------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Whether the step that is being prepared is one to record."""
        return self._step % self.every == 0

    def _new_pass(self, module: nn.Module, inputs: object) -> None:
        if torch.is_grad_enabled():
            self._passed = True
            self._pending.calls.clear()  # calls in two passes (gradient accumulation) are no time steps of one

    def _output_hook(self, index: int) -> Callable:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, tuple) and output:
                output = output[0]  # recurrent layers give their state as well
            if not (self._due() and torch.is_grad_enabled() and isinstance(output, Tensor)):
                return
            pending = self._pending
            square = torch.linalg.vector_norm(output.detach(), dtype=torch.float64) ** 2
            pending.square_sum[index] = pending.square_sum.get(index, 0) + square
            pending.count[index] = pending.count.get(index, 0) + output.numel()
            if output.requires_grad:
                calls = pending.calls.setdefault(index, [])
                call = len(calls)
                calls.append(None)

                def gradient_hook(gradient: Tensor) -> None:
                    square = torch.linalg.vector_norm(gradient.detach(), dtype=torch.float64) ** 2
                    pending.gradient_square_sum[index] = pending.gradient_square_sum.get(index, 0) + square
                    calls[call] = square

                output.register_hook(gradient_hook)

        return hook

    def _activation_hook(self, index: int, watched: nn.Module) -> Callable:
        relative_slope = None if isinstance(watched, _CAN_DIE) else _relative_slope(watched)

        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            if not (self._due() and torch.is_grad_enabled()):
                return
            pending, output = self._pending, output.detach()
            if relative_slope is None:
                alive = _units_alive(output)
                pending.alive[index] = pending.alive[index] | alive if index in pending.alive else alive
                pending.outputs[index] = pending.outputs.get(index, 0) + len(output)
            else:
                saturated = (relative_slope(output) < SATURATED_BELOW).sum().double()
                pending.saturated[index] = pending.saturated.get(index, 0) + saturated
                pending.outputs[index] = pending.outputs.get(index, 0) + output.numel()

        return hook

    def _holds_our_parameters(self, optimizer: torch.optim.Optimizer) -> bool:
        return any(id(p) in self._ids for group in optimizer.param_groups for p in group["params"])

    def _joins(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether this optimiser shares the step of another: it moves other weights, by gradients of the same pass."""
        return bool(self._stepped) and not self._passed and id(optimizer) not in self._stepped

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        if not self._holds_our_parameters(optimizer):
            return
        recorded = self._steps[-1:] == [self._step] if self._joins(optimizer) else self._due()
        if recorded:
            self._before = [[p.detach().clone() for p in group] for group in self._parameters]

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        if not self._holds_our_parameters(optimizer):
            return
        joins = self._joins(optimizer)
        if not joins:
            self._step += 1
            self._stepped.clear()
        self._stepped.add(id(optimizer))
        self._passed = False
        if self._before is None:
            return
        pairs = zip(self._parameters, self._before, strict=True)
        updates = torch.stack([_norm([p.detach() - b for p, b in zip(now, then, strict=True)]) for now, then in pairs])
        self._before = None
        if joins:
            row = self._rows[-1]
            row["update_norm"] = torch.hypot(row["update_norm"], updates)
            row["weight_norm"] = self._weight_norms()
        else:
            self._write(update_norm=updates)

    def _weight_norms(self) -> Tensor:
        return torch.stack([_norm(list(group)) for group in self._parameters])

    def _write(self, update_norm: Tensor) -> None:
        pending, self._pending = self._pending, _Pending()
        nan = torch.tensor(math.nan, dtype=torch.float64)
        layers, activations = range(len(self._layers)), range(len(self._activations))

        def gather(values: dict[int, Tensor], indices: range, finish: Callable[[int, Tensor], Tensor]) -> Tensor:
            found = [finish(i, values[i]).double() if i in values else nan for i in indices]
            return torch.stack(found) if found else torch.empty(0, dtype=torch.float64)

        gradients = [[p.grad for p in group if p.grad is not None] for group in self._parameters]
        norms = [_norm(group) for group in gradients]
        self._steps.append(self._step)
        self._rows.append(
            {
                "gradient_norm": torch.stack(norms),
                # a norm in float64 cannot overflow on its own, so what is not finite was so before
                "nonfinite": torch.stack(
                    [torch.tensor(bool(group)) & ~n.isfinite().cpu() for group, n in zip(gradients, norms, strict=True)]
                ),
                "output_nonfinite": torch.tensor(
                    [i in pending.square_sum and not math.isfinite(pending.square_sum[i]) for i in layers]
                ),
                "loss": torch.tensor(sum(pending.loss) / len(pending.loss) if pending.loss else math.nan),
                "histogram": self._count(gradients),
                "time_ratio": gather(pending.calls, layers, lambda i, squares: _first_over_last(squares)),
                "weight_norm": self._weight_norms(),
                "update_norm": update_norm,
                "output_rms": gather(
                    pending.square_sum, layers, lambda i, total: torch.sqrt(total / max(pending.count[i], 1))
                ),
                "output_gradient_norm": gather(pending.gradient_square_sum, layers, lambda i, total: torch.sqrt(total)),
                "saturation": gather(
                    pending.saturated, activations, lambda i, total: total / max(pending.outputs[i], 1)
                ),
                "dead": gather(pending.alive, activations, lambda i, alive: self._dead(i, alive, pending.outputs[i])),
            }
        )

    def _dead(self, index: int, alive: Tensor, examples: int) -> Tensor:
        """Share of units that no recent example woke; remembers just as many steps as that needs."""
        recent = self._alive.setdefault(index, deque())
        recent.append((alive, examples))
        while sum(n for _, n in recent) - recent[0][1] >= DEAD_AFTER:
            recent.popleft()
        same_size = [mask for mask, _ in recent if mask.shape == alive.shape]
        return 1 - torch.stack(same_size).any(0).double().mean()

    def _count(self, gradients: list[list[Tensor]]) -> Tensor:
        bins = len(_EDGES) - 1
        if not self._histograms:
            return torch.empty(len(gradients), 0, dtype=torch.int64)
        counts = torch.zeros(len(gradients), bins, dtype=torch.int64)
        for row, group in zip(counts, gradients, strict=True):
            for gradient in group:
                values = gradient.detach().coalesce().values() if gradient.is_sparse else gradient.detach()
                values = values.flatten().double().cpu()
                places = torch.bucketize(values[values.isfinite()], _EDGES) - 1
                row += torch.bincount(places.clamp(0, bins - 1), minlength=bins)
        return counts


def probe(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_function: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> Record:
    """One forward and one backward pass, recorded, without a trace.

    Weights, their ``.grad``, the statistics of a batch normalisation and the random generator stay as they were.

    Args:
        model: any module with parameters.
        inputs: what the model takes, first dimension the batch.
        targets: what ``loss_function(model(inputs), targets)`` takes.
    Returns:
        A ``Record`` with one step. Its update norms are NaN.
    Raises:
        TypeError: if ``model`` is no ``nn.Module``.
        ValueError: if the batch is empty, or the model has no parameters.
    """
    recorder = Recorder(model)  # refuses what has no gradient
    if len(inputs) == 0:
        raise ValueError("probe needs at least one example, got an empty batch")
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    gpus = list({p.device for p, _ in gradients if p.is_cuda})
    with recorder, torch.random.fork_rng(devices=gpus):
        try:
            for p, _ in gradients:
                p.grad = None
            loss_function(model(inputs), targets).backward()
            recorder.capture()
        finally:
            for p, gradient in gradients:
                p.grad = gradient
            with torch.no_grad():
                for b, before in buffers:
                    b.copy_(before)
    return recorder.record
