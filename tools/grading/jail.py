"""The jail, from outside: a sandbox in which learners' functions answer, and nothing of value can be reached.

What runs in there is ``inside.py``. This process sends it tasks and reads back JSON; it never runs, imports or
unpickles what a learner wrote.
"""

import dataclasses
import functools
import io
import json
import os
import pickle
import select
import shlex
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cloudpickle
import torch

from gradclinic.course import exercises
from gradclinic.course.exercises import Exercise
from tools.grading.cells.shape import may_be_said
from tools.grading.groups import Group, in_words, new_group
from tools.grading.syscalls import refusals
from tools.grading.watch import Watch, below

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = Path(*exercises.__name__.split("."))  # where the right answers lie, below any copy of the package
PYTHON = tuple(sorted({Path(sys.base_prefix), Path(sys.prefix)}))  # what a Python in the jail needs to start
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
# PyTorch asks here what the processor can do; left in the dark it computes with other instructions, and rounds other
# than outside
PROCESSOR = ("/sys/devices/system/cpu", "/proc/cpuinfo")
SETTINGS = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/scratch",
    "PYTHONPATH": "/jail",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLCONFIGDIR": "/scratch",
    "TMPDIR": "/scratch",
}
# Seconds until a jail that says nothing is given up: at its start, when it imports PyTorch, and beyond a task's own.
START, GRACE = 600, 60
EVERY = 0.1  # seconds between two looks at a jail that says nothing
FIRST_USER = 2_000_000_000  # numbers of users that no system gives to a person
OF_THE_JAIL = 8  # processes of bubblewrap and of ``inside.py``

Task = dict[str, Any]
Reply = dict[str, Any]


class NoJail(RuntimeError):
    """Nothing here can keep a learner's code apart, so nothing is marked."""


