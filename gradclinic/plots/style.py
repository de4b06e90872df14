"""How every figure looks, here and in the course: colours, sizes, axes.

One colour has one meaning, and never stands alone: a marker or a line style says the same.
"""

import functools
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, Concatenate, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

P = ParamSpec("P")
Dashes = str | tuple[int, tuple[int, ...]]  # a line style, as matplotlib takes it

# The explorers of the course turn these into the page's own colours, so that a figure is readable in light and dark.
PALETTE = {"vanishing": "#1769c2", "exploding": "#c0281c", "healthy": "#1b7a3a", "neutral": "#6b6b6b"}
TEXT = "#1a1a1b"
MARKER = {"vanishing": "v", "exploding": "^", "healthy": "o", "neutral": "s"}
DASHES: dict[str, Dashes] = {
    "vanishing": (0, (5, 2)),
    "exploding": (0, (1, 1)),
    "healthy": "solid",
    "neutral": (0, (3, 1, 1, 1)),
}

_STYLE: dict[Any, Any] = {  # versions of matplotlib differ in the type of the keys
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "grid.color": PALETTE["neutral"],
    "grid.alpha": 0.25,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.markersize": 4,
}
SIZE = (4.7, 3.1)


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in this style without touching the reader's own matplotlib settings."""

    @functools.wraps(plot)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return plot(*args, **kwargs)

    return wrapper


def titled(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure of the usual size and its axes, with a title and the names of both axes."""
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def alone(panel: Callable[Concatenate[Axes, P], str], *args: P.args, **kwargs: P.kwargs) -> Figure:
    """One panel as a figure of its own: a panel draws on axes and returns what it shows in words."""
    figure = Figure(figsize=SIZE)
    figure.set_label(panel(figure.subplots(), *args, **kwargs))
    return figure


def nothing_to_show(axes: Axes, note: str) -> str:
    """Axes that have nothing to show say so, and how to change that."""
    axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", va="center", linespacing=1.6)
    axes.set(xticks=[], yticks=[])
    return f"{axes.get_title(loc='left')}: nothing to show. {' '.join(note.split())}."


def positive(values: np.ndarray) -> np.ndarray:
    """Values a logarithmic axis can show; what is zero or not finite is left out."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def few_decades(axes: Axes) -> None:
    """At most seven ticks on a logarithmic y axis, and none between decades."""
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())


def logarithmic(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic y axis around ``values``, if any is to be put on it; else a note in its place."""
    none = np.isnan(values).all()
    if none:
        axes.text(0.5, 0.5, "nothing finite above 0", transform=axes.transAxes, ha="center", va="center")
    else:
        low, high = math.log10(np.nanmin(values)), math.log10(np.nanmax(values))
        room = 0.05 * (high - low) if high - low > 1 else 1 - (high - low) / 2  # a tick needs a decade
        axes.set_ylim(10 ** max(low - room, -300), 10 ** min(high + room, 300))
    axes.set_yscale("log")
    few_decades(axes)
    if none:
        axes.set(yticks=[])


def regime(ratio: float) -> str:
    """The colour of a first-to-last gradient ratio: "vanishing" below 1/100, "exploding" above 100, else "healthy".

    A rough guide for the eye, not a diagnosis: a ratio says nothing about whether the network learns. A ratio that is
    not a number is "neutral".

    Raises:
        TypeError: for what is no number.
        ValueError: for a ratio below 0, which two norms cannot have.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, Real):
        raise TypeError(f"a ratio of two norms must be a number, got {ratio!r}")
    if ratio < 0:
        raise ValueError(f"a ratio of two norms must be at least 0, got {ratio!r}")
    if math.isnan(ratio):
        return "neutral"
    if ratio < 1e-2:
        return "vanishing"
    return "exploding" if ratio > 1e2 else "healthy"


def layer_count(count: int) -> str:
    """How many layers, for a sentence."""
    return "1 layer" if count == 1 else f"{count} layers"


def first_middle_last(count: int) -> list[int]:
    """Indices of the first, the middle and the last of ``count``: enough for a legend."""
    return sorted({0, (count - 1) // 2, count - 1}) if count else []
