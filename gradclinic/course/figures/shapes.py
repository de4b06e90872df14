"""Pictures of many numbers at once: what a layer's units say, where they are flat, and what becomes of a circle."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from gradclinic.course.figures.bands import told_apart
from gradclinic.plots.style import KINDS, PALETTE, TEXT, few_decades, legend, styled, titled

_BINS = 41  # odd, so that one of them is around 0
_MOST_LAYERS = 4  # more outlines than this cannot be told apart


@styled
def values_by_layer(values: Mapping[str, Tensor], name: str, least: float = 1e-3) -> Figure:
    """Histograms of what the units of several layers give, laid over each other.

    Args:
        values: name of a layer, at most 4 -> its activations, any shape, between -1 and 1.
        name: of the network, for the title.
        least: the bottom of the axis, as a share of the values.
    Raises:
        ValueError: for no layer, more than 4, a layer without values, or values outside -1 to 1.
    """
    if not 1 <= len(values) <= _MOST_LAYERS:
        raise ValueError(f"1 to {_MOST_LAYERS} layers can be told apart, got {len(values)}")
    figure, axes = titled(name, "what a unit gives", "share of the values")
    told = []
    for (layer, given), kind in zip(values.items(), KINDS.values(), strict=False):
        flat = given.detach().flatten().double()
        if len(flat) == 0 or not (flat.abs() <= 1).all():
            raise ValueError(f"{layer} must have values, and between -1 and 1")
        counts, edges = np.histogram(flat.numpy(), bins=_BINS, range=(-1, 1))
        axes.stairs(
            np.maximum(counts / len(flat), least / 10), edges, color=kind.color, linestyle=kind.linestyle, label=layer
        )
        told.append(
            f"{layer}: {(flat.abs() > 0.95).double().mean():.0%} beyond 0.95, rms {flat.square().mean().sqrt():.2g}"
        )
    axes.set_yscale("log")
    axes.set_ylim(least, 1.5)
    few_decades(axes.yaxis)
    legend(axes)
    figure.set_label(f"{name}. Histograms of what the units give, from -1 to 1, logarithmic. {'; '.join(told)}.")
    return figure


@styled
def flat_units(slopes: Tensor, name: str, flat_below: float = 0.05) -> Figure:
    """The slope of every unit on every example, as an image: the paler, the flatter; blank where it is flat.

    Args:
        slopes: shape (examples, units), each between 0 and 1, relative to the largest slope of the activation.
        name: for the title.
        flat_below: slopes below this are left blank.
    Raises:
        ValueError: for slopes of another shape, or outside 0 to 1.
    """
    if slopes.ndim != 2 or slopes.numel() == 0 or not ((slopes >= 0) & (slopes <= 1)).all():
        raise ValueError(f"slopes must be (examples, units), each from 0 to 1, got shape {tuple(slopes.shape)}")
    shown = slopes.detach().double().numpy()
    figure, axes = titled(name, "unit", "image")
    image = np.empty((*shown.shape, 4))
    image[..., :3] = to_rgb(PALETTE["neutral"])
    image[..., 3] = np.where(shown < flat_below, 0, shown)  # where it is flat the page shows through, dark or light
    axes.imshow(image, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    share = (shown < flat_below).mean()
    figure.set_label(
        f"{name}. {shown.shape[0]} images by {shown.shape[1]} units, shaded by the slope of the activation: "
        f"{share:.0%} of the image is blank, {(shown > 0.5).mean():.0%} has more than half of the largest slope."
    )
    return figure


@styled
def circle(values: Mapping[str, np.ndarray], name: str) -> Figure:
    """What a network makes of a small circle of inputs: an ellipse, by its largest and its middle singular value.

    Each ellipse is drawn as large as fits, so that its shape is what is compared.

    Args:
        values: name of a start, at most 4 -> singular values of one Jacobian, in any order.
        name: of the network, for the title.
    Raises:
        ValueError: for no start, more than 4, or singular values of which none is above 0.
    """
    figure, axes = titled(name, "most stretched direction", "a middling direction")
    angle, told = np.linspace(0, 2 * np.pi, 181), []
    for (start, row), kind in zip(
        told_apart({key: [list(v)] for key, v in values.items()}, "starts").items(), KINDS.values(), strict=False
    ):
        ordered = np.sort(row[0])[::-1]
        if not np.isfinite(ordered).all() or ordered[0] <= 0:
            raise ValueError(f"{start} must have finite singular values, at least one of them above 0")
        share = ordered[len(ordered) // 2] / ordered[0]
        axes.plot(np.cos(angle), share * np.sin(angle), color=kind.color, linestyle=kind.linestyle, label=start)
        told.append(f"{start}: {share:.2g} times as wide as long")
    axes.plot(np.cos(angle), np.sin(angle), color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="the circle")
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axes.set_aspect("equal", adjustable="box")
    legend(axes)
    figure.set_label(f"{name}. What becomes of a circle of inputs, scaled to the same length. {'; '.join(told)}.")
    return figure
