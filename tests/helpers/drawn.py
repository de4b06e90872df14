"""Figures read back: what a line, a level or a whole drawing holds, and what every figure has to keep to."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradclinic.plots import KINDS, PALETTE, TEXT


@dataclass(frozen=True)
class Drawing:
    """A figure, drawn once for all tests that look at it.

    Attributes:
        svg: what is drawn.
        warned: warnings on the way.
        disturbed: what making and drawing it left behind, or showed, and should not have.
    """

    figure: Figure
    svg: str
    warned: list[str]
    disturbed: list[str]


def draw(make: Callable[[], Figure]) -> Drawing:
    """Make a figure and draw it."""
    before = dict(matplotlib.rcParams)
    shown = mock.Mock()
    with (
        warnings.catch_warnings(record=True) as warned,
        mock.patch.object(plt, "show", shown),
        mock.patch.object(Figure, "show", shown),
    ):
        warnings.simplefilter("always")
        figure = make()
        drawing = svg(figure)
    found = {
        "it called show": shown.called,
        "it left a figure open in pyplot": plt.get_fignums() != [],
        "it changed the reader's own matplotlib settings": dict(matplotlib.rcParams) != before,
    }
    disturbed = [words for words, is_so in found.items() if is_so]
    return Drawing(figure, drawing, [str(warning.message) for warning in warned], disturbed)


def svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "as on a page"}):
        figure.savefig(buffer, format="svg", transparent=True)
    return buffer.getvalue()


def stands_alone(drawing: Drawing) -> None:
    """A figure comes with words, with a title and named axes, without a warning, and nothing is shown or left open."""
    assert not drawing.warned, f"a page is not built if a cell writes a warning: {drawing.warned[0]}"
    assert not drawing.disturbed, f"a figure is only returned: {drawing.disturbed}"
    assert isinstance(drawing.figure, Figure), f"{type(drawing.figure).__name__} is no Figure"
    text = str(drawing.figure.get_label())
    assert len(text) > 40, f"the text alternative says too little: {text!r}"
    for axes in drawing.figure.axes:
        assert axes.get_title(loc="left"), "a figure states in its title what it shows"
        assert axes.get_xlabel(), "the axis along the bottom has a name"
        assert axes.get_ylabel(), "the axis on the left has a name"


def other_colours(drawing: Drawing) -> set[str]:
    """Colours that would not follow the page's theme."""
    return set(re.findall(r"#[0-9a-fA-F]{6}\b", drawing.svg)) - {
        *PALETTE.values(),
        *(kind.color for kind in KINDS.values()),
        TEXT,
    }


def without_dates(drawing: str) -> str:
    """Ids and dates are the only things matplotlib changes from one save to the next."""
    return re.sub(r"<dc:date>.*?</dc:date>|#?\b[mp][0-9a-f]{10}\b", "", drawing)


def line(figure: Figure, label: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the line that the legend calls ``label``."""
    found = [artist for artist in figure.axes[0].get_lines() if artist.get_label() == label]
    assert len(found) == 1, f"one line should be called {label!r}, found {len(found)}"
    return np.asarray(found[0].get_xdata(), dtype=float), np.asarray(found[0].get_ydata(), dtype=float)


def level(figure: Figure, y: float) -> bool:
    """Whether a horizontal line runs at ``y``."""
    lines = [np.asarray(artist.get_ydata(), dtype=float) for artist in figure.axes[0].get_lines()]
    return any(len(values) == 2 and np.allclose(values, y) for values in lines)


def by_label(axes: Axes) -> dict[str, np.ndarray]:
    """y of every line, by what the legend calls it."""
    return {artist.get_label(): np.asarray(artist.get_ydata(), dtype=float) for artist in axes.get_lines()}


def explained(figure: Figure) -> list[str]:
    """What the legend below the axes says."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def shades(axes: Axes) -> list[tuple[float, float]]:
    """From where to where along x something is shaded."""
    return [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches if hasattr(p, "get_width")]
