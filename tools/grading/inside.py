"""Inside the jail: run one learner's function and send back plain numbers.

``jail.py`` starts this in a sandbox and talks to it over pipes. The process imports PyTorch once and forks for each
task. It never reads a task or an answer itself: a fork inherits all memory of its parent, also what was freed, and the
next learner must find nothing of the last one there. The fork has the task answered in a fork of its own, which gives
up all it could harm others with before it runs a line of the learner's code. What comes back is JSON: nothing from a
learner is ever unpickled. This file stands alone in there, with ``cells/`` beside it: at its
top it imports from the standard library only, and every limit comes with the task.
"""

import contextlib
import ctypes
import importlib
import json
import os
import pickle
import pkgutil
import resource
import select
import signal
import struct
import sys
import time
from typing import Any

from tools.grading.cells import TooLarge, called, of_this_room
from tools.grading.cells.shape import may_be_said

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 1 << 17, 1 << 27, 1 << 28, 1 << 29, 1 << 30  # linux/sched.h
NO_SETUID, NO_DEVICES, READ_ONLY, REMOUNT, BIND = 0x2, 0x4, 0x1, 0x20, 0x1000  # linux/mount.h
KEPT = 0x2 | 0x4 | 0x8 | 0x400 | 0x800  # what `statvfs` says of a mount by the same numbers
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")  # the machine's own, as bubblewrap binds them
OWN = ("/scratch", "/dev/shm", "/tmp")  # where a task may write; in the first it begins
MANY = 1000  # files and folders in each
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
REFUSED = 17  # how a process ends that the system allows no space of its own
TOO_LONG = ((-signal.SIGKILL) & 127, (-signal.SIGXCPU) & 127)
# What a learner's process may say of itself. All else, "refused" above all, is for this process to say.
SAYS = {"answers": list, "blank": str, "missing": str, "raised": str, "memory": str, "large": str}

Task = dict[str, Any]
Reply = dict[str, Any]


def write(where: int, data: bytes) -> None:
    """All of it."""
    while data:
        data = data[os.write(where, data) :]


# --- its process -----------------------------------------------------------------------------------------------------


def confine(task: Task) -> None:
    """Limits that the process cannot lift again.

    Raises:
        OSError: if the kernel refuses one.
    """
    limits, user = task["limits"], task["user"]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    values = {
        resource.RLIMIT_CPU: limits["seconds"],
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["files"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for limit, value in values.items():
        resource.setrlimit(limit, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))  # version 3, this process: none at all
    instructions = ctypes.create_string_buffer(task["refusals"], len(task["refusals"]))
    program = struct.pack(
        "HP", len(task["refusals"]) // 8, ctypes.addressof(instructions)
    )  # linux/filter.h: sock_fprog
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of calls")


def learner(task: Task, answer: int) -> None:
    """Runs in the fork, to its end: write one JSON object to ``answer`` and leave."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(quiet, standard)
    kept = os.dup2(answer, 3)
    os.closerange(4, 4096)
    result: Reply = {"status": "raised", "message": "it did not come to an end"}
    met: list[str] = []
    try:
        confine(task)
        os.chdir(OWN[0])
        sys.path.insert(0, "")  # as in a notebook: what was written there can be imported
        entries = task["limits"]["entries"]
        cases = pickle.loads(task["cases"])
        result = called(task["name"], task["cells"], cases, entries, task["given"], task["reading"], met)
    except NotImplementedError:
        result = {"status": "blank"}
    except TooLarge:
        result = {"status": "large"}
    except MemoryError:
        result = {"status": "memory"}
    except RecursionError as error:
        result = {"status": "raised", "message": f"RecursionError: {error}"[:500]}
    except BaseException as error:
        result = {"status": "raised", "message": f"{type(error).__name__}: {error}"[:500]}
        met += [result["message"]] if of_this_room(error) else []
        if "allocate memory" in str(error):
            result = {"status": "memory"}
    write(kept, json.dumps(result | ({"room": met[0][:200]} if met else {})).encode())
    os._exit(0)


def furnished(libc: Any, task: Task) -> bool:
    """Give a space of mounts of its own places to write, in memory, that end with it; False if the system refuses.

    Nothing that one learner leaves may reach the next. So devices, which are the machine's, get no marks either.
    """
    owner = f",uid={task['user']},gid={task['user']}" if os.geteuid() == 0 else ""  # else this process's user
    size = f"size={task['limits']['files']},nr_inodes={MANY},mode=0700{owner}".encode()
    free = [place for place in OWN if place == OWN[0] or not os.listdir(place)]  # a Python may lie in the last
    made = [libc.mount(b"tmpfs", place.encode(), b"tmpfs", NO_SETUID | NO_DEVICES, size) for place in free]
    for name in DEVICES:  # also refused by the filter
        with contextlib.suppress(OSError):
            kept = os.statvfs(f"/dev/{name}").f_flag & KEPT
            libc.mount(None, f"/dev/{name}".encode(), None, REMOUNT | BIND | READ_ONLY | kept, None)
    return not any(made)


def fork_apart(task: Task, answer: int, number: int) -> None:
    """Fork once more, into a process space of its own, where the learner's code is process 1 and sees no other."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = NEW_PID | NEW_IPC | NEW_MOUNTS | NEW_NET | (0 if os.geteuid() == 0 else NEW_USER)
    if libc.unshare(NEW_MOUNTS) or not furnished(libc, task) or libc.unshare(flags):
        os._exit(REFUSED)
    inner = os.fork()
    if inner == 0:
        os.setsid()  # out of the jail's process group, to which it could send signals
        os.close(number)
        learner(task, answer)
    os.write(number, struct.pack("i", inner))
    os.close(number)
    os.close(answer)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 127)


