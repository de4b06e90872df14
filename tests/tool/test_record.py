"""A record in a file is the record, whatever happens on the way there; two records of one training join into one."""

import dataclasses
import importlib.util
import json
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic import diagnose, plots, recordfile
from gradclinic.course.data import digits
from gradclinic.record import HISTOGRAM_EDGES, Record
from gradclinic.recorder import Recorder
from gradclinic.recording.schedule import due

ARRAYS = [f.name for f in dataclasses.fields(Record) if f.type is np.ndarray]
ROWS = [name for name in ARRAYS if not name.startswith("told_")]  # those with a row for each recorded step
# Estimates from the block that they were made in.
ESTIMATED = ("guessing_loss", "loss_kind", "entering_dead")


class Training:
    """A training that can be stopped, kept and resumed: momentum and the order of the examples are part of it."""

    def __init__(self, seed: int = 0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = nn.Sequential(
                nn.Linear(64, 24),
                nn.Tanh(),
                nn.Linear(24, 24),
                nn.ReLU(),
                nn.Linear(24, 24),
                nn.ReLU(),
                nn.Linear(24, 10),
            )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        self.generator = torch.Generator().manual_seed(seed)
        self.data = digits()

    def run(self, steps: int, **options) -> Record:
        with Recorder(self.model, chance_loss=math.log(10), **options) as recorder:
            for _ in range(steps):
                rows = torch.randint(len(self.data.x_train), (512,), generator=self.generator)
                self.optimizer.zero_grad()
                loss = cross_entropy(self.model(self.data.x_train[rows]), self.data.y_train[rows])
                loss.backward()
                recorder.log_loss(loss)
                self.optimizer.step()
        return recorder.record

    def checkpoint(self, path: Path) -> None:
        kept = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(kept | {"generator": self.generator.get_state()}, path)

    def resume(self, path: Path) -> None:
        kept = torch.load(path, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.generator.set_state(kept["generator"])


@pytest.fixture(scope="module")
def record() -> Record:
    return Training().run(6, every=1, histograms=True)


def same(a: Record, b: Record, but: tuple[str, ...] = ()) -> None:
    for field in dataclasses.fields(Record):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if field.name in but:
            continue
        if field.name in ARRAYS:
            assert (one.dtype, one.shape) == (other.dtype, other.shape), f"{field.name} changed its kind or shape"
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            assert one == other or (one != one and other != other), f"{field.name}: {one!r} and {other!r}"


def odd() -> Record:
    """Numbers that a shorter format would lose, and names that are no plain words."""
    rows, layers = 7, 3
    values = np.array([1e-320, 1e-45, 1e300, math.inf, math.nan, 0.0, -0.0, 1 / 3])
    drawn = np.random.default_rng(0).choice(values, (8, rows, layers))
    return Record(
        layers=("0.π·layer", 'a/b\\c "d"', "\n"),
        activations=(),
        step=np.arange(1, rows + 1) ** 5,
        gradient_norm=drawn[0],
        weight_norm=np.nan_to_num(drawn[1], posinf=0.1).clip(max=1e30).astype(np.float32),
        update_norm=drawn[2],
        output_rms=drawn[3],
        output_gradient_norm=drawn[4],
        saturation=np.empty((rows, 0)),
        dead=np.empty((rows, 0)),
        time_ratio=drawn[5],
        loss=drawn[6, :, 0],
        chance_loss=math.nan,
        output_nonfinite=drawn[7] > 0,
        nonfinite=drawn[7] > 1,
        histogram=np.random.default_rng(1).integers(0, 2**62, (rows, layers, len(HISTOGRAM_EDGES) - 1)),
        last_step=99_999,
    )


def empty() -> Record:
    with Recorder(nn.Linear(2, 2)) as recorder:
        pass
    return recorder.record


# --- in a file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [odd, empty, lambda: Training().run(3)], ids=["odd", "empty", "trained"])
@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_loaded_is_what_was_saved_bit_for_bit(make, kind, tmp_path):
    record = make()
    path = kind(tmp_path / "run with no suffix")
    assert record.save(path) == Path(path)
    same(record, Record.load(path))
    assert os.listdir(tmp_path) == ["run with no suffix"], "nothing else is left in the folder"


def test_a_loaded_record_serves_for_all_that_a_record_serves_for(record, tmp_path):
    record.save(tmp_path / "run.npz")
    loaded = Record.load(tmp_path / "run.npz")
    assert str(diagnose(loaded)) == str(diagnose(record))
    assert plots.dashboard(loaded).get_label() == plots.dashboard(record).get_label()


def test_the_file_holds_no_code_and_says_its_version(record, tmp_path):
    with np.load(record.save(tmp_path / "run"), allow_pickle=False) as held:
        header = json.loads(str(held["header"]))
        assert all(held[name].dtype.kind in "bifU" for name in held)
    assert (header["format"], header["version"]) == ("gradclinic record", 2)


def test_a_file_cut_off_anywhere_is_refused_by_name(record, tmp_path):
    whole = record.save(tmp_path / "run.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    for length in {*range(0, len(whole), len(whole) // 60), len(whole) - 1}:
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.npz is (cut off or damaged|no record)"):
            Record.load(cut)


def test_a_changed_byte_is_noticed_or_changes_nothing(record, tmp_path):
    whole = record.save(tmp_path / "run.npz").read_bytes()
    spoilt, noticed = tmp_path / "spoilt.npz", 0
    for place in np.random.default_rng(0).integers(len(whole), size=80):
        spoilt.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        said = "spoilt.npz is"
        try:
            loaded = Record.load(spoilt)
        except ValueError as error:
            said, noticed = str(error), noticed + 1
        else:
            same(record, loaded)  # such as the time of day that a zip file keeps
        assert "spoilt.npz is" in said
    assert noticed > 60, "nearly every byte matters"


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, header=np.array([{"format": "gradclinic record"}], dtype=object))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "no record"),
        (lambda path: path.write_text("step,loss\n1,2.3\n"), "no record"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "no record"),
        (lambda path: np.savez(path.open("wb"), step=np.zeros(3)), "no record"),
        (lambda path: torch.save({"step": 1}, path), "no record|damaged"),
        (pickled, "damaged"),
    ],
    ids=["empty", "text", "npy", "another npz", "checkpoint", "pickle"],
)
def test_a_foreign_file_is_refused_by_name(write, message, tmp_path):
    path = tmp_path / "foreign"
    write(path)
    with pytest.raises(ValueError, match=rf"foreign is .*({message})"):
        Record.load(path)


