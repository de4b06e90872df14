"""The live lab on its page: it trains from disk, with no request, by mouse and by keyboard, and says what it sees."""

import json
import subprocess
import sys

import pytest

from gradclinic.course import live, theory
from tests.helpers import ROOT
from tests.helpers.browser import check_letters, new_page
from tests.helpers.live import FOLDER, node

STEP = r"""() => {
    const told = document.querySelector('.gradclinic-lab').textContent.match(/Step \(epoch\)\s*([\d,]+)/);
    return told ? Number(told[1].replace(',', '')) : -1;
}"""


@pytest.fixture
def lab(site, browser, request):
    """The page of the live lab, opened from disk, with the network drawn and not yet trained."""
    width, theme = getattr(request, "param", (1280, "light"))
    with new_page(browser, theme, width) as page:
        page.goto((site / "book" / "live.html").as_uri())
        page.get_by_role("button", name="Train", exact=True).wait_for()
        yield page
        assert page.noise == []
        assert all(address.startswith(("file:", "blob:", "data:")) for address in page.asked)


def steps(page) -> int:
    return page.evaluate(STEP)


def past(page, count: int) -> None:
    page.wait_for_function(f"() => ({STEP})() >= {count}")


@pytest.mark.parametrize("lab", [(1280, "light"), (390, "dark")], indirect=True, ids=["wide", "phone"])
def test_it_trains_from_disk_and_gives_the_verdict_as_text(lab):
    lab.get_by_role("button", name="Train", exact=True).click()
    past(lab, 60)
    lab.get_by_role("button", name="Pause", exact=True).click()
    said = lab.locator("[aria-live=polite]", has_text="Vanishing")  # it is renewed now and then, for who hears it
    said.wait_for()
    assert "first hidden layer" in said.inner_text()
    assert lab.evaluate("() => document.scrollingElement.scrollWidth <= innerWidth")


def test_it_changes_while_it_trains_and_stops_at_the_end(lab):
    lab.get_by_role("button", name="Train", exact=True).click()
    past(lab, 20)
    lab.get_by_role("button", name="batch", exact=True).click()
    past(lab, 80)
    lab.get_by_text("Changed on the way").wait_for()
    lab.get_by_role("slider", name="Depth").fill("2")  # the third stop: a new network, which goes on by itself
    lab.wait_for_function("() => document.querySelector('.gradclinic-lab').textContent.includes('3 layers')")
    past(lab, 100)
    lab.get_by_text("Healthy").first.wait_for()


def test_every_control_works_by_keyboard(lab):
    train = lab.get_by_role("button", name="Train", exact=True)
    train.focus()
    lab.keyboard.press("Enter")
    past(lab, 10)
    lab.keyboard.press("Enter")
    slider = lab.get_by_role("slider", name="Depth")
    slider.focus()
    for _ in range(3):
        lab.keyboard.press("ArrowLeft")
    assert "17 layers" in slider.get_attribute("aria-valuetext")


def test_reset_begins_the_first_network_again(lab):
    lab.get_by_role("button", name="Train", exact=True).click()
    past(lab, 20)
    lab.get_by_role("slider", name="Learning rate").fill("30")
    lab.get_by_role("button", name="Reset", exact=True).click()
    lab.wait_for_function(f"() => ({STEP})() === 0")
    assert "0.003" in lab.get_by_role("slider", name="Learning rate").get_attribute("aria-valuetext")


def test_a_row_of_the_past_is_not_given_the_verdict_of_the_run(lab):
    lab.get_by_role("button", name="Train", exact=True).click()
    past(lab, 60)
    lab.get_by_role("button", name="Pause", exact=True).click()
    lab.get_by_text("now: vanishing").wait_for()
    lab.get_by_role("slider", name="Step").focus()
    lab.keyboard.press("Home")
    lab.get_by_text("after step 0", exact=True).wait_for()


@pytest.mark.parametrize("lab", [(390, "light")], indirect=True, ids=["phone"])
def test_the_table_of_all_layers_scrolls_by_itself(lab):
    lab.get_by_text("The numbers of every layer").click()
    lab.get_by_role("table").wait_for()
    assert lab.evaluate("() => document.scrollingElement.scrollWidth <= innerWidth")


def test_an_address_of_nonsense_changes_nothing(lab):
    lab.get_by_role("slider", name="Depth").fill("6")
    lab.wait_for_function("() => location.hash.includes('depth=7')")
    lab.evaluate("() => { location.hash = '#depth=999'; }")
    lab.wait_for_timeout(500)
    assert lab.get_by_role("slider", name="Depth").get_attribute("aria-valuetext") == "7 layers"


