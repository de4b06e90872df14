"""The game of the mystery runs: what it says of each run is so, for right answers and for wrong ones."""

import importlib.util
import json
import math
import random
import re
import subprocess
from collections import Counter

import numpy as np
import pytest

from gradclinic import diagnose
from gradclinic.rules import limits
from tests.helpers import ROOT
from tests.helpers.browser import check_letters, new_page, visit

PATIENTS = json.loads((ROOT / "book" / "assets" / "patients.json").read_text())
PAGE = "book/identification/mystery-runs"
AGAIN = "() => gradclinicPatients(gradclinicPatients.runs, document.querySelector('.gradclinic-patients'))"
KEEP = "order => localStorage.setItem('gradclinic-patients', JSON.stringify({order, at: 0, right: 0, tries: []}))"


@pytest.fixture(scope="module")
def bench():
    """The benchmark that recorded them; it is a script beside the package, not a part of it."""
    specification = importlib.util.spec_from_file_location("patients", ROOT / "benchmarks" / "patients.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def game(browser, address):
    with new_page(browser) as page:
        visit(page, f"{address}/{PAGE}.html")
        page.wait_for_selector(".gradclinic-patients button")
        yield page
        assert page.noise == []


def test_there_are_enough_of_each_kind_and_hard_healthy_ones():
    counts = Counter(patient["kind"] for patient in PATIENTS)
    assert len(PATIENTS) >= 40
    assert len(counts) == 8
    assert min(counts.values()) >= 5
    odd = [p for p in PATIENTS if p["kind"] == "healthy" and (p["ratio"] > 3 or p["ratio"] < 1 / 3 or p["dead"][1])]
    assert len(odd) >= 3, "a healthy run that looks ill"


def numbers(values: list[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values])


@pytest.mark.long  # three trainings
def test_a_run_is_recorded_again_and_judged_the_same(bench):
    """Which ones, the commit decides."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    entries = [(kind, setting, i) for kind, of_kind in bench.BANK.items() for i, setting in enumerate(of_kind)]
    assert [kind for kind, *_ in entries] == [patient["kind"] for patient in PATIENTS]
    for place in random.Random(commit).sample(range(len(entries)), 3):
        (kind, setting, seed), stored = entries[place], PATIENTS[place]
        record, accuracy = bench.trained(setting, seed)
        assert diagnose(record).kind == kind
        assert (accuracy >= bench.WELL) == (kind == "healthy")
        again = bench.patient(kind, setting, record)
        for name in ("first", "ratio"):  # before any step no rounding has grown
            values = [numbers(found[name] if name == "first" else [found[name]]) for found in (again, stored)]
            np.testing.assert_allclose(*values, rtol=1e-2)


def test_the_bounds_that_the_game_tells_are_those_of_the_rules():
    script = (ROOT / "book" / "assets" / "patients.js").read_text()
    assert f"Below {limits.VANISHES_BELOW} it vanishes" in script
    assert f"Above {limits.EXPLODES_ABOVE:.0f} it explodes" in script
    assert f"Above {limits.UPDATE_TOO_LARGE} a step is too long" in script
    assert f"Below {limits.UPDATE_TOO_SMALL:.4f} the steps are too short" in script


def play(page, patient: int) -> dict[str, str]:
    """Every wrong answer, then the right one: what is said to each."""
    kind = PATIENTS[patient]["kind"]
    order = [patient, *(other for other in range(len(PATIENTS)) if other != patient)]
    page.evaluate(KEEP, order)
    page.evaluate("() => gradclinicPatients(gradclinicPatients.runs, document.querySelector('.gradclinic-patients'))")
    buttons = page.locator(".gradclinic-answers button")
    names = buttons.all_text_contents()
    assert len(names) == 8
    said = {}
    for name in sorted(names, key=lambda name: name == kind):
        buttons.nth(names.index(name)).click()
        said[name] = page.locator(".gradclinic-reason").text_content()
    return said


@pytest.mark.parametrize("kind", sorted({patient["kind"] for patient in PATIENTS}))
def test_each_answer_gets_its_reason(game, kind):
    for number, patient in enumerate(PATIENTS):
        if patient["kind"] != kind:
            continue
        said = play(game, number)
        assert len(set(said.values())) == 8
        for name, text in said.items():
            assert text.startswith("Yes: " if name == kind else "Not ")
            assert not re.search(r"undefined|NaN(?! in step)|null|Infinity", text), text
        assert game.locator(".gradclinic-patients svg").count() == 2
        assert game.get_by_role("button", name="Next patient").is_visible()


def test_a_right_answer_agrees_with_the_number_it_names(game):
    """Read off the sentence, not off the data."""
    for number, patient in enumerate(PATIENTS):
        sentence = play(game, number)[patient["kind"]]
        found = re.search(r"([\d.]+)(?:·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))? times", sentence)
        if patient["kind"] in ("overflow", "dying ReLU", "saturated"):
            continue
        power = int((found[2] or "0").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
        value = float(found[1]) * 10.0**power
        right = {
            "healthy": value < limits.LEARNS_WELL_BELOW,
            "vanishing": value < limits.VANISHES_BELOW,
            "exploding": value > limits.EXPLODES_ABOVE,
            "learning rate too high": value > limits.UPDATE_TOO_LARGE,
            "learning rate too low": value < limits.UPDATE_TOO_SMALL,
        }
        assert right[patient["kind"]], sentence


def test_a_sentence_speaks_of_what_is_there(game):
    for number, patient in enumerate(PATIENTS):
        said = play(game, number)
        assert ("not finite" in " ".join(said.values())) == (patient["broken"] == 1)
        assert ("exactly 0" in said["vanishing"]) == (patient["first"][0] == 0)
        plain = re.match(r"\d+ ReLU", patient["network"])
        assert ("no plain ReLU" in said["dying ReLU"]) == (not plain and patient["broken"] != 1)
        finite = patient["broken"] is None
        for kind in ("dying ReLU", "saturated"):
            assert finite or "in the last" not in said[kind], "what is not finite is in no state"
        if patient["ratio"]:  # the sentence and the drawing are of the same numbers
            assert patient["first"][0] / patient["first"][-2] == pytest.approx(patient["ratio"], rel=2e-3)


def test_one_kind_at_most_would_have_its_own_bound_fulfilled_at_the_start():
    """What is told apart by the first step is apart there: no label is a matter of taste."""
    for patient in PATIENTS:
        ratio, first = patient["ratio"] or 0, patient["first"]
        if patient["broken"] == 1 or patient["kind"] == "healthy":
            continue
        found = {
            "exploding": ratio > limits.EXPLODES_ABOVE,
            "vanishing": 0 < ratio < limits.VANISHES_BELOW and patient["kind"] != "saturated",
            "dying ReLU": patient["dead"][0] == 1 and first[0] == 0,
            "saturated": (patient["saturated"][0] or 0) > limits.MOSTLY and ratio < limits.VANISHES_BELOW,
        }
        if patient["kind"] in found:
            assert [kind for kind, holds in found.items() if holds] == [patient["kind"]]
        else:
            assert not any(found.values()), patient


@pytest.mark.parametrize("odd", ["odd", "{}", '{"order": [0, 0], "at": 0, "right": 0, "tries": []}'])
def test_what_is_kept_may_be_anything(game, odd):
    length = len(PATIENTS)
    game.evaluate("odd => localStorage.setItem('gradclinic-patients', odd)", odd.replace("[0, 0]", f"{[0] * length}"))
    game.reload()
    assert "Seen: 0." in game.locator(".gradclinic-score").text_content()


def test_the_keyboard_stays_where_it_was(game):
    play(game, 0)  # of a healthy run
    game.get_by_role("button", name="Next patient").click()
    focused = "() => document.activeElement.textContent"
    wrong = game.locator(".gradclinic-answers button").filter(has_not_text=PATIENTS[1]["kind"]).first
    wrong.focus()
    game.keyboard.press("Enter")
    assert game.evaluate(focused) == wrong.text_content()


def test_the_score_counts_first_tries_and_stays(game, address):
    kinds = {kind: next(i for i, p in enumerate(PATIENTS) if p["kind"] == kind) for kind in ("saturated", "exploding")}
    order = [*kinds.values(), *(i for i in range(len(PATIENTS)) if i not in kinds.values())]
    game.evaluate(KEEP, order)
    game.reload()
    game.get_by_role("button", name="saturated", exact=True).click()
    game.reload()
    assert "Seen: 1. Right at the first try: 1." in game.locator(".gradclinic-score").text_content()
    game.get_by_role("button", name="Next patient").click()
    game.get_by_role("button", name="vanishing", exact=True).click()
    game.reload()  # no second first try
    game.get_by_role("button", name="exploding", exact=True).click()
    assert "Seen: 2. Right at the first try: 1." in game.locator(".gradclinic-score").text_content()
    game.get_by_role("button", name="Next patient").click()
    game.reload()
    assert "Seen: 2. Right at the first try: 1." in game.locator(".gradclinic-score").text_content()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_letter_is_whole_and_large_enough(browser, address, width):
    with new_page(browser, width=width) as page:
        visit(page, f"{address}/{PAGE}.html")
        page.wait_for_selector(".gradclinic-patients button")
        for number in range(len(PATIENTS)):
            page.evaluate(KEEP, [number, *(i for i in range(len(PATIENTS)) if i != number)])
            page.evaluate(AGAIN)
            check_letters(page.locator(".gradclinic-patients svg"))


def test_the_drawings_betray_nothing_by_colour(game):
    play(game, 0)
    inks = game.evaluate(
        "() => [...document.querySelectorAll('.gradclinic-patients svg *')].map(e => getComputedStyle(e).fill)"
    )
    assert len(set(inks) - {"none"}) == 1
