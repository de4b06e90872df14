"""Lines over the steps of a run: long ones, broken ones, and a mark where a value has no place on the axis."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradclinic.plots.style import DASHES, MARKER, PALETTE, TEXT, Dashes
from gradclinic.record import Record

# A figure has room for so many places side by side. A longer line is drawn by the lowest and the highest value of each.
PLACES = 300


def is_long(count: int) -> bool:
    """Whether so many steps in a row are too many to draw each."""
    return count > 3 * PLACES


def unbroken_runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    return [(int(start), int(end) - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def runs_apart(marked: np.ndarray) -> list[tuple[int, int]]:
    """As ``unbroken_runs``; of a long line, runs that a figure could not show apart are one."""
    runs, apart = unbroken_runs(marked), len(marked) // 100 if is_long(len(marked)) else 0
    joined = runs[:1]
    for start, end in runs[1:]:
        if start - joined[-1][1] <= apart:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def drawn_rows(values: np.ndarray) -> np.ndarray:
    """Which of the values, shape (S,), a line is drawn through: all, or of a long line 3 a place and its two ends.

    At each place these are the lowest, the highest and the first that is no number: whatever lasts one step only, a
    spike or a gap, stays in the picture, on a logarithmic axis too. At most 3 * ``PLACES`` + 2.
    """
    count = len(values)
    if not is_long(count):
        return np.arange(count)
    wide = math.ceil(count / PLACES)
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


def isolated(values: np.ndarray) -> list[int]:
    """Indices of values with no finite neighbour: a line alone would not show them."""
    return [start for start, end in unbroken_runs(np.isfinite(values)) if start == end]


def trajectories(
    axes: Axes,
    record: Record,
    values: np.ndarray,
    names: Sequence[str],
    named: Sequence[int],
    dashes: Dashes | None = None,
) -> list[Line2D]:
    """One line a layer, darker the nearer to the input; those in ``named`` have a dash pattern, and are returned."""
    shown = []
    for index, name in enumerate(names):
        position = named.index(index) if index in named else None
        rows = drawn_rows(values[:, index])
        single = isolated(values[rows, index])
        (line,) = axes.plot(
            record.step[rows],
            values[rows, index],
            color=TEXT,
            alpha=1 - 0.7 * index / max(len(names) - 1, 1),
            linewidth=0.7 if position is None else 1.6,
            linestyle=dashes or ("solid" if position is None else list(DASHES.values())[position % len(DASHES)]),
            marker="o" if single else None,
            markevery=single,
            label=name,
        )
        if position is not None:
            shown.append(line)
    return shown


def step_axis(axes: Axes, record: Record) -> None:
    """The steps as x axis; a single step is a point in the middle."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(record.step) == 1:
        axes.set_xlim(record.step[0] - 1, record.step[0] + 1)


def loss_line(axes: Axes, step: np.ndarray, loss: np.ndarray, chance: float, kind: str) -> None:
    """The loss in the colour of ``kind``, with the loss of guessing, unless that is NaN."""
    rows = drawn_rows(loss)
    step, loss = step[rows], loss[rows]
    axes.plot(step, loss, color=PALETTE[kind], linewidth=1, marker=MARKER[kind], markevery=isolated(loss))
    if not math.isnan(chance):
        axes.axhline(chance, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="guessing")


def lost_steps(record: Record, values: np.ndarray) -> np.ndarray:
    """Which steps have a value that overflowed. A NaN in a step that is finite elsewhere only says "not measured"."""
    values = values.reshape(len(values), -1)
    odd: np.ndarray = ~np.isfinite(values).all(1)
    if odd.any():
        odd[odd] = (np.isinf(values[odd]) | (np.isnan(values[odd]) & record.faulty[odd, None])).any(1)
    return odd


def mark(axes: Axes, x: np.ndarray, marked: np.ndarray, note: str, kind: str, height: float = 0.96) -> list[Line2D]:
    """Where on the x axis a value has no place among the others: a marker and a shade for each run.

    Returns the first marker, for the legend, which says the note; none if nothing is marked.
    """
    markers: list[Line2D] = []
    for start, end in runs_apart(marked):
        if end > start:
            axes.axvspan(x[start], x[end], color=PALETTE[kind], alpha=0.12, linewidth=0)
        markers += axes.plot(
            [x[start]],
            [height],
            transform=axes.get_xaxis_transform(),
            color=PALETTE[kind],
            marker="x" if kind == "exploding" else MARKER[kind],
            markersize=6,
            linestyle="none",
            label=None if markers else note,
        )
    return markers[:1]


def mark_lost(axes: Axes, record: Record, values: np.ndarray) -> tuple[str, list[Line2D]]:
    """Mark the steps that were lost, and say so in words; "" and no marker if there are none."""
    lost = lost_steps(record, values)
    if not lost.any():
        return "", []
    first = record.step[np.argmax(lost)]
    words = f" Not finite in {int(lost.sum())} of {len(lost)} recorded steps, for the first time at step {first}."
    return words, mark(axes, record.step, lost, "not finite", "exploding")


def last_finite(values: np.ndarray, index: int) -> str:
    """The last finite value of a layer, in words."""
    finite = values[np.isfinite(values[:, index]), index]
    return f"{finite[-1]:.1e}" if len(finite) else "unknown"
