"""A figure of the course shows its data: lines are read back from the axes and compared with numbers by another way."""

import functools
import inspect
import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from gradclinic.course import audit, figures
from gradclinic.plots import MARKER, PALETTE
from tests.helpers.drawn import (
    Drawing,
    draw,
    explained,
    level,
    line,
    other_colours,
    stands_alone,
    svg,
    without_dates,
)
from tests.helpers.legible import flaws

NAN, INF = math.nan, math.inf


def walk(factor: float, steps: int = 12, start: float = 1.0) -> torch.Tensor:
    """Where gradient descent on a bowl is, by the formula on paper: start * factor^t on both axes."""
    line = start * factor ** torch.arange(steps + 1, dtype=torch.float64)
    return torch.stack([line, line], dim=1)


Z = torch.linspace(-20, 20, 200)
FACTORS = {0.5: [0.35, 0.36], 1.0: [0.7071, 0.7071], 2.0: [1.3, 1.5384615], 1.414: [1.0]}
PROFILE = torch.tensor([[1e-4, 1e-2, 1.0], [1e-6, 1e-3, 1.0]])
ACCURACY = {"sigmoid": {1: [0.9, 0.95], 20: [0.1, 0.1]}, "relu": {1: [0.96, 0.94], 20: [0.9, 0.97]}}
CURVES = {"RNN": [[1e-8, 1e-4, 1.0], [1e-6, 1e-4, 1.0]], "LSTM": [[0.5, 0.7, 1.0]]}

