"""An explorer draws each combination once, over the same axes, and its controls lead to the frame they name."""

import functools
import itertools
import json
import re
from html import escape
from xml.etree import ElementTree

import numpy as np
import pytest
from bs4 import BeautifulSoup
from IPython.display import HTML
from matplotlib.figure import Figure

from gradclinic.course import figures
from gradclinic.course.explore import explore, show
from gradclinic.plots import KINDS, PALETTE, TEXT
from tests.helpers.browser import new_page, repainted


def picture(text: str, colour: str = TEXT) -> Figure:
    """A small figure whose text alternative is ``text``."""
    figure = Figure(figsize=(1, 1))
    axes = figure.subplots()
    axes.plot([0, 2], [0, 1], color=colour, marker="o")
    axes.set_axis_off()  # axes have matplotlib's own colours outside the style of ``plots``
    axes.set_xlim(0, 1)  # the line runs out of the axes, so it is clipped, and the clip path has an id
    figure.set_label(text)
    return figure


def named(**values) -> str:
    return ", ".join(f"{name} is {value}" for name, value in values.items())


def parsed(explorer: HTML) -> BeautifulSoup:
    return BeautifulSoup(explorer.data, "html.parser")


def controls(explorer: HTML) -> list:
    return parsed(explorer).select(".gradclinic-control")


def name_of(control) -> str:
    return control.find(["legend", "span"]).text


def labels(control) -> list[str]:
    if control.find("input", type="range"):
        return json.loads(control["data-labels"])
    return [label.text for label in control.select("label")]


def opened(control) -> str:
    """What a control shows first."""
    return labels(control)[int(control.select_one("input[type=range], input[checked]")["value"])]


def seen(explorer: HTML) -> str:
    """The drawing that a reader sees before anything is moved, and where no script runs."""
    return parsed(explorer).select_one(".gradclinic-frame").decode_contents()


def frames(explorer: HTML) -> list[str]:
    """Every drawing, in the order of the combinations."""
    data = json.loads(parsed(explorer).find("script", type="application/json").string)
    return ["".join(data["parts"][part] for part in frame) for frame in data["frames"]]


def ids(html: str) -> list[str]:
    return re.findall(r'\sid="([^"]+)"', html)


# --- every combination, once -------------------------------------------------------------------------------------

SHAPES = [
    {"depth": [5, 10, 20]},
    {"activation": ["tanh", "relu"], "depth": [1, 2, 3]},
    {"a": [1.0, 2.0], "b": ["x", "y", "z"], "c": [True, False]},
    {"only": ["one"]},
]


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
def test_every_combination_is_drawn_exactly_once(shape):
    calls = []

    def draw(**values):
        calls.append(tuple(values.items()))
        return picture(named(**values))

    explore(draw, **shape)
    expected = [tuple(zip(shape, values, strict=True)) for values in itertools.product(*shape.values())]
    assert sorted(map(str, calls)) == sorted(map(str, expected)), "each combination must be drawn, and only once"


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
def test_the_controls_name_the_drawings_in_their_order(shape):
    explorer = explore(lambda **values: picture(named(**values)), **shape)
    assert [name_of(control) for control in controls(explorer)] == list(shape), "one control per argument"
    assert [labels(control) for control in controls(explorer)] == [[f"{v}" for v in row] for row in shape.values()]
    texts = [re.search(r'aria-label="([^"]+)"', frame)[1] for frame in frames(explorer)]
    combinations = itertools.product(*shape.values())
    assert texts == [named(**dict(zip(shape, values, strict=True))) for values in combinations]
    first = named(**{name: options[0] for name, options in shape.items()})
    assert f'aria-label="{first}"' in seen(explorer), "the first one is shown before anything is moved"


@pytest.mark.browser
@pytest.mark.parametrize("shape", SHAPES[:3], ids="-".join)
def test_in_a_browser_the_controls_lead_to_the_frame_they_name(shape, browser):
    """Two on one page, and no script but their own."""
    one, two = (explore(lambda who=who, **values: picture(f"{who}: {named(**values)}"), **shape) for who in "ab")
    with new_page(browser) as page:
        page.set_content(f"<html><body>{one.data}{two.data}</body></html>")
        explorers = page.locator(".gradclinic-explorer").all()
        for indices in itertools.product(*(range(len(options)) for options in shape.values())):
            for control, index in zip(explorers[0].locator(".gradclinic-control").all(), indices, strict=True):
                if control.locator("input[type=range]").count():
                    control.locator("input").fill(str(index))
                else:
                    control.locator("label").nth(index).click()
            repainted(page)
            values = {name: options[i] for (name, options), i in zip(shape.items(), indices, strict=True)}
            shown, other = (explorer.locator("svg").get_attribute("aria-label") for explorer in explorers)
            assert shown == f"a: {named(**values)}"
            assert explorers[0].locator(".gradclinic-said").text_content() in ("", shown), "and it is read aloud"
            assert other == "b: " + named(**{name: options[0] for name, options in shape.items()})
            said = [output.text_content() for output in explorers[0].locator("output").all()]
            slid = [name for name, options in shape.items() if len(options) > 2 and isinstance(options[0], int)]
            assert said == [str(values[name]) for name in slid]
        assert page.noise == []


