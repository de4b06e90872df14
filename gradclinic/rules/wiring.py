"""Faults of the program around the network: what gets no gradient, is moved by nobody, is added up, starts alike."""

import math
from collections.abc import Iterator

import numpy as np

from gradclinic.record import Record
from gradclinic.remedies import FROZEN, SIGMOID
from gradclinic.rules.evidence import CERTAIN, STRONG, WEAK, Evidence, Found, Number, listed, median
from gradclinic.rules.limits import DECAY_RULES, IN_ALL

NO_GRADIENT, NOT_TRAINED, UNCLEARED = "no gradient", "not trained", "gradients not cleared"
SYMMETRIC, DECAY = "symmetric start", "weight decay too strong"

# Rows that are needed to say "in every step".
_ROWS = 5


def _names(record: Record, which: np.ndarray) -> tuple[str, ...]:
    return tuple(record.layers[i] for i in np.flatnonzero(which))


def trainable(record: Record) -> np.ndarray:
    """Shape (L,): layers that ask for a gradient and, where that was watched, were used."""
    used = np.isfinite(record.output_rms).any(0) | record.output_nonfinite.any(0)
    # what runs inside gradient checkpointing is seen when it is repeated, which it is not if no gradient comes there
    used |= np.isfinite(record.learning_rate).any(0) if not used.all() else False
    asks: np.ndarray = np.logical_not(record.frozen.all(0))
    # what works with another layer's parameters, as a decoder tied to an embedding, has none that could have a gradient
    owns = np.isfinite(record.weight_norm).any(0)
    if owns.any():
        asks = asks & (owns | record.nonfinite.any(0))
    # of what has no output of its own (inside a recurrent stack, the model's own parameters) it is not known
    if used.any():
        asks = asks & (used | np.isfinite(record.gradient_norm).any(0))
    return asks


def rows_of_steps(record: Record) -> np.ndarray:
    """The rows of which gradients are known: a provisional last one may have none."""
    known: np.ndarray = np.isfinite(record.gradient_norm).any(1) | record.nonfinite.any(1)
    rows = np.flatnonzero(known)
    # where no row has any, every row counts but a last one that was not one to record
    return rows if len(rows) else np.arange(len(record.step))


def no_gradient(record: Record) -> Found | None:
    """Missing or exactly 0 in every step: all of the model, or the part that lies nearest to the input."""
    rows, wanted = rows_of_steps(record), trainable(record)
    if len(rows) < _ROWS or not wanted.any():
        return None
    norms = record.gradient_norm[rows]
    none = wanted & ~((norms > 0) | record.nonfinite[rows]).any(0)
    if not none.any():
        return None
    layers = _names(record, none)
    missing = bool(np.isnan(norms[:, none]).all())
    rows_seen = Number("rows with gradients", float(len(rows)))
    # a gradient of exactly 0 has come through something that stopped it, and that may be known
    same = _constant_answer(record)
    if (none == wanted).all():
        what = "no layer has a gradient" if missing else "the gradient of every layer is exactly 0"
        text = f"In all {{0:.0f}} recorded steps {what}" + (f": {same}." if same else ".")
        one_unit = (SIGMOID,) if same and bool((record.answer_sum[np.isfinite(record.answer_sum)] == 0).all()) else ()
        follows = not missing and not same
        return Found(NO_GRADIENT, Evidence(text, rows_seen), layers, 1, CERTAIN, one_unit, follows=follows)
    reached, first = np.flatnonzero(wanted & ~none), np.flatnonzero(wanted)
    seen = bool(np.isfinite(record.output_rms[:, none]).any())
    front = seen and bool(none[first[0]]) and first[0] < reached[0]
    cut = not missing and _all_or_nothing(record, reached[reached > np.flatnonzero(none)[0]])
    what = "got no gradient" if missing else "got a gradient of exactly 0"
    text = f"In all {{0:.0f}} recorded steps {listed(layers)} {what}, and layers behind did get one."
    return Found(
        NO_GRADIENT, Evidence(text, rows_seen), layers, 1, STRONG if front else WEAK, follows=not (missing or cut)
    )


def _all_or_nothing(record: Record, behind: np.ndarray) -> bool:
    """Whether what enters the first of these layers is 0 or 1 and nothing between: cut off, and not only bent flat."""
    if not len(behind):
        return False
    fields = (record.entering_low, record.entering_high, record.entering_ends)
    ends = np.stack([field[:, behind[0]] for field in fields], axis=1)
    ends = ends[np.isfinite(ends).all(1)]
    return len(ends) > 0 and bool((ends == (0, 1, 1)).all())


def _constant_answer(record: Record) -> str:
    low, high = record.answer_low, record.answer_high
    known = np.isfinite(low) & np.isfinite(high)
    if known.any() and (low[known] == high[known]).all() and np.ptp(low[known]) == 0:
        return f"every answer of the model is {low[known][0]:g}, whatever the input"
    return ""


def not_trained(record: Record) -> Found | None:
    """A gradient, and no optimiser that holds the layer."""
    held = np.isfinite(record.learning_rate)
    told = held.any(1)
    if told.sum() < _ROWS:
        return None
    has = (record.gradient_norm[told] > 0).any(0)
    weights = record.weight_norm[np.isfinite(record.weight_norm).all(1)]
    still = np.ones(len(record.layers), bool)
    if len(weights):
        still = np.ptp(weights, axis=0) <= 1e-9 * weights.max(0)
    left = trainable(record) & has & ~held.any(0) & still
    if not left.any():
        return None
    others = trainable(record) & ~left
    front = not others.any() or np.flatnonzero(left)[0] < np.flatnonzero(others)[0]
    weight = STRONG if front or left.sum() >= others.sum() else WEAK
    layers = _names(record, left)
    text = f"{listed(layers)} had a gradient, and no optimiser moved it in any of {{0:.0f}} recorded steps."
    return Found(NOT_TRAINED, Evidence(text, Number("steps with an optimiser", float(told.sum()))), layers, 1, weight)


