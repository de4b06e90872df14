"""What goes wrong on the way: updates, schedules, a loss that rises again, stuck units, answers that are all one."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradclinic.record import Record
from gradclinic.remedies import (
    ALIKE,
    AT_ANSWERS,
    AT_ZERO,
    BOUNDED,
    BY_SCHEDULE,
    BY_SHAPES,
    RECTIFIED,
    SIGMOID,
    SIGN,
    SOFTMAX,
)
from gradclinic.rules.evidence import CERTAIN, STRONG, WEAK, Evidence, Found, Number, median
from gradclinic.rules.limits import (
    FROM_START,
    IN_ALL,
    LOSS_JUMPS_ABOVE,
    RATE_TAKEN_AWAY,
    RISES_ABOVE,
    RISES_FAR_ABOVE,
    SAME_ANSWERS,
    SAME_BELOW,
    UPDATE_TOO_LARGE,
    UPDATE_TOO_SMALL,
)
from gradclinic.rules.progress import NOT, SLOWLY, Progress, blocks
from gradclinic.rules.start import VANISHING, rows_with_units, stuck_units, through_time
from gradclinic.rules.wiring import frozen

TOO_HIGH, TOO_LOW = "learning rate too high", "learning rate too low"
DIVERGING, COLLAPSED, OUTPUT = "diverging", "collapsed", "output layer"

_GUIDE = "of the norm of the weights after it; about 1e-3 is usual."


def typical_update(record: Record) -> np.ndarray:
    """Per step, the median of the update ratios of the layers that move at all; NaN where none does.

    Layers that were nothing before the step are left out: an adapter or a branch that starts at zero moves by its whole
    length.
    """
    ratios = record.update_ratio
    known = np.isfinite(ratios) & (record.update_norm > 0) & (record.update_norm < 0.95 * record.weight_norm)
    some = np.where(known, ratios, math.nan)
    # where updates are larger than the weights in every layer, that is what is to be told
    large = np.where(np.isfinite(ratios) & (record.update_norm > 0), ratios, math.nan)
    start = record.weight_norm[:1] if len(record.step) else record.weight_norm
    grown = start > 0
    return np.array(
        [
            median(some[i]) if np.isfinite(some[i]).sum() >= np.isfinite(large[i]).sum() / 2 else median(large[i])
            for i in range(len(ratios))
        ]
        if grown.any()
        else [math.nan] * len(ratios)
    )


# --- updates ----------------------------------------------------------------------------------------------------------


def too_high(record: Record, progress: Progress) -> Found | None:
    """The first updates change the weights by a large share, or make the loss jump; or later ones, after a warm-up."""
    ratios = typical_update(record)
    losses, steps = progress.losses, progress.steps
    early = ratios[:10][np.isfinite(ratios[:10])]
    if len(early) and early.max() > UPDATE_TOO_LARGE:
        row = int(np.nanargmax(ratios[:10]))
        number = Number("typical update", float(early.max()), int(record.step[row]))
        text = f"Among the first ten updates the largest is {{0:.2g}} {_GUIDE}"
        return Found(TOO_HIGH, Evidence(text, number), step=int(record.step[row]), factor=_slower(ratios[0:1], early))
    if len(losses) > 5 and losses[0] > 0:
        soon = losses[1:21]
        # a loss of one batch scatters: it has to leave what the run knows as its usual range
        usual = max(float(losses[0]), progress.recent if math.isfinite(progress.recent) else 0.0)
        if soon.max() > LOSS_JUMPS_ABOVE * usual and progress.supervised:
            at = 1 + int(soon.argmax())
            number = Number("loss over first", float(losses[at] / losses[0]), int(steps[at]))
            text = "The first updates made the loss jump to {0:.2g} times what it was before."
            return Found(TOO_HIGH, Evidence(text, number), step=int(steps[at]), factor=_slower(ratios[:1], early))
    late = np.flatnonzero(np.isfinite(ratios) & (ratios > UPDATE_TOO_LARGE))
    late = late[late >= 10]
    if len(late) >= 3:
        number = Number("typical update", float(ratios[late[0]]), int(record.step[late[0]]))
        text = f"In step {int(record.step[late[0]])}, after small ones, the update is {{0:.2g}} {_GUIDE}"
        factor = _slower(ratios[late], ratios[late])
        return Found(TOO_HIGH, Evidence(text, number), step=int(record.step[late[0]]), factor=factor)
    return None


def _slower(ratios: np.ndarray, early: np.ndarray) -> float:
    """So much slower that the first update is about 3e-3 of the weights, in powers of ten; a tenth at least."""
    known = ratios[np.isfinite(ratios)]
    here = float(known[0]) if len(known) else float(early.max()) if len(early) else math.nan
    power = round(math.log10(3e-3 / here)) if here > 0 else -1
    return 10.0 ** min(power, -1)


def too_low(record: Record, progress: Progress) -> Found | None:
    """Updates that are too small to get anywhere, from the start or since a schedule took the rate away."""
    rates = np.array([median(row) for row in record.learning_rate])
    known = np.flatnonzero(np.isfinite(rates))
    ratios = typical_update(record)
    if len(known) > 5 and not np.nanmax(record.learning_rate) > 0:
        text = "In all {0:.0f} recorded steps the learning rate is 0: nothing moves."
        evidence = Evidence(text, Number("steps with an optimiser", float(len(known))))
        return Found(TOO_LOW, evidence, weight=STRONG, circumstances=(AT_ZERO,))
    if len(known) > 5 and rates[known].max() > 0:
        high = rates[known].max()
        below = known[rates[known] <= RATE_TAKEN_AWAY * high]
        below = below[below > known[rates[known].argmax()]]
        end = record.last_step or int(record.step[-1])
        if len(below) and record.step[below[0]] <= 0.6 * end and rates[known[-1]] <= RATE_TAKEN_AWAY * high:
            step = int(record.step[below[0]])
            number = Number("learning rate over largest", float(rates[below[0]] / high), step)
            text = f"By step {step} of {end} the learning rate has fallen to {{0:.1g}} of its largest value."
            return Found(TOO_LOW, Evidence(text, number), step=step, circumstances=(BY_SCHEDULE,))
    started_low = progress.known and len(progress.losses) and progress.losses[0] < 0.8 * progress.reference
    usual = median(ratios)
    # a loss that falls, but hardly, falls slowly for that very reason
    crawls = progress.known and progress.recent > 0.9 * progress.reference and progress.verdict == SLOWLY
    bound = UPDATE_TOO_SMALL * (3 if crawls else 1)
    # small from the start: where units have died since, small updates are what that leaves
    if usual < bound and median(ratios[:10]) < 3 * bound and not started_low:
        power = max(round(math.log10(3e-3 / usual)), 1) if usual > 0 else 1
        text = f"A typical update is {{0:.2g}} {_GUIDE}"
        weight = STRONG if crawls else WEAK
        return Found(TOO_LOW, Evidence(text, Number("usual update", usual)), weight=weight, factor=10.0**power)
    return None


# --- the loss ---------------------------------------------------------------------------------------------------------


def diverging(record: Record, progress: Progress) -> Found | None:
    """The loss rises and goes on rising, after it had been lower, and not by the first updates."""
    losses, steps = progress.losses, progress.steps
    if len(losses) < 40 or not record.loss_falls or losses.min() < 0:
        return None
    found = blocks(losses)
    lowest = int(found.argmin())
    best, last = max(float(found[lowest]), 1e-6 * float(losses[0])), float(found[-1])
    after = found[lowest:]
    above = np.flatnonzero(after > RISES_ABOVE * best)
    if len(after) < 4 or not len(above):
        return None
    size = max(3, (len(losses) - 1) // 20)
    at = int(steps[min(len(steps) - 1, 1 + (lowest + int(above[0])) * size)])
    answers = record.answer_rms[np.isfinite(record.answer_rms)]
    grown = float(answers[-1] / answers[0]) if len(answers) > 1 and answers[0] > 0 else math.nan
    rising = np.median(after[len(after) // 2 :]) > np.median(after[: len(after) // 2])
    last = max(last, float(np.median(after[len(after) // 2 :])))
    scatter = float(np.median(np.abs(np.diff(found))))
    beyond = last > best + 4 * scatter or last > 10 * best
    certain = last > RISES_FAR_ABOVE * best and grown > RISES_FAR_ABOVE
    bound = RISES_ABOVE if progress.supervised else RISES_FAR_ABOVE
    worse = last > losses[0] or last > 0.8 * progress.reference
    if not (rising and beyond and last > bound * best and worse and (progress.supervised or certain)):
        return None
    number = Number("loss over lowest", last / best)
    evidence = Evidence("The loss had been lower, and has risen to {0:.2g} times its lowest value", number)
    # it was at its lowest when it began, rose little by little, and no step was long: it is climbed on purpose
    climbed = lowest == 0 and losses.min() > 0.9 * losses[0] and np.median(losses[1:6]) < 1.5 * losses[0]
    if climbed and (np.diff(found) > 0).mean() > IN_ALL and median(typical_update(record)[:10]) < UPDATE_TOO_LARGE / 2:
        text = "From its first steps on, and little by little, the loss has risen to {0:.2g} times its lowest value."
        return Found(DIVERGING, Evidence(text, number), step=1, weight=STRONG, circumstances=(SIGN,))
    if grown > RISES_FAR_ABOVE:
        evidence += Evidence("; the answers have grown {0:.2g}-fold", Number("answers last over first", grown))
    momentum = median(record.momentum)
    held = ((0.97 < momentum < 1) and "momentum") or ""
    factor = None if not progress.supervised else 0.01 if held else 0.1
    return Found(
        DIVERGING, evidence + ".", step=at, weight=STRONG if certain or progress.supervised else WEAK, factor=factor
    )


def faded(record: Record, progress: Progress) -> Found | None:
    """The gradient at the answers has died away, and the loss is no lower for it: it has become flat there."""
    gradient = record.answer_gradient
    known = np.flatnonzero(np.isfinite(gradient) & (gradient > 0))
    if len(known) < 10 or not len(progress.losses):
        return None
    early, late = float(np.max(gradient[known[:10]])), median(gradient[known[-max(3, len(known) // 10) :]])
    risen = progress.recent >= progress.losses[0]
    if not (late < 1e-4 * early and risen):
        return None
    at = int(record.step[known[np.flatnonzero(gradient[known] < 1e-2 * early)[0]]])
    text = "The gradient at the model's answers has faded to {0:.2g} of what it was, and the loss is no lower for it."
    return Found(
        VANISHING,
        Evidence(text, Number("answer gradient late over early", late / early)),
        step=at,
        weight=STRONG,
        circumstances=(AT_ANSWERS,),
    )


# --- the answers -----------------------------------------------------------------------------------------------------


BINARY = "binary cross-entropy"


def output_layer(record: Record, _progress: Progress) -> Found | None:
    """What leaves the model is squashed, and the loss does so itself, or would have to see numbers beyond."""
    known = np.isfinite(record.answer_low) & np.isfinite(record.answer_high)
    if known.sum() < 5:
        return None
    low, high, kind = record.answer_low[known], record.answer_high[known], record.loss_kind
    rows = Number("rows with answers", float(known.sum()))
    sums = record.answer_sum[known]
    for what, text, circumstance in (
        ("squashed cross-entropy", "the answers sum to 1, and the loss has a softmax of its own", SOFTMAX),
        (
            "squashed binary cross-entropy",
            "the answers lie in [0, 1], and the loss has a sigmoid of its own",
            SIGMOID,
        ),
    ):
        if kind == what:
            evidence = Evidence(f"In {{0:.0f}} recorded steps {text}: its gradient says so.", rows)
            return Found(OUTPUT, evidence, weight=STRONG, circumstances=(circumstance,))
    if (sums == 0).all() and (low == 1).all() and (high == 1).all():
        evidence = Evidence("In {0:.0f} recorded steps every answer is exactly 1: a softmax over one unit.", rows)
        return Found(OUTPUT, evidence, weight=STRONG, circumstances=(SIGMOID,))
    raw = kind == "cross-entropy" or (kind == "" and bool((record.answer_gradient_sum[known] < 1e-3).all()))
    return _raw_scores(low, high) if raw else _numbers(record, low, high) if kind != BINARY else None


def _ends(text: str, low: np.ndarray, high: np.ndarray) -> Evidence:
    return Evidence(text, Number("lowest answer", float(low.min())), Number("highest answer", float(high.max())))


def _raw_scores(low: np.ndarray, high: np.ndarray) -> Found | None:
    """For a cross-entropy that takes raw scores: they never leave the range of a ReLU, a sigmoid or a tanh."""
    text = "The answers lie between {0:.2g} and {1:.3g} in all recorded steps, and the loss takes any raw score."
    if low.min() >= 0 and (low == 0).mean() >= IN_ALL:
        return Found(OUTPUT, _ends(text, low, high), weight=STRONG, circumstances=(RECTIFIED,))
    if low.min() >= 0 and high.max() <= 1:
        return Found(OUTPUT, _ends(text, low, high), weight=STRONG, circumstances=(RECTIFIED,))
    if -1 <= low.min() < -0.9 and 0.9 < high.max() <= 1:
        return Found(OUTPUT, _ends(text, low, high), circumstances=(RECTIFIED,))
    return None


def _numbers(record: Record, low: np.ndarray, high: np.ndarray) -> Found | None:
    """For numbers: they press against the end of the range of a sigmoid, a tanh or a ReLU, or are all 0."""
    bottom, top = float(low.min()), float(high.max())
    reach = record.target_high - record.target_low
    below, above = bottom - record.target_low > 0.1 * reach, record.target_high - top > 0.1 * reach
    floor = (low == bottom).mean() >= IN_ALL and bottom in (0.0, -1.0)
    held = bottom >= -1 and top <= 1 and ((high > 0.98).any() or (low < -0.98).any())
    if (floor and below) or (held and (below or above)):
        ends = (Number("target_low", record.target_low), Number("target_high", record.target_high))
        evidence = _ends("The answers lie between {0:.2g} and {1:.3g} in all recorded steps", low, high)
        evidence += Evidence(", and the targets between {0:.2g} and {1:.3g}.", *ends)
        return Found(OUTPUT, evidence, weight=STRONG, circumstances=(RECTIFIED if floor else BOUNDED,))
    if bottom >= 0 and (low[-3:] == 0).all() and (high[-3:] == 0).all():
        text = "The answers are never below {0:.2g}, were up to {1:.3g}, and by now are all exactly 0."
        return Found(OUTPUT, _ends(text, low, high), circumstances=(RECTIFIED,))
    inside = (bottom >= 0 or bottom >= -1) and top <= 1
    pressed = (high[-3:] > 0.98).any() or (low[-3:] < -0.98).any()
    if inside and pressed:
        text = "The answers lie between {0:.2g} and {1:.3g} in all recorded steps, and press against an end."
        return Found(OUTPUT, _ends(text, low, high), circumstances=(BOUNDED,))
    return None


def collapsed(record: Record, progress: Progress) -> Found | None:
    """The answer is the same for all examples, or becomes so, and the loss says that this is not enough."""
    spread, size = record.answer_spread, record.answer_rms
    known = np.flatnonzero(np.isfinite(spread))
    alone = record.answer_alone[np.isfinite(record.answer_alone)]
    one_each = bool(np.isnan(record.answer_gradient_sum).all())
    if (
        record.loss_kind == ""
        and record.loss_falls
        and one_each
        and len(alone) >= 5
        and (alone < 1e-6).mean() >= IN_ALL
    ):
        text = "In {0:.0f} recorded steps the gradient at the answers follows from the answers alone: no example's own "
        evidence = Evidence(text + "target counts.", Number("rows with a gradient", float(len(alone))))
        return Found(COLLAPSED, evidence, weight=STRONG, circumstances=(BY_SHAPES,))
    if len(known) < 5:
        return None
    late = known[-max(3, len(known) // 10) :]
    differs, rms = median(spread[late]), median(size[late])
    numbers = (Number("answer spread late", differs), Number("answer size late", rms))
    text = "The answers hardly differ between examples: by {0:.2g}, at a size of {1:.2g}."
    shrunk = differs < 0.1 * median(spread[known[:3]]) and differs < 0.02 * rms
    if len(progress.losses) and abs(progress.recent) < 0.05 * abs(progress.losses[0]):
        # one answer is all that was asked for, or the targets have followed the answers: a fixed one would leave a loss
        if not shrunk:
            return None
        weight = CERTAIN if record.loss_kind == "squared error" else STRONG
        return Found(COLLAPSED, Evidence(text, *numbers), weight=weight, follows=True)
    same = differs <= SAME_BELOW * rms
    judged = progress.recent > 0 and (progress.supervised or not progress.known)
    little = judged and differs**2 < SAME_ANSWERS * progress.recent and differs < 0.5 * rms
    if not (same or little):
        return None
    since = known[np.flatnonzero(spread[known] > 3 * max(differs, 1e-30))]
    step = int(record.step[since[-1]]) if len(since) else 1
    certain = same and bool(np.isfinite(rms)) and len(late) >= 3
    weight = STRONG if certain else WEAK
    began = median(spread[known[:3]]) < FROM_START * median(size[known[:3]])
    return Found(
        COLLAPSED,
        Evidence(text, *numbers),
        step=max(step, 1),
        weight=weight,
        circumstances=(ALIKE,) if began else (),
        follows=True,
    )


def along_the_way(record: Record, progress: Progress) -> Iterator[Found]:
    """Those that need a row, in the order in which one causes the other."""
    if not len(record.step):
        return
    for rule in (output_layer, too_high, too_low, diverging, faded):
        found = rule(record, progress)
        if found is not None:
            yield found
    # after the updates, because gated cells, too, start with a gradient that fades, and learn to keep it
    time = through_time(record, VANISHING)
    if time is not None:
        yield time
    rows = rows_with_units(record)
    if len(rows) and rows[-1] > 0:
        now = stuck_units(record, int(rows[-1]), "By now")
        if now is not None:
            yield now
    found, still = collapsed(record, progress), frozen(record) if progress.supervised else None
    if still is not None:
        yield still
        if found is not None and found.weight < CERTAIN and progress.verdict == NOT:
            found = replace(found, weight=WEAK)  # with what is frozen no more than this may be possible
    if found is not None:
        yield found
