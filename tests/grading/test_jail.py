"""What is out of reach in the jail, what may be asked of it, and how its end is told."""

import ast
import contextlib
import errno
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from importlib.util import find_spec

import cloudpickle
import nbformat
import pytest
import torch

from gradclinic.course.exercises import Exercise
from tests.helpers import ROOT
from tests.helpers.imports import imported
from tools.grading import groups
from tools.grading import jail as outside
from tools.grading.cells import statements
from tools.grading.groups import new_group
from tools.grading.jail import Jail, Limits, NoJail, packed
from tools.grading.syscalls import REFUSED
from tools.grading.watch import Process, Watch, below, looked_at

ONCE = cloudpickle.dumps([()])

# What a learner's code sees at each place: the names in a folder, the head of a file, or the name of the error.
LOOK = """
import os
def look():
    seen = []
    for place in PLACES:
        try:
            seen.append(sorted(os.listdir(place)) if os.path.isdir(place) else open(place).read(9))
        except OSError as error:
            seen.append(type(error).__name__)
    return seen
"""


def seen(jail, places):
    reply = jail.ask("look", [f"PLACES = {[str(place) for place in places]}", LOOK], ONCE)
    assert reply["status"] == "answers", reply
    return reply["answers"][0]


def test_the_references_the_solutions_and_the_gradebook_cannot_be_read(jail, tmp_path):
    book = tmp_path / "gradebook.db"
    book.write_text("marks")
    there = [ROOT / outside.REFERENCES / "vanishing.py", ROOT / "solutions", ROOT / "labs", ROOT / "tests", book]
    assert all(place.exists() for place in there)
    assert seen(jail, there) == ["FileNotFoundError"] * len(there)
    package, references = seen(jail, ["/jail/gradclinic", "/jail/gradclinic/course/exercises"])
    assert package == sorted(path.name for path in (ROOT / "gradclinic").iterdir()), "the package itself is there"
    assert references == []


def test_the_references_cannot_be_imported(jail):
    cells = ["def learn():\n    from gradclinic.course.exercises import vanishing\n    return 1"]
    assert jail.ask("learn", cells, ONCE)["message"].startswith("ImportError")


def test_references_that_pip_installed_beside_python_are_covered_too(bubblewrap, monkeypatch, tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    shutil.copytree(ROOT / "gradclinic", packages / "gradclinic")
    tmp_path.chmod(0o755)  # learners are nobody
    monkeypatch.setattr(outside, "PYTHON", (*outside.PYTHON, tmp_path))
    with contextlib.closing(Jail()) as jail:
        beside, references = seen(jail, [packages / "gradclinic" / "py.typed", packages / outside.REFERENCES])
    assert beside == "", "the file, which is empty: the copy is within reach"
    assert references == []


def test_how_much_comes_back_is_counted(bubblewrap):
    bodies = {
        "[0] * 90": "answers",
        "[0] * 110": "large",
        "[0] * 3_000_000": "large",
        "[[0] * 40] * 3": "large",
        "torch.zeros(110)": "large",
        "'x' * 1100": "large",
    }
    with contextlib.closing(Jail(Limits(entries=100, answer_bytes=1000))) as jail:
        for body, status in bodies.items():
            reply = jail.ask("f", [f"import torch\ndef f():\n    return {body}"], ONCE)
            assert reply["status"] == status, body


def test_after_a_jail_was_broken_the_next_answer_comes_from_a_new_one(jail, monkeypatch):
    assert seen(jail, ["/nowhere"]) == [[]]
    with monkeypatch.context() as broken:
        broken.setattr(outside, "exchange", lambda *given: None)
        assert jail.ask("f", [], ONCE) == {"status": "broken"}
    assert seen(jail, ["/nowhere"]) == [[]]


def test_without_bubblewrap_there_is_no_jail(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoJail, match="bubblewrap"):
        Jail().ask("f", [], ONCE)


def test_a_sandbox_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(outside, "sandbox", lambda: [sys.executable, "-c", "raise SystemExit('no room here')"])
    with pytest.raises(NoJail, match="no sandbox can be started here: no room here"):
        Jail().ask("f", [], ONCE)


def test_a_case_arrives_as_it_was_with_its_gradients(jail):
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    weight.grad = torch.tensor([0.25, 0.5])
    exercise = Exercise("1.1-f", 1, (), "core", lambda seed: [(weight,)], lambda weight: weight, ())
    cells = ["def f(weight):\n    return [weight, weight.grad, weight.requires_grad, type(weight).__name__]"]
    reply = jail.ask("f", cells, packed(exercise, 0))
    assert reply == {"status": "answers", "answers": [[[1.0, 2.0], [0.25, 0.5], True, "Parameter"]]}


def test_what_the_labs_import_is_there_before_a_learners_code_runs(jail):
    wanted = set()
    for path in (ROOT / "solutions").glob("*/*.ipynb"):
        code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        source = "\n".join(ast.unparse(statement.node) for statement in statements(code))
        wanted |= {f"gradclinic.{name}" for name in imported(source)}
        wanted |= {f"gradclinic.course.{name}" for name in imported(source, "gradclinic.course") - {"exercises"}}
    wanted = {name for name in wanted if find_spec(name)}  # not the names that a module gives
    assert {"gradclinic.plots", "gradclinic.course.audit"} <= wanted
    cells = ["import sys\ndef f():\n    return list(sys.modules)"]
    assert wanted <= set(jail.ask("f", cells, ONCE)["answers"][0])


# --- one learner and the next ----------------------------------------------------------------------------------------

# In a space of users in which root is an ordinary one.
ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def test_who_marks_is_told_how_the_sums_are_limited(monkeypatch, tmp_path):
    assert "ten times a second" in groups.in_words(groups.kind_here(tmp_path))
    kind = groups.kind_here()
    assert (kind is None) == ("No control group" in groups.in_words(kind))
    monkeypatch.setattr(groups, "new_group", lambda mounted: None)
    assert groups.kind_here() is None


@pytest.mark.parametrize("before", [(), ORDINARY], ids=["as who runs this", "as an ordinary user"])
def test_nothing_of_a_learner_is_in_the_memory_of_the_next(bubblewrap, before):
    if before and (os.geteuid() != 0 or subprocess.run([*before, "true"], check=False).returncode != 0):
        pytest.skip("this is an ordinary user already, or the system lets nobody become one")
    command = [*before, sys.executable, "-m", "tests.helpers.leaks"]
    run = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found.pop("own") > 0, "what is there is found"
    assert found == dict.fromkeys(found, 0)
    assert len(found) == 2


# Calls each number with zeros and says what the error was; a child of its own for each, should one end it.
CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*numbers):
    def error(number, first):
        back, end = os.pipe()
        if os.fork() == 0:
            ctypes.set_errno(0)
            libc.syscall(number, first, 0, 0, 0, 0, 0)
            os.write(end, bytes([ctypes.get_errno()]))
            os._exit(0)
        os.close(end)
        found = os.read(back, 1)
        os.close(back)
        os.wait()
        return found[0] if found else None
    return [error(*number) for number in numbers]
