"""Figures. Each is a pure function of a record or of numbers and returns a Figure; none of them shows anything.

A figure's title states what it shows, and its label (``figure.get_label()``) is its text alternative. One colour has
one meaning in the whole course, and never stands alone: a marker or a line style says the same.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from torch import Tensor

from gradclinic import arguments
from gradclinic.course import theory
from gradclinic.record import HISTOGRAM_EDGES, Record

# The explorers turn these into the page's own colours, so that a figure is readable in light and dark.
PALETTE = {"vanishing": "#1769c2", "exploding": "#c0281c", "healthy": "#1b7a3a", "neutral": "#6b6b6b"}
TEXT = "#1a1a1b"
MARKER = {"vanishing": "v", "exploding": "^", "healthy": "o", "neutral": "s"}
DASHES = {"vanishing": (0, (5, 2)), "exploding": (0, (1, 1)), "healthy": "solid", "neutral": (0, (3, 1, 1, 1))}

_STYLE = {
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
_SIZE = (4.7, 3.1)


def _styled(plot: Callable) -> Callable:
    """Draw in the course's style without touching the reader's own matplotlib settings."""

    @functools.wraps(plot)
    def wrapper(*args: object, **kwargs: object) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return plot(*args, **kwargs)

    return wrapper


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def _positive(values: np.ndarray) -> np.ndarray:
    """Values a logarithmic axis can show; what is zero or not finite is left out."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _few_decades(axes: Axes) -> None:
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())


def regime(ratio: float) -> str:
    """The colour of a first-to-last gradient ratio: "vanishing" below 1/100, "exploding" above 100, else "healthy".

    A rough guide for the eye, not a diagnosis: a ratio says nothing about whether the network learns. A ratio that is
    not a number is "neutral".

    Raises:
        ValueError: for a ratio below 0, which two norms cannot have, or text.
    """
    ratio = float(ratio)
    if ratio < 0:
        raise ValueError(f"a ratio of two norms must be at least 0, got {ratio!r}")
    if math.isnan(ratio):
        return "neutral"
    if ratio < 1e-2:
        return "vanishing"
    return "exploding" if ratio > 1e2 else "healthy"


def _walk(path: Tensor) -> np.ndarray:
    path = torch.as_tensor(path).numpy()
    if path.ndim != 2 or len(path) < 2 or path.shape[1] != 2:
        raise ValueError(f"path must have shape (steps + 1, 2) and hold at least one step, got shape {path.shape}")
    return path


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a share and must lie between 0 and 1, got {value!r}")


def _recorded(record: Record) -> None:
    if not isinstance(record, Record):
        raise TypeError(f"a Record is needed, as Recorder and probe make it, got {record!r}")
    if len(record.step) == 0:
        raise ValueError("this record is empty: it has 0 steps; record at least one before plotting it")


@_styled
def descent_path(path: Tensor, curvatures: Sequence[float]) -> Figure:
    """The path of gradient descent over the contours of the bowl (c1 x^2 + c2 y^2) / 2.

    Args:
        path: shape (steps + 1, 2), the positions, as ``training.descend`` returns them.
        curvatures: c1 and c2, above 0.
    Raises:
        ValueError: for a path of another shape, or curvatures that are not two numbers above 0.
    """
    path = _walk(path)
    if len(curvatures) != 2 or not all(c > 0 for c in curvatures):
        raise ValueError(f"curvatures must be two numbers above 0, got {curvatures!r}")
    outcome, kind = _outcome(path[:, 0])
    figure, axes = _axes(f"On the bowl: it {outcome}", "weight 1", "weight 2")
    extent = 1.6 * max(1e-9, float(np.abs(path[0]).max()))
    x, y = np.meshgrid(np.linspace(-extent, extent, 81), np.linspace(-extent, extent, 81))
    bowl = (curvatures[0] * x**2 + curvatures[1] * y**2) / 2
    levels = bowl.max() * np.linspace(0.02, 1, 9) ** 2
    axes.contour(x, y, bowl, levels=levels, colors=PALETTE["neutral"], linewidths=0.7, alpha=0.6)
    axes.plot(path[:, 0], path[:, 1], color=PALETTE[kind], marker=MARKER[kind], linewidth=1.2)
    axes.plot(*path[0], marker="o", markersize=8, markerfacecolor="none", color=TEXT)
    axes.annotate("start", path[0], textcoords="offset points", xytext=(8, 4))
    axes.plot(0, 0, marker="+", markersize=11, color=TEXT)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent))
    axes.grid(False)
    figure.set_label(
        f"Path of {len(path) - 1} steps of gradient descent on a quadratic bowl. The walk {outcome}; "
        f"its last position along the steep axis is {path[-1, 0]:.3g}, from a start of {path[0, 0]:.3g}."
    )
    return figure


@_styled
def descent_error(path: Tensor, rate_times_curvature: float) -> Figure:
    """Distance from the minimum along the steep axis, step by step, with the closed form abs(1 - lr * c)^t.

    Args:
        path: shape (steps + 1, 2), as ``training.descend`` returns it; the steep axis is the first.
        rate_times_curvature: learning rate times the steep curvature, dimensionless.
    Raises:
        ValueError: for a path of another shape, or a product that is negative or not finite.
    """
    path = _walk(path)
    distance = np.abs(path[:, 0])
    outcome, kind = _outcome(path[:, 0])
    factor = abs(1 - arguments.number("rate_times_curvature", rate_times_curvature))
    figure, axes = _axes(f"Each step multiplies the error by {factor:.2g}", "step", "distance from the minimum")
    steps = np.arange(len(distance))
    axes.plot(steps, _positive(distance[0] * factor**steps), color=TEXT, linewidth=1, label="predicted")
    axes.plot(
        steps, _positive(distance), color=PALETTE[kind], marker=MARKER[kind], linestyle="none", label="torch.optim.SGD"
    )
    axes.set_yscale("log")
    axes.set_ylim(1e-8, 1e3)
    _few_decades(axes)
    axes.legend(loc="lower left")
    figure.set_label(
        f"Distance from the minimum over {len(distance) - 1} steps, logarithmic. It {outcome}: from {distance[0]:.3g} "
        f"to {distance[-1]:.3g}, on the predicted line of factor {factor:.3g} a step."
    )
    return figure


def _outcome(positions: np.ndarray) -> tuple[str, str]:
    """What a walk along one axis did, in a word for the title and a regime for the colour."""
    first, last = abs(positions[0]), abs(positions[-1])
    if not last <= first * 1.001:
        return "diverges", "exploding"
    if last >= first * 0.999:
        return "oscillates for ever" if positions[-1] * positions[-2] < 0 else "does not move", "neutral"
    crossing = bool((positions[1:] * positions[:-1] < 0).any())
    return ("converges, crossing over" if crossing else "converges"), "healthy"


@_styled
def activation_and_slope(activation: theory.Activation, name: str | None = None) -> Figure:
    """An activation and its derivative over pre-activations from -8 to 8.

    Args:
        activation: a name or an element-wise callable.
        name: what to call it; the activation's own name unless told.
    """
    name = name or (activation if isinstance(activation, str) else getattr(activation, "__name__", "activation"))
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)
    value, slope = theory.activation_function(activation)(z), theory.slope(activation, z)
    top = float(slope.max())
    figure, axes = _axes(f"{name}: the slope is at most {top:.3g}", "pre-activation z", "value")
    axes.plot(z, value, color=PALETTE["neutral"], linestyle=DASHES["neutral"], label=f"{name}(z)")
    axes.plot(z, slope, color=PALETTE["vanishing"], label="its slope")
    axes.set_ylim(-1.1, 1.4)
    axes.legend(loc="lower right")
    figure.set_label(
        f"{name} and its derivative for pre-activations from -8 to 8. The derivative is largest, {top:.3g}, and falls "
        f"to {float(slope[0]):.2g} at -8 and {float(slope[-1]):.2g} at 8."
    )
    return figure


@_styled
def saturation(activation: theory.Activation, pre_activations: Tensor, saturated: float) -> Figure:
    """Where real pre-activations fall on the slope of their activation.

    Args:
        activation: a name or an element-wise callable.
        pre_activations: any shape; all entries go into the histogram.
        saturated: share of them whose slope is below 5 % of the largest, 0 to 1 (for ReLU: the share at slope 0).
    Raises:
        ValueError: for an unknown activation, no pre-activations, or a share outside 0 to 1.
    """
    _share("saturated", saturated)
    values = pre_activations.detach().flatten().double()
    if len(values) == 0:
        raise ValueError(f"at least one pre-activation is needed, got shape {tuple(pre_activations.shape)}")
    edge = 8.0
    z = torch.linspace(-edge, edge, 401, dtype=torch.float64)
    slope = theory.slope(activation, z)
    mean = float(theory.slope(activation, values).mean())
    figure, axes = _axes(
        f"{saturated:.0%} of units have (almost) no slope", "pre-activation z", "slope of the activation"
    )
    counts, edges = np.histogram(values.clamp(-edge, edge).numpy(), bins=48, range=(-edge, edge))
    height = counts / max(counts.max(), 1) * float(slope.max())
    axes.bar(
        edges[:-1], height, np.diff(edges), align="edge", color=PALETTE["neutral"], alpha=0.35, label="real inputs"
    )
    axes.plot(z, slope, color=PALETTE["vanishing"], label="slope")
    axes.axhline(mean, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label=f"mean slope {mean:.2g}")
    axes.set_xlim(-edge, edge)
    axes.set_ylim(0, float(slope.max()) * 1.35)
    axes.legend(loc="upper right", ncols=3, columnspacing=1, handlelength=1.4)
    figure.set_label(
        f"Histogram of real pre-activations under the slope of the activation. {saturated:.0%} of them have almost no "
        f"slope; the mean slope is {mean:.2g}. Values beyond 8 are counted in the outermost bars."
    )
    return figure


