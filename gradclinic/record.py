"""What a recorder saw: one value per layer and step, as arrays that can be kept in a file and continued."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gradclinic import recordfile
from gradclinic.arguments import whole
from gradclinic.recordfile import COUNTS, NAMES, SHAPES

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


UNKNOWN = np.empty(0)  # stands for an array that the maker of a record does not give


def _unknown() -> np.ndarray:
    return UNKNOWN


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """What a recorder saw. Arrays are float64, one row a recorded step; a value that does not exist is NaN.

    The last step of a block always has a row. Where it was not one to record, that row holds what could be read when
    the block ended: the loss, the weights as they then stood and, if nothing had changed them, the gradients. Its
    outputs, activations and updates are NaN.

    A row takes 133 L + 16 A + 89 bytes in memory, histograms apart, and less in a file; each told loss 16 more. So
    100,000 steps of 100 layers with 100 activations take 75 MB where one step in 20 is recorded, and 1.5 GB where every
    step is.

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
            norm at the output of its first call over that of its last. Of ``nn.RNN``: at its first hidden state over
            its last. NaN for others.
        loss: shape (S,), mean of what ``Recorder.log_loss`` was told since the row before.
        chance_loss: loss of the best answer that ignores the input, as told to the ``Recorder``.
        output_nonfinite, nonfinite: shape (S, L), whether a layer's output, or its gradient, held inf or NaN.
        histogram: shape (S, L, B), how many gradient entries fall between two neighbours of ``HISTOGRAM_EDGES``; what
            is larger counts in the outermost bins, what is not finite nowhere. B is 0 unless asked for.
        entering_rms, entering_low, entering_high: shape (S, L), root mean square, smallest and largest entry of what
            enters a layer, on the first 32 examples and some thousand entries of them. So are the three that follow.
        entering_zero: shape (S, L), share of entries that are exactly 0.
        entering_ends: shape (S, L), where all lie within [-1, 1], as behind tanh: share of entries where tanh would be
            flat; where all lie within [0, 1], as behind a sigmoid: the same for a sigmoid.
        entering_dead: shape (S, L), where nothing is negative, as behind ReLU: ``dead``, of what enters.
        learning_rate, momentum, weight_decay, epsilon: shape (S, L), as the optimiser had them in this step that holds
            the layer's parameters. NaN where none does, or has no such setting. Of Adam the momentum is its first beta.
        decoupled: shape (S, L), whether that optimiser applies its weight decay beside the gradient, as AdamW does.
        frozen: shape (S, L), whether no parameter of the layer asks for a gradient.
        alike: shape (S, L), whether all units of the layer have exactly the same incoming weights.
        uncleared: shape (S,), whether the gradients of the step before were still there in each backward pass.
        input_rms: shape (S,), of the first floating-point tensor that the model is given.
        answer_rms, answer_low, answer_high: shape (S,), of what the model puts out: of its logits, where it names some,
            else of its first tensor.
        answer_spread: shape (S,), root mean square of the answers' differences from their mean over the batch.
        answer_sum: shape (S,), root mean square of (sum of the last dimension, minus 1): 0 behind softmax.
        answer_gradient: shape (S,), Euclidean norm of the loss gradient at the answers.
        answer_gradient_sum: shape (S,), root mean square of its sums over the last dimension, over that of its
            lengths: 0 where the loss is a cross-entropy that takes raw scores.
        answer_alone: shape (S,), share of that gradient that is no straight function of the answers: 0 where the loss
            looks at no example's own target.
        told_step, told_loss: shape (T,), every training step whose loss was told, recorded or not, and that loss; of
            several in one step the mean.
        activation_kinds, layer_kinds: class names of the activation modules and of the layers, one for each.
        last_step: the last training step that was watched, recorded or not; None where only the recorded are known.
        first_bad_loss: the first training step, recorded or not, whose loss was told as inf or NaN; None if none was,
            or if the record is in a file from before this was kept. Every step is also looked at for the next three.
        first_bad_input, first_bad_answer: the first step whose input, or answer, held inf or NaN.
        first_bad_weights: the step that left inf or NaN in weights; ``bad_weights`` are the layers.
        answer_rms_before: rms of the last answers that were finite, if some were not later.
        loss_kind: which loss the gradient at the answers is that of, as far as it tells: "cross-entropy", "squared
            error", "binary cross-entropy", "negative log-likelihood"; after "squashed ", one that takes raw scores, and
            was given what a softmax or a sigmoid had squashed. Else empty.
        guessing_loss: of that loss, what the best answer gets that ignores the input, estimated from the targets that
            its gradients reveal.
        idle_passes: where no step was ever seen, how many times a gradient came while the weights stayed as they were.
        target_low, target_high: of a squared error, the lowest and the highest target, as the gradients reveal them.
        loss_falls: False if the training's loss is of a kind that need not fall.
    """

    FORMAT: ClassVar[str] = recordfile.FORMAT
    VERSION: ClassVar[int] = recordfile.VERSION

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
    first_bad_input: int | None = None
    first_bad_answer: int | None = None
    first_bad_weights: int | None = None
    bad_weights: tuple[str, ...] = ()
    layer_kinds: tuple[str, ...] = ()
    answer_rms_before: float = math.nan
    loss_kind: str = ""
    guessing_loss: float = math.nan
    target_low: float = math.nan
    target_high: float = math.nan
    loss_falls: bool = True
    idle_passes: int = 0
    entering_rms: np.ndarray = field(default_factory=_unknown)
    entering_low: np.ndarray = field(default_factory=_unknown)
    entering_high: np.ndarray = field(default_factory=_unknown)
    entering_zero: np.ndarray = field(default_factory=_unknown)
    entering_ends: np.ndarray = field(default_factory=_unknown)
    entering_dead: np.ndarray = field(default_factory=_unknown)
    learning_rate: np.ndarray = field(default_factory=_unknown)
    momentum: np.ndarray = field(default_factory=_unknown)
    weight_decay: np.ndarray = field(default_factory=_unknown)
    epsilon: np.ndarray = field(default_factory=_unknown)
    decoupled: np.ndarray = field(default_factory=_unknown)
    frozen: np.ndarray = field(default_factory=_unknown)
    alike: np.ndarray = field(default_factory=_unknown)
    uncleared: np.ndarray = field(default_factory=_unknown)
    input_rms: np.ndarray = field(default_factory=_unknown)
    answer_rms: np.ndarray = field(default_factory=_unknown)
    answer_low: np.ndarray = field(default_factory=_unknown)
    answer_high: np.ndarray = field(default_factory=_unknown)
    answer_spread: np.ndarray = field(default_factory=_unknown)
    answer_sum: np.ndarray = field(default_factory=_unknown)
    answer_gradient: np.ndarray = field(default_factory=_unknown)
    answer_gradient_sum: np.ndarray = field(default_factory=_unknown)
    answer_alone: np.ndarray = field(default_factory=_unknown)
    told_step: np.ndarray = field(default_factory=_unknown)
    told_loss: np.ndarray = field(default_factory=_unknown)

    def __post_init__(self) -> None:
        """What a record of an earlier version lacks is unknown; of its losses those of the rows are known."""
        if self.told_step is UNKNOWN:
            told = np.flatnonzero(~np.isnan(self.loss))
            object.__setattr__(self, "told_step", self.step[told])
            object.__setattr__(self, "told_loss", self.loss[told])
        for name in SHAPES:
            if getattr(self, name) is UNKNOWN:
                object.__setattr__(self, name, recordfile.unknown(name, len(self.step), len(self.layers)))

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

        In a recorded step that is a layer and "output" or "gradient". In others it is as near as can be told: "the
        input" and "input"; "the model" and "output", born somewhere between its input and its answer; a layer and
        "weights", where the last step left them so; "the loss" and "loss". Within a step that is their order, too:
        outputs are looked through from the input, gradients from the loss.
        """
        return _first_nonfinite(self)

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
        for name in (known.name for known in fields(self)):
            value = getattr(self, name)
            held[name] = _plain(value) if isinstance(value, np.ndarray | float) else value
        return held | {name: list(held[name]) for name in NAMES} | ({} if self.histogram.size else {"histogram": None})

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
        return recordfile.write(path, vars(self))

    @staticmethod
    def load(path: str | PathLike[str]) -> "Record":
        """The record that ``save`` kept in a file. Nothing in the file is executed.

        Raises:
            TypeError: for something that is no path.
            OSError: if the file cannot be read, FileNotFoundError if there is none.
            ValueError: if it holds no record, is cut off or damaged, or comes from a later version.
        """
        return Record(**recordfile.read(path))

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
        return _joined(self, later, None if after is None else whole("after", after, 0))