def frozen(record: Record) -> Found | None:
    """All that lies before the layers that are trained asks for no gradient, and is at least half of the network."""
    if len(record.step) < _ROWS:
        return None
    still = np.asarray(record.frozen.all(0))
    count = int(np.argmin(still)) if not still.all() else 0
    if count < max(1, (len(record.layers) + 1) // 2):
        return None
    layers = record.layers[:count]
    numbers = (Number("frozen layers", float(count)), Number("layers", float(len(record.layers))))
    text = (
        f"{listed(layers)}, {{0:.0f}} of {{1:.0f}} layers, asked for no gradient (requires_grad is False) in any step."
    )
    return Found(NOT_TRAINED, Evidence(text, *numbers), layers, 1, WEAK, (FROZEN,), follows=True)


def idle(record: Record) -> Found | None:
    """Passes with a gradient, and no step of an optimiser that holds one of the model's parameters."""
    if record.idle_passes < _ROWS:
        return None
    text = "{0:.0f} times a gradient came, and no optimiser that holds a parameter of this model took a step."
    return Found(
        NOT_TRAINED, Evidence(text, Number("idle_passes", float(record.idle_passes))), record.layers, 1, CERTAIN
    )


def uncleared(record: Record) -> Found | None:
    """The gradients of the step before were there when the next ones came."""
    rows = np.flatnonzero(np.isfinite(record.answer_gradient) | np.isfinite(record.output_gradient_norm).any(1))[1:]
    found = record.uncleared[rows]
    # later units may have died of it, and then nothing comes that could be added
    if len(rows) < _ROWS or found[:20].mean() < IN_ALL or found.mean() < 0.5:
        return None
    count = Number("uncleared", float(record.uncleared[rows].sum()))
    text = "In {0:.0f} of {1:.0f} recorded steps the gradients of the step before were still there when new ones came."
    evidence = Evidence(text, count, Number("rows after the first", float(len(rows))))
    return Found(UNCLEARED, evidence, step=int(record.step[rows[0]]), weight=STRONG)


def symmetric(record: Record) -> Found | None:
    """Units that start with the same weights, get the same gradient, and so stay the same."""
    if len(record.step) < _ROWS:
        return None
    same = record.alike.all(0) & trainable(record)
    if not same.any():
        return None
    layers = _names(record, same)
    text = f"All units of {listed(layers)} have exactly the same weights, from the first step to step {{0:.0f}}."
    return Found(SYMMETRIC, Evidence(text, Number("last recorded step", float(record.step[-1]))), layers, weight=STRONG)


def decay(record: Record) -> Found | None:
    """Where the pull of the weight decay is as strong as that of the gradient, and the weights shrink to a part."""
    known = np.isfinite(record.weight_norm).any(1)
    if known.sum() < _ROWS:
        return None
    weights = np.sqrt(np.nansum(record.weight_norm[known] ** 2, axis=1))
    shrunk = float(weights[-1] / weights[0]) if weights[0] > 0 else math.nan
    size = Number("weights last over first", shrunk)
    typical = np.array([median(row) for row in _pull(record)[known]])
    share = median(typical[len(typical) // 2 :])
    if share > DECAY_RULES and shrunk < 0.5:
        text = (
            "The weight decay pulls {0:.2g} times as strongly as the gradient; weights shrank to {1:.2g} of their size."
        )
        evidence = Evidence(text, Number("decay over gradient", share), size)
        return Found(DECAY, evidence, weight=STRONG if shrunk < 0.1 else WEAK)
    # a penalty on the squared weights alone sends back so many times the weights, in each layer equally many
    with np.errstate(divide="ignore", invalid="ignore"):
        times = record.gradient_norm[known] / record.weight_norm[known]
    late = times[-max(3, len(times) // 5) :]
    late = np.log(late[np.isfinite(late).all(1) & (late > 0).all(1)]) if late.shape[1] > 1 else late[:0]
    if shrunk < 0.5 and len(late) > 1 and float(np.median(np.ptp(late, axis=1))) < 0.1:
        text = "Weights shrank to {0:.2g} of their size, and the gradient of each layer is now {1:.2g} times them:"
        factor = Number("gradient over weights late", float(np.exp(np.median(late))))
        return Found(DECAY, Evidence(text + " a penalty on them.", size, factor))
    return None


def _pull(record: Record) -> np.ndarray:
    """Shape (S, L): size of the decay's part over that of the gradient; beside the gradient, over all of the update."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = record.weight_decay * record.weight_norm / record.gradient_norm
        beside = record.learning_rate * record.weight_decay * record.weight_norm / record.update_norm
        found: np.ndarray = np.where(record.decoupled, beside, inside)
    return np.where(record.weight_decay > 0, found, math.nan)


def faults(record: Record) -> Iterator[Found]:
    """In the order in which one causes the other."""
    for rule in (uncleared, symmetric, not_trained, no_gradient, decay):
        found = rule(record)
        if found is not None:
            yield found
