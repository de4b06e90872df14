"""What a recorder saw: one value per layer and step, as arrays that can be kept in a file and continued."""

import json
import math
import os
import uuid
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gradclinic.arguments import whole

# Gradient histograms share these edges, in every layer and run: half decades from 1e-40 to 1e10, negative and positive.
# The middle bin holds what is zero or smaller.
_MAGNITUDES = [10 ** (exponent / 2) for exponent in range(-80, 21)]
HISTOGRAM_EDGES = np.array([*(-m for m in reversed(_MAGNITUDES)), *_MAGNITUDES])


@dataclass(frozen=True)
class Summary:
    """A result in a few lines: a title, and what each line is about and says. As text, and as a small table."""

    title: str
    lines: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: "Record", title: str, notes: Sequence[str] = ()) -> "Summary":
        """What is in a record, with notes on what is not."""
        steps = f"{len(record.step)} recorded"
        steps += f", {record.step[0]} to {record.step[-1]}" if len(record.step) else ""
        ends = " to ".join(f'"{name}"' for name in dict.fromkeys(record.layers[:1] + record.layers[-1:]))
        kinds = ", ".join(dict.fromkeys(record.activation_kinds))
        told = record.loss[~np.isnan(record.loss)]
        loss = f"{told[0]:.3g} to {told[-1]:.3g}" if len(told) else "not told"
        loss += "" if math.isnan(record.chance_loss) else f"; {record.chance_loss:.3g} without looking at the input"
        lines = [
            ("steps", steps if record.last_step is None else f"{steps}, of {record.last_step} watched"),
            ("layers", f"{len(record.layers)}, {ends}"),
            ("activations", f"{len(record.activations)}" + (f" ({kinds})" if kinds else "")),
            ("loss", loss),
        ]
        first = record.first_nonfinite
        if first is not None:
            where = "the loss" if first[2] == "loss" else f"the {first[2]} of {first[1]}"
            lines.append(("inf or NaN", f"first at step {first[0]}, {where}"))
        return cls(title, (*lines, *(("note", note) for note in notes)))

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {what}: {value}" for what, value in self.lines)])

    def _repr_html_(self) -> str:
        from html import escape  # here, because its table of signs takes a tenth of what the package needs to import

        rows = (f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in self.lines)
        return f"<table><caption>{escape(self.title)}</caption>{''.join(rows)}</table>"


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """What a recorder saw. Arrays are float64, one row a recorded step; a value that does not exist is NaN.

    The last step of a block always has a row. Where it was not one to record, that row holds what could be read when
    the block ended: the loss, the weights as they then stood and, if nothing had changed them, the gradients. Its
    outputs, activations and updates are NaN.

    A row takes 50 L + 16 A + 16 bytes in memory, histograms apart, and less in a file. So 100,000 steps of 100 layers
    with 100 activations take 33 MB where one step in 20 is recorded, and 660 MB where every step is.

    Attributes:
        layers: names of the L modules that own parameters, in the order in which the first forward pass finished them.
            What the model owns beside its layers has the name of its class, no output, and stands where it is first
            used.
        activations: names of the A activation modules that are watched.
        step: shape (S,), the training step of each row, counted from 1.
        gradient_norm, weight_norm, update_norm: shape (S, L), Euclidean norms over all parameters of a layer. The
            update is what the optimiser really changed, so with Adam it is not the gradient times the learning rate.
        output_rms: shape (S, L), root mean square of a layer's output (for a linear layer: the pre-activations).
        output_gradient_norm: shape (S, L), Euclidean norm of the loss gradient at that output, over the batch.
        saturation: shape (S, A), share of outputs whose slope is below 5 % of the activation's largest slope.
        dead: shape (S, A), share of units that were exactly 0 for each of the last 512 recorded examples, or as many
            as there were (ReLU only). The units of an image (batch, channels, height, width) are its channels,
            otherwise those of the last dimension.
        time_ratio: shape (S, L), for a layer that is called several times in one pass (a recurrent cell): gradient
            norm at the output of its first call over that of its last. NaN for a layer that is called once.
        loss: shape (S,), mean of what ``Recorder.log_loss`` was told since the row before.
        chance_loss: loss of the best answer that ignores the input, as told to the ``Recorder``.
        output_nonfinite, nonfinite: shape (S, L), whether a layer's output, or its gradient, held inf or NaN.
        histogram: shape (S, L, B), how many gradient entries fall between two neighbours of ``HISTOGRAM_EDGES``; what
            is larger counts in the outermost bins, what is not finite nowhere. B is 0 unless asked for.
        activation_kinds: class names of the activation modules, one for each of ``activations``.
        last_step: the last training step that was watched, recorded or not; None where only the recorded are known.
        first_bad_loss: the first training step, recorded or not, whose loss was told as inf or NaN; None if none was,
            or if the record is in a file from before this was kept.
    """

    FORMAT: ClassVar[str] = "gradclinic record"
    EARLIER_FORMATS: ClassVar[tuple[str, ...]] = ("gradlab record",)  # by the name that the package had at first
    VERSION: ClassVar[int] = 1

    layers: tuple[str, ...]
    activations: tuple[str, ...]
    step: np.ndarray
    gradient_norm: np.ndarray
    weight_norm: np.ndarray
    update_norm: np.ndarray
    output_rms: np.ndarray
    output_gradient_norm: np.ndarray
    saturation: np.ndarray
    dead: np.ndarray
    time_ratio: np.ndarray
    loss: np.ndarray
    chance_loss: float
    output_nonfinite: np.ndarray
    nonfinite: np.ndarray
    histogram: np.ndarray
    activation_kinds: tuple[str, ...] = ()
    last_step: int | None = None
    first_bad_loss: int | None = None

    @property
    def faulty(self) -> np.ndarray:
        """Shape (S,): whether any output or gradient of the step held inf or NaN; else a NaN means "not measured"."""
        faulty: np.ndarray = (self.output_nonfinite | self.nonfinite).any(1)
        return faulty

    @property
    def size_histogram(self) -> np.ndarray:
        """Shape (S, L, 101): ``histogram`` without signs. First what is 0 or below the smallest edge, then how many
        sizes fall between two neighbours of the positive ``HISTOGRAM_EDGES``. Shape (S, L, 0) if none was counted."""
        half = self.histogram.shape[2] // 2
        if half == 0:
            return self.histogram
        below, zero, above = np.split(self.histogram, [half, half + 1], axis=2)
        return np.concatenate([zero, above + below[..., ::-1]], axis=2)

    @property
    def first_nonfinite(self) -> tuple[int, str, str] | None:
        """(step, where, what) of the first inf or NaN, or None.

        That is a layer and "output" or "gradient"; or "the loss" and "loss", if a loss was told as inf or NaN before
        anything not finite was recorded. Within a step outputs come before gradients, and both before the loss, because
        they name a layer; outputs are looked through from the input, gradients from the loss.
        """
        rows = np.flatnonzero(self.faulty)
        first = int(self.step[rows[0]]) if len(rows) else None
        if self.first_bad_loss is not None and (first is None or self.first_bad_loss < first):
            return self.first_bad_loss, "the loss", "loss"
        if first is None:
            return None
        what, found = "output", self.output_nonfinite[rows[0]]
        if not found.any():
            what, found = "gradient", self.nonfinite[rows[0]]
        layers = np.flatnonzero(found)
        return first, self.layers[layers[0] if what == "output" else layers[-1]], what

    @property
    def update_ratio(self) -> np.ndarray:
        """Shape (S, L): update norm over weight norm, dimensionless; around 1e-3 is common in healthy training."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = self.update_norm / self.weight_norm
        return ratio

    # --- in short, and as plain data --------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return str(Summary.of(self, "Record"))

    def _repr_html_(self) -> str:
        return Summary.of(self, "Record")._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain Python that JSON can hold: ``format``, ``version`` and each attribute.

        Arrays are lists of lists. JSON knows neither NaN nor inf, so both are None: ``output_nonfinite``,
        ``nonfinite`` and ``first_bad_loss`` tell what was inf or NaN, and not only unknown. ``histogram`` is None
        unless it was counted.
        """
        held: dict[str, Any] = {"format": self.FORMAT, "version": self.VERSION}
        for field in fields(self):
            value = getattr(self, field.name)
            held[field.name] = _plain(value) if isinstance(value, np.ndarray | float) else value
        return held | {name: list(held[name]) for name in _NAMES} | ({} if self.histogram.size else {"histogram": None})

    # --- kept in a file -----------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> Path:
        """Keep the record in one compressed file, bit for bit, for ``Record.load``.

        The file is numpy's ``.npz`` and holds arrays and a line of JSON with a version number, no code. It is written
        beside its place and moved there when it is complete and on disk: whatever goes wrong on the way, an earlier
        file of that name stays as it was.

        Args:
            path: of the file; its folder must exist. An earlier file is replaced.
        Returns:
            The path.
        Raises:
            TypeError: for something that is no path.
            OSError: if the file cannot be written.
        """
        target = _path(path)
        whole = target.resolve()  # what a link points to is replaced, not the link
        beside = whole.with_name(f".{whole.name}-{uuid.uuid4().hex[:8]}")
        header = {"format": self.FORMAT, "version": self.VERSION}
        header |= {name: getattr(self, name) for name in (*_NAMES, *_COUNTS)}
        try:
            with beside.open("xb") as file:
                np.savez_compressed(
                    file,
                    header=np.array(json.dumps(header)),
                    chance_loss=np.array(self.chance_loss),
                    **{name: getattr(self, name) for name in _SHAPES},
                )
                file.flush()
                os.fsync(file.fileno())
            beside.replace(whole)
        except OSError as error:
            raise OSError(f"cannot write into {path}: {error}; an earlier file of that name is as it was") from error
        finally:
            beside.unlink(missing_ok=True)
        return target

    @staticmethod
    def load(path: str | PathLike[str]) -> "Record":
        """The record that ``save`` kept in a file. Nothing in the file is executed.

        Raises:
            TypeError: for something that is no path.
            OSError: if the file cannot be read, FileNotFoundError if there is none.
            ValueError: if it holds no record, is cut off or damaged, or comes from a later version.
        """
        target = _path(path)
        with target.open("rb") as file:  # numpy would leave it open after an error
            try:
                found = np.load(file, allow_pickle=False)
                if not isinstance(found, Mapping):
                    raise ValueError("a single array")
                arrays = {name: found[name] for name in found}
            except (ValueError, EOFError, KeyError, SyntaxError, zipfile.BadZipFile, zlib.error, *_ODD) as error:
                if file.seek(0) == 0 and file.read(2) == b"PK":
                    raise ValueError(
                        f"{path} is cut off or damaged, and cannot be read as a record: {error}"
                    ) from error
                raise ValueError(f"{path} is no record: it was not written by Record.save ({error})") from error
        try:
            return _held_in(arrays)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from error

    # --- continued ----------------------------------------------------------------------------------------------

    def then(self, later: "Record", after: int | None = None) -> "Record":
        """One record of a training that was stopped and resumed: this one, then ``later``, whose steps go on from here.

        The share of dead units looks back over 512 examples and begins anew with ``later``. The row that this record
        has of its last step stays, also where it is there only because the training stopped. All else is as if the
        training had never stopped.

        Args:
            later: of the resumed training, with the same layers and activations.
            after: the step at which the checkpoint was taken. What this record saw beyond it is left out: that part of
                the training was lost. Unless told, the last step that was watched.
        Raises:
            TypeError: for something else than a ``Record``, or an ``after`` that is no integer.
            ValueError: if the two do not describe the same network, or ``after`` is negative or beyond ``last_step``.
        """
        if not isinstance(later, Record):
            raise TypeError(f"then needs a Record (recorder.record), got {type(later).__name__}")
        after = None if after is None else whole("after", after, 0)
        for what in _NAMES:
            here, there = getattr(self, what), getattr(later, what)
            if here != there:
                raise ValueError(f"these records do not continue each other: {_difference(what, here, there)}")
        if self.histogram.shape[2] != later.histogram.shape[2]:
            raise ValueError("these records do not continue each other: only one of them counted histograms")
        after = _end(self) if after is None else after
        if self.last_step is not None and after > _end(self):
            raise ValueError(f"after must be at most the last step, {_end(self)}, got {after}")
        kept = self.step <= after
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(self, name)[kept], getattr(later, name)]) for name in _SHAPES
        }
        joined["step"] = np.concatenate([self.step[kept], later.step + after])
        joined["chance_loss"] = self.chance_loss if math.isnan(later.chance_loss) else later.chance_loss
        bad = self.first_bad_loss
        if bad is None or bad > after:
            bad = None if later.first_bad_loss is None else later.first_bad_loss + after
        return replace(self, **joined, last_step=after + _end(later), first_bad_loss=bad)


