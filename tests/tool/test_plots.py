"""A figure of your run shows its data: lines are read back from the axes and compared with numbers by another way."""

import dataclasses
import functools
import inspect
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gradclinic import plots
from gradclinic.plots import KINDS, PALETTE, TEXT
from gradclinic.plots.lines import drawn_rows
from gradclinic.record import HISTOGRAM_EDGES, Record
from tests.helpers.colours import contrast
from tests.helpers.drawn import (
    Drawing,
    by_label,
    draw,
    explained,
    level,
    line,
    other_colours,
    shades,
    stands_alone,
    svg,
    without_dates,
)
from tests.helpers.legible import flaws

NAN, INF = math.nan, math.inf


def record(gradient, update=None, weight=None) -> Record:
    """A record written by hand: rows are steps, columns layers."""
    gradient = np.array(gradient, dtype=float)
    steps, count = gradient.shape
    blank = np.full((steps, count), NAN)
    return Record(
        layers=tuple(f"layer{n}" for n in range(1, count + 1)),
        activations=(),
        step=np.arange(1, steps + 1),
        gradient_norm=gradient,
        weight_norm=np.ones((steps, count)) if weight is None else np.array(weight, dtype=float),
        update_norm=blank if update is None else np.array(update, dtype=float),
        output_rms=blank,
        output_gradient_norm=blank,
        saturation=np.empty((steps, 0)),
        dead=np.empty((steps, 0)),
        time_ratio=blank,
        loss=np.full(steps, NAN),
        chance_loss=NAN,
        output_nonfinite=np.zeros((steps, count), dtype=bool),
        nonfinite=~np.isfinite(gradient),
        histogram=np.empty((steps, count, 0), dtype=np.int64),
    )


def counted(sizes) -> np.ndarray:
    """Histograms of one step: ``sizes`` holds the gradient entries of each layer; shape (1, layers, bins)."""
    return np.stack([np.histogram(layer, HISTOGRAM_EDGES)[0] for layer in sizes])[None]


def run(steps: int = 6, layers: int = 3, **columns) -> Record:
    """A record of a run in which everything was recorded: each layer has ten times the gradient of the one before."""
    gradient = np.outer(np.linspace(1, 2, steps), 10.0 ** np.arange(-layers + 1, 1))
    full = record(
        gradient, update=np.full((steps, layers), 2e-3), weight=np.outer(np.linspace(2, 3, steps), [1] * layers)
    )
    sizes = counted([[0.0, 3 * 10.0**n, -3 * 10.0**n, 3 * 10.0**n] for n in range(-layers, 0)])
    rest = {
        "loss": np.linspace(2.4, 0.4, steps),
        "chance_loss": 2.3,
        "histogram": np.repeat(sizes, steps, axis=0),
        "activations": ("tanh1", "relu1"),
        "saturation": np.outer(np.linspace(0.1, 0.8, steps), [1, NAN]),
        "dead": np.outer(np.linspace(0.0, 0.25, steps), [NAN, 1]),
    }
    return dataclasses.replace(full, **{**rest, **columns})


def spoilt(value: float, rows=slice(3, None), layers=slice(None)) -> Record:
    """The same run, in which everything is ``value`` in these rows."""
    good = run()
    columns = {}
    for name in ("gradient_norm", "weight_norm", "update_norm", "output_rms", "loss"):
        columns[name] = getattr(good, name).copy()
        columns[name][(rows, layers) if columns[name].ndim == 2 else rows] = value
    flags = np.zeros((6, 3), dtype=bool)
    flags[rows, layers] = not math.isfinite(value)
    counts = good.histogram.copy()
    counts[rows, layers] = 0
    return dataclasses.replace(good, **columns, nonfinite=flags, output_nonfinite=flags, histogram=counts)


def breaking() -> Record:
    """Two steps by hand: in the second, layer 2 gives inf and the layers after it NaN."""
    output = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, INF, NAN, NAN]])
    return dataclasses.replace(
        record(np.ones((2, 4))), output_rms=output, output_nonfinite=~np.isfinite(output), step=np.array([1, 2])
    )


