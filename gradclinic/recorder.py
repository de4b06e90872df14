"""Watch any ``nn.Module`` while it trains: norms per layer and step, and what the activations do.

The recorder only reads. It draws no random number and writes to no tensor of the training, so a watched run ends
in the same weights, bit for bit, as an unwatched one.
"""

import contextlib
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradclinic.record import Record
from gradclinic.recording.layers import (
    _compiled,
    _first_tensor,
    _in_backward,
    _kind,
    _layers_of,
    _readable,
    _units_alive,
)
from gradclinic.recording.ranks import _copies_of, _own, _pieces, _ranks_of
from gradclinic.recording.sizes import _ABSENT, _BINS, _histogram, _square, _squares

# A unit is saturated for one example where its activation's slope is below this share of the largest slope it has.
SATURATED_BELOW = 0.05

# A unit is called dead when it gave 0 on at least this many examples in a row: a small batch may miss a living one.
DEAD_AFTER = 512

# The schedule of a recorder that is not told one: each of the first steps, then one in INTERVAL. The interval grows
# tenfold at LONG_RUN steps and at each power of ten of them, so that a run of any length keeps about as many rows.
FIRST_STEPS, INTERVAL, LONG_RUN = 50, 25, 25_000

# Saturation of an output with more entries than these is counted on its first examples, 32 or more.
_COUNTED, _COUNTED_EXAMPLES = 65_536, 32

# A saturated unit, told from its output: that spares a second evaluation of the function.
_FLAT = math.sqrt(1 - SATURATED_BELOW)
_IS_SATURATED: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Tanh: lambda output: output.abs() > _FLAT,  # slope 1 - output^2
    nn.Sigmoid: lambda output: (output - 0.5).abs() > _FLAT / 2,  # slope output (1 - output)
}
_CAN_DIE = (nn.ReLU, nn.ReLU6)


# --- what is kept ----------------------------------------------------------------------------------------------------


class _Table:
    """Rows of equal size, in arrays that double when they are full."""

    def __init__(self, columns: Mapping[str, tuple[tuple[int, ...], type]]):
        self._arrays = {name: np.empty((0, *shape), dtype) for name, (shape, dtype) in columns.items()}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name][: self._length]

    def columns(self) -> list[str]:
        return list(self._arrays)

    def set_last(self, **values: object) -> None:
        for name, value in values.items():
            if name in self._arrays:
                self._arrays[name][self._length - 1] = value

    def add(self, **values: object) -> None:
        for name, array in self._arrays.items():
            if len(array) == self._length:
                more = np.empty((max(64, self._length), *array.shape[1:]), array.dtype)
                self._arrays[name] = np.concatenate([array, more])
        self._length += 1
        self.set_last(**values)


class _Pass:
    """What one step has gathered so far: sums over the forward and backward passes that belong to it."""

    def __init__(self, layers: int):
        self.output = [_ABSENT] * layers
        self.output_entries = [0] * layers
        self.output_gradient = [_ABSENT] * layers
        self.calls: dict[int, list[float | None]] = {}  # per call of a layer, the squared gradient at its output
        self.untimed: set[int] = set()  # layers whose calls do not come in their order
        self.without_grad: dict[int, int] = {}  # calls that gradient checkpointing will repeat
        self.went_back = False  # whether a gradient has come back in this step, and since its last pass began
        self.pass_ended = False
        self.saturated: dict[int, tuple[int, int]] = {}
        self.alive: dict[int, dict[int, tuple[np.ndarray, int]]] = {}  # activation -> units -> (mask, examples)
        self.handles: list = []  # hooks on outputs


class _Reading:
    """What one optimiser's step changes: read before it, and compared after."""

    def __init__(self, held: list[int], copied: list[int], gradients: np.ndarray | None, counts: np.ndarray | None):
        self.held, self.copied, self.gradients, self.counts = held, copied, gradients, counts


class _Hook:
    """A hook that stays behind when the model is copied or pickled: copies are not watched."""

    def __init__(self, function: Callable):
        self.function = function

    def __call__(self, *arguments: object) -> None:
        self.function(*arguments)

    def __reduce__(self) -> tuple:
        return _Hook, (_nothing,)


def _nothing(*_: object) -> None:
    pass


