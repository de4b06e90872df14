"""Whether each number of each sentence of a verdict is in the record, computed anew."""

import math
import re

import numpy as np
import pytest

from gradclinic import Record


def middle(values):
    values = np.asarray(values, dtype=float)
    return float(np.median(values[np.isfinite(values)]))


def last_tenth(values):
    return middle(values[-max(3, len(values) // 10) :])


def told(record):
    losses = record.told_loss[np.isfinite(record.told_loss)]
    return losses, middle(losses[-max(5, len(losses) // 10) :])


def reference(record):
    for known in (record.chance_loss, record.guessing_loss):
        if math.isfinite(known) and (known is record.chance_loss or known > 1e-6):
            return known
    return told(record)[0][0]


def moved(record):
    """The rule of ``typical update``, row by row, as the README states it."""
    typical = []
    for update, weight in zip(record.update_norm, record.weight_norm, strict=True):
        pairs = [(u, w) for u, w in zip(update, weight, strict=True) if u > 0 and w > 0]
        usual = [u / w for u, w in pairs if u < 0.95 * w]
        typical.append(
            middle(usual if len(usual) >= len(pairs) / 2 else [u / w for u, w in pairs]) if pairs else math.nan
        )
    return np.array(typical)


# What the README of the rules says of each measure, written anew.
MEASURES = {
    "recent loss": lambda r, n: told(r)[1],
    "first loss": lambda r, n: told(r)[0][0],
    "reference loss": lambda r, n: reference(r),
    "recent loss over reference": lambda r, n: told(r)[1] / reference(r),
    "first loss over reference": lambda r, n: told(r)[0][0] / reference(r),
    "loss over first": lambda r, n: told(r)[0][1:21].max() / told(r)[0][0],
    "rows with answers": lambda r, n: np.isfinite(r.answer_low).sum(),
    "rows with a gradient": lambda r, n: np.isfinite(r.answer_alone).sum(),
    "lowest answer": lambda r, n: np.nanmin(r.answer_low),
    "highest answer": lambda r, n: np.nanmax(r.answer_high),
    "answer spread late": lambda r, n: last_tenth(r.answer_spread[np.isfinite(r.answer_spread)]),
    "answer size late": lambda r, n: last_tenth(r.answer_rms[np.isfinite(r.answer_spread)]),
    "last recorded step": lambda r, n: r.step[-1],
    "last finite loss": lambda r, n: told(r)[0][-1],
    "largest output_rms before": lambda r, n: np.nanmax(r.output_rms[(r.step < r.first_nonfinite[0]) & ~r.faulty]),
    "frozen layers": lambda r, n: r.frozen.all(0).sum(),
    "layers": lambda r, n: len(r.layers),
    "first not finite": lambda r, n: r.first_nonfinite[0],
    "typical update": lambda r, n: moved(r)[np.flatnonzero(r.step == n.step)[0]],
    "usual update": lambda r, n: middle(moved(r)),
    "weights last over first": lambda r, n: np.linalg.norm(r.weight_norm[-1]) / np.linalg.norm(r.weight_norm[0]),
}


def check(record, verdict):
    """Every number of every sentence is in the record, and stands in the sentence as it is."""
    for sentence in (*verdict.evidence, *(finding.evidence for finding in verdict.findings)):
        for number in getattr(sentence, "numbers", ()):
            if number.what in MEASURES:
                true = MEASURES[number.what](record, number)
            elif hasattr(Record, number.what) or hasattr(record, number.what):
                true = getattr(record, number.what)
                if np.ndim(true) and number.step is not None:
                    true = true[np.flatnonzero(record.step == number.step)[0]]
                    if number.layer is not None:
                        names = record.activations if number.layer in record.activations else record.layers
                        true = true[names.index(number.layer)]
                elif np.ndim(true):
                    true = true.sum() if true.dtype == bool else middle(true)
            else:
                continue  # of the few that README.md alone describes
            assert number.value == pytest.approx(float(true), rel=1e-6), f"{number} in {sentence!r}"
            assert re.search(r"\d", sentence)
