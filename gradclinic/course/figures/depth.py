"""What depth does to a signal and to a gradient: activations, profiles over layers, and the ends of the numbers."""

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from gradclinic.arguments import number
from gradclinic.course import theory
from gradclinic.course.figures.bands import bands, decade_axis, times, told_apart
from gradclinic.plots.style import (
    DASHES,
    KINDS,
    MARKER,
    PALETTE,
    TEXT,
    few_decades,
    layer_count,
    legend,
    positive,
    raised,
    regime,
    styled,
    titled,
)


@styled
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
    figure, axes = titled(f"{name}: the slope is at most {top:.3g}", "pre-activation z", "value")
    axes.plot(z, value, color=PALETTE["neutral"], linestyle=DASHES["neutral"], label=f"{name}(z)")
    axes.plot(z, slope, color=KINDS["plum"].color, label="its slope")
    axes.set_ylim(-1.1, 1.4)
    legend(axes)
    figure.set_label(
        f"{name} and its derivative for pre-activations from -8 to 8. The derivative is largest, {top:.3g}, and falls "
        f"to {float(slope[0]):.2g} at -8 and {float(slope[-1]):.2g} at 8."
    )
    return figure


@styled
def saturation(activation: theory.Activation, pre_activations: Tensor, saturated: float) -> Figure:
    """Where real pre-activations fall on the slope of their activation.

    Of one activation, unit by unit. ``plots.units`` has the shares of saturated and dead units of your own run.

    Args:
        activation: a name or an element-wise callable.
        pre_activations: any shape; all entries go into the histogram.
        saturated: share of them whose slope is below 5 % of the largest, 0 to 1 (for ReLU: the share at slope 0).
    Raises:
        TypeError: for a share that is no number.
        ValueError: for an unknown activation, no pre-activations, or a share outside 0 to 1.
    """
    number("saturated", saturated, maximum=1)
    values = pre_activations.detach().flatten().double()
    if len(values) == 0:
        raise ValueError(f"at least one pre-activation is needed, got shape {tuple(pre_activations.shape)}")
    edge = 8.0
    z = torch.linspace(-edge, edge, 401, dtype=torch.float64)
    slope = theory.slope(activation, z)
    mean = float(theory.slope(activation, values).mean())
    figure, axes = titled(
        f"{saturated:.0%} of units have (almost) no slope", "pre-activation z", "slope of the activation"
    )
    counts, edges = np.histogram(values.clamp(-edge, edge).numpy(), bins=48, range=(-edge, edge))
    height = counts / max(counts.max(), 1) * float(slope.max())
    axes.bar(
        edges[:-1], height, np.diff(edges), align="edge", color=PALETTE["neutral"], alpha=0.35, label="real inputs"
    )
    axes.plot(z, slope, color=KINDS["plum"].color, label="slope")
    axes.axhline(mean, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label=f"mean slope {mean:.2g}")
    axes.set_xlim(-edge, edge)
    axes.set_ylim(0, float(slope.max()) * 1.05)
    legend(axes)
    figure.set_label(
        f"Histogram of real pre-activations under the slope of the activation. {saturated:.0%} of them have almost no "
        f"slope; the mean slope is {mean:.2g}. Values beyond 8 are counted in the outermost bars."
    )
    return figure