def test_drawings_that_are_described_alike_say_what_was_chosen():
    explorer = explore(lambda weight_scale, kind: picture("a line"), weight_scale=[1, 2, 3], kind=["a", "b"])
    texts = [re.search(r'aria-label="([^"]+)"', frame)[1] for frame in frames(explorer)]
    assert texts[:2] == ["weight scale 1, kind a. a line", "weight scale 1, kind b. a line"]
    assert len(set(texts)) == 6


def test_a_figure_that_is_drawn_twice_keeps_its_own_words():
    figure = picture("a line")
    explorer = explore(lambda n: figure, n=[1, 2])
    assert 'aria-label="n 2. a line"' in frames(explorer)[1]
    assert figure.get_label() == "a line"


SAME = """html => {
    const fresh = document.createElement('template');
    fresh.innerHTML = html;
    return document.querySelector('.gradclinic-frame').firstElementChild.isEqualNode(fresh.content.firstElementChild);
}"""


@pytest.mark.browser
def test_in_a_browser_a_drawing_becomes_the_next_one_whole(browser):
    """Only what differs is drawn again, so nothing of the last one may stay: other lines, letters, panels, legends."""

    def draw(n):
        figure = Figure(figsize=(2 + n, 2))
        axes = figure.subplots(1, n, squeeze=False)[0]
        for place, panel in enumerate(axes):
            for line in range(n):
                panel.plot([0, line + place], [n, 1], "-o" if line % 2 else ":", label=f"{n}, {line}")
            panel.set_title(f"{n} of {place}" if place else "")
        if n % 2:
            axes[0].legend()
        figure.set_label(f"{n} panels")
        return [figure] * (1 + n % 2)

    explorer = explore(draw, n=[1, 2, 3, 4])
    with new_page(browser) as page:
        page.set_content(explorer.data)
        drawings = frames(explorer)
        for index in (3, 0, 2, 1, 0, 1, 3, 2):
            page.locator("input").fill(str(index))
            repainted(page)
            assert page.evaluate(SAME, drawings[index]), index
        assert page.noise == []


def test_without_a_script_there_is_a_drawing_and_no_dead_control():
    explorer = parsed(explore(lambda n: picture(f"{n}"), n=[1, 2]))
    assert explorer.find("form").has_attr("hidden")
    assert explorer.select_one(".gradclinic-frame svg")["aria-label"] == "1"


def test_a_mapping_shows_labels_and_passes_values():
    passed = []

    def draw(start):
        passed.append(start)
        return picture(f"start {start}")

    explorer = explore(draw, start={"He": 2**0.5, "LeCun": 1.0})
    assert passed == [2**0.5, 1.0]
    (control,) = controls(explorer)
    assert labels(control) == ["He", "LeCun"]
    assert "start 1.0" in frames(explorer)[1]


@pytest.mark.parametrize(
    ("values", "slides"),
    [
        ([1, 2, 3], True),
        ([0.5, 2.0, 2.5], True),
        (range(3), True),
        ({"2⁻²": -2, "2⁰": 0, "2²": 2}, True),
        ([1, 2], False),
        (["a", "b", "c"], False),
        ([True, False], False),
        ([1, "a", 2], False),
        ({"LeCun": 1.0, "He": 1.4, "tanh": 1.7}, False),
    ],
)
def test_three_numbers_have_a_slider_and_anything_else_has_buttons(values, slides):
    (control,) = controls(explore(lambda v: picture(f"{v}"), v=values))
    assert bool(control.find("input", type="range")) == slides


@pytest.mark.parametrize("values", [[3, 2, 1], [1, 3, 2], [1, 1, 2]])
def test_a_slider_rises(values):
    with pytest.raises(ValueError, match=r"'v'.*rise"):
        explore(lambda v: picture(f"{v}"), v=values)


