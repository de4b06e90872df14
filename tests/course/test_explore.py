"""An explorer draws each combination once, and its controls lead to the frame they name, with no kernel to help."""

import functools
import itertools
import re
from html import escape
from xml.etree import ElementTree

import ipywidgets as widgets
import pytest
from ipywidgets.widgets.widget import _instances
from ipywidgets.widgets.widget_link import Link
from matplotlib.figure import Figure

from gradclinic.course import figures
from gradclinic.course.explore import explore, show
from gradclinic.plots import PALETTE, TEXT


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


def controls(explorer: widgets.VBox) -> list[widgets.Widget]:
    return [child for child in explorer.children if hasattr(child, "options")]


def links() -> list[widgets.Widget]:
    """Every link in the widget models, which is all that a page without a kernel has."""
    return [widget for widget in _instances.values() if isinstance(widget, Link)]


def follow_links() -> None:
    """What the browser does: controls pass their index along their links."""
    for link in links():
        (source, name), (target, trait) = link.source, link.target
        setattr(target, trait, getattr(source, name))


def seen(explorer: widgets.VBox) -> str:
    """The HTML a reader sees: each stack shows the child of its index."""
    (widget,) = [child for child in explorer.children if not hasattr(child, "options")]
    while isinstance(widget, widgets.Stack):
        widget = widget.children[widget.selected_index]
    return widget.value


def choose(explorer: widgets.VBox, *indices: int) -> str:
    for control, index in zip(controls(explorer), indices, strict=True):
        control.index = index
    follow_links()
    return seen(explorer)


def ids(html: str) -> list[str]:
    return re.findall(r'\sid="([^"]+)"', html)


def frames(explorer: widgets.Widget) -> list[str]:
    if isinstance(explorer, widgets.HTML):
        return [explorer.value]
    return [html for child in getattr(explorer, "children", ()) for html in frames(child)]


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
def test_the_controls_lead_to_the_frame_they_name(shape):
    explorer = explore(lambda **values: picture(named(**values)), **shape)
    assert [c.description for c in controls(explorer)] == list(shape), "one control per argument, in their order"
    first = named(**{name: options[0] for name, options in shape.items()})
    assert f'aria-label="{first}"' in seen(explorer), "the first frame is shown before anything is moved"
    for indices in itertools.product(*(range(len(options)) for options in shape.values())):
        values = {name: options[i] for (name, options), i in zip(shape.items(), indices, strict=True)}
        assert f'aria-label="{named(**values)}"' in choose(explorer, *indices), f"at {indices} another frame is shown"


def test_two_explorers_on_a_page_do_not_move_each_other():
    one, two = (explore(lambda n, who=who: picture(f"{who} {n}"), n=[1, 2, 3]) for who in ("one", "two"))
    assert "one 3" in choose(one, 2)
    assert "one 3" in seen(one)
    assert "two 1" in seen(two)


def test_a_mapping_shows_labels_and_passes_values():
    passed = []

    def draw(start):
        passed.append(start)
        return picture(f"start {start}")

    explorer = explore(draw, start={"He": 2**0.5, "LeCun": 1.0})
    assert passed == [2**0.5, 1.0]
    (control,) = controls(explorer)
    assert list(control.options) == ["He", "LeCun"]
    assert "start 1.0" in choose(explorer, 1)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], widgets.SelectionSlider),
        ([0.5, 2.0], widgets.SelectionSlider),
        (range(3), widgets.SelectionSlider),
        (["a", "b"], widgets.ToggleButtons),
        ([True, False], widgets.ToggleButtons),
        ([1, "a"], widgets.ToggleButtons),
    ],
)
def test_numbers_have_a_slider_and_names_have_buttons(values, kind):
    (control,) = controls(explore(lambda v: picture(f"{v}"), v=values))
    assert type(control) is kind


def test_the_name_of_a_control_is_written_as_words():
    (control,) = controls(explore(lambda weight_scale: picture("a figure"), weight_scale=[1]))
    assert control.description == "weight scale"


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
    assert "number 2" in choose(explorer, 1)


# --- what a drawing is made of -----------------------------------------------------------------------------------


def test_several_figures_stand_in_one_row_each_with_its_text():
    explorer = explore(lambda n: (picture(f"left {n}"), picture(f"right {n}")), n=[1, 2])
    html = choose(explorer, 1)
    assert re.findall(r'aria-label="([^"]+)"', html) == ["left 2", "right 2"]
    assert html.count("gradclinic-figures") == 1


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
    page += [html for explorer in (explore(draw, n=[1, 2]), explore(other, n=[1, 2])) for html in frames(explorer)]
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
    shown = "".join(show(picture(f"in {name}", colour)).data for name, colour in {**PALETTE, "text": TEXT}.items())
    shown += show(*real()).data
    for name, colour in PALETTE.items():
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
