"""What a learner may write and mark while an answer is made, and that nothing of it is found by another."""

import contextlib
import errno
import os

import cloudpickle

from tools.grading import jail as outside
from tools.grading.jail import Jail
from tools.grading.syscalls import KEPT_WITH_FILES

ONCE = cloudpickle.dumps([()])

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
NOTE = """
import fcntl, os
def write():
    told = []
    def tried(does, *given):
        try: told.append(does(*given) and None)
        except OSError as error: told.append(error.errno)
    for name in NAMES:
        place = "/dev/" + name
        tried(lambda: os.utime(place, ns=(1, 72_73_78_84)))
        tried(lambda: os.utime(place))
        tried(lambda: os.chmod(place, 0o666))
    return told
def read():
    return [[os.stat("/dev/" + name).st_mtime_ns, os.stat("/dev/" + name).st_mode] for name in NAMES]
def locks():
    refused = 0
    with open(os.__file__) as file:
        for numbers in COMMANDS:
            try: fcntl.fcntl(file, numbers, b"\\0" * 32)
            except PermissionError: refused += 1
        try: fcntl.flock(file, fcntl.LOCK_SH)
        except PermissionError: refused += 1
    return refused
"""


def test_no_learner_leaves_a_mark_on_a_device_of_the_machine_that_another_reads(jail):
    cells = [f"NAMES = {DEVICES}", NOTE]
    before = [os.stat(f"/dev/{name}").st_mtime_ns for name in DEVICES]
    told = jail.ask("write", cells, ONCE)["answers"][0]
    assert len(told) == 3 * len(DEVICES)
    assert set(told) <= {errno.EPERM, errno.EROFS}
    assert [os.stat(f"/dev/{name}").st_mtime_ns for name in DEVICES] == before
    with contextlib.closing(Jail(jail.limits)) as other:
        for one in (jail, other):
            assert [time for time, _ in one.ask("read", cells, ONCE)["answers"][0]] == before


def test_no_learner_locks_a_file_of_the_machine(jail):
    reply = jail.ask("locks", [f"COMMANDS = {KEPT_WITH_FILES}", NOTE], ONCE)
    assert reply["answers"] == [len(KEPT_WITH_FILES) + 1]


OTHER = (
    "/scratch" if any(place.is_relative_to("/tmp") for place in outside.PYTHON) else "/tmp"
)  # a Python may lie there
PLACES = f"""
import os, tempfile
PLACES = (".", os.path.expanduser("~"), tempfile.gettempdir(), "{OTHER}", "/dev/shm", "/scratch")
"""
PLACES += """
def leave():
    for place in PLACES:
        os.makedirs(os.path.join(place, "hint"), exist_ok=True)
        with open(os.path.join(place, "hint", "x"), "w") as file: file.write("x" * 1000)
    return [os.listdir(place) for place in PLACES]
def find():
    return [[os.listdir(place), os.stat(place).st_ino, os.statvfs(place).f_bfree] for place in PLACES]
def fill():
    written = 0
    for n in range(100):
        try:
            with open(f"{n}", "wb") as file:
                for _ in range(100): written += file.write(bytes(2**20))
        except OSError: pass
    return written
def many():
    for n in range(10**5):
        try: open(f"{n}", "w").close()
        except OSError: return n
"""


def test_what_a_learner_writes_is_there_for_this_answer_and_gone_with_it(jail):
    fresh = jail.ask("find", [PLACES], ONCE)["answers"]
    assert all(names == [] for names, *_ in fresh[0])
    assert jail.ask("leave", [PLACES], ONCE) == {"status": "answers", "answers": [[["hint"]] * 6]}
    with contextlib.closing(Jail(jail.limits)) as other:
        assert other.ask("find", [PLACES], ONCE)["answers"] == fresh
    assert jail.ask("find", [PLACES], ONCE)["answers"] == fresh


def test_files_have_a_limit_in_sum(jail):
    for function, most in (("fill", jail.limits.files), ("many", 1000)):
        number = jail.ask(function, [PLACES], ONCE)["answers"][0]
        assert most / 2 < number <= most
        assert jail.ask("find", [PLACES], ONCE)["status"] == "answers"


def test_a_line_that_fails_in_this_room_alone_is_told(jail):
    reply = jail.ask("f", ["import no_such_thing\nscale = 2", "def f(): return scale * no_such_thing.x"], ONCE)
    assert (reply["status"], reply["room"]) == ("raised", "ModuleNotFoundError: No module named 'no_such_thing'")
    reply = jail.ask("f", ["def f(): open('/etc/x', 'w')"], ONCE)
    assert reply["room"].startswith("OSError: [Errno 30] Read-only file system") or "PermissionError" in reply["room"]
    assert "room" not in jail.ask("f", ["import no_such_thing", "def f(): return 1 / 0"], ONCE)
