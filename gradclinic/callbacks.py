"""Callbacks for Lightning and for the Trainer of Hugging Face: they watch a training and give its diagnosis, once.

Both libraries are optional, and imported when a callback is made. A callback holds ``recorder``, ``record`` and, at the
end, ``diagnosis``. Each training has a record of its own; ``earlier.then(later)`` joins those of a resumed one.
"""

import warnings
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gradclinic import tensorboard
from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder

if TYPE_CHECKING:
    import lightning.pytorch
    import transformers


def _refuse(logdir: str | PathLike | None, check_every: int, options: Mapping[str, object]) -> None:
    """What is wrong is said where the callback is made, not when the training begins, or ends."""
    if isinstance(check_every, bool) or not isinstance(check_every, int):
        raise TypeError(f"check_every must be an integer, got {check_every!r}")
    if check_every < 1:
        raise ValueError(f"check_every must be at least 1, got {check_every}")
    if logdir is not None:
        tensorboard._free(logdir)
    Recorder(nn.Linear(1, 1), **options)


class _Watch:
    """What both callbacks do: record from the start of a training to its end, look now and then, and tell once."""

    def __init__(self, logdir: str | PathLike | None, check_every: int, options: Mapping[str, object]):
        super().__init__()
        self.recorder: Recorder | None = None
        self.diagnosis: Diagnosis | None = None
        self._logdir, self._check_every, self._options = logdir, check_every, dict(options)
        self._watching = False
        self._seen: str | None = None  # the kind of the last look
        self._told: str | None = None  # the kind that was printed

    @property
    def record(self) -> Record:
        """What was recorded so far of the last training."""
        if self.recorder is None:
            raise ValueError("this callback has watched no training yet")
        return self.recorder.record

    def _begin(self, model: nn.Module, chief: bool) -> None:
        self._stop(Exception, None, None)  # an earlier training broke off without a word
        if self._logdir is not None and chief:
            tensorboard._free(self._logdir)  # before hours of training, not after
        self.recorder = Recorder(model, **self._options)
        self.diagnosis = self._seen = self._told = None
        self._next_check = self._check_every
        self._chief = chief  # of several processes one prints and writes
        self.recorder.__enter__()
        self._watching = True

    def _stop(self, *exception: object) -> None:
        """With an exception the recorder does not wait for other processes, which may be gone."""
        if self._watching:
            self.recorder.__exit__(*(exception or (None, None, None)))
        self._watching = False

    def _look(self, step: int) -> None:
        """Diagnose if it is time to. Later looks are further apart, so that all of them cost as much as a few."""
        if not self._watching or self._told or not self._chief or step < self._next_check:
            return
        self._next_check = step + max(self._check_every, step // 10)
        record = self.record
        found = diagnose(record)
        # what is not finite stays so; all else may be the slow start of a healthy run, and has to be seen twice
        if found.alarming and (found.kind == self._seen or record.first_nonfinite is not None):
            self._tell(found)
        self._seen = found.kind

    def _tell(self, found: Diagnosis) -> None:
        print(found, flush=True)
        self._told = found.kind

    def _end(self, *exception: object) -> None:
        if not self._watching:
            return
        self._stop(*exception)
        record = self.record
        self.diagnosis = diagnose(record)
        if not self._chief:
            return
        if self._told is None or self.diagnosis.healthy:  # a fault that was told and mended is told as mended
            self._tell(self.diagnosis)
        if self._logdir is not None and len(record.step):
            try:
                tensorboard.write(record, self._logdir)
            except OSError as error:  # the training is worth more than its picture
                warnings.warn(f"the record was not written for TensorBoard: {error}", stacklevel=2)


def lightning_callback(
    logdir: str | PathLike | None = None, *, check_every: int = 100, **options: object
) -> "lightning.pytorch.Callback":
    """A callback for Lightning::

        Trainer(callbacks=[lightning_callback("runs/today")]).fit(model, batches)

    It watches the ``LightningModule`` from the start of the training to its end, or to an exception. The loss of a step
    is the one that is sent backward, without the division by ``accumulate_grad_batches`` and the factor of a gradient
    scaler: with automatic and with manual optimisation the mean over the step's batches.

    The diagnosis is printed once: during the training, if two looks in a row find the same fault, or at once if
    something is not finite; else at the end. A fault that is gone at the end is followed by a second, healthy one.

    Args:
        logdir: folder that TensorBoard's files are written into at the end; it must be empty or missing.
        check_every: steps between two looks; late in a training they are a tenth of its steps apart.
        options: of the ``Recorder``, such as ``chance_loss``.
    Raises:
        ModuleNotFoundError: without Lightning.
        FileExistsError: if there is something in ``logdir``, at the start of the training as well.
        TypeError, ValueError: for options that ``Recorder`` refuses, or a ``check_every`` that is no integer above 0.
    """
    _refuse(logdir, check_every, options)
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; it comes with: pip install "gradclinic[lightning]"') from error

    class LightningCallback(_Watch, Callback):
        def on_train_start(self, trainer, pl_module):
            self._begin(pl_module, trainer.is_global_zero)

        def on_before_backward(self, trainer, pl_module, loss):
            if not self._watching:
                return
            loss = loss.detach()
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            if scaler is not None:
                loss = loss / scaler.get_scale()
            if pl_module.automatic_optimization:
                loss = loss * trainer.accumulate_grad_batches
            self.recorder.log_loss(loss)

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self._look(trainer.global_step)

        def on_train_end(self, trainer, pl_module):
            self._end()

        def on_exception(self, trainer, pl_module, exception):
            self._end(type(exception), exception, exception.__traceback__)

    return LightningCallback(logdir, check_every, options)


def transformers_callback(
    logdir: str | PathLike | None = None, *, check_every: int = 100, **options: object
) -> "transformers.TrainerCallback":
    """A callback for the Trainer of Hugging Face, best used in a with-block::

        with transformers_callback("runs/today") as watch:
            Trainer(model, arguments, train_dataset=data, callbacks=[watch]).train()

    The Trainer tells its callbacks nothing of an exception: only the block, when it is left, takes the hooks off then.
    Without an exception the block is not needed.

    The loss of a step is that of all its batches together, as the model gives it: their mean, or their sum where the
    Trainer has the model divide by the number of items in all of them. Where the loss is computed outside the model
    (``compute_loss_func``, label smoothing) nothing is seen of it: call ``watch.recorder.log_loss`` there. The Trainer
    clips gradients at a norm of 1 unless ``max_grad_norm`` says otherwise; what is recorded is clipped.

    What is printed and when is as in ``lightning_callback``.

    Args:
        logdir, check_every, options: as in ``lightning_callback``.
    Raises:
        ModuleNotFoundError: without transformers.
        FileExistsError, TypeError, ValueError: as in ``lightning_callback``.
    """
    _refuse(logdir, check_every, options)
    try:
        from transformers import TrainerCallback
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; it comes with: pip install "gradclinic[transformers]"') from error

    class TransformersCallback(_Watch, TrainerCallback):
        _hook = None

        def __enter__(self):
            return self

        def __exit__(self, *exception: object) -> None:
            self._end(*exception)

        def _stop(self, *exception: object) -> None:
            super()._stop(*exception)
            if self._hook is not None:
                self._hook.remove()
            self._hook = None

        def _see(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
            if not torch.is_grad_enabled():
                return  # an evaluation
            if isinstance(output, Mapping):
                loss = output.get("loss")
            else:
                loss = output[0] if isinstance(output, tuple) and output else None
            if isinstance(loss, Tensor) and loss.numel() == 1:
                # kept as a tensor: with several processes the Trainer still multiplies it in place
                self._losses.append(loss.detach())
                self._summed = kwargs.get("num_items_in_batch") is not None

        def on_train_begin(self, args, state, control, model=None, **_):
            self._begin(model, state.is_world_process_zero)
            self._losses: list[Tensor] = []
            self._hook = model.register_forward_hook(self._see, with_kwargs=True)

        def on_pre_optimizer_step(self, args, state, control, **_):
            if self._watching and self._losses:
                total = torch.stack(self._losses).sum()
                self.recorder.log_loss(total if self._summed else total / len(self._losses))
            self._losses = []

        def on_step_end(self, args, state, control, **_):
            self._look(state.global_step)

        def on_train_end(self, args, state, control, **_):
            self._end()

    return TransformersCallback(logdir, check_every, options)
