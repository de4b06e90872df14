"""A network of a few numbers, with its signal and its gradient written on it."""

import functools
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from gradclinic.plots.style import KINDS, PALETTE, styled, titled


def _short(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.3g}"


@styled
def chain(names: Sequence[str], signal: Sequence[float], gradient: Sequence[float], title: str) -> Figure:
    """A chain of numbers, each computed from the one before: what each is, and how fast the loss rises with it.

    Args:
        names: of the numbers, from the input to the loss, at least two.
        signal: their values.
        gradient: the derivative of the last with respect to each of them, which is 1 for the last.
        title: what the figure shows.
    Raises:
        ValueError: for fewer than two names, or lists of different lengths.
    """
    if len(names) < 2 or not len(names) == len(signal) == len(gradient):
        raise ValueError(
            f"at least two names are needed, and a signal and a gradient for each; "
            f"got {len(names)}, {len(signal)} and {len(gradient)}"
        )
    figure, axes = titled(title, "from the input to the loss", "gradient, and value")
    axes.grid(visible=False)
    places = range(len(names))
    axes.plot(places, [0.0] * len(names), color=PALETTE["neutral"], linewidth=1.5, zorder=1)
    axes.plot(places, [0.0] * len(names), "o", color=PALETTE["neutral"], markersize=9, zorder=2)
    words = functools.partial(axes.annotate, textcoords="offset points", ha="center", va="center")
    second = KINDS["plum"].color
    for place, name, value, slope in zip(places, names, signal, gradient, strict=True):
        aside = 16 * (place % 2)  # every other number stands further out, or neighbours would touch
        words(name, (place, 0), (0, -18))
        words(_short(value), (place, 0), (0, 22 + aside))
        words(_short(slope), (place, 0), (0, -46 - aside), color=second)
    words("value", (0, 0), (-16, 58), ha="left")
    words("gradient", (0, 0), (-16, -82), ha="left", color=second)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(-1, 1), xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    said = "; ".join(
        f"{name} is {_short(value)}, its gradient {_short(slope)}"
        for name, value, slope in zip(names, signal, gradient, strict=True)
    )
    figure.set_label(f"{title}. A chain of {len(names)} numbers from the input to the loss: {said}.")
    return figure