assert {*SHAPES, *NAMES, *COUNTS, *recordfile.OTHERS, *recordfile.NUMBERS} == {f.name for f in fields(Record)}, (
    "a field no file would hold"
)


def _plain(values: Any) -> Any:
    """Numbers of numpy as those of Python, None for what is not finite."""
    known = np.asarray(values)
    if known.dtype.kind == "f":
        known = known.astype(object)
        known[~np.isfinite(values)] = None
    return known.tolist()


def _first_nonfinite(record: Record) -> tuple[int, str, str] | None:
    rows = np.flatnonzero(record.faulty)
    found: list[tuple[int, int, str, str]] = []
    if len(rows):
        what, faults, order = "output", record.output_nonfinite[rows[0]], 1
        if not faults.any():
            what, faults, order = "gradient", record.nonfinite[rows[0]], 3
        layers = np.flatnonzero(faults)
        found.append((int(record.step[rows[0]]), order, record.layers[layers[0 if order == 1 else -1]], what))
    weights = record.bad_weights[-1] if record.bad_weights else "the model"
    for step, order, where, what in (
        (record.first_bad_input, 0, "the input", "input"),
        (record.first_bad_answer, 2, "the model", "output"),
        (record.first_bad_weights, 4, weights, "weights"),
        (record.first_bad_loss, 5, "the loss", "loss"),
    ):
        if what == "weights" and step is not None and np.isfinite(record.weight_norm[record.step == step]).all(1).any():
            continue  # that step left them as they should be: somebody has changed them since
        if step is not None and (what != "weights" or step > 0):
            found.append((step, order, where, what))
    if not found:
        return None
    first, _, where, what = min(found)
    return first, where, what


