"""Does the memory of a learner's process hold what another learner wrote? Looked for from outside.

python -m tests.helpers.leaks        prints, as JSON, how often a mark was found: its own, and those of others
"""

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import cloudpickle

from tools.grading.jail import Jail, Limits
from tools.grading.watch import below

ONCE = cloudpickle.dumps([()])
WAIT = 20  # seconds in which the second learner's process can be looked at


def _memory(number: int) -> bytes:
    """All that a process can read, but files."""
    found = []
    maps = Path(f"/proc/{number}/maps").read_text().splitlines()
    with open(f"/proc/{number}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, rights, _, _, inode, *_ = line.split()
            if rights[0] == "r" and (inode == "0" or rights[1] == "w" or rights[3] == "s"):
                low, high = (int(end, 16) for end in place.split("-"))
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(low)
                    found.append(memory.read(high - low))
    return b"".join(found)


def found(seconds: float = WAIT) -> dict[str, int]:
    """Three learners after each other in one jail; the memory of the third is searched for all of their marks."""
    marks = {name: os.urandom(12).hex() for name in ("in the text of the first", "in the answer of the second", "own")}
    text, answer, own = marks.values()
    half = f"'{answer[:12]}' + '{answer[12:]}'"  # in the text of the second it stands in two parts
    cells = {
        "first": [f"def first():\n    return '{text}' * 100"],
        "second": [f"def second():\n    return [({half}) * 3] * 50"],
        "third": [
            f"def third():\n    import time\n    here = '{own}'\n    time.sleep({seconds})\n    return len(here)"
        ],
    }
    with contextlib.closing(Jail(Limits(seconds=60, idle=600, wall=600))) as jail:
        for name in ("first", "second"):
            assert jail.ask(name, cells[name], ONCE)["status"] == "answers"
        process = jail._process  # noqa: SLF001  (the one thing that knows its number)
        assert process is not None
        third = threading.Thread(target=jail.ask, args=("third", cells["third"], ONCE))
        third.start()
        counts = dict.fromkeys(marks, 0)
        depth = next(below(process.pid)).depth + 2
        while third.is_alive() and not counts["own"]:
            for one in below(process.pid):
                if one.depth >= depth:
                    with contextlib.suppress(OSError):  # it may have ended
                        memory = _memory(one.number)
                        counts = {name: memory.count(mark.encode()) for name, mark in marks.items()}
            time.sleep(0.1)
        process.kill()
        third.join()
    return counts


if __name__ == "__main__":
    print(json.dumps(found()))
