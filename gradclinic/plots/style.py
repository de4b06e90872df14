"""How every figure looks, here and in the course: colours, letters, axes.

A colour of ``PALETTE`` has one meaning, and never stands alone: a marker or a line style says the same. What is of
several kinds, and has none of these meanings, is told apart by ``KINDS``.
"""

import functools
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Concatenate, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import TextPath
from matplotlib.ticker import AutoLocator, FuncFormatter, Locator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

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


class Kind(NamedTuple):
    """How one of several kinds is drawn."""

    color: str
    marker: str
    linestyle: Dashes


# For optimisers, activations, starts: told apart also by who sees no red or no green, and by markers and lines.
KINDS = {
    "plum": Kind("#601e9d", "D", "solid"),
    "ochre": Kind("#8e690d", "P", (0, (5, 2))),
    "teal": Kind("#048390", "<", (0, (3, 1, 1, 1))),
    "wine": Kind("#5c0d26", "h", (0, (1, 1))),
}

# Where a walk begins: around its first point, which stays to be seen.
RING: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "color": TEXT, "linestyle": "none"}
LETTERS = 12  # points; where a page shows a figure at its narrowest, they are 12 pixels
SIZE = (4.7, 3.6)  # inches
_STYLE: dict[Any, Any] = {  # versions of matplotlib differ in the type of the keys
    "font.size": LETTERS,
    "axes.titlesize": LETTERS + 1,
    "axes.titlelocation": "left",
    "axes.labelsize": LETTERS,
    "xtick.labelsize": LETTERS,
    "ytick.labelsize": LETTERS,
    "legend.fontsize": LETTERS,
    "axes.titlepad": 2 * LETTERS,  # the name of the y axis stands between
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": PALETTE["neutral"],
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
_EDGE = 2  # points between the left edge of a figure and its words
_HANDLE = 3.4 * LETTERS  # points that a line in a legend takes, with the room before its name and after


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in this style without touching the reader's own matplotlib settings."""

    @functools.wraps(plot)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            figure = plot(*args, **kwargs)
            for axes in figure.axes:
                _place_words(axes)
            figure.set_layout_engine(_Layout())
            return figure

    return wrapper


class _Layout(ConstrainedLayoutEngine):
    """Room for ticks, titles and legends. The name of a y axis needs none: it stands below the title."""

    def execute(self, fig: Figure) -> None:
        names = [axes.yaxis.label for axes in fig.axes if axes.yaxis.label.get_visible()]
        for name in names:
            name.set_visible(False)
        super().execute(fig)
        for name in names:
            name.set_visible(True)


def _place_words(axes: Axes) -> None:
    """Title and name of the y axis begin at the left edge of the figure, one below the other; no head is turned."""
    figure = axes.figure
    lines = _in_lines(axes.get_title(loc="left"), 72 * _inches(figure) - 2 * _EDGE, LETTERS + 1)
    edge = blended_transform_factory(figure.transSubfigure, axes.transAxes)
    up = functools.partial(ScaledTranslation, _EDGE / 72, scale_trans=figure.dpi_scale_trans)
    axes.set_title(lines).set(x=0, transform=edge + up(2 * LETTERS / 72))
    axes.yaxis.label.set(rotation=0, ha="left", va="bottom")
    axes.yaxis.set_label_coords(0, 1, edge + up(LETTERS / 2 / 72))
    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_locator(), AutoLocator):  # nobody asked for other ticks
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _inches(figure: Figure | SubFigure) -> float:
    """The width of a figure."""
    return float(figure.bbox.width / figure.dpi)


def _long(words: str, size: float = LETTERS) -> float:
    """The length of words in one line, in points."""
    if not words.strip():
        return 0
    # what a screen rounds, letter by letter, can make words 3 % longer
    return 1.03 * float(TextPath((0, 0), words, prop=FontProperties(size=size)).get_extents().width)


