"""The live lab's numbers are PyTorch's: gradients, steps, records, predictions, from the same weights and batches."""

import itertools
import json
import math
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gradclinic import Recorder, diagnose
from gradclinic.course import live, theory
from gradclinic.course.data import digits
from gradclinic.course.initializers import weight_std
from gradclinic.course.models import MLP
from gradclinic.course.training import accuracy, chance_loss
from tests.helpers import ROOT
from tests.helpers.live import (
    FOLDER,
    SETTINGS,
    Engine,
    apart,
    as_numbers,
    as_text,
    engine,
    flat,
    network,
    node,
    optimizer,
)

CHOICES = {
    "activation": list(theory.ACTIVATIONS),
    "norm": ["none", "batch", "layer"],
    "skip": ["none", "plain", "scaled"],
    "optimizer": ["sgd", "momentum", "adam"],
    "clip": [0, 0.1],
}
BATCH = 16
DATA = digits()


@pytest.fixture(scope="module")
def live_engine() -> Iterator[Engine]:
    with engine() as found:
        yield found


def given(settings: dict, steps: int) -> dict:
    """What both are given: the same weights and batches."""
    x, t = DATA.x_train[: BATCH * steps].double(), DATA.y_train[: BATCH * steps]
    weights = as_text(flat(network(settings).parameters()))
    return {
        "settings": settings,
        "parameters": weights,
        "x": as_text(x),
        "t": t.tolist(),
        "count": BATCH,
        "steps": steps,
    }