"""


def test_what_no_exercise_needs_the_kernel_refuses(jail):
    import pyseccomp  # which fails where libseccomp is not

    here = pyseccomp.Arch.NATIVE
    numbers = {name: (pyseccomp.resolve_syscall(here, name), 0) for name in REFUSED}
    clone = pyseccomp.resolve_syscall(here, "clone")
    socket = pyseccomp.resolve_syscall(here, "socket")
    for flag in ("NEWNS", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET"):
        bit = {"NEWNS": 17, "NEWUTS": 26, "NEWIPC": 27, "NEWUSER": 28, "NEWPID": 29, "NEWNET": 30}[flag]
        numbers[f"clone {flag}"] = (clone, 1 << bit)
    numbers |= {f"socket of family {family}": (socket, family) for family in (16, 17, 38, 40)}
    pair = pyseccomp.resolve_syscall(here, "socketpair")
    numbers |= {f"pair of family {family}": (pair, family) for family in (2, 16, 40)}
    numbers = {name: number for name, number in numbers.items() if number[0] >= 0}
    assert len(numbers) > 50
    reply = jail.ask("call", [CALL], cloudpickle.dumps([tuple(numbers.values())]))
    assert reply["status"] == "answers", reply
    assert dict(zip(numbers, reply["answers"][0], strict=True)) == dict.fromkeys(numbers, errno.EPERM)
    absent = jail.ask("call", [CALL], cloudpickle.dumps([((pyseccomp.resolve_syscall(here, "clone3"), 0),)]))
    assert absent["answers"] == [[errno.ENOSYS]]


def test_what_an_honest_answer_asks_of_the_kernel_it_gets(jail):
    body = """
import os, socket, subprocess, threading, tempfile
def f():
    found = []
    thread = threading.Thread(target=found.append, args=(1,)); thread.start(); thread.join()
    pid = os.fork()
    if pid == 0: os._exit(7)
    found.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    one, two = socket.socketpair(); one.send(b"x"); found.append(two.recv(1) == b"x")
    import torch
    x = torch.ones(3, requires_grad=True); (x * x).sum().backward(); found.append(x.grad.tolist())
    return found
