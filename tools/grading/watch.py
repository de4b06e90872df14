"""A look at a jail from outside, while a learner's code runs in there: what all of its processes take together.

The limits that the kernel sets for one process say nothing about sixteen of them. So whoever waits for an answer looks
some times a second at the learner's processes, and ends them when their sum is above a limit. Time to compute and time
to wait are told apart: who has to wait for a busy machine loses nothing.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
WANTS_TO_RUN = "RD"  # letters of states: on a processor or in line for one, and waiting for a disk
LISTED = (PROC / "self" / "task" / str(os.getpid()) / "children").exists()  # not in every kernel
OWN = ("RssAnon:", "RssShmem:", "VmSwap:")  # memory that is not that of a file


@dataclass(frozen=True)
class Process:
    """What the kernel says of one process.

    Attributes:
        number: its own, as seen from here.
        state: a letter.
        seconds: of processor time, with that of the children it has waited for.
        memory: bytes that are not those of a file.
        depth: how many spaces of process numbers it is in.
    """

    number: int
    state: str
    seconds: float
    memory: int
    depth: int


def looked_at(number: int) -> Process | None:
    """One process; None if it has ended."""
    try:
        fields = (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
        lines = [line.split() for line in (PROC / str(number) / "status").read_text().splitlines()]
    except OSError:
        return None
    memory = sum(int(words[1]) * 1024 for words in lines if words and words[0] in OWN)
    depth = next((len(words) - 1 for words in lines if words and words[0] == "NSpid:"), 1)
    return Process(number, fields[0], sum(map(int, fields[11:15])) / TICKS, memory, depth)


def parent(number: int) -> int | None:
    """The process that started a process, or has inherited it; None if it has ended."""
    try:
        return int((PROC / str(number) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def children(number: int) -> list[int]:
    """The processes that a process has started; none if it has ended."""
    found: list[int] = []
    if not LISTED:
        others = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
        return [other for other in others if parent(other) == number]
    with contextlib.suppress(OSError):
        for thread in (PROC / str(number) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def below(number: int) -> Iterator[Process]:
    """A process and all that came of it, each before its children."""
    waiting = [number]
    while waiting:
        found = looked_at(waiting.pop())
        if found is not None:
            yield found
            waiting += children(found.number)


class Watch:
    """Of one task: when is the learner's part of a jail above its limits?

    Args:
        jail: number of the process that was started as the jail.
        seconds: of processor time, for all processes together.
        idle: seconds in which none of them wants to run.
        memory: bytes that they may hold together, beyond what they began with.
    """

    def __init__(self, jail: int, seconds: float, idle: float, memory: int) -> None:
        self._jail, self._seconds, self._idle, self._memory = jail, seconds, idle, memory
        self._waited, self._last = 0.0, time.monotonic()

    def look(self) -> str | None:
        """ "time" or "memory" when a limit is passed; the learner's processes are ended then."""
        jail, *others = list(below(self._jail)) or [None]
        now, before = time.monotonic(), self._last
        self._last = now
        if jail is None:
            return None
        # bubblewrap makes one space of numbers for the jail, and each task gets one below it
        learners = [process for process in others if process.depth >= jail.depth + 2]
        began = max((p.memory for p in others if p.depth == jail.depth + 1), default=0)
        if learners and not any(process.state in WANTS_TO_RUN for process in learners):
            self._waited += now - before
        passed = None
        if sum(max(0, process.memory - began) for process in learners) > self._memory:
            passed = "memory"
        elif sum(process.seconds for process in learners) > self._seconds or self._waited > self._idle:
            passed = "time"
        if passed is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(learners[0].number, signal.SIGKILL)  # the first one's end is the end of all
        return passed
