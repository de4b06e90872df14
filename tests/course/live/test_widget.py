"""The live lab in a notebook: what its module does with a model, and the record that comes back."""

import json
import math
import subprocess

import numpy as np
import pytest

from gradclinic import diagnose
from gradclinic.course import live
from gradclinic.course.live.widget import MODULE
from tests.helpers.browser import new_page
from tests.helpers.live import FOLDER, SETTINGS, as_text, engine, node

# A stand-in for the notebook's side: it holds what is synchronised, and notes what was sent to the kernel.
RENDER = """async (source) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const held = { settings: %s, held: {} };
  window.sent = null;
  const model = {
    get: (name) => held[name],
    set: (name, value) => { held[name] = value; },
    save_changes: () => { window.sent = JSON.parse(JSON.stringify(held.held)); },
  };
  window.end = module.default.render({ model, el: document.body });
}"""


@pytest.fixture
def shown(browser):
    """A function that shows a widget as a notebook would."""
    with new_page(browser) as page:

        def show(widget) -> object:
            page.goto("about:blank")
            page.evaluate(RENDER % json.dumps(widget.settings), MODULE)
            return page

        yield show
        assert page.noise == []


def test_its_record_comes_back_when_it_pauses(shown):
    widget = live.lab(depth=3, activation="relu", start="he", rate=0.01)
    assert widget.record is None
    page = shown(widget)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("() => /Step \\(epoch\\)\\s*\\d{2,}/.test(document.body.textContent)")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.wait_for_function("() => window.sent && window.sent.step")
    widget.held = page.evaluate("() => window.sent")
    record = widget.record
    assert record.layers == ("layer1", "layer2", "layer3", "readout")
    assert record.step[0] == 1
    assert record.told_loss[0] == pytest.approx(math.log(10), rel=1)
    assert np.isfinite(record.gradient_norm).all()
    assert diagnose(record).kind in ("healthy", "undecided")
    page.evaluate("() => window.end()")
    assert page.get_by_role("button").count() == 0


def test_what_is_not_finite_comes_back_as_it_was(shown):
    widget = live.lab(depth=20, activation="relu", start=20.0, optimizer="sgd", rate=1.0)
    page = shown(widget)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("() => window.sent && window.sent.first_bad_loss")
    widget.held = page.evaluate("() => window.sent")
    assert not np.isfinite(widget.record.told_loss[-1])
    assert diagnose(widget.record).kind in ("overflow", "exploding")


def test_a_field_that_no_record_has_is_refused_and_texts_are_numbers():
    held = {"step": [1], "layers": ["layer1"], "activations": [], "saturation": [[]], "dead": [[]], "loss": ["NaN"]}
    with pytest.raises(ValueError, match=r"gradient_norm.*missing"):
        live.record_of(held)
    with pytest.raises(ValueError, match=r"no colour.*known"):
        live.record_of(held | {"colour": "red"})


EDGES = [
    {"depth": 1, "width": 16, "start": 0.1, "rate": 1e-6, "epsilon": 1e-10, "decay": 1e-6, "clip": 0.01, "seed": 0},
    {"depth": 30, "width": 64, "start": 20.0, "rate": 10.0, "epsilon": 1.0, "decay": 1.0, "clip": 100.0},
    {"start": "he", "decay": 0.0, "clip": 0.0, "seed": 2**31 - 1},
]


@pytest.mark.parametrize("asked", EDGES, ids=["lowest", "highest", "off"])
def test_what_python_takes_the_page_takes(asked):
    settings = live.lab(**asked).settings
    code = (
        FOLDER / "settings.js"
    ).read_text() + f"console.log(JSON.stringify(merged(DEFAULTS, {json.dumps(settings)})));"
    taken = json.loads(subprocess.run([node(), "-"], input=code, check=True, capture_output=True, text=True).stdout)
    assert taken == settings


@pytest.fixture(scope="module")
def exported():
    """A record as the page exports it."""
    with engine() as found:
        question = {"settings": SETTINGS | {"activation": "relu"}, "count": 16, "steps": 3, "parameters": None}
        x = np.random.default_rng(0).normal(size=(48, 64))
        yield found.ask(**question, x=as_text(x), t=[1, 2, 3] * 16)["record"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("step", value) for value in (5, "abc", [1])),
        *((name, []) for name in ("saturation", "nonfinite", "layers")),
        *(("chance_loss", value) for value in ("hello", None)),
        ("loss", None),
        ("gradient_norm", [[1.0], [1.0], [1.0]]),
    ],
)
def test_a_broken_export_is_refused(exported, name, value):
    assert diagnose(live.record_of(exported)).kind == "undecided"
    with pytest.raises(ValueError, match="no record that the page exported"):
        live.record_of(exported | {name: value})
