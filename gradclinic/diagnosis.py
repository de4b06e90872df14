"""From a record to a verdict: what is wrong, in which layers, by which numbers, and what to do first.

The rules ask first whether the network learns at all. Dead units, saturation and tiny gradients are common in networks
that learn well, so alone they are no fault. Where it does not learn, the first recorded step comes next, before any
update: what is wrong there no learning rate has caused. Only then come the updates, and last what grew up on the way.
Every threshold is a ratio; where they were set and how they do elsewhere stands in ``benchmarks/diagnosis.py``.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from gradclinic.record import Record
from gradclinic.remedies import SIGMOID_UNITS, THROUGH_TIME, Remedy, advised, learning_rate

TOO_HIGH, TOO_LOW = "learning rate too high", "learning rate too low"
KINDS = (
    "healthy",
    "vanishing",
    "exploding",
    "overflow",
    "dying ReLU",
    "saturated",
    TOO_HIGH,
    TOO_LOW,
    "undecided",
)

# A network has learnt something when its loss is below this share of what the best constant answer gets.
LEARNS_BELOW = 0.8
# Without a loss to compare with, it must have fallen to this share of where it began.
FALLS_BELOW = 0.7
# So many steps are needed to say that a network does not learn.
ENOUGH_STEPS = 30

# First hidden layer over last: what AutoTrainer (Zhang et al. 2021, table 1) calls vanishing, and near its 70 for
# exploding. Batch normalisation without skip connections reaches 32 in health (Yang et al. 2019 say why).
VANISHES_BELOW = 1e-3
EXPLODES_ABOVE = 100.0
# A starting loss so far above that of chance says that the signal itself grows on its way forward. Numbers whose mean
# is far from 0 start some ten times above in health.
LOSS_EXPLODES_ABOVE = 100.0
# Share of a layer's units, or of its outputs.
MOSTLY = 0.9
# Update norm over weight norm: 1e-3 is the usual guide. Adam's first steps reach 0.1 in health, where weights are
# small.
UPDATE_TOO_LARGE = 0.2
UPDATE_TOO_SMALL = 1e-4

_BEFORE = "Before the first update"


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The verdict on a run.

    Attributes:
        kind: one of ``KINDS``.
        layers: names of the layers concerned, from the input; empty where it is the whole network.
        evidence: what was measured, a sentence each, the decisive one first.
        remedies: what to do, the first one first.
        steps: number of the last step that was looked at.
    """

    kind: str
    layers: tuple[str, ...]
    evidence: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    steps: int

    @property
    def healthy(self) -> bool:
        return self.kind == "healthy"

    @property
    def alarming(self) -> bool:
        """Whether a fault was found; "undecided" is neither healthy nor alarming."""
        return self.kind not in ("healthy", "undecided")

    def to_dict(self) -> dict[str, object]:
        """All of it as what JSON can hold; each remedy with its name, advice, page and factor (a number, or None)."""
        return {
            "kind": self.kind,
            "healthy": self.healthy,
            "alarming": self.alarming,
            "steps": self.steps,
            "layers": list(self.layers),
            "evidence": list(self.evidence),
            "remedies": [asdict(remedy) for remedy in self.remedies],
        }

    def __repr__(self) -> str:
        where = f" in {_span(self.layers)}" if self.layers else ""
        return f"<Diagnosis after {_counted(self.steps, 'step')}: {self.kind}{where}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: no style and no script of its own, and a link for each remedy."""
        head = f"Diagnosis after {_counted(self.steps, 'step')}: <strong>{escape(self.kind)}</strong>"
        if self.layers:
            head += f"<br>Where: {escape(_span(self.layers))}"
        evidence = "".join(f"<li>{escape(line)}</li>" for line in self.evidence)
        remedies = "".join(f'<li><a href="{escape(r.address)}">{escape(r.advice)}</a></li>' for r in self.remedies)
        todo = f"<p>What to do, in this order:</p><ol>{remedies}</ol>" if remedies else ""
        return f"<div><p>{head}</p><p>Evidence:</p><ul>{evidence}</ul>{todo}</div>"

    def __str__(self) -> str:
        lines = [f"Diagnosis after {_counted(self.steps, 'step')}: {self.kind}"]
        if self.layers:
            lines.append(f"Where: {_span(self.layers)}")
        lines += ["Evidence:", *(f"  - {line}" for line in self.evidence)]
        if self.remedies:
            lines.append("What to do, in this order:")
            lines += [f"  {n}. {r.advice} (book: {r.page})" for n, r in enumerate(self.remedies, 1)]
        return "\n".join(lines)


