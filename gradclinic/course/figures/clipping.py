"""Gradient clipping: what it does to one gradient, to a run, and to the step of an optimiser."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gradclinic.arguments import number, whole
from gradclinic.course import theory
from gradclinic.course.figures.bands import bands, decade_axis, told_apart
from gradclinic.plots.style import DASHES, KINDS, MARKER, PALETTE, TEXT, Kind, legend, positive, styled, titled


@styled
def clipped_arrows(gradient: Tensor, threshold: float) -> Figure:
    """A gradient of two entries, clipped by norm and by value at one threshold.

    Args:
        gradient: shape (2,), not zero.
        threshold: above 0.
    Raises:
        TypeError: for a threshold that is no number.
        ValueError: for another shape, a gradient of zero, or a threshold that is not above 0 and finite.
    """
    threshold = number("threshold", threshold, above_minimum=True)
    gradient = torch.as_tensor(gradient, dtype=torch.float64)
    if gradient.shape != (2,) or not 0 < float(gradient.norm()) < math.inf:
        raise ValueError(f"gradient must be two numbers that are not both 0, got {gradient.tolist()}")
    norm, value = KINDS["plum"], KINDS["ochre"]
    ways = {"by value": (value, theory.clip(gradient, value=threshold))}
    ways["by norm"] = (norm, theory.clip(gradient, norm=threshold))
    turn = math.degrees(torch.atan2(gradient[1], gradient[0]) - torch.atan2(*ways["by value"][1].flip(0)))
    figure, axes = titled(
        f"By value it turns by {abs(turn):.0f}°, by norm by 0°", "gradient of weight 1", "gradient of weight 2"
    )
    extent = 1.15 * max(threshold, float(gradient.abs().max()))
    angle = np.linspace(0, 2 * np.pi, 97)
    axes.plot(threshold * np.cos(angle), threshold * np.sin(angle), color=norm.color, linewidth=1, alpha=0.7)
    square = threshold * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    axes.plot(*square.T, color=value.color, linewidth=1, linestyle=(0, (5, 2)), alpha=0.7)
    arrows = {"gradient": (Kind(PALETTE["neutral"], MARKER["neutral"], DASHES["neutral"]), gradient), **ways}
    for name, (kind, arrow) in arrows.items():
        end = arrow.tolist()
        axes.plot([0, end[0]], [0, end[1]], color=kind.color, linestyle=kind.linestyle, linewidth=2)
        axes.plot(*end, color=kind.color, marker=kind.marker, markersize=8, linestyle="none", label=name)
    axes.set(xlim=(-0.15 * extent, extent), ylim=(-0.15 * extent, extent))
    axes.set_aspect("equal")
    legend(axes)
    figure.set_label(
        f"Gradient ({gradient[0]:.3g}, {gradient[1]:.3g}) with threshold {threshold:.3g}. By norm it becomes "
        f"({ways['by norm'][1][0]:.3g}, {ways['by norm'][1][1]:.3g}), the same direction; by value "
        f"({ways['by value'][1][0]:.3g}, {ways['by value'][1][1]:.3g}), turned by {abs(turn):.0f} degrees."
    )
    return figure


@styled
def clipping_threshold(norms: Sequence[float], threshold: float, accuracy: float | None = None) -> Figure:
    """Recorded gradient norms of a run, and how many of its steps a threshold would shorten.

    Args:
        norms: of the whole gradient, one a step.
        threshold: above 0.
        accuracy: of a run that was clipped so, 0 to 1, if there is one.
    Raises:
        TypeError: for a threshold or an accuracy that is no number.
        ValueError: for no norm, a threshold that is not above 0 and finite, or an accuracy outside 0 to 1.
    """
    sizes, threshold = np.asarray(norms, dtype=float), number("threshold", threshold, above_minimum=True)
    if sizes.ndim != 1 or len(sizes) == 0:
        raise ValueError(f"at least one norm is needed, one a step, got shape {sizes.shape}")
    if accuracy is not None:
        number("accuracy", accuracy, maximum=1)
    above = sizes > threshold
    share = float(above.mean())
    title = f"{share:.0%} of the steps are above {threshold:.2g}"
    figure, axes = titled(title if accuracy is None else f"{title}: accuracy {accuracy:.2f}", "step", "gradient norm")
    steps, shown = np.arange(1, len(sizes) + 1), positive(sizes)
    for part, kind, name in ((~above, "plum", "left alone"), (above, "ochre", "shortened")):
        axes.plot(
            steps[part], shown[part], color=KINDS[kind].color, marker=KINDS[kind].marker, linestyle="none", label=name
        )
    axes.axhline(threshold, color=TEXT, linewidth=1.2, linestyle=(0, (5, 2)), label="threshold")
    decade_axis(axes, [sizes], threshold)
    legend(axes)
    then = "" if accuracy is None else f" Clipped so, the run reaches an accuracy of {accuracy:.2f}."
    figure.set_label(
        f"Gradient norm of {len(sizes)} steps, logarithmic, median {np.median(sizes):.3g}. {share:.0%} are above "
        f"the threshold of {threshold:.3g}.{then}"
    )
    return figure


@styled
def step_sizes(sizes: Mapping[str, Sequence[float]], spike: int) -> Figure:
    """Size of each step of several optimisers, whose gradient is the same but for one spike.

    Args:
        sizes: name of an optimiser, at most 4 -> size of each step over the learning rate, one a step.
        spike: the step with the spike, counted from 0.
    Raises:
        TypeError: for a spike that is no integer.
        ValueError: for no optimiser, more than 4, none or differing numbers of steps, or a spike outside of them.
    """
    curves = told_apart({name: np.atleast_2d(np.asarray(v, dtype=float)) for name, v in sizes.items()}, "optimisers")
    steps = next(iter(curves.values())).shape[1]
    whole("spike", spike, 0, steps - 1)
    last = {name: float(values[0, -1]) for name, values in curves.items()}
    figure, axes = titled("Steps before and after one large gradient", "step", "step / learning rate")
    bands(axes, np.arange(steps), curves, geometric=True)
    axes.axvline(spike, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="the spike")
    decade_axis(axes, list(curves.values()), 0.1, 10)
    legend(axes)
    told = "; ".join(
        f"{name} {values[0, spike]:.3g} at the spike, {last[name]:.2g} at the end" for name, values in curves.items()
    )
    figure.set_label(
        f"Size of {steps} steps over the learning rate, with one spike of the gradient in step {spike}: {told}."
    )
    return figure
