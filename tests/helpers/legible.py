"""Whether a drawn figure can be read: the size of its letters, its ticks, and whether words stand free."""

import itertools
import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

NARROWEST = 358  # CSS pixels that a drawing gets on a phone of 390, and beside another one in a window of 1280
SMALLEST = 12  # CSS pixels
RAISED = 0.7  # what matplotlib makes of a letter that is raised or lowered


def flaws(figure: Figure) -> list[str]:
    """What is wrong with a figure as a page shows it, one sentence each: panel by panel, each as wide as a phone."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels: list[Figure | SubFigure] = list(figure.subfigs) or [figure]
    return [flaw for panel in panels for flaw in _of_panel(panel, canvas.get_renderer())]


def _of_panel(panel: Figure | SubFigure, renderer) -> list[str]:
    scale = NARROWEST / (72 * panel.bbox.width / panel.figure.dpi)
    boxes = {text: text.get_window_extent(renderer) for text in _texts(panel)}
    found = []
    for text, box in boxes.items():
        words = text.get_text()
        size = scale * text.get_fontsize() * (RAISED if re.search(r"\$[^$]*[_^][^$]*\$", words) else 1)
        if size < SMALLEST:
            found.append(f"{words!r} has letters of {size:.1f} pixels")
        if not (panel.bbox.x0 - 1 <= box.x0 and box.x1 <= panel.bbox.x1 + 1):
            found.append(f"{words!r} is cut off at a side")
        if not (panel.bbox.y0 - 1 <= box.y0 and box.y1 <= panel.bbox.y1 + 1):
            found.append(f"{words!r} is cut off above or below")
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        if _inner(a).overlaps(_inner(b)):
            found.append(f"{one.get_text()!r} lies over {other.get_text()!r}")
    for axes in panel.axes:
        struck = {text.get_text() for text, box in boxes.items() if _crossed(axes, _inner(box))}
        found += [f"a line runs through {words!r}" for words in sorted(struck)]
        for axis in (axes.xaxis, axes.yaxis):
            bare = len(axis.get_majorticklocs()) == 0 and axes.texts  # words in their place: nothing to show, a chain
            if axis.get_label_text() and not bare and len(_ticks(axis)) < 2:
                found.append(f"{axis.get_label_text()!r} has {len(_ticks(axis))} ticks")
        if not axes.get_title(loc="left"):
            found.append("a panel does not say what it shows")
    return found


def _texts(panel: Figure | SubFigure) -> list[Text]:
    """All words that are seen. Axes keep more ticks than they show."""
    texts = [text for legend in panel.legends for text in legend.get_texts()]
    for axes in panel.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += [text for text in axes.get_children() if isinstance(text, Text)]
        texts += [text for axis in (axes.xaxis, axes.yaxis) for text in _ticks(axis)]
    return [text for text in dict.fromkeys(texts) if text.get_visible() and text.get_text().strip()]


def _ticks(axis: Axis) -> list[Text]:
    """The words at those ticks that lie on the axis."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-6 * (high - low)
    pairs = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [text for place, text in pairs if low - room <= place <= high + room and text.get_text().strip()]


def _inner(box: Bbox) -> Bbox:
    """A box around letters is a little larger than their ink."""
    return Bbox.from_extents(box.x0 + 1, box.y0 + 2, box.x1 - 1, box.y1 - 2)


def _crossed(axes: Axes, box: Bbox) -> bool:
    """Whether something that is drawn as a line on these axes runs through a box, both in pixels of the canvas."""
    if not box.overlaps(axes.bbox):
        return False
    paths = [
        line.get_transform().transform_path(line.get_path()) for line in axes.lines if line.get_linestyle() != "None"
    ]
    for collection in axes.collections:
        if isinstance(collection, LineCollection) or not len(collection.get_facecolor()):
            paths += [collection.get_transform().transform_path(path) for path in collection.get_paths()]
    for axis in (axes.xaxis, axes.yaxis):
        paths += [
            line.get_transform().transform_path(line.get_path()) for line in axis.get_gridlines() if line.get_visible()
        ]
    within = Bbox.intersection(box, axes.bbox)
    return any(
        len(path.vertices) and np.isfinite(path.vertices).any() and path.intersects_bbox(within, filled=False)
        for path in paths
    )