def diagnose(record: Record) -> Diagnosis:
    """Judge a run from its record.

    Args:
        record: of a ``Recorder`` that watched from the first step on, with activations. Tell it the loss
            (``log_loss``) and, if known, ``chance_loss``: whether a network learns cannot be seen from norms.
    Returns:
        A ``Diagnosis``. Its kind is "undecided" where the record is too short to tell or holds no loss, and where
        the network does not learn for a reason that norms do not show.
    Raises:
        TypeError: if ``record`` is no ``Record``.
    Source: benchmarks/diagnosis.py measures how often it is right; the thresholds name theirs in this module.
    """
    if not isinstance(record, Record):
        raise TypeError(f"diagnose needs a Record (recorder.record), got {type(record).__name__}")
    if len(record.step) == 0:
        return _undecided(record, "Nothing was recorded: no optimiser step happened while the recorder watched.")
    broken = record.first_nonfinite
    if broken is not None:
        return _verdict(record, _not_finite(record, *broken))
    learns, progress = _learns(record)
    if learns:
        return Diagnosis("healthy", (), (progress, *_harmless(record)), (), _steps(record))
    if learns is None:
        return _undecided(record, progress)
    if len(record.step) < ENOUGH_STEPS:
        missing = _counted(ENOUGH_STEPS - len(record.step), "more recorded step")
        return _undecided(record, f"The record is too short to tell: {missing} needed. {progress}")
    fault = _not_learning(record)
    if fault is None:
        return _undecided(
            record,
            f"{progress} Gradients, updates and activations look ordinary, so look elsewhere: are labels and inputs "
            "paired, is the loss the right one, are there enough units?",
        )
    return _verdict(record, fault, progress)


# --- does it learn? --------------------------------------------------------------------------------------------------


