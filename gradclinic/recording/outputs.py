"""What the layers put out, and the gradient that comes back to it."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gradclinic.recording.hooks import Hook, backward_pass, first_tensor, in_backward
from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks
from gradclinic.recording.sizes import ABSENT, square
from gradclinic.recording.table import Columns, Row, Table
from gradclinic.recording.through_time import first_and_last, follows_time

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Passes:
    """What one step has gathered so far: sums over the forward and backward passes that belong to it."""

    def __init__(self, layers: int):
        self.output = [ABSENT] * layers
        self.output_entries = [0] * layers
        self.output_gradient = [ABSENT] * layers
        self.calls: dict[int, list[float | None]] = {}  # per call of a layer, the squared gradient at its output
        self.in_time: dict[int, tuple[float, float]] = {}  # of nn.RNN, at its first hidden state and its last
        self.untimed: set[int] = set()  # layers whose calls do not come in their order
        self.without_grad: dict[int, int] = {}  # calls that gradient checkpointing will repeat
        self.went_back = False  # whether a gradient has come back in this step
        self.pass_ended = False  # and since its last pass began
        self.backward = -1  # the backward pass that came last
        self.handles: list[RemovableHandle] = []  # hooks on outputs


class Outputs(Observer):
    """Size of each layer's output and of the loss gradient there, and how that gradient fades over several calls."""

    def __init__(self, layers: Sequence[Layer], notes: Notes, watched: bool, backward_begins: Callable[[], None]):
        self._layers, self._notes, self._watched = layers, notes, watched
        self._backward_begins = backward_begins  # told when the first gradient of a pass comes back
        self._now = Passes(len(layers))

    @property
    def went_back(self) -> bool:
        """Whether a gradient has come back to an output since the last step."""
        return self._now.went_back

    def reached(self) -> list[nn.Module]:
        """The layers to whose outputs a gradient has come back since the last step."""
        pairs = zip(self._layers, self._now.output_gradient, strict=True)
        return [layer.module for layer, square in pairs if layer.module is not None and square != ABSENT]

    def columns(self) -> Columns:
        if not self._watched:
            return {}
        names = ("output", "output_entries", "output_gradient", "first_call", "last_call")
        return dict.fromkeys(names, ((len(self._layers),), np.float64))

    def hooks(self) -> Iterator[tuple[nn.Module, Hook]]:
        for index, layer in enumerate(self._layers):
            if self._watched and layer.module is not None:
                yield layer.module, self._hook(index, layer.module)

    def new_pass(self) -> None:
        self._forget_calls()
        self._now.without_grad.clear()

    def forget(self) -> None:
        for handle in self._now.handles:
            handle.remove()
        self._now = Passes(len(self._layers))

    def _forget_calls(self) -> None:
        """Calls in two passes (gradient accumulation) are no time steps of one."""
        self._now.calls.clear()
        self._now.untimed.clear()
        self._now.pass_ended = False

    def _hook(self, index: int, watched: nn.Module) -> Hook:
        def hook(module: nn.Module, _inputs: object, output: object) -> None:
            if torch.compiler.is_compiling() or module is not watched:
                return
            now, again = self._now, in_backward()
            if again:  # checkpointing: count what it repeats only if it could not be counted the first time
                if not now.without_grad.get(index):
                    return
                now.without_grad[index] -= 1
                now.untimed.add(index)
            elif not torch.is_grad_enabled():
                now.without_grad[index] = now.without_grad.get(index, 0) + 1
                return
            try:
                tensor = first_tensor(output)
                if tensor is None or not (tensor.is_floating_point() or tensor.is_complex()):
                    return
                now.output[index] = max(now.output[index], 0.0) + square(tensor.detach())
                now.output_entries[index] += tensor.numel()
                if tensor.requires_grad:
                    self._watch_gradient(index, tensor)
                    if follows_time(module, tensor):
                        self._watch_last_state(index, module, tensor.detach(), output)
            except Exception as error:
                self._notes.add(f"the output of {self._layers[index].name}", error)

        return Hook(hook)

    def _watch_gradient(self, index: int, output: Tensor) -> None:
        now = self._now
        if now.pass_ended and index in now.calls and not in_backward():
            self._forget_calls()  # another pass, through a part of the model only
        calls, module = now.calls.setdefault(index, []), self._layers[index].module
        call = len(calls)
        calls.append(None)

        def hook(gradient: Tensor) -> None:
            begins, now.backward = now.backward != backward_pass(), backward_pass()
            now.went_back = now.pass_ended = True
            try:
                if begins:
                    self._backward_begins()
                calls[call] = found = square(gradient.detach())
                now.output_gradient[index] = max(now.output_gradient[index], 0.0) + found
                if known is not None and isinstance(module, nn.RNN):
                    now.in_time[index] = first_and_last(module, known, gradient.detach())
            except Exception as error:
                self._notes.add(f"the gradient at the output of {self._layers[index].name}", error)

        known = output.detach() if module is not None and follows_time(module, output) else None
        now.handles.append(output.register_hook(hook))

    def _watch_last_state(self, index: int, module: nn.Module, states: Tensor, output: object) -> None:
        """Where only the last hidden state is used, the gradient comes back by it, and not by the outputs."""
        now, last = self._now, output[1] if isinstance(output, tuple) else None
        if not (isinstance(last, Tensor) and last.requires_grad and isinstance(module, nn.RNN)):
            return

        def hook(gradient: Tensor) -> None:
            with self._notes.guard(f"the gradient at the states of {self._layers[index].name}"):
                if index not in now.in_time:
                    alone = torch.zeros_like(states)
                    alone.select(1 if module.batch_first else 0, -1)[..., : module.hidden_size] = gradient.detach()[-1]
                    now.in_time[index] = first_and_last(module, states, alone)

        now.handles.append(last.register_hook(hook))

    def row(self, ranks: Ranks | None, /) -> Row:
        now, share = self._now, 1 if ranks is None else ranks.size
        first, last = np.full((2, len(self._layers)), ABSENT)
        for i, calls in now.calls.items():
            if len(calls) > 1 and i not in now.untimed and calls[0] is not None and calls[-1] is not None:
                first[i], last[i] = calls[0], calls[-1]
        for i, ends in now.in_time.items():
            first[i], last[i] = ends
        return {
            "output": now.output,
            "output_entries": now.output_entries,
            # The loss of a rank is the mean over its own examples; in the mean over all, each counts as much less. So
            # the squares of n ranks, each over n^2, are to be added; in a mean over the ranks, each over n.
            "output_gradient": [square if square < 0 else square / share for square in now.output_gradient],
            "first_call": first,
            "last_call": last,
        }

    def fields(self, table: Table, order: Order, /) -> dict[str, np.ndarray]:
        return {
            "output_rms": np.sqrt(table.shares("output", "output_entries", order.layers)),
            "output_gradient_norm": table.norms("output_gradient", order.layers),
            "time_ratio": np.sqrt(table.shares("first_call", "last_call", order.layers)),
            # a sum of squares in float64 cannot overflow on its own, so what is not finite was so before
            "output_nonfinite": ~np.isfinite(table.sums("output", order.layers)),
        }
