"""Record the runs of the game on the page of the mystery runs, and write `book/assets/patients.json`.

    python benchmarks/patients.py

Each kind is made by one setting that is known to cause it. A setting whose verdict, or whose training, does not agree
on three seeds stops the recording and is named. What the page shows of a run are the numbers of its record.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gradclinic import Recorder, diagnose
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.record import Record
from tools.measurements import write

OUT = Path(__file__).resolve().parent.parent / "book" / "assets" / "patients.json"
SHOWN = 70  # points of a loss curve
WELL = 0.8  # of the test images, or the run is not called healthy

WORDS = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "gelu": "GELU",
    "linear": "linear",
}

# By kind: the settings of one run each. "rate" is for Adam, or for SGD where it is negative.
HEALTHY: list[dict[str, Any]] = [
    {"depth": 3, "activation": "relu", "init": "he", "rate": 3e-3},
    {"depth": 6, "activation": "tanh", "init": "xavier", "rate": 1e-3},
    {"depth": 10, "activation": "relu", "init": "he", "rate": 2e-3, "norm": "batch", "epochs": 8},
    {"depth": 12, "activation": "relu", "init": "he", "rate": 1e-3, "epochs": 6},
    {"depth": 8, "activation": "gelu", "init": "he", "rate": 2e-3, "epochs": 6},
    {"depth": 16, "activation": "tanh", "init": "orthogonal", "rate": 1e-3, "epochs": 5},
    {"depth": 10, "activation": "relu", "init": "he", "rate": 1e-3, "skip": True, "branch_scale": 0.3, "epochs": 5},
    {"depth": 2, "activation": "sigmoid", "init": "xavier", "rate": 5e-3, "epochs": 8},
    {"depth": 4, "activation": "relu", "init": "he", "rate": -0.3, "epochs": 8},
]
ILL: dict[str, list[dict[str, Any]]] = {
    "vanishing": [
        {"depth": 10, "activation": "sigmoid", "init": "xavier", "rate": 1e-3},
        {"depth": 14, "activation": "sigmoid", "init": "pytorch", "rate": 1e-2},
        {"depth": 12, "activation": "sigmoid", "init": "he", "rate": -0.3},
        {"depth": 25, "activation": "tanh", "init": 0.5, "rate": -0.1},
        {"depth": 20, "activation": "relu", "init": "pytorch", "rate": -0.1},
        {"depth": 30, "activation": "linear", "init": 0.6, "rate": -0.05},
        {"depth": 18, "activation": "gelu", "init": "pytorch", "rate": -0.1},
    ],
    "exploding": [
        {"depth": 20, "activation": "tanh", "init": 4.0, "rate": -0.01},
        {"depth": 16, "activation": "tanh", "init": 6.0, "rate": -0.02},
        {"depth": 14, "activation": "relu", "init": 4.0, "rate": -1e-4},
        {"depth": 12, "activation": "linear", "init": 3.0, "rate": -1e-4},
        {"depth": 12, "activation": "leaky_relu", "init": 4.5, "rate": -1e-5},
        {"depth": 30, "activation": "tanh", "init": 5.0, "rate": 1e-4},
    ],
    "overflow": [
        {"depth": 60, "activation": "relu", "init": 30.0, "rate": 1e-3},
        {"depth": 40, "activation": "linear", "init": 20.0, "rate": 1e-3},
        {"depth": 50, "activation": "relu", "init": 16.0, "rate": -0.1},
        {"depth": 36, "activation": "leaky_relu", "init": 30.0, "rate": -0.01},
        {"depth": 30, "activation": "linear", "init": 40.0, "rate": -0.01},
        {"depth": 45, "activation": "gelu", "init": 25.0, "rate": 1e-3},
    ],
    "dying ReLU": [
        {"depth": 5, "activation": "relu", "init": "he", "rate": 1e-3, "bias": (2, -30.0)},
        {"depth": 8, "activation": "relu", "init": "he", "rate": 3e-3, "bias": (4, -30.0)},
        {"depth": 3, "activation": "relu", "init": "he", "rate": -0.1, "bias": (0, -30.0)},
        {"depth": 6, "activation": "relu", "init": "he", "rate": -0.05, "bias": (5, -30.0)},
        {"depth": 10, "activation": "relu", "init": "he", "rate": 1e-3, "bias": (7, -30.0)},
        {"depth": 4, "activation": "relu", "init": "xavier", "rate": 2e-3, "bias": (1, -30.0)},
    ],
    "saturated": [
        {"depth": 6, "activation": "tanh", "init": "xavier", "rate": -0.05, "bias": (3, 6.0)},
        {"depth": 4, "activation": "tanh", "init": "xavier", "rate": 1e-3, "bias": (2, 8.0)},
        {"depth": 8, "activation": "tanh", "init": "orthogonal", "rate": -0.1, "bias": (6, 15.0)},
        {"depth": 3, "activation": "tanh", "init": "xavier", "rate": -0.1, "bias": (1, 18.0)},
        {"depth": 5, "activation": "tanh", "init": "xavier", "rate": 1e-3, "bias": (4, 16.0)},
    ],
    "learning rate too high": [
        {"depth": 6, "activation": "relu", "init": "he", "rate": 0.5},
        {"depth": 4, "activation": "relu", "init": "he", "rate": -10.0},
        {"depth": 3, "activation": "tanh", "init": "xavier", "rate": -30.0},
        {"depth": 5, "activation": "tanh", "init": "xavier", "rate": 1.0},
        {"depth": 8, "activation": "gelu", "init": "he", "rate": 0.3},
        {"depth": 2, "activation": "relu", "init": "he", "rate": -20.0},
        {"depth": 4, "activation": "linear", "init": "xavier", "rate": -3.0},
    ],
    "learning rate too low": [
        {"depth": 4, "activation": "relu", "init": "he", "rate": 1e-7},
        {"depth": 8, "activation": "tanh", "init": "xavier", "rate": 3e-7},
        {"depth": 3, "activation": "gelu", "init": "he", "rate": -1e-6},
        {"depth": 6, "activation": "relu", "init": "he", "rate": -1e-6},
        {"depth": 10, "activation": "relu", "init": "he", "rate": 1e-7, "norm": "batch"},
        {"depth": 2, "activation": "sigmoid", "init": "xavier", "rate": -1e-5},
    ],
}


BANK = {"healthy": HEALTHY, **ILL}


def trained(settings: dict[str, Any], seed: int) -> tuple[Record, float]:
    """One run on the digits, recorded in every step, and its accuracy on the test images at the end."""
    settings = dict(settings)
    rate, epochs, bias = settings.pop("rate"), settings.pop("epochs", 3), settings.pop("bias", None)
    model = MLP(width=48, seed=seed, **settings)
    if bias is not None:  # so far out that no input of this size brings a unit back
        layers = [module for module in model if isinstance(module, nn.Linear)]
        nn.init.constant_(layers[bias[0]].bias, bias[1])
    kind = torch.optim.Adam if rate > 0 else torch.optim.SGD
    recorder = Recorder(model, every=1)
    history = fit(
        model,
        digits(),
        kind(model.parameters(), abs(rate)),
        epochs,
        batch_size=71,
        seed=seed,
        progress=False,
        recorder=recorder,
    )
    return recorder.record, history.test_accuracy[-1]


def rounded(value: float) -> float | None:
    """Four digits; None for what JSON has no number for."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _list(values: np.ndarray) -> list[float | None]:
    return [rounded(float(value)) for value in values]


