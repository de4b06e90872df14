"""Recurrent cells on two tasks, ten seeds each: adding two numbers of 20 and of 50, and digits pixel by pixel.

    python benchmarks/recurrent.py             # about 15 minutes on one core; keeps book/assets/recurrent.json
    python benchmarks/recurrent.py --quick     # two seeds of the shorter adding problem; keeps nothing

Finished runs are kept in ``_build/benchmarks``. The pages quote the kept file, because no page may train this long.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from joblib import Memory
from tqdm import tqdm

from gradclinic.course import audit
from gradclinic.course.data import sequential_digits
from gradclinic.course.models import RecurrentClassifier
from gradclinic.course.training import fit

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "book" / "assets" / "recurrent.json"
SEEDS = range(10)
EPOCHS = {"20": 8, "50": 8}  # of the adding problem, 128 steps each
CELLS = {  # name on the page -> cell, recurrent start, forget bias
    "rnn": ("rnn", "pytorch", None),
    "lstm": ("lstm", "pytorch", None),
    "gru": ("gru", "pytorch", None),
}
READERS = CELLS | {"orthogonal rnn": ("rnn", "orthogonal", None)}

_kept = Memory(ROOT / "_build" / "benchmarks", verbose=0)
adding = _kept.cache(audit.recurrence.adding_run.func)


@_kept.cache
def digit_accuracy(cell: str, start: str, seed: int, epochs: int = 20) -> list[float]:
    """Test accuracy after each epoch on digits as 64 steps: 64 units, Adam at 0.003, clipped at a norm of 1."""
    model = RecurrentClassifier(cell, 64, recurrent_init=start, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = fit(model, sequential_digits(), optimizer, epochs, clip_norm=1.0, seed=seed, progress=False)
    return history.test_accuracy


def rounded(values: list) -> list:
    return np.round(values, 5).tolist()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two seeds of the shorter adding problem; keeps nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    seeds = SEEDS[:2] if quick else SEEDS
    tasks = [("adding", length, name) for length in ("20", "50") for name in CELLS]
    tasks += [("digits", "64", name) for name in READERS]
    if quick:
        tasks = tasks[: len(CELLS)]
    found: dict = {"torch": version("torch"), "seeds": len(seeds), "adding": {"20": {}, "50": {}}, "digits": {}}
    for task, length, name in tqdm(tasks, unit="cell"):
        cell, start, bias = READERS[name]
        if task == "adding":
            runs = [adding(cell, int(length), EPOCHS[length], seed, bias) for seed in seeds]
            found[task][length][name] = {
                "errors": [rounded(run.errors) for run in runs],
                "ratio_before": [run.ratio_before for run in runs],
                "ratio_after": [run.ratio_after for run in runs],
            }
        else:
            found[task][name] = [rounded(digit_accuracy(cell, start, s)) for s in seeds]
    for length, by_cell in found["adding"].items():
        for name, runs in by_cell.items():
            last = np.array(runs["errors"])[:, -1]
            before, after = (np.exp(np.log(runs[f"ratio_{when}"]).mean()) for when in ("before", "after"))
            print(
                f"adding, {length} steps, {name:5}: {last.mean():.4f} ({last.min():.4f} to {last.max():.4f}), "
                f"gradient first/last {before:.1e} before, {after:.1e} after"
            )
    for name, shares in found["digits"].items():
        last = np.array(shares)[:, -1]
        print(f"digits as 64 steps, {name:14}: {last.mean():.2f} ({last.min():.2f} to {last.max():.2f})")
    if not quick:
        KEPT.write_text(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
