"""Explorers: every combination is drawn once, and the browser only chooses."""

import itertools
import re

import ipywidgets as widgets
import pytest
from matplotlib.figure import Figure

from gradlab import plots
from gradlab.explore import explore, show


def figure_of(text: str) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], color=plots.PALETTE["vanishing"])
    figure.set_label(text)
    return figure


def controls_of(box: widgets.VBox) -> list:
    return list(box.children[:-1])


@pytest.fixture
def links(monkeypatch):
    """Every link made in the browser, as (control, its trait, target, its trait)."""
    made = []
    monkeypatch.setattr(widgets, "jslink", lambda source, target: made.append((*source, *target)))
    return made


def chosen(box: widgets.VBox, links: list, choice: list[int]) -> str:
    """The frame a reader sees after moving the controls: followed through the links alone, as the browser does."""
    for control, index in zip(controls_of(box), choice, strict=True):
        for source, trait, target, target_trait in links:
            if source is control:
                assert (trait, target_trait) == ("index", "selected_index")
                target.selected_index = index
    shown = box.children[-1]
    while isinstance(shown, widgets.Stack):
        shown = shown.children[shown.selected_index]
    return shown.value


def test_every_combination_is_drawn_once_and_reached_by_its_controls(links):
    drawn = []

    def draw(depth, start, scale):
        drawn.append((depth, start, scale))
        return figure_of(f"depth {depth}, start {start}, scale {scale}.")

    depths, starts, scales = [5, 10, 20], ["he", "xavier"], {"small": "s", "large": "l"}
    box = explore(draw, depth=depths, start=starts, scale=scales)
    assert drawn == list(itertools.product(depths, starts, scales.values()))
    for choice in itertools.product(range(3), range(2), range(2)):
        value = chosen(box, links, list(choice))
        text = f"depth {depths[choice[0]]}, start {starts[choice[1]]}, scale {list(scales.values())[choice[2]]}."
        assert f'aria-label="{text}"' in value and 'role="img"' in value


def test_numbers_make_a_slider_and_words_make_buttons():
    box = explore(lambda **_: figure_of("a figure."), weight_scale=[0.5, 1.0], start=["he", "xavier"])
    slider, buttons = controls_of(box)
    assert isinstance(slider, widgets.SelectionSlider) and slider.description == "weight scale"
    assert isinstance(buttons, widgets.ToggleButtons) and buttons.options == ("he", "xavier")


def test_a_row_of_figures_stands_in_one_frame(links):
    box = explore(lambda n: (figure_of(f"left {n}."), figure_of(f"right {n}.")), n=[1, 2])
    assert chosen(box, links, [1]).count("<svg") == 2
    assert "left 2." in chosen(box, links, [1]) and "right 2." in chosen(box, links, [1])


def test_ids_in_a_drawing_are_its_own():
    def ids(n):
        return set(re.findall(r' id="([^"]+)"', show(figure_of(f"figure {n}.")).data))

    assert not ids(1) & ids(2)
    html = show(figure_of("a figure.")).data
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r' id="([^"]+)"', html))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(re.findall(r' id="([^"]+)"', html))


def test_a_drawing_is_the_same_every_time_and_takes_the_pages_colours():
    one, other = (show(plots.activation_and_slope("tanh")).data for _ in range(2))
    assert one == other
    for name, colour in plots.PALETTE.items():
        assert colour not in one.replace(f"var(--gradlab-{name}, {colour})", "")
    assert plots.TEXT not in one and "currentColor" in one
    assert "var(--gradlab-vanishing" in one


def test_text_is_escaped():
    assert 'aria-label="5 &lt; 6 &amp; &quot;7&quot;."' in show(figure_of('5 < 6 & "7".')).data


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="text alternative"):
        show(figure_of(""))
    with pytest.raises(ValueError, match="at least one figure"):
        show()
    with pytest.raises(TypeError, match="Figure"):
        show("a figure")
    with pytest.raises(ValueError, match="at least one control"):
        explore(lambda: figure_of("a figure."))
    with pytest.raises(ValueError, match="'depth' has no values"):
        explore(lambda depth: figure_of("a figure."), depth=[])
    with pytest.raises(ValueError, match=r"400 combinations.*250"):
        explore(lambda a, b: figure_of("a figure."), a=range(20), b=range(20))
    with pytest.raises(ValueError, match="text alternative"):
        explore(lambda a: figure_of(""), a=[1, 2])