def test_what_is_shown_first_can_be_chosen():
    shape = {"a": [1, 2, 3], "b": {"one": 1, "other": None}, "c": ["x", "y"]}
    explorer = explore(lambda **values: picture(named(**values)), {"a": 2, "b": "other"}, **shape)
    assert [opened(control) for control in controls(explorer)] == ["2", "other", "x"]
    assert 'aria-label="a is 2, b is None, c is x"' in seen(explorer)
    with pytest.raises(ValueError, match=r"d.*\['a', 'b', 'c'\]"):
        explore(lambda **values: picture("never"), {"d": 2}, **shape)
    with pytest.raises(ValueError, match=r"a=4.*'1', '2', '3'"):
        explore(lambda **values: picture("never"), {"a": 4}, **shape)


def test_the_name_of_a_control_is_written_as_words():
    (control,) = controls(explore(lambda weight_scale: picture("a figure"), weight_scale=[1]))
    assert name_of(control) == "weight scale"


# --- one range of axes ---------------------------------------------------------------------------------------------


def curve(level: float, scale: str = "log", name: str = "gradient") -> Figure:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [level, level], gid="curve")
    axes.set(yscale=scale, ylabel=name, ylim=(level / 10, level * 10))
    figure.set_label(f"a curve at {level} {scale} {name}")
    return figure


def height(frame: str) -> float:
    """Where in a drawing its curve lies, in points from the top."""
    return float(re.search(r'<g id="curve"> <path d="M \S+ (\S+)', frame)[1])


def test_a_curve_that_lies_lower_is_drawn_lower():
    drawn = frames(explore(curve, level=[1e-25, 1e-4, 1.0]))
    heights = [height(frame) for frame in drawn]
    first, second = heights[0] - heights[1], heights[1] - heights[2]
    assert first > second > 0, "the first line lies lowest"
    assert abs(first / second - 21 / 4) < 0.01, "and in proportion to the powers of ten"


def test_axes_of_another_kind_or_name_keep_a_range_of_their_own():
    by_kind = frames(explore(lambda kind: curve(*kind), kind={"a": (1e-9, "log"), "b": (1.0, "linear")}))
    assert abs(height(by_kind[0]) - height(frames(explore(curve, level=[1e-9]))[0])) < 0.01
    by_name = frames(explore(lambda n: curve(*n), n={"a": (1e-9, "log", "loss"), "b": (1.0, "log", "rate")}))
    assert abs(height(by_name[0]) - height(by_name[1])) < 0.01


def test_what_drawings_have_in_common_is_kept_once():
    data = explore(curve, level=[10.0**-i for i in range(10, -10, -1)]).data
    assert len(data) < 0.4 * sum(map(len, frames(explore(curve, level=[10.0**-i for i in range(10, -10, -1)]))))


def test_no_more_than_250_frames_are_drawn():
    drawn = []

    def draw(a, b):
        drawn.append((a, b))
        return figure

    figure = Figure(figsize=(0.1, 0.1))
    figure.set_label("nothing but an edge of 250")
    with pytest.raises(ValueError, match="251"):
        explore(draw, a=range(251), b=[0])
    assert not drawn, "it is refused before the work, not after"
    assert len(frames(explore(draw, a=range(25), b=range(10)))) == 250


def test_a_partial_function_can_be_explored():
    explorer = explore(functools.partial(lambda text, n: picture(f"{text} {n}"), "number"), n=[1, 2])
    assert "number 2" in frames(explorer)[1]


# --- what a drawing is made of -----------------------------------------------------------------------------------


def test_several_figures_stand_in_one_row_each_with_its_text():
    explorer = explore(lambda n: (picture(f"left {n}"), picture(f"right {n}")), n=[1, 2])
    html = frames(explorer)[1]
    assert re.findall(r'aria-label="([^"]+)"', html) == ["left 2", "right 2"]
    assert html.count("gradclinic-figures") == 1


def several(*words: str) -> Figure:
    """A figure of panels side by side, each with its words."""
    figure = Figure(figsize=(2 * len(words), 1))
    for panel, text in zip(np.atleast_1d(figure.subfigures(1, len(words))), words, strict=True):
        panel.subplots().set_title(f"title of {text}")
        panel.set_label(text)
    figure.set_label("all of them")
    return figure