# name -> a figure of ordinary data, and facts that its text alternative has to name
ORDINARY = {
    "gradient_flow": (
        lambda: plots.gradient_flow(record([[9, 9, 9], [2e-7, 1e-3, 0.5]])),
        ("3 layers", "step 2", "2e-07", "layer1", "0.5", "layer3"),
    ),
    "update_ratios": (
        lambda: plots.update_ratios(record(np.ones((2, 3)), update=np.full((2, 3), 1e-4))),
        ("2 recorded steps", "layer1 1.0e-04", "layer3 1.0e-04"),
    ),
    "signal_by_step": (
        lambda: plots.signal_by_step(breaking(), rows=[0, 1]),
        ("4 layers", "step 1: largest 4", "step 2: largest 5", "inf in layer 2", "NaN from layer 3 on"),
    ),
    "gradient_histograms": (
        lambda: plots.gradient_histograms(run()),
        ("3 layers", "step 6", "2e-03", "layer1", "2e-01", "layer3", "25%"),
    ),
    "gradient_norms": (
        lambda: plots.gradient_norms(run()),
        ("3 layers", "6 recorded steps", "layer1 2.0e-02", "layer3 2.0e+00"),
    ),
    "weight_growth": (lambda: plots.weight_growth(run()), ("3 layers", "6 recorded steps", "layer2 1.5e+00")),
    "units": (lambda: plots.units(run()), ("2 activations", "saturated: tanh1 80%", "dead: relu1 25%")),
    "loss_curve": (lambda: plots.loss_curve(run()), ("6 recorded steps", "from 2.4", "guessing has 2.30")),
    "dashboard": (
        lambda: plots.dashboard(run()),
        ("7 panels", "6 recorded steps", "3 layers", "Loss", "Histograms", "1e-3", "Weight norm", "saturated", "dead"),
    ),
}

# Each figure of a record, on records that have nothing, too much, or no number to show.
OF_A_RECORD = {
    "gradient_flow": plots.gradient_flow,
    "gradient_histograms": plots.gradient_histograms,
    "gradient_norms": plots.gradient_norms,
    "update_ratios": plots.update_ratios,
    "weight_growth": plots.weight_growth,
    "units": plots.units,
    "loss_curve": plots.loss_curve,
    "dashboard": plots.dashboard,
    "signal_by_step": plots.signal_by_step,
}
PANELS = set(OF_A_RECORD) - {"dashboard", "signal_by_step"}  # what the dashboard shows  # what the dashboard shows
NO_UNITS = {"activations": (), "saturation": np.empty((6, 0)), "dead": np.empty((6, 0))}
UNUSUAL_RECORDS = {
    "one step": lambda: run(steps=1),
    "one layer": lambda: run(layers=1),
    "one step of one layer": lambda: run(steps=1, layers=1),
    "sixty layers": lambda: run(layers=60),
    "nothing but gradients": lambda: record([[1.0, 2.0]] * 6),
    "no activations": lambda: run(**NO_UNITS),
    "activations never called": lambda: run(saturation=np.full((6, 2), NAN), dead=np.full((6, 2), NAN)),
    "no loss, guessing known": lambda: run(loss=np.full(6, NAN)),
    "loss in every other step": lambda: run(loss=np.array([2.0, NAN] * 3)),
    "loss of zero": lambda: run(loss=np.zeros(6), chance_loss=0.0),
    "loss below zero": lambda: run(loss=-np.ones(6), chance_loss=NAN),
    "loss over decades": lambda: run(loss=np.logspace(0, 30, 6)),
    "NaN at the end": lambda: spoilt(NAN),
    "inf at the end": lambda: spoilt(INF),
    "NaN in one step": lambda: spoilt(NAN, rows=slice(2, 3)),
    "NaN in every other step": lambda: spoilt(NAN, rows=slice(0, None, 2)),
    "NaN in one layer": lambda: spoilt(NAN, layers=slice(1, 2)),
    "NaN everywhere": lambda: spoilt(NAN, rows=slice(None)),
    "inf everywhere": lambda: spoilt(INF, rows=slice(None)),
    "zero everywhere": lambda: spoilt(0.0, rows=slice(None)),
    "sizes beyond float32": lambda: run(gradient_norm=np.full((6, 3), 1e200), weight_norm=np.full((6, 3), 1e-200)),
    "a frozen layer": lambda: run(
        gradient_norm=np.outer(np.ones(6), [NAN, 1, 2]), histogram=np.repeat(counted([[], [1.0], [2.0]]), 6, axis=0)
    ),
    "names that mean something else": lambda: dataclasses.replace(
        run(), layers=("_a", "$b", "block.attention.projection.output.dense")
    ),
}

