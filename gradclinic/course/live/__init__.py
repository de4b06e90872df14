"""The live training lab: a real deep network that trains in the browser, and what it shows as a ``Record``.

The JavaScript beside this file needs no other. ``script`` puts it into one classic script with the digits and the
kernel, so that it runs in a page from disk, in a worker, and in a notebook.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gradclinic.arguments import number, whole
from gradclinic.course.theory import ACTIVATIONS
from gradclinic.record import Record
from gradclinic.recordfile import SHAPES
from gradclinic.rules import finite, limits

if TYPE_CHECKING:
    from gradclinic.course.live.widget import Lab

__all__ = ["lab", "record_of", "script", "style"]

FOLDER = Path(__file__).parent
PARTS = (
    "engine",
    "theory",
    "verdict",
    "trainer",
    "settings",
    "stories",
    "controls",
    "charts",
    "lab",
    "layer",
    "start",
)  # in the order in which one needs the other


def digits_as_bytes() -> tuple[np.ndarray, np.ndarray, int]:
    """The images of ``data.digits()``, before they are standardised.

    Returns:
        Pixels (uint8, 0 to 16, one row an image), classes (uint8), and how many of them, the first, are for training.
    """
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    return np.vstack([x_train, x_test]).astype(np.uint8), np.hstack([y_train, y_test]).astype(np.uint8), len(x_train)


def thresholds() -> dict[str, float]:
    """What the rules of ``diagnose`` compare with, by name: the page's verdict takes the same."""
    named = {name: value for name, value in vars(limits).items() if name.isupper()}
    return named | {"PRODUCT": finite.PRODUCT}


def _bare(source: str) -> str:
    """JavaScript without what only its authors read: indentation, and lines that are a comment."""
    lines = (line.strip() for line in source.splitlines())
    kept = (line for line in lines if not line.startswith("//") and not (line[:3] == "/**" and line[-2:] == "*/"))
    return "".join(f"{line}\n" for line in kept if line)


def script() -> str:
    """All of the live lab as one classic script, which defines ``gradclinicLive``: about 300 kB, 100 kB gzipped."""
    pixels, classes, training = digits_as_bytes()
    data = {
        "kernel": base64.b64encode((FOLDER / "kernel.wasm").read_bytes()).decode(),
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "classes": "".join(map(str, classes)),
        "training": training,
        "limits": thresholds(),
    }
    parts = [_bare((FOLDER / f"{name}.js").read_text().removeprefix('"use strict";\n')) for name in PARTS]
    return (
        '"use strict";\nconst gradclinicLive = (() => {\n'
        + "".join(parts)
        + (f"return gradclinicStart({json.dumps(data)});\n}})();\n")
    )


def style() -> str:
    """The live lab's style sheet."""
    return (FOLDER / "lab.css").read_text()


WIDTHS = (16, 24, 32, 48, 64)
STARTS = ("pytorch", "xavier", "he")
# As far as the page's sliders go; decay and clip may be 0 as well.
RANGES = {
    "start": (0.1, 20.0),
    "rate": (1e-6, 10.0),
    "epsilon": (1e-10, 1.0),
    "decay": (1e-6, 1.0),
    "clip": (0.01, 100.0),
}
CHOICES = {
    "activation": ACTIVATIONS,
    "norm": ("none", "batch", "layer"),
    "skip": ("none", "plain", "scaled"),
    "optimizer": ("sgd", "momentum", "adam"),
}