# name -> a figure of ordinary data, and facts that its text alternative has to name
ORDINARY = {
    "descent_path": (lambda: figures.descent_path(walk(0.5), (1.0, 0.1)), ("converges", "12 steps", "0.000244")),
    "chain": (
        lambda: figures.chain(["x", "z₁", "loss"], [1.0, 0.5, 0.125], [0.25, 0.5, 1.0], "A chain"),
        ("A chain", "3 numbers", "x is 1, its gradient 0.25", "loss is 0.125, its gradient 1"),
    ),
    "by_layer": (
        lambda: figures.by_layer({"a": 2e-4, "b": 0.0, "c": 3e-2, "d": 0.5}, [0.1, 0.2, 0.3, 0.6], "A net"),
        ("A net", "4 layers", "0.0002 at a", "0.5 at d", "0.1 and 0.6", "left at b", "Exactly 0 at b"),
    ),
    "descent_error": (lambda: figures.descent_error(walk(-1.1), 2.1), ("diverges", "from 1 ", "3.14", "1.1")),
    "activation_and_slope": (lambda: figures.activation_and_slope("sigmoid"), ("sigmoid", "0.25", "0.00034")),
    "saturation": (lambda: figures.saturation("tanh", Z, 0.8), ("80%", "mean slope is 0.05", "8")),
    "gradient_profile": (
        lambda: figures.gradient_profile(PROFILE, [3e-5, 5e-3, 1.0]),
        ("3 layers", "2 seeds", "1e-05", "3e-05", "vanishing"),
    ),
    "by_block": (
        lambda: figures.by_block([[0.1, 1.0], [0.2, 1.0], [0.4, 1.0]], [0.25, 1.0], "gradient", "Gradient"),
        ("gradient", "2 blocks", "first block it is 0.2, predicted 0.25", "at the last 1, predicted 1"),
    ),
    "losses_compared": (
        lambda: figures.losses_compared({"a": [[3.0, 2.0], [3.0, 2.5]], "b": [[2.0, 1.0]]}, 20, {"chance": 2.9}, "Two"),
        ("Two", "40 steps", "a from 3.00 to 2.25, 2 seeds", "b from 2.00 to 1.00, 1 seeds", "chance: 2.90"),
    ),
    "learning_curve": (
        lambda: figures.learning_curve([2.5] + [0.25] * 30, 0.93, "a net"),
        ("a net", "31 steps", "2.50", "0.25", "2.30", "0.93"),
    ),
    "accuracy_by_depth": (
        lambda: figures.accuracy_by_depth(ACCURACY, 20, "relu"),
        ("sigmoid", "0.10", "relu", "20 layers", "0.90 to 0.97"),
    ),
    "loss_along_gradient": (
        lambda: figures.loss_along_gradient(
            torch.tensor([-1.0, 0, 1]), {"vanishing": torch.full((3,), 2.3), "healthy": torch.tensor([5.0, 2.0, 1.0])}
        ),
        ("vanishing, between 2.30 and 2.30", "healthy, between 1.00 and 5.00"),
    ),
    "phase_diagram": (
        lambda: figures.phase_diagram("relu", FACTORS, 2.0),
        ("relu", "1.414", "0.707 at 1", "1.41 at 2", "Pointed at: weight scale 2"),
    ),
    "overflow": (
        lambda: figures.overflow([[1e10, 1e37, INF, INF], [1e11, 1e38, 1e38, INF]], [10.5, 37.5, 64.5, 91.5], 3.0),
        ("4 layers", "2 seeds", "38.5", "3 to 4", "predicted 3", "38"),
    ),
    "gradient_size": (
        lambda: figures.gradient_size(walk(-1.2, start=5.0)[:, 0], 2.0, 1.1),
        ("12 steps", "from 10 to 89.2", "diverges", "2.2"),
    ),
    "remedies": (
        lambda: figures.remedies({"none": [1e-9, 1e-8, 1e-7], "he": [1.0, 2.0]}, {"none": [0.1], "he": [0.9, 0.95]}),
        ("2 remedies", "none: 1.0e-08, accuracy 0.10", "he: 1.5e+00"),
    ),
    "there_and_back": (
        lambda: figures.there_and_back([[1.0, 0.5], [1.0, 0.5]], [[1e-9, 1.0], [1e-7, 1.0]], "tanh, Xavier"),
        ("tanh, Xavier", "2 layers", "2 networks", "signal ends at 0.5", "gradient at 1e-08"),
    ),
    "singular_values": (
        lambda: figures.singular_values({"gaussian": [[2.0, 0.0]], "orthogonal": [[1.0, 1.0]]}, "linear, 4 layers"),
        ("linear, 4 layers", "gaussian: largest 1.41, 1 of 2 above 0.1", "orthogonal: largest 1, 2 of 2"),
    ),
    "against": (
        lambda: figures.against(
            [1, 10], {"ReLU": [[0.9, 0.3], [0.7, 0.1]]}, "Long steps", ("rate", "accuracy"), marks={"here": 3.0}
        ),
        ("Long steps", "accuracy against rate", "ReLU from 0.80 at 1 to 0.20 at 10"),
    ),
    "float16_window": (
        lambda: figures.float16_window([torch.tensor([2.0**-30, -(2.0**-20)]), torch.tensor([0.0, 0.25])], 8),
        ("2 layers", "loss scale of 2^8", "2^-25 and 2^16", "2^-17.0 in the first and 2^6.0 in the last", "0% are too"),
    ),
    "through_time": (
        lambda: figures.through_time(CURVES, [1e-9, 1e-5, 1.0]),
        ("3 time steps", "RNN 1e-07", "LSTM 0.5", "Predicted: 1e-09"),
    ),
    "cell_memory": (
        lambda: figures.cell_memory({"along the cell": [[1.0, 0.5, 0.25]]}, [1.0, 0.5, 0.25], 1.4427),
        ("2 steps", "along the cell 0.25", "predicted 0.25", "1.44 steps"),
    ),
    "training_compared": (
        lambda: figures.training_compared({"RNN": [[0.2, 0.1], [0.2, 0.4]], "GRU": [[0.1, 0.01]]}, 0.1667, "Adding"),
        ("Adding", "2 epochs", "RNN 0.2, 2 seeds", "GRU 0.01, 1 seeds", "0.167"),
    ),
    "surface_walk": (
        lambda: figures.surface_walk(
            [0, 1, 2], [0, 1], [[0, 1], [1, 2], [2, 3]], torch.tensor([[1.0, 0.5], [1.0, 0.8], [5.0, 0.8]]), "a walk"
        ),
        ("a walk", "2 steps", "longest step is 4", "1 of 2 steps end outside", "weight 5, bias 0.8"),
    ),
    "clipped_arrows": (
        lambda: figures.clipped_arrows(torch.tensor([4.0, 3.0]), 2.0),
        ("(4, 3)", "threshold 2", "(1.6, 1.2)", "(2, 2)", "turned by 8 degrees"),
    ),
    "clipping_threshold": (
        lambda: figures.clipping_threshold([1.0, 2.0, 3.0, 10.0], 2.5, 0.8),
        ("4 steps", "median 2.5", "50%", "threshold of 2.5", "0.80"),
    ),
    "step_sizes": (
        lambda: figures.step_sizes({"SGD": [1.0, 50.0, 1.0], "Adam": [1.0, 0.9, 0.3]}, 1),
        ("3 steps", "step 1", "SGD 50 at the spike, 1 at the end", "Adam 0.9 at the spike, 0.3 at the end"),
    ),
    "optimizer_paths": (
        lambda: figures.optimizer_paths(
            {"SGD": walk(0.5), "Adam": walk(0.1, steps=2)}, [[1.0, 0.2], [0.2, 0.5]], "Two"
        ),
        ("Two", "from 1.41 away", "SGD ends 0.00035 from", "Adam ends 0.014 from"),
    ),
    "error_by_direction": (
        lambda: figures.error_by_direction({"steep": [1.0, -0.5, 0.25], "flat": [2.0, 1.9, 1.8]}, "Momentum 0"),
        ("Momentum 0", "2 steps", "steep from 1 to 0.25", "flat from 2 to 1.8"),
    ),
    "curvature_by_step": (
        lambda: figures.curvature_by_step([0, 10, 20], [12.0, 6.0, 5.1], 0.4),
        ("3 steps up to 20", "12 at the first", "5.1 at the last", "learning rate is 5"),
    ),
    "values_by_layer": (
        lambda: figures.values_by_layer({"layer 1": torch.linspace(-1, 1, 40), "layer 9": torch.zeros(8)}, "a net"),
        ("a net", "layer 1: 5% beyond 0.95, rms 0.59", "layer 9: 0% beyond 0.95, rms 0"),
    ),
    "flat_units": (
        lambda: figures.flat_units(torch.tensor([[0.0, 0.04, 0.3, 1.0]]), "layer 3"),
        ("layer 3", "1 images by 4 units", "50% of the image is blank", "25% has more than half"),
    ),
    "circle": (
        lambda: figures.circle({"gaussian": np.array([0.1, 4.0, 1.0]), "orthogonal": np.ones(3)}, "a net"),
        ("a net", "gaussian: 0.25 times as wide as long", "orthogonal: 1 times"),
    ),
}