# The same functions where the data has nothing, too much, or no number to show.
UNUSUAL = {
    f"{figure} of {what}": functools.partial(lambda draw, make: draw(make()), OF_A_RECORD[figure], make)
    # the dashboard has every panel; but alone these two show the last step, and the dashboard a finite one
    for figure in ("dashboard", "gradient_flow", "gradient_histograms", "signal_by_step")
    for what, make in UNUSUAL_RECORDS.items()
} | {
    "flow of zeros": lambda: plots.gradient_flow(record([[0, 0, 0]])),
    "flow into nothing": lambda: plots.gradient_flow(record([[0, 1e-3, 1]])),
    "flow infinite": lambda: plots.gradient_flow(record([[INF, INF, INF]])),
    "flow lost": lambda: plots.gradient_flow(record([[NAN, NAN, NAN]])),
    "updates not known": lambda: plots.update_ratios(record([[1.0, 1.0]])),
    "updates of nothing": lambda: plots.update_ratios(record([[1.0]], update=[[0.0]], weight=[[0.0]])),
    "outputs not watched": lambda: plots.signal_by_step(record([[1.0, 1.0]]), rows=[0]),
    "steps all lost": lambda: plots.signal_by_step(breaking(), rows=[1, -1]),
}

FIGURES = {name: make for name, (make, _) in ORDINARY.items()} | UNUSUAL


@functools.cache
def drawing(name: str) -> Drawing:
    return draw(FIGURES[name])


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


def test_colours_are_far_enough_apart_to_be_told_in_print():
    for name, colour in {**PALETTE, **{name: kind.color for name, kind in KINDS.items()}, "text": TEXT}.items():
        assert contrast(colour, "#ffffff") >= 4.5, f"{name} is too pale on white (WCAG 1.4.3)"
    assert len(set(plots.MARKER.values())) == len(set(map(str, plots.DASHES.values()))) == len(PALETTE), (
        "a colour never stands alone: each regime has a marker and a line of its own"
    )
    looks = list(KINDS.values())
    assert len({kind.marker for kind in looks} | set(plots.MARKER.values())) == len(KINDS) + len(PALETTE)
    assert len({str(kind.linestyle) for kind in looks}) == len(KINDS)


@pytest.mark.parametrize(
    ("ratio", "name"),
    [
        (0.0, "vanishing"),
        (0.0099, "vanishing"),
        (0.01, "healthy"),
        (1.0, "healthy"),
        (100.0, "healthy"),
        (101.0, "exploding"),
        (INF, "exploding"),
        (NAN, "neutral"),
    ],
)
def test_a_ratio_has_the_colour_of_its_regime(ratio, name):
    assert plots.regime(ratio) == name