"""
    assert jail.ask("f", [body], ONCE) == {"status": "answers", "answers": [[1, 7, True, [2.0, 2.0, 2.0]]]}


# --- sums ------------------------------------------------------------------------------------------------------------

CHILDREN = """
import os, time
def f():
    for _ in range(6):
        if os.fork() == 0:
            {body}
            os._exit(0)
    time.sleep(10_000)
"""
HOLDS = "held = bytearray(os.urandom(1)) * 400_000_000; held[::4096] = b'x' * len(held[::4096]); time.sleep(10_000)"


@pytest.mark.parametrize("group", [True, False], ids=["with a control group", "without one"])
def test_memory_in_children_counts_together(bubblewrap, monkeypatch, group):
    if not group:
        monkeypatch.setattr(outside, "new_group", lambda: None)
    elif (made := new_group()) is None:
        pytest.skip("no control group can be made here")
    else:
        made.remove()
    with contextlib.closing(Jail(Limits(seconds=600, idle=600, wall=600, held=10**9))) as jail:
        assert jail.ask("f", [CHILDREN.format(body=HOLDS)], ONCE) == {"status": "memory"}
        assert ("No control group" in jail.bounds()) is not group
        one = "def f():\n    held = bytes(400_000_000)\n    return len(held)"
        assert jail.ask("f", [one], ONCE) == {"status": "answers", "answers": [400_000_000]}


HIDDEN = {
    "a mapping that has shrunk": """
import ctypes
def f():
    libc = ctypes.CDLL(None)
    libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
    size = ctypes.c_size_t
    for _ in range(6):
        place = libc.mmap(ctypes.c_void_p(0), size(512 << 20), 3, 0x8021, -1, ctypes.c_void_p(0))
        if place == 2**64 - 1:
            return "refused"
        libc.mremap(ctypes.c_void_p(place), size(512 << 20), size(4096), 0)
    return "held"
""",
    "a first thread that has ended": """
import ctypes, threading, time
def f():
    def work():
        held = bytearray(1_500_000_000)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(10_000)
    threading.Thread(target=work).start()
    ctypes.CDLL(None).syscall(60, 0)
""",
}


@pytest.mark.parametrize("group", [True, False], ids=["with a control group", "without one"])
@pytest.mark.parametrize("how", HIDDEN)
def test_memory_that_hides_is_refused_or_counted(bubblewrap, monkeypatch, how, group):
    if not group:
        monkeypatch.setattr(outside, "new_group", lambda: None)
    with contextlib.closing(Jail(Limits(seconds=600, idle=600, wall=600, held=10**9))) as jail:
        reply = jail.ask("f", [HIDDEN[how]], ONCE)
    assert reply in ({"status": "memory"}, {"status": "answers", "answers": ["refused"]})


def test_all_of_a_jail_is_in_its_group(bubblewrap):
    with contextlib.closing(Jail()) as jail:
        if "No control group" in jail.bounds():
            pytest.skip("no control group can be made here")
        cells = ["import time\ndef f(): time.sleep(10_000)"]
        asking = threading.Thread(target=jail.ask, args=("f", cells, ONCE))
        asking.start()
        process, group, most = jail._process, jail._group, 0  # noqa: SLF001
        while asking.is_alive():
            inside = [one for one in below(process.pid) if one.depth > 1]
            if any(one.depth >= 3 for one in inside):
                most = max(most, sum(group.holds(one.number) for one in inside))
                assert all(group.holds(one.number) or looked_at(one.number) is None for one in inside)
        assert most >= 3, "the server, the fork for the task, the learner"


def test_time_of_children_that_nobody_waits_for_is_not_forgotten(bubblewrap):
    body = """
import os, signal, time
def f():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            while time.process_time() < 1: pass
            os._exit(0)
        try: os.waitpid(child, 0)
        except OSError: pass
    return 1
"""
    with contextlib.closing(Jail(Limits(seconds=5, idle=600, wall=600))) as jail:
        assert jail.ask("f", [body], ONCE) == {"status": "time"}


def test_a_port_that_one_learner_used_is_free_for_the_next(jail):
    use = """
import socket
def f():
    server = socket.create_server(("127.0.0.1", 20_001))
    client = socket.create_connection(("127.0.0.1", 20_001))
    server.accept()[0].close()
    client.close()
    return 1
