"""Figures and explorers that work with no kernel: on the static page, on Binder, from a saved copy.

Every combination of the controls is drawn once, over the same axes; the browser then only chooses which drawing to
show. The controls are the browser's own, so they work by mouse, by touch, by keyboard and with a screen reader.
"""

import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
from IPython.display import HTML
from matplotlib.figure import Figure, SubFigure

from gradclinic.plots.style import KINDS, PALETTE, TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = PALETTE | {name: kind.color for name, kind in KINDS.items()}
_MOST_FRAMES = 250  # beyond this a page weighs more than a reader on a phone should have to load
_CUT = "\ue000"  # in no text: between parts of a drawing that may be the same in another


def _alternative(figure: Figure | SubFigure) -> str:
    if not isinstance(figure, (Figure, SubFigure)):
        raise TypeError(f"expected a matplotlib Figure, got {figure!r}")
    if not figure.get_label():
        raise ValueError("this figure has no text alternative; give it one with figure.set_label('...')")
    return str(figure.get_label())


class _Drawing(NamedTuple):
    """A figure, or one panel of it, and the words for it."""

    figure: Figure
    panel: SubFigure | None
    words: str


def _drawings(figure: Figure, text: str) -> list[_Drawing]:
    """A figure of several panels is several drawings: they stand side by side where there is room."""
    if not figure.subfigs:
        return [_Drawing(figure, None, text)]
    return [_Drawing(figure, panel, _alternative(panel)) for panel in figure.subfigs]


def _svg(drawing: _Drawing, key: str) -> str:
    """As inline SVG: letters stay letters, colours follow the page's theme, ids are unique to ``key``.

    A cut stands before each group: an axis, a line, a legend. What stands at an axis is still known as its ticks.
    """
    figure, panel, words = drawing
    buffer = io.StringIO()
    others = [other for other in figure.subfigs if panel is not None and other is not panel and other.get_visible()]
    box = None if panel is None else panel.bbox.transformed(figure.dpi_scale_trans.inverted())
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        for other in others:
            other.set_visible(False)
        nothing = {"Date": None, "Creator": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing, bbox_inches=box)
        for other in others:
            other.set_visible(True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace('<g id="', f'{_CUT}<g id="')
    svg = re.sub(r' id="([xy]tick)_\d+"', r' class="\1"', svg)
    svg = re.sub(r' id="[a-zA-Z]+[a-zA-Z0-9.]*_\d+"', "", svg)  # figure_1, axes_2, ...: nothing refers to them
    # a hundredth of a point is finer than any screen; what stands between tags is text for the reader
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d{2})\d+", r"\1", tag[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--gradclinic-{name}, {colour})")
    svg = svg.replace(TEXT, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(words)}" ', 1)


def _row(figures: Sequence[Figure], texts: Sequence[str], key: str) -> str:
    """Drawings that stand side by side where there is room and below each other where there is not."""
    drawings = [drawing for pair in zip(figures, texts, strict=True) for drawing in _drawings(*pair)]
    drawn = _CUT.join(_svg(drawing, f"{key}-{i}") for i, drawing in enumerate(drawings))
    return f'<div class="gradclinic-figures">{drawn}</div>'


def show(*figures: Figure) -> HTML:
    """Put figures on a page, with their text alternatives.

    Args:
        figures: what the functions of ``plots`` and ``figures`` return. The text alternative is ``figure.get_label()``.
    Raises:
        ValueError: for no figure, or a figure without a text alternative.
        TypeError: for something that is no figure.
    """
    if not figures:
        raise ValueError("show needs at least one figure, got none")
    texts = list(map(_alternative, figures))
    html = _row(figures, texts, texts[0]).replace(_CUT, "")
    return HTML(html)  # type: ignore[no-untyped-call]  # IPython has no types


