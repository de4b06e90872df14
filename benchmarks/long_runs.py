"""How long the figures of a long record take, and how large it is: 100,000 steps of a network of 100 layers.

    python benchmarks/long_runs.py             # rows as the default schedule gives them, then every step

The numbers are drawn at random, which is the hardest to draw; there is one spike and one NaN. Times are of computing,
on one core: the median of five from the record to the pixels, one for the file. Prints a table and keeps nothing.
"""

import dataclasses
import io
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gradclinic import diagnose, plots
from gradclinic.record import Record

LAYERS, STEPS = 100, 100_000
FIGURES = (
    plots.loss_curve,
    plots.gradient_norms,
    plots.update_ratios,
    plots.weight_growth,
    plots.units,
    plots.gradient_flow,
    plots.dashboard,
)


def record(step: np.ndarray, layers: int = LAYERS) -> Record:
    """A run in which every quantity was recorded at the steps given."""
    rows, generator = len(step), np.random.default_rng(0)

    def quantity(level: np.ndarray | float) -> np.ndarray:
        return level * generator.lognormal(sigma=0.3, size=(rows, layers))

    gradient = quantity(np.logspace(-6, 0, layers))
    gradient[rows // 3, layers // 2] = 1e4
    gradient[rows // 2, layers // 2] = math.nan
    nonfinite = np.isnan(gradient)
    loss = 2.3 / (1 + step / STEPS) * generator.lognormal(sigma=0.1, size=rows)
    share = np.broadcast_to(np.linspace(0, 0.3, rows)[:, None], (rows, layers)).copy()
    return Record(
        layers=tuple(f"layer{n}" for n in range(1, layers + 1)),
        activations=tuple(f"activation{n}" for n in range(1, layers + 1)),
        activation_kinds=("Tanh",) * layers,
        step=step,
        gradient_norm=gradient,
        weight_norm=quantity(np.linspace(3, 4, rows)[:, None]),
        update_norm=quantity(3e-3),
        output_rms=quantity(1.0),
        output_gradient_norm=quantity(np.logspace(-6, 0, layers)),
        saturation=share,
        dead=np.full((rows, layers), math.nan),
        time_ratio=np.full((rows, layers), math.nan),
        loss=loss,
        chance_loss=2.3,
        output_nonfinite=np.zeros_like(nonfinite),
        nonfinite=nonfinite,
        histogram=np.zeros((rows, layers, 0), dtype=np.int64),
    )


def seconds(do: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        start = time.process_time()
        do()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def report(name: str, run: Record, folder: Path) -> None:
    size = sum(getattr(run, field.name).nbytes for field in dataclasses.fields(run) if field.type is np.ndarray)
    rows = f"{len(run.step):,} rows of {STEPS:,} steps"
    print(f"\n{name}: {rows}, {LAYERS} layers, {size / 1e6:.0f} MB in memory", flush=True)
    for figure in FIGURES:
        taken = seconds(lambda draw=figure: draw(run).savefig(io.BytesIO(), dpi=100))
        print(f"  {figure.__name__:16} {taken:6.2f} s", flush=True)
    print(f"  {'diagnose':16} {seconds(lambda: diagnose(run)):6.2f} s")
    path = folder / "run.npz"
    print(f"  {'save':16} {seconds(lambda: run.save(path), 1):6.2f} s, {path.stat().st_size / 1e6:.0f} MB")
    print(f"  {'load':16} {seconds(lambda: Record.load(path), 1):6.2f} s")


def main() -> None:
    early = np.arange(1, 51)
    with tempfile.TemporaryDirectory() as folder:
        report("50 steps, then one in 20", record(np.concatenate([early, np.arange(61, STEPS + 1, 20)])), Path(folder))
        report("every step", record(np.arange(1, STEPS + 1)), Path(folder))


if __name__ == "__main__":
    main()
