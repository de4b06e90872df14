"""When to diagnose a run that still goes on, and when to tell what was found."""

from collections.abc import Callable

from gradclinic.arguments import whole
from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record
from gradclinic.recording.notes import Notes


class Looks:
    """Looks now and then, and says once that something is wrong.

    Later looks are further apart, so that all of them cost as much as a few. A fault has to be seen in two looks in a
    row, since it may be the slow start of a healthy run. What is not finite stays so, and is told at once.

    Args:
        every: steps between two looks, at least 1; late in a training they are a tenth of its steps apart.
    Attributes:
        told: the kind that was told, or None.
    Raises:
        TypeError, ValueError: for an ``every`` that is no integer above 0.
    """

    def __init__(self, every: int = 100):
        self._every = whole("check_every", every)
        self._next = self._every
        self._seen: str | None = None  # the kind of the last look
        self.told: str | None = None

    def due(self, step: int) -> bool:
        """Whether it is time to look, after this many steps; and if it is, when the next time will be."""
        if self.told is not None or step < self._next:
            return False
        self._next = step + max(self._every, step // 10)
        return True

    def alarm(self, found: Diagnosis, record: Record) -> bool:
        """Whether this is to be told now."""
        certain = record.first_nonfinite is not None
        tell = self.told is None and found.alarming and (certain or found.kind == self._seen)
        self._seen = found.kind
        if tell:
            self.told = found.kind
        return tell


class Alarm:
    """Tells a handler, once, that a fault was found in a training that goes on.

    Args:
        handler: called with the diagnosis.
        record: gives what was recorded so far.
    """

    def __init__(self, handler: Callable[[Diagnosis], object], record: Callable[[], Record]):
        self._handler, self._record = handler, record
        self._looks = Looks()
        self._broken = False  # whether something was not finite when it looked last

    def speak(self, step: int, broken: bool, notes: Notes) -> None:
        """Tell the handler, if it is time to. What that raises is meant for the training: it may be to stop it.

        Args:
            step: one that was recorded.
            broken: whether something in the record is not finite. When that is new, it is time to look in any case.
            notes: where it stands if no diagnosis could be made.
        """
        found = None
        with notes.guard("the diagnosis"):
            found = self._look(step, broken)
        if found is not None:
            self._handler(found)

    def _look(self, step: int, broken: bool) -> Diagnosis | None:
        if self._looks.told is not None or not (self._looks.due(step) or (broken and not self._broken)):
            return None
        self._broken = broken
        record = self._record()
        found = diagnose(record)
        return found if self._looks.alarm(found, record) else None
