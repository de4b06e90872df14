"""Trainings that compare starting weights, ten seeds each.

    python benchmarks/starts.py             # about 15 minutes on one core; keeps book/assets/starts.json
    python benchmarks/starts.py --quick     # the shallowest networks, two seeds; keeps nothing

Finished runs are kept in ``_build/benchmarks``. The pages quote the kept file, because no page may train this long.
"""

import argparse
import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from joblib import Memory
from tqdm import tqdm

from gradclinic.course import theory
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "book" / "assets" / "starts.json"
SEEDS = range(10)
WIDTH = 64
# Schoenholz et al. 2017: how deep can a tanh network of this weight scale be and still learn?
SCALES, DEPTHS = (0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 3.0), (4, 6, 9, 13, 19, 28, 42, 63)
# He et al. 2015, figures 2 and 3: ReLU networks of moderate and of great depth.
HE_DEPTHS, HE_STARTS = (10, 30), ("he", "xavier")
# Saxe et al. 2014, Pennington et al. 2017: the same weight scale, with and without isometry.
ISOMETRY_DEPTHS, ISOMETRY_STARTS = (20, 100), ("lecun", "orthogonal")
# Each activation at its own critical weight scale.
ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid")

_kept = Memory(ROOT / "_build" / "benchmarks", verbose=0)


@_kept.cache
def shares(
    depth: int, activation: str, init: str | float, optimizer: str, settings: dict, epochs: int, seed: int
) -> tuple[list[float], list[float]]:
    """Share of training images and of test images classified rightly after each epoch on the digits."""
    model = MLP(depth, WIDTH, activation, init, seed=seed)
    trainer = getattr(torch.optim, optimizer)(model.parameters(), **settings)
    history = fit(model, digits(), trainer, epochs, seed=seed, progress=False)
    return history.train_accuracy, history.test_accuracy


def rounded(values: list) -> list:
    return np.round(values, 4).tolist()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the shallowest networks, two seeds; keeps nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    seeds = SEEDS[:2] if quick else SEEDS
    momentum, adam = {"lr": 0.005, "momentum": 0.9}, {"lr": 1e-3}
    trained, he, isometry, critical, longer = {}, {}, {}, {}, {}
    with tqdm(desc="starts", unit="network", disable=None) as bar:

        def each(depth: int, activation: str, init: str | float, optimizer: str, settings: dict, epochs: int) -> list:
            found = []
            for seed in seeds:
                found.append(shares(depth, activation, init, optimizer, settings, epochs, seed))
                bar.update()
            return found

        for depth in HE_DEPTHS[:1] if quick else HE_DEPTHS:
            runs = {start: each(depth, "relu", start, "SGD", momentum, 15) for start in HE_STARTS}
            he[str(depth)] = {start: rounded([test for _, test in found]) for start, found in runs.items()}
        for depth in ISOMETRY_DEPTHS[:1] if quick else ISOMETRY_DEPTHS:
            runs = {start: each(depth, "tanh", start, "SGD", momentum, 10) for start in ISOMETRY_STARTS}
            isometry[str(depth)] = {start: rounded([test for _, test in found]) for start, found in runs.items()}
        if not quick:
            for start in ("pytorch", "xavier", "he"):  # more time: three times the rate, 10 epochs
                longer[start] = rounded([test for _, test in each(20, "relu", start, "Adam", {"lr": 3e-3}, 10)])
        for activation in ACTIVATIONS[:1] if quick else ACTIVATIONS:
            scale = round(theory.critical_weight_std(activation), 4)
            runs = {
                name: [test for _, test in each(20, activation, init, "Adam", adam, 6)]
                for name, init in (("critical", scale), ("pytorch", "pytorch"))
            }
            critical[activation] = {"scale": scale} | {name: rounded(found) for name, found in runs.items()}
        for scale in SCALES:
            runs = {depth: each(depth, "tanh", scale, "Adam", adam, 6) for depth in DEPTHS[: 1 if quick else None]}
            length = theory.correlation_length("tanh", scale)
            trained[f"{scale:g}"] = {
                "correlation_length": None if math.isinf(length) else round(length, 4),
                "accuracy": {str(depth): rounded([train[-1] for train, _ in found]) for depth, found in runs.items()},
            }
            at = ", ".join(f"{depth}: {np.median([t[-1] for t, _ in found]):.2f}" for depth, found in runs.items())
            bar.write(f"tanh, weight scale {scale:g}, correlation length {length:.3g}: median accuracy at depth {at}")
    for name, kept in (("ReLU", he), ("tanh", isometry)):
        for depth, runs in kept.items():
            for start, found in runs.items():
                last = np.array(found)[:, -1]
                print(f"{name}, {depth} layers, {start}: {np.median(last):.2f} ({last.min():.2f} to {last.max():.2f})")
    for activation, kept in critical.items():
        for start in ("critical", "pytorch"):
            last = np.array(kept[start])[:, -1]
            at = f"{activation}, 20 layers, {start} start"
            print(f"{at}: {np.median(last):.2f} ({last.min():.2f} to {last.max():.2f})")
    if not quick:
        KEPT.write_text(
            json.dumps(
                {
                    "torch": version("torch"),
                    "seeds": len(SEEDS),
                    "width": WIDTH,
                    "depths": list(DEPTHS),
                    "tanh": trained,
                    "relu": he,
                    "isometry": isometry,
                    "activations": critical,
                    "longer": longer,
                }
            )
            + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