# The same functions where the data has nothing, too much, or no number to show.
UNUSUAL = {
    "path that is lost": lambda: figures.descent_path(walk(NAN), (1.0, 0.1)),
    "path to infinity": lambda: figures.descent_path(walk(-1e40), (1.0, 0.1)),
    "path at rest": lambda: figures.descent_path(walk(1.0, start=0.0), (1.0, 0.1)),
    "error that is lost": lambda: figures.descent_error(walk(NAN), 0.5),
    "error that is zero": lambda: figures.descent_error(walk(0.0), 1.0),
    "pre-activations lost": lambda: figures.saturation("relu", torch.tensor([NAN, 1.0, -INF]), 0.3),
    "profile all zero": lambda: figures.gradient_profile(torch.tensor([[0.0, 0.0, 1.0]]), [1e-40, 1e-20, 1.0]),
    "profile infinite": lambda: figures.gradient_profile(torch.tensor([[INF, 1e3, 1.0]]), [1e40, 1e20, 1.0]),
    "profile lost": lambda: figures.gradient_profile(torch.full((2, 3), NAN), [1.0, 1.0, 1.0]),
    "profile partly lost": lambda: figures.gradient_profile(torch.tensor([[NAN, 1.0], [0.5, 1.0]]), [0.5, 1.0]),
    "loss that is lost": lambda: figures.learning_curve([2.3, INF, NAN], 0.1, "a net"),
    "factors lost": lambda: figures.phase_diagram("sigmoid", {1.0: [NAN, 0.2], 12.0: [NAN], 20.0: [0.0]}),
    "factors close to 1": lambda: figures.phase_diagram("sigmoid", {5.0: [0.8], 10.0: [0.99], 15.0: [1.1]}),
    "signal that stays": lambda: figures.overflow([[1.0, 1.0]], [0.0, 0.0], INF),
    "signal lost at once": lambda: figures.overflow([[INF, NAN]], [50.0, 90.0], 1.0),
    "signal of zeros": lambda: figures.overflow([[1.0, 0.0]], [0.0, -400.0], INF),
    "gradient that is lost": lambda: figures.gradient_size(walk(NAN)[:, 0], 1.0, 1.0),
    "gradient that is zero": lambda: figures.gradient_size(walk(0.0)[:, 0], 1.0, 1.0),
    "gradients that are all 0": lambda: figures.float16_window([torch.zeros(3), torch.tensor([NAN, INF])]),
    "states that get nothing": lambda: figures.through_time({"RNN": [[0.0, NAN, 1.0], [INF, NAN, 1.0]]}),
    "signal and gradient that are lost": lambda: figures.there_and_back([[1.0, INF]], [[0.0, NAN]], "lost"),
    "shares on a logarithmic axis": lambda: figures.against(
        [0.001, 0.1], {"a": [[0.0, NAN]]}, "t", ("x", "y"), logarithmic_x=True
    ),
    "memory of nothing": lambda: figures.cell_memory({"c": [[1.0, 0.0]]}, [1.0, 0.0], 1e-3),
    "memory for ever": lambda: figures.cell_memory({"c": [[1.0, 1.0]]}, [1.0, 1.0], INF),
    "trainings that are lost": lambda: figures.training_compared({"a": [[NAN, INF]]}, 0.0, "lost"),
    "shares that are compared": lambda: figures.training_compared({"a": [[0.0, 1.0]]}, 0.1, "t", logarithmic=False),
    "losses that are lost": lambda: figures.losses_compared({"a": [[NAN, INF]]}, 1, {}, "lost"),
    "blocks that get nothing": lambda: figures.by_block([[0.0, 1.0]] * 3, [1e-20, 1.0], "gradient"),
    "walk off the surface": lambda: figures.surface_walk([0, 1], [0, 1], np.eye(2), walk(-1e6), "far"),
    "walk on flat land": lambda: figures.surface_walk([0, 1], [0, 1], np.zeros((2, 2)), walk(0.5), "flat"),
    "gradient left alone": lambda: figures.clipped_arrows(torch.tensor([0.0, 1.0]), 5.0),
    "norms of nothing": lambda: figures.clipping_threshold([0.0, NAN, INF], 1.0),
    "steps of nothing": lambda: figures.step_sizes({"SGD": [0.0]}, 0),
    "optimiser that is lost": lambda: figures.optimizer_paths(
        {"SGD": walk(-1e40), "Adam": walk(NAN)}, np.eye(2), "lost"
    ),
    "errors that are lost": lambda: figures.error_by_direction({"steep": [0.0, 0.0], "flat": [NAN, INF]}, "lost"),
    "curvature that is lost": lambda: figures.curvature_by_step([0, 1], [NAN, NAN], 0.1),
    "curvature lost on the way": lambda: figures.curvature_by_step([0, 1], [80.0, NAN], 0.1),
    "walk that is lost": lambda: figures.loss_along_gradient([0.0, 1.0], {"exploding": [2.0, NAN]}),
}

