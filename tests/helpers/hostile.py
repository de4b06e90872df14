"""What else a function could try instead of an answer: its body, and the flag that it should raise.

Sums over many processes, calls to the kernel, answers of odd shapes, and looks for what somebody else has left.
"""

CHILDREN = "import os, time, signal\n    for _ in range(6):\n        if os.fork() == 0:\n            {}\n    {}"
BUSY = "while True: pass"
CALL = "import ctypes\n    libc = ctypes.CDLL(None, use_errno=True)\n    "
RIGHT = "\n    return weight - learning_rate * gradient"
ROOM = "in the grader's room"  # of the flag for what may go wrong here alone
GONE_OVER = "#" + "timeit " * 7_000 + "-a" * 25_000  # a comment over which a pattern may go again and again
GRANTED = (
    "\n    return weight - learning_rate * gradient if found >= 0 else weight"  # right only where the kernel agreed
)


def call(number: str, *arguments: str) -> tuple[str, None]:
    """Something asked of the kernel, by its number on x86; the answer is right if it is granted."""
    return CALL + f"found = libc.syscall({', '.join((number, *arguments))})" + GRANTED, None


BODIES: dict[str, tuple[str, str | None]] = {
    # sums
    "busy children": (CHILDREN.format(BUSY, "time.sleep(10_000)"), "in time"),
    "busy children that nobody waits for": (
        "import signal\n    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n    " + CHILDREN.format(BUSY, BUSY),
        "in time",
    ),
    "children that hold memory": (
        # a byte on each page is enough to hold all of it, before the time is up
        CHILDREN.format(
            "held = bytearray(500_000_000); held[::4096] = b'x' * len(held[::4096]); time.sleep(10_000)",
            "time.sleep(10_000)",
        ),
        "more memory",
    ),
    "children of children": (
        "import os, time\n    while True:\n        try:\n            if os.fork(): time.sleep(0.01)\n"
        "        except OSError: time.sleep(10_000)",
        "step: Your function",
    ),
    "busy threads": (
        "import threading\n    def burn():\n        while True: pass\n"
        "    for _ in range(8): threading.Thread(target=burn, daemon=True).start()\n    burn()",
        "in time",
    ),
    "waits for a message that never comes": ("import socket; pair = socket.socketpair(); pair[0].recv(1)", "in time"),
    "waits for itself": ("import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()", "in time"),
    "prints without end": ("while True: print('x' * 10_000)", "in time"),
    "writes an answer without end": (
        "import os\n    while True: os.write(3, b'1,' * 30_000)",
        "far too large",
    ),
    "closes what it answers on": ("import os; os.close(3); return weight", "step: Your function"),
    "a daemon that outlives it": (
        "import os, time\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(10_000)\n    return weight",
        None,
    ),
    # the kernel: by number, on x86
    "asks for the keys of the session": call("250", "0", "-3", "1"),
    "leaves a key for the next": call("248", "b'user'", "b'hint'", "b'answers'", "7", "-4"),
    "asks for io_uring": call("425", "8", "ctypes.create_string_buffer(120)"),
    "asks for userfaultfd": call("323", "1"),
    "a space of users of its own": call("272", "0x10000000"),
    "a child in a space of its own": call("56", "0x10000011", "0", "0", "0", "0"),
    "traces its parent": call("101", "16", "1", "0", "0"),
    "asks for the counters of the processor": call("298", "ctypes.create_string_buffer(128)", "0", "-1", "-1", "0"),
    "asks the machine behind the network": call("41", "40", "1", "0"),
    "memory in a file without a name": call("319", "b'x'", "0"),
    # shapes
    "a list in a list, nine hundred deep": (
        "found = 1.0\n    for _ in range(900): found = [found]\n    return found",
        None,
    ),
    "lists of odd lengths in lists": (
        "return [[[1.0] * (i % 7), [[2.0]] * (i % 3)] for i in range(9_000)]",
        "far too large",
    ),
    "a dictionary": ("return {0: weight}", None),
    "numbers as text": ("return [str(x) for x in (weight - learning_rate * gradient).tolist()]", None),
    "a text of brackets": ('return "[]" * 300_000', None),
    "letters that JSON writes longer": (
        'import os\n    said = b\'{"status": "answers", "answers": ["\' + \'é\'.encode() * 2_000_000 + b\'"]}\'\n'
        "    while said: said = said[os.write(3, said):]\n    os._exit(0)",
        "far too large",
    ),
    "numbers of thousands of digits": ("return [10**5000] * len(weight)", None),
    "numbers too large for anyone": ("return [10**400] * len(weight)", None),
    "terminal escapes in an error": ("raise ValueError('\\x1b]0;all right\\x07\\x1b[2K\\u202e')", None),
    "a formula for a table in an error": ('raise ValueError(\'=HYPERLINK("http://x","right")\')', None),
    # what others may find
    "a note in the time of a device": (f"import os; os.utime('/dev/null', ns=(1, 1)){RIGHT}", ROOM),
    "a note in a lock": (f"import fcntl; fcntl.flock(0, fcntl.LOCK_EX){RIGHT}", ROOM),
    "fills its folder": (f"for n in range(500): open(str(n), 'w').write('x' * 100_000){RIGHT}", ROOM),
    "makes files without end": (f"for n in range(5000): open(str(n), 'w'){RIGHT}", ROOM),
    # what others may have left
    "searches the folders": (
        "import os\n    found = [f for place in ('/tmp', '/dev/shm', '/scratch', '/var', '/home')\n"
        "             if os.path.isdir(place) for f in os.listdir(place)]\n"
        "    return weight - learning_rate * gradient if found else weight",
        None,
    ),
    "searches the environment": (
        "import os\n    found = [v for k, v in os.environ.items() if 'seed' in k.lower() or 'grade' in v.lower()]\n"
        "    return weight - learning_rate * gradient if found else weight",
        None,
    ),
}
