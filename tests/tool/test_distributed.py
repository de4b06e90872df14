"""Two processes that share a batch record what one process records of the whole batch.

This file is also the script that torchrun starts: each process trains, and leaves its records in a folder.
"""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy

from gradclinic.course.data import digits
from gradclinic.record import Record
from gradclinic.recorder import Recorder

RANKS, STEPS, BATCH = 2, 24, 32  # more than 512 examples: the share of dead units then looks back over a window
KINDS = ("ddp", "inside-ddp", "fsdp", "frozen-fsdp")


class Network(nn.Module):
    """Tanh, ReLU and a layer that is called three times. Half of the ReLU's units are awake for few examples only."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 33)  # an odd width: the shards are not of one size
        self.tanh = nn.Tanh()
        self.repeated = nn.Linear(33, 33)
        self.hidden = nn.Linear(33, 40)
        self.relu = nn.ReLU()
        self.last = nn.Linear(40, 10)

    def forward(self, x):
        x = self.tanh(self.first(x))
        for _ in range(3):
            x = self.tanh(self.repeated(x))
        return self.last(self.relu(self.hidden(x)))


def network(kind: str) -> nn.Module:
    """In double precision, so that one and two processes differ by nothing but the order of sums."""
    torch.manual_seed(0)
    model = Network().double()
    with torch.no_grad():
        model.first.weight.mul_(8)
        model.hidden.bias[::2] -= torch.linspace(0.3, 1.8, 20)
    if kind.startswith("frozen"):
        model.first.requires_grad_(False)
    return model


def spread(model: nn.Module, kind: str) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    if kind.endswith("ddp"):
        return nn.parallel.DistributedDataParallel(model)
    left_whole = set(model.first.parameters()) if kind.startswith("frozen") else set()
    if not left_whole:
        fully_shard(model.first)
    fully_shard(model.hidden)
    return fully_shard(model, ignored_params=left_whole)


def batches(rank: int = 0, ranks: int = 1):
    """The share of a rank in each batch."""
    x, y = digits()[:2]
    x, y = torch.as_tensor(x).double(), torch.as_tensor(y)
    for start in range(0, STEPS * BATCH, BATCH):
        yield x[start + rank : start + BATCH : ranks], y[start + rank : start + BATCH : ranks]


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


def train(model: nn.Module, recorder: Recorder | None = None, rank: int = 0, ranks: int = 1) -> None:
    optimizer = optimizer_of(model)
    for x, y in batches(rank, ranks):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        if recorder is not None:
            recorder.log_loss(loss)
        loss.backward()
        optimizer.step()


# --- what each process does ------------------------------------------------------------------------------------------


def on_each_rank(folder: Path, crash: str) -> None:
    distributed.init_process_group("gloo")
    rank, seen = distributed.get_rank(), {}
    calls = []
    all_reduce = distributed.all_reduce
    distributed.all_reduce = lambda *arguments, **keywords: calls.append(1) or all_reduce(*arguments, **keywords)

    def keep(recorder: Recorder, name: str) -> None:
        recorder.record.save(folder / f"{name}-{rank}.npz")
        seen[name] = {"notes": recorder.notes}

    if crash == "at the end":
        crash_at_the_end(rank, keep)
    elif crash == "in the middle":
        crash_in_the_middle(rank, keep)
    else:
        for kind in KINDS:
            plain = spread(network(kind), kind)
            train(plain, None, rank, RANKS)
            model = spread(network(kind), kind)
            calls.clear()
            watched = model.module if kind == "inside-ddp" else model
            with Recorder(watched, every=1, histograms=True) as recorder:
                train(model, recorder, rank, RANKS)
                keep(recorder, f"{kind}-own")
                during = len(calls)
            keep(recorder, kind)
            pairs = list(zip(plain.parameters(), model.parameters(), strict=True))
            local = [[getattr(t, "_local_tensor", t) for t in pair] for pair in pairs]
            seen[kind] |= {"during": during, "after": len(calls), "same": all(torch.equal(*pair) for pair in local)}
        late(rank, keep)
        alone(rank, keep)
        for kind in KINDS[::2]:
            ends(kind, rank, keep)
        seen["bad loss"] = bad_loss(rank, keep)
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
    if not crash:
        distributed.destroy_process_group()


def late(rank: int, keep) -> None:
    """The recorder is made before the model is spread; the block is entered twice."""
    model = network("fsdp")
    recorder = Recorder(model, every=1)
    spread(model, "fsdp")
    for _ in range(2):
        with recorder:
            train(model, recorder, rank, RANKS)
    keep(recorder, "late")


def alone(rank: int, keep) -> None:
    """A model that one process has for itself: a collective would wait for ever."""
    if rank == 0:
        with Recorder(model := network(""), every=1) as recorder:
            train(model, recorder)
        keep(recorder, "alone")
    distributed.barrier()


def ends(kind: str, rank: int, keep) -> None:
    """The last step is not one to record, and the gradients are there or are not."""
    for name, clear in ((f"ends-{kind}", False), (f"cleared-{kind}", True)):
        model = spread(network(kind), kind)
        with Recorder(model, every=7, histograms=True) as recorder:
            train(model, recorder, rank, RANKS)
            if clear:
                model.zero_grad()
        keep(recorder, name)


def bad_loss(rank: int, keep) -> dict:
    """One rank is told a loss that is no number before the other is; each has a handler."""
    told, model = [], spread(network("ddp"), "ddp")
    optimizer = optimizer_of(model)
    with Recorder(model, every=1, on_alarm=told.append) as recorder:
        for number, (x, y) in enumerate(batches(rank, RANKS), 1):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            recorder.log_loss(loss * (float("nan") if number == (9, 7)[rank] else 1))
            loss.backward()
            optimizer.step()
    keep(recorder, "bad-loss")
    return {"notes": recorder.notes, "told": len(told)}


def crash_at_the_end(rank: int, keep) -> None:
    """One rank falls out of the block behind the last step; the other one leaves it, and finds nobody."""
    model = spread(network("ddp"), "ddp")
    try:
        with Recorder(model, every=1) as recorder:
            train(model, recorder, rank, RANKS)
            if rank == 1:
                raise RuntimeError("the power went out")
    except RuntimeError:
        pass
    keep(recorder, "crash")


def crash_in_the_middle(rank: int, keep) -> None:
    model = spread(network("fsdp"), "fsdp")
    optimizer = optimizer_of(model)
    try:
        with Recorder(model, every=1) as recorder:
            for number, (x, y) in enumerate(batches(rank, RANKS), 1):
                if number == 5 and rank == 1:
                    raise RuntimeError("the power went out")
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
    except RuntimeError:
        pass
    keep(recorder, "crash")


# --- what is asked of it ---------------------------------------------------------------------------------------------


def launched(folder: Path, crash: str = "") -> tuple[Path, list[dict]]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
    done = subprocess.run(
        [*command, __file__, str(folder), crash],
        check=False,  # what it said is shown
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(RANKS)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, list[dict]]:
    return launched(tmp_path_factory.mktemp("ranks"))


def single(kind: str) -> Record:
    model = network(kind)
    with Recorder(model, every=1, histograms=True) as recorder:
        train(model, recorder)
    return recorder.record


# What is looked at on a few examples, or estimated from them: each rank has others, and their mean is told.
SAMPLED = ("entering_", "answer_", "input_rms", "guessing_loss", "target_")


def assert_same(found: Record, expected: Record, rtol: float = 1e-9) -> None:
    for field in fields(Record):
        here, there = getattr(found, field.name), getattr(expected, field.name)
        if field.name.startswith(SAMPLED):
            assert np.shape(here) == np.shape(there), field.name
            continue
        if isinstance(here, np.ndarray):
            assert here.shape == there.shape, field.name
            if field.name == "histogram":  # an entry may cross an edge by the order in which it was summed
                np.testing.assert_array_equal(here.sum(2), there.sum(2))
                assert np.abs(here - there).sum() <= 1e-3 * there.sum()
                continue
            np.testing.assert_allclose(here, there, rtol=rtol, atol=1e-12, err_msg=field.name)
        else:
            assert here == there or here != here, f"{field.name}: {here} and {there}"


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_record_what_one_does(run, kind):
    folder, seen = run
    expected = single(kind)
    assert len(expected.step) == STEPS
    dead = expected.dead[:, 1]
    assert ((dead > 0) & (dead < 1)).all(), "some units have to be dead, not all"
    assert np.isfinite(expected.time_ratio[:, expected.layers.index("repeated")]).all()
    for rank in range(RANKS):
        assert_same(Record.load(folder / f"{kind}-{rank}.npz"), expected)
        assert seen[rank][kind]["notes"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_the_same_bit_for_bit_on_every_rank(run, kind):
    for rank in run[1]:
        assert rank[kind]["same"], "a watched run ended in other weights than an unwatched one"


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_speak_to_each_other_only_when_the_block_ends(run, kind):
    for rank in run[1]:
        assert rank[kind]["during"] == 0
        assert 0 < rank[kind]["after"] < 60


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_end_a_rank_sees_its_own_share(run, kind):
    folder, _ = run
    own = [Record.load(folder / f"{kind}-own-{rank}.npz") for rank in range(RANKS)]
    whole = Record.load(folder / f"{kind}-0.npz")
    for name in ("output_rms", "output_gradient_norm", "saturation", "loss"):
        assert not np.allclose(getattr(own[0], name), getattr(own[1], name), rtol=1e-6), f"{name} of two shares"
    assert (own[0].dead[:, 1] != whole.dead[:, 1]).any(), "a unit that sleeps on one rank may be awake on the other"
    measured = own[0].layers.index("hidden")
    for name in ("gradient_norm", "weight_norm", "update_norm", "output_gradient_norm"):
        ratio = getattr(own[0], name)[:, measured] / getattr(whole, name)[:, measured]
        assert ((ratio > 0.4) & (ratio < 2.5)).all(), f"{name} of one rank should be near that of all"


def test_parameters_that_were_spread_after_the_recorder_was_made_are_found(run):
    folder, seen = run
    model = network("fsdp")
    recorder = Recorder(model, every=1)
    for _ in range(2):
        with recorder:
            train(model, recorder)
    for rank in range(RANKS):
        assert_same(Record.load(folder / f"late-{rank}.npz"), recorder.record)
        assert seen[rank]["late"]["notes"] == []


def test_a_model_of_one_process_waits_for_no_other(run):
    expected = single("alone")
    assert_same(Record.load(run[0] / "alone-0.npz"), replace(expected, histogram=expected.histogram[:, :, :0]))


@pytest.mark.parametrize("kind", KINDS[::2])
@pytest.mark.parametrize("cleared", [False, True])
def test_the_last_step_has_one_row_on_every_rank(run, kind, cleared):
    folder, seen = run
    model = network(kind)
    with Recorder(model, every=7, histograms=True) as recorder:
        train(model, recorder)
        if cleared:
            model.zero_grad()
    expected = recorder.record
    assert expected.step.tolist() == [1, 8, 15, 22, 24]
    assert np.isnan(expected.gradient_norm[-1]).all() == cleared
    name = f"{'cleared' if cleared else 'ends'}-{kind}"
    for rank in range(RANKS):
        assert_same(Record.load(folder / f"{name}-{rank}.npz"), expected)
        assert seen[rank][name]["notes"] == []


def test_the_first_bad_loss_is_that_of_all_ranks_and_the_first_rank_alone_calls_its_handler(run):
    folder, seen = run
    for rank in range(RANKS):
        assert Record.load(folder / f"bad-loss-{rank}.npz").first_bad_loss == 7
        assert seen[rank]["bad loss"] == {"notes": [], "told": int(rank == 0)}


@pytest.mark.parametrize(("crash", "steps"), [("at the end", STEPS), ("in the middle", 4)])
def test_a_rank_that_crashes_leaves_the_others_their_own_records(tmp_path, crash, steps):
    folder, seen = launched(tmp_path, crash)
    for rank in range(RANKS):
        record = Record.load(folder / f"crash-{rank}.npz")
        assert record.step.tolist() == list(range(1, steps + 1))
        assert np.isfinite(record.gradient_norm).all()
    told = [note for note in seen[0]["crash"]["notes"] if "other ranks" in note]
    assert len(told) == (crash == "at the end"), "whose record it is has to be said where the others were waited for"
    assert seen[1]["crash"]["notes"] == []


if __name__ == "__main__":
    on_each_rank(Path(sys.argv[1]), sys.argv[2])
