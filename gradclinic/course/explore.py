"""Figures and explorers that work with no kernel: on the static page, on Binder, from a saved copy.

Every combination of the controls is drawn once; the browser then only chooses which drawing to show.
"""

import io
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

import ipywidgets as widgets
import matplotlib
from IPython.display import HTML
from matplotlib.figure import Figure

from gradclinic.plots.style import PALETTE, TEXT

_WIDE = 6  # inches: more than a narrow window shows in readable letters
_MOST_FRAMES = 250  # beyond this a page weighs more than a reader on a phone should have to load


def _alternative(figure: Figure) -> str:
    if not isinstance(figure, Figure):
        raise TypeError(f"expected a matplotlib Figure, got {figure!r}")
    if not figure.get_label():
        raise ValueError("this figure has no text alternative; give it one with figure.set_label('...')")
    return str(figure.get_label())


def _svg(figure: Figure, key: str) -> str:
    """The figure as inline SVG: text stays text, colours follow the page's theme, ids are unique to ``key``."""
    text = _alternative(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z]+[a-z0-9.]*_\d+"', "", svg)  # figure_1, axes_2, ...: nothing refers to them
    # a hundredth of a point is finer than any screen; what stands between tags is text for the reader
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d{2})\d+", r"\1", tag[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for name, colour in PALETTE.items():
        svg = svg.replace(colour, f"var(--gradclinic-{name}, {colour})")
    svg = svg.replace(TEXT, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(text)}" ', 1)


def _row(figures: Figure | Sequence[Figure], key: str) -> str:
    """One figure, or several that stand side by side where there is room and below each other where there is not."""
    figures = list(figures) if isinstance(figures, Sequence) else [figures]
    if not figures:
        raise ValueError(f"draw must return a figure or several, got {figures}")
    drawings = "".join(_svg(figure, f"{key}-{i}") for i, figure in enumerate(figures))
    if max(figure.get_figwidth() for figure in figures) > _WIDE:
        # it keeps a readable size and scrolls by itself, by keyboard too
        wide = 'class="gradclinic-figures gradclinic-wide" role="group" aria-label="wide" tabindex="0"'
        return f"<div {wide}>{drawings}</div>"
    return f'<div class="gradclinic-figures">{drawings}</div>'


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
    return HTML(_row(figures, _alternative(figures[0])))  # type: ignore[no-untyped-call]  # IPython has no types


def explore(
    draw: Callable[..., Figure | Sequence[Figure]],
    **controls: Sequence[object] | Mapping[str, object],
) -> widgets.VBox:
    """Controls over drawings that were all made beforehand.

    Args:
        draw: called once for each combination, with one keyword argument per control; returns a figure, or several
            for a row. Each figure carries its text alternative as ``figure.get_label()``.
        controls: one per argument of ``draw``, in the order they are shown: the values to choose from, or a mapping
            from the label a reader sees to the value. Numbers become a slider, anything else buttons.
    Returns:
        A widget whose controls work by mouse and keyboard, with or without a kernel.
    Raises:
        ValueError: for no control, an empty one, or more than 250 combinations; for a figure without text alternative.
        TypeError: for a ``draw`` that cannot be called or returns no figure, or a control that holds no values.
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function that returns a figure, got {draw!r}")
    if not controls:
        raise ValueError("explore needs at least one control, for example depth=[5, 10, 20]")
    choices = {}
    for name, options in controls.items():
        if isinstance(options, str) or not isinstance(options, Iterable):
            raise TypeError(
                f"control {name!r} must be a list of values or a mapping from labels to them; got {options!r}"
            )
        pairs = list(options.items()) if isinstance(options, Mapping) else [(f"{v}", v) for v in options]
        if not pairs:
            raise ValueError(f"control {name!r} has no values to choose from: {options!r}")
        choices[name] = pairs
    combinations = list(itertools.product(*choices.values()))
    if len(combinations) > _MOST_FRAMES:
        raise ValueError(f"{len(combinations)} combinations are too many to draw; at most {_MOST_FRAMES}")

    frames, name_of_draw = [], getattr(draw, "__qualname__", "draw")  # functools.partial has no name
    for number, combination in enumerate(combinations):
        values = {name: value for name, (_, value) in zip(choices, combination, strict=True)}
        frames.append(widgets.HTML(_row(draw(**values), f"{name_of_draw}-{'-'.join(choices)}-{number}")))

    # From the innermost control outward: each level is a Stack of the level below.
    handles = []
    for name, pairs in reversed(choices.items()):
        groups = [frames[i : i + len(pairs)] for i in range(0, len(frames), len(pairs))]
        control = _control(name, pairs)
        frames = []
        for group in groups:
            stack = widgets.Stack(group, selected_index=0)
            widgets.jslink((control, "index"), (stack, "selected_index"))
            frames.append(stack)
        handles.append(control)
    return widgets.VBox([*reversed(handles), *frames], layout=widgets.Layout(overflow="visible"))


def _control(name: str, pairs: list[tuple[str, object]]) -> widgets.Widget:
    label = name.replace("_", " ")
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for _, value in pairs)
    kind = widgets.SelectionSlider if numeric else widgets.ToggleButtons
    control = kind(options=[text for text, _ in pairs], index=0, description=label)
    control.style.description_width = "initial"
    if numeric:
        control.layout.width = "min(34rem, 98%)"
    else:
        control.style.button_width = "auto"
    return control