FIGURES = {name: make for name, (make, _) in ORDINARY.items()} | UNUSUAL


@functools.cache
def drawing(name: str) -> Drawing:
    return draw(FIGURES[name])


def test_every_figure_is_tested():
    public = {name for name in figures.__all__ if inspect.isfunction(getattr(figures, name))}
    assert public == set(figures.__all__)
    assert public == set(ORDINARY), "a new figure belongs into ORDINARY, with what its text must say"


# --- what holds for every figure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_returned_with_words_and_nothing_is_shown_or_left_open(name):
    stands_alone(drawing(name))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_uses_the_colours_of_the_course_and_no_other(name):
    other = other_colours(drawing(name))
    assert not other, f"{other} would not follow the page's theme"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_read_on_a_phone(name):
    assert flaws(drawing(name).figure) == []


@pytest.mark.parametrize("name", ORDINARY)
def test_the_text_alternative_names_the_facts(name):
    text, facts = drawing(name).figure.get_label(), ORDINARY[name][1]
    missing = [fact for fact in facts if fact not in text]
    assert not missing, f"{missing} are not in {text!r}"


@pytest.mark.parametrize("name", ORDINARY)
def test_a_figure_is_the_same_each_time(name):
    assert without_dates(drawing(name).svg) == without_dates(svg(FIGURES[name]()))


# --- what each figure shows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.5, "converges"),
        (-0.5, "crossing over"),
        (-1.0, "oscillates"),
        (1.0, "does not move"),
        (-1.2, "diverges"),
        (1.2, "diverges"),
        (NAN, "diverges"),
    ],
)
def test_a_walk_is_drawn_where_it_went_and_called_what_it_did(factor, words):
    path = walk(factor, steps=8)
    path[:, 1] = torch.arange(9)
    figure = figures.descent_path(path, (1.0, 0.1))
    walked = max(figure.axes[0].get_lines(), key=lambda artist: len(artist.get_xdata()))
    np.testing.assert_array_equal(walked.get_xydata(), path.numpy())
    assert words in figure.axes[0].get_title(loc="left")
    assert words in figure.get_label()


@pytest.mark.parametrize("product", [0.3, 1.0, 1.7, 2.0, 2.1])
def test_the_error_is_drawn_beside_the_closed_form(product):
    path = walk(0.7)  # not what the formula predicts for this product, so the two lines must differ
    figure = figures.descent_error(path, product)
    steps, predicted = line(figure, "predicted")
    expected = [abs(1 - product) ** t for t in range(13)]
    shown = [value if value > 0 else NAN for value in expected]
    np.testing.assert_allclose(predicted, shown, rtol=1e-9)
    assert steps.tolist() == list(range(13))
    np.testing.assert_allclose(line(figure, "torch.optim.SGD")[1], [0.7**t for t in range(13)], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "function"),
    [("tanh", math.tanh), ("sigmoid", lambda z: 1 / (1 + math.exp(-z))), ("relu", lambda z: max(z, 0.0))],
)
def test_an_activation_is_drawn_with_its_slope(name, function):
    figure = figures.activation_and_slope(name)
    z, value = line(figure, f"{name}(z)")
    np.testing.assert_allclose(value, [function(x) for x in z], atol=1e-12)
    z, slope = line(figure, "its slope")
    off = np.abs(z) > 1e-3  # ReLU has no slope at its kink
    by_difference = [(function(x + 1e-5) - function(x - 1e-5)) / 2e-5 for x in z[off]]
    np.testing.assert_allclose(slope[off], by_difference, atol=1e-8)
    assert (z[0], z[-1]) == (-8, 8), "the axis runs from -8 to 8"


def test_a_callable_keeps_its_name():
    figure = figures.activation_and_slope(torch.sin, "sine")
    assert "sine" in figure.get_label()
    assert len(line(figure, "sine(z)")[0]) > 100
    assert "sin" in figures.activation_and_slope(torch.sin).get_label()