def _in_lines(words: str, room: float, size: float) -> str:
    """Words in as many lines as they need."""
    lines: list[str] = []
    for word in words.split():
        if lines and _long(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


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


def panels(count: int, height: float = SIZE[1]) -> tuple[Figure, list[SubFigure]]:
    """A figure of several panels in two columns. On a page each is a drawing of its own, and they stack on a phone.

    Each needs its words, ``panel.set_label``, and all of them the figure's.
    """
    rows = math.ceil(count / 2)
    figure = Figure(figsize=(2 * SIZE[0], rows * height))
    grid = figure.add_gridspec(rows, 2)
    return figure, [figure.add_subfigure(grid[place // 2, place % 2]) for place in range(count)]


def short(name: str) -> str:
    """A name for a title or a legend: that of a module in a large model loses its beginning, which others share."""
    return name if len(name) <= 24 else f"…{name[-23:]}"


def legend(axes: Axes, handles: Sequence[Artist] | None = None, names: Sequence[str] | None = None) -> None:
    """What the lines are, below the axes, where no line runs.

    Args:
        handles: lines, markers, areas; unless told, all that have a label, each label once.
        names: one for each of them; unless told, their labels.
    """
    if handles is None:
        known, labels = axes.get_legend_handles_labels()
        handles = list(dict(zip(labels, known, strict=True)).values())
    if not handles:
        return
    names = [short(str(handle.get_label()) if names is None else names[n]) for n, handle in enumerate(handles)]
    names = [name.lstrip("_") for name in names]  # matplotlib leaves out what begins so
    columns = max(1, min(len(names), int(72 * _inches(axes.figure) / (max(map(_long, names)) + _HANDLE))))
    axes.figure.legend(
        handles,
        names,
        loc="outside lower left",
        ncols=math.ceil(len(names) / math.ceil(len(names) / columns)),  # rows of one length
        handlelength=1.8,
        handletextpad=0.5,
        columnspacing=1,
        labelspacing=0.3,
        borderpad=0.2,
        borderaxespad=0,
    )


def nothing_to_show(axes: Axes, note: str) -> str:
    """Axes that have nothing to show say so, and how to change that."""
    axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", va="center", linespacing=1.6)
    axes.set(xticks=[], yticks=[])
    return f"{axes.get_title(loc='left')}: nothing to show. {' '.join(note.split())}."


def positive(values: np.ndarray) -> np.ndarray:
    """Values a logarithmic axis can show; what is zero or not finite is left out."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


class _Decades(Locator):
    """Ticks of a logarithmic axis: a few decades, and where there are not two, what lies between them."""

    def __init__(self, most: int, fine: bool) -> None:
        self.most, self.fine = most, fine

    def __call__(self) -> Sequence[float]:
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]  # set by the axis

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        low, high = sorted(max(end, 1e-320) for end in (vmin, vmax))
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        every = math.ceil((last - first + 1) / self.most) or 1
        decades = [10.0**power for power in range(first, last + 1) if power % every == 0]
        between = [part * 10.0**power for power in range(first - 1, last + 1) for part in (1, 2, 5)]
        if self.fine and last - first < 2:  # three a decade
            decades = []
        for ticks in (decades, between, MaxNLocator(4).tick_values(low, high)):
            within = [float(tick) for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
            if len(within) > 1:
                return within
        return within


def raised(power: float) -> str:
    """An exponent in letters that have the size of all others: ⁻³."""
    signs = f"{power:g}"
    return signs.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")) if "." not in signs else f"^{signs}"


def power_of_ten(power: int) -> str:
    """A decade: 1, 10, 10⁻³."""
    return {0: "1", 1: "10"}.get(power, f"10{raised(power)}")


def _decade(value: float, _: int | None = None) -> str:
    power = math.log10(value)
    return power_of_ten(round(power)) if abs(power - round(power)) < 1e-6 else f"{value:g}"


def few_decades(axis: Axis, most: int = 7, fine: bool = False) -> None:
    """Two to ``most`` ticks on a logarithmic axis, and no smaller ones.

    With ``fine`` they are 0.5, 1, 2, 5, 10 where that is not too many, and are written so.
    """
    axis.set_major_locator(_Decades(most, fine))
    axis.set_major_formatter("{x:g}" if fine else FuncFormatter(_decade))
    axis.set_minor_locator(NullLocator())


def logarithmic(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic y axis around ``values``, if any is to be put on it; else a note in its place."""
    none = np.isnan(values).all()
    if none:
        axes.text(0.5, 0.5, "nothing finite above 0", transform=axes.transAxes, ha="center", va="center")
    else:
        low, high = math.log10(np.nanmin(values)), math.log10(np.nanmax(values))
        room = 0.05 * (high - low) if high - low > 1 else 1 - (high - low) / 2  # two decades, or noise looks large
        axes.set_ylim(10 ** max(low - room, -300), 10 ** min(high + room, 300))
    axes.set_yscale("log")
    few_decades(axes.yaxis)
    if none:
        axes.set(yticks=[])
        axes.grid(visible=False)


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
