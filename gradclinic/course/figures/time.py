"""What comes back through time: the gradient at each step of a recurrent network, and what a cell keeps."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gradclinic.course.figures.bands import bands, decade_axis, times, told_apart
from gradclinic.plots.style import TEXT, legend, positive, styled, titled


@styled
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
    curves = told_apart(measured, "networks")
    steps = next(iter(curves.values())).shape[1]
    if predicted is not None and np.shape(predicted) != (steps,):
        raise ValueError(f"predicted must have shape ({steps},) as measured has, got {np.shape(predicted)}")
    figure, axes = titled("", step, "gradient norm / last step's")
    time = np.arange(1, steps + 1)
    middles = bands(axes, time, curves, geometric=True)
    if predicted is not None:
        axes.plot(time, positive(np.asarray(predicted, dtype=float)), color=TEXT, linewidth=1.2, label="predicted")
    decade_axis(axes, [*curves.values(), () if predicted is None else predicted], 0.1, 10)
    name = next(iter(middles))
    axes.set_title(
        f"The first {step} gets {times(middles[name][0])} of the last one's"
        if len(middles) == 1
        else f"What comes back to the first {step}"
    )
    legend(axes)
    told = "; ".join(f"{name} {middle[0]:.2g}" for name, middle in middles.items())
    line = "" if predicted is None else f" Predicted: {np.asarray(predicted)[0]:.2g}."
    figure.set_label(
        f"Gradient norm at the state after each of {steps} {step}s, relative to the last, logarithmic. At the "
        f"first: {told}.{line}"
    )
    return figure


@styled
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
    curves = told_apart(measured, "paths")
    count = next(iter(curves.values())).shape[1]
    if np.shape(predicted) != (count,):
        raise ValueError(f"predicted must have shape ({count},) as measured has, got {np.shape(predicted)}")
    if not horizon > 0:
        raise ValueError(f"horizon must be above 0 steps, got {horizon!r}")
    figure, axes = titled(f"Memory horizon: {horizon:.3g} steps", "steps back in time", "share of the gradient kept")
    steps = np.arange(count)
    middles = bands(axes, steps, curves, geometric=True)
    axes.plot(steps, positive(np.asarray(predicted, dtype=float)), color=TEXT, linewidth=1.2, label="predicted")
    axes.axhline(math.exp(-1), color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="1/e")
    if horizon < count - 1:
        axes.axvline(horizon, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="memory horizon")
    decade_axis(axes, [*curves.values(), predicted], 0.1, 10)
    legend(axes)
    told = "; ".join(f"{name} {middle[-1]:.2g}" for name, middle in middles.items())
    figure.set_label(
        f"Share of the gradient that an LSTM's cell keeps over {count - 1} steps, logarithmic. At the end: {told}; "
        f"predicted {np.asarray(predicted)[-1]:.2g}. It is 1/e after {horizon:.3g} steps, as predicted."
    )
    return figure