class _Choice(NamedTuple):
    """One control: what a reader sees of each of its values, and the values."""

    name: str
    labels: list[str]
    values: list[object]
    first: int

    @property
    def slides(self) -> bool:
        """Three numbers or more have an order that a slider shows; a mapping's labels have to be numbers too."""
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)
        return numbers and len(self.values) > 2 and all(re.match(r"[-−]?\.?\d", label) for label in self.labels)


def explore(
    draw: Callable[..., Figure | Sequence[Figure]],
    /,
    opening: Mapping[str, object] | None = None,
    **controls: Sequence[object] | Mapping[str, object],
) -> HTML:
    """Controls over drawings that were all made beforehand.

    All drawings share their axes: a curve that lies lower in one of them is lower.

    Args:
        draw: called once for each combination, with one keyword argument per control; returns a figure, or several
            for a row. Each figure carries its text alternative as ``figure.get_label()``.
        opening: the values, or the labels of a mapping, that are shown first; of a control that it does not name, the
            first one.
        controls: one per argument of ``draw``, in the order they are shown: the values to choose from, or a mapping
            from the label a reader sees to the value. Three numbers or more become a slider, anything else buttons.
    Returns:
        The controls and the first drawing, as HTML that needs nothing else.
    Raises:
        ValueError: for no control, an empty one, numbers that do not rise, more than 250 combinations, or an
            ``opening`` that is not among the values; for a figure without text alternative.
        TypeError: for a ``draw`` that cannot be called or returns no figure, or a control that holds no values.
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function that returns a figure, got {draw!r}")
    if not controls:
        raise ValueError("explore needs at least one control, for example depth=[5, 10, 20]")
    opening = {} if opening is None else opening
    if not isinstance(opening, Mapping):
        raise TypeError(f"opening must map names of controls to values, got {opening!r}")
    if unknown := set(opening) - set(controls):
        raise ValueError(f"opening names {sorted(unknown)}, but the controls are {list(controls)}")
    choices = [_choice(name, options, opening) for name, options in controls.items()]
    count = math.prod(len(choice.values) for choice in choices)
    if count > _MOST_FRAMES:
        raise ValueError(f"{count} combinations are too many to draw; at most {_MOST_FRAMES}")

    rows = []
    for combination in itertools.product(*(choice.values for choice in choices)):
        drawn = draw(**dict(zip(controls, combination, strict=True)))
        row = list(drawn) if isinstance(drawn, Sequence) else [drawn]
        if not row:
            raise ValueError(f"draw must return a figure or several, got {drawn}")
        rows.append(row)
    texts = [tuple(map(_alternative, row)) for row in rows]  # before anything else is asked of them
    # one drawing of an explorer is on the page at a time, so all of them may use the same ids
    name = f"{getattr(draw, '__qualname__', 'draw')}-{'-'.join(controls)}"  # functools.partial has no name
    key = f"{name}-{hashlib.sha256(texts[0][0].encode()).hexdigest()[:8]}"
    if len(set(texts)) < len(texts):  # who only hears a drawing must hear that another one came
        texts = [_with_choice(choices, i, words) for i, words in enumerate(texts)]
    _share_axes(rows)
    drawings = [_row(row, words, key) for row, words in zip(rows, texts, strict=True)]
    return HTML(_card(choices, drawings, key))  # type: ignore[no-untyped-call]


def _with_choice(choices: Sequence[_Choice], index: int, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of one drawing, after what the controls are set to."""
    said = []
    for choice in reversed(choices):
        index, place = divmod(index, len(choice.labels))
        said.append(f"{_words(choice.name)} {choice.labels[place]}")
    return f"{', '.join(reversed(said))}. {texts[0]}", *texts[1:]


