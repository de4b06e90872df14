"""Does it learn? Against the best constant answer, where that is known, and by the trend of all told losses."""

import math
from dataclasses import dataclass

import numpy as np

from gradclinic.record import Record
from gradclinic.rules.evidence import Evidence, Number, median
from gradclinic.rules.limits import (
    ENOUGH_STEPS,
    FALLS_BELOW,
    FALLS_FAR_BELOW,
    HARDLY_BELOW,
    LEARNS_BELOW,
    LEARNS_WELL_BELOW,
    SAME_BELOW,
)

WELL, LEARNS, SLOWLY, FELL, NOT, UNKNOWN = "well", "learns", "slowly", "fell", "not", "unknown"


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        verdict: ``WELL`` or ``LEARNS`` (more than any constant answer), ``SLOWLY`` (it falls steadily, and has not come
            far), ``FELL`` (it fell, and whether more than a constant was learnt cannot be known), ``NOT``, or
            ``UNKNOWN``.
        evidence: the sentence that says so.
        reference: the loss it is judged by: of the best constant answer, or the first.
        known: whether that is the best constant answer's.
        losses: all told losses that are finite, and their steps.
        recent: median of the last tenth of them, but of five at least.
        supervised: whether the loss is known to be of a kind that has to fall.
        enough: whether the run is long enough to say that it does not learn.
    """

    verdict: str
    evidence: Evidence
    reference: float
    known: bool
    losses: np.ndarray
    steps: np.ndarray
    recent: float
    supervised: bool
    enough: bool


def last_of(losses: np.ndarray) -> float:
    """The median of the last tenth, but of five at least."""
    return median(losses[-max(5, len(losses) // 10) :])


def blocks(losses: np.ndarray) -> np.ndarray:
    """Medians of some twenty stretches of equal length, of three losses at least; the first loss is not among them."""
    size = max(3, (len(losses) - 1) // 20)
    whole = losses[1 + (len(losses) - 1) % size :] if len(losses) > size else losses
    return np.median(whole[: len(whole) // size * size].reshape(-1, size), axis=1) if len(whole) >= size else whole


def steadily(losses: np.ndarray) -> bool:
    """Whether they fall to the end: later stretches lie below earlier ones, in most pairs (Kendall's tau), and the
    last below the middle ones by more than their scatter."""
    found = blocks(losses)
    if len(found) < 8:
        return False
    pairs = np.sign(found[None, :] - found[:, None])[np.triu_indices(len(found), 1)]
    half, late = found[len(found) // 4 : len(found) // 2], found[-len(found) // 4 :]
    scatter = np.median(np.abs(np.diff(found))) + 1e-12
    return bool(pairs.mean() < -0.4 and np.median(half) - np.median(late) > 1.5 * scatter)


def varied(record: Record, recent: float) -> bool | None:
    """Whether the answers differ between examples as much as they would have to; None if that was not seen."""
    spread, size = record.answer_spread, record.answer_rms
    late = np.flatnonzero(np.isfinite(spread))[-max(3, len(spread) // 10) :]
    if not len(late) or recent <= 0:
        return None
    differs, rms = median(spread[late]), median(size[late])
    # by so much more than what is left of the loss that answers which do not belong to the targets would leave more
    return bool(min(differs, differs**2) > 2 * recent and differs > SAME_BELOW * rms)


def progress_of(record: Record) -> Progress:
    """Judge by all told losses."""
    there = np.isfinite(record.told_loss)
    losses, steps = record.told_loss[there], record.told_step[there]
    supervised = record.loss_falls and (math.isfinite(record.chance_loss) or record.loss_kind != "")
    # a target that does not vary is one of a game of two, or of no use
    guess = record.guessing_loss if record.guessing_loss > 1e-6 else math.nan
    told = record.chance_loss
    reference, known = (told, True) if math.isfinite(told) else (guess, True) if math.isfinite(guess) else (0.0, False)

    def judged(verdict: str, evidence: Evidence) -> Progress:
        enough = max(len(losses), len(record.step)) >= ENOUGH_STEPS
        recent = last_of(losses) if len(losses) else math.nan
        return Progress(verdict, evidence, reference, known, losses, steps, recent, supervised, enough)

    if len(losses) == 0:
        return judged(
            UNKNOWN, Evidence("No loss was told to the recorder (log_loss), so whether the network learns is unknown.")
        )
    recent, first = last_of(losses), float(losses[0])
    now = Number("recent loss", recent)
    if not record.loss_falls:
        return judged(UNKNOWN, Evidence("Its loss is of a kind that need not fall; now it is {0:.3g}.", now))
    positive = losses.min() >= 0 and first > 0  # a cross-entropy of sure answers is exactly 0
    if not known:
        reference = first
        if not positive:
            began = Number("first loss", first)
            fell = steadily(losses) or recent < first
            text = "Its loss went from {0:.3g} to {1:.3g}, and is not above 0, so shares of it mean nothing."
            return judged(FELL if fell else UNKNOWN, Evidence(text, began, now))
    elif not positive or reference <= 0:  # a share of it means nothing: it counts by how much it is below
        below = reference - recent
        both = (now, Number("reference loss", reference))
        text = "the recent loss is {0:.3g}; the best answer that ignores the input gets {1:.3g}."
        if below > 0.2 * max(abs(reference), abs(recent)) and recent < first:
            return judged(LEARNS if below < abs(reference) else WELL, Evidence(f"It learns: {text}", *both))
        return judged(UNKNOWN, Evidence(f"Whether it learns is unknown: {text}", *both))
    share = recent / reference
    told_by = "of the best answer that ignores the input" if known else "of the first step"
    if known and not math.isfinite(told):
        told_by += ", as the gradients at the output reveal it,"
    number = Number("recent loss over reference", share)
    ends = f"is {{0:.3g}}, {{1:.2g}} times that {told_by} ({{2:.3g}})."
    numbers = (now, number, Number("reference loss", reference))
    if known and share < LEARNS_BELOW:
        return judged(
            WELL if share < LEARNS_WELL_BELOW else LEARNS, Evidence(f"It learns: the recent loss {ends}", *numbers)
        )
    falls = positive and steadily(losses)
    if not known and share < FALLS_BELOW:
        differ = varied(record, recent)
        if differ and share < FALLS_FAR_BELOW:
            return judged(LEARNS, Evidence(f"It learns: the recent loss {ends} The answers differ.", *numbers))
        text = f"Its loss fell: the recent one {ends} Whether more than a constant answer was learnt is unknown."
        return judged(FELL, Evidence(text, *numbers))
    if falls and recent < first and (not known or recent < reference):
        return judged(SLOWLY, Evidence(f"It learns slowly, and goes on: the recent loss {ends}", *numbers))
    little = known and share < HARDLY_BELOW
    words = "It hardly learns" if little else "It does not learn"
    return judged(NOT, Evidence(f"{words}: the recent loss {ends}", *numbers))