@styled
def gradient_profile(measured: Tensor, predicted: Tensor) -> Figure:
    """Gradient norm at each layer relative to the last: measured on real networks, with the predicted line.

    Of several networks that were drawn alike. ``plots.gradient_flow`` is of one record, so of your own run.

    Args:
        measured: shape (seeds, layers), each row divided by its last entry.
        predicted: shape (layers,), as ``theory.gradient_profile`` returns it.
    Raises:
        ValueError: for arrays of other shapes.
    """
    by_seed, expected = _by_layer(measured, predicted)
    layers = np.arange(1, by_seed.shape[1] + 1)
    shown = positive(by_seed)  # norms that are 0 or not finite have no place on the axis
    seeds = np.isfinite(shown).sum(0)
    middle = np.exp(np.nansum(np.log(shown), axis=0) / np.where(seeds > 0, seeds, np.nan))
    ratio = middle[0] if seeds[0] else by_seed[:, 0].mean()  # 0, infinite, or not a number
    kind = regime(ratio)
    figure, axes = titled(
        f"Layer 1 gets {times(ratio)} of the last layer's gradient", "layer", "gradient norm / last layer's"
    )
    low, high = np.fmin.reduce(shown), np.fmax.reduce(shown)
    axes.fill_between(layers, low, high, color=PALETTE[kind], alpha=0.25, linewidth=0)
    axes.plot(
        layers,
        middle,
        color=PALETTE[kind],
        marker=MARKER[kind],
        linestyle="none",
        label=f"measured, {len(by_seed)} seeds",
    )
    axes.plot(layers, positive(expected), color=TEXT, linewidth=1.2, label="predicted")
    axes.set_yscale("log")
    axes.set_ylim(np.fmin.reduce(low, initial=0.1) / 3, np.fmax.reduce(high, initial=10) * 3)
    few_decades(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    figure.set_label(
        f"Gradient norm per layer over {len(layers)} layers, relative to the last, logarithmic, {len(by_seed)} seeds. "
        f"At layer 1 it is {ratio:.2g} measured and {expected[0]:.2g} predicted: {kind}."
    )
    return figure


def _by_layer(measured: Tensor, predicted: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What was measured, (seeds, layers), and what is expected of it, (layers,), or an error."""
    by_seed, expected = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    if by_seed.ndim != 2 or 0 in by_seed.shape or expected.shape != by_seed.shape[1:]:
        raise ValueError(
            "measured must have shape (seeds, layers) and predicted (layers,), none of them 0; "
            f"got {by_seed.shape} and {expected.shape}"
        )
    return by_seed, expected


@functools.lru_cache(maxsize=32)  # an explorer asks for the same curve once for each scale it points at
def _settled_factors(activation: theory.Activation, left: float, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight scales from ``left`` to ``right``, and the root of chi where the signal has settled at each."""
    scales = np.geomspace(left, right, 61)
    settled = [min(max(theory.fixed_point(activation, float(scale)), 1e-300), 1e300) for scale in scales]
    chis = [theory.chi(activation, float(scale), q) for scale, q in zip(scales, settled, strict=True)]
    return scales, np.sqrt(chis)


@styled
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
    figure, axes = titled(
        f"{name}: the critical weight scale is {critical:.3g}",
        "weight scale",
        "gradient factor per layer",
    )
    left, right = min(*measured, critical) / 1.4, max(*measured, critical) * 1.4
    for kind, edges in (("vanishing", (left, critical)), ("exploding", (critical, right))):
        axes.axvspan(*edges, color=PALETTE[kind], alpha=0.1, linewidth=0, label=kind)
    scales, curve = _settled_factors(activation, left, right)
    axes.plot(scales, positive(curve), color=TEXT, linewidth=1.2, label="predicted")
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.axvline(critical, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="critical")
    spreads = []
    for scale, factors in measured.items():
        values = positive(np.asarray(factors, dtype=float))
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
        few_decades(axis, fine=True)
    legend(axes)
    at = "" if pointed is None else f" Pointed at: weight scale {pointed:.3g}."
    figure.set_label(
        f"Factor of the gradient norm per layer against the weight scale, {name}, both logarithmic. It is below 1 "
        f"(vanishing) up to a weight scale of {critical:.4g} and above 1 (exploding) beyond. Measured, mean over "
        f"networks: {', '.join(spreads)}.{at}"
    )
    return figure


@styled
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
    by_seed, expected = _by_layer(measured, predicted)
    if not predicted_layer >= 1:
        raise ValueError(f"predicted_layer is counted from 1, got {predicted_layer!r}")
    limit = math.log10(torch.finfo(torch.float32).max)
    layers = np.arange(1, by_seed.shape[1] + 1)
    lost = ~np.isfinite(by_seed)
    first = np.where(lost.any(1), lost.argmax(1) + 1, 0)  # 0 where a network stayed finite
    named = sorted(set(first[first > 0].tolist()))
    found = f"{named[0]}" if len(named) == 1 else f"{named[0]} to {named[-1]}" if named else "none"
    told = f"{predicted_layer:.0f}" if math.isfinite(predicted_layer) else "none"
    kind = "exploding" if named else "healthy"
    figure, axes = titled(
        f"First layer with inf: {found} (predicted {told})", "layer", "log₁₀ of the signal's root mean square"
    )
    shown = np.log10(positive(by_seed))
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
        label=f"measured, {len(by_seed)} seeds",
    )
    axes.plot(layers, expected, color=TEXT, linewidth=1.2, label="predicted")
    axes.axhline(limit, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label="largest float32")
    for layer in named:
        axes.plot(layer, limit, color=PALETTE["exploding"], marker="X", markersize=10, linestyle="none", label="inf")
    axes.set_ylim(min(0.0, np.fmin.reduce(shown[np.isfinite(shown)], initial=0.0)) - 2, limit + 8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    last = middle[np.isfinite(middle)][-1] if np.isfinite(middle).any() else math.nan
    figure.set_label(
        f"log10 of the signal's root mean square over {len(layers)} layers, {len(by_seed)} seeds, with the predicted "
        f"line and float32's largest number at {limit:.1f}. The last finite value is {last:.3g}; the first layer with "
        f"a number that is not finite: {found}, predicted {told}."
    )
    return figure


@styled
def there_and_back(signal: Sequence[Sequence[float]], gradient: Sequence[Sequence[float]], name: str) -> Figure:
    """The signal on its way forward and the gradient on its way back, layer by layer.

    Args:
        signal: shape (seeds, layers), each row divided by its first entry.
        gradient: shape (seeds, layers), each row divided by its last entry.
        name: of the network, for the title.
    Raises:
        ValueError: for arrays of other or of different shapes.
    """
    curves = told_apart({"gradient, going back": gradient, "signal, going forward": signal}, "directions")
    count = next(iter(curves.values())).shape[1]
    figure, axes = titled("", "layer", "size, relative to where it starts")
    middles = bands(axes, np.arange(1, count + 1), curves, geometric=True)
    back, forward = middles["gradient, going back"][0], middles["signal, going forward"][-1]
    axes.set_title(f"{name}: signal {_power(forward)}, gradient {_power(back)}")
    decade_axis(axes, list(curves.values()))
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    figure.set_label(
        f"{name}. Size of the signal at each of {layer_count(count)}, relative to the first, and of the gradient, "
        f"relative to the last; logarithmic, mean and range over {len(curves['gradient, going back'])} networks. "
        f"The signal ends at {forward:.2g}, the gradient at {back:.2g}."
    )
    return figure


def _power(ratio: float) -> str:
    """A factor for a title: ×1.3, or ×1e-09 where it is far from 1."""
    return f"×{ratio:.2g}" if 1e-2 < ratio < 1e2 else f"×{ratio:.0e}"


@styled
def singular_values(values: Mapping[str, Sequence[Sequence[float]]], name: str, least: float = 1e-6) -> Figure:
    """Singular values of a network's Jacobian, from the largest to the smallest, relative to their root mean square.

    Args:
        values: name of a start, at most 4 -> shape (seeds, singular values), each row falling.
        name: of the network, for the title.
        least: the bottom of the axis, above 0; what is smaller lies below the figure.
    Raises:
        TypeError: for a bottom that is no number.
        ValueError: for no start, more than 4, arrays of other shapes, all of them 0, or a bottom that is not above 0.
    """
    curves = told_apart(values, "starts")
    number("least", least, above_minimum=True)
    if any((rows.max(1) <= 0).any() or not np.isfinite(rows).all() for rows in curves.values()):
        raise ValueError("singular values must be finite and at least one of each network above 0")
    curves = {start: rows / np.sqrt((rows**2).mean(1, keepdims=True)) for start, rows in curves.items()}
    count = next(iter(curves.values())).shape[1]
    figure, axes = titled(name, "singular value, by rank", "size over root mean square")
    # a kind of value that is 0 up to rounding has no place on a logarithmic axis, and its range would fill the figure
    shown = {start: np.where(rows < least / 100, np.nan, rows) for start, rows in curves.items()}
    bands(axes, np.arange(1, count + 1), shown, geometric=True)
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_yscale("log")
    axes.set_ylim(least, 30)
    few_decades(axes.yaxis)
    legend(axes)
    told = "; ".join(
        f"{start}: largest {rows[:, 0].mean():.3g}, {(rows > 0.1).sum(1).mean():.0f} of {count} above 0.1"
        for start, rows in curves.items()
    )
    figure.set_label(
        f"{name}. Singular values of the Jacobian from input to last layer, by rank, relative to their root mean "
        f"square, logarithmic. {told}."
    )
    return figure


@styled
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
    figure, axes = titled(
        "What the first layer sees of the loss", "distance walked / norm of its weights", "loss (nats)"
    )
    parts = []
    for kind, loss in losses.items():
        values = np.asarray(loss, dtype=float)
        axes.plot(distance, values, color=PALETTE[kind], linestyle=DASHES[kind], label=kind)
        parts.append(f"{kind}, between {np.fmin.reduce(values):.2f} and {np.fmax.reduce(values):.2f}")
    axes.axvline(0, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="start")
    axes.set_ylim(0, None)
    legend(axes)
    figure.set_label(f"Loss as the first layer's weights walk along their gradient: {'; '.join(parts)}.")
    return figure


@styled
def float16_window(sizes: Sequence[Tensor], exponent: float = 0) -> Figure:
    """Sizes of each layer's gradient entries, times a loss scale, between float16's smallest and largest number.

    Args:
        sizes: one tensor of any shape per layer, the gradient in float32; what is 0 or not finite is left out.
        exponent: the loss is multiplied by 2 to this power.
    Raises:
        TypeError: for an exponent that is no number.
        ValueError: for no layer, or an exponent that is not finite.
    """
    if not len(sizes):
        raise ValueError("sizes needs the gradient of at least one layer, got none")
    exponent = number("exponent", exponent, minimum=-math.inf)
    half = torch.finfo(torch.float16)
    small, large = math.log2(half.smallest_normal * half.eps) - 1, math.log2(half.max)
    figure, axes = titled("", "layer", "log₂ of the gradient's entries")
    below, told = [], []
    for layer, values in enumerate(sizes, 1):
        known = positive(np.abs(torch.as_tensor(values).detach().double().numpy().ravel()))
        known = np.log2(known[np.isfinite(known)]) + exponent
        if not len(known):
            continue
        low, middle, high = np.quantile(known, (0.01, 0.5, 0.99))
        kind = "vanishing" if low <= small else "exploding" if known.max() > large else "healthy"
        axes.vlines(layer, low, high, color=PALETTE[kind], linewidth=3, alpha=0.4)
        axes.plot(layer, middle, color=PALETTE[kind], marker=MARKER[kind], linestyle="none")
        below.append((known <= small).mean())
        told.append(middle)
    axes.axhspan(large, 70, color=PALETTE["exploding"], alpha=0.1, linewidth=0, label="becomes inf")
    axes.axhspan(-70, small, color=PALETTE["vanishing"], alpha=0.1, linewidth=0, label="becomes 0")
    legend(axes)
    share = below[0] if below else math.nan
    times = f"Loss × 2{raised(exponent)}"
    axes.set_title(f"{times}: {share:.0%} of layer 1 is too small" if below else "No gradient")
    axes.set_ylim(-44, 28)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends = f" The median entry is 2^{told[0]:.1f} in the first and 2^{told[-1]:.1f} in the last." if told else ""
    figure.set_label(
        f"Sizes of the gradient's entries in {layer_count(len(sizes))}, times a loss scale of 2^{exponent:g}, between "
        f"float16's limits 2^{small:.0f} and 2^{large:.0f}: median, and 1 % to 99 %.{ends} Of the first layer's "
        f"{share:.0%} are too small."
    )
    return figure
