"""Predict, then see: a number is committed first, then a slider trains or measures, and draws both.

It needs a kernel. A page without one says so in a sentence, and shows no control that does nothing.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from gradclinic.arguments import number
from gradclinic.course.explore import show
from gradclinic.plots.style import PALETTE, TEXT, few_decades, styled, titled

Measure = Callable[[Any], Sequence[float]]
_WIDE = {"description_width": "11em"}


class Prediction(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """What ``predict`` makes: two sliders, a button and a figure.

    Attributes:
        setting: the slider of what is varied.
        guess: the slider of the number that is predicted.
        commit: the button. Before it is pressed nothing is measured; after it the guess stands, and it begins anew.
        committed: (setting, guess) of the prediction; None before.
        measured: setting -> one number for each run; what has been looked at.
        figure: what is drawn.
    """

    def __init__(
        self,
        question: str,
        measure: Measure,
        control: tuple[str, Sequence[Any]],
        asked: str,
        ends: tuple[float, float],
        logarithmic: bool,
        opening: Any,
        curve: tuple[str, Callable[[Any], float]] | None,
    ) -> None:
        self._question, self._measure, self._asked = question, measure, asked
        self._ends, self._logarithmic, self._curve = ends, logarithmic, curve
        self._kept: dict[Any, np.ndarray] = {}
        self.committed: tuple[Any, float] | None = None
        self.measured: dict[Any, np.ndarray] = {}
        self.figure = Figure()
        name, values = control
        self._name, self._values = name.replace("_", " "), list(values)
        layout = widgets.Layout(width="min(34em, 100%)")
        self.setting = widgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in self._values],
            value=opening,
            description=self._name,
            continuous_update=False,
            style=_WIDE,
            layout=layout,
        )
        low, high = ends
        common = {"description": "your prediction", "style": _WIDE, "layout": layout}
        if logarithmic:
            exponents = {"min": math.log10(low), "max": math.log10(high)}
            step = 0.1 if exponents["max"] - exponents["min"] > 3 else 0.02
            middle = 10 ** ((exponents["min"] + exponents["max"]) / 2)
            form = ".2g"
            self.guess = widgets.FloatLogSlider(value=middle, **exponents, step=step, readout_format=form, **common)
        else:
            step = 10.0 ** math.floor(math.log10((high - low) / 50))
            form = f".{max(0, -math.floor(math.log10(step)))}f"
            self.guess = widgets.FloatSlider(
                value=round((low + high) / 2 / step) * step, min=low, max=high, step=step, readout_format=form, **common
            )
        self.commit = widgets.Button(layout=widgets.Layout(width="auto"))
        self._drawing, self._said = widgets.HTML(), widgets.HTML()
        asks = widgets.HTML(f"<strong>{escape(question)}</strong>")
        super().__init__([asks, self.setting, self.guess, self.commit, self._drawing, self._said])
        self.setting.observe(self._moved, "value")
        self.guess.observe(self._said_late, "value")
        self.commit.on_click(self._pressed)
        self._draw()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        told = super()._repr_mimebundle_(**kwargs)
        if not isinstance(told, dict):
            return {}
        words = f"{self._question} Predict first, then see: in a running notebook two sliders stand here."
        return told | {
            "text/plain": words,
            "text/html": f'<p class="gradclinic-predict"><strong>{escape(self._question)}</strong> Predict first, then '
            "see: in a running notebook two sliders stand here, and the second one trains or measures.</p>",
        }

    def _pressed(self, _: object) -> None:
        if self.committed is None:
            self.committed = self.setting.value, self.guess.value
        else:
            self.committed, self.measured = None, {}
        self._draw()

    def _moved(self, _: object) -> None:
        self._draw()

    def _said_late(self, _: object) -> None:
        """A busy kernel hears of the last move after the button; nobody can move a slider that shows a measurement."""
        if self.committed is not None:
            self.committed = self.committed[0], self.guess.value
        self._draw()

    def _draw(self) -> None:
        if self.committed is not None:
            setting = self.setting.value
            if setting not in self._kept:
                self.commit.description = "measuring …"
                self._kept[setting] = np.array([float(one) for one in self._measure(setting)])
            self.measured[setting] = self._kept[setting]
        self.guess.disabled = self.committed is not None
        self.commit.description = "Begin anew" if self.committed else "This is my prediction"
        self.figure = self._figure()
        self._drawing.value = show(self.figure).data
        self._said.value = f'<p role="status">{escape(self._words())}</p>'

    def _words(self) -> str:
        """What was said, what came out, and how far they are apart."""
        if self.committed is None:
            return "Choose a setting and a number. Nothing is measured before you press the button."
        setting, guess = self.committed
        runs = self.measured[setting]
        low, high = runs.min(), runs.max()
        told = f"{self._name} {setting:g}: you said {guess:.2g}. {len(runs)} runs gave {low:.2g} to {high:.2g}"
        if not np.isfinite(runs).all():
            return f"{told}."
        if low <= guess <= high:
            return f"{told}: your number lies among them."
        away, near = ("high", high) if guess > high else ("low", low)
        if self._logarithmic and near > 0:
            ratio = max(guess / near, near / guess)
            return f"{told}: you were {ratio:.2g} times too {away}."
        return f"{told}: you were {abs(guess - near):.2g} too {away}."

    @styled
    def _figure(self) -> Figure:
        figure, axes = titled("", self._name, self._asked)
        places = {value: place for place, value in enumerate(self._values)}
        low, high = self._ends
        shown = sorted(self.measured, key=places.__getitem__)
        if shown:
            rows = [
                np.clip(np.nan_to_num(self.measured[s], nan=high, posinf=high, neginf=low), low, high) for s in shown
            ]
            x = [places[setting] for setting in shown]
            axes.fill_between(
                x, [r.min() for r in rows], [r.max() for r in rows], color=PALETTE["vanishing"], alpha=0.2, linewidth=0
            )
            axes.vlines(
                x, [r.min() for r in rows], [r.max() for r in rows], color=PALETTE["vanishing"], linewidth=5, alpha=0.4
            )
            middles = [np.exp(np.log(r).mean()) if self._logarithmic else r.mean() for r in rows]
            axes.plot(x, middles, color=PALETTE["vanishing"], marker="o", label="measured")
            if self._curve is not None:
                label, function = self._curve
                line = [min(max(float(function(setting)), low), high) for setting in self._values]
                axes.plot(list(places.values()), line, color=TEXT, linewidth=1.2, linestyle=(0, (5, 2)), label=label)
        setting, guess = self.committed or (self.setting.value, self.guess.value)
        axes.plot(
            [places[setting]], [guess], linestyle="none", marker="X", markersize=10, color=PALETTE["exploding"],
            label="your prediction", zorder=5,
        )  # fmt: skip
        axes.set_xlim(-0.5, len(self._values) - 0.5)
        every = math.ceil(len(self._values) / 8)
        axes.set_xticks(range(0, len(self._values), every), [f"{value:g}" for value in self._values[::every]])
        if self._logarithmic:
            axes.set_ylim(low / 2, high * 2)
            axes.set_yscale("log")
            few_decades(axes.yaxis)
        else:
            room = 0.05 * (high - low)
            axes.set_ylim(low - room, high + room)
        axes.set_title("Measured, and predicted" if self.committed else "Predict first")
        axes.legend(loc="best")
        figure.set_label(f"{self._asked} against {self._name}. {self._words()}")
        return figure


def predict(
    question: str,
    measure: Measure,
    /,
    *,
    asked: str,
    ends: tuple[float, float],
    logarithmic: bool = False,
    opening: Any = None,
    curve: tuple[str, Callable[[Any], float]] | None = None,
    **control: Sequence[Any],
) -> Prediction:
    """A slider that trains or measures, behind a prediction.

    First a setting is chosen and a number said for it. Once that is committed, each setting that the slider comes to is
    measured, and the numbers of all runs are drawn as a band, with the prediction on it.

    Args:
        question: what is to be predicted, in a sentence.
        measure: setting -> one number for each run; it should take less than a second.
        asked: what that number is, for the axis.
        ends: the smallest and the largest number that can be said and drawn; what is measured beyond is drawn there.
        logarithmic: whether numbers are compared by their ratio; then both ends have to be above 0.
        opening: the setting that the slider begins at; the middle one unless told.
        curve: a name and a function of the setting, drawn as a line once the prediction stands: a theory.
        control: the one setting that is varied, by its name, and its values, numbers that rise.
    Returns:
        A widget. Where no kernel runs, a sentence stands in its place.
    Raises:
        ValueError: for no control or several, fewer than two values, values that do not rise, an opening that is none
            of them, or ends that are not in order.
        TypeError: for a measure that cannot be called, or an end that is no number.
    """
    if not callable(measure):
        raise TypeError(f"measure must be a function of the setting, got {measure!r}")
    if len(control) != 1:
        raise ValueError(f"predict needs exactly one control, for example depth=[5, 10, 20], got {list(control)}")
    ((name, values),) = control.items()
    values = list(values)
    if len(values) < 2 or any(after <= before for before, after in itertools.pairwise(values)):
        raise ValueError(f"{name} needs two values or more that rise from left to right, got {values}")
    low, high = (number(f"ends[{i}]", end, minimum=-math.inf) for i, end in enumerate(ends))
    if not low < high or (logarithmic and low <= 0):
        raise ValueError(f"ends must rise{' and be above 0' if logarithmic else ''}, got {ends}")
    opening = values[len(values) // 2] if opening is None else opening
    if opening not in values:
        raise ValueError(f"opening must be one of {values}, got {opening!r}")
    return Prediction(question, measure, (name, values), asked, (low, high), logarithmic, opening, curve)
