"""What a record shows: each panel draws on axes and returns what it shows in words, for the text alternative.

``records`` makes a figure of one panel, or of all of them.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator, NullLocator

from gradclinic.plots.lines import (
    last_finite,
    loss_line,
    lost_steps,
    mark,
    mark_lost,
    step_axis,
    trajectories,
    unbroken_runs,
)
from gradclinic.plots.style import (
    DASHES,
    MARKER,
    PALETTE,
    TEXT,
    Dashes,
    first_middle_last,
    layer_count,
    legend,
    logarithmic,
    nothing_to_show,
    positive,
    power_of_ten,
    regime,
)
from gradclinic.record import HISTOGRAM_EDGES, Record


def loss_panel(axes: Axes, record: Record) -> str:
    """The loss as it was told, beside that of guessing."""
    axes.set(title="Loss", xlabel="step", ylabel="loss")
    loss, chance = record.loss, record.chance_loss
    finite, lost = loss[np.isfinite(loss)], lost_steps(record, loss)
    if not len(finite) and not lost.any():
        return nothing_to_show(axes, "no loss was told:\nrecorder.log_loss(loss) does it")
    start = end = math.nan
    if len(finite):
        steps = record.step[np.isfinite(loss)]
        # the end is the mean of the last 20 steps, however few of them were recorded
        start, end = float(finite[0]), float(np.mean(finite[steps > steps[-1] - 20]))
    kind = "exploding" if lost.any() else "healthy" if end < 0.9 * chance else "neutral"
    gone = f"not finite from step {record.step[np.argmax(lost)]}"
    axes.set_title(f"Loss: {gone}" if lost.any() else f"Loss: from {start:.3g} to {end:.3g}")
    loss_line(axes, record.step, np.where(np.isfinite(loss), loss, math.nan), chance, kind)
    top = float(np.nanmax([*finite, chance])) if len(finite) or not math.isnan(chance) else 1.0
    if len(finite) and finite.min() > 0 and top > 100 * (chance if chance > 0 else finite.min()):
        logarithmic(axes, np.append(finite, chance))
    else:
        axes.set_ylim(min([0.0, *finite]), 1.15 * top if top > 0 else 1)
    words, _ = mark_lost(axes, record, loss)
    legend(axes)
    step_axis(axes, record)
    guessing = "" if math.isnan(chance) else f"; guessing has {chance:.2f}"
    return f"Loss over {len(loss)} recorded steps, from {start:.3g} to {end:.3g} at the end{guessing}.{words}"


def norms_panel(axes: Axes, record: Record) -> str:
    """Gradient norm of every layer over the steps."""
    norms, names = record.gradient_norm, record.layers
    axes.set(title="Gradient norm of each layer, step by step", ylabel="norm of the weight gradient")
    named = first_middle_last(len(names))
    shown = positive(norms)
    lines = trajectories(axes, record, shown, names, named)
    logarithmic(axes, shown)
    words, marks = mark_lost(axes, record, norms)
    legend(axes, [*lines, *marks])
    step_axis(axes, record)
    zero = [f"{names[n]} in {int((norms[:, n] == 0).sum())}" for n in named if (norms[:, n] == 0).any()]
    zeros = f" Exactly 0, so not on the axis: {', '.join(zero)} steps." if zero else ""
    ends = ", ".join(f"{names[n]} {last_finite(norms, n)}" for n in named)
    return (
        f"Norm of the weight gradient of {layer_count(len(names))} over {len(norms)} recorded steps, logarithmic. "
        f"At the end: {ends}.{zeros}{words}"
    )


def flow_panel(axes: Axes, record: Record, row: int) -> str:
    """Gradient norm over the layers, at one recorded step."""
    norms = record.gradient_norm[row]
    shown = positive(norms)
    ratio = norms[0] / norms[-1] if norms[-1] > 0 and np.isfinite(norms[-1]) else math.nan
    kind = "exploding" if np.isinf(norms).any() else regime(ratio)
    found = "No ratio of first layer to last" if math.isnan(ratio) else f"First layer over last: {ratio:.1e}"
    axes.set_title(f"{found}, step {record.step[row]}")
    axes.set(xlabel="layer, from the input", ylabel="norm of the weight gradient")
    layers = np.arange(1, len(norms) + 1)
    axes.plot(layers, shown, color=PALETTE[kind], marker=MARKER[kind], linestyle=DASHES[kind])
    logarithmic(axes, shown)
    lost = np.isinf(norms) | (np.isnan(norms) & record.nonfinite[row])
    words = ""
    for marked, note, sign, height in (
        (lost, "not finite", "exploding", 0.96),
        (norms == 0, "exactly 0", "vanishing", 0.04),
        (np.isnan(norms) & ~lost, "no gradient", "neutral", 0.12),
    ):
        mark(axes, layers, marked, note, sign, height)
        words += f" {note.capitalize()}: {_listed(layers[marked])}." if marked.any() else ""
    legend(axes)
    axes.set_xlim(0.5, len(norms) + 0.5)  # also where no point can be drawn
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return (
        f"Norm of the weight gradient of {layer_count(len(norms))} at step {record.step[row]}, logarithmic: "
        f"{norms[0]:.2g} in the first ({record.layers[0]}) and {norms[-1]:.2g} in the last "
        f"({record.layers[-1]}).{words}"
    )


def _listed(layers: np.ndarray) -> str:
    """Layer numbers in words, with unbroken runs as "3 to 9"."""
    marked = np.isin(np.arange(layers.max() + 2), layers)
    runs = [f"{start}" if start == end else f"{start} to {end}" for start, end in unbroken_runs(marked)]
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(runs)}"


# Share of a layer's gradient entries from which a cell of the histogram is drawn, and how dark.
_INK = {0.0: 0.15, 0.02: 0.3, 0.1: 0.5, 0.25: 0.75, 0.5: 0.95}


_BOX = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]


def histogram_panel(axes: Axes, record: Record, row: int) -> str:
    """How large the single gradients of each layer are, at one recorded step."""
    axes.set(title="Sizes of single gradients", xlabel="layer, from the input", ylabel="|gradient| of single weights")
    if record.histogram.shape[2] == 0:
        return nothing_to_show(axes, "no histograms were counted:\nRecorder(model, histograms=True) does it")
    sizes = record.size_histogram[row].astype(float)
    zeros, counts = sizes[:, 0], sizes[:, 1:]
    edges = HISTOGRAM_EDGES[len(HISTOGRAM_EDGES) // 2 :]
    total = zeros + counts.sum(1)
    used = np.flatnonzero(counts.any(0))
    low, high = (edges[used[0]], edges[used[-1] + 1]) if len(used) else (1e-1, 1e1)
    base = low / (high / low) ** 0.1 / 3  # what is exactly 0 gets a row of its own below all others
    rows = np.concatenate([[base, low], edges[used[0] + 1 : used[-1] + 2] if len(used) else [high]])
    part = counts[:, used[0] : used[-1] + 1] if len(used) else np.zeros((len(zeros), 1))
    with np.errstate(invalid="ignore"):
        share = np.column_stack([zeros, part]) / total[:, None]
    middle = np.array([_middle_entry(layer, edges) for layer in counts])
    ratio = middle[0] / middle[-1]  # NaN where an end has no entry above 0
    lost = record.nonfinite[row]
    kind = "exploding" if lost.any() else regime(ratio)
    for least, ink in _INK.items():
        most = min([other for other in _INK if other > least], default=math.inf)
        cells = [
            Path([(n + 0.5, rows[b]), (n + 1.5, rows[b]), (n + 1.5, rows[b + 1]), (n + 0.5, rows[b + 1]), (n, 1)], _BOX)
            for n, b in np.argwhere((share > least if least == 0 else share >= least) & (share < most))
        ]
        if cells:
            path = Path.make_compound_path(*cells)
            axes.add_patch(PathPatch(path, facecolor=PALETTE[kind], alpha=ink, linewidth=0, label=f"from {least:.0%}"))
    layers = np.arange(1, len(zeros) + 1)
    line = axes.plot(layers, middle, color=TEXT, linewidth=0.8, marker="_", markersize=5, label="middle entry above 0")
    axes.axhline(low, color=TEXT, linewidth=0.8)
    axes.set_yscale("log")
    decades = np.arange(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    decades = decades[:: math.ceil(len(decades) / 7)]
    zero = math.log10(base * low) / 2  # where the row of zeros is called so, and no decade may stand too near
    decades = decades[decades - zero > 0.08 * (math.log10(high) - zero)]
    axes.set_yticks([10**zero, *(10.0**d for d in decades)], labels=["0", *(power_of_ten(int(d)) for d in decades)])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(0.5, len(zeros) + 0.5), ylim=(base, high * (high / low) ** 0.08))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False)
    marks = mark(axes, layers, lost, "not finite", "exploding")
    words = f" Not finite: {_listed(layers[lost])}." if lost.any() else ""
    without = (total == 0) & ~lost
    marks += mark(axes, layers, without, "no gradient", "neutral")
    legend(axes, [*line, *marks])
    words += f" No gradient: {_listed(layers[without])}." if without.any() else ""
    first, last = ("no size" if math.isnan(m) else f"{m:.0e}" for m in (middle[0], middle[-1]))
    axes.set_title(f"Middle gradient: {first} to {last}, step {record.step[row]}")
    none = np.divide(zeros, total, out=np.zeros_like(zeros), where=total > 0)
    return (
        f"Histograms of the sizes of single gradients in {layer_count(len(zeros))} at step {record.step[row]}, one "
        f"column a layer, on one logarithmic axis. The middle one of those above 0 is about {first} in the first layer "
        f"({record.layers[0]}) and {last} in the last ({record.layers[-1]}). "
        f"Exactly 0: {none[0]:.0%} of the first layer's entries, {none[-1]:.0%} of the last one's.{words}"
    )


def _middle_entry(counts: np.ndarray, edges: np.ndarray) -> float:
    """The bin of the middle one of the entries that are not 0, as its geometric middle; NaN where there is none."""
    if counts.sum() == 0:
        return math.nan
    place = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return math.sqrt(edges[place]) * math.sqrt(edges[place + 1])


def updates_panel(axes: Axes, record: Record, layers: Sequence[int]) -> str:
    """Update norm over weight norm over the steps; ``layers`` counts from 1."""
    axes.set(title="How far one step moves each layer", ylabel="update norm / weight norm")
    ratios = record.update_ratio[:, [layer - 1 for layer in layers]]
    names = [record.layers[layer - 1] for layer in layers]
    shown = positive(ratios)
    lines = trajectories(axes, record, shown, names, range(len(names)))
    usual = axes.axhline(1e-3, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="10⁻³, usual")
    logarithmic(axes, np.append(shown, 1e-3))
    words, marks = mark_lost(axes, record, ratios)
    legend(axes, [*lines, usual, *marks])
    step_axis(axes, record)
    last = ", ".join(f"{name} {last_finite(ratios, n)}" for n, name in enumerate(names))
    return (
        f"Update norm over weight norm for {len(record.step)} recorded steps, logarithmic, with a line at 1e-3. "
        f"At the end: {last}.{words}"
    )


def growth_panel(axes: Axes, record: Record) -> str:
    """Weight norm of every layer over the steps, relative to the first recorded one."""
    norms, names = record.weight_norm, record.layers
    with np.errstate(all="ignore"):  # sizes that overflow, or start at 0, have no growth
        growth = np.divide(norms, norms[0], out=np.full_like(norms, math.nan), where=norms[0] > 0)
    shown = positive(growth)
    axes.set(title="Weights: none has a size to compare with", ylabel="weight norm / at the start")
    low, high = np.fmin.reduce(shown, axis=None), np.fmax.reduce(shown, axis=None)  # NaN where all are
    if not math.isnan(high):
        axes.set_title(f"Weights: {low:.3g} to {high:.3g} times the start")
    named = first_middle_last(len(names))
    lines = trajectories(axes, record, shown, names, named)
    axes.axhline(1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    if high > 10 or low < 0.1:
        logarithmic(axes, shown)
    elif not math.isnan(high):
        axes.set_ylim(0, 1.15 * max(1.3, high))
    words, marks = mark_lost(axes, record, norms)
    legend(axes, [*lines, *marks])
    step_axis(axes, record)
    ends = ", ".join(f"{names[n]} {last_finite(growth, n)}" for n in named)
    return (
        f"Weight norm of {layer_count(len(names))} relative to the first recorded step, over {len(norms)} recorded "
        f"steps. At the end: {ends}.{words}"
    )


def units_panel(axes: Axes, record: Record) -> str:
    """Share of saturated and of dead units over the steps."""
    axes.set(title="Saturated and dead units", xlabel="step", ylabel="share")
    names, lines, labels, parts, title = record.activations, [], [], [], []
    if not names:
        return nothing_to_show(axes, "no activation was watched:\ntanh, sigmoid and ReLU modules are")
    # a NaN is neither 0 nor flat, and would count as a healthy unit
    faulty = np.asarray(record.output_nonfinite.any(1))
    both: dict[str, tuple[np.ndarray, Dashes]]
    both = {"saturated": (record.saturation, "solid"), "dead": (record.dead, (0, (2, 1)))}
    kinds = {word: kind for word, kind in both.items() if np.isfinite(kind[0]).any()}
    for word, (shares, dashes) in kinds.items():
        known = np.where(faulty[:, None], math.nan, shares)
        of = np.flatnonzero(np.isfinite(known).any(0))
        if not len(of):
            continue
        values, chosen, named = known[:, of], [names[n] for n in of], first_middle_last(len(of))
        lines += trajectories(axes, record, values, chosen, named, dashes if len(kinds) > 1 else None)
        labels += [chosen[n] if len(kinds) == 1 else f"{chosen[n]}: {word}" for n in named]
        last = [column[np.isfinite(column)][-1] for column in values.T]
        title.append(f"{max(last):.0%} {word}")
        ends = ", ".join(f"{chosen[n]} {last[n]:.0%}" for n in named)
        parts.append(f"At the end {word}: {ends}; at most {max(last):.0%} of an activation.")
    if not lines:
        return nothing_to_show(axes, "no activation gave a number")
    words, marks = mark_lost(axes, record, np.where(faulty, math.inf, 0))
    axes.set_title(f"At the end at most {', '.join(title)}")
    axes.set_ylim(-0.03, 1.03)
    legend(axes, [*lines, *marks], [*labels, *(str(mark.get_label()) for mark in marks)])
    step_axis(axes, record)
    return (
        f"Share of saturated units (tanh, sigmoid) and dead units (ReLU) of {len(names)} activations over "
        f"{len(record.step)} recorded steps. {' '.join(parts)}{words}"
    )