def test_each_panel_of_a_figure_is_a_drawing_of_its_own_so_that_they_can_stack():
    figure = several("one", "two", "three")
    html = show(figure).data
    assert re.findall(r'aria-label="([^"]+)"', html) == ["one", "two", "three"]
    for svg, text in zip(re.findall(r"<svg.*?</svg>", html, re.DOTALL), ("one", "two", "three"), strict=True):
        assert re.findall(r"title of (\w+)", svg) == [text], "it holds its own panel and no other"
        assert 'viewBox="0 0 144 72"' in svg, "and is as wide as its part of the figure"
    assert all(panel.get_visible() for panel in figure.subfigs), "the figure is left as it was"
    explorer = explore(lambda n: several(f"left {n}", f"right {n}"), n=[1, 2])
    assert re.findall(r'aria-label="([^"]+)"', frames(explorer)[1]) == ["left 2", "right 2"]
    figure.subfigs[1].set_label("")
    with pytest.raises(ValueError, match="text alternative"):
        show(figure)


def test_what_stands_at_an_axis_is_known_as_its_ticks():
    soup = BeautifulSoup(show(figures.activation_and_slope("tanh")).data, "html.parser")
    assert [tick.text.strip() for tick in soup.select(".ytick")] == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]


@pytest.mark.parametrize("text", ["a < b & c", 'she said "no"', "σ_w² ≥ 1"])
def test_the_text_alternative_survives_any_sign(text):
    svg = re.search(r"<svg.*</svg>", show(picture(text)).data, re.DOTALL).group()
    assert f'aria-label="{escape(text)}"' in svg
    root = ElementTree.fromstring(svg)  # an unescaped sign would not parse
    assert root.get("aria-label") == text
    assert root.get("role") == "img"


def real() -> list[Figure]:
    return [figures.activation_and_slope("tanh"), figures.learning_curve([2.3, 1.0], 0.9, "a net")]


def test_ids_are_unique_on_a_page_and_references_arrive():
    def draw(n):
        return picture(f"{n}"), picture(f"{n}")

    def other(n):
        return picture(f"other {n}")

    page = [show(*real()).data, show(picture("alone")).data]
    explorers = explore(draw, n=[1, 2]), explore(other, n=[1, 2])
    page += [frames(explorer)[1] for explorer in explorers]  # one drawing of each is on the page
    found = [id for html in page for id in ids(html)]
    assert len(found) >= 8, "this page must have ids, or the test sees nothing"
    assert len(found) == len(set(found)), f"{sorted(id for id in set(found) if found.count(id) > 1)} occur twice"
    for html in page:
        wanted = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
        assert wanted, "a drawing without a reference would show nothing here"
        assert wanted <= set(ids(html)), "what a drawing refers to must be inside the same drawing"


def test_the_same_figure_is_the_same_text_each_time():
    assert show(*real()).data == show(*real()).data, "a page that is built twice must not differ"
    make = functools.partial(explore, lambda n: picture(f"{n}"), n=[1, 2])
    assert frames(make()) == frames(make())


def test_every_colour_follows_the_theme_of_the_page():
    colours = PALETTE | {name: kind.color for name, kind in KINDS.items()}
    shown = "".join(show(picture(f"in {name}", colour)).data for name, colour in {**colours, "text": TEXT}.items())
    shown += show(*real()).data
    for name, colour in colours.items():
        assert f"var(--gradclinic-{name}, {colour})" in shown, f"{name} should be a variable with a fallback"
    assert "currentColor" in shown, "text takes the colour of the page's text"
    assert TEXT not in shown, "and no other"
    left = re.sub(r"var\(--gradclinic-\w+, #[0-9a-f]{6}\)", "", shown)
    assert not re.findall(r"[:\"\s](#[0-9a-fA-F]{3,8})\b", left), "a colour written out cannot turn light in the dark"
    assert not re.findall(r"\b(?:rgb|hsl)a?\(|(?:fill|stroke): *(?:black|white)", left), "nor can a named one"


def test_text_stays_text_and_nothing_asks_another_host():
    data = show(*real()).data
    assert "<text" in data, "text can be searched, copied and read aloud"
    assert "accuracy 0.90" in data, "words as they stand"
    assert "<metadata" not in data
    assert "<script" not in data
    fetched = re.findall(r'(?:src|href|url)\s*[=(]\s*"?(https?:[^")\s]+)', data)
    assert not fetched, f"a drawing fetches {fetched}"


def test_a_small_number_in_a_drawing_keeps_its_digits():
    figure = Figure()
    figure.subplots().set(title="rate 0.0001234", xlabel="x", ylabel="y")
    figure.set_label("a rate")
    svg = show(figure).data
    assert "rate 0.0001234" in svg, "only coordinates are rounded, not what is read"
    assert not re.search(r'(?: d| x| y)="[^"]*\d\.\d{3}', svg), "and coordinates are, or a page weighs twice as much"
