"""Figures of your run. Each is a pure function of a record and returns a Figure; none of them shows anything.

A figure's title states what it shows, and its label (``figure.get_label()``) is its text alternative. One colour has
one meaning, here and in ``gradclinic.course.figures``, and never stands alone: a marker or a line style says the same.
Kinds that have none of these meanings are told apart by ``KINDS``.
"""

try:
    import matplotlib  # noqa: F401 - only to say what is missing
except ModuleNotFoundError as error:
    message = f"{error}; it comes with: pip install matplotlib"
    raise ModuleNotFoundError(message, name=error.name) from error

from gradclinic.plots.records import (
    dashboard,
    gradient_flow,
    gradient_histograms,
    gradient_norms,
    loss_curve,
    signal_by_step,
    units,
    update_ratios,
    weight_growth,
)
from gradclinic.plots.style import DASHES, KINDS, MARKER, PALETTE, TEXT, regime

__all__ = [
    "DASHES",
    "KINDS",
    "MARKER",
    "PALETTE",
    "TEXT",
    "dashboard",
    "gradient_flow",
    "gradient_histograms",
    "gradient_norms",
    "loss_curve",
    "regime",
    "signal_by_step",
    "units",
    "update_ratios",
    "weight_growth",
]
