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
WANTS_TO_RUN = "R"  # the letter of a state: on a processor, or in line for one
LISTED = (PROC / "self" / "task" / str(os.getpid()) / "children").exists()  # not in every kernel
OWN = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")  # memory that is not that of a file; what is shared, divided


@dataclass(frozen=True)
class Process:
    """What the kernel says of one process.

    Attributes:
        number: its own, as seen from here.
        state: a letter; that of any of its threads that wants to run, else that of the first.
        seconds: of processor time.
        of_children: the same, of the children that it has waited for.
        memory: bytes that are not those of a file.
        depth: how many spaces of process numbers it is in.
    """

    number: int
    state: str
    seconds: float
    of_children: float
    memory: int
    depth: int


def looked_at(number: int) -> Process | None:
    """One process; None if it has ended."""
    place = PROC / str(number)
    try:
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        lines = (place / "status").read_text().splitlines()
    except OSError:
        return None
    depth = next((len(line.split()) - 1 for line in lines if line.startswith("NSpid:")), 1)
    own, waited = (sum(map(int, fields[n : n + 2])) / TICKS for n in (11, 13))
    state = WANTS_TO_RUN if any(one == WANTS_TO_RUN for one in states(place)) else fields[0]
    return Process(number, state, own, waited, held(place), depth)


def states(place: Path) -> Iterator[str]:
    """A letter for each thread of a process: while the first waits, others may compute."""
    with contextlib.suppress(OSError):
        for thread in (place / "task").iterdir():
            with contextlib.suppress(OSError):
                yield (thread / "stat").read_text().rpartition(")")[2].split()[0]


def held(place: Path) -> int:
    """Bytes of a process. Its first thread may have ended, and then any other knows of them."""
    with contextlib.suppress(OSError):
        for thread in (place / "task").iterdir():
            with contextlib.suppress(OSError):
                lines = (thread / "smaps_rollup").read_text().splitlines()
                sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith(OWN)]
                if sizes:
                    return sum(sizes)
    return 0


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
        self._used: dict[int, float] = {}  # by each process, those too that have ended and that nobody waited for

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
        self._used |= {process.number: process.seconds for process in learners}
        used = max(sum(self._used.values()), sum(process.seconds + process.of_children for process in learners))
        passed = None
        if sum(process.memory for process in learners) > self._memory + began:
            passed = "memory"
        elif used > self._seconds or self._waited > self._idle:
            passed = "time"
        if passed is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(learners[0].number, signal.SIGKILL)  # the first one's end is the end of all
        return passed
