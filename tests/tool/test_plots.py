"""A figure shows its data: lines are read back from the axes and compared with numbers computed another way."""

import dataclasses
import functools
import inspect
import io
import itertools
import math
import re
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gradclinic import plots
from gradclinic.plots import PALETTE, TEXT
from gradclinic.record import HISTOGRAM_EDGES, Record

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


def walk(factor: float, steps: int = 12, start: float = 1.0) -> torch.Tensor:
    """Where gradient descent on a bowl is, by the formula on paper: start * factor^t on both axes."""
    line = start * factor ** torch.arange(steps + 1, dtype=torch.float64)
    return torch.stack([line, line], dim=1)


def line(figure: Figure, label: str):
    """x and y of the line that the legend calls ``label``."""
    found = [artist for artist in figure.axes[0].get_lines() if artist.get_label() == label]
    assert len(found) == 1, f"one line should be called {label!r}, found {len(found)}"
    return np.asarray(found[0].get_xdata(), dtype=float), np.asarray(found[0].get_ydata(), dtype=float)


def level(figure: Figure, y: float) -> bool:
    """Whether a horizontal line runs at ``y``."""
    lines = [np.asarray(artist.get_ydata(), dtype=float) for artist in figure.axes[0].get_lines()]
    return any(len(values) == 2 and np.allclose(values, y) for values in lines)


def drawn(figure: Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True)
    return buffer.getvalue()


def breaking() -> Record:
    """Two steps by hand: in the second, layer 2 gives inf and the layers after it NaN."""
    output = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, INF, NAN, NAN]])
    return dataclasses.replace(
        record(np.ones((2, 4))), output_rms=output, output_nonfinite=~np.isfinite(output), step=np.array([1, 2])
    )


Z = torch.linspace(-20, 20, 200)
FACTORS = {0.5: [0.35, 0.36], 1.0: [0.7071, 0.7071], 2.0: [1.3, 1.5384615], 1.414: [1.0]}
PROFILE = torch.tensor([[1e-4, 1e-2, 1.0], [1e-6, 1e-3, 1.0]])
ACCURACY = {"sigmoid": {1: [0.9, 0.95], 20: [0.1, 0.1]}, "relu": {1: [0.96, 0.94], 20: [0.9, 0.97]}}

# name -> a figure of ordinary data, and facts that its text alternative has to name
ORDINARY = {
    "descent_path": (lambda: plots.descent_path(walk(0.5), (1.0, 0.1)), ("converges", "12 steps", "0.000244")),
    "descent_error": (lambda: plots.descent_error(walk(-1.1), 2.1), ("diverges", "from 1 ", "3.14", "1.1")),
    "activation_and_slope": (lambda: plots.activation_and_slope("sigmoid"), ("sigmoid", "0.25", "0.00034")),
    "saturation": (lambda: plots.saturation("tanh", Z, 0.8), ("80%", "mean slope is 0.05", "8")),
    "gradient_profile": (
        lambda: plots.gradient_profile(PROFILE, [3e-5, 5e-3, 1.0]),
        ("3 layers", "2 seeds", "1e-05", "3e-05", "vanishing"),
    ),
    "gradient_flow": (
        lambda: plots.gradient_flow(record([[9, 9, 9], [2e-7, 1e-3, 0.5]])),
        ("3 layers", "step 2", "2e-07", "layer1", "0.5", "layer3"),
    ),
    "update_ratios": (
        lambda: plots.update_ratios(record(np.ones((2, 3)), update=np.full((2, 3), 1e-4))),
        ("2 recorded steps", "layer1 1.0e-04", "layer3 1.0e-04"),
    ),
    "learning_curve": (
        lambda: plots.learning_curve([2.5] + [0.25] * 30, 0.93, "a net"),
        ("a net", "31 steps", "2.50", "0.25", "2.30", "0.93"),
    ),
    "accuracy_by_depth": (
        lambda: plots.accuracy_by_depth(ACCURACY, 20, "relu"),
        ("sigmoid", "0.10", "relu", "20 layers", "0.90 to 0.97"),
    ),
    "loss_along_gradient": (
        lambda: plots.loss_along_gradient(
            torch.tensor([-1.0, 0, 1]), {"vanishing": torch.full((3,), 2.3), "healthy": torch.tensor([5.0, 2.0, 1.0])}
        ),
        ("vanishing, between 2.30 and 2.30", "healthy, between 1.00 and 5.00"),
    ),
    "phase_diagram": (
        lambda: plots.phase_diagram("relu", FACTORS, 2.0),
        ("relu", "1.414", "0.707 at 1", "1.41 at 2", "Pointed at: weight scale 2"),
    ),
    "overflow": (
        lambda: plots.overflow([[1e10, 1e37, INF, INF], [1e11, 1e38, 1e38, INF]], [10.5, 37.5, 64.5, 91.5], 3.0),
        ("4 layers", "2 seeds", "38.5", "3 to 4", "predicted 3", "38"),
    ),
    "gradient_size": (
        lambda: plots.gradient_size(walk(-1.2, start=5.0)[:, 0], 2.0, 1.1),
        ("12 steps", "from 10 to 89.2", "diverges", "2.2"),
    ),
    "remedies": (
        lambda: plots.remedies({"none": [1e-9, 1e-8, 1e-7], "he": [1.0, 2.0]}, {"none": [0.1], "he": [0.9, 0.95]}),
        ("2 remedies", "none: 1.0e-08, accuracy 0.10", "he: 1.5e+00"),
    ),
    "signal_by_step": (
        lambda: plots.signal_by_step(breaking(), rows=[0, 1]),
        ("4 layers", "step 1: largest 4", "step 2: largest 5", "inf in layer 2", "NaN from layer 3 on"),
    ),
}