def lab(
    depth: int = 20,
    width: int = 32,
    activation: str = "sigmoid",
    start: str | float = "xavier",
    *,
    norm: str = "none",
    skip: str = "none",
    optimizer: str = "adam",
    rate: float = 3e-3,
    epsilon: float = 1e-8,
    decay: float = 0.0,
    clip: float = 0.0,
    seed: int = 0,
) -> "Lab":
    """The live lab in a notebook. All that it begins with can be changed there, also while it trains.

    Args:
        depth: number of hidden layers, 1 to 30.
        width: units of each, one of 16, 24, 32, 48 and 64.
        activation: one of ``theory.ACTIVATIONS``.
        start: "pytorch", "xavier", "he", or sigma_w as a number, dimensionless, 0.1 to 20.
        norm: "none", "batch" or "layer".
        skip: "none", "plain", or "scaled": each branch by 1 / depth.
        optimizer: "sgd", "momentum" (0.9) or "adam".
        rate: the learning rate, 1e-6 to 10.
        epsilon: of Adam, 1e-10 to 1.
        decay: the optimiser's weight decay, 1e-6 to 1, or 0.
        clip: norm to which the gradient is clipped, 0.01 to 100; 0 leaves it.
        seed: of the starting weights and of the order of the images, below 2**31.
    Returns:
        A ``Lab``: shown, it trains; where there is a kernel its ``record`` is a ``Record``, as of the last pause.
    Raises:
        ValueError: for a value out of range, or an unknown name.
        TypeError: for a number that is none.
        ImportError: where ``anywidget`` is not installed.
    """
    depth, width, seed = whole("depth", depth), whole("width", width), whole("seed", seed, 0)
    if depth > 30:
        raise ValueError(f"depth must be 1 to 30, got {depth}")
    if width not in WIDTHS:
        raise ValueError(f"width must be one of {', '.join(map(str, WIDTHS))}, got {width}")
    settings: dict[str, Any] = {"depth": depth, "width": width, "activation": activation}
    settings |= {"norm": norm, "skip": skip, "optimizer": optimizer}
    for name, known in CHOICES.items():
        if settings[name] not in known:
            raise ValueError(f"unknown {name} {settings[name]!r}; known: {', '.join(known)}")
    if isinstance(start, str) and start not in STARTS:
        raise ValueError(f"unknown start {start!r}; known: {', '.join(STARTS)}, or a number sigma_w")
    if seed >= 2**31:
        raise ValueError(f"seed must be below {2**31}, got {seed}")
    numbers = {"rate": rate, "epsilon": epsilon, "decay": decay, "clip": clip}
    if not isinstance(start, str):
        numbers["start"] = start
    settings |= {"start": start, "seed": seed}
    for name, value in numbers.items():
        low, high = RANGES[name]
        if number(name, value) == 0 and name in ("decay", "clip"):  # off
            low = 0.0
        settings[name] = number(name, value, low, maximum=high)
    try:
        from gradclinic.course.live.widget import Lab
    except ImportError as error:
        raise ImportError("gradclinic.course.live.lab needs anywidget, which is not installed here") from error
    return Lab(settings)


def record_of(held: Mapping[str, Any]) -> Record:
    """The record of a run in the browser, as the page exports it.

    Args:
        held: fields of a ``Record`` by name. JSON has no word for them, so NaN and inf may be the texts "NaN",
            "Infinity" and "-Infinity".
    Returns:
        A ``Record``. Fields that the page does not measure are unknown in it.
    Raises:
        ValueError: for a field that no record has, or one that is missing.
    """
    known = {field.name: field for field in fields(Record)}
    if unknown := set(held) - set(known):
        raise ValueError(f"a record has no {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    needed = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
    if missing := needed - set(held) - {"time_ratio", "histogram"}:
        raise ValueError(f"{', '.join(sorted(missing))} missing: this is no record that the page exported")
    try:
        return _record(held)
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"what was given is no record that the page exported: {error}") from None


def _record(held: Mapping[str, Any]) -> Record:
    steps, layers, watched = len(held["step"]), len(held["layers"]), len(held["activations"])
    given = {
        "time_ratio": np.full((steps, layers), math.nan),
        "histogram": np.zeros((steps, layers, 0)),
        **{name: _plain(value) for name, value in held.items()},
    }
    for name in ("saturation", "dead"):
        given[name] = given[name].reshape(steps, watched)
    for name in ("output_nonfinite", "nonfinite"):
        given[name] = given[name].astype(bool)
    for name in ("step", "told_step"):
        given[name] = given[name].astype(np.int64)
    sizes = {"S": steps, "L": layers, "A": watched, "B": 0, "T": len(held.get("told_step", ()))}
    for name, (axes, _) in SHAPES.items():
        wanted = tuple(sizes[axis] for axis in axes)
        if name in given and np.shape(given[name]) != wanted:
            raise ValueError(f"{name} must have the shape {wanted}, got {np.shape(given[name])}")
    chance = given["chance_loss"]
    if isinstance(chance, bool) or not isinstance(chance, int | float):
        raise ValueError(f"chance_loss must be a number, got {chance!r}")
    return Record(**given)


def _plain(value: Any) -> Any:
    """Lists of names as tuples, other lists as arrays; a number's name as that number."""
    if isinstance(value, list):
        if value and all(isinstance(item, str) and item.lstrip("-") not in ("NaN", "Infinity") for item in value):
            return tuple(value)
        return np.array(value, dtype=np.float64) if value else ()
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value