def _learns(record: Record) -> tuple[bool | None, str]:
    told = record.loss[np.isfinite(record.loss)]
    if len(told) == 0:
        return None, "No loss was told to the recorder (log_loss), so whether the network learns is unknown."
    recent = float(np.median(told[-max(5, len(told) // 10) :]))
    if math.isfinite(record.chance_loss):
        known, bound, what = record.chance_loss, LEARNS_BELOW, "of the best answer that ignores the input"
    else:
        known, bound, what = float(np.median(told[:3])), FALLS_BELOW, "of the first steps"
    share = recent / known if known > 0 else math.inf
    verb = "learns" if share < bound else "does not learn"
    return share < bound, f"It {verb}: the recent loss is {recent:.3g}, {share:.2g} times that {what} ({known:.3g})."


# --- faults, in the order in which they are looked for ----------------------------------------------------------------


class _Fault(NamedTuple):
    kind: str
    layers: tuple[str, ...]
    evidence: str


def _gradient_by_depth(record: Record, row: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the hidden layers that have a gradient, and its norm at their outputs, in one recorded step.

    At the outputs, because in a gradient of weights a fading signal and a growing gradient cancel.
    """
    norms = record.output_gradient_norm[row]
    if not np.isfinite(norms).any():
        norms = record.gradient_norm[row]
    hidden = np.flatnonzero(np.isfinite(norms))[:-1]  # without the read-out
    return hidden, norms[hidden]


def _first_over_last(norms: np.ndarray) -> float:
    return float(norms[0] / norms[-1]) if len(norms) > 1 and norms[-1] > 0 else math.nan


def _through_depth(record: Record) -> _Fault | None:
    hidden, norms = _gradient_by_depth(record)
    ratio = _first_over_last(norms)
    if not (ratio > EXPLODES_ABOVE or ratio < VANISHES_BELOW):
        return None
    kind = "exploding" if ratio > EXPLODES_ABOVE else "vanishing"
    concerned = norms > 10 * norms[-1] if kind == "exploding" else norms < VANISHES_BELOW * norms[-1]
    layers = tuple(record.layers[i] for i in hidden[concerned])
    return _Fault(kind, layers, f"{_BEFORE} the first hidden layer has {ratio:.2g} times the gradient of the last.")


def _through_time(record: Record, kind: str) -> _Fault | None:
    ratios = record.time_ratio[0]
    concerned = np.flatnonzero(ratios > EXPLODES_ABOVE if kind == "exploding" else ratios < VANISHES_BELOW)
    if not len(concerned):
        return None
    evidence = f"{_BEFORE} the gradient at the first time step is {ratios[concerned[0]]:.2g} times that at the last."
    return _Fault(kind, tuple(record.layers[i] for i in concerned), evidence)


def _starts_far_off(record: Record) -> _Fault | None:
    ratio = record.loss[0] / record.chance_loss if record.chance_loss > 0 else math.nan
    if not ratio > LOSS_EXPLODES_ABOVE:
        return None
    evidence = f"{_BEFORE} the loss is {ratio:.2g} times that of knowing nothing: the signal grows on its way forward."
    return _Fault("exploding", (), evidence)


def _stuck_units(record: Record, row: int, when: str) -> _Fault | None:
    """In a recorded step. From the end those count in which units were looked at: in the last step they may not be."""
    seen = np.flatnonzero(np.isfinite(np.hstack([record.dead, record.saturation])).any(1))
    row = int(seen[row]) if row < 0 and len(seen) else row
    for kind, shares, what in (
        ("dying ReLU", record.dead, "units are 0 for every example"),
        ("saturated", record.saturation, "outputs lie where the activation is flat"),
    ):
        stuck = np.flatnonzero(shares[row] >= MOSTLY)
        if len(stuck):
            names = tuple(record.activations[i] for i in stuck)
            return _Fault(kind, names, f"{when} {shares[row, stuck[0]]:.0%} of the {what} in {names[0]}.")
    return None


def _at_the_start(record: Record) -> _Fault | None:
    """What is wrong before the first update: no learning rate has caused it."""
    depth = _through_depth(record)
    if depth is not None and depth.kind == "exploding":
        return depth
    # units that are all stuck in one layer stop the gradient there: they come before what they cause
    return _through_time(record, "exploding") or _stuck_units(record, 0, _BEFORE) or _starts_far_off(record) or depth


def _typical_update(record: Record) -> np.ndarray:
    """Per step, the median of the update ratios of the layers that move at all; NaN where none does."""
    ratios = np.where(np.isfinite(record.update_ratio) & (record.update_ratio > 0), record.update_ratio, np.nan)
    return np.array([np.nan if np.isnan(row).all() else np.nanmedian(row) for row in ratios])


def _by_the_updates(record: Record) -> _Fault | None:
    ratios = _typical_update(record)
    early = ratios[:10][np.isfinite(ratios[:10])]
    usual = float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else math.nan
    words = "of the norm of the weights; about 1e-3 is usual."
    if len(early) and early.max() > UPDATE_TOO_LARGE:
        evidence = f"Among the first ten updates the largest is {early.max():.2g} {words}"
        return _Fault(TOO_HIGH, (), evidence)
    if usual < UPDATE_TOO_SMALL:
        return _Fault(TOO_LOW, (), f"A typical update is {usual:.2g} {words}")
    return None


def _not_learning(record: Record) -> _Fault | None:
    return (
        _at_the_start(record)
        or _by_the_updates(record)
        # after the updates, because gated cells, too, start with a gradient that fades, and learn to keep it
        or _through_time(record, "vanishing")
        or _stuck_units(record, -1, "By now")
    )


def _not_finite(record: Record, step: int, layer: str, what: str) -> _Fault:
    layers = () if what == "loss" else (layer,)  # a loss is of no layer, and may be told in a step that is not recorded
    subject = layer if what == "loss" else f"the {what} of {layer}"
    seen = f"Step {step}: {subject} is inf or NaN, the first that was seen."
    if step <= record.step[0]:
        return _Fault("overflow", layers, seen)
    cause = _at_the_start(record) or _by_the_updates(record)
    if cause is None or cause.kind in ("vanishing", TOO_LOW):  # neither makes anything large
        return _Fault("overflow", layers, seen)
    return cause._replace(evidence=f"{cause.evidence} {seen}")


def _harmless(record: Record) -> Iterator[str]:
    """What would be alarming in a network that does not learn."""
    for fault in (_through_depth(record), _stuck_units(record, -1, "By now")):
        if fault is not None:
            yield f"{fault.evidence} It learns all the same."


# --- what to do ------------------------------------------------------------------------------------------------------


def _undecided(record: Record, why: str) -> Diagnosis:
    return Diagnosis("undecided", (), (why,), (), _steps(record))


def _verdict(record: Record, fault: _Fault, *more: str) -> Diagnosis:
    remedies = _remedies(record, fault.kind)
    return Diagnosis(fault.kind, fault.layers, (fault.evidence, *more), remedies, _steps(record))


def _steps(record: Record) -> int:
    """The last step that anything is known of: a loss that is not finite may come after the last recorded one."""
    broken = record.first_nonfinite
    last = int(record.step[-1]) if len(record.step) else 0
    return last if broken is None else max(last, broken[0])


def _remedies(record: Record, kind: str) -> tuple[Remedy, ...]:
    if kind in (TOO_HIGH, TOO_LOW):
        return (_another_rate(record, slower=kind == TOO_HIGH),)
    recurrent = bool(np.isfinite(record.time_ratio[0]).any())
    circumstances = {THROUGH_TIME: recurrent, SIGMOID_UNITS: "Sigmoid" in record.activation_kinds}
    return advised(kind, [circumstance for circumstance, holds in circumstances.items() if holds])


def _another_rate(record: Record, slower: bool) -> Remedy:
    """So much slower or faster that the first update is about 3e-3 of the weights, in powers of ten."""
    ratios = _typical_update(record)
    ratios = ratios[np.isfinite(ratios)]
    here = float(ratios[0] if slower else np.median(ratios)) if len(ratios) else math.nan
    power = round(math.log10(3e-3 / here)) if here > 0 else 0
    return learning_rate(10.0 ** (min(power, -1) if slower else max(power, 1)))


# --- words -----------------------------------------------------------------------------------------------------------


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _span(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)} layers)"