def answered(task: Task) -> Reply:
    """Run one task in processes of its own; when this returns they are all gone."""
    limits = task["limits"]
    answer, answer_end = os.pipe()
    number, number_end = os.pipe()
    outer = os.fork()
    if outer == 0:
        for end in (answer, number):
            os.close(end)
        fork_apart(task, answer_end, number_end)
    os.close(answer_end)
    os.close(number_end)
    packed = os.read(number, 4)
    os.close(number)
    data, ended = b"", time.monotonic() + limits["wall"]
    while len(data) <= limits["answer_bytes"] and (left := ended - time.monotonic()) > 0:
        if not select.select([answer], [], [], left)[0]:
            break
        part = os.read(answer, 2**16)
        if not part:
            break
        data += part
    late = time.monotonic() >= ended
    os.close(answer)
    if packed:  # the end of process 1 is the end of all that it started
        with contextlib.suppress(ProcessLookupError):
            os.kill(struct.unpack("i", packed)[0], signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(outer, 0)[1])
    if code == REFUSED and not packed:
        return {"status": "refused"}
    return said(data, limits) or {"status": "time" if late or code in TOO_LONG else "died"}


def said(data: bytes, limits: dict[str, int]) -> Reply | None:
    """The reply that a learner's process wrote, or None if it is none: the learner's code may have written it."""
    if not may_be_said(data, limits):
        return {"status": "large"}
    try:
        reply = json.loads(data)
        status, room = reply["status"], reply.get("room")
        key, kind = ("answers" if status == "answers" else "message"), SAYS[status]
        value = reply.get(key, "")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    if not isinstance(value, kind):
        return None
    told = {"room": shown(room[:200])} if isinstance(room, str) else {}
    return {"status": status, key: shown(value[:500]) if kind is str else value} | told


def shown(text: str) -> str:
    """Without half a surrogate pair, which can be neither stored nor shown."""
    return text.encode(errors="replace").decode()


def sent(reply: Reply, limits: dict[str, int]) -> bytes:
    """The very bytes that leave the jail: in JSON's own letters a text may be longer than it came."""
    data = json.dumps(reply).encode()
    return data if may_be_said(data, limits) else json.dumps({"status": "large"}).encode()


def warm_up() -> None:
    """Import what learners import, so that no fork has to."""
    import torch
    from IPython.core import inputtransformer2  # noqa: F401  (for cells/)
    from matplotlib import pyplot  # noqa: F401  (reads a folder that a learner's process may not)

    from gradclinic import course

    for module in pkgutil.walk_packages(course.__path__, f"{course.__name__}."):  # there are no exercises among them
        importlib.import_module(module.name)
    for name in ("diagnosis", "plots", "tensorboard"):  # of the tool: the rest of it stands below these
        importlib.import_module(f"gradclinic.{name}")
    from gradclinic.course.data import digits
    from gradclinic.course.models import MLP
    from gradclinic.course.training import fit
    from gradclinic.recorder import Recorder

    torch.set_num_threads(1)
    model = MLP(1, 2)  # one short training: PyTorch imports more of itself when an optimiser is first used
    fit(
        model,
        digits(),
        torch.optim.SGD(model.parameters(), 0.1),
        1,
        clip_norm=1.0,
        recorder=Recorder(model),
        progress=False,
    )


def exactly(number: int) -> bytes:
    """So many bytes from the pipe that tasks come through."""
    data = b""
    while len(data) < number and (part := os.read(0, min(number - len(data), 2**20))):
        data += part
    return data


def serve() -> None:
    """Answer the tasks that come in, one after the other, until there are no more: a byte, a length, a pickle."""
    replies = os.dup(1)
    os.dup2(2, 1)
    warm_up()
    while os.read(0, 1):
        fork = os.fork()
        if fork == 0:
            (length,) = struct.unpack("I", exactly(4))
            task = pickle.loads(exactly(length))
            data = sent(answered(task), task["limits"])
            write(replies, struct.pack("I", len(data)) + data)
            os._exit(0)
        os.waitpid(fork, 0)


if __name__ == "__main__":
    serve()
