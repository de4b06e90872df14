"""How long a step of the live lab takes beside the same step in PyTorch, one thread each: ReLU, Adam, batches of 64.

    python benchmarks/live.py

Rounds alternate, and the median of the rounds' ratios is told. The lab's step includes what it records of every layer;
PyTorch's is the eager step alone. Node runs the same engine as Chromium.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gradclinic.course.models import MLP
from tests.helpers.live import node

SCRIPT = Path(__file__).with_suffix(".cjs")


def in_torch(depth: int, width: int, steps: int) -> float:
    """Milliseconds a step."""
    torch.manual_seed(0)
    x, t = torch.randn(64, 64), torch.randint(10, (64,))
    model = MLP(depth, width, "relu", "he", seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for step in range(20 + steps):
        if step == 20:
            began = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(model(x), t).backward()
        optimizer.step()
    return 1000 * (time.perf_counter() - began) / steps


def in_node(depth: int, width: int, steps: int) -> float:
    command = [node(), str(SCRIPT), str(depth), str(width), str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for depth, width in ((5, 32), (20, 32), (30, 32), (20, 64), (30, 64)):
        pairs = [
            (in_node(depth, width, arguments.steps), in_torch(depth, width, arguments.steps))
            for _ in range(arguments.rounds)
        ]
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{depth:2} layers of {width}: {ours:5.2f} ms, PyTorch {theirs:5.2f} ms, ratio {ratio:.2f}", flush=True)
