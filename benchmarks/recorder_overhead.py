"""What watching costs: time of a watched training step over that of a bare one, for the recorder and for its peers.

    pip install wandb==0.31.0 pandas && pip install --no-deps -r benchmarks/requirements.txt   # peers; may be absent
    python benchmarks/recorder_overhead.py            # keeps the table in book/assets/recorder-overhead.json
    python benchmarks/recorder_overhead.py --quick    # fewer rounds; prints, keeps nothing

Each watched step follows a bare one of the same network in the same process, so that what else the machine does hits
both alike. The control is a second bare network: how far it is from 1 is the error. A round is so many pairs; the
table shows the median over rounds with quartiles. The default records one step in 25 once it has settled, so its
round holds 25 steps, one of them recorded. ``--network`` and ``--threads`` measure a part and leave the rest of
the kept table as it is.
"""

import argparse
import atexit
import contextlib
import datetime
import functools
import json
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from gradclinic.course.models import MLP
from gradclinic.recorder import FIRST_STEPS, INTERVAL, Recorder

KEPT = Path(__file__).resolve().parent.parent / "book" / "assets" / "recorder-overhead.json"

# --- the networks ----------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, before: int, channels: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(before, channels, 1, stride, bias=False) if stride > 1 else nn.Identity()
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu2(self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x))))) + self.shortcut(x))


class LastStep(nn.Module):
    """A stack of LSTM layers, read out at the end."""

    def __init__(self):
        super().__init__()
        self.lstm, self.readout = nn.LSTM(16, 128, num_layers=2, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.lstm(x)[0][:, -1])


class Logits(nn.Module):
    """The next-token scores of a small GPT-2 with random weights."""

    def __init__(self):
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        sizes = {"vocab_size": 512, "n_positions": 64, "n_embd": 128, "n_layer": 4, "n_head": 4}
        sizes |= {"bos_token_id": 0, "eos_token_id": 0}
        drop = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        self.gpt = GPT2LMHeadModel(GPT2Config(**sizes, **drop))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.gpt(tokens, use_cache=False).logits.flatten(0, 1)