ORDINARY |= {
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

CURVES = {"RNN": [[1e-8, 1e-4, 1.0], [1e-6, 1e-4, 1.0]], "LSTM": [[0.5, 0.7, 1.0]]}

ORDINARY |= {
    "there_and_back": (
        lambda: plots.there_and_back([[1.0, 0.5], [1.0, 0.5]], [[1e-9, 1.0], [1e-7, 1.0]], "tanh, Xavier"),
        ("tanh, Xavier", "2 layers", "2 networks", "signal ends at 0.5", "gradient at 1e-08"),
    ),
    "singular_values": (
        lambda: plots.singular_values({"gaussian": [[2.0, 0.0]], "orthogonal": [[1.0, 1.0]]}, "linear, 4 layers"),
        ("linear, 4 layers", "gaussian: largest 1.41, 1 of 2 above 0.1", "orthogonal: largest 1, 2 of 2"),
    ),
    "against": (
        lambda: plots.against(
            [1, 10], {"ReLU": [[0.9, 0.3], [0.7, 0.1]]}, "Long steps", ("rate", "accuracy"), marks={"here": 3.0}
        ),
        ("Long steps", "accuracy against rate", "ReLU from 0.80 at 1 to 0.20 at 10"),
    ),
    "float16_window": (
        lambda: plots.float16_window([torch.tensor([2.0**-30, -(2.0**-20)]), torch.tensor([0.0, 0.25])], 8),
        ("2 layers", "loss scale of 2^8", "2^-25 and 2^16", "2^-17.0 in the first and 2^6.0 in the last", "0% are too"),
    ),
    "through_time": (
        lambda: plots.through_time(CURVES, [1e-9, 1e-5, 1.0]),
        ("3 time steps", "RNN 1e-07", "LSTM 0.5", "Predicted: 1e-09"),
    ),
    "cell_memory": (
        lambda: plots.cell_memory({"along the cell": [[1.0, 0.5, 0.25]]}, [1.0, 0.5, 0.25], 1.4427),
        ("2 steps", "along the cell 0.25", "predicted 0.25", "1.44 steps"),
    ),
    "training_compared": (
        lambda: plots.training_compared({"RNN": [[0.2, 0.1], [0.2, 0.4]], "GRU": [[0.1, 0.01]]}, 0.1667, "Adding"),
        ("Adding", "2 epochs", "RNN 0.2, 2 seeds", "GRU 0.01, 1 seeds", "0.167"),
    ),
    "surface_walk": (
        lambda: plots.surface_walk(
            [0, 1, 2], [0, 1], [[0, 1], [1, 2], [2, 3]], torch.tensor([[1.0, 0.5], [1.0, 0.8], [5.0, 0.8]]), "a walk"
        ),
        ("a walk", "2 steps", "longest step is 4", "1 of 2 steps end outside", "weight 5, bias 0.8"),
    ),
    "clipped_arrows": (
        lambda: plots.clipped_arrows(torch.tensor([4.0, 3.0]), 2.0),
        ("(4, 3)", "threshold 2", "(1.6, 1.2)", "(2, 2)", "turned by 8 degrees"),
    ),
    "clipping_threshold": (
        lambda: plots.clipping_threshold([1.0, 2.0, 3.0, 10.0], 2.5, 0.8),
        ("4 steps", "median 2.5", "50%", "threshold of 2.5", "0.80"),
    ),
    "step_sizes": (
        lambda: plots.step_sizes({"SGD": [1.0, 50.0, 1.0], "Adam": [1.0, 0.9, 0.3]}, 1),
        ("3 steps", "step 1", "SGD 50 at the spike, 1 at the end", "Adam 0.9 at the spike, 0.3 at the end"),
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
PANELS = set(OF_A_RECORD) - {"dashboard", "signal_by_step"}  # what the dashboard shows
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
    "path that is lost": lambda: plots.descent_path(walk(NAN), (1.0, 0.1)),
    "path to infinity": lambda: plots.descent_path(walk(-1e40), (1.0, 0.1)),
    "path at rest": lambda: plots.descent_path(walk(1.0, start=0.0), (1.0, 0.1)),
    "error that is lost": lambda: plots.descent_error(walk(NAN), 0.5),
    "error that is zero": lambda: plots.descent_error(walk(0.0), 1.0),
    "pre-activations lost": lambda: plots.saturation("relu", torch.tensor([NAN, 1.0, -INF]), 0.3),
    "profile all zero": lambda: plots.gradient_profile(torch.tensor([[0.0, 0.0, 1.0]]), [1e-40, 1e-20, 1.0]),
    "profile infinite": lambda: plots.gradient_profile(torch.tensor([[INF, 1e3, 1.0]]), [1e40, 1e20, 1.0]),
    "profile lost": lambda: plots.gradient_profile(torch.full((2, 3), NAN), [1.0, 1.0, 1.0]),
    "profile partly lost": lambda: plots.gradient_profile(torch.tensor([[NAN, 1.0], [0.5, 1.0]]), [0.5, 1.0]),
    "flow of zeros": lambda: plots.gradient_flow(record([[0, 0, 0]])),
    "flow into nothing": lambda: plots.gradient_flow(record([[0, 1e-3, 1]])),
    "flow infinite": lambda: plots.gradient_flow(record([[INF, INF, INF]])),
    "flow lost": lambda: plots.gradient_flow(record([[NAN, NAN, NAN]])),
    "updates not known": lambda: plots.update_ratios(record([[1.0, 1.0]])),
    "updates of nothing": lambda: plots.update_ratios(record([[1.0]], update=[[0.0]], weight=[[0.0]])),
    "loss that is lost": lambda: plots.learning_curve([2.3, INF, NAN], 0.1, "a net"),
    "factors lost": lambda: plots.phase_diagram("sigmoid", {1.0: [NAN, 0.2], 12.0: [NAN], 20.0: [0.0]}),
    "signal that stays": lambda: plots.overflow([[1.0, 1.0]], [0.0, 0.0], INF),
    "signal lost at once": lambda: plots.overflow([[INF, NAN]], [50.0, 90.0], 1.0),
    "signal of zeros": lambda: plots.overflow([[1.0, 0.0]], [0.0, -400.0], INF),
    "gradient that is lost": lambda: plots.gradient_size(walk(NAN)[:, 0], 1.0, 1.0),
    "gradient that is zero": lambda: plots.gradient_size(walk(0.0)[:, 0], 1.0, 1.0),
    "outputs not watched": lambda: plots.signal_by_step(record([[1.0, 1.0]]), rows=[0]),
    "steps all lost": lambda: plots.signal_by_step(breaking(), rows=[1, -1]),
    "gradients that are all 0": lambda: plots.float16_window([torch.zeros(3), torch.tensor([NAN, INF])]),
    "states that get nothing": lambda: plots.through_time({"RNN": [[0.0, NAN, 1.0], [INF, NAN, 1.0]]}),
    "signal and gradient that are lost": lambda: plots.there_and_back([[1.0, INF]], [[0.0, NAN]], "lost"),
    "shares on a logarithmic axis": lambda: plots.against(
        [0.001, 0.1], {"a": [[0.0, NAN]]}, "t", ("x", "y"), logarithmic_x=True
    ),
    "memory of nothing": lambda: plots.cell_memory({"c": [[1.0, 0.0]]}, [1.0, 0.0], 1e-3),
    "memory for ever": lambda: plots.cell_memory({"c": [[1.0, 1.0]]}, [1.0, 1.0], INF),
    "trainings that are lost": lambda: plots.training_compared({"a": [[NAN, INF]]}, 0.0, "lost"),
    "shares that are compared": lambda: plots.training_compared({"a": [[0.0, 1.0]]}, 0.1, "t", logarithmic=False),
    "walk off the surface": lambda: plots.surface_walk([0, 1], [0, 1], np.eye(2), walk(-1e6), "far"),
    "walk on flat land": lambda: plots.surface_walk([0, 1], [0, 1], np.zeros((2, 2)), walk(0.5), "flat"),
    "gradient left alone": lambda: plots.clipped_arrows(torch.tensor([0.0, 1.0]), 5.0),
    "norms of nothing": lambda: plots.clipping_threshold([0.0, NAN, INF], 1.0),
    "steps of nothing": lambda: plots.step_sizes({"SGD": [0.0]}, 0),
    "walk that is lost": lambda: plots.loss_along_gradient([0.0, 1.0], {"exploding": [2.0, NAN]}),
}

FIGURES = {name: make for name, (make, _) in ORDINARY.items()} | UNUSUAL


@functools.cache
def rendered(name: str) -> tuple[Figure, str, list[str]]:
    """A figure, drawn once for all tests that look at it, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        figure = FIGURES[name]()
        return figure, drawn(figure), [str(warning.message) for warning in warned]


def test_every_plot_function_is_tested():
    public = {
        name
        for name, value in vars(plots).items()
        if inspect.isfunction(value) and value.__module__ == plots.__name__ and not name.startswith("_")
    }
    assert public - {"regime"} == set(ORDINARY), "a new figure belongs into ORDINARY, with what its text must say"


# --- what holds for every figure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_returned_with_words_and_nothing_is_shown_or_left_open(name, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("a plot function called show"))
    monkeypatch.setattr(Figure, "show", lambda *a, **k: pytest.fail("a plot function called show"))
    before = dict(matplotlib.rcParams)
    figure, _, warned = rendered(name)
    assert not warned, f"a page is not built if a cell writes a warning: {warned[0]}"
    assert isinstance(figure, Figure), f"{type(figure).__name__} is no Figure"
    assert len(figure.get_label()) > 40, f"the text alternative says too little: {figure.get_label()!r}"
    for axes in figure.axes:
        assert axes.get_title(loc="left"), "a figure states in its title what it shows"
        assert axes.get_xlabel() and axes.get_ylabel(), "both axes have a name"
    assert plt.get_fignums() == [], "a figure is open in pyplot"
    assert dict(matplotlib.rcParams) == before, "the reader's own matplotlib settings were changed"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_uses_the_colours_of_the_course_and_no_other(name):
    used = set(re.findall(r"#[0-9a-fA-F]{6}\b", rendered(name)[1]))
    other = used - {*PALETTE.values(), TEXT}
    assert not other, f"{other} would not follow the page's theme"


@pytest.mark.parametrize("name", ORDINARY)
def test_the_text_alternative_names_the_facts(name):
    text, facts = rendered(name)[0].get_label(), ORDINARY[name][1]
    missing = [fact for fact in facts if fact not in text]
    assert not missing, f"{missing} are not in {text!r}"


@pytest.mark.parametrize("name", ORDINARY)
def test_a_figure_is_the_same_each_time(name):
    assert _without_dates(rendered(name)[1]) == _without_dates(drawn(FIGURES[name]()))


def _without_dates(svg: str) -> str:
    """Ids and dates are the only things matplotlib changes from one save to the next."""
    return re.sub(r"<dc:date>.*?</dc:date>|#?\b[mp][0-9a-f]{10}\b", "", svg)


def test_colours_are_far_enough_apart_to_be_told_in_print():
    def lightness(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name, colour in {**PALETTE, "text": TEXT}.items():
        contrast = 1.05 / (lightness(colour) + 0.05)
        assert contrast >= 4.5, f"{name} has a contrast of {contrast:.2f} on white, and needs 4.5 (WCAG 1.4.3)"
    assert len(set(plots.MARKER.values())) == len(set(map(str, plots.DASHES.values()))) == len(PALETTE), (
        "a colour never stands alone: each regime has a marker and a line of its own"
    )


# --- what each figure shows --------------------------------------------------------------------------------------


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
    figure = plots.descent_path(path, (1.0, 0.1))
    walked = max(figure.axes[0].get_lines(), key=lambda artist: len(artist.get_xdata()))
    np.testing.assert_array_equal(walked.get_xydata(), path.numpy())
    assert words in figure.axes[0].get_title(loc="left")
    assert words in figure.get_label()


@pytest.mark.parametrize("product", [0.3, 1.0, 1.7, 2.0, 2.1])
def test_the_error_is_drawn_beside_the_closed_form(product):
    path = walk(0.7)  # not what the formula predicts for this product, so the two lines must differ
    figure = plots.descent_error(path, product)
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
    figure = plots.activation_and_slope(name)
    z, value = line(figure, f"{name}(z)")
    np.testing.assert_allclose(value, [function(x) for x in z], atol=1e-12)
    z, slope = line(figure, "its slope")
    off = np.abs(z) > 1e-3  # ReLU has no slope at its kink
    by_difference = [(function(x + 1e-5) - function(x - 1e-5)) / 2e-5 for x in z[off]]
    np.testing.assert_allclose(slope[off], by_difference, atol=1e-8)
    assert z[0] == -8 and z[-1] == 8, "the axis runs from -8 to 8"


def test_a_callable_keeps_its_name():
    figure = plots.activation_and_slope(torch.sin, "sine")
    assert "sine" in figure.get_label()
    assert len(line(figure, "sine(z)")[0]) > 100
    assert "sin" in plots.activation_and_slope(torch.sin).get_label()


def test_bars_count_pre_activations_and_the_rest_falls_into_the_outermost():
    values = torch.tensor([0.05] * 30 + [1.05] * 15 + [-99.0] * 6 + [99.0] * 3)
    figure = plots.saturation("tanh", values, 0.5)
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
    figure = plots.gradient_profile(measured, [3e-5, 5e-3, 1.0])
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
        (1e-5, "vanishing", "10^{-5}"),
        (0.0, "vanishing", "none"),
        (0.5, "healthy", "0.5 times"),
        (30.0, "healthy", "30 times"),
        (2e6, "exploding", "10^{6}"),
        (INF, "exploding", "∞"),
        (NAN, "neutral", "unknown"),
    ],
)
def test_a_profile_says_and_colours_what_layer_one_gets(first, kind, words):
    figure = plots.gradient_profile([[first, 1.0]], [1.0, 1.0])
    assert words in figure.axes[0].get_title(loc="left")
    (points,) = [artist for artist in figure.axes[0].get_lines() if artist.get_label().startswith("measured")]
    assert to_hex(points.get_color()) == PALETTE[kind]
    assert points.get_marker() == plots.MARKER[kind]


def test_a_seed_with_nothing_to_show_is_left_out_of_the_mean():
    figure = plots.gradient_profile([[0.0, 1.0], [0.01, 1.0], [1.0, 1.0]], [0.1, 1.0])
    assert line(figure, "measured, 3 seeds")[1][0] == pytest.approx(0.1), "the mean of 0.01 and 1 on a log axis"
    edge = figure.axes[0].collections[0].get_paths()[0].vertices
    assert np.nanmin(edge[edge[:, 0] == 1, 1]) == pytest.approx(0.01), "and the band is that of the other two"


@pytest.mark.parametrize(
    ("norms", "kind", "title", "notes"),
    [
        ([1e-6, 1e-3, 1.0], "vanishing", "1.0e-06", []),
        ([5.0, 3.0, 1.0], "healthy", "5.0e+00", []),
        ([1e6, 1e3, 1.0], "exploding", "1.0e+06", []),
        ([0.0, 1e-3, 1.0], "vanishing", "0.0e+00", ["0"]),
        ([INF, 1e30, 1.0], "exploding", "inf", ["not finite"]),
        ([INF, INF, INF], "exploding", "No ratio", ["nothing finite above 0", "not finite"]),
        ([0.0, 0.0, 1.0], "vanishing", "0.0e+00", ["0"]),
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
    assert [text.get_text() for text in figure.axes[0].texts] == notes


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


@pytest.mark.parametrize(
    ("loss", "accuracy", "kind"),
    [([2.3, 1.0, 0.2], 0.95, "healthy"), ([2.3, 2.3, 2.3], 0.1, "vanishing"), ([2.3, 50.0, NAN], 0.1, "exploding")],
)
def test_a_learning_curve_is_the_loss_beside_that_of_guessing(loss, accuracy, kind):
    figure = plots.learning_curve(loss, accuracy, "net")
    curve = figure.axes[0].get_lines()[0]
    np.testing.assert_array_equal(curve.get_ydata(), loss)
    assert to_hex(curve.get_color()) == PALETTE[kind]
    guessing = -sum(0.1 * math.log(0.1) for _ in range(10))  # the entropy of ten equal classes
    assert level(figure, guessing), "guessing among ten classes is a line"


def test_accuracy_is_averaged_over_seeds_and_pointed_at():
    figure = plots.accuracy_by_depth(ACCURACY, 1, "sigmoid")
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
    assert not any(a.get_markerfacecolor() == "none" for a in plots.accuracy_by_depth(ACCURACY).axes[0].get_lines())
    assert level(figure, 0.1), "guessing is a line"


def test_the_loss_along_the_gradient_is_drawn_in_the_colour_of_its_regime():
    losses = {"vanishing": [2.3, 2.3], "healthy": [2.0, 0.5], "exploding": [2.0, 9.0]}
    figure = plots.loss_along_gradient([0.0, 0.7], losses)
    for kind, expected in losses.items():
        distance, loss = line(figure, kind)
        assert distance.tolist() == [0.0, 0.7] and loss.tolist() == expected, kind
        (drawn_line,) = [a for a in figure.axes[0].get_lines() if a.get_label() == kind]
        assert to_hex(drawn_line.get_color()) == PALETTE[kind]


@pytest.mark.parametrize(
    ("activation", "critical"), [("relu", math.sqrt(2)), ("linear", 1.0), ("tanh", 1.0), ("sigmoid", 10.149)]
)
def test_a_phase_diagram_crosses_one_at_the_critical_scale(activation, critical):
    figure = plots.phase_diagram(activation, {0.5: [0.5], 30.0: [30.0]})
    scales, factor = line(figure, "predicted")
    assert scales.min() < 0.5 and scales.max() > 30, "the curve runs past the points"
    off = np.abs(np.log(scales / critical)) > 0.02
    assert ((factor < 1) == (scales < critical))[off].all(), "below 1 up to the critical scale, above it beyond"
    edge, _ = line(figure, "critical")
    np.testing.assert_allclose(edge, critical, rtol=1e-3)
    spans = {to_hex(p.get_facecolor()): (p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[0].patches}
    assert spans[PALETTE["vanishing"]][1] == pytest.approx(critical, rel=1e-3), "blue ends there"
    assert spans[PALETTE["exploding"]][0] == pytest.approx(critical, rel=1e-3), "red begins there"
    assert [text.get_text() for text in figure.axes[0].texts] == ["vanishing", "exploding"]
    assert level(figure, 1.0), "the factor 1 is a line"


def test_the_predicted_phase_curve_of_relu_is_the_scale_over_root_two():
    scales, factor = line(plots.phase_diagram("relu", FACTORS), "predicted")
    np.testing.assert_allclose(factor, scales / math.sqrt(2), rtol=1e-9)


def test_a_measured_factor_is_drawn_in_its_regime_with_the_range_of_its_networks():
    axes = plots.phase_diagram("relu", FACTORS, 2.0).axes[0]
    points = {
        float(a.get_xdata()[0]): a for a in axes.get_lines() if len(a.get_xdata()) == 1 and a.get_markersize() == 6
    }
    for scale, kind, middle in (
        (0.5, "vanishing", math.sqrt(0.35 * 0.36)),
        (1.414, "healthy", 1.0),
        (2.0, "exploding", math.sqrt(2)),
    ):
        assert to_hex(points[scale].get_color()) == PALETTE[kind]
        assert points[scale].get_marker() == plots.MARKER[kind]
        assert float(points[scale].get_ydata()[0]) == pytest.approx(middle, rel=1e-6), "the geometric mean"
    ranges = [c.get_segments()[0] for c in axes.collections]
    assert any(np.allclose(r, [[2.0, 1.3], [2.0, 1.5384615]]) for r in ranges), "a bar spans the networks"
    rings = [a for a in axes.get_lines() if a.get_markerfacecolor() == "none"]
    assert [float(r.get_xdata()[0]) for r in rings] == [2.0]


def test_overflow_draws_what_is_finite_and_marks_the_first_layer_that_is_not():
    figure = plots.overflow([[1e10, 1e37, INF, INF], [1e12, 1e38, 1e38, INF]], [10.5, 37.0, 64.5, 91.5], 3.0)
    layers, size = line(figure, "measured, 2 seeds")
    assert layers.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(size, [11, 37.5, 38, NAN], err_msg="the mean of the logarithm over finite seeds")
    assert line(figure, "predicted")[1].tolist() == [10.5, 37.0, 64.5, 91.5]
    crosses = [float(a.get_xdata()[0]) for a in figure.axes[0].get_lines() if a.get_marker() == "X"]
    assert crosses == [3, 4], "layer 3 of one network and layer 4 of the other"
    assert level(figure, math.log10(3.4028234663852886e38)), "float32's largest number is a line"
    assert "3 to 4 (predicted 3)" in figure.axes[0].get_title(loc="left")


def test_gradient_size_is_curvature_times_distance():
    figure = plots.gradient_size(walk(0.5, start=8.0)[:, 0], 3.0, 0.2)
    (curve,) = [a for a in figure.axes[0].get_lines() if len(a.get_ydata()) == 13]
    np.testing.assert_allclose(curve.get_ydata(), [24 * 0.5**t for t in range(13)])
    assert level(figure, 1.0), "the supposed threshold is a line"
    title = figure.axes[0].get_title(loc="left")
    assert "0.6" in title
    assert "converges" in title


def test_the_signal_of_each_step_is_drawn_up_to_its_first_inf():
    figure = plots.signal_by_step(breaking(), rows=[0, 1])
    np.testing.assert_array_equal(line(figure, "step 1")[1], [1, 2, 3, 4])
    np.testing.assert_array_equal(line(figure, "step 2")[1], [5, NAN, NAN, NAN])
    (cross,) = [a for a in figure.axes[0].get_lines() if a.get_marker() == "X" and len(a.get_xdata())]
    assert cross.get_xdata().tolist() == [2], "the layer that held inf"
    assert "Step 2: layer2" in figure.axes[0].get_title(loc="left")
    assert "NaN from layer 3 on" in [text.get_text() for text in figure.axes[0].texts]


def test_a_loss_far_above_guessing_stays_on_the_axis():
    figure = plots.learning_curve([5.8, 6.5, 3.1], 0.2, "net")
    assert figure.axes[0].get_ylim()[1] > 6.5
    assert to_hex(figure.axes[0].get_lines()[0].get_color()) == PALETTE["exploding"]
    assert plots.learning_curve([2.3, 1.0], 0.9, "net").axes[0].get_ylim() == (0, 3)


# --- the figures of a record -------------------------------------------------------------------------------------


def test_every_figure_of_a_record_meets_the_unusual_ones():
    takes_a_record = {
        name for name in ORDINARY if next(iter(inspect.signature(getattr(plots, name)).parameters)) == "record"
    }
    assert takes_a_record == set(OF_A_RECORD)


def by_label(axes) -> dict:
    return {artist.get_label(): np.asarray(artist.get_ydata(), dtype=float) for artist in axes.get_lines()}


def shades(axes) -> list[tuple[float, float]]:
    """From where to where along x something is shaded."""
    return [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches if hasattr(p, "get_width")]


def test_norms_are_drawn_for_every_layer_and_the_first_middle_and_last_are_named():
    some = run(layers=9)
    axes = plots.gradient_norms(some).axes[0]
    drawn_lines = by_label(axes)
    for n, layer in enumerate(some.layers):
        np.testing.assert_array_equal(drawn_lines[layer], some.gradient_norm[:, n], err_msg=layer)
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["layer1", "layer5", "layer9"]
    ink = [artist.get_alpha() for artist in axes.get_lines()[:9]]
    assert all(darker > lighter for darker, lighter in itertools.pairwise(ink)), "first to last is a scale"
    styles = {str(artist._unscaled_dash_pattern) for artist in axes.get_lines() if artist.get_label() in named}
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
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["tanh1: saturated", "relu1: dead"]
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
    assert "not finite" in [text.get_text() for text in axes.texts]
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


def test_each_remedy_is_a_row_in_the_colour_of_its_gradient():
    ratio = {"nothing": [1e-9, 1e-7], "batch norm": [50.0, 0.02, 1.0], "wild": [1e4]}
    accuracy = {"nothing": [0.1, 0.12], "batch norm": [0.8, 0.9, 0.7], "wild": [0.3]}
    figure = plots.remedies(ratio, accuracy)
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
    figure = plots.through_time(CURVES, [1e-9, 1e-5, 1.0])
    x, y = line(figure, "RNN")
    assert x.tolist() == [1, 2, 3]
    assert np.allclose(y, [1e-7, 1e-4, 1.0])
    assert np.allclose(line(figure, "predicted")[1], [1e-9, 1e-5, 1.0])
    extent = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData).get_points()[:, 1]
    assert np.allclose(extent, [1e-8, 1.0])


def test_a_threshold_marks_just_the_steps_above_it():
    figure = plots.clipping_threshold([1.0, 2.0, 3.0, 10.0], 2.0)
    assert line(figure, "shortened")[0].tolist() == [3, 4]
    assert line(figure, "left alone")[0].tolist() == [1, 2]
    assert level(figure, 2.0)


def test_arrows_end_where_clipping_on_paper_ends():
    figure = plots.clipped_arrows(torch.tensor([4.0, 3.0]), 2.0)
    for name, end in (("gradient", (4, 3)), ("by norm", (1.6, 1.2)), ("by value", (2, 2))):
        assert np.allclose(np.ravel(line(figure, name)), end), name


def test_a_walk_on_a_surface_is_drawn_where_it_went_while_it_is_in_the_picture():
    path = torch.tensor([[0.1, 0.2], [0.5, 0.5], [1e9, 0.5]], dtype=torch.float64)
    figure = plots.surface_walk([0, 1], [0, 1], np.eye(2), path, "far")
    drawn_path = next(a for a in figure.axes[0].get_lines() if len(a.get_xdata()) == 3).get_xydata()
    assert np.allclose(drawn_path[:2], path[:2])
    assert drawn_path[2, 0] > 10
    assert "longest step 1e+09" in figure.axes[0].get_title(loc="left")


def test_a_signal_and_a_gradient_that_are_kept_stay_on_the_line_of_one():
    figure = plots.there_and_back([[1.0, 1.0, 1.0]], [[1e-4, 1e-2, 1.0]], "net")
    assert np.allclose(line(figure, "signal, going forward")[1], 1)
    assert level(figure, 1.0)
    assert np.allclose(line(figure, "gradient, going back")[1], [1e-4, 1e-2, 1.0])


def test_singular_values_are_shown_relative_to_their_root_mean_square():
    figure = plots.singular_values({"gaussian": [[30.0, 10.0, 0.0]]}, "net")
    _, shown = line(figure, "gaussian")
    rms = math.sqrt((900 + 100) / 3)
    assert np.allclose(shown[:2], [30 / rms, 10 / rms]) and np.isnan(shown[2]), "0 has no place on a logarithmic axis"


def test_shares_are_drawn_against_their_setting():
    figure = plots.against([1, 10], {"a": [[0.2, 0.4], [0.4, 0.8]]}, "t", ("x", "y"))
    x, y = line(figure, "a")
    assert x.tolist() == [1, 10]
    assert np.allclose(y, [0.3, 0.6])


# --- long records ------------------------------------------------------------------------------------------------


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
            rows = plots._drawn(values)
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
