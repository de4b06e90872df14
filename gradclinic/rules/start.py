"""What is wrong before the first update, so that no learning rate has caused it: the data, the depth, the units."""

import math
from collections.abc import Iterator

import numpy as np

from gradclinic.record import Record
from gradclinic.remedies import IN_TARGETS, THROUGH_TIME
from gradclinic.rules.evidence import STRONG, WEAK, Evidence, Found, Number, median
from gradclinic.rules.limits import (
    EXPLODES_ABOVE,
    INPUT_LARGE,
    INPUT_SMALL,
    LOSS_EXPLODES_ABOVE,
    MOSTLY,
    VANISHES_BELOW,
)
from gradclinic.rules.progress import Progress

VANISHING, EXPLODING, DYING, SATURATED = "vanishing", "exploding", "dying ReLU", "saturated"
UNSCALED = "unscaled data"

_BEFORE = "Before the first update"


def gradient_by_depth(record: Record, row: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the hidden layers that have a gradient, and its norm at their outputs, in one recorded step.

    At the outputs, because in a gradient of weights a fading signal and a growing gradient cancel.
    """
    norms = record.output_gradient_norm[row]
    if not np.isfinite(norms).any():
        norms = record.gradient_norm[row]
    hidden = np.flatnonzero(np.isfinite(norms))[:-1]  # without the read-out
    return hidden, norms[hidden]


def zero_started(record: Record) -> bool:
    """Whether some layer starts so that nothing passes it, by design (an adapter, a zero-started branch), and then
    learns to let something pass: an exact 0 in the first step is no evidence then."""
    if len(record.step) < 2:
        return False
    zero = (record.gradient_norm[0] == 0) & ~record.frozen[0]
    return bool((zero & (record.gradient_norm[1:4] > 0).any(0)).any())


def through_depth(record: Record) -> Found | None:
    """First hidden layer over last, in the first step; in a later one where some layer starts closed by design."""
    row = min(3, len(record.step) - 1) if zero_started(record) else 0
    hidden, norms = gradient_by_depth(record, row)
    if len(norms) < 2 or not norms[-1] > 0:
        return None
    ratio = float(norms[0] / norms[-1])
    if not (ratio > EXPLODES_ABOVE or ratio < VANISHES_BELOW):
        return None
    kind = EXPLODING if ratio > EXPLODES_ABOVE else VANISHING
    concerned = norms > 10 * norms[-1] if kind == EXPLODING else norms < VANISHES_BELOW * norms[-1]
    layers = tuple(record.layers[i] for i in hidden[concerned])
    step = int(record.step[row])
    when = _BEFORE if row == 0 else f"In step {step}"
    number = Number("gradient first over last", ratio, step)
    text = f"{when} the first hidden layer has {{0:.2g}} times the gradient of the last."
    return Found(kind, Evidence(text, number), layers)


def through_time(record: Record, kind: str) -> Found | None:
    """First time step over last, for layers that are called once for each, and for ``nn.RNN``."""
    ratios = record.time_ratio[0]
    concerned = np.flatnonzero(ratios > EXPLODES_ABOVE if kind == EXPLODING else ratios < VANISHES_BELOW)
    if not len(concerned):
        return None
    layers = tuple(record.layers[i] for i in concerned)
    number = Number("time_ratio", float(ratios[concerned[0]]), int(record.step[0]), layers[0])
    text = f"{_BEFORE} the gradient at the first time step is {{0:.2g}} times that at the last."
    return Found(kind, Evidence(text, number), layers, circumstances=(THROUGH_TIME,))


def starts_far_off(record: Record, progress: Progress) -> Found | None:
    """A first loss far above that of knowing nothing, where the answers are large: the signal itself grows."""
    known = progress.known and progress.reference > 0 and len(progress.losses)
    ratio = float(progress.losses[0] / progress.reference) if known else math.nan
    if not ratio > LOSS_EXPLODES_ABOVE:
        return None
    if max(record.answer_rms[0], record.answer_rms[0] ** 2) < 0.1 * progress.losses[0]:
        return None  # not the answers are large, but the targets
    text = f"{_BEFORE} the loss is {{0:.2g}} times that of knowing nothing: the signal grows on its way forward."
    return Found(EXPLODING, Evidence(text, Number("first loss over reference", ratio)))


# --- units ------------------------------------------------------------------------------------------------------------


def behind_activations(record: Record) -> np.ndarray:
    """Shape (L,): layers whose input is not that of the model, as far as its size tells."""
    same = np.isclose(record.entering_rms, record.input_rms[:, None], rtol=1e-6).any(0)
    behind: np.ndarray = ~same
    behind[:1] = False
    return behind


def stuck(record: Record, row: int) -> tuple[str, str, float, str] | None:
    """(kind, name, share, words) of units that are dead or saturated in a row: of activation modules and, where
    functions were called, of what enters the layers behind them."""
    for kind, shares, what in (
        (DYING, record.dead, "units are 0 for every example"),
        (SATURATED, record.saturation, "outputs lie where the activation is flat"),
    ):
        found = np.flatnonzero(shares[row] >= MOSTLY)
        if len(found):
            name = record.activations[found[0]]
            return kind, name, float(shares[row, found[0]]), f"of the {what} in {name}"
    behind = behind_activations(record)
    dead = np.flatnonzero(behind & (record.entering_dead[row] >= MOSTLY))
    if len(dead) and not emptied(record, row):
        name = record.layers[dead[0]]
        return (
            DYING,
            name,
            float(record.entering_dead[row, dead[0]]),
            f"of the units that enter {name} are 0 for every example",
        )
    ends, low, high = record.entering_ends[row], record.entering_low[row], record.entering_high[row]
    # behind a sigmoid both ends are nearly reached; what is only small is no sigmoid's output
    flat = behind & (ends >= MOSTLY) & ((low < 0) | ((high > 0.98) & (record.entering_zero[row] < MOSTLY)))
    found = np.flatnonzero(flat)
    if len(found):
        name = record.layers[found[0]]
        return SATURATED, name, float(ends[found[0]]), f"of what enters {name} lies where a bounded activation is flat"
    return None


def emptied(record: Record, row: int) -> bool:
    """Whether each activation gives something, and what enters the layers behind is 0 all the same."""
    gives = record.dead[row]
    return len(gives) >= len(record.layers) - 1 > 0 and bool((gives < 0.5 * MOSTLY).all())


def rows_with_units(record: Record) -> np.ndarray:
    """Rows in which units were looked at: in the last step they may not be."""
    seen = np.hstack([record.dead, record.saturation, record.entering_rms])
    rows: np.ndarray = np.flatnonzero(np.isfinite(seen).any(1))
    return rows


def stuck_units(record: Record, row: int, when: str) -> Found | None:
    """All units of a kind that are stuck in a row; the sentence is about the first layer."""
    found = stuck(record, row)
    if found is None:
        return None
    kind, name, share, words = found
    if name in record.activations:
        field = "dead" if kind == DYING else "saturation"
        shares, names = getattr(record, field)[row], record.activations
    else:
        field = "entering_dead" if kind == DYING else "entering_ends"
        shares, names = np.where(behind_activations(record), getattr(record, field)[row], math.nan), record.layers
    layers = tuple(n for n, s in zip(names, shares, strict=True) if s >= MOSTLY)
    step = int(record.step[row])
    evidence = Evidence(f"{when} {{0:.0%}} {words}.", Number(field, share, step, name))
    return Found(kind, evidence, layers, step=1 if row == 0 else step)


# --- data -------------------------------------------------------------------------------------------------------------


def unscaled(record: Record) -> Iterator[Found]:
    """Inputs or targets that are far from size 1."""
    size = median(record.input_rms)
    if size > INPUT_LARGE or size < INPUT_SMALL:
        # units that are all stuck at once say that the network cannot take them
        hard = len(record.step) > 0 and (stuck(record, 0) is not None)
        number = Number("input_rms", size)
        text = "The inputs have a root mean square of {0:.3g}; networks start as if it were 1."
        yield Found(UNSCALED, Evidence(text, number), step=0, weight=STRONG if hard and size > 1 else WEAK)
    if len(record.told_loss) and len(record.answer_rms):
        first, answers = float(record.told_loss[0]), float(record.answer_rms[0])
        squared = record.loss_kind == "squared error"
        guess = record.guessing_loss
        far = squared and first > 100 * (1 + answers**2)
        small = squared and guess < 1e-4
        if far:
            text = (
                "Before the first update the loss is {0:.3g} and the answers have a root mean square of {1:.2g}: the "
            )
            numbers = (Number("first loss", first), Number("answer_rms", answers, int(record.step[0])))
            yield Found(
                UNSCALED, Evidence(text + "targets are far larger.", *numbers), step=0, circumstances=(IN_TARGETS,)
            )
        elif small:
            text = "The best constant answer gets a loss of {0:.2g}: the targets are far smaller than 1."
            yield Found(UNSCALED, Evidence(text, Number("guessing_loss", guess)), step=0, circumstances=(IN_TARGETS,))


def at_the_start(record: Record, progress: Progress) -> Iterator[Found]:
    """In the order in which one causes the other."""
    if not len(record.step):
        return
    yield from unscaled(record)
    depth = through_depth(record)
    if depth is not None and depth.kind == EXPLODING:
        yield depth
    over_time = through_time(record, EXPLODING)
    if over_time is not None:
        yield over_time
    # units that are all stuck in one layer stop the gradient there: they come before what they cause
    for found in (stuck_units(record, 0, _BEFORE), starts_far_off(record, progress)):
        if found is not None:
            yield found
    if depth is not None and depth.kind == VANISHING:
        yield depth
