"""The live lab's JavaScript, asked from Python, and the same networks in PyTorch."""

import base64
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradclinic.course.models import MLP
from tests.helpers import ROOT, absent

SETTINGS: dict[str, Any] = {
    "depth": 3,
    "width": 16,
    "activation": "tanh",
    "start": 1.3,
    "norm": "none",
    "skip": "none",
    "optimizer": "adam",
    "epsilon": 1e-8,
    "rate": 1e-2,
    "decay": 0,
    "clip": 0,
    "seed": 0,
}
FOLDER = ROOT / "gradclinic" / "course" / "live"


def node() -> str:
    """The program, from the virtual environment or the system."""
    found = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        absent("node")
    return str(found)


class Engine:
    """Answers of ``tests/course/live/engine.cjs``, a line for a line."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def ask(self, **question: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the engine has stopped"
        return json.loads(line)


@contextmanager
def engine() -> Iterator[Engine]:
    command = [node(), str(ROOT / "tests" / "course" / "live" / "engine.cjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Engine(process)
        process.stdin.close()


def as_text(values: Tensor | np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def as_numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8")


def flat(tensors: Iterable[Tensor]) -> np.ndarray:
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])


def network(settings: dict[str, Any]) -> MLP:
    """The network of these settings, in float64."""
    skip, depth = settings["skip"], settings["depth"]
    return MLP(
        depth,
        settings["width"],
        settings["activation"],
        settings["start"],
        norm=None if settings["norm"] == "none" else settings["norm"],
        skip=skip != "none",
        branch_scale=1 / depth if skip == "scaled" else 1.0,
        seed=settings["seed"],
    ).double()


def optimizer(settings: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    kind, rate, decay = settings["optimizer"], settings["rate"], settings["decay"]
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, eps=settings["epsilon"], weight_decay=decay)
    momentum = 0.9 if kind == "momentum" else 0.0
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference over the largest number; inf where one is finite and the other not."""
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return math.inf
    known = np.isfinite(one)
    largest = np.abs(other[known]).max(initial=0.0)
    return float(np.abs(one - other)[known].max(initial=0.0) / largest) if largest else 0.0