"""
    free = "import socket\ndef f():\n    socket.socket().bind(('127.0.0.1', 20_001))\n    return 1"
    assert jail.ask("f", [use], ONCE)["status"] in ("answers", "raised"), "there may be no way to oneself at all"
    assert jail.ask("f", [free], ONCE) == {"status": "answers", "answers": [1]}


def test_a_deep_answer_is_too_large_and_the_next_one_is_fine(jail):
    written = b'{"status": "answers", "answers": [' + b"[" * 700 + b"]" * 700 + b"]}"
    deep = f"import os\ndef f():\n    os.write(3, {written!r})\n    os._exit(0)"
    assert jail.ask("f", [deep], ONCE) == {"status": "large"}
    assert jail.ask("f", ["def f(): return [[1]]"], ONCE)["answers"] == [[[1]]]


def test_processor_time_in_children_counts_together(bubblewrap):
    """Each of them stays far below the limit of one process."""
    with contextlib.closing(Jail(Limits(seconds=600, idle=600, wall=600))) as jail:
        jail.ask("f", ["def f(): return 1"], ONCE)
        object.__setattr__(jail.limits, "seconds", 3)
        body = CHILDREN.format(body="t = time.process_time()\n            while time.process_time() - t < 2: pass")
        assert jail.ask("f", [body], ONCE) == {"status": "time"}


def test_who_only_waits_is_ended_soon_and_who_waits_for_the_machine_is_not(bubblewrap, monkeypatch):
    with contextlib.closing(Jail(Limits(seconds=600, idle=1, wall=600))) as jail:
        assert jail.ask("f", ["import time\ndef f(): time.sleep(10_000)"], ONCE) == {"status": "time"}
    # a process that wants to run and gets no turn, for as long as one likes
    chain = [Process(1, "S", 0, 0, 0, 1), Process(2, "S", 0, 0, 0, 2), Process(3, "R", 0.1, 0, 0, 3)]
    monkeypatch.setattr("tools.grading.watch.below", lambda number: iter(chain))
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("tools.grading.watch.time.monotonic", lambda: next(clock))
    ended = []
    monkeypatch.setattr("tools.grading.watch.os.kill", lambda number, signal: ended.append(number))
    watch = Watch(1, seconds=5, idle=3, memory=10**9)
    assert [watch.look() for _ in range(20)] == [None] * 20
    chain[-1] = Process(3, "S", 0.1, 0, 0, 3)
    assert watch.look() == "time"
    assert ended == [3]


def test_who_computes_in_threads_while_the_first_waits_does_not_only_wait(bubblewrap):
    body = """
import threading, time
def f():
    def work():
        while time.process_time() < 4: sum(range(1000))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return 1
"""
    with contextlib.closing(Jail(Limits(seconds=600, idle=1, wall=600))) as jail:
        assert jail.ask("f", [body], ONCE) == {"status": "answers", "answers": [1]}


def test_no_more_processes_than_allowed_and_each_jail_has_a_user_of_its_own(bubblewrap):
    body = """
import os, time
def f():
    started = 0
    try:
        while started < 100:
            if os.fork() == 0:
                time.sleep(3)
                os._exit(0)
            started += 1
    except OSError:
        pass
    return started
"""
    with contextlib.closing(Jail(Limits(seconds=60, idle=600, wall=600, processes=10))) as jail:
        assert 5 <= jail.ask("f", [body], ONCE)["answers"][0] < 10
    if os.geteuid() == 0:
        with contextlib.closing(Jail(Limits(seconds=60, idle=600, wall=600))) as jail:
            assert jail.ask("f", ["import os\ndef f(): return os.getuid()"], ONCE)["answers"] == [
                outside.FIRST_USER + os.getpid()
            ]


# --- what comes back --------------------------------------------------------------------------------------------------


def test_a_jail_that_was_taken_over_can_say_no_more_than_a_jail_says():
    limits = Limits(entries=10, answer_bytes=10_000)

    def told(data, length=None):
        return outside.received(io.BytesIO(struct.pack("I", len(data) if length is None else length) + data), limits)

    assert told(b'{"status": "blank"}') == {"status": "blank"}
    for data, length in (
        (b"{}", 2**32 - 1),
        (b"[" * 5000, None),
        (b"[" + b"1," * 4000 + b"1]", None),
        (b"]" * 4000, None),
        (b"{", None),
    ):
        with pytest.raises(ValueError):  # noqa: PT011  (json's own error is one, too)
            told(data, length)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('return "[]" * 300_000', "answers"),
        ('return ["{" * 900] * 900', "large"),
        ("import os; os.write(3, SAID); os._exit(0)", "large"),
        ("return [10**5000]", "answers"),
        ("return ['x' * 10**6] * 20_000", "large"),
    ],
)
def test_no_answer_however_odd_ends_the_jail(body, status, jail):
    said = b'{"status": "answers", "answers": ["' + "\u00e9".encode() * 25_000 + b"[" * 21 + b'"]}'
    broken = jail.broken
    reply = jail.ask("f", [f"SAID = {said!r}\ndef f():\n    {body}"], ONCE)
    assert (reply["status"], jail.broken) == (status, broken)