def rewritten(path: Path, change) -> None:
    with np.load(path) as held:
        arrays = dict(held)
    header = json.loads(str(arrays["header"]))
    change(header, arrays)
    arrays["header"] = np.array(json.dumps(header))
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, arrays: header.update(version=3), r"version 3.*reads up to 2"),
        (lambda header, arrays: header.update(format="another"), r"no record"),
        (lambda header, arrays: header.pop("layers"), r"lacks layers"),
        (lambda header, arrays: arrays.pop("loss"), r"lacks loss"),
        (
            lambda header, arrays: arrays.update(loss=arrays["loss"][:-1]),
            r"loss should have shape \(6,\), and has \(5,\)",
        ),
        (lambda header, arrays: arrays.update(dead=arrays["dead"] > 0), r"dead should .* of bool"),
        (lambda header, arrays: header["layers"].pop(), r"gradient_norm should have shape \(6, 3\), and has \(6, 4\)"),
    ],
)
def test_a_file_that_is_not_whole_says_what_is_wrong(record, change, message, tmp_path):
    path = record.save(tmp_path / "run.npz")
    rewritten(path, change)
    with pytest.raises(ValueError, match=rf"run\.npz is .*{message}"):
        Record.load(path)


def test_a_missing_file_and_a_missing_folder_are_named(record, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Record.load(tmp_path / "nowhere")
    with pytest.raises(OSError, match=r"cannot write into .*no/run.*No such file"):
        record.save(tmp_path / "no" / "run")


def test_a_link_stays_a_link(record, tmp_path):
    (tmp_path / "real").write_text("earlier")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    record.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    same(record, Record.load(tmp_path / "real"))


def test_a_file_by_the_name_that_the_package_had_at_first_is_read(tmp_path):
    path = Path(__file__).with_name("earlier-format.npz")  # written by the package as it was then
    with np.load(path) as held:
        assert json.loads(str(held["header"]))["format"] in recordfile.EARLIER_FORMATS
    record = Record.load(path)
    assert (record.layers, record.activations, record.activation_kinds) == (("0", "2"), ("1",), ("Tanh",))
    assert (record.step.tolist(), record.last_step, record.first_bad_loss) == ([1, 3], 4, None)
    assert record.loss.tolist() == [0.7041966915130615, 0.6979151964187622]
    assert record.chance_loss == math.log(2)
    np.testing.assert_array_equal(
        record.gradient_norm,
        [[0.15217500367677408, 0.13997741531533814], [0.1502412244051691, 0.13221511602063238]],
    )
    again = record.save(tmp_path / "again")
    with np.load(again) as held:
        assert json.loads(str(held["header"]))["format"] == Record.FORMAT
    same(record, Record.load(again))
    assert record.then(record).step.tolist() == [1, 3, 5, 7]


# --- in short, and as plain data ---------------------------------------------------------------------------------


def test_a_record_prints_in_a_few_lines_and_no_array(record):
    lines = repr(record).splitlines()
    assert lines == [
        "Record",
        "  steps: 6 recorded, 1 to 6, of 6 watched",
        '  layers: 4, "0" to "6"',
        "  activations: 3 (Tanh, ReLU)",
        f"  loss: {record.loss[0]:.3g} to {record.loss[-1]:.3g}; 2.3 without looking at the input",
    ]


def test_the_first_that_is_not_finite_is_printed():
    assert repr(odd()).splitlines()[-1].startswith("  inf or NaN: first at step 1, the output of ")
    broken = dataclasses.replace(empty(), first_bad_loss=61, last_step=70)
    assert repr(broken).splitlines()[1:] == [
        "  steps: 0 recorded, of 70 watched",
        '  layers: 1, "Linear"',
        "  activations: 0",
        "  loss: not told",
        "  inf or NaN: first at step 61, the loss",
    ]


def test_a_notebook_shows_a_small_table_in_which_no_name_can_do_anything():
    spoilt = dataclasses.replace(odd(), layers=("<script>alert(1)</script>", "b", 'c"'))
    page = spoilt._repr_html_()
    parsed = ElementTree.fromstring(page)
    assert {element.tag for element in parsed.iter()} == {"table", "caption", "tr", "th", "td"}
    assert all(not element.attrib for element in parsed.iter()), "nothing is fetched from elsewhere"
    text = "\n".join(": ".join(cell.text for cell in row) for row in parsed.findall("tr"))
    assert text == "\n".join(line.strip() for line in repr(spoilt).splitlines()[1:])
    assert "<script>alert(1)</script>" in text
    assert len(page) < 1000


def test_a_recorder_prints_its_record_and_its_notes():
    class Reader(nn.Sequential):
        pass

    recorder = Recorder(Reader(nn.Linear(2, 2), nn.ReLU()))
    recorder.notes.append("the units of <b> cannot be measured")
    lines = repr(recorder).splitlines()
    assert lines[0] == "Recorder of Reader"
    assert lines[1:-1] == repr(recorder.record).splitlines()[1:]
    assert lines[-1] == "  note: the units of <b> cannot be measured"
    assert "&lt;b&gt;" in recorder._repr_html_()


@pytest.mark.parametrize("make", [odd, empty, lambda: Training().run(7, every=4, histograms=True)])
def test_as_plain_data_it_is_json_with_every_number_and_none_for_what_is_not_finite(make):
    record = make()
    held = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert (held.pop("format"), held.pop("version")) == ("gradclinic record", 2)
    assert set(held) == {field.name for field in dataclasses.fields(Record)}
    for name in ARRAYS:
        array = getattr(record, name)
        if name == "histogram" and not array.size:
            assert held[name] is None
            continue
        back = np.array(held[name], dtype=float if array.dtype.kind == "f" else array.dtype).reshape(array.shape)
        expected = np.where(np.isfinite(array), array, np.nan) if array.dtype.kind == "f" else array
        np.testing.assert_array_equal(back, expected, err_msg=name)
    assert tuple(held["layers"]) == record.layers
    assert tuple(held["activation_kinds"]) == record.activation_kinds
    assert (held["last_step"], held["first_bad_loss"]) == (record.last_step, record.first_bad_loss)
    assert held["chance_loss"] == (None if math.isnan(record.chance_loss) else record.chance_loss)


# --- an earlier file survives ------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_earlier_file(record, tmp_path):
    path = record.save(tmp_path / "run.npz")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # the system refuses to write more
    try:
        with pytest.raises(OSError, match=r"cannot write into .*run\.npz.*too large.*as it was"):
            record.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


def test_an_error_of_any_kind_on_the_way_leaves_the_earlier_file(record, tmp_path, monkeypatch):
    path = record.save(tmp_path / "run.npz")
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


# The process kills itself when the bytes are written, before
# the new file takes the place of the old.
KILLED = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("record", sys.argv[1])
module = sys.modules["record"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
record = module.Record.load(sys.argv[2])
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
record.save(sys.argv[2])
"""


def test_a_kill_on_the_way_leaves_the_earlier_file(record, tmp_path):
    path = record.save(tmp_path / "run.npz")
    before = path.read_bytes()
    module = importlib.util.find_spec("gradclinic.record").origin
    ended = subprocess.run([sys.executable, "-c", KILLED, module, path], check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert path.read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2, "the killed process had really begun to write"
    same(record, Record.load(path))


# --- continued ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 4])
def test_a_training_stopped_kept_and_resumed_gives_the_record_of_one_that_ran_through(every, tmp_path):
    through = Training().run(24, every=every, histograms=True)
    first = Training()
    first.run(12, every=every, histograms=True).save(tmp_path / "first.npz")
    first.checkpoint(tmp_path / "checkpoint")

    second = Training(seed=1)  # nothing of the first is left but its files
    second.resume(tmp_path / "checkpoint")
    second.run(12, every=every, histograms=True).save(tmp_path / "second.npz")

    joined = Record.load(tmp_path / "first.npz").then(Record.load(tmp_path / "second.npz"), after=12)
    assert joined.step.tolist() == sorted({*through.step, 12}), "the first has a row of its last step in any case"
    shared = np.isin(joined.step, through.step)
    joined = dataclasses.replace(joined, **{name: getattr(joined, name)[shared] for name in ROWS})
    same(joined, through, but=("last_step", "loss", "answer_spread", *ESTIMATED))
    # a loss is the mean over the steps since the one recorded before, which the resumed recorder did not see
    seen = np.ones(len(through.step), dtype=bool)
    seen[np.flatnonzero(through.step > 12)[0]] = every == 1
    np.testing.assert_array_equal(joined.loss[seen], through.loss[seen])


def test_what_was_trained_after_the_checkpoint_is_left_out(tmp_path):
    through = Training().run(20, every=1)
    lost = Training()
    first = lost.run(8, every=1)
    lost.checkpoint(tmp_path / "checkpoint")
    first = first.then(lost.run(5, every=1))  # these five steps are done again, after the crash
    assert first.step.tolist() == list(range(1, 14))
    second = Training(seed=1)
    second.resume(tmp_path / "checkpoint")
    same(first.then(second.run(12, every=1), after=8), through, but=("last_step", *ESTIMATED))


def test_without_a_word_the_steps_go_on_from_the_last_one_that_is_known():
    sparse = Training().run(10, every=4)
    assert sparse.step.tolist() == [1, 5, 9, 10]
    sparse = dataclasses.replace(sparse, **{name: getattr(sparse, name)[:-1] for name in ROWS})
    assert dataclasses.replace(sparse, last_step=None).then(sparse).step.tolist() == [1, 5, 9, 10, 14, 18]
    assert dataclasses.replace(sparse, last_step=10).then(sparse).step.tolist() == [1, 5, 9, 11, 15, 19]
    thrice = dataclasses.replace(sparse, last_step=10)
    assert thrice.then(thrice).then(thrice).step.tolist() == [1, 5, 9, 11, 15, 19, 21, 25, 29]


def test_an_empty_record_adds_nothing(record):
    nothing = dataclasses.replace(record, **{name: getattr(record, name)[:0] for name in ARRAYS}, last_step=None)
    same(record.then(nothing), record, but=("last_step",))
    same(nothing.then(record), record, but=("last_step",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ("0", "2", "4")}, "the earlier has 4 layers, the later 3"),
        ({"layers": ("0", "2", "four", "6")}, "number 3 of the layers is '4' in the earlier and 'four' in the later"),
        ({"activations": ("1", "3", "x")}, "number 3 of the activations is '5' in the earlier and 'x' in the later"),
        ({"activation_kinds": ("Tanh", "Tanh", "ReLU")}, "number 2 of the activation kinds is 'ReLU'.*'Tanh'"),
        ({"histogram": np.zeros((6, 4, 0), dtype=np.int64)}, "only one of them counted histograms"),
    ],
)
def test_records_of_different_networks_are_refused_with_the_difference(record, change, message):
    with pytest.raises(ValueError, match=f"do not continue each other: {message}"):
        record.then(dataclasses.replace(record, **change))


def test_a_checkpoint_that_cannot_be_is_refused(record):
    with pytest.raises(ValueError, match="after must be at least 0, got -1"):
        record.then(record, after=-1)
    with pytest.raises(ValueError, match="after must be at most the last step, 6, got 7"):
        dataclasses.replace(record, last_step=6).then(record, after=7)
    with pytest.raises(TypeError, match=r"after must be an integer.*2\.5"):
        record.then(record, after=2.5)
    with pytest.raises(TypeError, match=r"then needs a Record.*Recorder"):
        record.then(Recorder(nn.Linear(1, 1)))


# --- long runs ---------------------------------------------------------------------------------------------------


def long(rows: int, layers: int = 100) -> Record:
    """A record as a network of so many layers and activations gives it, of numbers that hardly compress."""
    drawn = np.random.default_rng(0).lognormal(size=(8, rows, layers))
    return Record(
        layers=tuple(f"layer{n}" for n in range(layers)),
        activations=tuple(f"activation{n}" for n in range(layers)),
        activation_kinds=("Tanh",) * layers,
        step=np.arange(1, rows + 1),
        gradient_norm=drawn[0],
        weight_norm=drawn[1],
        update_norm=drawn[2],
        output_rms=drawn[3],
        output_gradient_norm=drawn[4],
        saturation=drawn[5],
        dead=drawn[6],
        time_ratio=drawn[7],
        loss=drawn[0, :, 0],
        chance_loss=2.3,
        output_nonfinite=np.zeros((rows, layers), dtype=bool),
        nonfinite=np.zeros((rows, layers), dtype=bool),
        histogram=np.zeros((rows, layers, 0), dtype=np.int64),
    )


def test_a_row_costs_what_the_documentation_says(record):
    page = (Path(__file__).parents[2] / "book" / "reference" / "your-own-model.md").read_text()
    for text in (Record.__doc__, page):
        assert "75 MB" in text
        assert "1.5 GB" in text
    assert "133 L + 16 A + 89 bytes" in Record.__doc__
    assert "133 bytes for each layer, and 16 for each activation" in page
    bare = dataclasses.replace(record, histogram=record.histogram[..., :0])
    row = sum(getattr(bare, name).nbytes for name in ROWS) / len(bare.step)
    assert row == 133 * len(bare.layers) + 16 * len(bare.activations) + 89
    hundred = sum(getattr(long(1), name).nbytes for name in ROWS)
    assert round(hundred * 100_000 / 20 / 1e6) == 75
    assert round(hundred * 100_000 / 1e8) == 15
    rows = sum(due(number, None) for number in range(1, 100_001))
    assert f"makes {hundred * rows / 1e6:.0f} MB. Every step" in page


def test_a_file_takes_less_than_the_arrays(tmp_path):
    record = long(300)
    arrays = sum(getattr(record, name).nbytes for name in ARRAYS)
    assert record.save(tmp_path / "run").stat().st_size < arrays
