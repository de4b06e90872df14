"""Processes of our own that do not outlive the one that started them, however that ends."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Sequence

PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


def end_with_parent(parent: int, not_mine: Sequence[int] = ()) -> None:
    """Called first in a child: it is killed when the process ``parent`` ends, and leaves Ctrl-C to it.

    Args:
        parent: the process that forked this one.
        not_mine: descriptors that it should not hold open, such as that of a lock.
    """
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended meanwhile
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for descriptor in not_mine:
        with contextlib.suppress(OSError):
            os.close(descriptor)
