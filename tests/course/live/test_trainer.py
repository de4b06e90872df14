"""The live lab's trainer: what it tells of a network that is changed while it trains, and when it begins another."""

import json
import subprocess

import numpy as np
import pytest

from gradclinic.course import live
from gradclinic.course.data import digits
from tests.helpers import ROOT
from tests.helpers.live import SETTINGS, node

DATA = digits()
TRAINING = 640  # ten batches


def told(settings: dict, *messages: dict) -> list[dict]:
    """All frames, of a new network and then of these messages."""
    question = {
        "limits": live.thresholds(),
        "images": DATA.x_train[: TRAINING + 64].flatten().tolist(),
        "labels": DATA.y_train[: TRAINING + 64].tolist(),
        "training": TRAINING,
        "messages": [{"do": "new", "settings": SETTINGS | settings}, *messages],
    }
    command = [node(), str(ROOT / "tests" / "course" / "live" / "trainer.cjs")]
    ended = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=True)
    return [message for message in json.loads(ended.stdout) if message["say"] == "frame"]


def step(count: int) -> dict:
    return {"do": "step", "count": count}


def change(**settings: object) -> dict:
    return {"do": "set", "settings": settings}


def test_the_first_step_is_taken_with_the_batch_that_was_looked_at():
    before, after = told({}, step(1))
    assert after["rows"][0]["step"] == 1
    assert after["rows"][0]["loss"] == before["rows"][0]["loss"]
    assert after["rows"][0]["gradient"] == before["rows"][0]["gradient"]


def test_an_epoch_reads_each_digit_once_and_the_next_one_in_another_order():
    losses = [row["loss"] for frame in told({"rate": 1e-12}, step(30)) for row in frame["rows"]][1:]
    epochs = np.reshape(losses, (3, 10))
    np.testing.assert_allclose(epochs.mean(1), epochs.mean(), rtol=1e-6)
    assert np.ptp(epochs, axis=0).min() > 0, "other batches"


@pytest.mark.parametrize(("first", "then"), [("none", "batch"), ("batch", "none"), ("layer", "none")])
def test_rows_tell_of_the_network_as_it_was(first, then):
    settings = {"norm": first, "activation": "relu", "start": "he"}
    alone = told(settings, step(5))[-1]
    changed = told(settings, step(5), change(norm=then, activation="tanh"), step(5))
    rows = [row for frame in changed for row in frame["rows"]]
    assert [row["step"] for row in rows] == list(range(11))
    assert rows[1:6] == alone["rows"]
    assert {row["activation"] for row in rows[:6]} == {"relu"}
    assert {row["activation"] for row in rows[6:]} == {"tanh"}
    assert all(np.isfinite(row["gradient"]).all() and np.isfinite(row["update"]).all() for row in rows[1:])


def test_rows_that_were_not_yet_told_are_told_as_they_were():
    settings = {"norm": "none", "optimizer": "sgd"}
    question = [{"do": "run"}, change(norm="batch"), {"do": "pause"}]  # it trains for some milliseconds, then changes
    frames = told(settings, *question)
    rows = [row for frame in frames for row in frame["rows"]]
    assert len(rows) > 2
    assert all(len(row["gradient"]) == 3 and np.isfinite(row["update"]).all() for row in rows[1:])


@pytest.mark.parametrize("changes", [{"norm": "batch"}, {"activation": "tanh"}, {"skip": "plain"}], ids=str)
def test_after_the_end_a_change_of_the_network_begins_another(changes):
    broken = {"activation": "relu", "start": 20.0, "depth": 20, "optimizer": "sgd", "rate": 10.0}
    frames = told(broken, step(50), change(**changes))
    assert frames[1]["ended"] == "nonfinite"
    assert frames[1]["accuracy"] is None, "of scores that are no numbers none is the largest"
    assert (frames[2]["step"], frames[2]["ended"], frames[2]["changed"]) == (0, None, None)
    assert frames[2]["run"] == frames[1]["run"] + 1


def test_what_changes_the_network_on_the_way_takes_the_verdict_and_a_new_start_gives_it_back():
    frames = told({}, step(40), change(rate=0.02), step(1), change(skip="plain"), step(1), change(seed=5), step(40))
    assert [frame["changed"] for frame in frames] == [None, None, None, None, 41, 41, None, None]
    assert [frame["verdict"] is None for frame in frames] == [True, False, False, False, True, True, True, False]
    assert frames[5]["theory"] is None


def test_it_ends_after_two_thousand_steps():
    frames = told({"depth": 1, "width": 16}, step(3000), {"do": "run"})
    assert (frames[-1]["step"], frames[-1]["ended"]) == (2000, "limit")