def test_bars_count_pre_activations_and_the_rest_falls_into_the_outermost():
    values = torch.tensor([0.05] * 30 + [1.05] * 15 + [-99.0] * 6 + [99.0] * 3)
    figure = figures.saturation("tanh", values, 0.5)
    bars = {(bar.get_x(), bar.get_x() + bar.get_width()): bar.get_height() for bar in figure.axes[0].patches}
    heights = {x: next(h for (a, b), h in bars.items() if a <= x < b) for x in (0.05, 1.05, -7.99, 7.99)}
    # the tallest bar is as high as the steepest slope, which is 1 for tanh
    assert heights == pytest.approx({0.05: 1.0, 1.05: 0.5, -7.99: 0.2, 7.99: 0.1})
    assert sum(bars.values()) == pytest.approx(1.8), "and there is no other bar"
    z, slope = line(figure, "slope")
    np.testing.assert_allclose(slope, [1 / math.cosh(x) ** 2 for x in z], atol=1e-12)
    mean = (30 / math.cosh(0.05) ** 2 + 15 / math.cosh(1.05) ** 2) / 54
    assert level(figure, mean), f"the mean slope {mean:.3f} is a line"


def test_a_profile_shows_every_seed_between_its_band_and_theory_as_a_line():
    measured = np.array([[1e-4, 1e-2, 1.0], [1e-6, 1e-3, 1.0], [1e-5, 1e-1, 1.0]])
    figure = figures.gradient_profile(measured, [3e-5, 5e-3, 1.0])
    layers, middle = line(figure, "measured, 3 seeds")
    assert layers.tolist() == [1, 2, 3], "layers count from 1 at the input"
    np.testing.assert_allclose(middle, [1e-5, 1e-2, 1.0], rtol=1e-9, err_msg="the geometric mean over seeds")
    np.testing.assert_allclose(line(figure, "predicted")[1], [3e-5, 5e-3, 1.0])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    for layer, low, high in ((1, 1e-6, 1e-4), (2, 1e-3, 1e-1), (3, 1, 1)):
        edge = band[band[:, 0] == layer, 1]
        assert (edge.min(), edge.max()) == pytest.approx((low, high)), f"the band at layer {layer} is the range"
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("first", "kind", "words"),
    [
        (1e-5, "vanishing", "10⁻⁵"),
        (0.0, "vanishing", "none"),
        (0.5, "healthy", "0.5 times"),
        (30.0, "healthy", "30 times"),
        (2e6, "exploding", "10⁶"),
        (INF, "exploding", "∞"),
        (NAN, "neutral", "unknown"),
    ],
)
def test_a_profile_says_and_colours_what_layer_one_gets(first, kind, words):
    figure = figures.gradient_profile([[first, 1.0]], [1.0, 1.0])
    assert words in figure.axes[0].get_title(loc="left")
    (points,) = [artist for artist in figure.axes[0].get_lines() if artist.get_label().startswith("measured")]
    assert to_hex(points.get_color()) == PALETTE[kind]
    assert points.get_marker() == MARKER[kind]


def test_a_seed_with_nothing_to_show_is_left_out_of_the_mean():
    figure = figures.gradient_profile([[0.0, 1.0], [0.01, 1.0], [1.0, 1.0]], [0.1, 1.0])
    assert line(figure, "measured, 3 seeds")[1][0] == pytest.approx(0.1), "the mean of 0.01 and 1 on a log axis"
    edge = figure.axes[0].collections[0].get_paths()[0].vertices
    assert np.nanmin(edge[edge[:, 0] == 1, 1]) == pytest.approx(0.01), "and the band is that of the other two"


@pytest.mark.parametrize(
    ("loss", "accuracy", "kind"),
    [([2.3, 1.0, 0.2], 0.95, "healthy"), ([2.3, 2.3, 2.3], 0.1, "vanishing"), ([2.3, 50.0, NAN], 0.1, "exploding")],
)
def test_a_learning_curve_is_the_loss_beside_that_of_guessing(loss, accuracy, kind):
    figure = figures.learning_curve(loss, accuracy, "net")
    curve = figure.axes[0].get_lines()[0]
    np.testing.assert_array_equal(curve.get_ydata(), loss)
    assert to_hex(curve.get_color()) == PALETTE[kind]
    guessing = -sum(0.1 * math.log(0.1) for _ in range(10))  # the entropy of ten equal classes
    assert level(figure, guessing), "guessing among ten classes is a line"


def test_accuracy_is_averaged_over_seeds_and_pointed_at():
    figure = figures.accuracy_by_depth(ACCURACY, 1, "sigmoid")
    for name, expected in (("sigmoid", [0.925, 0.1]), ("relu", [0.95, 0.935])):
        depths, mean = line(figure, name)
        assert depths.tolist() == [1, 20]
        np.testing.assert_allclose(mean, expected, err_msg=name)
    band = figure.axes[0].collections[1].get_paths()[0].vertices
    edge = band[band[:, 0] == 20, 1]
    assert (edge.min(), edge.max()) == pytest.approx((0.9, 0.97)), "the band is the range over seeds"
    rings = [a for a in figure.axes[0].get_lines() if a.get_markerfacecolor() == "none"]
    assert [(float(r.get_xdata()[0]), float(r.get_ydata()[0])) for r in rings] == [(1, pytest.approx(0.925))]
    assert "0.93" in figure.axes[0].get_title(loc="left"), "0.925 in two digits"
    assert not any(a.get_markerfacecolor() == "none" for a in figures.accuracy_by_depth(ACCURACY).axes[0].get_lines())
    assert level(figure, 0.1), "guessing is a line"


