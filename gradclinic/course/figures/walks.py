"""Walks of gradient descent: over a bowl, along its steep axis, and over a loss with a cliff."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gradclinic.arguments import number
from gradclinic.plots.style import DASHES, MARKER, PALETTE, RING, TEXT, few_decades, legend, positive, styled, titled


@styled
def descent_path(path: Tensor, curvatures: Sequence[float]) -> Figure:
    """The path of gradient descent over the contours of the bowl (c1 x^2 + c2 y^2) / 2.

    Args:
        path: shape (steps + 1, 2), the positions, as ``training.descend`` returns them.
        curvatures: c1 and c2, above 0.
    Raises:
        TypeError: for a curvature that is no number.
        ValueError: for a path of another shape, or curvatures that are not two numbers above 0 and finite.
    """
    walk = _walk(path)
    if len(curvatures) != 2:
        raise ValueError(f"curvatures must be two numbers above 0, got {curvatures!r}")
    steep, flat = (number("each of curvatures", curvature, above_minimum=True) for curvature in curvatures)
    outcome, kind = _outcome(walk[:, 0])
    figure, axes = titled(f"On the bowl: it {outcome}", "weight 1", "weight 2")
    extent = 1.6 * max(1e-9, float(np.abs(walk[0]).max()))
    x, y = np.meshgrid(np.linspace(-extent, extent, 81), np.linspace(-extent, extent, 81))
    bowl = (steep * x**2 + flat * y**2) / 2
    levels = bowl.max() * np.linspace(0.02, 1, 9) ** 2
    axes.contour(x, y, bowl, levels=levels, colors=PALETTE["neutral"], linewidths=0.7, alpha=0.6)
    axes.plot(walk[:, 0], walk[:, 1], color=PALETTE[kind], marker=MARKER[kind], linewidth=1.2)
    axes.plot(*walk[0], **RING, label="start")
    axes.plot(0, 0, marker="+", markersize=11, color=TEXT, linestyle="none", label="minimum")
    legend(axes)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent))
    axes.grid(False)
    figure.set_label(
        f"Path of {len(walk) - 1} steps of gradient descent on a quadratic bowl. The walk {outcome}; "
        f"its last position along the steep axis is {walk[-1, 0]:.3g}, from a start of {walk[0, 0]:.3g}."
    )
    return figure


@styled
def descent_error(path: Tensor, rate_times_curvature: float) -> Figure:
    """Distance from the minimum along the steep axis, step by step, with the closed form abs(1 - lr * c)^t.

    Args:
        path: shape (steps + 1, 2), as ``training.descend`` returns it; the steep axis is the first.
        rate_times_curvature: learning rate times the steep curvature, dimensionless.
    Raises:
        TypeError: for a product that is no number.
        ValueError: for a path of another shape, or a product that is negative or not finite.
    """
    walk = _walk(path)
    distance = np.abs(walk[:, 0])
    outcome, kind = _outcome(walk[:, 0])
    factor = abs(1 - number("rate_times_curvature", rate_times_curvature))
    figure, axes = titled(f"Each step multiplies the error by {factor:.2g}", "step", "distance from the minimum")
    steps = np.arange(len(distance))
    axes.plot(steps, positive(distance[0] * factor**steps), color=TEXT, linewidth=1, label="predicted")
    axes.plot(
        steps, positive(distance), color=PALETTE[kind], marker=MARKER[kind], linestyle="none", label="torch.optim.SGD"
    )
    axes.set_yscale("log")
    axes.set_ylim(1e-8, 1e3)
    few_decades(axes.yaxis)
    legend(axes)
    figure.set_label(
        f"Distance from the minimum over {len(distance) - 1} steps, logarithmic. It {outcome}: from {distance[0]:.3g} "
        f"to {distance[-1]:.3g}, on the predicted line of factor {factor:.3g} a step."
    )
    return figure


@styled
def gradient_size(path: Tensor, curvature: float, learning_rate: float) -> Figure:
    """Size of the gradient in each step of a walk down a bowl, with the line at 1 that is often called a threshold.

    Args:
        path: shape (steps + 1,) or (steps + 1, 1), the positions, as ``training.descend`` returns them.
        curvature: of the bowl, above 0.
        learning_rate: of the walk, above 0.
    Raises:
        TypeError: for a curvature or rate that is no number.
        ValueError: for a path of another shape, or a curvature or rate that is not above 0 and finite.
    """
    curvature = number("curvature", curvature, above_minimum=True)
    product = curvature * number("learning_rate", learning_rate, above_minimum=True)
    position = torch.as_tensor(path).numpy()
    if position.ndim not in (1, 2) or len(position) < 2 or position.size != len(position):
        raise ValueError(f"path must have shape (steps + 1, 1) and hold at least one step, got shape {position.shape}")
    position = position.reshape(-1)
    size = curvature * np.abs(position)
    outcome, kind = _outcome(position)
    figure, axes = titled(f"Rate × curvature = {product:.3g}: it {outcome}", "step", "size of the gradient")
    axes.plot(
        positive(size), color=PALETTE[kind], marker=MARKER[kind], markevery=4, linestyle=DASHES[kind], linewidth=1
    )
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="a gradient of 1")
    legend(axes)
    axes.set_yscale("log")
    axes.set_ylim(1e-7, 1e7)
    few_decades(axes.yaxis)
    figure.set_label(
        f"Size of the gradient over {len(position) - 1} steps on a bowl of curvature {curvature:.3g} at learning rate "
        f"{learning_rate:.3g}, logarithmic: from {size[0]:.3g} to {size[-1]:.3g}. It {outcome}; the product of rate "
        f"and curvature is {product:.3g}, and the line at 1 plays no part."
    )
    return figure


@styled
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
    across, up, height = (np.asarray(values, dtype=float) for values in (w, b, loss))
    if across.ndim != 1 or up.ndim != 1 or min(len(across), len(up)) < 2 or height.shape != (len(across), len(up)):
        raise ValueError(
            f"w and b need at least 2 points each and loss the shape of their grid; got {across.shape}, {up.shape} and "
            f"{height.shape}"
        )
    walk = _walk(path)
    low, high = np.array([across[0], up[0]]), np.array([across[-1], up[-1]])
    inside = ((walk >= low) & (walk <= high)).all(1)
    left, longest = int((~inside).sum()), float(np.linalg.norm(np.diff(walk, axis=0), axis=1).max())
    kind = "healthy" if inside.all() else "exploding"
    figure, axes = titled(f"{name}: longest step {longest:.2g}", "weight w", "bias b")
    if height.max() > height.min():  # a plain has no contours
        levels = np.linspace(height.min(), height.max(), 12)[1:-1]
        axes.contour(across, up, height.T, levels=levels, colors=PALETTE["neutral"], linewidths=0.7, alpha=0.6)
    # a step far out of the picture is drawn as long as the picture: the line's direction is what can be seen of it
    shown = np.clip(walk, low - 20 * (high - low), high + 20 * (high - low))
    axes.plot(*shown.T, color=PALETTE[kind], marker=MARKER[kind], linewidth=0.9, markersize=3)
    axes.plot(*walk[0], **RING, label="start")
    legend(axes)
    axes.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    axes.grid(False)
    out = "no step leaves the picture" if left == 0 else f"{left} of {len(walk) - 1} steps end outside of the picture"
    figure.set_label(
        f"Walk over the contours of a loss with a cliff, {name}, {len(walk) - 1} steps. The longest step is "
        f"{longest:.3g}; {out}. It ends at weight {walk[-1, 0]:.3g}, bias {walk[-1, 1]:.3g}."
    )
    return figure


def _walk(path: Tensor) -> np.ndarray:
    """A path in two dimensions as an array, or an error."""
    walk: np.ndarray = torch.as_tensor(path).numpy()
    if walk.ndim != 2 or len(walk) < 2 or walk.shape[1] != 2:
        raise ValueError(f"path must have shape (steps + 1, 2) and hold at least one step, got shape {walk.shape}")
    return walk


def _outcome(positions: np.ndarray) -> tuple[str, str]:
    """What a walk along one axis did, in a word for the title and a regime for the colour."""
    first, last = abs(positions[0]), abs(positions[-1])
    if not last <= first * 1.001:
        return "diverges", "exploding"
    if last >= first * 0.999:
        return "oscillates for ever" if positions[-1] * positions[-2] < 0 else "does not move", "neutral"
    crossing = bool((positions[1:] * positions[:-1] < 0).any())
    return ("converges, crossing over" if crossing else "converges"), "healthy"