# Recorders that listen to optimisers now. torch goes through its own list of hooks while they run, so one that a thread
# put in or took out would stop the step of another thread. Two hooks stay, therefore, and ask here.
_listening: tuple["Recorder", ...] = ()
_changing = threading.Lock()


def _before_any_step(optimizer: torch.optim.Optimizer, arguments: tuple, keywords: dict) -> None:
    for recorder in _listening:
        recorder._before_step(optimizer, arguments, keywords)


def _after_any_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
    for recorder in _listening:
        recorder._after_step(optimizer)


register_optimizer_step_pre_hook(_before_any_step)
register_optimizer_step_post_hook(_after_any_step)


class Recorder:
    """Context manager that records what happens to ``model`` while it trains, whoever runs the loop::

        with Recorder(model) as recorder:
            for x, y in batches:
                optimizer.zero_grad()
                loss = cross_entropy(model(x), y)
                recorder.log_loss(loss)
                loss.backward()
                optimizer.step()
        recorder.record.gradient_norm        # (steps, layers)

    It listens to the optimisers that hold the model's parameters and to the model's forward passes with gradients
    on. Several optimisers that step after one pass share one recorded step. Its hooks on the model are gone when
    the block ends, by an exception too; what was recorded until then stays.

    Gradients of parameters are read when ``optimizer.step`` is called: after accumulation, after a loss scaler has
    divided, after clipping. A step that the scaler leaves out is not counted. Gradients at outputs are those of the
    backward pass: before clipping, and still multiplied by a scaler's factor.

    Layers stand in the order in which the first forward pass finished them. A parameter that several modules share
    is counted for the first that the model defines. Gradient checkpointing is seen through. Inside ``torch.compile``
    only parameters are watched, so ``output_rms`` and the like are NaN there.

    Several processes that train one model (DistributedDataParallel, or ``fully_shard``) each have a recorder. While
    they train, these do not speak to each other: inside the block ``record`` is what a rank can tell of the whole by
    its own examples and shards. At the end of the block they put together what they saw. So every rank has to leave
    the block, and then each holds the same record: that of one process with the whole batch, if each rank has equally
    many examples and its loss is their mean. Batch normalisation still goes by each rank's own examples. A rank that
    leaves by an exception waits for no other and keeps its own record; so does one that finds another gone, with a
    note.

    While it records it holds one copy of the weights, or of the rank's own shards. A recorded step takes
    ``64 L + 24 A + 16`` bytes for L layers and A activation modules, ``24 L + 16`` without activations, ``16 L`` less
    without updates, and ``804 L`` more with histograms. By the usual schedule a network of 100 layers and 100
    activations takes 13 MB for 100,000 steps. With several processes a step takes 8 bytes more for each ReLU, and one
    bit a unit where one of its units died or woke.

    Args:
        model: any module with at least one parameter.
        activations: also watch layer outputs and activation modules (tanh and sigmoid: saturation; ReLU: dead units).
            Hooks for it are on the model only for the steps that are recorded.
        updates: also measure the weights and what each step changes. For that the weights are copied before it.
        histograms: also count the gradient entries of each layer by size. Costs a pass over all gradients.
        every: record one step in ``every``, the first included. With None, which costs almost nothing, the first 50
            steps, then one in 25; one in 250 from step 25,000 on, one in 2,500 from step 250,000 on, and so forth.
        chance_loss: loss of the best answer that ignores the input, if known: the entropy of the labels in nats, or
            the variance of the targets. ``training.fit`` fills it in.
    Attributes:
        notes: what could not be measured in this model, a sentence each. It is NaN in the record, and the training
            goes on.
    Raises:
        TypeError: if ``model`` is no ``nn.Module`` or ``every`` neither None nor an integer.
        ValueError: if the model has no parameters, ``every`` is below 1, or a recorder is entered twice.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        activations: bool = True,
        updates: bool = True,
        histograms: bool = False,
        every: int | None = None,
        chance_loss: float | None = None,
    ):
        if not isinstance(model, nn.Module):
            raise TypeError(f"Recorder needs a torch.nn.Module, got {model!r}")
        if isinstance(every, bool) or not (every is None or isinstance(every, int)):
            raise TypeError(f"every must be an integer, or None for the usual schedule, got {every!r}")
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        layers = _layers_of(model)
        if not layers:
            raise ValueError(f"{type(model).__name__} has no parameters, so there is no gradient to record")
        if chance_loss is not None and (isinstance(chance_loss, bool) or not isinstance(chance_loss, (int, float))):
            raise TypeError(f"chance_loss must be a number or None, got {chance_loss!r}")
        self.model = model
        self.every = every
        self.chance_loss = chance_loss
        self.notes: list[str] = []
        self._watch_outputs = activations
        self._updates = updates
        self._histograms = histograms
        self._names = [name for name, _, _ in layers]
        self._modules = [module for _, module, _ in layers]
        self._take(layers)
        watched = (*_IS_SATURATED, *_CAN_DIE)
        named = [
            (path, module) for path, module in model.named_modules() if activations and isinstance(module, watched)
        ]
        modules = dict(model.named_modules())
        self._activations = [(_readable(path, modules), module) for path, module in named]
        n, a = len(layers), len(self._activations)
        per_layer = ["gradient", *(["weight", "update"] if updates else [])]
        if activations:
            per_layer += ["output", "output_entries", "output_gradient", "first_call", "last_call"]
        self._table = _Table(
            {"step": ((), np.int64), "loss": ((), np.float64)}
            | dict.fromkeys(per_layer, ((n,), np.float64))
            | (dict.fromkeys(("saturated", "counted", "dead"), ((a,), np.float64)) if a else {})
            | ({"histogram": ((n, _BINS), np.int32)} if histograms else {})
        )
        self._silent: dict[tuple[int, int], tuple[np.ndarray, int]] = {}  # examples since each unit was last awake
        self._order: list[nn.Module] = []  # as the forward pass finished them
        self._unseen: dict[int, tuple[nn.Module, object]] = {}
        self._handles: list = []
        self._layer_handles: list = []
        self._copies: dict[int, Tensor] = {}
        self._step = 0
        self._row_step = 0  # the step that the last row holds
        self._squares: dict[str, np.ndarray] = {}  # of that row, one value a parameter
        self._now = _Pass(n)
        self._loss, self._losses = 0.0, 0
        self._reading: _Reading | None = None
        self._left_out = False  # whether a loss scaler lets the optimiser skip this step
        self._passed = False  # whether there was a forward pass since the last optimiser step
        self._stepped: set[int] = set()  # optimisers that have taken part in the current step
        self._asleep: dict[tuple[int, int], list[np.ndarray | None]] = {}  # bits of units, per row of this block
        self._joined = 0  # rows of earlier blocks

    def _take(self, layers: list[tuple[str, nn.Module | None, list[nn.Parameter]]]) -> None:
        """Know the parameters, and how much each counts among those of all ranks."""
        self._parameters = [p for _, _, parameters in layers for p in parameters]
        self._layer = np.array([i for i, (_, _, ps) in enumerate(layers) for _ in ps], dtype=np.intp)
        self._place = {id(p): i for i, p in enumerate(self._parameters)}
        self._find_ranks()
        ranks = self._ranks
        self._scale = np.array([1 if ranks is None else ranks.size // _copies_of(p, ranks) for p in self._parameters])

    def _find_ranks(self) -> None:
        self._ranks = None
        with self._careful("what the other ranks saw"):
            self._ranks = _ranks_of(self.model)

    def __enter__(self) -> "Recorder":
        if self._handles:
            raise ValueError("this Recorder is already recording; leave its with-block before entering it again")
        layers = _layers_of(self.model)
        if [name for name, _, _ in layers] == self._names:
            self._take(layers)  # fully_shard puts others into the place of those that were there
        self._joined = len(self._table)  # an earlier block that ended by an exception stays this rank's own
        self._asleep.clear()
        self._begin()
        self._handles.append(self.model.register_forward_pre_hook(_Hook(self._new_pass)))
        self._hear(True)
        compiled = _compiled(self.model)
        if compiled and self._watch_outputs:
            self._note("outputs inside torch.compile", "hooks there would change what is compiled")
        watched = [module for module in self._modules if module is not None]
        seen = {id(module) for module in self._order}
        for module in [*watched, *(module for _, module in self._activations)]:
            if id(module) not in compiled and id(module) not in seen:
                with self._careful(f"the order of {type(module).__name__}"):
                    self._unseen[id(module)] = (module, module.register_forward_hook(_Hook(self._first_call)))
        self._hooks: list[tuple[nn.Module, _Hook]] = []
        if self._watch_outputs:
            for index, module in enumerate(self._modules):
                if module is not None and id(module) not in compiled:
                    self._hooks.append((module, _Hook(self._output_hook(index, module))))
        for index, (_, module) in enumerate(self._activations):
            if id(module) not in compiled:
                self._hooks.append((module, _Hook(self._activation_hook(index, module))))
        self._listen()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hear(False)
        self._begin()
        for handle in [*self._handles, *self._layer_handles, *(handle for _, handle in self._unseen.values())]:
            handle.remove()
        self._handles.clear()
        self._layer_handles.clear()
        self._unseen.clear()
        self._copies.clear()
        self._reading = None
        if self._ranks is not None and distributed.is_initialized() and not any(exception):
            with self._careful("what the other ranks saw"):
                self._join()

    def _join(self) -> None:
        """Put into the rows of this block what all ranks saw. A collective: every rank has to come here."""
        ranks, table, rows = self._ranks, self._table, slice(self._joined, len(self._table))
        units = sorted(self._asleep)
        if not ranks.agree(repr((self._names, table.columns(), units)).encode() + table["step"][rows].tobytes()):
            raise ValueError("they recorded other steps or layers than this one, so the record is this rank's own")
        joined = {name: table[name][rows].copy() for name in table.columns() if name != "step"}
        for name, column in joined.items():
            width = sum(size for _, size in units) if name == "dead" else math.prod(column.shape[1:])
            for piece in _pieces(len(column), width):
                if name == "loss":
                    column[piece] = ranks.mean_loss(column[piece])
                elif name == "dead":
                    column[piece] = self._dead_everywhere(column[piece], piece)
                else:
                    column[piece] = ranks.mean(column[piece])
        for name, column in joined.items():  # all of it, or nothing
            table[name][rows] = column
        self._joined = rows.stop
        self._asleep.clear()

    def _dead_everywhere(self, own: np.ndarray, rows: slice) -> np.ndarray:
        """Per row and activation, the share of units that no rank has seen awake."""
        dead, of = np.zeros((2, *own.shape))
        for index, size in sorted(self._asleep):
            unknown = np.packbits(np.ones(size, bool))
            there = [unknown if bits is None else bits for bits in self._asleep[index, size][rows]]
            there += [unknown] * (len(own) - len(there))
            bits = np.unpackbits(np.stack(there), axis=1, count=size)
            dead[:, index] += self._ranks.reduced(bits, distributed.ReduceOp.MIN).sum(1)
            of[:, index] += size
        measured = self._ranks.reduced(own, distributed.ReduceOp.MAX) >= 0
        return np.where(measured, dead / np.maximum(of, 1), _ABSENT)

    @property
    def record(self) -> Record:
        """Everything recorded so far, as arrays; with several processes, of this one's share until the block ends."""
        table, rows = self._table, len(self._table)
        layers, activations = self._depth_order()
        n, a = len(layers), len(activations)

        def sums(name: str, order: list[int]) -> np.ndarray:
            return table[name][:, order] if name in table else np.full((rows, len(order)), _ABSENT)

        def norms(name: str) -> np.ndarray:
            squares = sums(name, layers)
            squares[squares < 0] = math.nan
            return np.sqrt(squares, out=squares)

        def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where((part < 0) | (whole < 0), math.nan, part / whole)

        output, entries = sums("output", layers), sums("output_entries", layers)
        gradient = sums("gradient", layers)
        dead = sums("dead", activations)
        histogram = table["histogram"][:, layers] if self._histograms else np.empty((rows, n, 0))
        return Record(
            layers=tuple(self._names[i] for i in layers),
            activations=tuple(self._activations[i][0] for i in activations),
            activation_kinds=tuple(_kind(self._activations[i][1]) for i in activations),
            step=table["step"].copy(),
            gradient_norm=norms("gradient"),
            weight_norm=norms("weight"),
            update_norm=norms("update"),
            output_rms=np.sqrt(share(output, entries)),
            output_gradient_norm=norms("output_gradient"),
            time_ratio=np.sqrt(share(sums("first_call", layers), sums("last_call", layers))),
            saturation=share(sums("saturated", activations), sums("counted", activations))
            if a
            else np.empty((rows, 0)),
            dead=np.where(dead < 0, math.nan, dead),
            loss=table["loss"].copy(),
            chance_loss=math.nan if self.chance_loss is None else float(self.chance_loss),
            # a sum of squares in float64 cannot overflow on its own, so what is not finite was so before
            output_nonfinite=~np.isfinite(output),
            nonfinite=~np.isfinite(gradient),
            histogram=histogram.astype(np.int64),
            last_step=self._step,
        )

    def log_loss(self, loss: Tensor | float) -> None:
        """Tell the loss of the coming step. Kept is the mean of all that was told since the last recorded step.

        Args:
            loss: a number, or a tensor with one entry.
        Raises:
            ValueError: for a tensor with several entries.
        """
        if isinstance(loss, Tensor):
            if loss.numel() != 1:
                raise ValueError(f"log_loss takes one number, got a tensor of shape {tuple(loss.shape)}")
            # elsewhere than on the CPU a number is fetched only when it is written
            loss = loss.item() if loss.is_cpu else loss.detach().reshape(()).float()
        else:
            loss = float(loss)
        self._loss = self._loss + loss
        self._losses += 1

    def capture(self) -> None:
        """Count one step that has no optimiser, and record the gradients as they stand; its update is NaN.

        Raises:
            ValueError: if no parameter has a gradient.
        """
        if all(p.grad is None for p in self._parameters):
            raise ValueError(
                f"no parameter of {type(self.model).__name__} has a gradient: call loss.backward() before capture()"
            )
        due = self._due()
        self._step += 1
        if due:
            with self._careful("a captured step"), torch.no_grad():
                everything = range(len(self._parameters))
                gradients, counts = self._read_gradients(everything, None)
                self._squares = {
                    "gradient": gradients,
                    "weight": self._read_weights(everything),
                    "update": np.full(len(everything), _ABSENT),
                }
                self._add_row(counts)
        if self._handles:
            self._listen()

    # --- when ----------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Whether the step that is being prepared is one to record."""
        number = self._step + 1
        if self.every is not None:
            return (number - 1) % self.every == 0
        if number <= FIRST_STEPS:
            return True
        interval = INTERVAL
        while number >= LONG_RUN * interval // INTERVAL:
            interval *= 10
        return number % interval == 0

    def _listen(self) -> None:
        """Have hooks on the layers if the coming step is recorded, and none otherwise."""
        wanted = bool(self._hooks) and self._due()
        if wanted and not self._layer_handles:
            for module, hook in self._hooks:
                with self._careful(f"the output of {type(module).__name__}"):
                    self._layer_handles.append(module.register_forward_hook(hook))
        elif not wanted and self._layer_handles:
            for handle in self._layer_handles:
                handle.remove()
            self._layer_handles.clear()

    def _hear(self, optimizers: bool) -> None:
        """Begin to listen to optimisers, or end it."""
        global _listening
        with _changing:
            others = tuple(recorder for recorder in _listening if recorder is not self)
            _listening = (*others, self) if optimizers else others

    def _begin(self) -> None:
        """Forget what the passes since the last step have gathered."""
        for handle in self._now.handles:
            handle.remove()
        self._now = _Pass(len(self._names))

    @contextlib.contextmanager
    def _careful(self, what: str) -> Iterator[None]:
        """Never stop someone's training: note what cannot be measured, once."""
        try:
            yield
        except Exception as error:  # whatever a model may hold
            self._note(what, error)

    def _note(self, what: str, why: Exception | str) -> None:
        if any(note.startswith(f"{what} ") for note in self.notes):
            return
        reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        self.notes.append(f"{what} cannot be measured ({reason})")
        with contextlib.suppress(Exception):  # warnings may be set to be errors
            warnings.warn(f"Recorder: {self.notes[-1]}", RuntimeWarning, stacklevel=3)

    # --- forward and backward ------------------------------------------------------------------------------------

    def _new_pass(self, module: nn.Module, inputs: object) -> None:
        if torch.compiler.is_compiling() or module is not self.model or not torch.is_grad_enabled():
            return
        self._passed = True
        if self._ranks is None and DistributedDataParallel._get_active_ddp_module() is not None:
            self._find_ranks()  # from the module inside, what is around it can only be seen while it runs
        if not self._layer_handles or _in_backward():
            return
        if self._now.went_back and all(p.grad is None for p in self._parameters):
            self._begin()  # its gradients were thrown away, so no step came of that pass: a loss scaler saw inf
        self._forget_calls()
        self._now.without_grad.clear()

    def _forget_calls(self) -> None:
        """Calls in two passes (gradient accumulation) are no time steps of one."""
        self._now.calls.clear()
        self._now.untimed.clear()
        self._now.pass_ended = False

    def _first_call(self, module: nn.Module, inputs: object, output: object) -> None:
        if torch.compiler.is_compiling() or id(module) not in self._unseen:
            return
        self._order.append(module)
        self._unseen.pop(id(module))[1].remove()

    def _depth_order(self) -> tuple[list[int], list[int]]:
        """Layers and activations in the order of the forward pass. What was not called stays behind its neighbour."""
        rank = {id(module): number for number, module in enumerate(self._order)}

        def ordered(modules: Sequence[nn.Module | None]) -> list[int]:
            places, before = [], -1
            # a layer without an output (inside a recurrent stack) goes with the one that has it
            for i, module in enumerate(modules):
                later = module if module is not None else next(m for m in modules[i:] if m is not None)
                before = rank.get(id(later), before)
                places.append((before, i))
            return [i for _, i in sorted(places)]

        return ordered(self._modules), ordered([module for _, module in self._activations])

    def _output_hook(self, index: int, watched: nn.Module) -> Callable:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if torch.compiler.is_compiling() or module is not watched:
                return
            now, again = self._now, _in_backward()
            if again:  # checkpointing: count what it repeats only if it could not be counted the first time
                if not now.without_grad.get(index):
                    return
                now.without_grad[index] -= 1
                now.untimed.add(index)
            elif not torch.is_grad_enabled():
                now.without_grad[index] = now.without_grad.get(index, 0) + 1
                return
            try:
                tensor = _first_tensor(output)
                if tensor is None or not (tensor.is_floating_point() or tensor.is_complex()):
                    return
                now.output[index] = max(now.output[index], 0.0) + _square(tensor.detach())
                now.output_entries[index] += tensor.numel()
                if tensor.requires_grad:
                    self._watch_gradient(index, tensor)
            except Exception as error:
                self._note(f"the output of {self._names[index]}", error)

        return hook

    def _watch_gradient(self, index: int, output: Tensor) -> None:
        now = self._now
        if now.pass_ended and index in now.calls and not _in_backward():
            self._forget_calls()  # another pass, through a part of the model only
        calls = now.calls.setdefault(index, [])
        call = len(calls)
        calls.append(None)

        def hook(gradient: Tensor) -> None:
            now.went_back = now.pass_ended = True
            try:
                calls[call] = square = _square(gradient.detach())
                now.output_gradient[index] = max(now.output_gradient[index], 0.0) + square
            except Exception as error:
                self._note(f"the gradient at the output of {self._names[index]}", error)

        now.handles.append(output.register_hook(hook))

    def _activation_hook(self, index: int, watched: nn.Module) -> Callable:
        name = self._activations[index][0]
        saturated = next((test for kind, test in _IS_SATURATED.items() if isinstance(watched, kind)), None)

        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            if torch.compiler.is_compiling() or module is not watched or not torch.is_grad_enabled():
                return
            now = self._now
            with self._careful(f"the units of {name}"):
                output = output.detach()
                if saturated is None:
                    alive, examples = _units_alive(output), len(output)
                    of_size = now.alive.setdefault(index, {})
                    if len(alive) in of_size:
                        alive, examples = alive | of_size[len(alive)][0], examples + of_size[len(alive)][1]
                    of_size[len(alive)] = alive, examples
                    return
                if output.numel() > _COUNTED:
                    output = output[: max(_COUNTED_EXAMPLES, _COUNTED * len(output) // output.numel())]
                found, of = now.saturated.get(index, (0, 0))
                now.saturated[index] = found + int(saturated(output).sum()), of + output.numel()

        return hook

    # --- the optimiser's step ------------------------------------------------------------------------------------

    def _joins(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether this optimiser shares the step of another: it moves other weights, by gradients of the same pass."""
        return bool(self._stepped) and not self._passed and id(optimizer) not in self._stepped

    def _held(self, optimizer: torch.optim.Optimizer) -> list[int]:
        places = (self._place.get(id(p)) for group in optimizer.param_groups for p in group["params"])
        return [place for place in places if place is not None]

    def _before_step(self, optimizer: torch.optim.Optimizer, arguments: tuple, keywords: dict) -> None:
        held = self._held(optimizer)
        if not held:
            return
        # a fused optimiser unscales, and leaves a step out, by itself
        found_inf = getattr(optimizer, "found_inf", None)
        self._left_out = found_inf is not None and bool(found_inf)
        joins = self._joins(optimizer)
        if self._left_out or not (self._row_step == self._step if joins else self._due()):
            return
        with self._careful("a step"), torch.no_grad():
            # a closure computes the gradients inside the step, so they are read after it
            closure = any(callable(argument) for argument in (*arguments, *keywords.values()))
            moving = [i for i in held if closure or self._may_move(self._parameters[i])] if self._updates else []
            for i in moving:
                copy, weights = self._copies.get(i), _own(self._parameters[i])
                if copy is None or copy.shape != weights.shape:
                    self._copies[i] = torch.empty_like(weights)
            if moving:
                torch._foreach_copy_([self._copies[i] for i in moving], [_own(self._parameters[i]) for i in moving])
            gradients = counts = None
            if not closure:
                read = held if joins else range(len(self._parameters))
                gradients, counts = self._read_gradients(read, getattr(optimizer, "grad_scale", None))
            self._reading = _Reading(held, moving, gradients, counts)

    def _may_move(self, parameter: nn.Parameter) -> bool:
        return parameter.requires_grad or parameter.grad is not None

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        if not self._held(optimizer):
            return
        if self._left_out:
            self._left_out = False
            self._begin()
            return
        joins = self._joins(optimizer)
        if not joins:
            self._step += 1
            self._stepped.clear()
        self._stepped.add(id(optimizer))
        self._passed = False
        reading, self._reading = self._reading, None
        if reading is not None:
            with self._careful("a step"), torch.no_grad():
                self._write(reading, joins)
        self._listen()

    def _write(self, reading: _Reading, joins: bool) -> None:
        """Put a step into the table; of an optimiser that joins a step, what it adds to it."""
        gradients, counts = reading.gradients, reading.counts
        if gradients is None:
            read = reading.held if joins else range(len(self._parameters))
            gradients, counts = self._read_gradients(read, None)
        if not joins:
            updates = np.zeros(len(self._parameters))
            weights = self._read_weights(set(range(len(updates))).difference(reading.copied))
            self._squares = {"gradient": gradients, "weight": weights, "update": updates}
        squares = self._squares
        if joins:
            squares["gradient"][reading.held] = gradients[reading.held]
        # one tensor after the other, so that it is still in the cache when its own norm is taken
        for i in reading.copied:
            parameter = _own(self._parameters[i].detach())
            try:
                squares["update"][i] += _square(self._copies[i].sub_(parameter))
                squares["weight"][i] = _square(parameter)
            except Exception as error:
                squares["update"][i] = squares["weight"][i] = _ABSENT
                self._note(f"the update of {self._names[self._layer[i]]}", error)
        if joins:
            self._table.set_last(**{name: self._by_layer(values) for name, values in squares.items()})
            if counts is not None:
                held = np.unique(self._layer[reading.held])
                self._table["histogram"][-1, held] = counts[held]
        else:
            self._add_row(counts)

    def _read_weights(self, places: Sequence[int] | set[int]) -> np.ndarray:
        squares = np.full(len(self._parameters), _ABSENT)
        places = list(places) if self._updates else []
        squares[places] = self._all_squares(places, [_own(self._parameters[i].detach()) for i in places], "weights")
        return squares

    def _read_gradients(self, places: Sequence[int], scale: Tensor | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Squares per parameter, and the histogram per layer; ``scale`` is what they are still multiplied by."""
        factor = 1.0 if scale is None else 1.0 / float(scale)
        found = [i for i in places if self._parameters[i].grad is not None]
        gradients = [_own(self._parameters[i].grad.detach()) for i in found]
        squares = np.full(len(self._parameters), _ABSENT)
        squares[found] = self._all_squares(found, gradients, "gradient")
        squares[found] *= np.where(squares[found] < 0, 1.0, factor**2)
        if not self._histograms:
            return squares, None
        counts = np.zeros((len(self._names), _BINS), np.int32)
        for i, gradient in zip(found, gradients, strict=True):
            with self._careful(f"the histogram of {self._names[self._layer[i]]}"):
                values = gradient.coalesce().values() if gradient.is_sparse else gradient
                values = values.flatten().cpu()
                found_in = _histogram(values if factor == 1 else values.double() * factor)
                counts[self._layer[i]] += self._scale[i] * found_in
        return squares, counts

    def _all_squares(self, places: list[int], tensors: list[Tensor], what: str) -> list[float]:
        with contextlib.suppress(Exception):
            return _squares(tensors)
        found = [_ABSENT] * len(places)
        for number, (i, tensor) in enumerate(zip(places, tensors, strict=True)):
            with self._careful(f"the {what} of {self._names[self._layer[i]]}"):
                found[number] = _square(tensor)
        return found

    def _by_layer(self, squares: np.ndarray) -> np.ndarray:
        """Sums over the parameters of each layer; nothing was measured where none was."""
        there = ~(squares < 0)
        layer = self._layer[there]
        sums = np.bincount(layer, squares[there] * self._scale[there], minlength=len(self._names))
        sums[np.bincount(layer, minlength=len(self._names)) == 0] = _ABSENT
        return sums

    def _add_row(self, counts: np.ndarray | None) -> None:
        now = self._now
        row: dict[str, object] = {name: self._by_layer(values) for name, values in self._squares.items()}
        if self._watch_outputs:
            first, last = np.full((2, len(self._names)), _ABSENT)
            for i, calls in now.calls.items():
                if len(calls) > 1 and i not in now.untimed and calls[0] is not None and calls[-1] is not None:
                    first[i], last[i] = calls[0], calls[-1]
            row |= {
                "output": now.output,
                "output_entries": now.output_entries,
                "output_gradient": self._of_the_whole_batch(now.output_gradient),
                "first_call": first,
                "last_call": last,
            }
        if self._activations:
            saturated, counted, dead = np.full((3, len(self._activations)), _ABSENT)
            for i, (found, of) in now.saturated.items():
                saturated[i], counted[i] = found, of
            for i, by_size in now.alive.items():
                dead[i] = self._dead(i, by_size)
            row |= {"saturated": saturated, "counted": counted, "dead": dead}
        if counts is not None:
            row["histogram"] = counts
        loss = float(self._loss) / self._losses if self._losses else math.nan
        self._loss, self._losses = 0.0, 0
        self._row_step = self._step
        self._table.add(step=self._step, loss=loss, **row)
        self._begin()

    def _of_the_whole_batch(self, squares: list[float]) -> list[float]:
        """The loss of a rank is the mean over its own examples; in the mean over all, each counts as much less.

        The squares of n ranks, each over n^2, are then to be added; in a mean over the ranks, each over n.
        """
        ranks = 1 if self._ranks is None else self._ranks.size
        return [square if square < 0 else square / ranks for square in squares]

    def _dead(self, index: int, by_size: dict[int, tuple[np.ndarray, int]]) -> float:
        """Share of units that none of the last examples woke. A module used in several places has several sizes."""
        asleep = units = 0
        for size, (alive, examples) in by_size.items():
            silent, seen = self._silent.get((index, size), (np.zeros(size, np.int64), 0))
            silent += examples
            silent[alive] = 0
            self._silent[index, size] = silent, seen + examples
            asleep += np.count_nonzero(silent >= min(DEAD_AFTER, seen + examples))
            if self._ranks is not None:  # this rank's share of the examples
                bits = np.packbits(silent >= min(DEAD_AFTER / self._ranks.size, seen + examples))
                rows = self._asleep.setdefault((index, size), [])
                rows += [None] * (len(self._table) - self._joined - len(rows))  # it was not called in these
                same = rows and rows[-1] is not None and np.array_equal(rows[-1], bits)
                rows.append(rows[-1] if same else bits)  # seldom does one die or wake
            units += size
        return asleep / units


def probe(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_function: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> Record:
    """One forward and one backward pass, recorded, without a trace. If several processes train the model, all call it.

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
    recorder = Recorder(model, every=1)  # refuses what has no gradient
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
