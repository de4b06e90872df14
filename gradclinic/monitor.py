"""What the callbacks share: watch a training from its start to its end, look now and then, and tell once.

A library that has no callback here may call the same four methods from one of its own: ``begin``, ``log_loss``,
``look`` and ``finish``.
"""

import warnings
from os import PathLike
from typing import Any

from torch import Tensor, nn

from gradclinic import tensorboard
from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.recording.looks import Looks


class Monitor:
    """Records one training after the other and prints the diagnosis of each, once.

    A diagnosis is printed during the training, if two looks in a row find the same fault, or at once if something is
    not finite; else at the end. A fault that is gone at the end is followed by a second, healthy one.

    Each training has a record of its own; ``earlier.then(later)`` joins those of a resumed one. A copy, also one that
    was pickled, keeps what was seen and watches nothing; the model does not go with it.

    Args:
        logdir: folder that TensorBoard's files are written into at the end; it must be empty or missing.
        check_every: steps between two looks; late in a training they are a tenth of its steps apart.
        options: of the ``Recorder``, such as ``chance_loss``.
    Attributes:
        recorder: of the training that goes on, or else of the last one; None before the first.
        diagnosis: of the last training, when it has ended; None until then.
        watching: whether a training goes on.
    Raises:
        FileExistsError: if there is something in ``logdir``, at the start of a training as well.
        ModuleNotFoundError: for a ``logdir`` without TensorBoard.
        TypeError, ValueError: for options that ``Recorder`` refuses, or a ``check_every`` that is no integer above 0.
    """

    def __init__(self, logdir: str | PathLike[str] | None = None, *, check_every: int = 100, **options: Any):
        super().__init__()
        # what is wrong is said here, not when the training begins, or ends
        self._looks = Looks(check_every)
        if logdir is not None:
            tensorboard.empty_folder(logdir)
            tensorboard.event_writer()
        Recorder(nn.Linear(1, 1), **options)
        self._logdir, self._check_every, self._options = logdir, check_every, options
        self._chief = True
        self._kept: Record | None = None  # by a copy, which has no recorder
        self.recorder: Recorder | None = None
        self.diagnosis: Diagnosis | None = None
        self.watching = False

    @property
    def record(self) -> Record:
        """What was recorded so far of the training that goes on, or of the last one.

        Raises:
            ValueError: before the first training.
        """
        if self.recorder is not None:
            return self.recorder.record
        if self._kept is None:
            raise ValueError("this callback has watched no training yet")
        return self._kept

    def begin(self, model: nn.Module, chief: bool = True) -> None:
        """A training of ``model`` starts. Of several processes the ``chief`` is the one that prints and writes."""
        self.leave(Exception)  # an earlier training broke off without a word
        if self._logdir is not None and chief:
            tensorboard.empty_folder(self._logdir)  # before hours of training, not after
        self.recorder = Recorder(model, **self._options)
        self.diagnosis, self._looks, self._chief = None, Looks(self._check_every), chief
        self.recorder.__enter__()
        self.watching = True

    def log_loss(self, loss: Tensor | float) -> None:
        """Tell the loss of the coming step; what is told outside a training is ignored."""
        if self.recorder is not None and self.watching:
            self.recorder.log_loss(loss)

    def look(self, step: int) -> None:
        """So many steps are done: diagnose if it is time to, and print what is certain."""
        if not (self.watching and self._chief and self._looks.due(step)):
            return
        record = self.record
        found = diagnose(record)
        if self._looks.alarm(found, record):
            print(found, flush=True)

    def leave(self, kind: type[BaseException] | None = None, error: object = None, trace: object = None) -> None:
        """Take the recorder off the model. After an exception it waits for no other process, which may be gone."""
        if self.recorder is not None and self.watching:
            self.recorder.__exit__(kind, error, trace)
        self.watching = False

    def finish(self, kind: type[BaseException] | None = None, error: object = None, trace: object = None) -> None:
        """The training has ended, by an exception if there is one: diagnose, and write TensorBoard's files."""
        if not self.watching:
            return
        self.leave(kind, error, trace)
        record = self.record
        self.diagnosis = diagnose(record)
        if not self._chief:
            return
        if self._looks.told is None or self.diagnosis.healthy:  # a fault that was told and mended is told as mended
            print(self.diagnosis, flush=True)
        if self._logdir is not None and len(record.step):
            try:
                tensorboard.write(record, self._logdir)
            except OSError as error:  # the training is worth more than its picture
                warnings.warn(f"the record was not written for TensorBoard: {error}", stacklevel=2)

    def __getstate__(self) -> dict[str, object]:
        kept = self._kept if self.recorder is None else self.recorder.record
        return self.__dict__ | {"recorder": None, "watching": False, "_kept": kept}