def _largest(values: np.ndarray) -> float | None:
    """Of the layers; None where no layer has a unit that can be so, or none was seen."""
    known = values[np.isfinite(values)]
    return rounded(float(known.max())) if known.size else None


def patient(kind: str, settings: dict[str, Any], record: Record) -> dict[str, Any]:
    """What the game shows: losses, the gradient of each layer in the first and in the last step, and a few numbers.

    The gradient of a layer is the norm of that at its pre-activations; the layers are those with weights of their own.
    """
    layers = [i for i, name in enumerate(record.layers) if name.startswith("layer") or name == "readout"]
    steps = np.unique(np.linspace(0, len(record.step) - 1, SHOWN).round().astype(int))
    gradient, updates = record.output_gradient_norm[:, layers], record.update_ratio
    with np.errstate(invalid="ignore"):
        early = np.nanmax(np.where(np.isfinite(updates[:10]), updates[:10], np.nan))
        usual = np.nanmedian(np.where(np.isfinite(updates), updates, np.nan))
    bad = ~np.isfinite(record.loss) | record.nonfinite.any(1) | record.output_nonfinite.any(1)
    return {
        "kind": kind,
        "network": f"{settings['depth']} {WORDS[settings['activation']]} layer{'s' * (settings['depth'] > 1)}",
        "chance": rounded(record.chance_loss),
        "steps": record.step[steps].tolist(),
        "loss": _list(record.loss[steps]),
        "first": _list(gradient[0]),
        "last": _list(gradient[-1]),
        "ratio": rounded(float(gradient[0, 0] / gradient[0, -2])) if gradient[0, -2] != 0 else None,
        "largest_update": rounded(float(early)),
        "usual_update": rounded(float(usual)),
        "dead": [None if bad[row] else _largest(record.dead[row]) for row in (0, -1)],
        "saturated": [None if bad[row] else _largest(record.saturation[row]) for row in (0, -1)],
        "broken": int(record.step[bad.argmax()]) if bad.any() else None,
    }


def main() -> None:
    torch.set_num_threads(1)
    found, doubtful = [], []
    for kind, settings in BANK.items():
        for number, setting in enumerate(settings):
            for seed in (number, number + 100, number + 200):
                record, accuracy = trained(setting, seed)
                said = diagnose(record).kind
                if said != kind or (accuracy >= WELL) != (kind == "healthy"):
                    doubtful.append(f"{kind} {setting}, seed {seed}, is called {said}, accuracy {accuracy:.2f}")
                if seed == number:
                    found.append(patient(kind, setting, record))
    if doubtful:
        sys.exit("\n".join(doubtful))
    write(json.dumps(found, separators=(",", ":")) + "\n", OUT)
    counts = {kind: sum(one["kind"] == kind for one in found) for kind in BANK}
    print(f"{len(found)} runs in {OUT.stat().st_size / 1e3:.0f} kB: {counts}")


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main()