# The columns: S recorded steps, L layers, A activations, B bins; then the kind of number, as numpy calls it.
_SHAPES = {
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
_NAMES = ("layers", "activations", "activation_kinds")
_COUNTS = ("last_step", "first_bad_loss")  # the second may be missing: it came later
assert {*_SHAPES, *_NAMES, *_COUNTS, "chance_loss"} == {f.name for f in fields(Record)}, "a field no file would hold"

# What numpy and zipfile also raise for bytes that make no sense.
_ODD = (NotImplementedError, OverflowError, TypeError, MemoryError, RuntimeError)


def _plain(values: Any) -> Any:
    """Numbers of numpy as those of Python, None for what is not finite."""
    known = np.asarray(values)
    if known.dtype.kind == "f":
        known = known.astype(object)
        known[~np.isfinite(values)] = None
    return known.tolist()


def _held_in(arrays: dict[str, np.ndarray]) -> Record:
    """Raises ValueError that says, as the end of a sentence about the file, what is wrong with the arrays."""
    try:
        header = json.loads(str(arrays["header"]))
        kind, version = header["format"], header["version"]
    except (KeyError, TypeError, ValueError):
        kind, version = None, None
    if kind not in (Record.FORMAT, *Record.EARLIER_FORMATS) or not isinstance(version, int):
        raise ValueError("is no record: it was not written by Record.save")
    if version > Record.VERSION:
        raise ValueError(
            f"is a record of version {version}, and this package reads up to {Record.VERSION}: a newer one is needed"
        )
    missing = ({*_NAMES, "last_step"} - set(header)) | ({*_SHAPES, "chance_loss"} - set(arrays))
    if missing:
        raise ValueError(f"is a damaged record: it lacks {', '.join(sorted(missing))}")
    sizes = {"S": arrays["step"].size, "L": len(header["layers"]), "A": len(header["activations"])}
    sizes["B"] = arrays["histogram"].shape[-1] if arrays["histogram"].ndim == 3 else 0
    for name, (shape, kind) in _SHAPES.items():
        array, wanted = arrays[name], tuple(sizes[letter] for letter in shape)
        if array.shape != wanted or array.dtype.kind != kind:
            raise ValueError(
                f"is a damaged record: {name} should have shape {wanted}, and has {array.shape} of {array.dtype}"
            )
    held: dict[str, Any] = {name: arrays[name] for name in _SHAPES}
    held |= {name: tuple(header[name]) for name in _NAMES} | {name: header.get(name) for name in _COUNTS}
    return Record(**held, chance_loss=float(arrays["chance_loss"]))


def _path(path: object) -> Path:
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be a path, got {path!r}")
    return Path(path).expanduser()


def _end(record: Record) -> int:
    """The last training step a record knows of."""
    last = int(record.step[-1]) if len(record.step) else 0
    return last if record.last_step is None else max(last, record.last_step)


def _difference(what: str, here: tuple[str, ...], there: tuple[str, ...]) -> str:
    what = what.replace("_", " ")
    if len(here) != len(there):
        return f"the earlier has {len(here)} {what}, the later {len(there)}"
    number = next(n for n, pair in enumerate(zip(here, there, strict=True)) if pair[0] != pair[1])
    return f"number {number + 1} of the {what} is {here[number]!r} in the earlier and {there[number]!r} in the later"
