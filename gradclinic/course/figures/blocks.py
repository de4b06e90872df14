"""What happens from block to block of a Transformer: the least, the mean and the largest over networks."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from gradclinic.course.figures.bands import decade_axis, times
from gradclinic.plots.style import MARKER, PALETTE, TEXT, legend, positive, regime, styled, titled


@styled
def by_block(measured: ArrayLike, predicted: ArrayLike, quantity: str, title: str = "", least: float = 0.0) -> Figure:
    """A quantity at the output of each block, measured on several networks, with the predicted line.

    Args:
        measured: shape (3, blocks): the least, the geometric mean and the largest over networks.
        predicted: shape (blocks,).
        quantity: what it is, for the axis.
        title: what stands before "at the first block" or "at the last", whichever is further from 1.
        least: the bottom of the axis; what is smaller lies below the figure. With 0 all is shown.
    Raises:
        ValueError: for arrays of other shapes.
    """
    bands, line = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    if bands.ndim != 2 or len(bands) != 3 or not bands.shape[1] or line.shape != bands.shape[1:]:
        raise ValueError(f"measured must be (3, blocks) and predicted (blocks,), got {bands.shape} and {line.shape}")
    blocks = np.arange(1, len(line) + 1)
    low, middle, high = positive(bands)
    first = abs(np.log(middle[0])) > abs(np.log(middle[-1]))
    told, where = (middle[0], "first") if first else (middle[-1], "last")
    kind = regime(float(told))
    short = times(float(told)) if told > 0.01 else f"{told:.0e}"
    figure, axes = titled(f"{title} at the {where} block: {short}".strip(), "block", quantity)
    axes.fill_between(blocks, low, high, color=PALETTE[kind], alpha=0.25, linewidth=0)
    axes.plot(blocks, middle, color=PALETTE[kind], marker=MARKER[kind], linestyle="none", label="measured")
    axes.plot(blocks, positive(line), color=TEXT, linewidth=1.2, label="predicted")
    decade_axis(axes, [bands, line], 0.5, 2.0)
    if least:
        axes.set_ylim(bottom=least)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    figure.set_label(
        f"{quantity}, block by block, logarithmic, over {len(line)} blocks: range and geometric mean over networks, "
        f"with the predicted line. At the first block it is {middle[0]:.2g}, predicted {line[0]:.2g}; at the last "
        f"{middle[-1]:.2g}, predicted {line[-1]:.2g}."
    )
    return figure