@pytest.mark.parametrize(
    ("norms", "kind", "title", "notes"),
    [
        ([1e-6, 1e-3, 1.0], "vanishing", "1.0e-06", []),
        ([5.0, 3.0, 1.0], "healthy", "5.0e+00", []),
        ([1e6, 1e3, 1.0], "exploding", "1.0e+06", []),
        ([0.0, 1e-3, 1.0], "vanishing", "0.0e+00", ["exactly 0"]),
        ([INF, 1e30, 1.0], "exploding", "inf", ["not finite"]),
        ([INF, INF, INF], "exploding", "No ratio", ["not finite"]),
        ([0.0, 0.0, 1.0], "vanishing", "0.0e+00", ["exactly 0"]),
        ([NAN, 1.0, 1.0], "neutral", "No ratio", ["not finite"]),
    ],
)
def test_gradient_flow_shows_each_norm_and_marks_what_has_no_place_on_the_axis(norms, kind, title, notes):
    figure = plots.gradient_flow(record([[1, 1, 1], norms, [1, 1, 1]]), row=1)
    points = figure.axes[0].get_lines()[0]
    assert points.get_xdata().tolist() == [1, 2, 3]
    shown = [norm if 0 < norm < INF else NAN for norm in norms]
    np.testing.assert_array_equal(points.get_ydata(), shown)
    assert to_hex(points.get_color()) == PALETTE[kind]
    assert title in figure.axes[0].get_title(loc="left")
    assert explained(figure) == notes
    assert bool(figure.axes[0].texts) == np.isnan(shown).all(), "axes without a point say so"


def test_update_ratios_divide_by_the_weights_of_the_same_step():
    update = [[1e-3, 2e-3, 3e-3], [4e-3, 0.0, 6e-3]]
    weight = [[1.0, 2.0, 4.0], [2.0, 5.0, 3.0]]
    figure = plots.update_ratios(record(np.ones((2, 3)), update, weight))
    for layer, expected in (("layer1", [1e-3, 2e-3]), ("layer2", [1e-3, NAN]), ("layer3", [7.5e-4, 2e-3])):
        steps, ratio = line(figure, layer)
        assert steps.tolist() == [1, 2]
        np.testing.assert_allclose(ratio, expected, rtol=1e-12, err_msg=layer)
    assert level(figure, 1e-3), "the usual size in healthy training is a line"


def test_update_ratios_show_the_layers_that_were_asked_for():
    some = record(np.ones((2, 9)), update=np.outer([1, 1], np.arange(1, 10)))
    asked = plots.update_ratios(some, layers=[9, 2])
    assert [artist.get_label() for artist in asked.axes[0].get_lines()][:2] == ["layer9", "layer2"]
    assert line(asked, "layer9")[1].tolist() == [9, 9]
    assert line(asked, "layer2")[1].tolist() == [2, 2]
    unasked = plots.update_ratios(some)
    assert [artist.get_label() for artist in unasked.axes[0].get_lines()][:3] == ["layer1", "layer5", "layer9"]


def test_the_signal_of_each_step_is_drawn_up_to_its_first_inf():
    figure = plots.signal_by_step(breaking(), rows=[0, 1])
    np.testing.assert_array_equal(line(figure, "step 1")[1], [1, 2, 3, 4])
    np.testing.assert_array_equal(line(figure, "step 2")[1], [5, NAN, NAN, NAN])
    (cross,) = [a for a in figure.axes[0].get_lines() if a.get_marker() == "X" and len(a.get_xdata())]
    assert cross.get_xdata().tolist() == [2], "the layer that held inf"
    assert "Step 2: layer2" in figure.axes[0].get_title(loc="left")
    assert "NaN from layer 3 on" in explained(figure)


def test_every_figure_is_of_a_record_and_meets_the_unusual_ones():
    public = {name for name in plots.__all__ if inspect.isfunction(getattr(plots, name))} - {"regime"}
    assert public == set(ORDINARY), "a new figure belongs into ORDINARY, with what its text must say"
    assert public == set(OF_A_RECORD), "and into OF_A_RECORD"
    for name in public:
        assert next(iter(inspect.signature(getattr(plots, name)).parameters)) == "record", f"{name} is for the course"


WITHOUT_MATPLOTLIB = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
import gradclinic

try:
    from gradclinic import plots
except ModuleNotFoundError as error:
    print(error.name, "|", error)