def trained(settings: dict, steps: int, recorder: bool = False, nudged: int | None = None) -> tuple:
    """Gradients of the first step, and all parameters after the last; with a record if asked for.

    ``nudged`` is the seed by which the starting weights are moved by 1e-15 of themselves.
    """
    model = network(settings)
    if nudged is not None:
        generator = torch.Generator().manual_seed(nudged)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + 1e-15 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    moving, first = optimizer(settings, model), None
    watch = Recorder(model, every=1, chance_loss=math.log(10)) if recorder else None
    if watch:
        watch.__enter__()
    for x, t in zip(DATA.x_train.double().split(BATCH)[:steps], DATA.y_train.split(BATCH), strict=False):
        moving.zero_grad()
        loss = cross_entropy(model(x), t)
        loss.backward()
        if watch:
            watch.log_loss(loss)
        if settings["clip"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"])
        first = flat(p.grad for p in model.parameters()) if first is None else first
        moving.step()
    if watch:
        watch.__exit__(None, None, None)
    return first, flat(model.parameters()), watch and watch.record


@pytest.mark.parametrize("depth", [1, 3, 12])
@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_every_combination_has_the_gradients_of_autograd_and_takes_its_steps(live_engine, activation, depth):
    steps = 10 if depth == 3 else 2
    for norm, skip, kind, clip in itertools.product(*(CHOICES[name] for name in ("norm", "skip", "optimizer", "clip"))):
        chosen = {"norm": norm, "skip": skip, "optimizer": kind, "clip": clip, "epsilon": 1e-3, "decay": 1e-3}
        settings = SETTINGS | chosen | {"activation": activation, "depth": depth}
        answer = live_engine.ask(**given(settings, steps))
        gradients, parameters, _ = trained(settings, steps)
        assert answer["simd"]
        assert apart(as_numbers(answer["gradients"]), gradients) < 1e-10, settings
        assert apart(as_numbers(answer["parameters"]), parameters) < 1e-6, settings


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "sigmoid", "start": "xavier"},
        {"activation": "relu", "start": "he", "width": 64},
        {"activation": "tanh", "start": "pytorch", "optimizer": "momentum"},
        {"activation": "gelu", "start": 2.0, "optimizer": "sgd"},
        {"activation": "silu", "norm": "layer", "skip": "plain", "width": 48},
        {"activation": "relu", "start": "he", "norm": "batch", "skip": "scaled"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_thirty_layers_take_ten_steps_together(live_engine, changes):
    settings = SETTINGS | {"depth": 30, "rate": 1e-3} | changes
    answer = live_engine.ask(**given(settings, 10))
    gradients, parameters, _ = trained(settings, 10)
    assert apart(as_numbers(answer["gradients"]), gradients) < 1e-10
    assert apart(as_numbers(answer["parameters"]), parameters) < 1e-6


def test_where_rounding_is_multiplied_it_parts_from_pytorch_as_pytorch_does_from_itself(live_engine):
    settings = SETTINGS | {"depth": 30, "rate": 1e-3, "activation": "relu", "start": "he", "norm": "batch"}
    answer = live_engine.ask(**given(settings, 10))
    gradients, parameters, _ = trained(settings, 10)
    assert apart(as_numbers(answer["gradients"]), gradients) < 1e-10, "in the first step they are together"
    itself = max(apart(trained(settings, 10, nudged=seed)[1], parameters) for seed in (1, 2, 3))
    assert itself > 1e-6, "so little as 1e-15 at the start parts them"
    assert apart(as_numbers(answer["parameters"]), parameters) < 30 * itself


def test_without_simd_it_computes_the_same(live_engine):
    for activation, norm in itertools.product(("relu", "gelu"), CHOICES["norm"]):
        settings = SETTINGS | {"activation": activation, "norm": norm, "width": 24}
        question = given(settings, 3)
        plain, fast = live_engine.ask(**question, simd=False), live_engine.ask(**question)
        assert not plain["simd"]
        assert apart(as_numbers(plain["parameters"]), as_numbers(fast["parameters"])) < 1e-10


def test_in_float32_it_is_as_near_as_float32_is(live_engine):
    for width in (16, 24, 64):
        settings = SETTINGS | {"width": width, "activation": "relu", "start": "he", "optimizer": "sgd"}
        question = given(settings, 10)
        answer, (gradients, parameters, _) = live_engine.ask(**question, precision="float32"), trained(settings, 10)
        assert 1e-10 < apart(as_numbers(answer["gradients"]), gradients) < 1e-5, "it is float32"
        assert apart(as_numbers(answer["parameters"]), parameters) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "relu", "start": "he"},
        {"activation": "relu", "start": 0.05, "rate": 0.3},
        {"activation": "sigmoid", "start": 20.0, "clip": 0.1, "optimizer": "momentum"},
        {"activation": "tanh", "start": 6.0, "norm": "batch", "decay": 0.1, "optimizer": "sgd"},
        {"activation": "gelu", "norm": "layer", "skip": "plain"},
        {"activation": "linear", "depth": 1},
        {"activation": "relu", "start": 3e18, "depth": 12, "optimizer": "sgd"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_its_record_is_what_a_recorder_sees_in_pytorch(live_engine, changes):
    settings = SETTINGS | changes
    steps = 40  # more than the 512 examples after which a unit is dead
    held = live_engine.ask(**given(settings, steps))["record"]
    ours, theirs = live.record_of(held), trained(settings, steps, recorder=True)[2]
    one_step = bool(theirs.faulty.any())
    for name in sorted(held):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name in ("layers", "activations", "activation_kinds", "layer_kinds"):
            assert mine == other, name
        elif one_step and name not in ("output_nonfinite", "first_bad_loss", "first_bad_answer"):
            continue  # what is inf / inf in one order is NaN in the other; who broke first is the same
        elif isinstance(other, np.ndarray):
            assert mine.shape == other.shape, name
            assert apart(np.asarray(mine, float)[:1], np.asarray(other, float)[:1]) < 1e-10, name
            assert apart(np.asarray(mine, float), np.asarray(other, float)) < 1e-6, name
        elif isinstance(other, float):
            assert mine == pytest.approx(other, nan_ok=True), name
        elif name != "last_step":
            assert mine == other, name


def test_its_accuracy_is_that_of_the_model_that_is_asked(live_engine):
    for norm in CHOICES["norm"]:
        settings = SETTINGS | {"norm": norm}
        answer = live_engine.ask(**given(settings, 10), test=True)
        model = network(settings)
        moving = optimizer(settings, model)
        x, t = DATA.x_train[: BATCH * 10].double(), DATA.y_train[: BATCH * 10]
        for images, classes in zip(x.split(BATCH), t.split(BATCH), strict=True):
            moving.zero_grad()
            cross_entropy(model(images), classes).backward()
            moving.step()
        assert answer["accuracy"] == pytest.approx(accuracy(model, x, t))
        assert answer["accuracy"] > 0.3, "it learns at all"


def drawn(seed: int) -> dict:
    """Settings such as a visitor may choose."""
    draw = random.Random(seed)
    chosen = {name: draw.choice(values) for name, values in CHOICES.items()}
    return chosen | {
        "depth": draw.choice([1, 2, 3, 5, 10, 20]),
        "width": draw.choice([16, 24, 32]),
        "start": draw.choice(["pytorch", "xavier", "he", 0.3, 2.0, 4.0, 12.0]),
        "rate": 10 ** draw.uniform(-6, 1),
        "decay": draw.choice([0, 0, 0, 1e-3, 0.1, 1]),
        "clip": draw.choice([0, 0, 0.1, 10]),
        "epsilon": draw.choice([1e-8, 1e-4]),
        "seed": seed,
    }


def test_its_verdict_is_that_of_diagnose_on_240_settings(live_engine):
    kinds, silent = Counter(), 0
    for seed in range(240):
        settings, steps = drawn(seed), (3, 35, 60, 90)[seed % 4]
        x, t = DATA.x_train[: BATCH * 60].double(), DATA.y_train[: BATCH * 60]
        question = {"settings": settings, "x": as_text(x), "t": t.tolist(), "count": BATCH, "steps": steps}
        answer = live_engine.ask(**question, parameters=None, precision="float32", limits=live.thresholds())
        expected, found = diagnose(live.record_of(answer["record"])), answer["verdict"]
        kinds[expected.kind] += 1
        silent += found is None
        if found is not None:
            assert (found["kind"], found["layers"]) == (expected.kind, list(expected.layers)), settings
            assert found["evidence"][0] == expected.evidence[0], settings
    assert silent <= 2, "it has an answer, nearly everywhere"
    assert len(kinds) >= 8, kinds


@pytest.mark.long  # 20 networks of 20 layers are trained
def test_the_network_of_the_first_page_does_not_learn_and_a_shallow_one_does(live_engine):
    question = {"x": as_text(DATA.x_train.double()), "t": DATA.y_train.tolist(), "count": 64, "parameters": None}
    asked = r'data-settings="([^"]*)"'
    (preset,) = re.findall(asked, (ROOT / "book" / "intro.md").read_text())
    text = dict(pair.split("=") for pair in preset.split("&"))
    settings = {name: float(word) if re.fullmatch(r"[-+.e\d]+", word) else word for name, word in text.items()}
    settings |= {name: int(settings[name]) for name in ("depth", "width", "seed")}
    assert settings["depth"] == 20
    for seed in range(20):
        # 21 batches of 64 fill an epoch, and the lab takes no smaller one
        deep = live_engine.ask(**question, settings=settings | {"seed": seed}, steps=126, precision="float32")
        assert min(deep["record"]["loss"][-21:]) > 2.2, f"seed {seed} learns"
        shallow = live_engine.ask(**question, settings=settings | {"seed": seed, "depth": 2}, steps=126)
        assert np.mean(shallow["record"]["loss"][-21:]) < 0.8 * math.log(10), f"seed {seed} does not learn"


# --- theory, data, the kernel ----------------------------------------------------------------------------------------


def run_script(code: str) -> object:
    """What code prints as JSON that sees the engine and the theory."""
    parts = "".join((FOLDER / f"{name}.js").read_text() for name in ("engine", "theory"))
    program = f"{parts}\nconst engine = gradclinicEngine(null), theory = gradclinicTheory(engine);\n{code}"
    found = subprocess.run([node(), "-"], input=program, check=True, capture_output=True, text=True)
    return json.loads(found.stdout)


def test_its_line_is_that_of_the_theory():
    square = 0.9
    cases = [
        {"activation": activation, "depth": depth, "width": width, "start": start, "norm": "none", "skip": "none"}
        for activation in theory.ACTIVATIONS
        for start in ("pytorch", "xavier", "he", 0.1, 1.0, 4.0, 20.0)
        for depth, width in ((1, 32), (20, 16))
    ]
    lines = run_script(
        f"console.log(JSON.stringify({json.dumps(cases)}.map((c) => Array.from(theory.profile(c, 64, {square})))));"
    )
    for case, line in zip(cases, lines, strict=True):
        width, start = case["width"], case["start"]
        later, first = weight_std(start, width, width), weight_std(start, 64, width)
        bias = 1 / math.sqrt(3 * width) if start == "pytorch" else 0.0
        expected = theory.gradient_profile(
            case["activation"], case["depth"], later, square * (first / later) ** 2, bias_std=bias
        )
        known = (expected > 1e-300).numpy()
        np.testing.assert_allclose(10 ** np.array(line)[known], expected.numpy()[known], rtol=1e-6, err_msg=str(case))


def measured_beside_theory(live_engine, **changes: object) -> list[float]:
    """Decades between the gradient of layer 1 over that of the last layer and the line, for eight seeds."""
    settings = SETTINGS | {"depth": 30, "width": 32, "activation": "tanh"} | changes
    square = float((DATA.x_train**2).mean())
    line = run_script(f"console.log(JSON.stringify(Array.from(theory.profile({json.dumps(settings)}, 64, {square}))));")
    x, found = as_text(DATA.x_train[:64].double()), []
    for seed in range(8):
        question = {"settings": settings | {"seed": seed}, "x": x, "t": DATA.y_train[:64].tolist(), "count": 64}
        norms = live_engine.ask(**question, steps=1, parameters=None)["record"]["output_gradient_norm"][0]
        found.append(math.log10(norms[0] / norms[29]) - line[0])
    return found


def test_the_line_is_near_at_the_starts_and_can_be_far_where_weights_are_very_large(live_engine):
    for start in ("pytorch", "xavier", "he"):
        assert max(map(abs, measured_beside_theory(live_engine, start=start))) < 1.5, start
    assert max(map(abs, measured_beside_theory(live_engine, start=20.0))) > 2, "the page says so"


def test_theory_is_silent_where_it_knows_nothing():
    cases = [{"norm": "batch", "skip": "none"}, {"norm": "layer", "skip": "none"}, {"norm": "none", "skip": "plain"}]
    given = json.dumps([SETTINGS | case for case in cases])
    assert run_script(f"console.log(JSON.stringify({given}.map((c) => theory.profile(c, 64, 1))));") == [None] * 3


def test_the_share_of_a_gaussian_is_exact():
    z = np.concatenate([np.linspace(-12, 12, 4801), [0.0625, 2.5, -2.5]])
    found = np.array(run_script(f"console.log(JSON.stringify({z.tolist()}.map(engine.normalShare)));"))
    np.testing.assert_allclose(found, torch.special.ndtr(torch.tensor(z)).numpy(), rtol=0, atol=4e-16)


def test_its_starts_have_the_scales_they_name():
    code = """
    const found = {};
    for (const start of ["pytorch", "xavier", "he", 3]) {
      const settings = { depth: 2, width: 64, activation: "tanh", start, norm: "none", skip: "none", optimizer: "sgd",
        rate: 0, decay: 0, clip: 0, epsilon: 1e-8, seed: 3 };
      const { hidden, readout } = new engine.Network(settings, { precision: "float64" });
      found[start] = [...hidden, readout].map(({ weight, bias }) => [Array.from(weight.value), Array.from(bias.value)]);
    }
    console.log(JSON.stringify(found));"""
    for start, layers in run_script(code).items():
        init = 3.0 if start == "3" else start
        model = MLP(2, 64, "tanh", init, seed=0)
        for (weight, bias), layer in zip(layers, (model.layer1, model.layer2, model.readout), strict=True):
            fan_out, fan_in = layer.weight.shape
            spread = np.std(weight) * math.sqrt(fan_in)
            assert spread == pytest.approx(weight_std(init, fan_in, fan_out), rel=0.1)
            bound = 1 / math.sqrt(fan_in)
            assert (max(map(abs, weight)) <= bound) == (init == "pytorch")
            assert (0 < max(map(abs, bias)) <= bound) == (init == "pytorch")
            assert np.ptp(weight) > 0


def test_its_digits_are_those_of_the_course():
    pixels, classes, training = live.digits_as_bytes()
    assert (training, len(pixels)) == (len(DATA.x_train), len(DATA.x_train) + len(DATA.x_test))
    assert classes.tolist() == [*DATA.y_train.tolist(), *DATA.y_test.tolist()]
    code = f"""
    {live.script()}
    const raw = Uint8Array.from({json.dumps(pixels.ravel().tolist())});
    console.log(JSON.stringify(Array.from(gradclinicLive.standardised(raw, {training}, 64))));"""
    found = subprocess.run([node(), "-"], input=code, check=True, capture_output=True, text=True)
    images = np.array(json.loads(found.stdout)).reshape(-1, 64)
    np.testing.assert_allclose(images, torch.cat([DATA.x_train, DATA.x_test]).numpy(), atol=1e-5)
    assert f"reads {training:,} handwritten digits" in (ROOT / "book" / "live.md").read_text()
    assert chance_loss(DATA.y_train) == pytest.approx(math.log(10), abs=1e-3)


def test_the_kernel_is_made_of_its_source(tmp_path):
    compiler = ROOT / "node_modules" / "assemblyscript" / "bin" / "asc.js"
    if not compiler.exists():
        pytest.skip("make book fetches the compiler")
    command = json.loads((ROOT / "package.json").read_text())["scripts"]["kernel"].split()
    assert command[0] == "asc"
    made = tmp_path / "kernel.wasm"
    options = [str(made) if option.endswith("kernel.wasm") else option for option in command[1:]]
    subprocess.run([node(), str(compiler), *options], check=True, cwd=ROOT)
    assert made.read_bytes() == (FOLDER / "kernel.wasm").read_bytes(), "run: npm run kernel"
