"""Descent in many directions: several optimisers in one ravine, the error by direction, the curvature of a network."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gradclinic.arguments import number
from gradclinic.plots.style import KINDS, MARKER, PALETTE, RING, TEXT, few_decades, legend, positive, styled, titled


@styled
def optimizer_paths(paths: Mapping[str, ArrayLike], hessian: ArrayLike, title: str) -> Figure:
    """Several walks from one start over the contours of the bowl w·Hw/2.

    Args:
        paths: name of an optimiser, at most 4 -> shape (steps + 1, 2), its positions.
        hessian: H, shape (2, 2), with both eigenvalues above 0.
        title: of the figure.
    Raises:
        ValueError: for no path, more than 4, paths of other shapes, or a Hessian that is none of a bowl.
    """
    walks = _lines(paths, "paths")
    if any(walk.ndim != 2 or walk.shape[1] != 2 or len(walk) < 2 for walk in walks.values()):
        shapes = {name: walk.shape for name, walk in walks.items()}
        raise ValueError(f"paths must have shape (steps + 1, 2) and hold at least one step, got {shapes}")
    bowl = np.asarray(hessian, dtype=float)
    if bowl.shape != (2, 2) or not np.allclose(bowl, bowl.T) or np.linalg.eigvalsh(bowl).min() <= 0:
        raise ValueError(f"hessian must be a symmetric 2 x 2 matrix with eigenvalues above 0, got {bowl.tolist()}")
    figure, axes = titled(title, "weight 1", "weight 2")
    start = next(iter(walks.values()))[0]
    extent = 1.4 * max(1e-9, float(np.abs(start).max()))
    x, y = np.meshgrid(np.linspace(-extent, extent, 41), np.linspace(-extent, extent, 41))
    height = (bowl[0, 0] * x**2 + 2 * bowl[0, 1] * x * y + bowl[1, 1] * y**2) / 2
    levels = height.max() * np.linspace(0.05, 1, 7) ** 2
    axes.contour(x, y, height, levels=levels, colors=PALETTE["neutral"], linewidths=0.7, alpha=0.6)
    for (name, walk), kind in zip(walks.items(), KINDS.values(), strict=False):
        shown = np.clip(walk, -20 * extent, 20 * extent)  # of a step far out of the picture the direction can be seen
        axes.plot(*shown.T, **kind._asdict(), markersize=3, linewidth=1, label=name)
    axes.plot(*start, **RING, label="start")
    axes.plot(0, 0, marker="+", markersize=11, color=TEXT, linestyle="none", label="minimum")
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent))
    axes.grid(False)
    legend(axes)
    ends = "; ".join(f"{name} ends {np.linalg.norm(walk[-1]):.2g} from the minimum" for name, walk in walks.items())
    figure.set_label(f"{title}. Walks over the contours of a bowl, from {np.linalg.norm(start):.3g} away: {ends}.")
    return figure


@styled
def error_by_direction(errors: Mapping[str, ArrayLike], title: str) -> Figure:
    """How far a walk is from the minimum along several directions, step by step.

    Args:
        errors: name of a direction, at most 4 -> shape (steps + 1,), the distance along it.
        title: of the figure.
    Raises:
        ValueError: for no direction, more than 4, or errors of other shapes.
    """
    lines = _lines(errors, "errors")
    lengths = {name: values.shape for name, values in lines.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 or shape[0] < 2 for shape in lengths.values()):
        raise ValueError(f"errors must all have one shape (steps + 1,) with at least one step, got {lengths}")
    figure, axes = titled(title, "step", "distance from the minimum")
    for (name, values), kind in zip(lines.items(), KINDS.values(), strict=False):
        axes.plot(positive(np.abs(values)), **kind._asdict(), markevery=max(1, len(values) // 10), label=name)
    axes.set_ylim(1e-6, 1e3)
    axes.set_yscale("log")
    few_decades(axes.yaxis)
    legend(axes)
    told = "; ".join(f"{name} from {abs(values[0]):.3g} to {abs(values[-1]):.2g}" for name, values in lines.items())
    steps = next(iter(lengths.values()))[0] - 1
    figure.set_label(f"{title}. Distance from the minimum over {steps} steps, logarithmic: {told}.")
    return figure


@styled
def curvature_by_step(at: Sequence[float], curvature: Sequence[float], learning_rate: float) -> Figure:
    """The largest curvature of a loss during training, beside 2 over the learning rate.

    Args:
        at: steps, rising, at least one.
        curvature: at each of them; what is not finite is left out.
        learning_rate: above 0.
    Raises:
        TypeError: for a learning rate that is no number.
        ValueError: for steps that do not rise, curvatures of another number, or a learning rate that is not above 0.
    """
    limit = 2 / number("learning_rate", learning_rate, above_minimum=True)
    steps, values = np.asarray(at, dtype=float), np.asarray(curvature, dtype=float)
    if steps.ndim != 1 or len(steps) == 0 or steps.shape != values.shape or not (np.diff(steps) > 0).all():
        raise ValueError(f"at must be rising steps, one for each curvature; got {steps.tolist()}, {values.tolist()}")
    known = values[np.isfinite(values)]
    if len(known) < len(values):
        title, kind = "It is lost: the numbers leave float32", "exploding"
    elif values[0] <= limit:
        title, kind = "It begins below 2 / rate", "healthy"
    elif known[-1] < 1.2 * limit:
        title, kind = "It begins above 2 / rate, and comes down", "healthy"
    else:
        title, kind = "It stays above 2 / rate", "exploding"
    figure, axes = titled(title, "step", "largest curvature")
    axes.plot(steps, positive(values), color=PALETTE[kind], marker=MARKER[kind], linewidth=1)
    axes.axhline(limit, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="2 / rate")
    legend(axes)
    axes.set(xlim=(steps[0] - 1, steps[-1] + 1), ylim=(0.5, 1000))
    axes.set_yscale("log")
    few_decades(axes.yaxis)
    last = f"{known[-1]:.3g} at the last that is finite" if len(known) else "none is finite"
    figure.set_label(
        f"Largest curvature of the loss at {len(steps)} steps up to {steps[-1]:g}, logarithmic: {values[0]:.3g} at the "
        f"first, {last}; 2 over the learning rate is {limit:.3g}. {title}."
    )
    return figure


def _lines(given: Mapping[str, ArrayLike], what: str) -> dict[str, np.ndarray]:
    """Each line as an array, or an error: at most as many as there are kinds."""
    if not 1 <= len(given) <= len(KINDS):
        raise ValueError(f"between 1 and {len(KINDS)} {what} can be told apart, got {list(given)}")
    return {name: np.asarray(values, dtype=float) for name, values in given.items()}
