"""The live lab's verdict is that of ``diagnose``: the same kind, layers and sentences, on real and on odd records."""

import base64
import functools
import json
import math
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gradclinic import recordfile
from gradclinic.course import live
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.diagnosis import diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.rules import limits
from tests.helpers.live import FOLDER, node

SCRIPT = FOLDER / "verdict.js"
DRIVER = Path(__file__).with_name("verdicts.cjs")
LIMITS = live.thresholds()
USED = sorted(set(re.findall(r"limits\.([A-Z_]+)", SCRIPT.read_text())))

# What the lab exports. All else is as in a record whose maker did not give it.
LISTS = ("step", "loss", "input_rms", "answer_rms", "answer_low", "answer_high", "answer_spread", "answer_gradient")
TOLD = ("told_step", "told_loss")
SIZES = ("gradient_norm", "weight_norm", "update_norm", "output_rms", "output_gradient_norm", "entering_rms")
UNITS = ("saturation", "dead")
SETTINGS = ("learning_rate", "momentum", "weight_decay", "epsilon", "decoupled")
FLAGS = ("output_nonfinite", "nonfinite")
ARRAYS = (*LISTS, *TOLD, *SIZES, *UNITS, *SETTINGS, *FLAGS)
FIRST_BAD = ("first_bad_loss", "first_bad_answer", "first_bad_weights")
NAMES = ("layers", "activations", "activation_kinds", "layer_kinds", "bad_weights")
OTHERS = (*NAMES, *FIRST_BAD, "last_step", "chance_loss", "answer_rms_before", "loss_kind")

CHANCE = 2.3026


# --- records ---------------------------------------------------------------------------------------------------------


def exported(record: Record) -> Record:
    """With nothing in it that the lab does not export."""
    steps, layers = record.gradient_norm.shape
    new = {name for name in recordfile.SHAPES if name not in ("time_ratio", "histogram", *ARRAYS)}
    unknown: dict[str, Any] = {name: recordfile.unknown(name, steps, layers) for name in new}
    unknown |= {"time_ratio": np.full((steps, layers), math.nan), "histogram": np.zeros((steps, layers, 0), int)}
    unknown |= {"first_bad_input": None} | dict.fromkeys(("guessing_loss", "target_low", "target_high"), math.nan)
    return replace(record, **unknown, loss_kind="cross-entropy", idle_passes=0)


def begun(record: Record, steps: int) -> Record:
    """What the record was after so many steps."""
    shapes = recordfile.SHAPES.items()
    kept = {name: getattr(record, name)[:steps] for name, _ in shapes}  # each step has a row, and a told loss
    bad = {name: None if (getattr(record, name) or math.inf) > steps else getattr(record, name) for name in FIRST_BAD}
    weights = record.bad_weights if bad["first_bad_weights"] is not None else ()
    before = record.answer_rms_before if bad["first_bad_answer"] is not None else math.nan
    return replace(record, **kept, **bad, last_step=steps, bad_weights=weights, answer_rms_before=before)


class Run(NamedTuple):
    """A setting of the lab's controls."""

    depth: int
    activation: str
    init: str | float
    optimizer: str  # "sgd", "momentum" or "adam"
    rate: float
    steps: int = 60
    norm: str | None = None
    skip: str = "none"
    decay: float = 0.0
    epsilon: float = 1e-8
    clip: float = math.inf
    scale: float = 1.0  # of the inputs
    later: float = 1.0  # from step 20 on the learning rate is multiplied by this
    width: int = 16


