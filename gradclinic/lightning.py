"""A callback for Lightning that watches a training and prints its diagnosis, once."""

from typing import Any

from torch import Tensor

from gradclinic.monitor import Monitor

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; it comes with: pip install lightning", name=error.name) from error


class DiagnosisCallback(Monitor, Callback):
    """A callback for Lightning::

        Trainer(callbacks=[DiagnosisCallback("runs/today")]).fit(model, batches)

    It watches the ``LightningModule`` from the start of the training to its end, or to an exception. The loss of a step
    is the one that is sent backward, without the division by ``accumulate_grad_batches`` and the factor of a gradient
    scaler: with automatic and with manual optimisation the mean over the step's batches.

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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begin(pl_module, trainer.is_global_zero)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not self.watching:
            return
        loss = loss.detach()
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            loss = loss / scaler.get_scale()
        if pl_module.automatic_optimization:
            loss = loss * trainer.accumulate_grad_batches
        self.log_loss(loss)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.look(trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.finish()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.finish(type(exception), exception, exception.__traceback__)

    def __getstate__(self) -> dict[str, object]:
        state = super().__getstate__()
        for lent in ("log", "log_dict"):  # Lightning gives every callback these two methods of the model
            state.pop(lent, None)
        return state
