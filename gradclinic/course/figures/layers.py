"""The gradient at each layer of two networks of one kind, of which one may be ill."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gradclinic.plots.style import PALETTE, RING, legend, logarithmic, positive, styled, titled


@styled
def by_layer(norms: Mapping[str, float], healthy: Sequence[float], title: str) -> Figure:
    """Gradient norms of a network, layer by layer, beside those of a healthy one; a norm of 0 is a cross at the bottom.

    The layer is named that has the smallest share of what the next one towards the output has.

    Args:
        norms: name of each layer, in the order of the calls, to the norm of the gradient at its output, at least 0.
        healthy: the same norms of a network that nothing is wrong with.
        title: what the figure shows.
    Raises:
        ValueError: for fewer than two layers, or another number of them in ``healthy``.
    """
    if len(norms) < 2 or len(healthy) != len(norms):
        raise ValueError(
            f"at least two layers are needed, and as many healthy ones; got {len(norms)} and {len(healthy)}"
        )
    names, found, places = list(norms), np.array(list(norms.values())), np.arange(1, len(norms) + 1)
    figure, axes = titled(title, "layer, in the order of the calls", "gradient norm")
    axes.plot(places, positive(np.array(healthy)), color=PALETTE["neutral"], linestyle=(0, (5, 2)), label="healthy")
    axes.plot(places, positive(found), color=PALETTE["vanishing"], marker="o", markersize=4, label="this one")
    logarithmic(axes, positive(np.array([*found, *healthy])))
    bottom = axes.get_ylim()[0]
    zero = found == 0
    axes.plot(
        places[zero], np.full(zero.sum(), bottom), "X", color=PALETTE["exploding"], markersize=9, clip_on=False,
        label="exactly 0" if zero.any() else None,
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(found[1:] > 0, found[:-1] / found[1:], np.inf)
    worst = int(shares.argmin())
    # beside the point it would stand on a line, so the legend names it
    axes.plot(places[worst], found[worst] or bottom, clip_on=False, label=names[worst], **RING)
    legend(axes)
    zeros = (
        f" Exactly 0 at {', '.join(name for name, none in zip(names, zero, strict=True) if none)}."
        if zero.any()
        else ""
    )
    figure.set_label(
        f"{title}. Gradient norm at the outputs of {len(names)} layers: {found[0]:.2g} at {names[0]}, "
        f"{found[-1]:.2g} at {names[-1]}; of a healthy network {healthy[0]:.2g} and {healthy[-1]:.2g}. "
        f"Least is left at {names[worst]}, {shares[worst]:.2g} of what the next layer has.{zeros}"
    )
    return figure
