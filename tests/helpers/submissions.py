"""What a class hands in: right, wrong, broken, and cunning, each with the marks it deserves."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from tests.helpers import ROOT, hostile, ways
from tools import grade
from tools.grading.marks import find_lab

LAB = "01-gradient-descent"  # the one that the cunning submissions are written for


@dataclass(frozen=True)
class Submission:
    """One learner's folder.

    Attributes:
        files: by name, what is handed in.
        points: of each exercise, what they should get.
        flag: a part of the flag that should be raised; None if there should be none.
        mistakes: of each exercise, the known mistake that should be named.
    """

    files: dict[str, bytes]
    points: dict[str, float]
    flag: str | None = None
    mistakes: dict[str, str] = field(default_factory=dict)


def course(folder: Path, *labs: str) -> Path:
    """A small copy of the project in ``folder``, with these labs released."""
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    for lab in labs:
        for kind in ("solutions", "labs"):
            shutil.copytree(ROOT / kind / lab, folder / kind / lab, dirs_exist_ok=True)
        grade.release(lab, folder)
    return folder


def cell(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    (found,) = (c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)
    return found


def given_out(lab: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "labs" / lab / f"{lab}.ipynb", as_version=4)


def solved(lab: str, only: tuple[str, ...] | None = None) -> nbformat.NotebookNode:
    """The notebook as given out, with the right answers to all exercises, or to some."""
    notebook, source = given_out(lab), nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    for exercise in find_lab(lab).exercises:
        if only is None or exercise.name in only:
            cell(notebook, exercise.name).source = cell(source, exercise.name).source
    return notebook


def written(notebook: nbformat.NotebookNode) -> bytes:
    return nbformat.writes(notebook).encode()


def _all(lab: str) -> dict[str, float]:
    return {exercise.name: exercise.points for exercise in find_lab(lab).exercises}


def zeros(lab: str) -> dict[str, float]:
    return dict.fromkeys(_all(lab), 0)


def of(lab: str, notebook: nbformat.NotebookNode, lost: tuple[str, ...] = (), **more: object) -> Submission:
    """A well-formed submission that earns all points but those of the exercises that are ``lost``."""
    return Submission({f"{lab}.ipynb": written(notebook)}, _all(lab) | dict.fromkeys(lost, 0), **more)


def handful(lab: str) -> dict[str, Submission]:
    """A few for any lab: right, half of it, blank, and a first exercise that goes wrong in several ways."""
    names = tuple(_all(lab))
    kinds = {
        "right": of(lab, solved(lab)),
        "half": of(lab, solved(lab, names[::2]), names[1::2]),
        "blank": of(lab, given_out(lab), names),
    }
    for kind, body, flag in (
        ("returns a text", "return 'yes'", None),
        ("raises", "raise KeyError('lost')", None),
        ("crashes", "import os; os.abort()", "ended the process"),
    ):
        notebook = solved(lab)
        cell(notebook, names[0]).source = f"def {names[0]}(*given):\n    {body}\n"
        kinds[kind] = of(lab, notebook, names[:1], flag=flag)
    return kinds


# Every usual wrong answer of the lab, as a learner would write it.
MISTAKES = {
    "step": {
        "uphill": "return weight + learning_rate * gradient",
        "learning rate forgotten": "return weight - gradient",
        "only the step": "return -learning_rate * gradient",
        "gradient normalised": "return weight - learning_rate * gradient / gradient.norm()",
    },
    "fused_step": {
        "rounded twice": "return weight - learning_rate * gradient",
        "computed in double precision": "return (weight.double() - learning_rate * gradient.double()).float()",
        "uphill": "return torch.add(weight, gradient, alpha=learning_rate)",
    },
    "largest_step": {
        "flattest direction": "return 2 / torch.linalg.eigvalsh(hessian)[0]",
        "one over the curvature": "return 1 / torch.linalg.eigvalsh(hessian).max()",
        "curvature along the axes": "return 2 / hessian.diagonal().max()",
        "sum of the curvatures": "return 2 / hessian.trace()",
    },
    "backpropagate": {
        "slope forgotten": "e = (torch.tanh(x @ w1.T) @ w2.T - y) / len(x)\n"
        "    return [(e @ w2).T @ x, e.T @ torch.tanh(x @ w1.T)]",
        "slope at the output": "h = torch.tanh(x @ w1.T); e = (h @ w2.T - y) / len(x)\n"
        "    return [(e @ w2 * (1 - torch.tanh(h) ** 2)).T @ x, e.T @ h]",
        "mean over the batch forgotten": "h = torch.tanh(x @ w1.T); e = h @ w2.T - y\n"
        "    return [(e @ w2 * (1 - h**2)).T @ x, e.T @ h]",
        "last layer first": "h = torch.tanh(x @ w1.T); e = (h @ w2.T - y) / len(x)\n"
        "    return [e.T @ h, (e @ w2 * (1 - h**2)).T @ x]",
        "half forgotten": "h = torch.tanh(x @ w1.T); e = 2 * (h @ w2.T - y) / len(x)\n"
        "    return [(e @ w2 * (1 - h**2)).T @ x, e.T @ h]",
    },
}
SIGNATURES = {
    "step": "weight, gradient, learning_rate",
    "fused_step": "weight, gradient, learning_rate",
    "largest_step": "hessian",
    "backpropagate": "x, y, w1, w2",
}


def _written_by_itself(reply: object) -> str:
    return (
        "import os\n"
        "    for number in range(3, 64):\n"
        f"        try: os.write(number, {json.dumps(reply).encode()!r})\n"
        "        except OSError: pass\n"
        "    os._exit(0)"
    )


# What a function could try instead of an answer: its body, and the flag that it should raise.
BODIES: dict[str, tuple[str, str | None]] = hostile.BODIES | {
    "returns None": ("pass", None),
    "returns a text": ("return 'right'", None),
    "returns NaN": ("return weight * float('nan')", None),
    "returns far too much": ("return torch.zeros(100_000_000)", "far too large"),
    "calls itself for ever": ("return step(weight, gradient, learning_rate)", None),
    "endless loop": ("while True: pass", "in time"),
    "sleeps for ever": ("import time; time.sleep(10_000)", "in time"),
    "endless loop that ignores signals": (
        "import signal\n"
        "    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "        signal.signal(number, signal.SIG_IGN)\n"
        "    while True: pass",
        "in time",
    ),
    "endless loop that catches everything": (
        "while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "in time",
    ),
    "memory hog": ("held = []\n    while True: held.append(torch.empty(100_000_000))", "more memory"),
    "memory hog in Python": ("held = []\n    while True: held.append(bytes(100_000_000))", "more memory"),
    # each ends itself where no more can start, or is ended when its time is over, whichever comes first; none answers
    "fork bomb": (
        "import os\n    while True:\n        try: os.fork()\n        except OSError: os._exit(1)",
        "step: Your function",
    ),
    "threads without end": (
        "import threading, time\n    while True: threading.Thread(target=time.sleep, args=(1000,)).start()",
        hostile.ROOM,
    ),
    "sys.exit": ("import sys; sys.exit(0)", None),
    "os._exit": ("import os; os._exit(0)", "ended the process"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "ended the process"),
    "kills its parent": ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", None),
    "kills all processes": ("import os, signal; os.kill(-1, signal.SIGKILL)", None),
    "stops its process group": ("import os, signal; os.kill(0, signal.SIGSTOP); return weight", None),
    "kills its process group": ("import os, signal; os.kill(0, signal.SIGKILL); return weight", None),
    "leaves a folder for the next": ("import os; os.mkdir('/scratch/hint'); return weight", None),
    "raises half a surrogate pair": ("raise ValueError(chr(0xD800))", None),
    "raises a script": ("raise ValueError('<script>alert(1)</script>')", None),
    "returns millions of small numbers": ("return [1] * 3_000_000", "far too large"),
    "writes its own verdict": (
        _written_by_itself({"status": "answers", "answers": [0, 0, 0]}),
        "reads what is private",
    ),
    "writes that it is right": (_written_by_itself({"status": "right", "points": 2}), "ended the process"),
    "writes that there is no jail": (_written_by_itself({"status": "refused"}), "ended the process"),
    "writes a list": (_written_by_itself([[]] * 9), "ended the process"),
    "writes a list in a list in a list": (
        "import os\n    os.write(3, b'[' * 60_000)\n    os._exit(0)",
        "far too large",
    ),
    "the package's own reference": (
        "from gradclinic.course.exercises.gradient_descent import STEP\n"
        "    return STEP.reference(weight, gradient, learning_rate)",
        hostile.ROOM,
    ),
    "the solution from the disk": (
        f"text = open('{ROOT}/solutions/{LAB}/{LAB}.ipynb').read()\n    return weight - learning_rate * gradient",
        hostile.ROOM,
    ),
    "another learner's file": ("import pathlib\n    return pathlib.Path('SUBMITTED').read_text()", hostile.ROOM),
    "the gradebook read": (
        "import sqlite3\n    return sqlite3.connect('GRADEBOOK').execute('select * from grade')",
        None,
    ),
    "the gradebook written": (
        "open('GRADEBOOK', 'wb').close()\n    return weight - learning_rate * gradient",
        hostile.ROOM,
    ),
    "the network": (
        "import socket; socket.create_connection(('1.1.1.1', 80), 2)\n    return weight - learning_rate * gradient",
        hostile.ROOM,
    ),
    "loopback": (
        "import socket; socket.create_connection(('127.0.0.1', 22), 2)\n    return weight - learning_rate * gradient",
        hostile.ROOM,
    ),
    "frames searched for what is expected": (
        "import sys, gc\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        for name in ('expected', 'want', 'reference'):\n"
        "            if name in frame.f_locals: return frame.f_locals[name]\n"
        "        frame = frame.f_back\n"
        "    for thing in gc.get_objects():\n"
        "        if type(thing).__name__ in ('Exercise', 'Mistake'): return thing.function(weight, gradient, 0.1)\n"
        "    return weight",
        "reads what is private",
    ),
    "torch's comparison patched": (
        "torch.isclose = torch.allclose = torch.equal = lambda *a, **k: True\n    return weight",
        None,
    ),
    "a tensor that equals everything": (
        "class Same(torch.Tensor):\n"
        "        def __eq__(self, other): return True\n"
        "        def tolist(self): return [self] * 99\n"
        "    return weight.as_subclass(Same)",
        None,
    ),
    "a number that equals everything": (
        "class Same(float):\n"
        "        __eq__ = lambda self, other: True\n"
        "        __ne__ = __lt__ = __gt__ = lambda self, other: False\n"
        "    return [Same()] * len(weight)",
        None,
    ),
}

# Of the many ways of writing the answer: those with which an earlier grader gave 0.
HONEST = ("a line that begins with %", "display inside", "%%time", "%%capture", "a shell's output kept")

# What stands in a cell of its own, before everything or after it, beside right answers.
BESIDE: dict[str, str] = {
    "warnings and much output": "import warnings\nwarnings.warn('look')\nfor i in range(1000): print(i)",
    "an error in a cell of its own": "1 / 0",
    "an endless loop in a cell of its own": "while True: pass",
    "sys.exit in a cell of its own": "import sys; sys.exit()",
    "a cell that is not Python": "%%bash\nrm -rf /\n",
    "magics and a shell": "%load_ext autoreload\n!pip install everything\n?print",
}

# With a wrong first answer: ways to make the friendly check, or the grader, say that it is right.
PATCHES: dict[str, str] = {
    "a comment that is gone over again and again": hostile.GONE_OVER,
    "the check replaced by nothing": (
        "class check:\n    step = fused_step = largest_step = backpropagate = staticmethod(print)"
    ),
    "builtins patched": (
        "import builtins\nbuiltins.abs = builtins.all = builtins.any = lambda *a: True\nbuiltins.len = lambda o: 3"
    ),
    "input transformer": (
        "get_ipython().input_transformers_cleanup.append(lambda lines: [l.replace('check', 'print') for l in lines])"
    ),
    "AST transformer": (
        "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, node): return None\n"
        "get_ipython().ast_transformers.append(Drop())"
    ),
    "the package patched": (
        "import gradclinic.course.exercises\n"
        "gradclinic.course.exercises.Exercise.judge = lambda *a: gradclinic.course.exercises.Verdict('right', 'Right.')"
    ),
}


def _function(name: str, body: str) -> str:
    return f"def {name}({SIGNATURES[name]}):\n    {body}\n"


def _answering(name: str, body: str) -> nbformat.NotebookNode:
    notebook = solved(LAB)
    cell(notebook, name).source = _function(name, body)
    return notebook


def _with(change: Callable[[nbformat.NotebookNode], object]) -> nbformat.NotebookNode:
    notebook = solved(LAB)
    change(notebook)
    return notebook


def _without_checks(notebook: nbformat.NotebookNode) -> None:
    notebook.cells = [c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("grade")]


def _without_metadata(notebook: nbformat.NotebookNode) -> None:
    notebook.metadata = {}
    for c in notebook.cells:
        c.metadata = {}


def _edited(notebook: nbformat.NotebookNode) -> None:
    cell(notebook, "check-step").source = "print('✓ step: Right.')"


def _half_a_pair(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[1].source = chr(0xD800)


def _doubled(notebook: nbformat.NotebookNode) -> None:
    notebook.cells.append(copy.deepcopy(cell(notebook, "step")))


def every_kind(submitted: Path, gradebook: Path) -> dict[str, Submission]:
    """One of each, for ``LAB``. The two paths are those that the cunning ones try to reach."""
    name, zero = f"{LAB}.ipynb", zeros(LAB)
    kinds = handful(LAB)
    for exercise, bodies in MISTAKES.items():
        for mistake, body in bodies.items():
            kinds[f"{exercise}: {mistake}"] = of(
                LAB, _answering(exercise, body), (exercise,), mistakes={exercise: mistake}
            )
    for kind, (body, flag) in BODIES.items():
        aimed = body.replace("SUBMITTED", str(submitted / "right" / LAB / name)).replace("GRADEBOOK", str(gradebook))
        kinds[kind] = of(LAB, _answering("step", aimed), ("step",), flag=flag)
    for way in HONEST:  # tests/grading/test_cells.py tries all of them
        notebook = solved(LAB)
        cell(notebook, "step").source = ways.WAYS[way][-1]
        for source in reversed(ways.WAYS[way][:-1]):
            notebook.cells.insert(2, nbformat.v4.new_code_cell(source))
        kinds[f"honest: {way}"] = of(LAB, notebook)
    for kind, source in BESIDE.items():
        kinds[kind] = of(LAB, _with(lambda n, s=source: n.cells.insert(2, nbformat.v4.new_code_cell(s))))
    for kind, source in PATCHES.items():
        notebook = _answering("step", "return weight")
        notebook.cells.insert(2, nbformat.v4.new_code_cell(source))
        named = "other code cells of theirs" if "step" in source else None
        kinds[kind] = of(LAB, notebook, ("step",), flag=named)
    kinds |= {
        "check cells deleted": of(LAB, _with(_without_checks), flag="cells are missing"),
        "a check cell edited": of(LAB, _with(_edited), flag="were edited: check-step"),
        "all metadata lost": of(LAB, _with(_without_metadata), flag="cells are missing"),
        "an answer twice": of(LAB, _with(_doubled), flag="have the grade id step"),
        "wrong file name": Submission({"homework (1).ipynb": written(solved(LAB))}, _all(LAB), "the file is called"),
        "two wrong names": Submission({f"{i}.ipynb": written(solved(LAB)) for i in "ab"}, zero, "2 notebooks"),
        "nothing at all": Submission({}, zero, "no notebook called"),
        "an empty file": Submission({name: b""}, zero, "not a notebook"),
        "half a file": Submission({name: written(solved(LAB))[:2000]}, zero, "not a notebook"),
        "a picture": Submission({name: b"\x89PNG\r\n\x1a\n" + bytes(range(256))}, zero, "not a notebook"),
        "JSON, but no notebook": Submission({name: b"[1, 2, 3]"}, zero, "not a notebook"),
        "half a surrogate pair in a cell": Submission(
            {name: json.dumps(_with(_half_a_pair)).encode()}, zero, "not a notebook"
        ),
        "cells without a source": Submission(
            {name: json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}).encode()},
            zero,
            "not a notebook",
        ),
        "not UTF-8": Submission(
            {name: written(_answering("step", "# schön\n    return weight - learning_rate * gradient")).decode()
             .encode("latin-1", "replace")},
            _all(LAB),
            "not UTF-8",
        ),
        "with a byte order mark": Submission({name: b"\xef\xbb\xbf" + written(solved(LAB))}, _all(LAB)),
    }  # fmt: skip
    return kinds


def hand_in(kinds: dict[str, Submission], lab: str, submitted: Path) -> dict[str, str]:
    """Write the folders; returns the id of each kind's learner."""
    learners = {}
    for number, (kind, submission) in enumerate(kinds.items()):
        learner = "right" if kind == "right" else f"learner{number:03d}"
        folder = submitted / learner / lab
        folder.mkdir(parents=True)
        for name, content in submission.files.items():
            (folder / name).write_bytes(content)
        learners[kind] = learner
    return learners
