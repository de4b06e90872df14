"""What TensorBoard's own reader, server and page make of the files that are written."""

import dataclasses
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradclinic import tensorboard
from gradclinic.course.models import MLP
from gradclinic.record import HISTOGRAM_EDGES, Record
from gradclinic.recorder import Recorder

PER_LAYER = ("gradient_norm", "weight_norm", "update_ratio", "output_rms", "output_gradient_norm", "time_ratio")
EVERYTHING = {"scalars": 0, "histograms": 0, "tensors": 0}  # the reader's word for: keep every step


def recorded(steps: int = 4, break_at: int | None = None, histograms: bool = True) -> Record:
    """A short training of three sigmoid layers and a read-out; a weight becomes NaN before one step."""
    model = MLP(3, 8, "sigmoid", "he", in_features=5, out_features=3, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 5, generator=generator), torch.randint(3, (16,), generator=generator)
    with Recorder(model, histograms=histograms, chance_loss=math.log(3)) as recorder:
        for step in range(1, steps + 1):
            if step == break_at:
                model[0].weight.data[0, 0] = math.nan
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            recorder.log_loss(loss)
            loss.backward()
            optimizer.step()
    return recorder.record


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()


def scalars(reader: EventAccumulator, tag: str) -> tuple[list[int], list[float]]:
    events = reader.Scalars(tag)
    return [event.step for event in events], [event.value for event in events]


# --- what TensorBoard's reader finds -----------------------------------------------------------------------------


def test_every_number_of_the_record_is_read_back(tmp_path):
    record = recorded()
    assert tensorboard.write(record, tmp_path / "run") == tmp_path / "run"
    reader = read(tmp_path / "run")
    expected = {f"{name}/{layer}" for name in PER_LAYER[:-1] for layer in record.layers}
    expected |= {f"saturation/{activation}" for activation in record.activations} | {"loss", "chance_loss"}
    assert set(reader.Tags()["scalars"]) == expected, "and no tag for what was never measured"
    for name in PER_LAYER[:-1]:
        for n, layer in enumerate(record.layers):
            steps, values = scalars(reader, f"{name}/{layer}")
            assert steps == record.step.tolist()
            np.testing.assert_array_equal(np.float32(values), np.float32(getattr(record, name)[:, n]))
    for n, activation in enumerate(record.activations):
        np.testing.assert_array_equal(
            np.float32(scalars(reader, f"saturation/{activation}")[1]), np.float32(record.saturation[:, n])
        )
    np.testing.assert_array_equal(np.float32(scalars(reader, "loss")[1]), np.float32(record.loss))
    assert scalars(reader, "chance_loss") == ([1, 4], [pytest.approx(math.log(3))] * 2)


def test_histograms_are_read_back_bin_by_bin(tmp_path):
    record = recorded()
    tensorboard.write(record, tmp_path / "run")
    reader = read(tmp_path / "run")
    for n, layer in enumerate(record.layers):
        events = reader.Histograms(f"gradient/{layer}")
        assert [event.step for event in events] == record.step.tolist()
        for row, event in enumerate(events):
            found = dict(zip(event.histogram_value.bucket_limit, event.histogram_value.bucket, strict=True))
            right_edges = dict(zip(HISTOGRAM_EDGES[1:], record.histogram[row, n], strict=True))
            assert {edge: count for edge, count in found.items() if count} == {
                edge: count for edge, count in right_edges.items() if count
            }
            used = np.flatnonzero(record.histogram[row, n])
            assert event.histogram_value.min == HISTOGRAM_EDGES[used[0]]
            assert event.histogram_value.max == HISTOGRAM_EDGES[used[-1] + 1]
            assert event.histogram_value.num == record.histogram[row, n].sum()


def test_sizes_have_an_axis_of_exponents(tmp_path):
    sizes = [2e-9, -2e-9, 2e-9, 0.5, 0.0]
    counts = np.histogram(sizes, HISTOGRAM_EDGES)[0]
    record = recorded(steps=1)
    record = dataclasses.replace(record, histogram=np.broadcast_to(counts, record.histogram.shape))
    tensorboard.write(record, tmp_path / "run")
    (event,) = read(tmp_path / "run").Histograms("gradient_log10/layer1")
    found = event.histogram_value
    filled = {round(limit, 9): count for limit, count in zip(found.bucket_limit, found.bucket, strict=True) if count}
    assert filled == {-8.5: 3, 0: 1}, "half decades, signs together, without zeros"
    assert (found.min, found.max) == (pytest.approx(-9), pytest.approx(0))


