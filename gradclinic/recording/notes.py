"""What could not be measured: said once, a sentence each, and never in the way of somebody's training."""

import contextlib
import warnings
from collections.abc import Iterator


class Notes:
    """Attributes:
    said: the sentences, in the order in which they came up.
    """

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Note an error in place of raising it, whatever a model may hold."""
        try:
            yield
        except Exception as error:
            self.add(what, error)

    def add(self, what: str, why: Exception | str) -> None:
        """Say, and warn, that ``what`` cannot be measured, unless it was said before."""
        if any(note.startswith(f"{what} ") for note in self.said):
            return
        reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        self.said.append(f"{what} cannot be measured ({reason})")
        with contextlib.suppress(Exception):  # warnings may be set to be errors
            warnings.warn(f"Recorder: {self.said[-1]}", RuntimeWarning, stacklevel=3)
