"""A callback for the Trainer of Hugging Face that watches a training and prints its diagnosis, once."""

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from gradclinic.monitor import Monitor

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as error:
    missing = f"{error}; it comes with: pip install transformers accelerate"
    raise ModuleNotFoundError(missing, name=error.name) from error


class DiagnosisCallback(Monitor, TrainerCallback):
    """A callback for the Trainer of Hugging Face, best used in a with-block::

        with DiagnosisCallback("runs/today") as watch:
            Trainer(model, arguments, train_dataset=data, callbacks=[watch]).train()

    The Trainer tells its callbacks nothing of an exception: only the block, when it is left, takes the hooks off then.
    Without an exception the block is not needed.

    The loss of a step is that of all its batches together, as the model gives it: their mean, or their sum where the
    Trainer has the model divide by the number of items in all of them. Where the loss is computed outside the model
    (``compute_loss_func``, label smoothing) nothing is seen of it: call ``watch.log_loss`` there. The Trainer clips
    gradients at a norm of 1 unless ``max_grad_norm`` says otherwise; what is recorded is clipped.

    The diagnosis is printed once: during the training, if two looks in a row find the same fault, or at once if
    something is not finite; else at the end. A fault that is gone at the end is followed by a second, healthy one.
    ``record`` and ``diagnosis`` are there afterwards. The callback can be pickled; the model does not go with it.

    Args:
        logdir: folder that TensorBoard's files are written into at the end; it must be empty or missing.
        check_every: steps between two looks; late in a training they are a tenth of its steps apart.
        options: of the ``Recorder``, such as ``chance_loss``.
    Raises:
        FileExistsError: if there is something in ``logdir``, at the start of the training as well.
        ModuleNotFoundError: for a ``logdir`` without TensorBoard.
        TypeError, ValueError: for options that ``Recorder`` refuses, or a ``check_every`` that is no integer above 0.
    """

    def __init__(self, logdir: str | PathLike[str] | None = None, *, check_every: int = 100, **options: Any):
        super().__init__(logdir, check_every=check_every, **options)
        self._hook: RemovableHandle | None = None
        self._losses: list[Tensor] = []  # of the batches of the coming step
        self._summed = False  # whether the model has divided them by the items of all of them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.finish(*exception)

    def leave(self, *exception: Any) -> None:
        super().leave(*exception)
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"_hook": None, "_losses": []}

    def _see(self, module: nn.Module, args: object, kwargs: dict[str, Any], output: object) -> None:
        if not self.watching or not torch.is_grad_enabled():
            return  # the model of a copy, or an evaluation
        if isinstance(output, Mapping):
            loss = output.get("loss")
        else:
            loss = output[0] if isinstance(output, tuple) and output else None
        if isinstance(loss, Tensor) and loss.numel() == 1:
            # kept as a tensor: with several processes the Trainer still multiplies it in place
            self._losses.append(loss.detach())
            self._summed = kwargs.get("num_items_in_batch") is not None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        model: nn.Module = given["model"]
        self.begin(model, state.is_world_process_zero)
        self._losses = []
        self._hook = model.register_forward_hook(self._see, with_kwargs=True)

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        if self._losses:
            total = torch.stack(self._losses).sum()
            self.log_loss(total if self._summed else total / len(self._losses))
        self._losses = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.look(state.global_step)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.finish()
