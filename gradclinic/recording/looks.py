"""When to diagnose a run that still goes on, and when to tell what was found."""

from gradclinic.arguments import whole
from gradclinic.diagnosis import Diagnosis
from gradclinic.record import Record


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