class Task(NamedTuple):
    """A network with one batch for it, and the optimiser that people take for it."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    optimizer: torch.optim.Optimizer


def _mlp() -> Task:
    model = MLP(20, 256, "relu", "he", seed=0)
    return Task(model, torch.randn(128, 64), torch.randint(10, (128,)), torch.optim.SGD(model.parameters(), 1e-3))


def _residual() -> Task:
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    return Task(model, torch.randn(32, 3, 32, 32), torch.randint(10, (32,)), optimizer)


def _lstm() -> Task:
    model = LastStep()
    return Task(model, torch.randn(32, 64, 16), torch.randint(10, (32,)), torch.optim.AdamW(model.parameters(), 1e-4))


def _gpt() -> Task:
    model = Logits()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    return Task(model, torch.randint(512, (8, 64)), torch.randint(512, (8 * 64,)), optimizer)


NETWORKS: dict[str, Callable[[], Task]] = {
    "MLP 20x256": _mlp,
    "residual CNN": _residual,
    "LSTM, 64 steps": _lstm,
    "small GPT": _gpt,
}

# --- the ways to watch -----------------------------------------------------------------------------------------------

# A way is given the model, and gives what is called between the backward pass and the optimiser's step.
Way = Callable[[nn.Module], contextlib.AbstractContextManager[Callable[[], None]]]


@contextlib.contextmanager
def _bare(_: nn.Module) -> Iterator[Callable[[], None]]:
    yield lambda: None


@contextlib.contextmanager
def _item_loop(model: nn.Module) -> Iterator[Callable[[], None]]:
    kept = []
    yield lambda: kept.append([p.grad.norm().item() for p in model.parameters() if p.grad is not None])


@contextlib.contextmanager
def _total_norm(model: nn.Module) -> Iterator[Callable[[], None]]:
    kept = []
    yield lambda: kept.append(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))


@contextlib.contextmanager
def _lightning(model: nn.Module) -> Iterator[Callable[[], None]]:
    from lightning.pytorch.utilities import grad_norm

    kept = []
    yield lambda: kept.append(grad_norm(model, 2))


def _fastai(histograms: bool) -> Way:
    @contextlib.contextmanager
    def way(model: nn.Module) -> Iterator[Callable[[], None]]:
        from fastai.callback.hook import ActivationStats

        watch = ActivationStats(with_hist=histograms)
        watch.learn = SimpleNamespace(model=model, training=True, train_iter=0)
        watch.before_fit()
        yield watch.after_batch
        watch.after_fit()

    return way


def _tensorboard(weights: bool) -> Way:
    @contextlib.contextmanager
    def way(model: nn.Module) -> Iterator[Callable[[], None]]:
        from torch.utils.tensorboard import SummaryWriter

        with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as log:
            step = 0

            def write() -> None:
                nonlocal step
                step += 1
                for name, parameter in model.named_parameters():
                    log.add_histogram(f"gradient/{name}", parameter.grad, step)
                    if weights:
                        log.add_histogram(f"weight/{name}", parameter, step)

            yield write

    return way


@functools.cache
def _run() -> object:
    """The one run of wandb in this process: what it watches reports to it alone."""
    import wandb

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    return wandb.init(mode="offline", dir=folder, settings=settings)


def _wandb(what: str) -> Way:
    @contextlib.contextmanager
    def way(model: nn.Module) -> Iterator[Callable[[], None]]:
        run, number = _run(), len(_watched_by_wandb)
        _watched_by_wandb.append(model)
        run.watch(model, log=what, log_freq=1, idx=number)
        yield lambda: run.log({"step": 1})
        run.unwatch(model)

    return way


_watched_by_wandb: list[nn.Module] = []


def _recorder(**options: object) -> Way:
    @contextlib.contextmanager
    def way(model: nn.Module) -> Iterator[Callable[[], None]]:
        with Recorder(model, **options) as recorder:
            yield lambda: None
            assert len(recorder.record.step) > 0
            assert not recorder.notes, recorder.notes

    return way


class Entry(NamedTuple):
    """One row of the table: how it watches, what it keeps, how many steps a round holds, and what it needs."""

    way: Way
    keeps: str
    steps: int = 5
    needs: str = "torch"


WAYS: dict[str, Entry] = {
    "bare again (control)": Entry(_bare, "nothing"),
    "p.grad.norm().item()": Entry(_item_loop, "gradient norms"),
    "torch get_total_norm": Entry(_total_norm, "one gradient norm"),
    "Lightning grad_norm": Entry(_lightning, "gradient norms", needs="lightning"),
    "fastai ActivationStats": Entry(_fastai(False), "activations", needs="fastai"),
    "fastai ActivationStats, histograms": Entry(_fastai(True), "activations, histograms", 3, "fastai"),
    "TensorBoard add_histogram": Entry(_tensorboard(False), "gradient histograms", 2, "tensorboard"),
    "TensorBoard add_histogram, weights too": Entry(
        _tensorboard(True), "gradient and weight histograms", 2, "tensorboard"
    ),
    "wandb.watch gradients": Entry(_wandb("gradients"), "gradient histograms", 2, "wandb"),
    "wandb.watch all": Entry(_wandb("all"), "gradient and weight histograms", 2, "wandb"),
    "Recorder()": Entry(_recorder(), "all but histograms, one step in 25", INTERVAL),
    "Recorder(activations=False, updates=False, every=1)": Entry(
        _recorder(activations=False, updates=False, every=1), "gradient norms"
    ),
    "Recorder(activations=False, every=1)": Entry(
        _recorder(activations=False, every=1), "gradient, weight and update norms"
    ),
    "Recorder(every=1)": Entry(_recorder(every=1), "norms, outputs and their gradients, units"),
    "Recorder(every=1, histograms=True)": Entry(
        _recorder(every=1, histograms=True), "all of it, and gradient histograms", 2
    ),
}

# What each way of the recorder is asked for, and which peers keep as much or less.
ASKED = {"Recorder()": 1.02, "Recorder(activations=False, every=1)": 1.05, "Recorder(every=1)": 1.35}


def stepper(task: Task, between: Callable[[], None]) -> Callable[[], None]:
    def step() -> None:
        task.optimizer.zero_grad()
        cross_entropy(task.model(task.x), task.y).backward()
        between()
        task.optimizer.step()

    return step


def measure(network: str, ways: dict[str, Entry], rounds: int) -> dict[str, list[float]]:
    """Way -> one ratio a round."""
    order, clock = np.random.default_rng(0), time.perf_counter
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    with contextlib.ExitStack() as stack:
        torch.manual_seed(0)
        bare, watched = stepper(NETWORKS[network](), lambda: None), {}
        for name, entry in ways.items():
            task = NETWORKS[network]()
            watched[name] = stepper(task, stack.enter_context(entry.way(task.model)))
        for name, step in watched.items():
            for _ in range(FIRST_STEPS if name == "Recorder()" else 3):  # the default's first steps are not its rest
                step()
        for _ in range(3):
            bare()
        for _ in tqdm(range(rounds), desc=f"{network}, {torch.get_num_threads()} threads", disable=None):
            for name in order.permutation(list(ways)):
                step, mine, plain = watched[name], 0.0, 0.0
                for _ in range(ways[name].steps):
                    begin = clock()
                    bare()
                    middle = clock()
                    step()
                    end = clock()
                    plain, mine = plain + middle - begin, mine + end - middle
                ratios[name].append(mine / plain)
    return ratios


# --- memory ----------------------------------------------------------------------------------------------------------


def _resident(which: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1024


def _peak(network: str, name: str | None, connection: object) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = NETWORKS[network]()
    with (WAYS[name].way if name else _bare)(task.model) as between:
        step = stepper(task, between)
        for _ in range(5):
            step()
        connection.send(_resident("VmHWM"))


def memory(network: str, ways: dict[str, Entry]) -> dict[str, float]:
    """Way -> peak memory in MB beyond that of bare training, each in a process of its own. Empty where unknown."""
    if not Path("/proc/self/status").exists():
        return {}
    peaks = {}
    for name in (None, *ways):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_peak, args=(network, name, theirs))
        process.start()
        theirs.close()
        peaks[name] = ours.recv()
        process.join()
    return {name: round(peaks[name] - peaks[None], 1) for name in ways}


# --- the table -------------------------------------------------------------------------------------------------------


def available() -> dict[str, Entry]:
    for name, entry in WAYS.items():
        if find_spec(entry.needs) is None:
            print(f"left out: {name} ({entry.needs} is not installed)")
    return {name: entry for name, entry in WAYS.items() if find_spec(entry.needs) is not None}


def show(network: str, threads: int, rows: dict[str, dict]) -> None:
    print(f"\n{network}, {threads} thread{'s' if threads > 1 else ''}")
    for name, row in rows.items():
        ratio = (
            f"{row['median']:6.3f}  ({row['quartiles'][0]:.3f} to {row['quartiles'][1]:.3f})" if "median" in row else ""
        )
        peak = f"{row['memory']:+8.1f} MB" if "memory" in row else ""
        asked = f"   asked: {ASKED[name]}" if name in ASKED else ""
        print(f"  {name:52} {ratio} {peak}{asked}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--threads", type=int, choices=(1, 2), action="append")
    parser.add_argument("--only", help="ways whose name holds this")
    parser.add_argument("--part", choices=("time", "memory"), help="only this; the other stays as it was kept")
    parser.add_argument("--quick", action="store_true", help="5 rounds, no memory, nothing is kept")
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error(f"--rounds must be at least 5, got {options.rounds}")
    warnings.filterwarnings("ignore", module="fastai|wandb")
    ways = {name: entry for name, entry in available().items() if (options.only or "") in name}
    rounds = 5 if options.quick else options.rounds
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"networks": {}}
    for network in options.network or NETWORKS:
        peaks = {} if options.quick or options.part == "time" else memory(network, ways)
        for threads in options.threads or (1, 2):
            torch.set_num_threads(threads)
            earlier = kept["networks"].setdefault(network, {}).setdefault(str(threads), {})
            ratios = {} if options.part == "memory" else measure(network, ways, rounds)
            for name in ways:
                row = earlier.setdefault(name, {})
                if name in ratios:
                    low, middle, high = (round(float(np.percentile(ratios[name], p)), 3) for p in (25, 50, 75))
                    row |= {"median": middle, "quartiles": [low, high]}
                if name in peaks:
                    row["memory"] = peaks[name]
            kept["networks"][network][str(threads)] = {name: earlier[name] for name in WAYS if name in earlier}
            show(network, threads, {name: earlier[name] for name in ways})
        if options.quick:
            continue
        kept |= {
            "date": datetime.date.today().isoformat(),
            "torch": version("torch"),
            "python": platform.python_version(),
            "asked": ASKED,
            "keeps": {name: entry.keeps for name, entry in WAYS.items()},
        }
        finished = KEPT.with_suffix(".tmp")
        finished.write_text(json.dumps(kept, indent=1) + "\n")
        finished.replace(KEPT)


if __name__ == "__main__":
    main()
