"""Predict, then see: nothing is measured before a number is committed; then both are drawn. Driven as by hand."""

import re

import numpy as np
import pytest
from bs4 import BeautifulSoup

from gradclinic.course.predict import predict

QUESTION = "How much is left?"


class Runs:
    """Something to measure, that notes what it was asked."""

    def __init__(self, found=lambda depth: [10.0**-depth, 2 * 10.0**-depth]):
        self.asked, self.found = [], found

    def __call__(self, depth):
        self.asked.append(depth)
        return self.found(depth)


def made(measure=None, **kwargs):
    settings = {"asked": "share", "ends": (1e-8, 1.0), "logarithmic": True, "depth": [1, 2, 4, 6]} | kwargs
    return predict(QUESTION, measure or Runs(), **settings)


def lines(widget):
    (axes,) = widget.figure.axes
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def said(widget):
    return BeautifulSoup(widget.children[-1].value, "html.parser").text


def test_nothing_is_measured_before_a_number_is_committed():
    runs = Runs()
    widget = made(runs)
    widget.setting.value = 2
    widget.guess.value = 1e-3
    assert runs.asked == []
    assert widget.committed is None
    assert set(lines(widget)) == {"your prediction"}
    assert lines(widget)["your prediction"].tolist() == [[1, pytest.approx(1e-3)]]
    assert "Nothing is measured before" in said(widget)


def test_what_is_committed_is_drawn_onto_the_band_and_stays_while_the_slider_measures():
    runs = Runs()
    widget = made(runs)
    widget.setting.value = 2
    widget.guess.value = 1e-3
    widget.commit.click()
    assert runs.asked == [2]
    assert widget.committed == (2, pytest.approx(1e-3))
    assert said(widget) == "depth 2: you said 0.001. 2 runs gave 0.01 to 0.02: you were 10 times too low."
    widget.setting.value = 6
    widget.setting.value = 1
    widget.setting.value = 2
    assert runs.asked == [2, 6, 1], "each setting once"
    assert lines(widget)["your prediction"].tolist() == [[1, pytest.approx(1e-3)]]
    places, middles = lines(widget)["measured"].T
    assert places.tolist() == [0, 1, 3]
    assert middles == pytest.approx(np.sqrt(2) * 10.0 ** -np.array([1, 2, 6]))
    (axes,) = widget.figure.axes
    band = axes.collections[0].get_paths()[0].vertices
    assert {(0, 0.1), (0, 0.2)} <= {(x, round(y, 9)) for x, y in band.tolist()}
    assert widget.guess.disabled


def test_a_last_move_that_a_busy_kernel_hears_of_after_the_button_still_counts():
    widget = made()
    widget.commit.click()
    widget.guess.value = 1e-3
    assert widget.committed == (4, pytest.approx(1e-3))
    assert widget.guess.value == pytest.approx(lines(widget)["your prediction"][0, 1])
    assert "you said 0.001." in said(widget)


def test_it_can_begin_anew():
    runs = Runs()
    widget = made(runs)
    widget.commit.click()
    widget.commit.click()
    assert widget.committed is None
    assert not widget.guess.disabled
    assert set(lines(widget)) == {"your prediction"}
    widget.commit.click()
    assert runs.asked == [4], "what was measured is known"


@pytest.mark.parametrize(
    ("guess", "words"),
    [(0.5, "you said 0.5. 3 runs gave 0.2 to 0.4: you were 0.1 too high."), (0.1, "0.1 too low"), (0.3, "lies among")],
)
def test_it_says_how_far_a_number_was_off(guess, words):
    widget = made(Runs(lambda depth: [0.2, 0.3, 0.4]), ends=(0.0, 1.0), logarithmic=False)
    widget.guess.value = guess
    widget.commit.click()
    assert words in said(widget)
    assert words in widget.figure.get_label()


@pytest.mark.parametrize("logarithmic", [True, False])
def test_what_lies_beyond_the_ends_or_is_no_number_is_drawn_at_the_end(logarithmic):
    widget = made(Runs(lambda depth: [float("inf"), float("nan"), 0.0]), logarithmic=logarithmic)
    widget.commit.click()
    (axes,) = widget.figure.axes
    assert axes.collections[0].get_paths()[0].vertices[:, 1].tolist()[:1] != []
    assert set(np.round(axes.collections[0].get_paths()[0].vertices[:, 1], 9)) == {1e-8, 1.0}
    assert "too" not in said(widget)


def test_a_theory_is_drawn_only_after_the_prediction():
    widget = made(curve=("your formula", lambda depth: 10.0**-depth))
    assert "your formula" not in lines(widget)
    widget.commit.click()
    assert lines(widget)["your formula"][:, 1] == pytest.approx([1e-1, 1e-2, 1e-4, 1e-6])


def test_without_a_kernel_a_sentence_stands_in_its_place():
    bundle = made()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert QUESTION in bundle["text/plain"]
    html = BeautifulSoup(bundle["text/html"], "html.parser")
    assert html.p.text.startswith(QUESTION)
    assert not html.select("input, button, script")


def test_its_controls_have_names_and_answer_to_the_keyboard():
    widget = made()
    controls = [child for child in widget.children if hasattr(child, "disabled")]
    assert [c.description for c in controls] == ["depth", "your prediction", "This is my prediction"]
    drawn = BeautifulSoup(widget.children[-2].value, "html.parser").svg
    assert re.match(r"share against depth", drawn["aria-label"])
    assert 'role="status"' in widget.children[-1].value
