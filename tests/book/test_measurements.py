"""What the repository keeps of long measurements: it counts while its code is the same, and is tried in draws."""

import hashlib
import json
import math
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradclinic.course.audit.kept import Kept, plain
from gradclinic.course.audit.networks import Run
from tests.helpers import ROOT
from tools import measure, measurements
from tools.imports import sources

HEAVIEST = 3_000_000  # bytes, all files together

CLAIMS = "from gradclinic.course.audit.kept import Kept\n\nmemory = Kept()\n"
MEASURES = """from gradclinic.course.audit.claims import memory


@memory.cache
def run(seed):
    '''A run.'''
    return trained(seed)


def trained(seed):
    return seed


@memory.cache
def still(seed):
    return 1


def finding():
    return run(3)
"""
RUN, STILL = (f"gradclinic.course.audit.chapter.{name}" for name in ("run", "still"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package with two functions whose results are kept, and a file of results of each."""
    audit = tmp_path / "gradclinic" / "course" / "audit"
    audit.mkdir(parents=True)
    for name, source in {"claims": CLAIMS, "kept": "class Kept: pass\n", "chapter": MEASURES, "__init__": ""}.items():
        (audit / f"{name}.py").write_text(source)
    keys = today(tmp_path)
    for name in (RUN, STILL):
        entry = {"given": {"seed": 3}, "seconds": 2.0, "result": 0.5}
        content = {"function": name, "key": keys[name], "entries": {"a1": entry, "b2": entry}}
        measurements.write(json.dumps(content), measurements.kept(tmp_path) / f"{name}.json")
    return tmp_path


def today(root: Path) -> dict[str, str]:
    sources.cache_clear()
    return measurements.keys(root)


def test_nothing_that_is_kept_asks_for_a_verdict():
    """A key leaves the rules out; only the recorder, which may be asked in the middle of a training, leads to them."""
    package = sources(ROOT)
    reached = package.closed(set(package.decorated(measurements.MARK)))
    measuring = {place for place in reached if not measurements.apart(place)}
    leading = {place.module for place in measuring if any(map(measurements.apart, package.used(place)))}
    kept = "gradclinic.course.audit.claims"  # where what keeps is named
    assert leading <= {"gradclinic", "gradclinic.recorder", "gradclinic.recording.looks", kept}
    course = [place for place in measuring if place.module.startswith("gradclinic.course.")]
    assert course
    assert not [place for place in course if "on_alarm" in package.written(place)]


def test_only_functions_whose_results_are_kept_have_a_key(project):
    assert set(today(project)) == {RUN, STILL}


@pytest.mark.parametrize(
    ("module", "old", "new", "changed"),
    [
        ("chapter", "return seed", "return -seed", {RUN}),
        ("chapter", "return 1", "return 2", {STILL}),
        ("chapter", "A run.", "A training.", set()),
        ("chapter", "run(3)", "run(4)", set()),
        ("kept", "pass", "x = 1", set()),
    ],
    ids=["what it calls", "itself", "docstring", "its user", "what keeps it"],
)
def test_a_key_follows_the_code_that_a_measurement_reaches(project, module, old, new, changed):
    before, file = today(project), project / "gradclinic" / "course" / "audit" / f"{module}.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    after = today(project)
    assert {name for name in before if after[name] != before[name]} == changed


@pytest.mark.parametrize("package", ["torch", "numpy"])
def test_a_key_follows_the_version_that_is_installed(project, package, monkeypatch):
    before, version = today(project), measurements.version
    monkeypatch.setattr(measurements, "version", lambda name: "9.9" if name == package else version(name))
    assert not set(today(project).values()) & set(before.values())
    monkeypatch.setattr(measurements, "version", lambda name: version(name).partition("+")[0] + "+cpu")
    assert today(project) == before, "the same release, built for another machine"


def test_only_what_fits_todays_code_is_laid_out(project):
    folder = measurements.prepare(project)
    keys = today(project)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")} == {
        "keys.json",
        *(f"{keys[name]}/{entry}.json" for name in (RUN, STILL) for entry in ("a1", "b2")),
    }
    file = project / "gradclinic" / "course" / "audit" / "chapter.py"
    file.write_text(file.read_text().replace("return 1", "return 2"))
    sources.cache_clear()
    measurements.prepare(project)
    assert {path.name for path in folder.iterdir()} == {"keys.json", keys[RUN]}
    assert json.loads((folder / "keys.json").read_text()) == today(project)


def test_what_is_laid_out_is_what_a_call_finds(tmp_path, monkeypatch):
    def ratio(seed: int) -> float:
        return 0.25

    name = f"{ratio.__module__}.{ratio.__qualname__}"
    monkeypatch.setattr(measurements, "keys", lambda root: {name: "abc"})
    kept = Kept(measurements.prepare(tmp_path)).cache(ratio)
    assert kept(3) == 0.25
    monkeypatch.setattr(measure, "WORTH", 0.0)
    monkeypatch.setattr(measure, "DENSITY", 0.0)
    content = measure.long_ones(tmp_path)[name]
    (entry,) = content["entries"].values()
    assert entry["given"] == {"seed": 3}
    entry["result"] = 0.75  # as if it had been measured
    measurements.write(json.dumps(content), measurements.kept(tmp_path) / "ratio.json")
    assert Kept(measurements.prepare(tmp_path)).cache(ratio)(3) == 0.75, "it goes before what this machine gave"


# --- compared --------------------------------------------------------------------------------------------------------

LOSS = np.array([2.0, 1.0, math.inf, math.nan])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (0.5, 0.5, 0.0),
        (0.5, 1.0, 0.5),
        (0.0, 0.0, 0.0),
        (LOSS, LOSS, 0.0),
        (LOSS, LOSS + 0.5, 0.2),
        (LOSS, LOSS[::-1], math.inf),
        (LOSS, LOSS[:3], math.inf),
        (np.array([1.0, 2.0]), np.array([1.0, math.nan]), math.inf),
        ((1.0, "a"), (1.0, "a"), 0.0),
        ((1.0, "a"), (1.0, "b"), math.inf),
        ((1.0,), (1.0, 2.0), math.inf),
        ((np.zeros(2), 1.0), (np.zeros(2), 0.9), 0.1),
        (np.array([True, False]), np.array([True, True]), 1.0),
    ],
)
def test_results_lie_apart_by_their_largest_difference(one, other, expected):
    assert measure.apart(one, other) == pytest.approx(expected)
    assert measure.apart(other, one) == pytest.approx(expected)


def result(accuracy: float) -> list:
    return plain(Run(np.ones(2), accuracy, np.ones((1, 2)), np.ones((1, 2)), 0.1, 1.0))


def test_numbers_that_agree_stay_and_others_are_replaced_and_named():
    name = "gradclinic.course.audit.networks.run"

    def content(key: str, **accuracies: float) -> dict:
        entries = {call: {"given": {}, "result": result(accuracy)} for call, accuracy in accuracies.items()}
        return {"function": name, "key": key, "entries": entries}

    new = content("k", same=0.9, edited=0.9, added=0.9)
    merged, said = measure.merged(new, content("k", same=0.9 + 1e-9, edited=0.91, gone=0.9))
    assert merged == content("k", same=0.9 + 1e-9, edited=0.9, added=0.9)
    assert len(said) == 1
    assert name in said[0]
    merged, said = measure.merged(new, content("of other code", same=0.9 + 1e-9, edited=0.5))
    assert merged == content("k", same=0.9 + 1e-9, edited=0.9, added=0.9)
    assert said == [], "other code may give other numbers"


def test_a_result_that_was_edited_is_found(project, monkeypatch):
    def run(seed: int) -> float:
        return 0.5

    monkeypatch.setattr(measure, "function", lambda name: run)
    sources.cache_clear()
    assert measure.draw(project, "all four of them")
    file = measurements.kept(project) / f"{STILL}.json"
    file.write_text(file.read_text().replace("0.5", "0.50001", 1))
    assert not measure.draw(project, "all four of them")


# --- what the repository keeps ---------------------------------------------------------------------------------------


def test_what_is_kept_is_small_and_holds_no_call_twice():
    files = sorted(measurements.kept(ROOT).glob("*.json"))
    assert sum(file.stat().st_size for file in files) < HEAVIEST
    for file in files:
        entries = json.loads(file.read_text())["entries"].values()
        assert len({json.dumps(entry["given"]) for entry in entries}) == len(entries)


def test_which_are_drawn_follows_from_the_commit(project):
    first = [measurements.drawn(project, str(number), seconds=3.0) for number in range(20)]
    assert first == [measurements.drawn(project, str(number), seconds=3.0) for number in range(20)]
    assert {len(draw) for draw in first} == {2}, "each took 2 seconds"
    assert len({json.dumps(draw) for draw in first}) > 1
    assert len(measurements.drawn(project, "all", seconds=math.inf)) == 4


def commit() -> str:
    """What names this state of the project: its commit, or without git what is kept."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], check=False, cwd=ROOT, capture_output=True, text=True)
    files = sorted(measurements.kept(ROOT).glob("*.json"))
    return found.stdout.strip() or hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.mark.long  # it measures for 12 seconds
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors round otherwise")
def test_what_is_kept_is_what_its_code_gives_today():
    command = [sys.executable, "-m", "tools.measure", "--drawn", commit()]
    found = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    fitting = sum(len(content["entries"]) for content in measurements.fitting(ROOT))
    assert len(found.stdout.splitlines()) >= min(fitting, 1)


@pytest.mark.skipif(not measurements.kept(ROOT).exists(), reason="nothing is kept")
def test_what_trains_is_told_from_what_only_measures():
    trained = measurements.trained(ROOT)
    audit = "gradclinic.course.audit"
    assert {f"{audit}.league.treated", f"{audit}.half_precision.trained", f"{audit}.networks.run"} <= trained
    assert not {f"{audit}.networks.profiles", f"{audit}.starts.flows", f"{audit}.recurrence.through_time"} & trained
