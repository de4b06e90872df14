"""From a record to a verdict: what is wrong, in which layers, by which numbers, and what to do first.

The rules ask first whether the network learns at all. Dead units, saturation and tiny gradients are common in networks
that learn well, so alone they are no fault. Where it does not learn, what came first in time is the cause: the data and
the program around the network, then what is wrong before any update, then the updates, and last what grew up later.
``rules/`` holds the rules, and every threshold, each a ratio; how they do stands in ``benchmarks``.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape

import numpy as np

from gradclinic.record import Record
from gradclinic.remedies import GUIDE, SIGMOID_UNITS, THROUGH_TIME, Case, Remedy, advised, learning_rate
from gradclinic.rules import along, finite, start, wiring
from gradclinic.rules.evidence import CERTAIN, STRONG, WEAK, Found
from gradclinic.rules.limits import ENOUGH_STEPS
from gradclinic.rules.progress import FELL, LEARNS, NOT, SLOWLY, UNKNOWN, WELL, Progress, progress_of

TOO_HIGH, TOO_LOW = along.TOO_HIGH, along.TOO_LOW
KINDS = (
    "healthy",
    "vanishing",
    "exploding",
    "overflow",
    "dying ReLU",
    "saturated",
    TOO_HIGH,
    TOO_LOW,
    "no gradient",
    "not trained",
    "gradients not cleared",
    "not finite",
    "diverging",
    "collapsed",
    "unscaled data",
    "output layer",
    "weight decay too strong",
    "symmetric start",
    "undecided",
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: one of ``KINDS``.
        layers: names of the layers concerned, from the input; empty where it is the whole network.
        evidence: what was measured. The sentence has ``numbers``: those it was made from.
        remedies: what to do about it, the first one first.
        step: the training step from which on it is there; 0 for what is wrong with the data.
    """

    kind: str
    layers: tuple[str, ...]
    evidence: str
    remedies: tuple[Remedy, ...]
    step: int


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The verdict on a run.

    Attributes:
        kind: one of ``KINDS``.
        layers: names of the layers concerned, from the input; empty where it is the whole network.
        evidence: what was measured, a sentence each, the decisive one first.
        remedies: what to do, the first one first.
        steps: number of the last step that was looked at.
        findings: all that is wrong, the first in time first. The kind, layers and remedies are those of the first.
    """

    kind: str
    layers: tuple[str, ...]
    evidence: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    steps: int
    findings: tuple[Finding, ...] = ()

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
            "findings": [
                {
                    "kind": finding.kind,
                    "step": finding.step,
                    "layers": list(finding.layers),
                    "evidence": str(finding.evidence),
                    "remedies": [asdict(remedy) for remedy in finding.remedies],
                }
                for finding in self.findings
            ],
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
        others = "".join(f"<li>{escape(f.kind)}: {escape(f.evidence)}</li>" for f in self.findings[1:])
        also = f"<p>Also found, later or less certain:</p><ul>{others}</ul>" if others else ""
        return f"<div><p>{head}</p><p>Evidence:</p><ul>{evidence}</ul>{todo}{also}</div>"

    def __str__(self) -> str:
        lines = [f"Diagnosis after {_counted(self.steps, 'step')}: {self.kind}"]
        if self.layers:
            lines.append(f"Where: {_span(self.layers)}")
        lines += ["Evidence:", *(f"  - {line}" for line in self.evidence)]
        if self.remedies:
            lines.append("What to do, in this order:")
            lines += [f"  {n}. {r.advice} ({r.address})" for n, r in enumerate(self.remedies, 1)]
        if len(self.findings) > 1:
            lines.append("Also found, later or less certain:")
            lines += [f"  - {finding.kind}: {finding.evidence}" for finding in self.findings[1:]]
        return "\n".join(lines)


def diagnose(record: Record) -> Diagnosis:
    """Judge a run from its record.

    Args:
        record: of a ``Recorder`` that watched from the first step on, with activations. Tell it the loss of every step
            (``log_loss``): whether a network learns cannot be seen from norms. If the loss is a cross-entropy or a
            squared error of what the model puts out, the best constant answer's is computed from the gradient there;
            else tell it, too (``chance_loss``).
    Returns:
        A ``Diagnosis``. Its kind is "undecided" where the record is too short to tell or holds no loss, where it cannot
        be known whether more than a constant was learnt, and where the network does not learn for a reason that a
        record does not show.
    Raises:
        TypeError: if ``record`` is no ``Record``.
    Source: benchmarks/ measures how often it is right; the thresholds name theirs in ``rules/limits.py``.
    """
    if not isinstance(record, Record):
        raise TypeError(f"diagnose needs a Record (recorder.record), got {type(record).__name__}")
    progress = progress_of(record)
    broken = finite.not_finite(record)
    if len(record.step) == 0 and broken is None:
        idle = wiring.idle(record)
        if idle is not None:
            return _verdict(record, [idle])
        return _undecided(
            record, "Nothing was recorded: no optimiser step happened while the recorder watched.", *_told(progress)
        )
    found = [*wiring.faults(record), *start.at_the_start(record, progress), *along.along_the_way(record, progress)]
    found.sort(key=_when)
    if broken is not None and broken.weight == CERTAIN:
        causes = _broken(broken, found)
        return _verdict(record, causes, *(() if causes[0] is broken else (broken.evidence,)))
    alarming = [one for one in found if one.weight >= _needed(progress)]
    if alarming and all(one.follows for one in alarming):  # what they follow from need not be sure by itself
        alarming = found
    if alarming:
        return _verdict(record, alarming, progress.evidence)
    return _calm(record, progress, found, broken)


def _when(one: Found) -> tuple[int, int, int]:
    """What comes first in time; of what is there from the start the surest. What follows from others comes last."""
    early = one.step <= 2
    return (int(one.follows), 1 if early else one.step, -one.weight if early else 0)


# What a finding must weigh to be an alarm, by how far the run has come.
_NEEDED = {WELL: CERTAIN, LEARNS: STRONG, SLOWLY: STRONG, FELL: STRONG, UNKNOWN: STRONG, NOT: WEAK}


def _needed(progress: Progress) -> int:
    return _NEEDED[progress.verdict] if progress.enough else CERTAIN


def _broken(broken: Found, found: list[Found]) -> list[Found]:
    """What made numbers grow comes before an overflow; what is not finite for another reason comes first itself."""
    before = [one for one in found if one.step <= broken.step]
    if broken.kind == finite.OVERFLOW and not broken.circumstances:
        large = ("exploding", TOO_HIGH, "diverging", "unscaled data", "gradients not cleared")
        causes = [one for one in before if one.kind in large]
        return [*causes, broken]
    return [broken, *(one for one in before if one.weight >= STRONG)]


def _calm(record: Record, progress: Progress, found: list[Found], broken: Found | None) -> Diagnosis:
    """No alarm: healthy, if that is known, and else what is missing to know."""
    # a part that is not trained may be what was wanted of it, which nobody can tell from a record
    parts = (wiring.NO_GRADIENT, wiring.NOT_TRAINED, wiring.SYMMETRIC)
    strong = [one for one in found if one.weight >= STRONG or one.kind in parts]
    if progress.verdict == WELL and not strong:
        passing = found if broken is None else [broken, *found]
        weak = [one.evidence + " It learns all the same." for one in passing]
        return Diagnosis("healthy", (), (progress.evidence, *weak), (), _steps(record))
    if not progress.enough and progress.verdict in (NOT, SLOWLY, FELL):
        there = max(len(record.step), len(progress.losses))
        missing = _counted(ENOUGH_STEPS - there, "more step")
        return _undecided(record, f"The run is too short to tell: {missing} needed.", progress.evidence)
    if strong:
        return _undecided(record, progress.evidence, *(one.evidence for one in strong))
    if progress.verdict == NOT:
        elsewhere = (
            "No rule names its fault, so look elsewhere too: are labels and inputs paired, is the loss the right one, "
            "are there enough units?"
        )
        return _undecided(record, progress.evidence, elsewhere)
    if progress.verdict == LEARNS:
        share = "Whether that is all that there is to learn, a record does not show."
        return _undecided(record, progress.evidence, share, *(one.evidence for one in found))
    return _undecided(record, progress.evidence)


# --- what to do ------------------------------------------------------------------------------------------------------


def _told(progress: Progress) -> tuple[str, ...]:
    return (progress.evidence,) if len(progress.losses) else ()


def _undecided(record: Record, *why: str) -> Diagnosis:
    return Diagnosis("undecided", (), why, (), _steps(record))


def _verdict(record: Record, found: Iterable[Found], *more: str) -> Diagnosis:
    findings, kinds = [], set()
    for one in found:
        if one.kind not in kinds:  # the first of its kind says it
            kinds.add(one.kind)
            findings.append(Finding(one.kind, one.layers, one.evidence, _remedies(record, one), one.step))
    first = findings[0]
    evidence = (first.evidence, *more)
    return Diagnosis(first.kind, first.layers, evidence, first.remedies, _steps(record), tuple(findings))


def _steps(record: Record) -> int:
    """The last step that anything is known of: a loss that is not finite may come after the last recorded one."""
    told = int(record.told_step[-1]) if len(record.told_step) else 0
    last = int(record.step[-1]) if len(record.step) else 0
    return max(last, told, record.last_step or 0)


def _remedies(record: Record, found: Found) -> tuple[Remedy, ...]:
    rate = () if found.factor is None else (learning_rate(found.factor),)
    circumstances = list(found.circumstances)
    if len(record.step) and np.isfinite(record.time_ratio[0]).any():
        circumstances.append(THROUGH_TIME)
    if "Sigmoid" in record.activation_kinds[: max(1, len(record.activation_kinds) - _ends_in_sigmoid(record))]:
        circumstances.append(SIGMOID_UNITS)
    if not any(case.kind == found.kind for case in GUIDE):
        return rate
    if Case(found.kind) not in GUIDE and not any(Case(found.kind, c) in GUIDE for c in circumstances):
        return rate
    return rate + advised(found.kind, circumstances)


def _ends_in_sigmoid(record: Record) -> bool:
    """Whether the last activation is a sigmoid of the model's own answers: replacing that one mends nothing."""
    kinds = record.activation_kinds
    inside = np.nanmin(record.answer_low, initial=np.inf) >= 0 and np.nanmax(record.answer_high, initial=-np.inf) <= 1
    return bool(kinds) and kinds[-1] == "Sigmoid" and bool(inside) and bool(np.isfinite(record.answer_low).any())


# --- words -----------------------------------------------------------------------------------------------------------


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _span(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)} layers)"