@dataclass(frozen=True)
class Limits:
    """What one exercise of one learner may take.

    Attributes:
        seconds: of processor time, for all processes together.
        idle: seconds in which no process wants to run.
        wall: seconds until the answer has to be there, however busy the machine is.
        memory: bytes of address space, for each process.
        held: bytes of memory, for all processes together, beyond what they began with.
        processes: how many there may be, threads counted.
        answer_bytes: of what is sent back.
        entries: numbers and lists in it.
        files: bytes that may be written to files, which are gone with the task.
    """

    seconds: int = 5
    idle: int = 3
    wall: int = 40
    memory: int = 4 * 2**30
    held: int = 2 * 2**30
    processes: int = 16
    answer_bytes: int = 2**23
    entries: int = 2**18
    files: int = 2**24

    def with_seconds(self, seconds: int) -> "Limits":
        """The same with at least so many of processor time, and with as much more time to wait for the answer."""
        if seconds <= self.seconds:
            return self
        return dataclasses.replace(self, seconds=seconds, wall=self.wall * seconds // self.seconds)


LIMITS = Limits()


# --- the sandbox -----------------------------------------------------------------------------------------------------


def sandbox() -> list[str]:
    """The command that starts ``inside.py`` where neither solutions, gradebook, other learners nor a network exist.

    Raises:
        NoJail: where bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise NoJail("bubblewrap (the program bwrap) is not installed; without a jail nothing is marked")
    command = [program, *_apart(), "--die-with-parent", "--new-session", "--clearenv", *_files()]
    for name, value in SETTINGS.items():
        command += ["--setenv", name, value]
    return [*command, "--", sys.executable, "/jail/inside.py"]


def _apart() -> list[str]:
    """What is not shared with the world outside."""
    if os.geteuid() != 0:
        return ["--unshare-all", "--cap-add", "CAP_SYS_ADMIN"]  # over what was made for the jail: each task gets files
    # as root there is no need for a user namespace, and each learner becomes nobody
    apart = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    apart += ["--cap-drop", "ALL"]
    for kept in ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"):
        apart += ["--cap-add", kept]
    return apart


def _files() -> list[str]:
    """The files that exist in there: a Python with its libraries, and the package without its references."""
    files = []
    for place in (*SYSTEM, *PROCESSOR):
        files += ["--ro-bind-try", place, place]
    folders = sorted({*PYTHON, *(folder.resolve() for folder in PYTHON)})  # a link leads to its real place
    for folder in folders:
        for parent in reversed(folder.parents[:-1]):
            files += ["--perms", "0755", "--dir", str(parent)]
        files += ["--ro-bind", str(folder), str(folder)]
    files += ["--perms", "0755", "--dir", "/jail"]
    files += ["--ro-bind", str(ROOT / "gradclinic"), "/jail/gradclinic"]
    for references in (Path("/jail") / REFERENCES, *_copies((*folders, Path("/usr"), Path("/usr/local")))):
        files += ["--perms", "0755", "--tmpfs", str(references), "--remount-ro", str(references)]
    files += ["--perms", "0700", "--size", str(2**20), "--tmpfs", "/scratch"]  # matplotlib wants one, once
    files += ["--perms", "0755", "--dir", "/tmp"]  # each task gets places of its own over these two
    files += ["--ro-bind", str(Path(__file__).with_name("inside.py")), "/jail/inside.py"]
    files += ["--ro-bind", str(Path(__file__).with_name("cells")), "/jail/tools/grading/cells"]
    files += ["--dev", "/dev", "--remount-ro", "/dev"]
    files += ["--perms", "0755", "--dir", "/nowhere", "--remount-ro", "/", "--chdir", "/nowhere"]
    return files


def _copies(pythons: Sequence[Path]) -> list[Path]:
    """Where else the references lie: `pip install .` copies them to where a Python keeps its packages."""
    return sorted({place for python in pythons for place in python.glob(f"lib*/python*/*-packages/{REFERENCES}")})


# --- its process -----------------------------------------------------------------------------------------------------


class Jail:
    """A running jail. One that was broken by a learner's code is thrown away, and the next answer gets a new one."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._group: Group | None = None
        self.broken = 0  # how often one was thrown away

    def ask(
        self,
        name: str,
        cells: Sequence[str],
        cases: bytes,
        given: Sequence[int] = (),
        seconds: int = 0,
        reading: str = "",
    ) -> Reply:
        """Have one function run; returns its answers or what became of it.

        Args:
            name: of the function.
            cells: the code cells of the notebook that it stands in.
            cases: what it is called with, as ``packed`` gives them.
            given: numbers of the cells that are as they were given out.
            seconds: of processor time that this one may take, where that is more than others may.
            reading: of the notebook; see ``called`` in ``cells/``.

        Raises:
            NoJail: if no sandbox can be started here.
        """
        if self._process is None:
            self._process = self._started()
        limits = self.limits.with_seconds(seconds)
        watch = Watch(self._process.pid, limits.seconds, limits.idle, limits.held)
        before = self._overflows()
        task = self._task(name, cells, cases, given, limits) | {"reading": reading}
        reply = exchange(self._process, task, limits.wall + GRACE, limits, watch)
        overflown = self._overflows() > before
        if reply is None:
            self.close()
            self.broken += 1
            return {"status": "memory" if overflown else "broken"}
        if reply.get("status") == "refused":
            raise NoJail("the system allows no process spaces inside the sandbox (unshare was refused)")
        return {"status": "memory"} if overflown and reply["status"] != "answers" else reply

    def bounds(self) -> str:
        """What keeps the sum of a learner's processes within the limits, in a sentence for who marks."""
        if self._process is None:
            self._process = self._started()
        return in_words(None if self._group is None else self._group.kind)

    def _task(
        self, name: str, cells: Sequence[str], cases: bytes, given: Sequence[int] = (), limits: Limits | None = None
    ) -> Task:
        return {
            "name": name,
            "cells": list(cells),
            "given": list(given),
            "reading": "",
            "cases": cases,
            "limits": dataclasses.asdict(limits or self.limits),
            "refusals": refusals(),
            # of the users that nobody is, one for each jail: the kernel counts processes by user
            "user": FIRST_USER + os.getpid(),
        }

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            probe = self._task("probe", ["def probe(): return 1"], cloudpickle.dumps([()]))
        except OSError as error:
            raise NoJail(f"{error}; without a jail nothing is marked") from None
        self._group = new_group()
        doors = [] if self._group is None else self._group.doors()
        # where memory runs out all the same, the system is to end the jail and nothing else
        entering = "".join(f"echo $$ > {shlex.quote(door)}; " for door in doors)
        first = ["sh", "-c", f'echo 1000 > /proc/self/oom_score_adj; {entering}exec "$@"', "sh"]
        process = subprocess.Popen(
            [*first, *sandbox()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        # learner's code never runs before the first task, so an end before that is the sandbox's
        reply = exchange(process, probe, START, self.limits)
        if reply != {"status": "answers", "answers": [1]}:
            process.kill()
            said = process.communicate()[1].decode(errors="replace").strip()[-500:]
            self._leave_group()
            raise NoJail(f"no sandbox can be started here: {said or reply}")
        if self._group is not None and not all(self._group.holds(one.number) for one in below(process.pid)):
            self._leave_group()  # which then limits nothing; the look from outside does what it can
        if self._group is not None:
            self._group.limit(self.limits.held, self.limits.processes + OF_THE_JAIL)
        return process

    def _overflows(self) -> int:
        return 0 if self._group is None else self._group.overflows()

    def _leave_group(self) -> None:
        if self._group is not None:
            self._group.remove()
            self._group = None

    def close(self) -> None:
        """End it, and with it all that runs inside."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._leave_group()


def exchange(
    process: subprocess.Popen[bytes], task: Task, seconds: float, limits: Limits, watch: Watch | None = None
) -> Reply | None:
    """Send a task and read the reply; None if the process ends, or says nothing within ``seconds``.

    Whenever there is nothing to read, ``watch`` has a look; if it ends the task, its word is the reply.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    last = threading.Timer(seconds, process.kill)  # whatever a learner may do to the jail itself
    last.start()
    passed = None
    try:
        data = pickle.dumps(task)
        process.stdin.write(b"t" + struct.pack("I", len(data)) + data)
        process.stdin.flush()
        while not select.select([process.stdout], [], [], EVERY)[0]:
            passed = passed or (watch.look() if watch else None)
        reply = received(process.stdout, limits)
    except (OSError, struct.error, ValueError, RecursionError):
        return None
    finally:
        last.cancel()
    return reply if passed is None else {"status": passed}


def received(stream: IO[bytes], limits: Limits) -> Reply:
    """All that is ever read from a jail: a length in four bytes, and so many bytes of JSON.

    Raises:
        ValueError: if it is more than a jail may say, or nothing that a jail says.
    """
    (length,) = struct.unpack("I", stream.read(4))
    if length > limits.answer_bytes:
        raise ValueError(f"a reply of {length} bytes")
    data = stream.read(length)
    if not may_be_said(data, dataclasses.asdict(limits)):
        raise ValueError("a reply of too many entries, or too deep")  # before anything is made of it
    reply: Reply = json.loads(data)
    return reply


# --- what is sent in -------------------------------------------------------------------------------------------------


def with_gradient(tensor: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The tensor, with its gradient; called where a case is unpacked."""
    tensor.grad = gradient
    return tensor


CACHED = type(functools.cache(len))  # what functools.cache makes of a function


class CasePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Packs what a case is made of, with what an ordinary pickle leaves behind."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, torch.Tensor) and obj.is_leaf and obj.grad is not None:
            bare = obj.detach().requires_grad_(obj.requires_grad)
            if isinstance(obj, torch.nn.Parameter):
                bare = torch.nn.Parameter(bare, obj.requires_grad)
            return with_gradient, (bare, obj.grad)
        if isinstance(obj, CACHED):  # goes by its name otherwise, which the jail cannot find
            return functools.cache, (obj.__wrapped__,)
        return super().reducer_override(obj)


@functools.cache
def packed(exercise: Exercise, seed: int) -> bytes:
    """The cases of one exercise, as they are sent into the jail: by value, for there are no exercises and no grader."""
    for module in (exercises, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)
    packed = io.BytesIO()
    CasePickler(packed).dump(exercise.cases(seed))
    return packed.getvalue()
