"""What became inf or NaN: where, and whether it had grown before."""

import math

import numpy as np

from gradclinic.record import Record
from gradclinic.remedies import IN_BACKWARD, IN_INPUT, IN_LAYER, IN_LOSS, IN_UPDATE, SIGN
from gradclinic.rules.evidence import CERTAIN, WEAK, Evidence, Found, Number
from gradclinic.rules.limits import GROWN, HUGE

# Norm of the weights times the size of what enters: in half precision such a product is infinite.
PRODUCT = 1e4

# Kinds of layers that do nothing but multiply and add.
_PRODUCTS = ("Linear", "Conv", "Bilinear")

NOT_FINITE, OVERFLOW = "not finite", "overflow"


def lasting(record: Record) -> bool:
    """Whether the run was still broken at its end: a batch left out, or a loss scaler's search, is no fault."""
    if record.first_bad_weights is not None:
        return True
    told = record.told_loss
    if len(told) and not np.isfinite(told[-1]):
        return True
    return bool(len(record.step)) and bool(record.faulty[-1])


def growth(record: Record, step: int) -> Evidence | None:
    """By how much numbers had grown before they were inf or NaN, if they had."""
    rows = np.flatnonzero((record.step < step) & ~record.faulty)
    told = record.told_loss[(record.told_step < step) & np.isfinite(record.told_loss)]
    if len(told) > 1 and told[0] != 0:
        lowest = float(np.abs(told[: max(1, len(told) - 3)]).min())
        before = float(np.abs(told[-3:]).max())
        if lowest > 0 and before > GROWN * max(lowest, abs(float(told[0]))):
            number = Number("loss before over first", before / abs(float(told[0])))
            if told[-1] < 0:
                text = "Just before, the loss was {0:.2g}: it had fallen without end, and far below 0."
                return Evidence(text, Number("last finite loss", float(told[-1])))
            return Evidence("Just before, the loss had grown to {0:.2g} times the first one.", number)
    first = float(record.answer_rms[0]) if len(record.step) else math.nan
    largest = float(np.nanmax(record.output_rms[rows], initial=0.0)) if len(rows) else 0.0
    if largest > HUGE:
        number = Number("largest output_rms before", largest)
        return Evidence("Before, outputs were as large as {0:.2g}, root mean square.", number)
    if first != 0 and record.answer_rms_before > GROWN * max(first, 1.0):
        number = Number("answers before over first", record.answer_rms_before / first)
        return Evidence("In the step before, the model's answers had grown to {0:.2g} times the first ones.", number)
    if len(rows) > 1:
        for name, what in (("output_rms", "outputs"), ("weight_norm", "weights"), ("gradient_norm", "gradients")):
            values = getattr(record, name)[rows]
            early = values[: max(1, len(values) // 2)]
            middle, seen = np.full(early.shape[1:], math.nan), ~np.isnan(early).all(axis=0)
            middle[seen] = np.nanmedian(early[:, seen], axis=0)
            with np.errstate(all="ignore"):
                ratio = values[-1] / middle
            ratio = np.where(np.isfinite(ratio), ratio, 0.0)
            bound = GROWN * (30 if name == "gradient_norm" else 1)
            if ratio.max(initial=0.0) > bound:
                layer = record.layers[int(ratio.argmax())]
                number = Number(f"{name} last over middle", float(ratio.max()), int(record.step[rows[-1]]), layer)
                return Evidence(f"Before, the {what} of {layer} had grown {{0:.2g}}-fold.", number)
    return _through_layers(record, step)


def _through_layers(record: Record, step: int) -> Evidence | None:
    """From the input on within the pass that broke, as far as that was finite."""
    rows = np.flatnonzero(record.step == step)
    if not len(rows):
        return None
    weights, given = record.weight_norm[rows[0]], record.entering_rms[rows[0]]
    broken = np.flatnonzero(record.output_nonfinite[rows[0]])
    if len(broken) and weights[broken[0]] * given[broken[0]] > PRODUCT:
        number = Number("weights times input", float(weights[broken[0]] * given[broken[0]]), step)
        return Evidence("There weights and input are so large that their product reaches {0:.2g}.", number)
    if len(broken) and np.isfinite(given[broken[0]]):
        layer, kind = record.layers[broken[0]], record.layer_kinds[broken[0]] if record.layer_kinds else ""
        if np.isposinf(record.output_rms[rows[0], broken[0]]):
            return Evidence(f"The output of {layer} is inf and not NaN: a number that is too large.")
        if kind.startswith(_PRODUCTS):
            return Evidence(f"What enters {layer} is finite, and it only multiplies and adds: a product is too large.")
    sizes = record.output_rms[rows[0]]
    sizes = sizes[np.isfinite(sizes)]
    if len(sizes) < 2 or not sizes[0] > 0:
        return None
    if sizes[-1] > GROWN**3 * sizes[0] or sizes.max() > 1e18:
        number = Number("last finite output over first", float(sizes[-1] / sizes[0]), step)
        return Evidence("On the way through the layers the signal grew {0:.2g}-fold before it was not finite.", number)
    return None


def place(record: Record) -> tuple[int, str, tuple[str, ...], str] | None:
    """(step, circumstance, layers, words) of what first was inf or NaN."""
    first = record.first_nonfinite
    if first is None:
        return None
    step, where, what = first
    if record.first_bad_input is not None and record.first_bad_input <= step:
        return record.first_bad_input, IN_INPUT, (), "the input of the model holds inf or NaN"
    healthy_answer = record.first_bad_answer is None or record.first_bad_answer > step
    if record.first_bad_loss == step and healthy_answer and what != "output":
        return step, IN_LOSS, (), "the loss is inf or NaN, and the answers it was computed from are not"
    if what == "output":
        if where in record.layers:
            return step, IN_LAYER, (where,), f"the output of {where} is inf or NaN, and nothing before it is"
        return step, IN_LAYER, (), "the model's answer is inf or NaN; its input and its weights were not"
    if what == "gradient":
        return step, IN_BACKWARD, (where,), f"the gradient of {where} is inf or NaN; outputs and loss were not"
    if what == "weights":
        if step == 0:
            return 0, IN_LAYER, (where,), f"the weights of {where} are inf or NaN before the first step"
        told = dict(zip(record.told_step.tolist(), record.told_loss.tolist(), strict=True)).get(step)
        known = "; the loss was not" if told is not None and math.isfinite(told) else ""
        words = f"the weights of {where} are inf or NaN afterwards"
        if _gradients_were_finite(record, step):
            return step, IN_UPDATE, record.bad_weights, f"{words}; loss and gradients were not"
        return step, IN_BACKWARD, record.bad_weights, f"{words}{known}"
    return step, IN_LOSS, (), "the loss is inf or NaN"


def _gradients_were_finite(record: Record, step: int) -> bool:
    rows = np.flatnonzero(record.step == step)
    if not len(rows):
        return False
    norms = record.gradient_norm[rows[0]]
    return bool(np.isfinite(norms).any() and not np.isinf(norms).any() and not record.nonfinite[rows[0]].any())


def below_zero(record: Record) -> bool:
    """Whether the loss fell far below 0 before it was not finite: something without an end was minimised."""
    told = record.told_loss[np.isfinite(record.told_loss)]
    return len(told) > 1 and bool(told[-1] < -GROWN * max(1.0, abs(float(told[0]))))


def not_finite(record: Record) -> Found | None:
    """An overflow, if numbers had grown; else a number that an operation does not have."""
    found = place(record)
    if found is None:
        return None
    step, circumstance, layers, words = found
    number = Number("first not finite", float(step))
    evidence = Evidence(f"Step {{0:.0f}}: {words}, the first that was seen.", number)
    weight = CERTAIN if lasting(record) else WEAK
    grown = None if circumstance == IN_INPUT else growth(record, step)
    if grown is not None:
        signed = (SIGN,) if below_zero(record) else ()
        return Found(OVERFLOW, evidence + " " + grown, layers, step, weight, signed)
    return Found(NOT_FINITE, evidence + " Nothing had grown before.", layers, step, weight, (circumstance,))