def _choice(name: str, options: object, opening: Mapping[str, object]) -> _Choice:
    if isinstance(options, str) or not isinstance(options, Iterable):
        raise TypeError(f"control {name!r} must be a list of values or a mapping from labels to them; got {options!r}")
    pairs = list(options.items()) if isinstance(options, Mapping) else [(f"{value}", value) for value in options]
    if not pairs:
        raise ValueError(f"control {name!r} has no values to choose from: {options!r}")
    labels, values = [str(label) for label, _ in pairs], [value for _, value in pairs]
    first = 0
    if name in opening:
        wanted = opening[name]
        if wanted not in values and wanted not in labels:
            raise ValueError(f"opening has {name}={wanted!r}, but its values are {labels}")
        first = values.index(wanted) if wanted in values else labels.index(str(wanted))
    choice = _Choice(name, labels, values, first)
    if choice.slides and any(after <= before for before, after in itertools.pairwise(values)):
        raise ValueError(f"control {name!r} is a slider, so its numbers must rise from left to right; got {labels}")
    return choice


def _share_axes(rows: Sequence[Sequence[Figure]]) -> None:
    """Give axes at the same place, and of the same name and kind, the same range: one that holds all of theirs."""
    for way in ("x", "y"):
        ranges: dict[tuple[object, ...], list[Axes]] = {}
        for row in rows:
            for place, figure in enumerate(row):
                for number, axes in enumerate(axes for axes in figure.axes if axes.get_label() != "<colorbar>"):
                    axis = getattr(axes, f"{way}axis")
                    ranges.setdefault((place, number, axis.get_label_text(), axis.get_scale()), []).append(axes)
        for together in ranges.values():
            limits = [getattr(axes, f"get_{way}lim")() for axes in together]
            falls = limits[0][0] > limits[0][1]
            low, high = min(map(min, limits)), max(map(max, limits))
            for axes in together:
                getattr(axes, f"set_{way}lim")(*((high, low) if falls else (low, high)))


def _card(choices: Sequence[_Choice], drawings: Sequence[str], key: str) -> str:
    """The controls, the first drawing, and all others as parts that the browser puts together."""
    parts: dict[str, int] = {}
    frames = [[parts.setdefault(part, len(parts)) for part in drawing.split(_CUT)] for drawing in drawings]
    first = 0
    for choice in choices:
        first = first * len(choice.values) + choice.first
    data = {"sizes": [len(choice.values) for choice in choices], "parts": list(parts), "frames": frames}
    within = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    named = re.sub(r"\W+", "-", key)
    controls = "".join(_slider(choice) if choice.slides else _buttons(choice, named) for choice in choices)
    script = files("gradclinic.course").joinpath("explore.js").read_text()
    return (
        '<div class="gradclinic-explorer">'
        '<form class="gradclinic-controls" autocomplete="off" aria-label="controls of the figure below" hidden>'
        f"{controls}</form>"
        f'<div class="gradclinic-frame">{drawings[first].replace(_CUT, "")}</div>'
        '<p class="gradclinic-said" aria-live="polite" style="position:absolute;clip-path:inset(50%);margin:0"></p>'
        f'<script type="application/json">{within}</script>'
        f"<script>{script}</script></div>"
    )


def _slider(choice: _Choice) -> str:
    label, last = escape(choice.labels[choice.first]), len(choice.labels) - 1
    return (
        f'<label class="gradclinic-control" data-labels="{escape(json.dumps(choice.labels, ensure_ascii=False))}">'
        f"<span>{escape(_words(choice.name))}</span>"
        f'<input type="range" min="0" max="{last}" step="1" value="{choice.first}" aria-valuetext="{label}">'
        f"<output>{label}</output></label>"
    )


def _buttons(choice: _Choice, key: str) -> str:
    name = f"{key}-{choice.name}"
    buttons = "".join(
        f'<label><input type="radio" name="{name}" value="{i}"{" checked" if i == choice.first else ""}>'
        f"<span>{escape(label)}</span></label>"
        for i, label in enumerate(choice.labels)
    )
    legend = f"<legend>{escape(_words(choice.name))}</legend>"
    return f'<fieldset class="gradclinic-control">{legend}<div>{buttons}</div></fieldset>'


def _words(name: str) -> str:
    return name.replace("_", " ")
