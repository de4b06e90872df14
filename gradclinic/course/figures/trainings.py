"""What became of trainings: loss and accuracy, of one network, against depth, and side by side."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from gradclinic.arguments import number, whole
from gradclinic.course.figures.bands import bands, decade_axis, told_apart
from gradclinic.plots.lines import loss_line
from gradclinic.plots.style import (
    KINDS,
    MARKER,
    PALETTE,
    TEXT,
    few_decades,
    layer_count,
    legend,
    panels,
    regime,
    styled,
    titled,
)


@styled
def learning_curve(loss: Sequence[float], accuracy: float, name: str) -> Figure:
    """The loss of every step, with the loss of answering all ten classes alike.

    Of a training in the course, which ends in an accuracy. ``plots.loss_curve`` is of a record, so of any run.

    Args:
        loss: cross-entropy in nats, one entry a step.
        accuracy: on held-back data at the end, 0 to 1.
        name: of the network, for the title.
    Raises:
        TypeError: for an accuracy that is no number.
        ValueError: for no loss, or an accuracy outside 0 to 1.
    """
    if len(loss) == 0:
        raise ValueError(f"at least one loss is needed, got {loss!r}")
    number("accuracy", accuracy, maximum=1)
    chance = math.log(10)
    known = np.asarray(loss, dtype=float)
    highest = np.fmax.reduce(known[np.isfinite(known)], initial=0)
    wild = not np.isfinite(known).all() or highest > 2 * chance  # worse than not looking at the input at all
    kind = "healthy" if accuracy > 0.5 else "exploding" if wild else "vanishing"
    figure, axes = titled(f"{name}: accuracy {accuracy:.2f}", "step", "loss (nats)")
    loss_line(axes, np.arange(len(loss)), known, chance, kind)
    axes.set_ylim(0, max(3, 1.1 * highest))
    legend(axes)
    figure.set_label(
        f"Loss of {name} over {len(loss)} steps, from {loss[0]:.2f} to {np.mean(loss[-20:]):.2f}; guessing has "
        f"{chance:.2f}. Test accuracy at the end: {accuracy:.2f}."
    )
    return figure


@styled
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
    title, at = "Test accuracy on digits", ""
    if activation is not None and depth is not None:
        pointed = accuracy[activation][depth]
        title = f"{activation}, {layer_count(depth)}: {np.mean(pointed):.2f}"
        at = f" Pointed at: {activation} with {layer_count(depth)}, {min(pointed):.2f} to {max(pointed):.2f}."
    figure, axes = titled(title, "hidden layers", "test accuracy")
    for (name, by_depth), kind in zip(accuracy.items(), KINDS.values(), strict=False):
        depths = np.array(list(by_depth))
        values = np.array([np.asarray(v, dtype=float) for v in by_depth.values()])
        axes.fill_between(depths, values.min(1), values.max(1), color=kind.color, alpha=0.2, linewidth=0)
        axes.plot(depths, values.mean(1), **kind._asdict(), label=name)
    if activation is not None and depth is not None:
        axes.plot(
            depth, np.mean(accuracy[activation][depth]), marker="o", markersize=13, markerfacecolor="none", color=TEXT
        )
    axes.axhline(0.1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label="guessing")
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    ends = "; ".join(
        f"{name} from {np.mean(next(iter(v.values()))):.2f} at {next(iter(v))} to {np.mean(list(v.values())[-1]):.2f} "
        f"at {list(v)[-1]} layers"
        for name, v in accuracy.items()
    )
    figure.set_label(f"Mean test accuracy against depth: {ends}. The band is the range over seeds.{at}")
    return figure


@styled
def training_compared(
    curves: Mapping[str, Sequence[Sequence[float]]],
    reference: float,
    title: str,
    *,
    quantity: str = "mean squared test error",
    reference_name: str = "answering the mean",
    logarithmic: bool = True,
) -> Figure:
    """How several networks fare on one task, epoch by epoch, beside an answer that looks at nothing.

    Args:
        curves: name of a network, at most 4 -> shape (seeds, epochs).
        reference: what that answer reaches, and ``reference_name`` what it is.
        title: of the figure.
        quantity: name of what is drawn.
        logarithmic: whether the axis is.
    Raises:
        TypeError: for a reference that is no number.
        ValueError: for no network, more than 4, arrays of other shapes, or a reference that is not finite and at
            least 0.
    """
    known = told_apart(curves, "networks")
    reference = number("reference", reference)
    figure, axes = titled(title, "epoch", quantity)
    epochs = np.arange(1, next(iter(known.values())).shape[1] + 1)
    middles = bands(axes, epochs, known, geometric=logarithmic)
    if reference > 0 or not logarithmic:
        axes.axhline(reference, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label=reference_name)
    if logarithmic:
        decade_axis(axes, list(known.values()), reference)
    else:
        axes.set_ylim(0, 1.02)
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    seeds = {name: len(values) for name, values in known.items()}
    told = "; ".join(f"{name} {middle[-1]:.2g}, {seeds[name]} seeds" for name, middle in middles.items())
    figure.set_label(
        f"{title}. {quantity} over {len(epochs)} epochs; at the end: {told}. {reference_name}: {reference:.3g}."
    )
    return figure


@styled
def remedies(ratio: Mapping[str, Sequence[float]], accuracy: Mapping[str, Sequence[float]]) -> Figure:
    """What each remedy does to the gradient at the start, and to the accuracy in the end; one row each.

    Args:
        ratio: remedy -> first over last layer's gradient norm before training, one value a seed, above 0.
        accuracy: the same remedies -> test accuracy, one value a seed, 0 to 1.
    Raises:
        ValueError: for no remedy, one without a value, or remedies that differ.
    """
    if not ratio or list(ratio) != list(accuracy):
        raise ValueError(f"the same remedies are needed twice, at least one; got {list(ratio)} and {list(accuracy)}")
    empty = [name for name in ratio if not len(ratio[name]) or not len(accuracy[name])]
    if empty:
        raise ValueError(f"every remedy needs at least one value; {empty} has none")
    figure, (left, right) = panels(2, 1.1 + 0.24 * len(ratio))
    rows = np.arange(len(ratio))[::-1]
    before, after = left.subplots(), right.subplots()
    for axes, values in ((before, ratio), (after, accuracy)):
        for row, name in zip(rows, values, strict=True):
            kind = regime(float(np.exp(np.mean(np.log(ratio[name])))))
            spread = np.asarray(values[name], dtype=float)
            axes.plot([spread.min(), spread.max()], [row, row], color=PALETTE[kind], linewidth=2)
            axes.plot(np.median(spread), row, color=PALETTE[kind], marker=MARKER[kind], markersize=6)
        axes.set(ylabel="remedy", ylim=(-0.6, len(ratio) - 0.4))
        axes.set_yticks(rows, list(ratio))
    before.set(title="Gradient before training", xlabel="first layer's over last layer's", xscale="log")
    before.axvline(1, color=TEXT, linewidth=1)
    few_decades(before.xaxis, most=3)
    after.set(title="Accuracy after training", xlabel="on test images", xlim=(0, 1.02))
    after.axvline(0.1, color=TEXT, linewidth=1, linestyle=(0, (1, 2)))
    gradients = ", ".join(f"{name} {np.median(values):.1e}" for name, values in ratio.items())
    reached = ", ".join(f"{name} {np.median(values):.2f}" for name, values in accuracy.items())
    left.set_label(f"{len(ratio)} remedies. First over last gradient before training, median over seeds: {gradients}.")
    right.set_label(f"Test accuracy after training, median over seeds: {reached}.")
    middle = "; ".join(f"{n}: {np.median(ratio[n]):.1e}, accuracy {np.median(accuracy[n]):.2f}" for n in ratio)
    figure.set_label(
        f"{len(ratio)} remedies, first over last gradient before training and test accuracy afterwards, as the median "
        f"over seeds. {middle}."
    )
    return figure


@styled
def losses_compared(
    curves: Mapping[str, Sequence[Sequence[float]]], part: int, marks: Mapping[str, float], title: str
) -> Figure:
    """Training losses of several networks, mean and range over seeds, beside losses that are known.

    Args:
        curves: name of a network, at most 4 -> shape (seeds, parts): the mean loss of each part of the training, nats.
        part: steps in a part.
        marks: name -> a loss that is known.
        title: of the figure.
    Raises:
        TypeError: for a part that is no integer.
        ValueError: for no network, more than 4, arrays of other shapes, or a part below 1.
    """
    known = told_apart(curves, "networks")
    part = whole("part", part)
    figure, axes = titled(title, "step", "training loss (nats)")
    steps = part * np.arange(1, next(iter(known.values())).shape[1] + 1)
    middles = bands(axes, steps, known, geometric=False)
    for name, loss in marks.items():
        axes.axhline(loss, color=TEXT, linewidth=1, linestyle=(0, (1, 2)), label=name)
    legend(axes)
    told = "; ".join(
        f"{name} from {middle[0]:.2f} to {middle[-1]:.2f}, {len(known[name])} seeds" for name, middle in middles.items()
    )
    references = "; ".join(f"{name}: {loss:.2f}" for name, loss in marks.items())
    figure.set_label(f"{title}. Training loss over {steps[-1]} steps: {told}. For comparison {references}.")
    return figure


@styled
def against(
    x: Sequence[float],
    curves: Mapping[str, Sequence[Sequence[float]]],
    title: str,
    axes_names: tuple[str, str],
    *,
    logarithmic_x: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Shares between 0 and 1 against a setting, with their range over seeds.

    Args:
        x: values of the setting, rising.
        curves: name, at most 4 -> shape (seeds, settings), from 0 to 1.
        title: of the figure, its finding.
        axes_names: what the setting is, and what the shares are of.
        logarithmic_x: whether the axis of the setting is.
        marks: name -> a value of the setting to draw a dashed line at.
    Raises:
        ValueError: for no curve, more than 4, arrays of other shapes, or settings that do not rise.
    """
    known = told_apart(curves, "curves")
    settings = np.asarray(x, dtype=float)
    points = next(iter(known.values())).shape[1]
    if settings.shape != (points,) or not (np.diff(settings) > 0).all():
        raise ValueError(f"x must be {points} rising numbers, one a point of the curves, got {settings.tolist()}")
    figure, axes = titled(title, *axes_names)
    middles = bands(axes, settings, known, geometric=False)
    for mark, place in (marks or {}).items():
        axes.axvline(place, color=TEXT, linewidth=1, linestyle=(0, (5, 2)), label=mark)
    if logarithmic_x:
        axes.set_xscale("log")
        axes.set_xticks(settings, [f"{value:g}" for value in settings])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.02, 1.05)
    legend(axes)
    told = "; ".join(
        f"{name} from {middle[0]:.2f} at {settings[0]:g} to {middle[-1]:.2f} at {settings[-1]:g}"
        for name, middle in middles.items()
    )
    figure.set_label(f"{title}. {axes_names[1]} against {axes_names[0]}: {told}. Bands are the range over seeds.")
    return figure
