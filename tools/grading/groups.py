"""A control group for a jail: the kernel's own limit on what all of its processes hold together.

Root gets one wherever the system mounts them, of the first or the second kind. Where none can be made, the jail is
looked at some times a second instead (``watch.py``).
"""

import contextlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
# By the kind of group: the files that limit and count memory and processes, as the kernel's documentation names them
# (admin-guide/cgroup-v1/memory.rst and pids.rst; admin-guide/cgroup-v2.rst).
FILES = {
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "pids.max"),
    "v2": ("memory.max", "memory.current", "pids.max"),
}


@dataclass(frozen=True)
class Group:
    """The folders of one control group: one for each resource (v1), or one for all (v2)."""

    kind: str
    memory: Path
    processes: Path

    def doors(self) -> list[str]:
        """The files through which a process gets in, with its own number; what it starts from then on is in there."""
        return sorted({str(folder / "cgroup.procs") for folder in (self.memory, self.processes)})

    def holds(self, process: int) -> bool:
        """Whether a process is in it."""
        return all(str(process) in Path(door).read_text().split() for door in self.doors())

    def limit(self, memory: int, processes: int) -> None:
        """So many bytes beyond what is held now, and so many processes."""
        most, used, number = FILES[self.kind]
        held = int((self.memory / used).read_text())
        (self.memory / most).write_text(str(held + memory))
        with contextlib.suppress(OSError):  # v2 only, and not on every system
            (self.memory / "memory.swap.max").write_text("0")
        (self.processes / number).write_text(str(processes))

    def overflows(self) -> int:
        """How often the kernel ended a process in it because the memory was used up."""
        name, word = ("memory.oom_control", "oom_kill ") if self.kind == "v1" else ("memory.events", "oom_kill ")
        lines = (self.memory / name).read_text().splitlines()
        return sum(int(line.removeprefix(word)) for line in lines if line.startswith(word))

    def remove(self) -> None:
        """When its last process has ended, which the kernel may take a moment to notice."""
        for folder in {self.memory, self.processes}:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def in_words(kind: str | None) -> str:
    """For who marks: what keeps the sum of a learner's processes within the limits."""
    if kind is not None:
        return f"The memory and processes of each answer are limited by the kernel, with a control group ({kind})."
    return "No control group can be made here: the memory of each answer is looked at ten times a second, and no more."


def kind_here(mounted: Path = MOUNTED) -> str | None:
    """The kind of control group that can be made here; None if none can."""
    found = new_group(mounted)
    if found is not None:
        found.remove()
    return None if found is None else found.kind


def new_group(mounted: Path = MOUNTED) -> Group | None:
    """A new control group, below that of this process where groups may hold both; None where none can be made."""
    if os.geteuid() != 0:
        return None
    name = f"jail-{os.getpid()}-{secrets.token_hex(4)}"
    if (mounted / "cgroup.controllers").exists():
        found = Group("v2", mounted / name, mounted / name)
    else:
        found = Group("v1", _own("memory", mounted) / name, _own("pids", mounted) / name)
    memory, used, number = FILES[found.kind]
    try:
        for folder in (found.memory, found.processes):
            sweep(folder.parent)
            folder.mkdir(exist_ok=True)
    except OSError:
        return None
    files = (found.memory / memory, found.memory / used, found.processes / number)
    if all(file.exists() for file in files):  # else the controller is not there, or is not handed down
        return found
    found.remove()
    return None


def sweep(folder: Path) -> None:
    """Take away groups of jails whose grader was killed; the kernel refuses where a process is still in one."""
    for old in folder.glob("jail-*-*"):
        if not (Path("/proc") / old.name.split("-")[1]).exists():
            with contextlib.suppress(OSError):
                old.rmdir()


def _own(controller: str, mounted: Path) -> Path:
    """Where this process is in the hierarchy of a controller of the first kind."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        if controller in controllers.split(",") and (mounted / controller / place.lstrip("/")).is_dir():
            return mounted / controller / place.lstrip("/")
    return mounted / controller
