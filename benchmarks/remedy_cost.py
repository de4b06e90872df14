"""What each remedy costs: time of a training step over that of the plain network, in turns within one process.

    python benchmarks/remedy_cost.py      # keeps the table in book/assets/remedy-cost.json

The networks are those of the league in the book (``gradclinic.course.audit.league.REMEDIES``). Rounds are
interleaved, so that what else the machine does hits all alike, and the plain network runs twice a round: how far its
two times differ is the error.
"""

import argparse
import datetime
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import trange

from gradclinic.course.audit.league import REMEDIES, treat
from gradclinic.course.data import digits

KEPT = Path(__file__).resolve().parent.parent / "book" / "assets" / "remedy-cost.json"


def stepper(remedy: str, x: torch.Tensor, y: torch.Tensor):
    model, clip_norm = treat(remedy, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()

    return step


def measure(rounds: int) -> dict[str, list[float]]:
    """Remedy -> one ratio a round; "nothing again" is the control."""
    torch.set_num_threads(1)
    data = digits()
    x, y = data.x_train[:64], data.y_train[:64]
    steps = {remedy: stepper(remedy, x, y) for remedy in (*REMEDIES, "nothing")}
    steps["nothing again"] = stepper("nothing", x, y)
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    order = np.random.default_rng(0)
    for _ in trange(rounds, desc="rounds", disable=None):
        took = {}
        for name in order.permutation(list(steps)):
            begin = time.process_time()
            for _ in range(5):
                steps[name]()
            took[name] = time.process_time() - begin
        for name, seconds in took.items():
            ratios[name].append(seconds / took["nothing"])
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error(f"--rounds must be at least 5, got {options.rounds}")
    ratios = measure(options.rounds)
    table = {}
    for name, values in ratios.items():
        low, middle, high = (float(np.percentile(values, p)) for p in (25, 50, 75))
        table[name] = {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
        print(f"{name:30} {middle:6.2f}   ({low:.2f} to {high:.2f})")
    kept = {"date": datetime.date.today().isoformat(), "torch": version("torch"), "python": platform.python_version()}
    finished = KEPT.with_suffix(".tmp")
    finished.write_text(json.dumps({**kept, "ratios": table}, indent=1) + "\n")
    finished.replace(KEPT)


if __name__ == "__main__":
    main()