RUNS = {
    "well": Run(3, "relu", "he", "adam", 5e-3, steps=100),
    "well, with momentum": Run(2, "tanh", "xavier", "momentum", 0.05, steps=100),
    "one layer": Run(1, "gelu", "pytorch", "adam", 3e-2),
    "vanishing": Run(8, "sigmoid", "xavier", "sgd", 0.1, steps=35),
    "exploding": Run(8, "linear", 3.0, "sgd", 1e-4, steps=35),
    "exploding, then overflow": Run(8, "leaky_relu", 6.0, "sgd", 0.3, steps=45),
    "rising, then overflow": Run(4, "linear", "he", "momentum", 3.0, steps=45),
    "overflow at once": Run(6, "linear", 1e6, "sgd", 2.0, steps=5, skip="plain"),
    "overflow after a step": Run(3, "leaky_relu", 1e6, "momentum", 2.3e3, steps=5),
    "dead by underflow": Run(11, "relu", 1e-4, "sgd", 1.0, steps=35),
    "dead by large steps": Run(3, "relu", "he", "sgd", 0.05, later=100.0),
    "saturated": Run(2, "tanh", 20.0, "sgd", 0.05, steps=40),
    "saturated by large steps": Run(3, "tanh", "xavier", "momentum", 5.0),
    "too high, and well": Run(4, "silu", "he", "adam", 1.0, norm="layer", skip="scaled"),
    "too low": Run(3, "relu", "he", "sgd", 1e-5, steps=35),
    "slow": Run(3, "relu", "he", "sgd", 5e-3, steps=100),
    "taken away": Run(2, "tanh", "xavier", "sgd", 0.02, later=1e-3),
    "diverging": Run(2, "relu", "he", "momentum", 0.45, later=12.0, decay=0.01, clip=1.0),
    "decay": Run(3, "tanh", "xavier", "sgd", 0.1, decay=3.0, steps=40),
    "decay with Adam": Run(3, "leaky_relu", "he", "adam", 1e-2, norm="batch", decay=0.5, steps=100),
    "large inputs": Run(2, "tanh", "xavier", "sgd", 0.05, scale=100.0, steps=35),
    "small inputs": Run(2, "silu", "he", "adam", 1e-3, scale=1e-3, steps=35),
    "skips": Run(10, "relu", "he", "adam", 1e-3, skip="plain"),
    "clipped": Run(5, "gelu", "he", "momentum", 0.3, norm="batch", skip="plain", clip=0.1),
    "collapsed": Run(4, "sigmoid", "lecun", "adam", 1e-2, norm="layer", epsilon=0.1, width=24),
}
LENGTHS = (0, 1, 2, 3, 5, 6, 9, 12, 20, 29, 30, 31, 40, 45, 60, 100)


@functools.cache
def trained(run: Run, seed: int = 0) -> Record:
    """A training as the lab makes it, by PyTorch."""
    branch = 1 / run.depth if run.skip == "scaled" else 1.0
    skip = run.skip != "none"
    model = MLP(
        run.depth, run.width, run.activation, run.init, norm=run.norm, skip=skip, branch_scale=branch, seed=seed
    )
    optimizer: torch.optim.Optimizer
    if run.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), run.rate, eps=run.epsilon, weight_decay=run.decay)
    else:
        momentum = 0.9 if run.optimizer == "momentum" else 0.0
        optimizer = torch.optim.SGD(model.parameters(), run.rate, momentum=momentum, weight_decay=run.decay)
    data, generator = digits(), torch.Generator().manual_seed(seed)
    with Recorder(model, every=1, chance_loss=CHANCE) as recorder:
        for step in range(run.steps):
            if step == 20:
                optimizer.param_groups[0]["lr"] *= run.later
            batch = torch.randint(len(data.x_train), (64,), generator=generator)
            optimizer.zero_grad()
            loss = cross_entropy(model(run.scale * data.x_train[batch]), data.y_train[batch])
            recorder.log_loss(loss)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), run.clip)
            optimizer.step()
    return exported(recorder.record)


# --- the other side --------------------------------------------------------------------------------------------------


def encoded(record: Record) -> dict[str, Any]:
    """As JSON that keeps every bit."""
    held: dict[str, Any] = {name: getattr(record, name) for name in OTHERS}
    held = {name: "nan" if value != value else value for name, value in held.items()}
    for name in ARRAYS:
        array = np.ascontiguousarray(getattr(record, name), dtype="<f8")
        held[name] = {"shape": array.shape, "numbers": base64.b64encode(array.tobytes()).decode()}
    return held