def test_the_loss_along_the_gradient_is_drawn_in_the_colour_of_its_regime():
    losses = {"vanishing": [2.3, 2.3], "healthy": [2.0, 0.5], "exploding": [2.0, 9.0]}
    figure = figures.loss_along_gradient([0.0, 0.7], losses)
    for kind, expected in losses.items():
        distance, loss = line(figure, kind)
        assert (distance.tolist(), loss.tolist()) == ([0.0, 0.7], expected), kind
        (drawn_line,) = [a for a in figure.axes[0].get_lines() if a.get_label() == kind]
        assert to_hex(drawn_line.get_color()) == PALETTE[kind]


@pytest.mark.parametrize(
    ("activation", "critical"), [("relu", math.sqrt(2)), ("linear", 1.0), ("tanh", 1.0), ("sigmoid", 10.149)]
)
def test_a_phase_diagram_crosses_one_at_the_critical_scale(activation, critical):
    figure = figures.phase_diagram(activation, {0.5: [0.5], 30.0: [30.0]})
    scales, factor = line(figure, "predicted")
    assert scales.min() < 0.5, "the curve runs past the points on the left"
    assert scales.max() > 30, "and on the right"
    off = np.abs(np.log(scales / critical)) > 0.02
    assert ((factor < 1) == (scales < critical))[off].all(), "below 1 up to the critical scale, above it beyond"
    edge, _ = line(figure, "critical")
    np.testing.assert_allclose(edge, critical, rtol=1e-3)
    spans = {to_hex(p.get_facecolor()): (p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[0].patches}
    assert spans[PALETTE["vanishing"]][1] == pytest.approx(critical, rel=1e-3), "blue ends there"
    assert spans[PALETTE["exploding"]][0] == pytest.approx(critical, rel=1e-3), "red begins there"
    assert explained(figure)[:2] == ["vanishing", "exploding"]
    assert level(figure, 1.0), "the factor 1 is a line"


def test_the_predicted_phase_curve_of_relu_is_the_scale_over_root_two():
    scales, factor = line(figures.phase_diagram("relu", FACTORS), "predicted")
    np.testing.assert_allclose(factor, scales / math.sqrt(2), rtol=1e-9)


def test_a_measured_factor_is_drawn_in_its_regime_with_the_range_of_its_networks():
    axes = figures.phase_diagram("relu", FACTORS, 2.0).axes[0]
    points = {
        float(a.get_xdata()[0]): a for a in axes.get_lines() if len(a.get_xdata()) == 1 and a.get_markersize() == 6
    }
    for scale, kind, middle in (
        (0.5, "vanishing", math.sqrt(0.35 * 0.36)),
        (1.414, "healthy", 1.0),
        (2.0, "exploding", math.sqrt(2)),
    ):
        assert to_hex(points[scale].get_color()) == PALETTE[kind]
        assert points[scale].get_marker() == MARKER[kind]
        assert float(points[scale].get_ydata()[0]) == pytest.approx(middle, rel=1e-6), "the geometric mean"
    ranges = [c.get_segments()[0] for c in axes.collections]
    assert any(np.allclose(r, [[2.0, 1.3], [2.0, 1.5384615]]) for r in ranges), "a bar spans the networks"
    rings = [a for a in axes.get_lines() if a.get_markerfacecolor() == "none"]
    assert [float(r.get_xdata()[0]) for r in rings] == [2.0]


def test_overflow_draws_what_is_finite_and_marks_the_first_layer_that_is_not():
    figure = figures.overflow([[1e10, 1e37, INF, INF], [1e12, 1e38, 1e38, INF]], [10.5, 37.0, 64.5, 91.5], 3.0)
    layers, size = line(figure, "measured, 2 seeds")
    assert layers.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(size, [11, 37.5, 38, NAN], err_msg="the mean of the logarithm over finite seeds")
    assert line(figure, "predicted")[1].tolist() == [10.5, 37.0, 64.5, 91.5]
    crosses = [float(a.get_xdata()[0]) for a in figure.axes[0].get_lines() if a.get_marker() == "X"]
    assert crosses == [3, 4], "layer 3 of one network and layer 4 of the other"
    assert level(figure, math.log10(3.4028234663852886e38)), "float32's largest number is a line"
    assert "3 to 4 (predicted 3)" in figure.axes[0].get_title(loc="left")


def test_gradient_size_is_curvature_times_distance():
    figure = figures.gradient_size(walk(0.5, start=8.0)[:, 0], 3.0, 0.2)
    (curve,) = [a for a in figure.axes[0].get_lines() if len(a.get_ydata()) == 13]
    np.testing.assert_allclose(curve.get_ydata(), [24 * 0.5**t for t in range(13)])
    assert level(figure, 1.0), "the supposed threshold is a line"
    title = figure.axes[0].get_title(loc="left")
    assert "0.6" in title
    assert "converges" in title


def test_a_loss_far_above_guessing_stays_on_the_axis():
    figure = figures.learning_curve([5.8, 6.5, 3.1], 0.2, "net")
    assert figure.axes[0].get_ylim()[1] > 6.5
    assert to_hex(figure.axes[0].get_lines()[0].get_color()) == PALETTE["exploding"]
    assert figures.learning_curve([2.3, 1.0], 0.9, "net").axes[0].get_ylim() == (0, 3)


def test_each_remedy_is_a_row_in_the_colour_of_its_gradient():
    ratio = {"nothing": [1e-9, 1e-7], "batch norm": [50.0, 0.02, 1.0], "wild": [1e4]}
    accuracy = {"nothing": [0.1, 0.12], "batch norm": [0.8, 0.9, 0.7], "wild": [0.3]}
    figure = figures.remedies(ratio, accuracy)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(ratio), "the first remedy is on top"
    heights = {}
    for axes, values in zip(figure.axes, (ratio, accuracy), strict=True):
        bars = [a for a in axes.get_lines() if len(a.get_xdata()) == 2 and a.get_linewidth() == 2]
        assert [sorted(map(float, bar.get_xdata())) for bar in bars] == [[min(v), max(v)] for v in values.values()]
        heights[axes] = [float(bar.get_ydata()[0]) for bar in bars]
        colours = [to_hex(bar.get_color()) for bar in bars]
        assert colours == [PALETTE["vanishing"], PALETTE["healthy"], PALETTE["exploding"]]
    assert list(heights.values()) == [[2.0, 1.0, 0.0]] * 2


def test_curves_are_averaged_in_the_logarithm_and_keep_their_range():
    figure = figures.through_time(CURVES, [1e-9, 1e-5, 1.0])
    x, y = line(figure, "RNN")
    assert x.tolist() == [1, 2, 3]
    assert np.allclose(y, [1e-7, 1e-4, 1.0])
    assert np.allclose(line(figure, "predicted")[1], [1e-9, 1e-5, 1.0])
    extent = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData).get_points()[:, 1]
    assert np.allclose(extent, [1e-8, 1.0])