def test_the_address_keeps_the_network(lab, browser):
    lab.get_by_role("button", name="tanh", exact=True).click()
    lab.wait_for_function("() => location.hash.includes('activation=tanh')")
    with new_page(browser) as other:
        other.goto(lab.url)
        pressed = other.get_by_role("button", name="tanh", exact=True)
        pressed.wait_for()
        assert pressed.get_attribute("aria-pressed") == "true"
        assert other.noise == []


def test_without_a_worker_it_trains_all_the_same(site, browser):
    with new_page(browser) as page:
        page.add_init_script("window.Worker = class { constructor() { throw new Error('none here'); } };")
        page.goto((site / "book" / "live.html").as_uri())
        page.get_by_role("button", name="Train", exact=True).click()
        past(page, 10)
        assert page.noise == []


SETTINGS = [
    {},
    {"depth": 3, "activation": "leaky_relu", "start": 1.5, "norm": "batch", "skip": "scaled", "optimizer": "momentum"},
    {
        "depth": 2,
        "activation": "silu",
        "start": "pytorch",
        "norm": "layer",
        "skip": "plain",
        "clip": 0.5,
        "decay": 1e-3,
    },
]


@pytest.mark.long
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.get("activation", "as it comes"))
def test_what_is_copied_as_python_runs_as_it_stands(tmp_path, settings):
    parts = "".join((FOLDER / f"{name}.js").read_text() for name in live.PARTS[:-1])
    code = f"{parts}\nconsole.log(gradclinicPython({json.dumps(settings)}));"
    text = subprocess.run([node(), "-"], input=code, check=True, capture_output=True, text=True).stdout
    for name, value in settings.items():
        if isinstance(value, float | int) and value:
            assert str(value) in text, name
    file = tmp_path / "copied.py"
    file.write_text(text.replace("epochs=20", "epochs=1"))
    ended = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Diagnosis after 22 steps" in ended.stdout
    assert str(ROOT) not in text


# --- one layer as a machine ------------------------------------------------------------------------------------------


@pytest.fixture
def layer(site, browser, request):
    """The page with the machine, opened from disk."""
    with new_page(browser, *getattr(request, "param", ("light", 1280))) as page:
        page.goto((site / "book" / "vanishing" / "why.html").as_uri())
        page.locator(".gradclinic-layer svg").wait_for()
        yield page
        assert page.noise == []


def in_layer_50(activation: str, scale: float) -> float:
    variance = scale**2
    for _ in range(49):
        variance = theory.variance_map(activation, scale, variance)
    return theory.chi(activation, scale, variance)


def test_the_machine_s_factor_is_that_of_theory(layer):
    for activation in ("sigmoid", "tanh", "relu", "gelu", "linear"):
        for scale in (0.5, 1.0, 1.3, 3.0, 12.0):
            if activation in ("relu", "gelu", "linear") and scale > 2:
                continue  # the signal leaves the numbers on its way
            found = layer.evaluate("([a, s]) => gradclinicLive.layer().machine(a, s).chi", [activation, scale])
            assert found == pytest.approx(in_layer_50(activation, scale), rel=1e-6), (activation, scale)


def test_the_machine_is_brought_to_one_and_says_so(layer):
    machine = layer.locator(".gradclinic-layer")
    check_letters(machine.locator("svg"))
    assert "The gradient grows." in machine.locator("p").text_content(), "at first it does not lie level"
    scales = {}
    for activation in ("tanh", "sigmoid", "relu"):
        machine.locator(f"input[value={activation}]").check()
        machine.get_by_role("button", name="Bring chi to 1").click()
        assert "chi 1. The gradient keeps its length." in machine.locator("p").text_content()
        scales[activation] = float(machine.locator("output").text_content())
    assert scales["tanh"] == pytest.approx(1, abs=0.05)
    left = layer.evaluate("s => gradclinicLive.layer().machine('tanh', s).variance", scales["tanh"]) ** 0.5
    assert left == pytest.approx(1 / 5, abs=0.02), "the page says a fifth"
    assert scales["sigmoid"] == pytest.approx(theory.critical_weight_std("sigmoid"), rel=0.01)
    assert scales["relu"] == pytest.approx(2**0.5, rel=0.01)


@pytest.mark.parametrize("layer", [("dark", 390)], indirect=True)
def test_the_machine_moves_by_keyboard_on_a_phone(layer):
    machine = layer.locator(".gradclinic-layer")
    before = machine.locator("p").text_content()
    machine.locator("input[type=range]").focus()
    layer.keyboard.press("ArrowLeft")
    assert machine.locator("p").text_content() != before
    check_letters(machine.locator("svg"))
    assert layer.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
