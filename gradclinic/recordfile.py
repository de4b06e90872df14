"""How a record is kept in a file: which fields it has, of which shapes, and how they are written and read."""

import json
import math
import os
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "gradclinic record"
EARLIER_FORMATS = ("gradlab record",)  # by the name that the package had at first
VERSION = 2

# The arrays: S recorded steps, L layers, A activations, B bins, T told losses; and the kind of number, by numpy.
SHAPES = {
    "step": ("S", "i"),
    "loss": ("S", "f"),
    "gradient_norm": ("SL", "f"),
    "weight_norm": ("SL", "f"),
    "update_norm": ("SL", "f"),
    "output_rms": ("SL", "f"),
    "output_gradient_norm": ("SL", "f"),
    "time_ratio": ("SL", "f"),
    "saturation": ("SA", "f"),
    "dead": ("SA", "f"),
    "output_nonfinite": ("SL", "b"),
    "nonfinite": ("SL", "b"),
    "histogram": ("SLB", "i"),
}
# Those that came with version 2.
_NEW = {
    **dict.fromkeys((f"entering_{what}" for what in ("rms", "low", "high", "zero", "ends", "dead")), ("SL", "f")),
    **dict.fromkeys(("learning_rate", "momentum", "weight_decay", "epsilon"), ("SL", "f")),
    **dict.fromkeys(("decoupled", "frozen", "alike"), ("SL", "b")),
    "uncleared": ("S", "b"),
    "input_rms": ("S", "f"),
    **dict.fromkeys((f"answer_{what}" for what in ("rms", "low", "high", "spread", "sum")), ("S", "f")),
    **dict.fromkeys(("answer_gradient", "answer_gradient_sum", "answer_alone"), ("S", "f")),
    "told_step": ("T", "i"),
    "told_loss": ("T", "f"),
}
SHAPES |= _NEW
# They lie on each other in a file, by shape and kind of number: for each array a file tells its name and place twice.
_STACKS = {
    f"of {letters} {kind}": [name for name, form in _NEW.items() if form == (letters, kind)]
    for letters, kind in dict.fromkeys(_NEW.values())
}
NAMES = ("layers", "activations", "activation_kinds")
# Numbers of steps, or None. All but the first may be missing in an earlier file.
COUNTS = ("last_step", "first_bad_loss", "first_bad_input", "first_bad_answer", "first_bad_weights")
NUMBERS = ("answer_rms_before", "guessing_loss", "target_low", "target_high")  # of version 2
OTHERS = ("chance_loss", "bad_weights", "layer_kinds", "loss_kind", "loss_falls", "idle_passes")

# What numpy and zipfile also raise for bytes that make no sense.
_ODD = (NotImplementedError, OverflowError, TypeError, MemoryError, RuntimeError)


def unknown(name: str, steps: int, layers: int) -> np.ndarray:
    """An array of version 2 of which nothing is known."""
    letters, kind = SHAPES[name]
    shape = tuple({"S": steps, "L": layers, "T": 0}[letter] for letter in letters)
    return np.full(shape, math.nan) if kind == "f" else np.zeros(shape, bool if kind == "b" else np.int64)


def write(path: str | PathLike[str], held: Mapping[str, Any]) -> Path:
    """Keep the fields of a record. See ``Record.save``."""
    target = as_path(path)
    whole = target.resolve()  # what a link points to is replaced, not the link
    beside = whole.with_name(f".{whole.name}-{uuid.uuid4().hex[:8]}")
    header = {"format": FORMAT, "version": VERSION} | {name: held[name] for name in (*NAMES, *COUNTS)}
    header |= {name: held[name] for name in ("bad_weights", "layer_kinds", "loss_kind", "loss_falls", "idle_passes")}
    numbers = {name: np.array(held[name]) for name in ("chance_loss", *NUMBERS)}
    try:
        with beside.open("xb") as file:
            arrays: dict[str, Any] = {name: held[name] for name in SHAPES if name not in _NEW}
            arrays |= {stack: np.stack([held[name] for name in names]) for stack, names in _STACKS.items()}
            arrays |= numbers | {"header": np.array(json.dumps(header))}
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(whole)
    except OSError as error:
        raise OSError(f"cannot write into {path}: {error}; an earlier file of that name is as it was") from error
    finally:
        beside.unlink(missing_ok=True)
    return target


def read(path: str | PathLike[str]) -> dict[str, Any]:
    """The fields of a record. See ``Record.load``."""
    target = as_path(path)
    with target.open("rb") as file:  # numpy would leave it open after an error
        try:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, Mapping):
                raise ValueError("a single array")
            arrays = {name: found[name] for name in found}
        except (ValueError, EOFError, KeyError, SyntaxError, zipfile.BadZipFile, zlib.error, *_ODD) as error:
            if file.seek(0) == 0 and file.read(2) == b"PK":
                raise ValueError(f"{path} is cut off or damaged, and cannot be read as a record: {error}") from error
            raise ValueError(f"{path} is no record: it was not written by Record.save ({error})") from error
    try:
        return _held_in(arrays)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def _held_in(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Raises ValueError that says, as the end of a sentence about the file, what is wrong with the arrays."""
    try:
        header = json.loads(str(arrays["header"]))
        kind, version = header["format"], header["version"]
    except (KeyError, TypeError, ValueError):
        kind, version = None, None
    if kind not in (FORMAT, *EARLIER_FORMATS) or not isinstance(version, int):
        raise ValueError("is no record: it was not written by Record.save")
    if version > VERSION:
        raise ValueError(
            f"is a record of version {version}, and this package reads up to {VERSION}: a newer one is needed"
        )
    for stack, names in _STACKS.items():
        if stack in arrays and len(arrays[stack]) == len(names):
            arrays |= dict(zip(names, arrays.pop(stack), strict=True))
    shapes = {name: shape for name, shape in SHAPES.items() if version > 1 or name not in _NEW}
    numbers = ["chance_loss"] if version == 1 else ["chance_loss", *NUMBERS]
    missing = ({*NAMES, "last_step"} - set(header)) | ({*shapes, *numbers} - set(arrays))
    if missing:
        raise ValueError(f"is a damaged record: it lacks {', '.join(sorted(missing))}")
    sizes = {"S": arrays["step"].size, "L": len(header["layers"]), "A": len(header["activations"])}
    sizes["B"] = arrays["histogram"].shape[-1] if arrays["histogram"].ndim == 3 else 0
    sizes["T"] = arrays["told_step"].size if version > 1 else 0
    for name, (shape, kind) in shapes.items():
        array, wanted = arrays[name], tuple(sizes[letter] for letter in shape)
        if array.shape != wanted or array.dtype.kind != kind:
            raise ValueError(
                f"is a damaged record: {name} should have shape {wanted}, and has {array.shape} of {array.dtype}"
            )
    held: dict[str, Any] = {name: arrays[name] for name in shapes} | {name: float(arrays[name]) for name in numbers}
    held |= {name: tuple(header[name]) for name in NAMES} | {name: header.get(name) for name in COUNTS}
    if version > 1:
        held |= {name: tuple(header.get(name, ())) for name in ("bad_weights", "layer_kinds")}
        held |= {"loss_kind": str(header.get("loss_kind", "")), "loss_falls": bool(header.get("loss_falls", True))}
        held["idle_passes"] = int(header.get("idle_passes", 0))
    return held


def as_path(path: object) -> Path:
    """Raises TypeError for something that is no path."""
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be a path, got {path!r}")
    return Path(path).expanduser()