def test_what_overflows_is_there_as_such_and_what_is_unknown_is_not(tmp_path):
    record = recorded(steps=4, break_at=3)
    assert record.first_nonfinite[0] == 3
    tensorboard.write(record, tmp_path / "run")
    reader = read(tmp_path / "run")
    steps, values = scalars(reader, "gradient_norm/layer1")
    assert steps == [1, 2, 3, 4]
    assert np.isfinite(values[:2]).all()
    assert np.isnan(values[2:]).all()
    assert np.isnan(scalars(reader, "loss")[1]).tolist() == [False, False, True, True]
    assert [event.step for event in reader.Histograms("gradient/layer1")] == [1, 2], "nothing finite to count"
    assert not [tag for tag in reader.Tags()["scalars"] if tag.startswith(("time_ratio", "dead"))]


def test_a_frozen_layer_has_no_gradient_even_where_others_overflow(tmp_path):
    record = recorded(steps=4, break_at=3)
    gradient = record.gradient_norm.copy()
    gradient[:, 0] = math.nan
    flags = record.nonfinite.copy()
    flags[:, 0] = False
    tensorboard.write(dataclasses.replace(record, gradient_norm=gradient, nonfinite=flags), tmp_path / "run")
    tags = read(tmp_path / "run").Tags()["scalars"]
    assert "gradient_norm/layer1" not in tags
    assert "gradient_norm/layer2" in tags


def test_infinite_values_stay_infinite(tmp_path):
    record = recorded()
    weight = record.weight_norm.copy()
    weight[2, 1] = math.inf
    tensorboard.write(dataclasses.replace(record, weight_norm=weight), tmp_path / "run")
    assert np.isinf(scalars(read(tmp_path / "run"), "weight_norm/layer2")[1]).tolist() == [False, False, True, False]


def test_a_record_without_histograms_or_loss_is_written_all_the_same(tmp_path):
    record = dataclasses.replace(
        recorded(histograms=False, steps=1), loss=np.array([math.nan]), chance_loss=math.nan, step=np.array([7])
    )
    tensorboard.write(record, tmp_path / "run")
    reader = read(tmp_path / "run")
    assert reader.Tags()["histograms"] == []
    assert "loss" not in reader.Tags()["scalars"]
    assert scalars(reader, "gradient_norm/layer1")[0] == [7]


# --- folders -----------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_never_overwritten_or_mixed_with_another(tmp_path):
    tensorboard.write(recorded(), tmp_path / "run")
    before = files(tmp_path)
    with pytest.raises(FileExistsError, match=r"something in .*run already.*folder of its own"):
        tensorboard.write(recorded(steps=1), tmp_path / "run")
    assert files(tmp_path) == before


def test_an_empty_folder_is_used_and_missing_ones_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    tensorboard.write(recorded(steps=1), str(tmp_path / "empty"))
    tensorboard.write(recorded(steps=1), tmp_path / "a" / "b" / "run")
    assert len(files(tmp_path / "empty")) == len(files(tmp_path / "a" / "b" / "run")) == 1


def test_an_error_on_the_way_leaves_nothing_half_written(tmp_path, monkeypatch):
    from torch.utils.tensorboard import SummaryWriter

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_histogram_raw", full)
    with pytest.raises(OSError, match=r"cannot write into .*run.*No space left.*choose a folder"):
        tensorboard.write(recorded(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"cannot write into .*file/run.*choose a folder"):
        tensorboard.write(recorded(), tmp_path / "file" / "run")
    with pytest.raises(FileExistsError, match=r"something in .*file already"):
        tensorboard.write(recorded(), tmp_path / "file")
    assert files(tmp_path) == {"file": b"not a folder"}


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        tensorboard.write(recorded(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# --- the real server, in a real browser --------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    """TensorBoard itself, on loopback, on a port that the system gives it; yields its address."""
    tensorboard.write(recorded(steps=12), tmp_path / "runs" / "sigmoid")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path / "runs")]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0"], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(600):
            found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
            if found or process.poll() is not None:
                break
            time.sleep(0.1)
        assert found, f"TensorBoard did not start: {log.read_text()}"
        yield found[0]
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.browser
def test_the_real_page_shows_every_tag_and_draws_the_histograms(server, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    # the page of one tag: its card has its name, and a histogram is drawn as one path a step
    for tag in ("gradient/layer1", "gradient_log10/readout"):
        page.goto(f"{server}?tagFilter={quote(f'^{tag}$', safe='')}#timeseries")
        card = page.locator("histogram-card")
        card.locator("path").nth(11).wait_for(state="attached")
        assert card.count() == 1
        assert tag in "".join(card.inner_text().split())
    for tag in ("gradient_norm/layer1", "update_ratio/readout", "saturation/activation2", "loss"):
        page.goto(f"{server}?tagFilter={quote(f'^{tag}$', safe='')}#timeseries")
        card = page.locator("scalar-card")
        card.wait_for()
        assert card.count() == 1
        assert tag in "".join(card.inner_text().split())
    outside = [url for url in asked if not url.startswith((server, "data:", "blob:"))]
    assert outside == [], "TensorBoard asks no other host"
    page.close()