def test_a_threshold_marks_just_the_steps_above_it():
    figure = figures.clipping_threshold([1.0, 2.0, 3.0, 10.0], 2.0)
    assert line(figure, "shortened")[0].tolist() == [3, 4]
    assert line(figure, "left alone")[0].tolist() == [1, 2]
    assert level(figure, 2.0)


def test_arrows_end_where_clipping_on_paper_ends():
    figure = figures.clipped_arrows(torch.tensor([4.0, 3.0]), 2.0)
    for name, end in (("gradient", (4, 3)), ("by norm", (1.6, 1.2)), ("by value", (2, 2))):
        assert np.allclose(np.ravel(line(figure, name)), end), name


def test_a_walk_on_a_surface_is_drawn_where_it_went_while_it_is_in_the_picture():
    path = torch.tensor([[0.1, 0.2], [0.5, 0.5], [1e9, 0.5]], dtype=torch.float64)
    figure = figures.surface_walk([0, 1], [0, 1], np.eye(2), path, "far")
    drawn_path = next(a for a in figure.axes[0].get_lines() if len(a.get_xdata()) == 3).get_xydata()
    assert np.allclose(drawn_path[:2], path[:2])
    assert drawn_path[2, 0] > 10
    assert "longest step 1e+09" in figure.axes[0].get_title(loc="left")


def test_a_signal_and_a_gradient_that_are_kept_stay_on_the_line_of_one():
    figure = figures.there_and_back([[1.0, 1.0, 1.0]], [[1e-4, 1e-2, 1.0]], "net")
    assert np.allclose(line(figure, "signal, going forward")[1], 1)
    assert level(figure, 1.0)
    assert np.allclose(line(figure, "gradient, going back")[1], [1e-4, 1e-2, 1.0])


def test_gradients_by_layer_stand_beside_the_healthy_ones_and_a_zero_is_a_cross():
    figure = figures.by_layer({"a": 2e-4, "b": 0.0, "c": 3e-2, "d": 0.5}, [0.1, 0.2, 0.3, 0.6], "A net")
    (axes,) = figure.axes
    healthy, found, zero, worst = axes.get_lines()
    assert healthy.get_ydata().tolist() == [0.1, 0.2, 0.3, 0.6]
    assert found.get_xdata().tolist() == [1, 2, 3, 4]
    assert np.array_equal(found.get_ydata(), [2e-4, NAN, 3e-2, 0.5], equal_nan=True)
    assert zero.get_xdata().tolist() == [2]
    assert (worst.get_label(), worst.get_xdata().tolist()) == ("b", [2])
    whole = figures.by_layer({"a": 0.1, "b": 1e-3, "c": 0.5}, [0.1, 0.2, 0.3], "A net")
    assert whole.axes[0].get_lines()[-1].get_label() == "b", "not the smallest share of all, but of the next"
    assert "Exactly 0" not in whole.get_label()