@_styled
def gradient_profile(measured: Tensor, predicted: Tensor) -> Figure:
    """Gradient norm at each layer relative to the last: measured on real networks, with the predicted line.

    Args:
        measured: shape (seeds, layers), each row divided by its last entry.
        predicted: shape (layers,), as ``theory.gradient_profile`` returns it.
    Raises:
        ValueError: for arrays of other shapes.
    """
    measured, predicted = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    if measured.ndim != 2 or 0 in measured.shape or predicted.shape != measured.shape[1:]:
        raise ValueError(
            "measured must have shape (seeds, layers) and predicted (layers,), none of them 0; "
            f"got {measured.shape} and {predicted.shape}"
        )
    layers = np.arange(1, measured.shape[1] + 1)
    shown = _positive(measured)  # norms that are 0 or not finite have no place on the axis
    seeds = np.isfinite(shown).sum(0)
    middle = np.exp(np.nansum(np.log(shown), axis=0) / np.where(seeds > 0, seeds, np.nan))
    ratio = middle[0] if seeds[0] else measured[:, 0].mean()  # 0, infinite, or not a number
    kind = regime(ratio)
    figure, axes = _axes(
        f"Layer 1 gets {_times(ratio)} of the last layer's gradient", "layer", "gradient norm / last layer's"
    )
    low, high = np.fmin.reduce(shown), np.fmax.reduce(shown)
    axes.fill_between(layers, low, high, color=PALETTE[kind], alpha=0.25, linewidth=0)
    axes.plot(
        layers,
        middle,
        color=PALETTE[kind],
        marker=MARKER[kind],
        linestyle="none",
        label=f"measured, {len(measured)} seeds",
    )
    axes.plot(layers, _positive(predicted), color=TEXT, linewidth=1.2, label="predicted")
    axes.set_yscale("log")
    axes.set_ylim(np.fmin.reduce(low, initial=0.1) / 3, np.fmax.reduce(high, initial=10) * 3)
    _few_decades(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    figure.set_label(
        f"Gradient norm per layer over {len(layers)} layers, relative to the last, logarithmic, {len(measured)} seeds. "
        f"At layer 1 it is {ratio:.2g} measured and {predicted[0]:.2g} predicted: {kind}."
    )
    return figure


def _times(ratio: float) -> str:
    """A ratio in words short enough for a title."""
    if 0.01 <= ratio < 1000:
        return f"{ratio:.2g} times" if ratio < 10 else f"{ratio:.0f} times"
    if not math.isfinite(ratio):
        return "an unknown part" if math.isnan(ratio) else "∞ times"
    return f"$10^{{{math.floor(math.log10(ratio))}}}$" if ratio > 0 else "none"


# --- what a record shows: each panel draws on axes and returns what it shows in words --------------------------------

# Share of a layer's gradient entries from which a cell of the histogram is drawn, and how dark.
_INK = {0.0: 0.15, 0.02: 0.3, 0.1: 0.5, 0.25: 0.75, 0.5: 0.95}


def _alone(panel: Callable[..., str], *args: object, **kwargs: object) -> Figure:
    """One panel as a figure of its own."""
    figure = Figure(figsize=_SIZE)
    figure.set_label(panel(figure.subplots(), *args, **kwargs))
    return figure


def _empty(axes: Axes, note: str) -> str:
    """Axes that have nothing to show say so, and how to change that."""
    axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", va="center", linespacing=1.6)
    axes.set(xticks=[], yticks=[])
    return f"{axes.get_title(loc='left')}: nothing to show. {' '.join(note.split())}."


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    return [(int(start), int(end) - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


# A figure has room for so many places side by side. A longer line is drawn by the lowest and the highest value of each.
_PLACES = 300


def _long(count: int) -> bool:
    """Whether so many steps in a row are too many to draw each."""
    return count > 3 * _PLACES


def _drawn(values: np.ndarray) -> np.ndarray:
    """Which of the values, shape (S,), a line is drawn through: all, or of a long line 3 a place and its two ends.

    At each place these are the lowest, the highest and the first that is no number: whatever lasts one step only, a
    spike or a gap, stays in the picture, on a logarithmic axis too. At most 3 * ``_PLACES`` + 2.
    """
    count = len(values)
    if not _long(count):
        return np.arange(count)
    wide = math.ceil(count / _PLACES)
    places = np.pad(values, (0, -count % wide), mode="edge").reshape(-1, wide)
    first = np.arange(len(places)) * wide
    gap = np.isnan(places)
    if gap.any():
        lowest, highest = np.where(gap, math.inf, places).argmin(1), np.where(gap, -math.inf, places).argmax(1)
    else:
        lowest, highest = places.argmin(1), places.argmax(1)
    broken = gap.any(1)
    ends = [0, count - 1]
    return np.unique(np.concatenate([ends, first + lowest, first + highest, first[broken] + gap[broken].argmax(1)]))


def _runs_apart(marked: np.ndarray) -> list[tuple[int, int]]:
    """As ``_runs``; of a long line, runs that a figure could not show apart are one."""
    runs, apart = _runs(marked), len(marked) // 100 if _long(len(marked)) else 0
    joined = runs[:1]
    for start, end in runs[1:]:
        if start - joined[-1][1] <= apart:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _mark(axes: Axes, x: np.ndarray, marked: np.ndarray, note: str, kind: str, height: float = 0.96) -> None:
    """Where on the x axis a value has no place among the others: a marker and a shade for each run, the note once."""
    for start, end in _runs_apart(marked):
        if end > start:
            axes.axvspan(x[start], x[end], color=PALETTE[kind], alpha=0.12, linewidth=0)
        axes.plot(
            [x[start]],
            [height],
            transform=axes.get_xaxis_transform(),
            color=PALETTE[kind],
            marker="x" if kind == "exploding" else MARKER[kind],
            markersize=6,
            linestyle="none",
        )
    if marked.any():
        first = int(np.argmax(marked))
        late = first > len(x) / 2
        axes.annotate(
            note,
            (x[first], height),
            xycoords=("data", "axes fraction"),
            xytext=(-6 if late else 6, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="center",
            color=PALETTE[kind],
        )


def _lost(record: Record, values: np.ndarray) -> np.ndarray:
    """Which steps have a value that overflowed. A NaN in a step that is finite elsewhere only says "not measured"."""
    values = values.reshape(len(values), -1)
    odd = ~np.isfinite(values).all(1)
    if odd.any():
        odd[odd] = (np.isinf(values[odd]) | (np.isnan(values[odd]) & record.faulty[odd, None])).any(1)
    return odd


def _mark_lost(axes: Axes, record: Record, values: np.ndarray) -> str:
    lost = _lost(record, values)
    if not lost.any():
        return ""
    first = record.step[np.argmax(lost)]
    _mark(axes, record.step, lost, "not finite", "exploding")
    return f" Not finite in {int(lost.sum())} of {len(lost)} recorded steps, for the first time at step {first}."


def _steps(axes: Axes, record: Record) -> None:
    """The steps as x axis; a single step is a point in the middle."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(record.step) == 1:
        axes.set_xlim(record.step[0] - 1, record.step[0] + 1)


def _logarithmic(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic y axis around ``values``, if any is to be put on it; else a note in its place."""
    none = np.isnan(values).all()
    if none:
        axes.text(0.5, 0.5, "nothing finite above 0", transform=axes.transAxes, ha="center", va="center")
    else:
        low, high = math.log10(np.nanmin(values)), math.log10(np.nanmax(values))
        room = 0.05 * (high - low) if high - low > 1 else 1 - (high - low) / 2  # a tick needs a decade
        axes.set_ylim(10 ** max(low - room, -300), 10 ** min(high + room, 300))
    axes.set_yscale("log")
    _few_decades(axes)
    if none:
        axes.set(yticks=[])


def _isolated(values: np.ndarray) -> list[int]:
    """Indices of values with no finite neighbour: a line alone would not show them."""
    return [start for start, end in _runs(np.isfinite(values)) if start == end]


def _middle(count: int) -> list[int]:
    """Indices of the first, the middle and the last of ``count``: enough for a legend."""
    return sorted({0, (count - 1) // 2, count - 1}) if count else []


def _trajectories(
    axes: Axes, record: Record, values: np.ndarray, names: Sequence[str], named: Sequence[int], dashes: object = None
) -> list:
    """One line a layer, darker the nearer to the input; those in ``named`` have a dash pattern, and are returned."""
    shown = []
    for index, name in enumerate(names):
        position = named.index(index) if index in named else None
        rows = _drawn(values[:, index])
        isolated = _isolated(values[rows, index])
        (line,) = axes.plot(
            record.step[rows],
            values[rows, index],
            color=TEXT,
            alpha=1 - 0.7 * index / max(len(names) - 1, 1),
            linewidth=0.7 if position is None else 1.6,
            linestyle=dashes or ("solid" if position is None else list(DASHES.values())[position % len(DASHES)]),
            marker="o" if isolated else None,
            markevery=isolated,
            label=name,
        )
        if position is not None:
            shown.append(line)
    return shown


def _legend(axes: Axes, lines: Sequence, names: Sequence[str] | None = None, columns: int = 4) -> None:
    """Below the axes, where no line runs. Long names of modules lose their beginning, which they share."""
    names = [line.get_label() for line in lines] if names is None else names
    short = [(name if len(name) <= 24 else f"…{name[-23:]}").lstrip("_") for name in names]
    axes.legend(
        lines,
        short,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        # half an inch down, below the numbers and the name of the x axis, however tall the axes are
        bbox_transform=axes.transAxes + ScaledTranslation(0, -0.46, axes.figure.dpi_scale_trans),
        ncols=columns,
        handlelength=2.2,
        columnspacing=1,
        fontsize=9,
        borderaxespad=0,
    )


def _end(values: np.ndarray, index: int) -> str:
    """The last finite value of a layer, in words."""
    finite = values[np.isfinite(values[:, index]), index]
    return f"{finite[-1]:.1e}" if len(finite) else "unknown"


def _row(record: Record, row: int) -> None:
    _recorded(record)
    if isinstance(row, bool) or not isinstance(row, int | np.integer):
        raise TypeError(f"row must be an integer, got {row!r}")
    if not -len(record.step) <= row < len(record.step):
        raise ValueError(f"row must be between {-len(record.step)} and {len(record.step) - 1}, got {row!r}")


def _loss(axes: Axes, step: np.ndarray, loss: np.ndarray, chance: float, kind: str) -> None:
    rows = _drawn(loss)
    step, loss = np.asarray(step)[rows], np.asarray(loss)[rows]
    axes.plot(step, loss, color=PALETTE[kind], linewidth=1, marker=MARKER[kind], markevery=_isolated(loss))
    if not math.isnan(chance):
        axes.axhline(chance, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate(
            "guessing",
            (1, chance),
            xytext=(0, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom",
        )


def _loss_panel(axes: Axes, record: Record) -> str:
    axes.set(title="Loss", xlabel="step", ylabel="loss")
    loss, chance = record.loss, record.chance_loss
    finite, lost = loss[np.isfinite(loss)], _lost(record, loss)
    if not len(finite) and not lost.any():
        return _empty(axes, "no loss was told:\nrecorder.log_loss(loss) does it")
    start = end = math.nan
    if len(finite):
        steps = record.step[np.isfinite(loss)]
        start, end = (
            finite[0],
            np.mean(finite[steps > steps[-1] - 20]),
        )  # of the last 20 steps, however few were recorded
    kind = "exploding" if lost.any() else "healthy" if end < 0.9 * chance else "neutral"
    gone = f"not finite from step {record.step[np.argmax(lost)]}"
    axes.set_title(f"Loss: {gone}" if lost.any() else f"Loss: from {start:.3g} to {end:.3g}")
    _loss(axes, record.step, np.where(np.isfinite(loss), loss, math.nan), chance, kind)
    top = float(np.nanmax([*finite, chance])) if len(finite) or not math.isnan(chance) else 1.0
    if len(finite) and finite.min() > 0 and top > 100 * (chance if chance > 0 else finite.min()):
        _logarithmic(axes, np.append(finite, chance))
    else:
        axes.set_ylim(min([0.0, *finite]), 1.15 * top if top > 0 else 1)
    words = _mark_lost(axes, record, loss)
    _steps(axes, record)
    guessing = "" if math.isnan(chance) else f"; guessing has {chance:.2f}"
    return f"Loss over {len(loss)} recorded steps, from {start:.3g} to {end:.3g} at the end{guessing}.{words}"


def _norms_panel(axes: Axes, record: Record) -> str:
    norms, names = record.gradient_norm, record.layers
    axes.set(title="Gradient norm of each layer, step by step", ylabel="norm of the weight gradient")
    named = _middle(len(names))
    shown = _positive(norms)
    _legend(axes, _trajectories(axes, record, shown, names, named))
    _logarithmic(axes, shown)
    words = _mark_lost(axes, record, norms)
    _steps(axes, record)
    zero = [f"{names[n]} in {int((norms[:, n] == 0).sum())}" for n in named if (norms[:, n] == 0).any()]
    zeros = f" Exactly 0, so not on the axis: {', '.join(zero)} steps." if zero else ""
    ends = ", ".join(f"{names[n]} {_end(norms, n)}" for n in named)
    return (
        f"Norm of the weight gradient of {_layers(len(names))} over {len(norms)} recorded steps, logarithmic. At the "
        f"end: {ends}.{zeros}{words}"
    )


def _flow_panel(axes: Axes, record: Record, row: int) -> str:
    norms = record.gradient_norm[row]
    shown = _positive(norms)
    ratio = norms[0] / norms[-1] if norms[-1] > 0 and np.isfinite(norms[-1]) else math.nan
    kind = "exploding" if np.isinf(norms).any() else regime(ratio)
    found = "No ratio of first layer to last" if math.isnan(ratio) else f"First layer over last: {ratio:.1e}"
    axes.set_title(f"{found}, step {record.step[row]}")
    axes.set(xlabel="layer, from the input", ylabel="norm of the weight gradient")
    layers = np.arange(1, len(norms) + 1)
    axes.plot(layers, shown, color=PALETTE[kind], marker=MARKER[kind], linestyle=DASHES[kind])
    _logarithmic(axes, shown)
    lost = np.isinf(norms) | (np.isnan(norms) & record.nonfinite[row])
    words = ""
    for marked, note, mark, height in (
        (lost, "not finite", "exploding", 0.96),
        (norms == 0, "0", "vanishing", 0.04),
        (np.isnan(norms) & ~lost, "no gradient", "neutral", 0.12),
    ):
        _mark(axes, layers, marked, note, mark, height)
        words += f" {note.capitalize()}: {_listed(layers[marked])}." if marked.any() else ""
    axes.set_xlim(0.5, len(norms) + 0.5)  # also where no point can be drawn
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return (
        f"Norm of the weight gradient of {_layers(len(norms))} at step {record.step[row]}, logarithmic: {norms[0]:.2g} "
        f"in the first ({record.layers[0]}) and {norms[-1]:.2g} in the last ({record.layers[-1]}).{words}"
    )


def _listed(layers: np.ndarray) -> str:
    """Layer numbers in words, with unbroken runs as "3 to 9"."""
    marked = np.isin(np.arange(layers.max() + 2), layers)
    runs = [f"{start}" if start == end else f"{start} to {end}" for start, end in _runs(marked)]
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(runs)}"


def _histogram_panel(axes: Axes, record: Record, row: int) -> str:
    axes.set(title="Sizes of single gradients", xlabel="layer, from the input", ylabel="|gradient| of single weights")
    if record.histogram.shape[2] == 0:
        return _empty(axes, "no histograms were counted:\nRecorder(model, histograms=True) does it")
    sizes = record.size_histogram[row].astype(float)
    zeros, counts = sizes[:, 0], sizes[:, 1:]
    edges = HISTOGRAM_EDGES[len(HISTOGRAM_EDGES) // 2 :]
    total = zeros + counts.sum(1)
    used = np.flatnonzero(counts.any(0))
    low, high = (edges[used[0]], edges[used[-1] + 1]) if len(used) else (1e-1, 1e1)
    base = low / (high / low) ** 0.1 / 3  # what is exactly 0 gets a row of its own below all others
    rows = np.concatenate([[base, low], edges[used[0] + 1 : used[-1] + 2] if len(used) else [high]])
    part = counts[:, used[0] : used[-1] + 1] if len(used) else np.zeros((len(zeros), 1))
    with np.errstate(invalid="ignore"):
        share = np.column_stack([zeros, part]) / total[:, None]
    middle = np.array([_middle_entry(layer, edges) for layer in counts])
    ratio = middle[0] / middle[-1]  # NaN where an end has no entry above 0
    lost = record.nonfinite[row]
    kind = "exploding" if lost.any() else regime(ratio)
    for least, ink in _INK.items():
        most = min([other for other in _INK if other > least], default=math.inf)
        cells = [
            Path([(n + 0.5, rows[b]), (n + 1.5, rows[b]), (n + 1.5, rows[b + 1]), (n + 0.5, rows[b + 1]), (n, 1)], _BOX)
            for n, b in np.argwhere((share > least if least == 0 else share >= least) & (share < most))
        ]
        if cells:
            path = Path.make_compound_path(*cells)
            axes.add_patch(PathPatch(path, facecolor=PALETTE[kind], alpha=ink, linewidth=0, label=f"from {least:.0%}"))
    layers = np.arange(1, len(zeros) + 1)
    axes.plot(layers, middle, color=TEXT, linewidth=0.8, marker="_", markersize=5, label="middle entry above 0")
    axes.axhline(low, color=TEXT, linewidth=0.8)
    axes.set_yscale("log")
    decades = np.arange(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    decades = decades[:: math.ceil(len(decades) / 7)]
    axes.set_yticks(
        [math.sqrt(base * low), *(10.0**d for d in decades)], labels=["0", *(f"$10^{{{d}}}$" for d in decades)]
    )
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(0.5, len(zeros) + 0.5), ylim=(base, high * (high / low) ** 0.08))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False)
    _mark(axes, layers, lost, "not finite", "exploding")
    words = f" Not finite: {_listed(layers[lost])}." if lost.any() else ""
    without = (total == 0) & ~lost
    _mark(axes, layers, without, "no gradient", "neutral")
    words += f" No gradient: {_listed(layers[without])}." if without.any() else ""
    first, last = ("no size" if math.isnan(m) else f"{m:.0e}" for m in (middle[0], middle[-1]))
    axes.set_title(f"Middle gradient: {first} to {last}, step {record.step[row]}")
    none = np.divide(zeros, total, out=np.zeros_like(zeros), where=total > 0)
    return (
        f"Histograms of the sizes of single gradients in {_layers(len(zeros))} at step {record.step[row]}, one column "
        f"a layer, on one logarithmic axis. The middle one of those above 0 is about {first} in the first layer "
        f"({record.layers[0]}) and {last} in the last ({record.layers[-1]}). "
        f"Exactly 0: {none[0]:.0%} of the first layer's entries, {none[-1]:.0%} of the last one's.{words}"
    )


_BOX = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]


def _middle_entry(counts: np.ndarray, edges: np.ndarray) -> float:
    """The bin of the middle one of the entries that are not 0, as its geometric middle; NaN where there is none."""
    if counts.sum() == 0:
        return math.nan
    place = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return math.sqrt(edges[place]) * math.sqrt(edges[place + 1])


def _updates_panel(axes: Axes, record: Record, layers: Sequence[int]) -> str:
    """``layers`` counts from 1."""
    axes.set(title="How far one step moves each layer", ylabel="update norm / weight norm")
    ratios = record.update_ratio[:, [layer - 1 for layer in layers]]
    names = [record.layers[layer - 1] for layer in layers]
    shown = _positive(ratios)
    lines = _trajectories(axes, record, shown, names, range(len(names)))
    axes.axhline(1e-3, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate("1e-3", (1, 1e-3), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    _logarithmic(axes, np.append(shown, 1e-3))
    _legend(axes, lines)
    words = _mark_lost(axes, record, ratios)
    _steps(axes, record)
    last = ", ".join(f"{name} {ratio:.1e}" for name, ratio in zip(names, ratios[-1], strict=True))
    return (
        f"Update norm over weight norm for {len(record.step)} recorded steps, logarithmic, with a line at 1e-3. "
        f"At the end: {last}.{words}"
    )


def _growth_panel(axes: Axes, record: Record) -> str:
    norms, names = record.weight_norm, record.layers
    with np.errstate(all="ignore"):  # sizes that overflow, or start at 0, have no growth
        growth = np.divide(norms, norms[0], out=np.full_like(norms, math.nan), where=norms[0] > 0)
    shown = _positive(growth)
    axes.set(title="Weights: none has a size to compare with", ylabel="weight norm / at the start")
    low, high = np.fmin.reduce(shown, axis=None), np.fmax.reduce(shown, axis=None)  # NaN where all are
    if not math.isnan(high):
        axes.set_title(f"Weights: {low:.3g} to {high:.3g} times the start")
    named = _middle(len(names))
    _legend(axes, _trajectories(axes, record, shown, names, named))
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    if high > 10 or low < 0.1:
        _logarithmic(axes, shown)
    elif not math.isnan(high):
        axes.set_ylim(0, 1.15 * max(1.3, high))
    words = _mark_lost(axes, record, norms)
    _steps(axes, record)
    ends = ", ".join(f"{names[n]} {_end(growth, n)}" for n in named)
    return (
        f"Weight norm of {_layers(len(names))} relative to the first recorded step, over {len(norms)} recorded steps. "
        f"At the end: {ends}.{words}"
    )


def _units_panel(axes: Axes, record: Record) -> str:
    axes.set(title="Saturated and dead units", xlabel="step", ylabel="share")
    names, lines, labels, parts, title = record.activations, [], [], [], []
    if not names:
        return _empty(axes, "no activation was watched:\ntanh, sigmoid and ReLU modules are")
    faulty = record.output_nonfinite.any(1)  # a NaN is neither 0 nor flat, and would count as a healthy unit
    kinds = {"saturated": (record.saturation, "solid"), "dead": (record.dead, (0, (2, 1)))}
    kinds = {word: both for word, both in kinds.items() if np.isfinite(both[0]).any()}
    for word, (values, dashes) in kinds.items():
        values = np.where(faulty[:, None], math.nan, values)
        of = np.flatnonzero(np.isfinite(values).any(0))
        if not len(of):
            continue
        values, chosen, named = values[:, of], [names[n] for n in of], _middle(len(of))
        lines += _trajectories(axes, record, values, chosen, named, dashes if len(kinds) > 1 else None)
        labels += [chosen[n] if len(kinds) == 1 else f"{chosen[n]}: {word}" for n in named]
        last = [column[np.isfinite(column)][-1] for column in values.T]
        title.append(f"{max(last):.0%} {word}")
        ends = ", ".join(f"{chosen[n]} {last[n]:.0%}" for n in named)
        parts.append(f"At the end {word}: {ends}; at most {max(last):.0%} of an activation.")
    if not lines:
        return _empty(axes, "no activation gave a number")
    words = _mark_lost(axes, record, np.where(faulty, math.inf, 0))
    axes.set_title(f"Units at the end: at most {', '.join(title)}")
    axes.set_ylim(-0.03, 1.03)
    _legend(axes, lines, labels, 4 if len(kinds) == 1 else 2)
    _steps(axes, record)
    return (
        f"Share of saturated units (tanh, sigmoid) and dead units (ReLU) of {len(names)} activations over "
        f"{len(record.step)} recorded steps. {' '.join(parts)}{words}"
    )


@_styled
def gradient_flow(record: Record, row: int = -1) -> Figure:
    """Gradient norm of each layer's parameters at one recorded step; what is zero or not finite is marked as such.

    Args:
        record: of at least one step.
        row: which recorded step, counted as in a list.
    Raises:
        TypeError: for something else than a ``Record``, or a row that is no integer.
        ValueError: for an empty one, or a row it does not have.
    """
    _row(record, row)
    return _alone(_flow_panel, record, row)


@_styled
def gradient_histograms(record: Record, row: int = -1) -> Figure:
    """How large the single gradients of each layer are: one column a layer, all on one logarithmic axis.

    The darker a cell, the more of its layer's entries it holds. A line joins the middle ones of those that are
    not 0; what is exactly 0 has a row of its own. Signs are left out.

    Args:
        record: of at least one step, from ``Recorder(model, histograms=True)``; else the figure says that it needs one.
        row: which recorded step, counted as in a list.
    Raises:
        TypeError: for something else than a ``Record``, or a row that is no integer.
        ValueError: for an empty one, or a row it does not have.
    """
    _row(record, row)
    return _alone(_histogram_panel, record, row)


@_styled
def gradient_norms(record: Record) -> Figure:
    """Gradient norm of every layer through training: the nearer to the input, the darker. Three layers are named.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return _alone(_norms_panel, record)


@_styled
def update_ratios(record: Record, layers: Sequence[int] | None = None) -> Figure:
    """Update norm over weight norm through training, with the 1e-3 that healthy runs are often near.

    Args:
        record: of at least one step.
        layers: which layers, counted from 1; unless told the first, the middle one and the last.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one, or layers it does not have.
    """
    _recorded(record)
    count = len(record.layers)
    chosen = list(layers) if layers is not None else [index + 1 for index in _middle(count)]
    if not chosen or not all(1 <= layer <= count for layer in chosen):
        raise ValueError(f"layers must be some of 1 to {count}, got {chosen!r}")
    return _alone(_updates_panel, record, chosen)


@_styled
def weight_growth(record: Record) -> Figure:
    """Weight norm of every layer relative to the first recorded step.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return _alone(_growth_panel, record)


@_styled
def units(record: Record) -> Figure:
    """Share of saturated units (tanh and sigmoid) and of dead units (ReLU) through training.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return _alone(_units_panel, record)


@_styled
def loss_curve(record: Record) -> Figure:
    """The loss as it was told to the recorder, with the loss of guessing where that is known.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return _alone(_loss_panel, record)


@_styled
def dashboard(record: Record) -> Figure:
    """Everything a record holds, in one figure: what happened to the loss above, to each layer below.

    The panels are those of ``loss_curve``, ``gradient_norms``, ``gradient_flow``, ``gradient_histograms`` (if
    recorded), ``update_ratios``, ``weight_growth`` and ``units``. The two over layers show the last recorded step whose
    gradients are all finite: what comes after it is no number any more.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    counted = record.histogram.shape[2] > 0
    named = [index + 1 for index in _middle(len(record.layers))]
    finite = np.flatnonzero(~record.nonfinite.any(1))
    row = int(finite[-1]) if len(finite) else -1
    panels = {
        "loss": _loss_panel,
        "norms": _norms_panel,
        "flow": functools.partial(_flow_panel, row=row),
        "histograms": functools.partial(_histogram_panel, row=row),
        "updates": functools.partial(_updates_panel, layers=named),
        "growth": _growth_panel,
        "units": _units_panel,
    }
    rows = [["loss", "loss"], ["flow", "histograms"], ["norms", "updates"], ["growth", "units"]]
    if not counted:
        del panels["histograms"]
        rows = [["loss", "flow"], ["norms", "updates"], ["growth", "units"]]
    figure = Figure(figsize=(2 * _SIZE[0], len(rows) * _SIZE[1]))
    axes = figure.subplot_mosaic(rows)
    words = [panel(axes[name], record) for name, panel in panels.items()]
    where = record.first_nonfinite
    first = f" Inf or NaN first seen at step {where[0]}, in the {where[2]} of {where[1]}." if where else ""
    figure.set_label(
        f"Dashboard of {len(panels)} panels: {len(record.step)} recorded steps, {_layers(len(record.layers))}.{first} "
        f"{' '.join(words)}"
    )
    return figure


@_styled
def learning_curve(loss: Sequence[float], accuracy: float, name: str) -> Figure:
    """The loss of every step, with the loss of answering all ten classes alike.

    Args:
        loss: cross-entropy in nats, one entry a step.
        accuracy: on held-back data at the end, 0 to 1.
        name: of the network, for the title.
    Raises:
        ValueError: for no loss, or an accuracy outside 0 to 1.
    """
    if len(loss) == 0:
        raise ValueError(f"at least one loss is needed, got {loss!r}")
    _share("accuracy", accuracy)
    chance = math.log(10)
    known = np.asarray(loss, dtype=float)
    highest = np.fmax.reduce(known[np.isfinite(known)], initial=0)
    wild = not np.isfinite(known).all() or highest > 2 * chance  # worse than not looking at the input at all
    kind = "healthy" if accuracy > 0.5 else "exploding" if wild else "vanishing"
    figure, axes = _axes(f"{name}: accuracy {accuracy:.2f}", "step", "loss (nats)")
    _loss(axes, np.arange(len(loss)), known, chance, kind)
    axes.set_ylim(0, max(3, 1.1 * highest))
    figure.set_label(
        f"Loss of {name} over {len(loss)} steps, from {loss[0]:.2f} to {np.mean(loss[-20:]):.2f}; guessing has "
        f"{chance:.2f}. Test accuracy at the end: {accuracy:.2f}."
    )
    return figure


@_styled
def accuracy_by_depth(
    accuracy: Mapping[str, Mapping[int, Sequence[float]]], depth: int | None = None, activation: str | None = None
) -> Figure:
    """Test accuracy against depth for several activations, all trained on the same budget.

    Args:
        accuracy: activation -> depth -> one test accuracy per seed, 0 to 1.
        depth, activation: the point to point at, if any.
    Raises:
        ValueError: for no activation or more than four, or a point that is not among them.
    """
    if not 1 <= len(accuracy) <= 4:
        raise ValueError(f"between 1 and 4 activations can be told apart, got {list(accuracy)}")
    if activation is not None and depth is not None and depth not in accuracy.get(activation, ()):
        known = "; ".join(f"{name}: {list(by_depth)}" for name, by_depth in accuracy.items())
        raise ValueError(f"no accuracy for {activation!r} at depth {depth!r}; there is {known}")
    kinds = dict(zip(accuracy, ("vanishing", "healthy", "exploding", "neutral"), strict=False))
    pointed = accuracy[activation][depth] if activation is not None and depth is not None else None
    title = "Test accuracy on digits" if pointed is None else f"{activation}, {_layers(depth)}: {np.mean(pointed):.2f}"
    figure, axes = _axes(title, "hidden layers", "test accuracy")
    for name, by_depth in accuracy.items():
        depths = np.array(list(by_depth))
        values = np.array([np.asarray(v, dtype=float) for v in by_depth.values()])
        kind = kinds[name]
        axes.fill_between(depths, values.min(1), values.max(1), color=PALETTE[kind], alpha=0.2, linewidth=0)
        axes.plot(depths, values.mean(1), color=PALETTE[kind], marker=MARKER[kind], linestyle=DASHES[kind], label=name)
    if pointed is not None:
        axes.plot(depth, np.mean(pointed), marker="o", markersize=13, markerfacecolor="none", color=TEXT)
    axes.axhline(0.1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate("guessing", (0.02, 0.1), xycoords=("axes fraction", "data"), va="bottom")
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left")
    ends = "; ".join(
        f"{name} from {np.mean(next(iter(v.values()))):.2f} at {next(iter(v))} to {np.mean(list(v.values())[-1]):.2f} "
        f"at {list(v)[-1]} layers"
        for name, v in accuracy.items()
    )
    at = (
        ""
        if pointed is None
        else f" Pointed at: {activation} with {_layers(depth)}, {min(pointed):.2f} to {max(pointed):.2f}."
    )
    figure.set_label(f"Mean test accuracy against depth: {ends}. The band is the range over seeds.{at}")
    return figure


@_styled
def loss_along_gradient(distance: Tensor, losses: Mapping[str, Tensor]) -> Figure:
    """The loss met when one layer's weights walk along their own gradient, in networks of different regimes.

    Args:
        distance: shape (points,), length of the walk relative to the norm of the weights; above 0 is downhill.
        losses: regime ("vanishing", "healthy", "exploding", "neutral") -> the loss at each point, in nats.
    Raises:
        ValueError: for no regime, an unknown one, or another number of losses than of distances.
    """
    if not losses or not set(losses) <= set(PALETTE):
        raise ValueError(f"losses must be named by some of {', '.join(PALETTE)}; got {list(losses)}")
    if any(len(loss) != len(distance) for loss in losses.values()):
        raise ValueError(f"{len(distance)} distances need as many losses, got {[len(v) for v in losses.values()]}")
    figure, axes = _axes(
        "What the first layer sees of the loss", "distance walked / norm of its weights", "loss (nats)"
    )
    parts = []
    for kind, loss in losses.items():
        values = np.asarray(loss, dtype=float)
        axes.plot(distance, values, color=PALETTE[kind], linestyle=DASHES[kind], label=kind)
        parts.append(f"{kind}, between {np.fmin.reduce(values):.2f} and {np.fmax.reduce(values):.2f}")
    axes.axvline(0, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate("start", (0, 0), xycoords=("data", "axes fraction"), xytext=(3, 3), textcoords="offset points")
    axes.set_ylim(0, None)
    axes.legend(loc="upper right")
    figure.set_label(f"Loss as the first layer's weights walk along their gradient: {'; '.join(parts)}.")
    return figure


@functools.lru_cache(maxsize=32)  # an explorer asks for the same curve once for each scale it points at
def _settled_factors(activation: theory.Activation, left: float, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight scales from ``left`` to ``right``, and the root of chi where the signal has settled at each."""
    scales = np.geomspace(left, right, 61)
    settled = [min(max(theory.fixed_point(activation, float(scale)), 1e-300), 1e300) for scale in scales]
    chis = [theory.chi(activation, float(scale), q) for scale, q in zip(scales, settled, strict=True)]
    return scales, np.sqrt(chis)


@_styled
def phase_diagram(
    activation: theory.Activation, measured: Mapping[float, Sequence[float]], pointed: float | None = None
) -> Figure:
    """Factor of the gradient norm per layer against the weight scale: predicted, measured, and where it crosses 1.

    Args:
        activation: a name or a smooth element-wise callable.
        measured: sigma_w -> the factor of the gradient norm per layer, one value a network, as found where the signal
            has settled; scales and factors are above 0.
        pointed: the scale among them to point at, if any.
    Raises:
        ValueError: for an unknown activation, no scale, one that is not above 0 and finite, one without a network, a
            scale to point at that was not measured, or an activation whose factor never crosses 1.
    Source: Schoenholz et al. 2017, section 4; the predicted curve is the root of ``theory.chi`` at the fixed point.
    """
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "activation")
    critical = theory.critical_weight_std(activation)
    if not measured or not all(0 < scale < math.inf and len(values) > 0 for scale, values in measured.items()):
        raise ValueError(f"measured needs weight scales above 0, each with at least one factor, got {measured!r}")
    if pointed is not None and pointed not in measured:
        raise ValueError(f"no factor was measured at the weight scale {pointed!r}; there are {list(measured)}")
    figure, axes = _axes(
        f"{name}: the critical weight scale is {critical:.3g}",
        "weight scale $\\sigma_w$",
        "gradient factor per layer",
    )
    left, right = min(*measured, critical) / 1.4, max(*measured, critical) * 1.4
    for kind, edges, x in (("vanishing", (left, critical), 0.03), ("exploding", (critical, right), 0.97)):
        axes.axvspan(*edges, color=PALETTE[kind], alpha=0.1, linewidth=0)
        axes.text(x, 0.04 if x > 0.5 else 0.92, kind, ha="right" if x > 0.5 else "left", transform=axes.transAxes)
    scales, curve = _settled_factors(activation, left, right)
    axes.plot(scales, _positive(curve), color=TEXT, linewidth=1.2, label="predicted")
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.axvline(critical, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="critical")
    spreads = []
    for scale, values in measured.items():
        values = _positive(np.asarray(values, dtype=float))
        middle = np.exp(np.log(values[np.isfinite(values)]).mean()) if np.isfinite(values).any() else np.nan
        kind = "exploding" if middle > 1.02 else "vanishing" if middle < 0.98 else "healthy"
        kind = "neutral" if np.isnan(middle) else kind
        axes.vlines(scale, np.fmin.reduce(values), np.fmax.reduce(values), color=PALETTE[kind], linewidth=3, alpha=0.4)
        axes.plot(scale, middle, color=PALETTE[kind], marker=MARKER[kind], markersize=6, linestyle="none")
        if scale == pointed:
            axes.plot(scale, middle, marker="o", markersize=14, markerfacecolor="none", color=TEXT)
        spreads.append(f"{middle:.3g} at {scale:.3g}")
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    axes.set_xticks([scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if left < scale < right])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    axes.legend(loc="center right" if critical < math.sqrt(left * right) else "center left")
    at = "" if pointed is None else f" Pointed at: weight scale {pointed:.3g}."
    figure.set_label(
        f"Factor of the gradient norm per layer against the weight scale, {name}, both logarithmic. It is below 1 "
        f"(vanishing) up to a weight scale of {critical:.4g} and above 1 (exploding) beyond. Measured, mean over "
        f"networks: {', '.join(spreads)}.{at}"
    )
    return figure


@_styled
def overflow(measured: Tensor, predicted: Tensor, predicted_layer: float) -> Figure:
    """Size of the signal per layer, up to where float32 has no number for it.

    Args:
        measured: shape (seeds, layers), root mean square of each layer's pre-activations; not finite from the layer on
            in which the first of them left the range of float32.
        predicted: shape (layers,), its predicted log10.
        predicted_layer: the first layer in which float32 is expected to overflow, as ``theory.overflow_depth`` gives
            it; ``math.inf`` for never.
    Raises:
        ValueError: for arrays of other shapes, or a layer that is not at least 1.
    """
    measured, predicted = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    if measured.ndim != 2 or 0 in measured.shape or predicted.shape != measured.shape[1:]:
        raise ValueError(
            "measured must have shape (seeds, layers) and predicted (layers,), none of them 0; "
            f"got {measured.shape} and {predicted.shape}"
        )
    if not predicted_layer >= 1:
        raise ValueError(f"predicted_layer is counted from 1, got {predicted_layer!r}")
    limit = math.log10(torch.finfo(torch.float32).max)
    layers = np.arange(1, measured.shape[1] + 1)
    lost = ~np.isfinite(measured)
    first = np.where(lost.any(1), lost.argmax(1) + 1, 0)  # 0 where a network stayed finite
    named = sorted(set(first[first > 0].tolist()))
    found = f"{named[0]}" if len(named) == 1 else f"{named[0]} to {named[-1]}" if named else "none"
    told = f"{predicted_layer:.0f}" if math.isfinite(predicted_layer) else "none"
    kind = "exploding" if named else "healthy"
    figure, axes = _axes(
        f"First layer with inf: {found} (predicted {told})", "layer", "log10 of the signal's root mean square"
    )
    shown = np.log10(_positive(measured))
    seeds = np.isfinite(shown).sum(0)
    middle = np.nansum(shown, axis=0) / np.where(seeds > 0, seeds, np.nan)
    axes.fill_between(
        layers, np.fmin.reduce(shown), np.fmax.reduce(shown), color=PALETTE[kind], alpha=0.25, linewidth=0
    )
    axes.plot(
        layers,
        middle,
        color=PALETTE[kind],
        marker=MARKER[kind],
        linestyle="none",
        label=f"measured, {len(measured)} seeds",
    )
    axes.plot(layers, predicted, color=TEXT, linewidth=1.2, label="predicted")
    axes.axhline(limit, color=TEXT, linewidth=1, linestyle=(0, (5, 2)))
    axes.annotate("largest float32", (0.02, limit), xycoords=("axes fraction", "data"), va="bottom")
    for layer in named:
        axes.plot(layer, limit, color=PALETTE["exploding"], marker="X", markersize=10, linestyle="none")
    if named:
        axes.annotate(
            "inf", (named[0], limit), xytext=(0, 8), textcoords="offset points", ha="center", color=PALETTE[kind]
        )
    axes.set_ylim(min(0.0, np.fmin.reduce(shown[np.isfinite(shown)], initial=0.0)) - 2, limit + 8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    last = middle[np.isfinite(middle)][-1] if np.isfinite(middle).any() else math.nan
    figure.set_label(
        f"log10 of the signal's root mean square over {len(layers)} layers, {len(measured)} seeds, with the predicted "
        f"line and float32's largest number at {limit:.1f}. The last finite value is {last:.3g}; the first layer with "
        f"a number that is not finite: {found}, predicted {told}."
    )
    return figure


@_styled
def gradient_size(path: Tensor, curvature: float, learning_rate: float) -> Figure:
    """Size of the gradient in each step of a walk down a bowl, with the line at 1 that is often called a threshold.

    Args:
        path: shape (steps + 1,) or (steps + 1, 1), the positions, as ``training.descend`` returns them.
        curvature: of the bowl, above 0.
        learning_rate: of the walk, above 0.
    Raises:
        ValueError: for a path of another shape, or a curvature or rate that is not above 0 and finite.
    """
    curvature = arguments.number("curvature", curvature, above_minimum=True)
    product = curvature * arguments.number("learning_rate", learning_rate, above_minimum=True)
    position = torch.as_tensor(path).numpy()
    if position.ndim not in (1, 2) or len(position) < 2 or position.size != len(position):
        raise ValueError(f"path must have shape (steps + 1, 1) and hold at least one step, got shape {position.shape}")
    position = position.reshape(-1)
    size = curvature * np.abs(position)
    outcome, kind = _outcome(position)
    figure, axes = _axes(f"Rate × curvature = {product:.3g}: it {outcome}", "step", "size of the gradient")
    axes.plot(
        _positive(size), color=PALETTE[kind], marker=MARKER[kind], markevery=4, linestyle=DASHES[kind], linewidth=1
    )
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (5, 2)))
    axes.annotate("1", (1, 1), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.set_yscale("log")
    axes.set_ylim(1e-7, 1e7)
    _few_decades(axes)
    figure.set_label(
        f"Size of the gradient over {len(position) - 1} steps on a bowl of curvature {curvature:.3g} at learning rate "
        f"{learning_rate:.3g}, logarithmic: from {size[0]:.3g} to {size[-1]:.3g}. It {outcome}; the product of rate "
        f"and curvature is {product:.3g}, and the line at 1 plays no part."
    )
    return figure


@_styled
def signal_by_step(record: Record, rows: Sequence[int] | None = None) -> Figure:
    """Size of each layer's output at several steps; a layer that holds inf is marked, one that holds NaN is left out.

    Args:
        record: of at least one step, with the outputs watched.
        rows: which recorded steps, at most 4, counted as in a list; the first 4 unless told.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one, no row, more than 4, or one it does not have.
    """
    _recorded(record)
    count = len(record.step)
    rows = range(min(count, len(DASHES))) if rows is None else rows
    if not 1 <= len(rows) <= len(DASHES) or not all(-count <= row < count for row in rows):
        raise ValueError(f"rows must be 1 to {len(DASHES)} of {-count} to {count - 1}, got {list(rows)}")
    limit = float(torch.finfo(torch.float32).max)
    first = record.first_nonfinite
    title = "Every layer is finite" if first is None else f"Step {first[0]}: {first[1]} is the first not finite"
    figure, axes = _axes(title, "layer, from the input", "root mean square of its output")
    layers = np.arange(1, len(record.layers) + 1)
    told = []
    for row, (kind, dashes) in zip(rows, DASHES.items(), strict=False):
        size, step = record.output_rms[row], record.step[row]
        shown = _positive(size)
        broken = layers[record.output_nonfinite[row]]
        colour = PALETTE["exploding"] if len(broken) else TEXT
        axes.plot(
            layers, shown, color=colour, linestyle=dashes, marker=MARKER[kind], markersize=3, label=f"step {step}"
        )
        infinite = layers[np.isinf(size)]
        axes.plot(
            infinite, np.full(len(infinite), limit), color=PALETTE["exploding"], marker="X", markersize=10, ls="none"
        )
        if len(infinite):
            axes.annotate(
                "inf", (infinite[0], limit), xytext=(0, 7), textcoords="offset points", ha="center", color=TEXT
            )
        lost = layers[np.isnan(size)]
        if len(lost):
            axes.text(0.98, 0.5, f"NaN from layer {lost[0]} on", ha="right", transform=axes.transAxes)
        known = shown[np.isfinite(shown)]
        most = f"largest {known.max():.2g}" if len(known) else "none finite"
        infinity = f", inf in layer {infinite[0]}" if len(infinite) else ""
        told.append(f"step {step}: {most}{infinity}{f', NaN from layer {lost[0]} on' if len(lost) else ''}")
    axes.axhline(limit, color=TEXT, linewidth=1, linestyle=(0, (5, 2)))
    axes.annotate("largest float32", (1, limit), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.set_yscale("log")
    axes.set_ylim(top=limit * 1e7)
    _few_decades(axes)
    axes.set_xlim(0.5, len(layers) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=len(rows), handlelength=2.2, columnspacing=1.2)
    figure.set_label(f"Root mean square of the output of {len(layers)} layers, logarithmic. {'; '.join(told)}.")
    return figure


@_styled
def remedies(ratio: Mapping[str, Sequence[float]], accuracy: Mapping[str, Sequence[float]]) -> Figure:
    """What each remedy does to the gradient at the start, and to the accuracy in the end; one row each.

    Args:
        ratio: remedy -> first over last layer's gradient norm before training, one value a seed, above 0.
        accuracy: the same remedies -> test accuracy, one value a seed, 0 to 1.
    Raises:
        ValueError: for no remedy, one without a value, or remedies that differ.
    """
    if not ratio or list(ratio) != list(accuracy):
        raise ValueError(f"the same remedies are needed twice, at least one; got {list(ratio)} and {list(accuracy)}")
    empty = [name for name in ratio if not len(ratio[name]) or not len(accuracy[name])]
    if empty:
        raise ValueError(f"every remedy needs at least one value; {empty} has none")
    figure = Figure(figsize=(7.4, 0.6 + 0.27 * len(ratio)))
    left, right = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(ratio))[::-1]
    for axes, values in ((left, ratio), (right, accuracy)):
        for row, name in zip(rows, values, strict=True):
            kind = regime(float(np.exp(np.mean(np.log(ratio[name])))))
            spread = np.asarray(values[name], dtype=float)
            axes.plot([spread.min(), spread.max()], [row, row], color=PALETTE[kind], linewidth=2)
            axes.plot(np.median(spread), row, color=PALETTE[kind], marker=MARKER[kind], markersize=6)
    left.set(title="Gradient, first over last layer", xlabel="before training", xscale="log", ylabel="remedy")
    left.set_yticks(rows, list(ratio))
    left.axvline(1, color=TEXT, linewidth=1)
    left.xaxis.set_major_locator(LogLocator(numticks=6))
    left.xaxis.set_minor_locator(NullLocator())
    right.set(title="Test accuracy", xlabel="after training", ylabel="", xlim=(0, 1.02))
    right.set_ylabel(" ")
    right.axvline(0.1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    middle = "; ".join(f"{n}: {np.median(ratio[n]):.1e}, accuracy {np.median(accuracy[n]):.2f}" for n in ratio)
    figure.set_label(
        f"{len(ratio)} remedies, first over last gradient before training and test accuracy afterwards, as the median "
        f"over seeds. {middle}."
    )
    return figure


# --- recurrence and clipping -----------------------------------------------------------------------------------------


def _told_apart(curves: Mapping[str, Sequence[Sequence[float]]], what: str) -> dict[str, np.ndarray]:
    """Each curve as (seeds, points), or an error: at most as many as there are colours, all of one length."""
    if not 1 <= len(curves) <= len(PALETTE):
        raise ValueError(f"between 1 and {len(PALETTE)} {what} can be told apart, got {list(curves)}")
    arrays = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    shapes = {name: values.shape for name, values in arrays.items()}
    if any(values.ndim != 2 or 0 in values.shape for values in arrays.values()):
        raise ValueError(f"each of the {what} must have shape (seeds, points), none of them 0; got {shapes}")
    if len({shape[1] for shape in shapes.values()}) > 1:
        raise ValueError(f"all {what} need the same number of points, got {shapes}")
    return arrays


def _bands(axes: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray], geometric: bool) -> dict[str, np.ndarray]:
    """Mean and range over seeds of each curve; returns the means. What cannot be shown is left out of them."""
    middles = {}
    for (name, values), kind in zip(curves.items(), ("vanishing", "healthy", "exploding", "neutral"), strict=False):
        shown = _positive(values) if geometric else np.where(np.isfinite(values), values, np.nan)
        seeds = np.isfinite(shown).sum(0)
        total = np.nansum(np.log(shown) if geometric else shown, axis=0) / np.where(seeds > 0, seeds, np.nan)
        middles[name] = np.exp(total) if geometric else total
        axes.fill_between(x, np.fmin.reduce(shown), np.fmax.reduce(shown), color=PALETTE[kind], alpha=0.2, linewidth=0)
        axes.plot(
            x,
            middles[name],
            color=PALETTE[kind],
            linestyle=DASHES[kind],
            marker=MARKER[kind],
            markevery=max(1, len(x) // 10),
            label=name,
        )
    return middles


def _decade_axis(axes: Axes, lines: Sequence[np.ndarray], *always: float) -> None:
    """A logarithmic axis around what is drawn and these values, as far as it can show them."""
    known = np.concatenate([_positive(np.asarray(line, dtype=float)).ravel() for line in (*lines, always)])
    known = known[np.isfinite(known)]
    # the limits first: a logarithmic axis warns if it has to find them among values that it cannot show
    axes.set_ylim(*((known.min() / 2, known.max() * 2) if len(known) else (0.1, 10)))
    axes.set_yscale("log")
    _few_decades(axes)


@_styled
def through_time(
    measured: Mapping[str, Sequence[Sequence[float]]],
    predicted: Sequence[float] | None = None,
    step: str = "time step",
) -> Figure:
    """Gradient norm at the state after each time step, relative to the last: what comes back through time.

    Args:
        measured: name of a network, at most 4 -> shape (seeds, time steps), each row divided by its last entry.
        predicted: shape (time steps,), a line to compare with, if any.
        step: what one step is, if not of time: "block".
    Raises:
        ValueError: for no network, more than 4, arrays of other shapes, or a prediction of another length.
    """
    curves = _told_apart(measured, "networks")
    steps = next(iter(curves.values())).shape[1]
    if predicted is not None and np.shape(predicted) != (steps,):
        raise ValueError(f"predicted must have shape ({steps},) as measured has, got {np.shape(predicted)}")
    figure, axes = _axes("", step, "gradient norm / last step's")
    time = np.arange(1, steps + 1)
    middles = _bands(axes, time, curves, geometric=True)
    if predicted is not None:
        axes.plot(time, _positive(np.asarray(predicted, dtype=float)), color=TEXT, linewidth=1.2, label="predicted")
    _decade_axis(axes, [*curves.values(), () if predicted is None else predicted], 0.1, 10)
    name = next(iter(middles))
    axes.set_title(
        f"The first {step} gets {_times(middles[name][0])} of the last one's"
        if len(middles) == 1
        else f"What comes back to the first {step}"
    )
    axes.legend(loc="best")
    told = "; ".join(f"{name} {middle[0]:.2g}" for name, middle in middles.items())
    line = "" if predicted is None else f" Predicted: {np.asarray(predicted)[0]:.2g}."
    figure.set_label(
        f"Gradient norm at the state after each of {steps} {step}s, relative to the last, logarithmic. At the "
        f"first: {told}.{line}"
    )
    return figure


@_styled
def cell_memory(
    measured: Mapping[str, Sequence[Sequence[float]]], predicted: Sequence[float], horizon: float
) -> Figure:
    """What the cell of an LSTM keeps of itself after 0, 1, ... steps, and where that is down to 1/e.

    Args:
        measured: name of a path, at most 4 -> shape (seeds, steps + 1), 1 in the first column.
        predicted: shape (steps + 1,), as ``theory.cell_memory`` gives it.
        horizon: as ``theory.memory_horizon`` gives it, in steps; above 0.
    Raises:
        ValueError: for no path, more than 4, arrays of other shapes, or a horizon that is not above 0.
    """
    curves = _told_apart(measured, "paths")
    count = next(iter(curves.values())).shape[1]
    if np.shape(predicted) != (count,):
        raise ValueError(f"predicted must have shape ({count},) as measured has, got {np.shape(predicted)}")
    if not horizon > 0:
        raise ValueError(f"horizon must be above 0 steps, got {horizon!r}")
    figure, axes = _axes(f"Memory horizon: {horizon:.3g} steps", "steps back in time", "share of the gradient kept")
    steps = np.arange(count)
    middles = _bands(axes, steps, curves, geometric=True)
    axes.plot(steps, _positive(np.asarray(predicted, dtype=float)), color=TEXT, linewidth=1.2, label="predicted")
    axes.axhline(math.exp(-1), color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate("1/e", (1, math.exp(-1)), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    if horizon < count - 1:
        axes.axvline(horizon, color=TEXT, linewidth=1, linestyle=(0, (5, 2)))
    _decade_axis(axes, [*curves.values(), predicted], 0.1, 10)
    axes.legend(loc="lower left")
    told = "; ".join(f"{name} {middle[-1]:.2g}" for name, middle in middles.items())
    figure.set_label(
        f"Share of the gradient that an LSTM's cell keeps over {count - 1} steps, logarithmic. At the end: {told}; "
        f"predicted {np.asarray(predicted)[-1]:.2g}. It is 1/e after {horizon:.3g} steps, as predicted."
    )
    return figure


@_styled
def training_compared(
    curves: Mapping[str, Sequence[Sequence[float]]],
    reference: float,
    title: str,
    *,
    quantity: str = "mean squared test error",
    reference_name: str = "answering the mean",
    logarithmic: bool = True,
) -> Figure:
    """How several networks fare on one task, epoch by epoch, beside an answer that looks at nothing.

    Args:
        curves: name of a network, at most 4 -> shape (seeds, epochs).
        reference: what that answer reaches, and ``reference_name`` what it is.
        title: of the figure.
        quantity: name of what is drawn.
        logarithmic: whether the axis is.
    Raises:
        ValueError: for no network, more than 4, arrays of other shapes, or a reference that is not finite and at
            least 0.
    """
    known = _told_apart(curves, "networks")
    reference = arguments.number("reference", reference)
    figure, axes = _axes(title, "epoch", quantity)
    epochs = np.arange(1, next(iter(known.values())).shape[1] + 1)
    middles = _bands(axes, epochs, known, geometric=logarithmic)
    if reference > 0 or not logarithmic:
        axes.axhline(reference, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate(reference_name, (0.02, reference), xycoords=("axes fraction", "data"), va="bottom")
    if logarithmic:
        _decade_axis(axes, list(known.values()), reference)
    else:
        axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    seeds = {name: len(values) for name, values in known.items()}
    told = "; ".join(f"{name} {middle[-1]:.2g}, {seeds[name]} seeds" for name, middle in middles.items())
    figure.set_label(
        f"{title}. {quantity} over {len(epochs)} epochs; at the end: {told}. {reference_name}: {reference:.3g}."
    )
    return figure


@_styled
def surface_walk(
    w: Sequence[float], b: Sequence[float], loss: Sequence[Sequence[float]], path: Tensor, name: str
) -> Figure:
    """A walk over the contours of a loss of two parameters; steps that leave the picture are counted.

    Args:
        w, b: shapes (n,) and (m,), the grid; they span the picture.
        loss: shape (n, m), at each point of it.
        path: shape (steps + 1, 2), positions (w, b).
        name: of the walk, for the title.
    Raises:
        ValueError: for a grid of fewer than 2 points a side, losses of another shape, or a path of another shape.
    """
    w, b, loss = (np.asarray(values, dtype=float) for values in (w, b, loss))
    if w.ndim != 1 or b.ndim != 1 or min(len(w), len(b)) < 2 or loss.shape != (len(w), len(b)):
        raise ValueError(
            f"w and b need at least 2 points each and loss the shape of their grid; got {w.shape}, {b.shape} and "
            f"{loss.shape}"
        )
    path = _walk(path)
    inside = (path[:, 0] >= w[0]) & (path[:, 0] <= w[-1]) & (path[:, 1] >= b[0]) & (path[:, 1] <= b[-1])
    left, longest = int((~inside).sum()), float(np.linalg.norm(np.diff(path, axis=0), axis=1).max())
    kind = "healthy" if inside.all() else "exploding"
    figure, axes = _axes(f"{name}: longest step {longest:.2g}", "weight w", "bias b")
    if loss.max() > loss.min():  # a plain has no contours
        levels = np.linspace(loss.min(), loss.max(), 12)[1:-1]
        axes.contour(w, b, loss.T, levels=levels, colors=PALETTE["neutral"], linewidths=0.7, alpha=0.6)
    # a step far out of the picture is drawn as long as the picture: the line's direction is what can be seen of it
    span = np.array([w[-1] - w[0], b[-1] - b[0]])
    shown = np.clip(path, [w[0], b[0]] - 20 * span, [w[-1], b[-1]] + 20 * span)
    axes.plot(*shown.T, color=PALETTE[kind], marker=MARKER[kind], linewidth=0.9, markersize=3)
    axes.plot(*path[0], marker="o", markersize=9, markerfacecolor="none", color=TEXT)
    axes.annotate("start", path[0], textcoords="offset points", xytext=(8, 4))
    axes.set(xlim=(w[0], w[-1]), ylim=(b[0], b[-1]))
    axes.grid(False)
    out = "no step leaves the picture" if left == 0 else f"{left} of {len(path) - 1} steps end outside of the picture"
    figure.set_label(
        f"Walk over the contours of a loss with a cliff, {name}, {len(path) - 1} steps. The longest step is "
        f"{longest:.3g}; {out}. It ends at weight {path[-1, 0]:.3g}, bias {path[-1, 1]:.3g}."
    )
    return figure


@_styled
def clipped_arrows(gradient: Tensor, threshold: float) -> Figure:
    """A gradient of two entries, clipped by norm and by value at one threshold.

    Args:
        gradient: shape (2,), not zero.
        threshold: above 0.
    Raises:
        ValueError: for another shape, a gradient of zero, or a threshold that is not above 0 and finite.
    """
    threshold = arguments.number("threshold", threshold, above_minimum=True)
    gradient = torch.as_tensor(gradient, dtype=torch.float64)
    if gradient.shape != (2,) or not 0 < float(gradient.norm()) < math.inf:
        raise ValueError(f"gradient must be two numbers that are not both 0, got {gradient.tolist()}")
    ways = {"by value": ("exploding", theory.clip(gradient, value=threshold))}
    ways["by norm"] = ("healthy", theory.clip(gradient, norm=threshold))
    turn = math.degrees(torch.atan2(gradient[1], gradient[0]) - torch.atan2(*ways["by value"][1].flip(0)))
    figure, axes = _axes(f"By value it turns by {abs(turn):.0f}°, by norm by 0°", "gradient of weight 1", "of weight 2")
    extent = 1.15 * max(threshold, float(gradient.abs().max()))
    angle = np.linspace(0, 2 * np.pi, 97)
    axes.plot(threshold * np.cos(angle), threshold * np.sin(angle), color=PALETTE["healthy"], linewidth=1, alpha=0.7)
    square = threshold * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    axes.plot(*square.T, color=PALETTE["exploding"], linewidth=1, linestyle=(0, (5, 2)), alpha=0.7)
    arrows = {"gradient": ("neutral", gradient), **ways}
    for name, (kind, arrow) in arrows.items():
        end = arrow.tolist()
        axes.plot([0, end[0]], [0, end[1]], color=PALETTE[kind], linestyle=DASHES[kind], linewidth=2)
        axes.plot(*end, color=PALETTE[kind], marker=MARKER[kind], markersize=8, linestyle="none", label=name)
    axes.set(xlim=(-0.15 * extent, extent), ylim=(-0.15 * extent, extent))
    axes.set_aspect("equal")
    figure.legend(loc="outside right upper")
    figure.set_label(
        f"Gradient ({gradient[0]:.3g}, {gradient[1]:.3g}) with threshold {threshold:.3g}. By norm it becomes "
        f"({ways['by norm'][1][0]:.3g}, {ways['by norm'][1][1]:.3g}), the same direction; by value "
        f"({ways['by value'][1][0]:.3g}, {ways['by value'][1][1]:.3g}), turned by {abs(turn):.0f} degrees."
    )
    return figure


@_styled
def clipping_threshold(norms: Sequence[float], threshold: float, accuracy: float | None = None) -> Figure:
    """Recorded gradient norms of a run, and how many of its steps a threshold would shorten.

    Args:
        norms: of the whole gradient, one a step.
        threshold: above 0.
        accuracy: of a run that was clipped so, 0 to 1, if there is one.
    Raises:
        ValueError: for no norm, a threshold that is not above 0 and finite, or an accuracy outside 0 to 1.
    """
    norms, threshold = np.asarray(norms, dtype=float), arguments.number("threshold", threshold, above_minimum=True)
    if norms.ndim != 1 or len(norms) == 0:
        raise ValueError(f"at least one norm is needed, one a step, got shape {norms.shape}")
    if accuracy is not None:
        _share("accuracy", accuracy)
    share = float((norms > threshold).mean())
    title = f"{share:.0%} of the steps are above {threshold:.2g}"
    figure, axes = _axes(title if accuracy is None else f"{title}: accuracy {accuracy:.2f}", "step", "gradient norm")
    steps, above = np.arange(1, len(norms) + 1), norms > threshold
    shown = _positive(norms)
    for part, kind, name in ((~above, "healthy", "left alone"), (above, "exploding", "shortened")):
        axes.plot(steps[part], shown[part], color=PALETTE[kind], marker=MARKER[kind], linestyle="none", label=name)
    axes.axhline(threshold, color=TEXT, linewidth=1.2, linestyle=(0, (5, 2)), label="threshold")
    _decade_axis(axes, [norms], threshold)
    figure.legend(loc="outside lower center", ncols=3)
    then = "" if accuracy is None else f" Clipped so, the run reaches an accuracy of {accuracy:.2f}."
    figure.set_label(
        f"Gradient norm of {len(norms)} steps, logarithmic, median {np.median(norms):.3g}. {share:.0%} are above "
        f"the threshold of {threshold:.3g}.{then}"
    )
    return figure


@_styled
def step_sizes(sizes: Mapping[str, Sequence[float]], spike: int) -> Figure:
    """Size of each step of several optimisers, whose gradient is the same but for one spike.

    Args:
        sizes: name of an optimiser, at most 4 -> size of each step over the learning rate, one a step.
        spike: the step with the spike, counted from 0.
    Raises:
        ValueError: for no optimiser, more than 4, none or differing numbers of steps, or a spike outside of them.
    """
    curves = _told_apart({name: np.atleast_2d(np.asarray(v, dtype=float)) for name, v in sizes.items()}, "optimisers")
    steps = next(iter(curves.values())).shape[1]
    if not 0 <= spike < steps:
        raise ValueError(f"spike must be one of the steps 0 to {steps - 1}, got {spike}")
    last = {name: float(values[0, -1]) for name, values in curves.items()}
    figure, axes = _axes("Steps before and after one large gradient", "step", "step / learning rate")
    _bands(axes, np.arange(steps), curves, geometric=True)
    axes.axvline(spike, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    _decade_axis(axes, list(curves.values()), 0.1, 10)
    axes.legend(loc="lower left")
    told = "; ".join(
        f"{name} {values[0, spike]:.3g} at the spike, {last[name]:.2g} at the end" for name, values in curves.items()
    )
    figure.set_label(
        f"Size of {steps} steps over the learning rate, with one spike of the gradient in step {spike}: {told}."
    )
    return figure


@_styled
def there_and_back(signal: Sequence[Sequence[float]], gradient: Sequence[Sequence[float]], name: str) -> Figure:
    """The signal on its way forward and the gradient on its way back, layer by layer.

    Args:
        signal: shape (seeds, layers), each row divided by its first entry.
        gradient: shape (seeds, layers), each row divided by its last entry.
        name: of the network, for the title.
    Raises:
        ValueError: for arrays of other or of different shapes.
    """
    curves = _told_apart({"gradient, going back": gradient, "signal, going forward": signal}, "directions")
    count = next(iter(curves.values())).shape[1]
    figure, axes = _axes("", "layer", "size, relative to where it starts")
    middles = _bands(axes, np.arange(1, count + 1), curves, geometric=True)
    back, forward = middles["gradient, going back"][0], middles["signal, going forward"][-1]
    axes.set_title(f"{name}: signal {_power(forward)}, gradient {_power(back)}")
    _decade_axis(axes, list(curves.values()))
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    figure.set_label(
        f"{name}. Size of the signal at each of {_layers(count)}, relative to the first, and of the gradient, relative "
        f"to the last; logarithmic, mean and range over {len(curves['gradient, going back'])} networks. The signal "
        f"ends at {forward:.2g}, the gradient at {back:.2g}."
    )
    return figure


def _power(ratio: float) -> str:
    """A factor for a title: ×1.3, or ×1e-09 where it is far from 1."""
    return f"×{ratio:.2g}" if 1e-2 < ratio < 1e2 else f"×{ratio:.0e}"


@_styled
def singular_values(values: Mapping[str, Sequence[Sequence[float]]], name: str, least: float = 1e-6) -> Figure:
    """Singular values of a network's Jacobian, from the largest to the smallest, relative to their root mean square.

    Args:
        values: name of a start, at most 4 -> shape (seeds, singular values), each row falling.
        name: of the network, for the title.
        least: the bottom of the axis, above 0; what is smaller lies below the figure.
    Raises:
        ValueError: for no start, more than 4, arrays of other shapes, all of them 0, or a bottom that is not above 0.
    """
    curves = _told_apart(values, "starts")
    arguments.number("least", least, above_minimum=True)
    if any((rows.max(1) <= 0).any() or not np.isfinite(rows).all() for rows in curves.values()):
        raise ValueError("singular values must be finite and at least one of each network above 0")
    curves = {start: rows / np.sqrt((rows**2).mean(1, keepdims=True)) for start, rows in curves.items()}
    count = next(iter(curves.values())).shape[1]
    figure, axes = _axes(name, "singular value, by rank", "size over root mean square")
    # a kind of value that is 0 up to rounding has no place on a logarithmic axis, and its range would fill the figure
    shown = {start: np.where(rows < least / 100, np.nan, rows) for start, rows in curves.items()}
    _bands(axes, np.arange(1, count + 1), shown, geometric=True)
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_yscale("log")
    axes.set_ylim(least, 30)
    _few_decades(axes)
    axes.legend(loc="lower left")
    told = "; ".join(
        f"{start}: largest {rows[:, 0].mean():.3g}, {(rows > 0.1).sum(1).mean():.0f} of {count} above 0.1"
        for start, rows in curves.items()
    )
    figure.set_label(
        f"{name}. Singular values of the Jacobian from input to last layer, by rank, relative to their root mean "
        f"square, logarithmic. {told}."
    )
    return figure


@_styled
def against(
    x: Sequence[float],
    curves: Mapping[str, Sequence[Sequence[float]]],
    title: str,
    axes_names: tuple[str, str],
    *,
    logarithmic_x: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Shares between 0 and 1 against a setting, with their range over seeds.

    Args:
        x: values of the setting, rising.
        curves: name, at most 4 -> shape (seeds, settings), from 0 to 1.
        title: of the figure, its finding.
        axes_names: what the setting is, and what the shares are of.
        logarithmic_x: whether the axis of the setting is.
        marks: name -> a value of the setting to draw a dashed line at.
    Raises:
        ValueError: for no curve, more than 4, arrays of other shapes, or settings that do not rise.
    """
    known = _told_apart(curves, "curves")
    x = np.asarray(x, dtype=float)
    points = next(iter(known.values())).shape[1]
    if x.shape != (points,) or not (np.diff(x) > 0).all():
        raise ValueError(f"x must be {points} rising numbers, one a point of the curves, got {x.tolist()}")
    figure, axes = _axes(title, *axes_names)
    middles = _bands(axes, x, known, geometric=False)
    for mark, place in (marks or {}).items():
        axes.axvline(place, color=TEXT, linewidth=1, linestyle=(0, (5, 2)))
        axes.annotate(
            mark,
            (place, 1.0),
            ha="left",
            va="bottom",
            xycoords=("data", "axes fraction"),
            xytext=(2, -9),
            textcoords="offset points",
        )
    if logarithmic_x:
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.02, 1.05)
    axes.legend(loc="best")
    told = "; ".join(
        f"{name} from {middle[0]:.2f} at {x[0]:g} to {middle[-1]:.2f} at {x[-1]:g}" for name, middle in middles.items()
    )
    figure.set_label(f"{title}. {axes_names[1]} against {axes_names[0]}: {told}. Bands are the range over seeds.")
    return figure


@_styled
def float16_window(sizes: Sequence[Tensor], exponent: float = 0) -> Figure:
    """Sizes of each layer's gradient entries, times a loss scale, between float16's smallest and largest number.

    Args:
        sizes: one tensor of any shape per layer, the gradient in float32; what is 0 or not finite is left out.
        exponent: the loss is multiplied by 2 to this power.
    Raises:
        ValueError: for no layer, or an exponent that is not finite.
        TypeError: for an exponent that is no number.
    """
    if not len(sizes):
        raise ValueError("sizes needs the gradient of at least one layer, got none")
    exponent = arguments.number("exponent", exponent, -math.inf)
    half = torch.finfo(torch.float16)
    small, large = math.log2(half.smallest_normal * half.eps) - 1, math.log2(half.max)
    figure, axes = _axes("", "layer", "log2 of the gradient's entries")
    below, told = [], []
    for number, values in enumerate(sizes, 1):
        known = _positive(np.abs(torch.as_tensor(values).detach().double().numpy().ravel()))
        known = np.log2(known[np.isfinite(known)]) + exponent
        if not len(known):
            continue
        low, middle, high = np.quantile(known, (0.01, 0.5, 0.99))
        kind = "vanishing" if low <= small else "exploding" if known.max() > large else "healthy"
        axes.vlines(number, low, high, color=PALETTE[kind], linewidth=3, alpha=0.4)
        axes.plot(number, middle, color=PALETTE[kind], marker=MARKER[kind], linestyle="none")
        below.append((known <= small).mean())
        told.append(middle)
    axes.axhspan(-70, small, color=PALETTE["vanishing"], alpha=0.1, linewidth=0)
    axes.axhspan(large, 70, color=PALETTE["exploding"], alpha=0.1, linewidth=0)
    for y, note, side in ((small, "becomes 0", "top"), (large, "becomes inf", "bottom")):
        axes.annotate(
            note,
            (0.02, y),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3 if side == "bottom" else -3),
            textcoords="offset points",
            va=side,
        )
    share = below[0] if below else math.nan
    axes.set_title(f"Loss × $2^{{{exponent:g}}}$: {share:.0%} of layer 1 is too small" if below else "No gradient")
    axes.set_ylim(-44, 28)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends = f" The median entry is 2^{told[0]:.1f} in the first and 2^{told[-1]:.1f} in the last." if told else ""
    figure.set_label(
        f"Sizes of the gradient's entries in {_layers(len(sizes))}, times a loss scale of 2^{exponent:g}, between "
        f"float16's limits 2^{small:.0f} and 2^{large:.0f}: median, and 1 % to 99 %.{ends} Of the first layer's "
        f"{share:.0%} are too small."
    )
    return figure