"""


def test_without_matplotlib_the_package_works_and_its_figures_say_what_is_missing():
    result = subprocess.run([sys.executable, "-c", WITHOUT_MATPLOTLIB], capture_output=True, text=True, check=False)
    assert not result.stderr, "nothing but the figures may need it"
    name, _, words = result.stdout.partition(" | ")
    assert name == "matplotlib"
    assert "pip install matplotlib" in words
    assert "gradclinic" not in words, "no text tells anyone to install a package of our name"


def test_norms_are_drawn_for_every_layer_and_the_first_middle_and_last_are_named():
    some = run(layers=9)
    figure = plots.gradient_norms(some)
    axes = figure.axes[0]
    drawn_lines = by_label(axes)
    for n, layer in enumerate(some.layers):
        np.testing.assert_array_equal(drawn_lines[layer], some.gradient_norm[:, n], err_msg=layer)
    named = explained(figure)
    assert named == ["layer1", "layer5", "layer9"]
    ink = [artist.get_alpha() for artist in axes.get_lines()[:9]]
    assert all(darker > lighter for darker, lighter in itertools.pairwise(ink)), "first to last is a scale"
    lines = [artist for artist in axes.get_lines() if artist.get_label() in named]
    styles = {str(artist._unscaled_dash_pattern) for artist in lines}  # noqa: SLF001 - get_linestyle calls all "--"
    assert len(styles) == 3, "what is named is told apart without its shade"
    assert axes.get_yscale() == "log"


def test_weights_grow_relative_to_the_first_recorded_step():
    weight = np.array([[2.0, 5.0], [4.0, 5.0], [3.0, 0.5]])
    axes = plots.weight_growth(record(np.ones((3, 2)), weight=weight)).axes[0]
    assert by_label(axes)["layer1"].tolist() == [1, 2, 1.5]
    assert by_label(axes)["layer2"].tolist() == [1, 1, 0.1]
    assert "0.1 to 2 times" in axes.get_title(loc="left")


def test_units_show_what_each_activation_can_do():
    figure = plots.units(run())
    drawn_lines = by_label(figure.axes[0])
    np.testing.assert_allclose(drawn_lines["tanh1"], np.linspace(0.1, 0.8, 6))
    np.testing.assert_allclose(drawn_lines["relu1"], np.linspace(0.0, 0.25, 6))
    assert explained(figure) == ["tanh1: saturated", "relu1: dead"]
    assert "80% saturated" in figure.axes[0].get_title(loc="left"), "the title says where it ended"


def test_units_of_a_network_full_of_nan_are_not_called_healthy():
    good = run()
    dead = np.where(np.arange(6)[:, None] >= 3, 0.0, good.dead)  # a NaN is not 0, so the recorder counts no dead unit
    flags = np.zeros((6, 3), dtype=bool)
    flags[3:] = True
    figure = plots.units(dataclasses.replace(good, dead=dead, output_nonfinite=flags))
    assert np.isnan(by_label(figure.axes[0])["relu1"][3:]).all()
    assert shades(figure.axes[0]) == [(4, 6)]
    assert "first time at step 4" in figure.get_label()


@pytest.mark.parametrize("name", ["loss_curve", "gradient_norms", "update_ratios", "weight_growth", "units"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_steps_that_are_not_finite_are_marked_and_named(name, value):
    figure = OF_A_RECORD[name](spoilt(value, rows=slice(2, 5)))
    axes = figure.axes[0]
    crosses = [artist for artist in axes.get_lines() if artist.get_marker() == "x"]
    assert [float(cross.get_xdata()[0]) for cross in crosses] == [3], "a cross where it begins"
    assert shades(axes) == [(3, 5)], "a shade as long as it lasts"
    assert "not finite" in explained(figure)
    assert "Not finite in 3 of 6 recorded steps, for the first time at step 3" in figure.get_label()
    assert "Not finite" not in OF_A_RECORD[name](run()).get_label(), "and a sound run has no such mark"


@pytest.mark.parametrize("name", ["gradient_flow", "gradient_histograms"])
def test_layers_that_are_not_finite_are_marked_and_named(name):
    figure = OF_A_RECORD[name](spoilt(INF, layers=slice(1, 3)))
    assert shades(figure.axes[0]) == [(2, 3)]
    assert "Not finite: layers 2 to 3" in figure.get_label()


def test_a_value_that_was_not_measured_is_not_called_an_overflow():
    for name in ("loss in every other step", "a frozen layer", "nothing but gradients"):
        assert "Not finite" not in plots.dashboard(UNUSUAL_RECORDS[name]()).get_label(), name
    frozen = UNUSUAL_RECORDS["a frozen layer"]()
    assert "No gradient: layer 1" in plots.gradient_flow(frozen).get_label()
    assert "No gradient: layer 1" in plots.gradient_histograms(frozen).get_label()


@pytest.mark.parametrize(
    ("loss", "chance", "kind", "scale"),
    [
        ([2.3, 1.0, 0.2], 2.3, "healthy", "linear"),
        ([2.3, 2.3, 2.3], 2.3, "neutral", "linear"),
        ([2.3, 1.0, 0.2], NAN, "neutral", "linear"),
        ([2.3, 1e3, 1e9], 2.3, "neutral", "log"),
        ([2.3, INF, NAN], 2.3, "exploding", "linear"),
    ],
)
def test_a_loss_curve_is_the_loss_beside_that_of_guessing(loss, chance, kind, scale):
    lost = ~np.isfinite(loss)[:, None]
    some = dataclasses.replace(record(np.ones((3, 1))), loss=np.array(loss), chance_loss=chance, nonfinite=lost)
    figure = plots.loss_curve(some)
    curve = figure.axes[0].get_lines()[0]
    np.testing.assert_array_equal(curve.get_ydata(), np.where(lost[:, 0], NAN, loss))
    assert to_hex(curve.get_color()) == PALETTE[kind]
    assert figure.axes[0].get_yscale() == scale
    assert math.isnan(chance) or level(figure, chance), "guessing is a line"


def test_what_was_not_recorded_says_how_to_record_it():
    bare = record([[1.0, 2.0]] * 6)
    for figure, advice in (
        (plots.loss_curve(bare), "recorder.log_loss(loss)"),
        (plots.gradient_histograms(bare), "Recorder(model, histograms=True)"),
        (plots.units(bare), "ReLU"),
    ):
        assert advice in figure.get_label()
        assert advice in figure.axes[0].texts[0].get_text()


def cells(figure: Figure) -> dict[tuple[int, float], float]:
    """(layer, lower edge) -> ink, of every cell of a figure of histograms."""
    found = {}
    for patch in figure.axes[0].patches:
        corners = patch.get_path().vertices.reshape(-1, 5, 2)
        for corner in corners:
            found[round(corner[0, 0] + 0.5), float(corner[0, 1])] = patch.get_alpha()
    return found


def test_histograms_count_sizes_without_their_sign_in_one_column_a_layer():
    entries = [[0.0] * 6 + [2e-5, -2e-5, 4e-3, 0.0], [2e-5] * 3 + [-2e-5] * 17]
    figure = plots.gradient_histograms(dataclasses.replace(record([[1.0, 1.0]]), histogram=counted(entries)))
    found = cells(figure)
    lowest = min(edge for _, edge in found)  # the row of what is 0
    shown = {(layer, 0.0 if edge == lowest else edge): ink for (layer, edge), ink in found.items()}
    low, high = 1e-5, 10**-2.5  # the edges of half decades below 2e-5 and 4e-3
    expected = {(1, 0.0): 0.95, (1, low): 0.5, (1, high): 0.5, (2, low): 0.95}  # shares 0.7, 0.2, 0.1 and 1
    assert [(layer, pytest.approx(edge), ink) for (layer, edge), ink in sorted(expected.items())] == [
        (layer, edge, ink) for (layer, edge), ink in sorted(shown.items())
    ]


def test_the_line_of_the_histograms_joins_the_middle_sizes_that_are_not_zero():
    entries = [[0.0] * 9 + [2e-9, 2e-9, 0.5], [0.02, 0.02, 5.0]]
    figure = plots.gradient_histograms(dataclasses.replace(record([[1.0, 1.0]]), histogram=counted(entries)))
    _, middle = line(figure, "middle entry above 0")
    # the geometric middle of the half decades that hold 2e-9 and 0.02
    np.testing.assert_allclose(middle, [10**-8.75, 10**-1.75], rtol=1e-9)
    assert "75% of the first" in figure.get_label()


def test_sixty_histograms_stay_in_their_columns():
    figure = plots.gradient_histograms(run(layers=60))
    assert {layer for layer, _ in cells(figure)} == set(range(1, 61))
    assert len(figure.axes[0].patches) <= 5, "one patch for each shade, or a page of them grows too heavy"


def test_the_dashboard_draws_the_same_panels_as_each_figure_alone():
    some = run()
    figure = plots.dashboard(some)
    alone = {name: draw(some).axes[0] for name, draw in OF_A_RECORD.items() if name in PANELS}
    assert len(figure.axes) == len(alone) == 7
    by_title = {axes.get_title(loc="left"): axes for axes in figure.axes}
    for name, axes in alone.items():
        same = by_title[axes.get_title(loc="left")]
        assert len(same.get_lines()) == len(axes.get_lines()) > 0, name
        for one, other in zip(same.get_lines(), axes.get_lines(), strict=True):
            np.testing.assert_array_equal(one.get_xydata(), other.get_xydata(), err_msg=name)
        assert OF_A_RECORD[name](some).get_label() in figure.get_label(), name


def test_the_dashboard_leaves_histograms_out_that_were_not_recorded():
    figure = plots.dashboard(run(histogram=np.empty((6, 3, 0), dtype=np.int64)))
    assert len(figure.axes) == 6
    assert "6 panels" in figure.get_label()


def test_the_dashboard_shows_the_layers_before_they_were_lost_and_says_where_it_began():
    flags = np.zeros((6, 3), dtype=bool)
    flags[4:, 1] = True
    figure = plots.dashboard(dataclasses.replace(spoilt(NAN, rows=slice(4, None)), output_nonfinite=flags))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "First layer over last: 1.0e-02, step 4" in titles
    assert "Inf or NaN first seen at step 5, in the output of layer2" in figure.get_label()


@pytest.fixture(scope="module")
def endless() -> Record:
    """100,000 steps of 100 layers; one norm and one loss shoot up for a single step, one each is NaN for one."""
    steps, layers = 100_000, 100
    generator = np.random.default_rng(0)
    gradient = 10.0 ** (np.linspace(-6, 0, layers) + 0.3 * generator.random((steps, layers)))
    gradient[33_332, 50] = 1e4
    gradient[66_666, 20] = NAN
    loss = 1 + generator.random(steps)
    loss[44_443], loss[55_554] = 9.0, NAN
    flags = np.isnan(gradient)
    flags[55_554, 0] = True
    return dataclasses.replace(record(gradient), loss=loss, nonfinite=flags, chance_loss=2.3)


@pytest.mark.parametrize("draw", [plots.gradient_norms, plots.dashboard], ids=["alone", "dashboard"])
def test_a_spike_and_a_gap_of_one_step_stay_in_the_picture_of_a_long_record(endless, draw):
    axes = next(axes for axes in draw(endless).axes if axes.get_title(loc="left").startswith("Gradient norm"))
    lines = {artist.get_label(): artist.get_xydata() for artist in axes.get_lines()}
    layer, other = lines["layer51"], lines["layer21"]
    assert layer[layer[:, 0] == 33_333, 1].tolist() == [1e4], "the spike is a vertex of its layer's line"
    assert np.isnan(other[other[:, 0] == 66_667, 1]).tolist() == [True], "and the gap is one of its own"
    assert axes.get_ylim()[1] > 1e4
    for number in range(1, 101):
        drawn_through = lines[f"layer{number}"]
        assert 300 < len(drawn_through) <= 3 * 300 + 2, "enough points for a picture, and not one for each step"
        rows = drawn_through[:, 0].astype(int) - 1
        assert rows[0] == 0
        assert rows[-1] == 99_999
        assert (np.diff(rows) > 0).all()
        measured = endless.gradient_norm[rows, number - 1]
        np.testing.assert_array_equal(drawn_through[:, 1], measured, err_msg="no value is invented")


@pytest.mark.parametrize("draw", [plots.loss_curve, plots.dashboard], ids=["alone", "dashboard"])
def test_the_loss_of_a_long_record_keeps_its_spike_and_its_gap(endless, draw):
    axes = next(axes for axes in draw(endless).axes if axes.get_title(loc="left").startswith("Loss"))
    loss = max((artist.get_xydata() for artist in axes.get_lines()), key=len)
    assert len(loss) <= 3 * 300 + 2
    assert loss[loss[:, 0] == 44_444, 1].tolist() == [9.0]
    assert np.isnan(loss[loss[:, 0] == 55_555, 1]).tolist() == [True]


def test_every_place_of_a_long_line_shows_its_lowest_and_highest_value():
    generator = np.random.default_rng(0)
    for count in (901, 902, 1799, 4_000, 12_345):
        for gaps in (0.0, 0.5, 0.999, 1.0):
            values = np.where(generator.random(count) < gaps, NAN, generator.lognormal(sigma=3, size=count))
            rows = drawn_rows(values)
            assert len(rows) <= 902
            assert rows[0] == 0
            assert rows[-1] == count - 1
            assert (np.diff(rows) > 0).all()
            wide = math.ceil(count / 300)
            for start in range(0, count, wide):
                place, shown = values[start : start + wide], values[rows[(rows >= start) & (rows < start + wide)]]
                assert np.isnan(place).any() == np.isnan(shown).any(), "a gap stays one"
                if not np.isnan(place).all():
                    assert (np.nanmin(shown), np.nanmax(shown)) == (np.nanmin(place), np.nanmax(place))


@pytest.mark.parametrize("steps", [3, 299, 900])
def test_a_record_that_is_not_long_is_drawn_step_by_step(steps):
    seen = run(steps)
    for figure in (plots.gradient_norms(seen), plots.loss_curve(seen), plots.units(seen), plots.weight_growth(seen)):
        longest = max((artist.get_xydata() for artist in figure.axes[0].get_lines()), key=len)
        assert longest[:, 0].tolist() == seen.step.tolist()


def test_steps_that_are_lost_again_and_again_are_marked_together_in_a_long_record():
    gradient = np.ones((100_000, 1))
    gradient[::2] = INF
    figure = plots.gradient_norms(record(gradient))
    assert len(figure.axes[0].patches) + len(figure.axes[0].lines) < 10, "one shade, where single ones would touch"
    gradient[:] = 1
    gradient[::5_000] = INF
    figure = plots.gradient_norms(record(gradient))
    marks = [artist for artist in figure.axes[0].get_lines() if artist.get_marker() == "x"]
    assert [artist.get_xdata()[0] for artist in marks] == list(range(1, 100_001, 5_000)), "what lies apart stays apart"
    assert "20 of 100000 recorded steps, for the first time at step 1." in figure.get_label()


def test_the_loss_at_the_end_is_that_of_the_last_steps_and_not_of_the_last_rows():
    sparse = run(60, step=np.arange(1, 61) * 20)
    assert plots.loss_curve(sparse).axes[0].get_title(loc="left") == "Loss: from 2.4 to 0.4"
    every = run(60)
    mean = every.loss[-20:].mean()
    assert plots.loss_curve(every).axes[0].get_title(loc="left") == f"Loss: from 2.4 to {mean:.3g}"
