"""Curves of several networks with their range over seeds: told apart, drawn, and put into a title."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from gradclinic.plots.style import KINDS, few_decades, positive, power_of_ten


def told_apart(curves: Mapping[str, ArrayLike], what: str) -> dict[str, np.ndarray]:
    """Each curve as (seeds, points), or an error: at most as many as there are kinds, all of one length."""
    if not 1 <= len(curves) <= len(KINDS):
        raise ValueError(f"between 1 and {len(KINDS)} {what} can be told apart, got {list(curves)}")
    arrays = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    shapes = {name: values.shape for name, values in arrays.items()}
    if any(values.ndim != 2 or 0 in values.shape for values in arrays.values()):
        raise ValueError(f"each of the {what} must have shape (seeds, points), none of them 0; got {shapes}")
    if len({shape[1] for shape in shapes.values()}) > 1:
        raise ValueError(f"all {what} need the same number of points, got {shapes}")
    return arrays


def bands(axes: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray], geometric: bool) -> dict[str, np.ndarray]:
    """Mean and range over seeds of each curve; returns the means. What cannot be shown is left out of them."""
    middles = {}
    for (name, values), kind in zip(curves.items(), KINDS.values(), strict=False):
        shown = positive(values) if geometric else np.where(np.isfinite(values), values, np.nan)
        seeds = np.isfinite(shown).sum(0)
        total = np.nansum(np.log(shown) if geometric else shown, axis=0) / np.where(seeds > 0, seeds, np.nan)
        middles[name] = np.exp(total) if geometric else total
        axes.fill_between(x, np.fmin.reduce(shown), np.fmax.reduce(shown), color=kind.color, alpha=0.2, linewidth=0)
        axes.plot(x, middles[name], **kind._asdict(), markevery=max(1, len(x) // 10), label=name)
    return middles


def decade_axis(axes: Axes, lines: Sequence[ArrayLike], *always: float) -> None:
    """A logarithmic axis around what is drawn and these values, as far as it can show them."""
    known = np.concatenate([positive(np.asarray(line, dtype=float)).ravel() for line in (*lines, always)])
    known = known[np.isfinite(known)]
    # the limits first: a logarithmic axis warns if it has to find them among values that it cannot show
    axes.set_ylim(*((known.min() / 2, known.max() * 2) if len(known) else (0.1, 10)))
    axes.set_yscale("log")
    few_decades(axes.yaxis)


def times(ratio: float) -> str:
    """A ratio in words short enough for a title."""
    if 0.01 <= ratio < 1000:
        return f"{ratio:.2g} times" if ratio < 10 else f"{ratio:.0f} times"
    if not math.isfinite(ratio):
        return "an unknown part" if math.isnan(ratio) else "∞ times"
    return power_of_ten(math.floor(math.log10(ratio))) if ratio > 0 else "none"