def in_node(records: Iterable[Record], **more: object) -> Any:
    """What the driver answers: see there."""
    told = json.dumps({"records": [encoded(record) for record in records], **more})
    ended = subprocess.run([node(), str(DRIVER)], input=told, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@functools.cache
def expected(record: Record) -> dict[str, Any]:
    """What diagnose answers."""
    with np.errstate(all="ignore"):
        found = diagnose(record)
    return {"kind": found.kind, "layers": list(found.layers), "evidence": [str(line) for line in found.evidence]}


def differences(records: dict[str, Record]) -> dict[str, tuple[Any, Any]]:
    """What Python and JavaScript say of those records of which they do not say the same."""
    said = in_node(records.values(), limits=LIMITS)["answers"]
    pairs = {name: (expected(record), answer) for (name, record), answer in zip(records.items(), said, strict=True)}
    return {name: (python, script) for name, (python, script) in pairs.items() if python != script}


# --- odd records -----------------------------------------------------------------------------------------------------

Draw = np.random.Generator


def near(draw: Draw, *bounds: float) -> float:
    """A little below one of them, or a little above."""
    return float(draw.choice(bounds) * draw.choice([0.7, 0.9, 0.999, 1.001, 1.1, 1.3]))


def trend(record: Record, draw: Draw) -> dict[str, Any]:
    """What is measured grows or fades along the run."""
    name = str(draw.choice([*SIZES, *LISTS[2:]]))
    values = getattr(record, name)
    factors = np.exp(np.linspace(0, draw.uniform(-12, 12), len(values)))
    return {name: values * (factors if values.ndim == 1 else factors[:, None])}


def slope(record: Record, draw: Draw) -> dict[str, Any]:
    """The gradient grows or fades along the layers, and may be known of the weights only."""
    name = str(draw.choice(["output_gradient_norm", "gradient_norm"]))
    count = len(record.layers) - 1
    ratio = near(draw, limits.EXPLODES_ABOVE, limits.VANISHES_BELOW)
    values = np.append(np.geomspace(ratio, 1, count) if count > 1 else np.ones(count), 1.0)
    changed = {name: np.tile(values, (len(record.step), 1))}
    unknown = {"output_gradient_norm": np.full_like(record.gradient_norm, math.nan)}
    return changed if name == "output_gradient_norm" else changed | unknown


def holes(record: Record, draw: Draw) -> dict[str, Any]:
    """Some of it, or all, is unknown, 0 or too large for a number."""
    name = str(draw.choice([*SIZES, *LISTS[2:]]))
    values = getattr(record, name).copy()
    values[draw.random(values.shape) < draw.choice([0.02, 0.5, 1.0])] = draw.choice([math.nan, 0.0, math.inf])
    return {name: values}


def rows_lost(record: Record, draw: Draw) -> dict[str, Any]:
    """Units, answers or gradients were looked at only for a while."""
    names = ((*UNITS,), LISTS[3:], ("gradient_norm",), ("output_gradient_norm",))[draw.integers(4)]
    start, stop = sorted(draw.integers(0, len(record.step) + 1, 2))
    changed = {name: getattr(record, name).copy() for name in names}
    for values in changed.values():
        values[start:stop] = math.nan
    return changed


def layers_lost(record: Record, draw: Draw) -> dict[str, Any]:
    """No gradient, or one of 0, in some layers: near the input, near the output, or in all; perhaps one comes later."""
    values, edge = record.gradient_norm.copy(), int(draw.integers(len(record.layers)))
    which = (slice(edge), slice(edge, None), slice(None))[draw.integers(3)]
    start = int(draw.integers(1, 6)) if draw.random() < 0.5 else len(values)
    values[:start, which] = draw.choice([math.nan, 0.0])
    changed = {"gradient_norm": values}
    if draw.random() < 0.3:  # the fourth step is the first in which the gradient fades along the layers
        fades = np.arange(len(record.layers))[::-1] * np.arange(len(values))[:, None]
        changed["output_gradient_norm"] = 10.0 ** (-1.2 * fades / max(1, len(record.layers) - 2))
    if draw.random() < 0.2:
        changed["output_rms"] = record.output_rms * math.nan
    return changed


def stuck(record: Record, draw: Draw) -> dict[str, Any]:
    """Units are dead or saturated; some shares lie between two percentages."""
    name = str(draw.choice(UNITS))
    values = getattr(record, name).copy()
    start = int(draw.choice([0, len(values) // 2]))
    values[start:] = draw.choice([0.3, 0.895, 0.9, 0.905, 0.985, 0.995, 1.0], values[start:].shape)
    return {name: values}


def squeezed(record: Record, draw: Draw) -> dict[str, Any]:
    """The answers keep to the range of a sigmoid, a ReLU or a tanh, or are one number."""
    low, high = record.answer_low, record.answer_high
    one = np.full(len(low), draw.choice([0.0, 0.25, -1234567.5, 1e-5]))
    mostly = np.where(np.arange(len(low)) < near(draw, limits.IN_ALL) * len(low), 0, 0.2)
    ends = [
        (np.clip(low, 0, 0.3), np.clip(high, 0, 1)),
        (np.clip(low, 0, 0.3), high),
        (np.clip(low, -draw.choice([0.95, 1.0, 1.01]), 1), np.clip(high, -1, draw.choice([0.95, 1.0]))),
        *[(mostly, high + 1)] * 3,
        (one, one),
    ]
    low, high = ends[draw.integers(len(ends))]
    return {"answer_low": low, "answer_high": high}


def pulled(record: Record, draw: Draw) -> dict[str, Any]:
    """The weights shrink under a weight decay, or under a penalty; something may be learnt all the same."""
    weights = record.weight_norm * np.linspace(1, near(draw, 0.5, 0.1), len(record.step))[:, None]
    changed = {"weight_norm": weights}
    if draw.random() < 0.3:
        changed["told_loss"] = 0.5 * record.told_loss
    if draw.random() < 0.5:
        ratio = near(draw, 1.0) * np.exp(np.linspace(0, near(draw, 0.1), weights.shape[1]))
        return changed | {"gradient_norm": weights * ratio}
    rate, scatter = near(draw, limits.DECAY_RULES), np.exp(draw.normal(size=weights.shape))
    gradients = weights * (scatter if draw.random() < 0.5 else 1.0)
    return changed | {"gradient_norm": gradients, "weight_decay": np.full_like(weights, rate)}


def small_steps(record: Record, draw: Draw) -> dict[str, Any]:
    """Updates that get nowhere, though some may be usual; the first loss may be below that of guessing."""
    size = near(draw, limits.UPDATE_TOO_SMALL, limits.UPDATE_TOO_SMALL, 3 * limits.UPDATE_TOO_SMALL)
    values, start = record.weight_norm * size, int(draw.choice([0, 0, 0, 5, 9]))
    values[:start] *= draw.choice([2, 2.9, 3.1, 9])
    told = record.told_loss.copy()
    if draw.random() < 0.3:
        told[0] = near(draw, 0.8) * record.chance_loss
    return {"update_norm": values, "told_loss": told}


def large_steps(record: Record, draw: Draw) -> dict[str, Any]:
    """Updates that change much: all of them, the first ones, or those that come later, in all layers or in some."""
    scatter = np.exp(draw.choice([0.0, 0.1]) * draw.normal(size=record.update_norm.shape))
    first = int(draw.choice([0, 0, 5, 9, 10, len(record.step) - 3, len(record.step) - 2]))
    values = record.update_norm.copy()
    values[first:] = (record.weight_norm * near(draw, limits.UPDATE_TOO_LARGE, 0.95) * scatter)[first:]
    values[:, : draw.integers(len(record.layers))] *= draw.choice([1.0, 1.0, 0.0, 1e3])
    return {"update_norm": values}


def scheduled(record: Record, draw: Draw) -> dict[str, Any]:
    """Another learning rate from some step on, and perhaps the old one again."""
    first, last = sorted(draw.integers(1, len(record.step) + 1, 2))
    rates = record.learning_rate.copy()
    rates[first : last if draw.random() < 0.3 else None] *= near(draw, limits.RATE_TAKEN_AWAY)
    return {"learning_rate": rates}


def losses(record: Record, draw: Draw) -> dict[str, Any]:
    """A loss that goes up and down, more or less smoothly, over some powers of ten."""
    count = len(record.told_loss)
    size = draw.choice([0.1, 1.0, 6.0])
    curve = np.interp(np.linspace(0, 1, count), [0, 0.2, 0.5, 0.8, 1], 0.8 + draw.uniform(-size, size, 5))
    return {"told_loss": np.exp(curve + draw.choice([0, 0.01, 0.3]) * draw.normal(size=count))}


def falling(record: Record, draw: Draw) -> dict[str, Any]:
    """A loss that falls to some share of the best constant answer's, slowly, or at once."""
    share = near(draw, limits.LEARNS_BELOW, limits.LEARNS_WELL_BELOW, 0.9, 0.05)
    slow = np.linspace(1.02, share, len(record.told_loss)) ** draw.choice([0.3, 1.0, 2.0])
    values = slow if draw.random() < 0.6 else np.full_like(slow, share)
    scatter = draw.choice([0.003, 0.02, 0.1]) * draw.normal(size=len(values))
    return {"told_loss": record.chance_loss * values * np.exp(scatter)}


def risen(record: Record, draw: Draw) -> dict[str, Any]:
    """A loss that falls and rises again, beside answers that grow."""
    top = near(draw, limits.RISES_ABOVE, limits.RISES_FAR_ABOVE)
    count, answers = len(record.told_loss), len(record.step)
    curve = np.interp(np.linspace(0, 1, count), [0, 0.4, draw.choice([0.6, 0.9]), 1], [1, 0.6, 0.6 * top, 0.6 * top])
    grows = np.linspace(1, near(draw, limits.RISES_FAR_ABOVE), answers)
    return {"told_loss": CHANCE * curve * np.exp(0.01 * draw.normal(size=count)), "answer_rms": grows}


def leap(record: Record, draw: Draw) -> dict[str, Any]:
    """One loss, or all from there on, of another kind."""
    values = record.told_loss.copy()
    where = int(draw.choice([0, 1, 3, 20, 21])) % len(values)
    until = None if draw.random() < 0.3 else where + 1
    usual = near(draw, limits.LOSS_JUMPS_ABOVE) * values[0]
    values[where:until] = draw.choice([usual, usual, usual, -1.0, 0.0, 1e-3, 1e9, math.nan])
    return {"told_loss": values}


def far_off(record: Record, draw: Draw) -> dict[str, Any]:
    """The first loss is far above that of guessing, and so may the first answers be."""
    values, answers = record.told_loss.copy(), record.answer_rms.copy()
    values[0] = near(draw, limits.LOSS_EXPLODES_ABOVE) * record.chance_loss
    answers[0] = draw.choice([1.0, 100.0, math.sqrt(near(draw, 0.1) * abs(values[0]))])
    return {"told_loss": values, "answer_rms": answers}


def untold(record: Record, draw: Draw) -> dict[str, Any]:
    """The first losses were not told, or none was."""
    start = int(draw.choice([1, 4, len(record.told_loss)]))
    return {"told_loss": record.told_loss[start:], "told_step": record.told_step[start:]}


def broken(record: Record, draw: Draw) -> dict[str, Any]:
    """From some step on, or only there, outputs, gradients, weights, answers or losses are inf or NaN."""
    start = int(draw.integers(len(record.step)))
    stop = None if draw.random() < 0.6 else start + 1
    step = int(record.step[start])
    changed: dict[str, Any] = {}
    for name in FLAGS:
        if draw.random() < 0.4:
            flags = getattr(record, name).copy()
            flags[start:stop, int(draw.integers(len(record.layers))) :] = True
            changed[name] = flags
    if draw.random() < 0.3 and len(record.told_loss) == len(record.step):
        values = record.told_loss.copy()
        values[start:stop] = draw.choice([math.nan, math.inf])
        changed |= {"told_loss": values, "first_bad_loss": step}
    if draw.random() < 0.4:
        before = near(draw, limits.GROWN, limits.GROWN * float(np.nan_to_num(record.answer_rms[0])))
        changed |= {"first_bad_answer": step + int(draw.integers(2)), "answer_rms_before": before}
    if draw.random() < 0.4:
        changed |= {"first_bad_weights": step, "bad_weights": record.layers[: draw.integers(3)]}
        if draw.random() < 0.5:
            weights = record.weight_norm.copy()
            weights[start:stop] = math.nan
            changed["weight_norm"] = weights
    return changed


def blown_up(record: Record, draw: Draw) -> dict[str, Any]:
    """The signal grows through the layers, until it is not finite in the last one."""
    outputs = np.geomspace(1, near(draw, limits.GROWN**3), len(record.layers)) * draw.choice([1e-20, 1, 3e14])
    flags = np.zeros_like(record.output_nonfinite)
    flags[-1, -1] = True
    if draw.random() < 0.3:
        outputs = np.geomspace(1, near(draw, limits.HUGE), len(record.layers))
    sizes, given = np.tile(outputs, (len(record.step), 1)), record.entering_rms.copy()
    sizes[-1, -1] = draw.choice([math.nan, math.inf])
    large = near(draw, LIMITS["PRODUCT"]) / max(float(record.weight_norm[-1, -1]), 1e-3)
    given[-1, -1] = draw.choice([math.nan, 1.0, math.inf, large, large])
    return {"output_rms": sizes, "output_nonfinite": flags, "entering_rms": given}


def grown(record: Record, draw: Draw) -> dict[str, Any]:
    """Before numbers are no longer finite, the loss or what one layer has grows."""
    flags = record.nonfinite.copy()
    flags[-1, draw.integers(len(record.layers))] = True
    name = str(draw.choice(["output_rms", "weight_norm", "gradient_norm", "told_loss"]))
    values, factor = getattr(record, name).copy(), near(draw, limits.GROWN, 30 * limits.GROWN)
    if name == "told_loss":
        values[-int(draw.integers(1, 6)) :] *= factor
    else:
        values[-4:, draw.integers(len(record.layers))] *= factor
    return {"nonfinite": flags, name: values}


def scaled(record: Record, draw: Draw) -> dict[str, Any]:
    """Inputs of another size, which may be too much for the units."""
    size = near(draw, limits.INPUT_LARGE, limits.INPUT_SMALL, 1234567.0)
    flat = np.full_like(record.saturation, draw.choice([0.1, 0.95]))
    return {"input_rms": np.full(len(record.step), size), "saturation": flat}


def alike(record: Record, draw: Draw) -> dict[str, Any]:
    """The answers come to differ by less and less."""
    told = record.told_loss[np.isfinite(record.told_loss)]
    least = math.sqrt(limits.SAME_ANSWERS * abs(float(np.median(told)))) if len(told) else 1.0
    least = max(least, 1e-6)
    differ = np.geomspace(draw.choice([1.0, 10.0, 100.0]) * least, near(draw, least), len(record.step))
    size = near(draw, limits.SAME_BELOW**-1, limits.SAME_BELOW**-1, 2.0, 50.0)
    changed = {"answer_spread": differ, "answer_rms": np.full_like(differ, differ[-1] * size)}
    if draw.random() < 0.3:  # and nothing else was asked for
        changed["told_loss"] = CHANCE * np.maximum(np.geomspace(1, 1e-3, len(record.told_loss)), near(draw, 0.05))
        changed["answer_spread"] = np.maximum(np.geomspace(1, 1e-3, len(differ)), near(draw, 0.1))
        changed["answer_rms"] = changed["answer_spread"] / near(draw, 0.02)
    return changed


def faded(record: Record, draw: Draw) -> dict[str, Any]:
    """The gradient at the answers dies away."""
    sizes = np.geomspace(1, near(draw, 1e-4), len(record.step)) ** draw.choice([1, 1, 1.3])
    return {"answer_gradient": draw.choice([0.1, 5.0]) * sizes}


def guessed(record: Record, draw: Draw) -> dict[str, Any]:
    """Another loss of the best constant answer."""
    return {"chance_loss": float(draw.choice([0.0, -1.0, 1e-3, 0.5, 1.0, 1e3]))}


def lowered(record: Record, draw: Draw) -> dict[str, Any]:
    """A loss that may be below 0, and so may that of the best constant answer."""
    by = near(draw, 0.5, 1.0, 5.0) * record.chance_loss
    falls = record.told_loss * np.linspace(1, near(draw, 0.8, 0.2), len(record.told_loss))
    return {"told_loss": falls - by, "chance_loss": record.chance_loss - by}


def watched_to(record: Record, draw: Draw) -> dict[str, Any]:
    """Nothing is known of steps beyond the recorded ones, or much."""
    return {"last_step": None if draw.random() < 0.5 else len(record.step) + int(draw.integers(60))}


CHANGES: tuple[Callable[[Record, Draw], dict[str, Any]], ...] = (
    *(
        trend,
        slope,
        holes,
        rows_lost,
        layers_lost,
        stuck,
        squeezed,
        pulled,
        small_steps,
        large_steps,
        scheduled,
        losses,
    ),
    *(falling, risen, leap, far_off, untold, broken, blown_up, grown, scaled, alike, faded, guessed, lowered),
    watched_to,
)
TELLING = (small_steps, losses, falling, risen, leap, far_off, untold, grown, lowered)  # those that need losses
BASES = ("well", "dead by underflow", "saturated", "one layer")


def calm(record: Record, draw: Draw) -> Record:
    """Nothing is learnt, and nothing else is found: so every change speaks for itself."""
    some, count = np.ones(len(record.step)), len(record.told_loss)
    return replace(
        record,
        told_loss=CHANCE * (1 + 0.01 * draw.normal(size=count)),
        update_norm=1e-3 * record.weight_norm,
        gradient_norm=record.weight_norm * (1.0 + np.arange(len(record.layers))),
        output_gradient_norm=np.ones_like(record.gradient_norm),
        **{name: np.full_like(getattr(record, name), 0.1) for name in UNITS},
        entering_rms=np.ones_like(record.gradient_norm),
        **dict.fromkeys(("answer_rms", "answer_spread", "answer_gradient", "input_rms"), some),
        **{"answer_low": -3 * some, "answer_high": 3 * some},
    )


def odd(number: int) -> Record:
    """A beginning of a run, as it was or with nothing to be found, and up to three changes."""
    draw = np.random.default_rng(number)
    run = RUNS[str(draw.choice(BASES))]
    steps = draw.choice(LENGTHS[1:] if draw.random() < 0.3 else (30, 31, 40, 60, 100))
    record = begun(trained(run), min(int(steps), run.steps))
    record = calm(record, draw) if draw.random() < 0.8 else record
    others = draw.permutation(len(CHANGES))[: draw.choice([0, 0, 1, 2])]
    for change in (CHANGES[number % len(CHANGES)], *(CHANGES[other] for other in others)):
        if len(record.told_loss) or change not in TELLING:
            record = replace(record, **change(record, draw))
    return record


@functools.cache
def odd_records() -> dict[str, Record]:
    return {f"odd record {number}": odd(number) for number in range(1000)}


@functools.cache
def real_records() -> dict[str, Record]:
    """The beginnings of all runs."""
    return {
        f"{name}, {steps} steps": begun(trained(run), steps)
        for name, run in RUNS.items()
        for steps in sorted({*(length for length in LENGTHS if length < run.steps), run.steps})
    }


# Losses, best losses, sizes: between two decimals, just below a power of ten, tiny, huge.
NUMBERS = (
    *(0.125, 0.375, 2.5, 0.0625, 1.125, 1.135, 112.5, 113.5, 1.45, 0.145, 9.995, 99.5, 995.0, 999.5, 0.9995, 2.675),
    *(1e-4, 1.25e-4, 9.995e-5, 1e-5, 1.25e-5, 1.2345e-7, 1e-100, 5e-324, 1e5, 123456.0, 1e16, 1.25e22, 1e100, 1.5e300),
)


def number_records() -> dict[str, Record]:
    """Records whose sentences name a given number, as a loss, as a best loss and as a share."""
    start = begun(trained(RUNS["one layer"]), 2)
    drawn = np.random.default_rng(0)
    many = [
        *NUMBERS,
        *np.exp(drawn.uniform(-12, 12, 80)),
        *(drawn.integers(1, 4000, 80) / 2.0 ** drawn.integers(0, 12, 80)),
    ]
    return {
        f"{number!r} over {best}": replace(start, told_loss=np.full(2, number), chance_loss=best)
        for number in map(float, many)
        for best in (1.0, -number)
    }


# --- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.long  # two dozen trainings
def test_a_real_run_gets_the_verdict_of_diagnose_after_any_number_of_steps():
    records = real_records()
    assert len(records) > 250
    assert differences(records) == {}
    answered = [expected(record) for record in records.values()]
    kinds = {answer["kind"] for answer in answered if answer}
    assert None not in answered
    assert kinds == {
        *("healthy", "vanishing", "exploding", "overflow", "dying ReLU", "saturated", "diverging", "collapsed"),
        *("learning rate too high", "learning rate too low", "unscaled data", "weight decay too strong"),
        "undecided",
    }


@pytest.mark.long  # a thousand diagnoses
def test_an_odd_record_gets_the_verdict_of_diagnose():
    records = odd_records()
    assert differences(records) == {}
    answered = [expected(record) for record in records.values()]
    assert {"no gradient", "output layer", "not finite"} <= {answer["kind"] for answer in answered if answer}
    assert sum(answer is None for answer in answered) < 0.01 * len(records)


def test_numbers_in_sentences_are_written_as_python_writes_them():
    assert differences(number_records()) == {}


@pytest.mark.long  # it judges thousands of records
def test_no_limit_may_be_another():
    """Each that verdict.js uses decides something here: a quarter more of it, or a fifth less, is noticed."""
    assert set(USED) <= set(LIMITS)
    changed = {(name, factor): LIMITS | {name: LIMITS[name] * factor} for name in USED for factor in (0.8, 1.25)}
    records = odd_records().values()
    wanted = [expected(record) for record in records]
    noticed = in_node(records, changed=list(changed.values()), expected=wanted)["noticed"]
    assert {one for one, where in zip(changed, noticed, strict=True) if where is None} == set()


def test_what_it_cannot_know_it_does_not_answer():
    start = begun(trained(RUNS["one layer"]), 12)
    unknown = [
        replace(start, chance_loss=math.nan),
        replace(start, loss_kind=""),
        replace(start, loss_kind="squared error"),
    ]
    assert in_node([start, *unknown], limits=LIMITS)["answers"] == [expected(start), None, None, None]


def test_it_is_quick_enough_to_be_asked_four_times_a_second():
    """Two thousand rows of 61 layers: 15 ms on an idle core, of the 250 that there are."""
    run = Run(30, "relu", "he", "adam", 1e-3, norm="batch", decay=1e-4, steps=4)
    short, times = trained(run), 500
    assert len(short.layers) == 61
    names = [name for name in recordfile.SHAPES if name not in ("step", "told_step")]
    long = replace(short, **{name: np.concatenate([getattr(short, name)] * times) for name in names})
    rows = np.arange(1, 4 * times + 1)
    long = replace(long, step=rows, told_step=rows, last_step=len(rows))
    found = in_node([long], limits=LIMITS, times=20)
    assert found["answers"] == [expected(long)]
    assert found["milliseconds"] < 100


def test_it_is_a_script_that_defines_one_function():
    """So a page can load it from a file, where the browser lets no module in."""
    assert in_node([], limits=LIMITS)["defined"] == ["gradclinicVerdict"]
