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
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from gradlab import theory
from gradlab.recorder import Record

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
    factor = abs(1 - theory._require("rate_times_curvature", rate_times_curvature))
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


@_styled
def gradient_flow(record: Record, row: int = -1) -> Figure:
    """Gradient norm of each layer's parameters at one recorded step; what is zero or not finite is marked as such.

    Args:
        record: of at least one step.
        row: which recorded step, counted as in a list.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one, or a row it does not have.
    """
    _recorded(record)
    if not -len(record.step) <= row < len(record.step):
        raise ValueError(f"row must be between {-len(record.step)} and {len(record.step) - 1}, got {row!r}")
    norms = record.gradient_norm[row]
    shown = _positive(norms)
    ratio = norms[0] / norms[-1] if norms[-1] > 0 and np.isfinite(norms[-1]) else math.nan
    kind = "exploding" if np.isinf(norms).any() else regime(ratio)
    title = "No ratio of first layer to last" if math.isnan(ratio) else f"First layer over last: {ratio:.1e}"
    figure, axes = _axes(title, "layer, from the input", "norm of the weight gradient")
    layers = np.arange(1, len(norms) + 1)
    axes.plot(layers, shown, color=PALETTE[kind], marker=MARKER[kind], linestyle=DASHES[kind])
    for layer in layers[np.isnan(shown)]:
        axes.annotate("0" if norms[layer - 1] == 0 else "not finite", (layer, 0), xycoords=("data", "axes fraction"))
    axes.set_yscale("log")
    if np.isfinite(shown).any():  # at least three decades, or the eye takes a factor of two for a slope
        middle = np.exp(np.nanmean(np.log(shown[[np.nanargmin(shown), np.nanargmax(shown)]])))
        axes.set_ylim(min(np.nanmin(shown) / 2, middle / 32), max(np.nanmax(shown) * 2, middle * 32))
    _few_decades(axes)
    axes.set_xlim(0.5, len(norms) + 0.5)  # also where no point can be drawn
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.set_label(
        f"Norm of the weight gradient of {len(norms)} layers at step {record.step[row]}, logarithmic: {norms[0]:.2g} "
        f"in the first ({record.layers[0]}) and {norms[-1]:.2g} in the last ({record.layers[-1]})."
    )
    return figure


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
    chosen = list(layers) if layers is not None else sorted({1, (count + 1) // 2, count})
    if not chosen or not all(1 <= layer <= count for layer in chosen):
        raise ValueError(f"layers must be some of 1 to {count}, got {chosen!r}")
    figure, axes = _axes("How far one step moves each layer", "step", "update norm / weight norm")
    ratios = _positive(record.update_ratio)
    for position, layer in enumerate(chosen):
        axes.plot(
            record.step,
            ratios[:, layer - 1],
            color=TEXT,
            alpha=1 - 0.6 * position / len(chosen),
            linestyle=list(DASHES.values())[position % len(DASHES)],
            label=record.layers[layer - 1],
        )
    axes.axhline(1e-3, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate("1e-3", (1, 1e-3), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.set_yscale("log")
    _few_decades(axes)
    figure.legend(loc="outside lower center", ncols=len(chosen), handlelength=1.6, columnspacing=1.2)
    last = ", ".join(f"{record.layers[n - 1]} {record.update_ratio[-1, n - 1]:.1e}" for n in chosen)
    figure.set_label(
        f"Update norm over weight norm for {len(record.step)} recorded steps, logarithmic. At the end: {last}."
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
    axes.plot(loss, color=PALETTE[kind], linewidth=1)
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
    curvature = theory._require("curvature", curvature, strict=True)
    product = curvature * theory._require("learning_rate", learning_rate, strict=True)
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
def signal_by_step(record: Record, rows: Sequence[int] = (0, 1, 2, 3)) -> Figure:
    """Size of each layer's output at several steps; a layer that holds inf is marked, one that holds NaN is left out.

    Args:
        record: of at least one step, with the outputs watched.
        rows: which recorded steps, at most 4, counted as in a list.
    Raises:
        TypeError: for something else than a ``Record``.
        ValueError: for an empty one, no row, more than 4, or one it does not have.
    """
    _recorded(record)
    count = len(record.step)
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
