"""Figures of a record: whatever network and whatever training it saw."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradclinic.arguments import whole
from gradclinic.plots.panels import (
    flow_panel,
    growth_panel,
    histogram_panel,
    loss_panel,
    norms_panel,
    units_panel,
    updates_panel,
)
from gradclinic.plots.style import (
    DASHES,
    MARKER,
    PALETTE,
    TEXT,
    alone,
    few_decades,
    first_middle_last,
    layer_count,
    legend,
    panels,
    positive,
    short,
    styled,
    titled,
)
from gradclinic.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _recorded(record: Record) -> None:
    if not isinstance(record, Record):
        raise TypeError(f"a Record is needed, as Recorder and probe make it, got {record!r}")
    if len(record.step) == 0:
        raise ValueError("this record is empty: it has 0 steps; record at least one before plotting it")


def _row(record: Record, row: int) -> None:
    _recorded(record)
    whole("row", row, -len(record.step), len(record.step) - 1)


@styled
def gradient_flow(record: Record, row: int = -1) -> Figure:
    """Gradient norm of each layer's parameters at one recorded step; what is zero or not finite is marked as such.

    Of your run, with nothing to compare it with. The course's ``figures.gradient_profile`` has several networks that
    were drawn alike, and the line that theory predicts for them.

    Args:
        record: of at least one step.
        row: which recorded step, counted as in a list.
    Raises:
        TypeError: for something else than a ``Record``, or a row that is no integer.
        ValueError: for an empty one, or a row it does not have.
    """
    _row(record, row)
    return alone(flow_panel, record, row)


@styled
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
    return alone(histogram_panel, record, row)


@styled
def gradient_norms(record: Record) -> Figure:
    """Gradient norm of every layer through training: the nearer to the input, the darker. Three layers are named.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return alone(norms_panel, record)


@styled
def update_ratios(record: Record, layers: Sequence[int] | None = None) -> Figure:
    """Update norm over weight norm through training, with the 1e-3 that healthy runs are often near.

    Args:
        record: of at least one step.
        layers: which layers, counted from 1; unless told the first, the middle one and the last.
    Raises:
        TypeError: for something else than a ``Record``, or a layer that is no integer.
        ValueError: for an empty one, no layer, or one it does not have.
    """
    _recorded(record)
    count = len(record.layers)
    chosen = list(layers) if layers is not None else [index + 1 for index in first_middle_last(count)]
    if not chosen:
        raise ValueError(f"layers must be some of 1 to {count}, got {chosen!r}")
    for layer in chosen:
        whole("each of layers", layer, 1, count)
    return alone(updates_panel, record, chosen)


@styled
def weight_growth(record: Record) -> Figure:
    """Weight norm of every layer relative to the first recorded step.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return alone(growth_panel, record)


@styled
def units(record: Record) -> Figure:
    """Share of saturated units (tanh and sigmoid) and of dead units (ReLU) through training.

    Of your run, as shares. The course's ``figures.saturation`` shows where the inputs of one activation fall.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return alone(units_panel, record)


@styled
def loss_curve(record: Record) -> Figure:
    """The loss as it was told to the recorder, with the loss of guessing where that is known.

    Of your run. The course's ``figures.learning_curve`` is of a training on ten classes, with its accuracy.

    Args:
        record: of at least one step.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one.
    """
    _recorded(record)
    return alone(loss_panel, record)


@styled
def signal_by_step(record: Record, rows: Sequence[int] | None = None) -> Figure:
    """Size of each layer's output at several steps; a layer that holds inf is marked, one that holds NaN is left out.

    Args:
        record: of at least one step, with the outputs watched.
        rows: which recorded steps, at most 4, counted as in a list; the first 4 unless told.
    Raises:
        TypeError: for something else than a ``Record``, or a row that is no integer.
        ValueError: for an empty one, no row, more than 4, or one it does not have.
    """
    _recorded(record)
    count = len(record.step)
    rows = range(min(count, len(DASHES))) if rows is None else rows
    if not 1 <= len(rows) <= len(DASHES):
        raise ValueError(f"rows must be 1 to {len(DASHES)} of {-count} to {count - 1}, got {list(rows)}")
    for row in rows:
        whole("each of rows", row, -count, count - 1)
    limit = float(torch.finfo(torch.float32).max)
    first = record.first_nonfinite
    title = "Every layer is finite" if first is None else f"Step {first[0]}: {short(first[1])} is the first not finite"
    figure, axes = titled(title, "layer, from the input", "root mean square of its output")
    layers = np.arange(1, len(record.layers) + 1)
    told = []
    for row, (kind, dashes) in zip(rows, DASHES.items(), strict=False):
        size, step = record.output_rms[row], record.step[row]
        shown = positive(size)
        broken = layers[record.output_nonfinite[row]]
        colour = PALETTE["exploding"] if len(broken) else TEXT
        axes.plot(
            layers, shown, color=colour, linestyle=dashes, marker=MARKER[kind], markersize=3, label=f"step {step}"
        )
        infinite = layers[np.isinf(size)]
        if len(infinite):
            axes.plot(
                infinite, np.full(len(infinite), limit), "X", color=PALETTE["exploding"], markersize=10, label="inf"
            )
        lost = layers[np.isnan(size)]
        if len(lost):
            note = f"NaN from layer {lost[0]} on"
            axes.plot(lost, np.full(len(lost), limit), "x", color=PALETTE["exploding"], markersize=6, label=note)
        known = shown[np.isfinite(shown)]
        most = f"largest {known.max():.2g}" if len(known) else "none finite"
        infinity = f", inf in layer {infinite[0]}" if len(infinite) else ""
        told.append(f"step {step}: {most}{infinity}{f', NaN from layer {lost[0]} on' if len(lost) else ''}")
    axes.axhline(limit, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="largest float32")
    axes.set_yscale("log")
    axes.set_ylim(top=limit * 1e7)
    few_decades(axes.yaxis)
    axes.set_xlim(0.5, len(layers) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    figure.set_label(f"Root mean square of the output of {len(layers)} layers, logarithmic. {'; '.join(told)}.")
    return figure


@styled
def dashboard(record: Record) -> Figure:
    """Everything a record holds, in one figure: what happened to the loss first, then to each layer.

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
    named = [index + 1 for index in first_middle_last(len(record.layers))]
    finite = np.flatnonzero(np.isfinite(record.gradient_norm).any(1) & ~record.nonfinite.any(1))
    row = int(finite[-1]) if len(finite) else -1
    drawn: dict[str, Callable[[Axes, Record], str]] = {
        "loss": loss_panel,
        "norms": norms_panel,
        "flow": functools.partial(flow_panel, row=row),
        "histograms": functools.partial(histogram_panel, row=row),
        "updates": functools.partial(updates_panel, layers=named),
        "growth": growth_panel,
        "units": units_panel,
    }
    if record.histogram.shape[2] == 0:
        del drawn["histograms"]
    where = record.first_nonfinite
    spot = "" if where is None else where[1] if where[2] == "loss" else f"the {where[2]} of {where[1]}"
    first = f" Inf or NaN first seen at step {where[0]}, in {spot}." if where else ""
    size = f"{len(record.step)} recorded steps, {layer_count(len(record.layers))}"
    told = [f"Dashboard of {len(drawn)} panels: {size}.{first}"]
    figure, places = panels(len(drawn))
    for place, panel in zip(places, drawn.values(), strict=True):
        told.append(panel(place.subplots(), record))
        place.set_label(told[-1])
    places[0].set_label(" ".join(told[:2]))
    figure.set_label(" ".join(told))
    return figure