def _joined(record: Record, later: Record, after: int | None) -> Record:
    for what in NAMES:
        here, there = getattr(record, what), getattr(later, what)
        if here != there:
            raise ValueError(f"these records do not continue each other: {_difference(what, here, there)}")
    if record.histogram.shape[2] != later.histogram.shape[2]:
        raise ValueError("these records do not continue each other: only one of them counted histograms")
    after = _end(record) if after is None else after
    if record.last_step is not None and after > _end(record):
        raise ValueError(f"after must be at most the last step, {_end(record)}, got {after}")
    joined: dict[str, Any] = {}
    for name, (shape, _) in SHAPES.items():
        kept = (record.told_step if shape == "T" else record.step) <= after
        joined[name] = np.concatenate([getattr(record, name)[kept], getattr(later, name)])
    joined["step"] = np.concatenate([record.step[record.step <= after], later.step + after])
    joined["told_step"] = np.concatenate([record.told_step[record.told_step <= after], later.told_step + after])
    for name in ("chance_loss", *recordfile.NUMBERS):
        joined[name] = getattr(record if math.isnan(getattr(later, name)) else later, name)
    for name in COUNTS:
        bad = getattr(record, name)
        if bad is None or bad > after:
            bad = getattr(later, name)
            bad = None if bad is None else bad + after
        joined[name] = bad
    joined["bad_weights"] = record.bad_weights or later.bad_weights
    joined["loss_kind"] = later.loss_kind or record.loss_kind
    return replace(record, **joined | {"last_step": after + _end(later), "idle_passes": 0}, loss_falls=later.loss_falls)


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