def test_singular_values_are_shown_relative_to_their_root_mean_square():
    figure = figures.singular_values({"gaussian": [[30.0, 10.0, 0.0]]}, "net")
    _, shown = line(figure, "gaussian")
    rms = math.sqrt((900 + 100) / 3)
    assert np.allclose(shown[:2], [30 / rms, 10 / rms])
    assert np.isnan(shown[2]), "0 has no place on a logarithmic axis"


def test_shares_are_drawn_against_their_setting():
    figure = figures.against([1, 10], {"a": [[0.2, 0.4], [0.4, 0.8]]}, "t", ("x", "y"))
    x, y = line(figure, "a")
    assert x.tolist() == [1, 10]
    assert np.allclose(y, [0.3, 0.6])


def test_each_optimiser_is_drawn_where_it_went():
    paths = {"SGD": walk(0.5, steps=3), "Adam": walk(-0.9, steps=3)}
    figure = figures.optimizer_paths(paths, [[1.0, 0.0], [0.0, 0.1]], "both")
    for name, path in paths.items():
        np.testing.assert_allclose(np.transpose(line(figure, name)), path.numpy())


def test_errors_are_drawn_by_their_size():
    figure = figures.error_by_direction({"steep": [1.0, -0.5, 0.0], "flat": [2.0, 1.9, 1.8]}, "errors")
    np.testing.assert_allclose(line(figure, "steep")[1], [1.0, 0.5, NAN])
    np.testing.assert_allclose(line(figure, "flat")[1], [2.0, 1.9, 1.8])
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("curvature", "words"),
    [([12.0, 5.5], "comes down"), ([3.0, 5.0], "begins below"), ([12.0, 30.0], "stays above"), ([80.0, NAN], "lost")],
)
def test_a_curvature_stands_beside_two_over_the_rate_and_is_called_what_it_does(curvature, words):
    figure = figures.curvature_by_step([0, 7], curvature, 0.4)
    drawn_line = figure.axes[0].get_lines()[0]
    assert drawn_line.get_xdata().tolist() == [0, 7]
    np.testing.assert_allclose(drawn_line.get_ydata(), curvature)
    assert level(figure, 5.0)
    assert words in figure.axes[0].get_title(loc="left")


def test_units_are_counted_layer_by_layer():
    values = torch.tensor([-1.0, -0.99, 0.0, 0.0, 0.0, 0.0, 0.99, 1.0])
    figure = figures.values_by_layer({"layer 2": values}, "a net")
    shares, edges, _ = figure.axes[0].patches[0].get_data()
    middle = shares[(edges[:-1] < 0) & (edges[1:] > 0)]
    assert (middle.item(), shares[0], shares[-1]) == (0.5, 0.25, 0.25)
    assert (edges[0], edges[-1]) == (-1, 1)


@pytest.mark.parametrize("values", [{}, {"a": torch.zeros(0)}, {"a": torch.tensor([1.1])}, {"a": torch.tensor(NAN)}])
def test_values_that_no_such_histogram_shows_are_refused(values):
    with pytest.raises(ValueError, match=r"told apart|between -1 and 1"):
        figures.values_by_layer(values, "a net")


def test_an_image_of_slopes_is_dark_where_steep_and_blank_where_flat():
    slopes = torch.tensor([[0.0, 0.04], [0.5, 1.0]])
    image = figures.flat_units(slopes, "a layer").axes[0].images[0].get_array()
    assert image[..., 3].tolist() == [[0, 0], [0.5, 1]], "an image a row, a unit a column"


@pytest.mark.parametrize("slopes", [torch.ones(3), torch.ones(2, 0), torch.full((2, 2), 1.5), torch.full((2, 2), NAN)])
def test_slopes_that_are_no_image_are_refused(slopes):
    with pytest.raises(ValueError, match="from 0 to 1"):
        figures.flat_units(slopes, "a layer")


def test_a_circle_becomes_what_a_matrix_makes_of_it():
    matrix = torch.diag(torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64))
    turned = np.linspace(0, 2 * np.pi, 181)
    figure = figures.circle({"a": torch.linalg.svdvals(matrix).numpy()}, "a net")
    # the most stretched and the middle direction are the first two axes of this matrix
    image = matrix.numpy()[:2, :2] @ np.stack([np.cos(turned), np.sin(turned)]) / 3
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_xydata().T, image, atol=1e-12)
    with pytest.raises(ValueError, match="above 0"):
        figures.circle({"a": np.zeros(3)}, "a net")


def test_starts_that_fail_are_what_the_page_says():
    failing = audit.own.failing
    alike, small, large = (failing.inside(start) for start in (failing.ALIKE, 0.1, 5.0))
    assert all((values == values[:, :1]).all() for values in alike[0].values()), "all units of a layer are one"
    assert small[0][10].abs().max() < 1e-8, "nothing arrives"
    assert small[1][10].min() > 0.99, "and nothing is flat"
    assert (large[1][10] < 0.05).double().mean() > 0.5, "most units are flat"
    found = {start: failing.learnt(start) for start in failing.STARTS}
    assert found[1.0].min() > 0.85
    assert max(found[start].max() for start in (failing.ALIKE, 0.1, 5.0)) < 0.2
