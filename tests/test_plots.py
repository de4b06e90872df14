"""Figures show what the data says: lines are read back from the axes and compared with other numbers."""

import dataclasses
import inspect
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gradlab import plots, theory
from gradlab.models import MLP
from gradlab.recorder import Record, Recorder
from gradlab.training import descend


def some_record(layers: int = 4, steps: int = 6) -> Record:
    model = MLP(layers, 8, "tanh", "xavier", in_features=5, out_features=3, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    with Recorder(model) as recorder:
        for _ in range(steps):
            optimizer.zero_grad()
            x, y = torch.randn(10, 5, generator=generator), torch.randint(0, 3, (10,), generator=generator)
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return recorder.record


RECORD = some_record()
PATH = descend(1.9, [1.0, 0.1], [1.0, 1.0], 20)
ACCURACY = {"sigmoid": {1: [0.9, 0.8], 20: [0.1, 0.1]}, "relu": {1: [0.95, 0.93], 20: [0.9, 0.7]}}

EXAMPLES = {
    "descent_path": lambda: plots.descent_path(PATH, [1.0, 0.1]),
    "descent_error": lambda: plots.descent_error(PATH, 1.9),
    "activation_and_slope": lambda: plots.activation_and_slope("tanh"),
    "saturation": lambda: plots.saturation("tanh", torch.randn(100), 0.25),
    "gradient_profile": lambda: plots.gradient_profile(
        10.0 ** torch.arange(-3, 1).repeat(2, 1), 10.0 ** torch.arange(-3.0, 1)
    ),
    "gradient_flow": lambda: plots.gradient_flow(RECORD),
    "update_ratios": lambda: plots.update_ratios(RECORD),
    "learning_curve": lambda: plots.learning_curve([2.3, 1.0, 0.5], 0.9, "a network"),
    "accuracy_by_depth": lambda: plots.accuracy_by_depth(ACCURACY, 20, "sigmoid"),
    "loss_along_gradient": lambda: plots.loss_along_gradient(
        torch.linspace(0, 1, 5), {"healthy": torch.rand(5), "vanishing": torch.ones(5)}
    ),
}

every_figure = pytest.mark.parametrize("name", EXAMPLES)


def lines(figure: Figure) -> dict[str, np.ndarray]:
    """Label -> shape (2, points): what a figure's labelled lines really show."""
    (axes,) = figure.axes
    return {line.get_label(): np.array(line.get_data(), dtype=float) for line in axes.get_lines()}


def test_every_figure_has_an_example_here():
    public = {name for name, f in inspect.getmembers(plots, inspect.isfunction) if f.__module__ == plots.__name__}
    assert {name for name in public if name[0] != "_"} - {"regime"} == set(EXAMPLES)


@every_figure
def test_a_figure_is_returned_with_a_text_alternative_and_not_shown(name, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("a plot must not show itself"))
    before = {key: plt.rcParams[key] for key in plots._STYLE}
    figure = EXAMPLES[name]()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []  # pyplot would keep the figure alive
    assert {key: plt.rcParams[key] for key in plots._STYLE} == before  # a reader's own style stays
    text = figure.get_label()
    assert len(text) > 40 and text.endswith(".") and re.search(r"\d", text)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") and axes.get_xlabel() and axes.get_ylabel()


@every_figure
def test_colours_are_the_courses_own(name):
    allowed = {*plots.PALETTE.values(), plots.TEXT}
    for line in EXAMPLES[name]().axes[0].get_lines():
        assert to_hex(line.get_color()) in allowed


@pytest.mark.parametrize(
    ("rate", "word"), [(0.5, "converges"), (1.9, "crossing"), (2.0, "oscillates"), (2.1, "diverges")]
)
def test_a_descent_says_what_it_does(rate, word):
    path = descend(rate, [1.0, 0.1], [1.0, 1.0], 30)
    figure = plots.descent_path(path, [1.0, 0.1])
    assert word in figure.axes[0].get_title(loc="left") and word in figure.get_label()
    walked = figure.axes[0].get_lines()[0].get_xydata()
    assert np.allclose(walked, path.numpy())
    error = lines(plots.descent_error(path, rate))
    closed_form = abs(1 - rate) ** np.arange(31)
    assert np.allclose(error["predicted"][1], closed_form)
    shown = np.where(closed_form > 0, closed_form, np.nan)
    assert np.allclose(error["torch.optim.SGD"][1], shown, rtol=1e-9, equal_nan=True)


@pytest.mark.parametrize(("activation", "top"), [("sigmoid", 0.25), ("tanh", 1.0), ("relu", 1.0), (torch.atan, 1.0)])
def test_the_largest_slope_is_in_title_and_text(activation, top):
    figure = plots.activation_and_slope(activation)
    assert f"at most {top:g}" in figure.axes[0].get_title(loc="left")
    z, slope = lines(figure)["its slope"]
    expected = theory.slope(activation, torch.from_numpy(z)).numpy()
    assert np.allclose(slope, expected) and slope.max() == pytest.approx(top)


def test_a_saturation_histogram_counts_every_value_also_far_outside():
    values = torch.tensor([-100.0, -0.1, 0.1, 0.1, 100.0])
    figure = plots.saturation("sigmoid", values, 0.4)
    heights = np.array([bar.get_height() for bar in figure.axes[0].patches])
    unit = heights[heights > 0].min()
    assert (heights / unit).sum() == pytest.approx(len(values))
    assert heights[0] > 0 and heights[-1] > 0
    assert "40%" in figure.get_label()


def test_a_profile_shows_the_geometric_mean_and_the_range():
    measured = torch.tensor([[1e-4, 1e-2, 1.0], [1e-2, 1e-2, 1.0]])
    figure = plots.gradient_profile(measured, torch.tensor([1e-3, 1e-2, 1.0]))
    shown = lines(figure)
    assert np.allclose(shown["measured, 2 seeds"], [[1, 2, 3], [1e-3, 1e-2, 1]])
    assert np.allclose(shown["predicted"][1], [1e-3, 1e-2, 1])
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(1e-4)


def test_gradient_flow_shows_the_row_that_was_asked_for():
    for row in (0, -1):
        figure = plots.gradient_flow(RECORD, row)
        _, norms = figure.axes[0].get_lines()[0].get_data()
        assert np.allclose(norms, RECORD.gradient_norm[row])
        assert f"step {RECORD.step[row]}" in figure.get_label()


def test_update_ratios_divide_updates_by_weights():
    shown = lines(plots.update_ratios(RECORD, layers=[2, 5]))
    for number in (2, 5):
        ratio = RECORD.update_norm[:, number - 1] / RECORD.weight_norm[:, number - 1]
        assert np.allclose(shown[RECORD.layers[number - 1]], [RECORD.step, ratio])


def test_accuracy_shows_the_mean_and_points_where_it_was_told():
    figure = plots.accuracy_by_depth(ACCURACY, 20, "relu")
    shown = lines(figure)
    assert np.allclose(shown["sigmoid"], [[1, 20], [0.85, 0.1]])
    assert np.allclose(shown["relu"], [[1, 20], [0.94, 0.8]])
    assert "0.80" in figure.axes[0].get_title(loc="left")
    assert "1 layer:" in plots.accuracy_by_depth(ACCURACY, 1, "relu").axes[0].get_title(loc="left")


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_a_record_with_values_no_axis_can_show_is_still_drawn(value):
    broken = RECORD.gradient_norm.copy()
    broken[-1, 1] = value
    updates = RECORD.update_norm.copy()
    updates[2] = value
    record = dataclasses.replace(RECORD, gradient_norm=broken, update_norm=updates)
    figure = plots.gradient_flow(record)
    figure.canvas.draw()
    noted = [text.get_text() for text in figure.axes[0].texts]
    assert noted == ["0" if value == 0 else "not finite"]
    plots.update_ratios(record).canvas.draw()


@pytest.mark.parametrize(
    ("ratio", "kind"),
    [(1e-3, "vanishing"), (0.5, "healthy"), (1.0, "healthy"), (1e4, "exploding"), (math.inf, "exploding")],
)
def test_a_regime_has_one_colour(ratio, kind):
    assert plots.regime(ratio) == kind
    figure = plots.gradient_profile(torch.tensor([[min(ratio, 1e30), 1.0]]), torch.tensor([min(ratio, 1e30), 1.0]))
    assert to_hex(figure.axes[0].get_lines()[0].get_color()) == plots.PALETTE[kind]
