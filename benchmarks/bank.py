"""The bank of runs that ``benchmarks/diagnosis.py`` scores: one fault each, put into a network that works.

A case says which fault it is. Training decides whether that is so, never the rules under test: the faulty run must
fail against the reference of its data and architecture, its one matching remedy must make it pass, and sham remedies
must not. The cases of part "tune" may be looked at while rules are written. Those of part "held" have other
architectures and other data, and are scored once.
"""

import ast
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_sample_images, load_wine
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from gradclinic.course.data import Dataset, adding_problem, digits
from gradclinic.course.models import MLP, ConvNet, RecurrentClassifier
from gradclinic.course.training import chance_loss
from gradclinic.record import Record
from gradclinic.recorder import Recorder


@dataclass(frozen=True)
class Spec:
    """Everything that decides a run, but its seed."""

    data: str = "digits"
    arch: str = "mlp"
    depth: int = 4
    width: int = 48
    activation: str = "relu"
    init: str | float = "he"
    norm: str | None = None
    skip: bool = False
    branch_scale: float = 1.0
    optimizer: str = "adam"
    lr: float = 3e-3
    steps: int = 250
    batch: int = 64
    clip: float | None = None
    accumulate: int = 1
    warmup: int = 0
    weight_decay: float = 0.0
    reduction: str = "mean"
    input_scale: float = 1.0
    label_noise: float = 0.0
    scaled_layer: tuple[int, float] | None = None  # the weights of one layer, times a number
    bias: tuple[int, float] | None = None  # the biases of one layer (0: of all), set to a number
    frozen: int = 0  # the first layers do not train
    tied: bool = False  # all square layers share one weight
    before: int = 0  # steps trained before the recorder comes


@dataclass(frozen=True)
class Case:
    """A fault, or "healthy"; what mends it; what must not. ``layer`` is where it was put, if in one place."""

    name: str
    kind: str
    part: str
    spec: Spec
    remedy: dict = field(default_factory=dict)
    shams: tuple[dict, ...] = ()
    layer: int | None = None


@dataclass
class Outcome:
    """A finished run: its score, what the recorder saw, and what the rules of other tools look at."""

    score: float
    record: Record | None
    peers: dict[str, np.ndarray]


# --- data ------------------------------------------------------------------------------------------------------------


def _split(x: np.ndarray, y: np.ndarray, seed: int, stratify: bool = True) -> Dataset:
    parts = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=y if stratify else None)
    x_train, x_test = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    kind = torch.int64 if stratify else torch.float32
    y_train, y_test = (torch.tensor(part, dtype=kind) for part in parts[2:])
    mean, std = x_train.mean(0), x_train.std(0).clamp(min=1e-6)
    return Dataset((x_train - mean) / std, y_train, (x_test - mean) / std, y_test)


@cache
def _patches() -> tuple[np.ndarray, np.ndarray]:
    """8x8 colour patches of scikit-learn's two photographs; the class is the photograph a patch was cut from."""
    x, y = [], []
    for number, photo in enumerate(load_sample_images().images):
        high, wide = photo.shape[0] // 8, photo.shape[1] // 8
        grid = photo[: high * 8, : wide * 8].reshape(high, 8, wide, 8, 3) / 255
        x.append(grid.transpose(0, 2, 4, 1, 3).reshape(-1, 192))
        y.append(np.full(high * wide, number))
    x, y = np.concatenate(x), np.concatenate(y)
    chosen = np.random.default_rng(0).permutation(len(x))[:2000]
    return x[chosen], y[chosen]


@cache
def load(name: str, seed: int) -> Dataset:
    if name == "digits":
        return digits(seed)
    if name == "adding":
        return adding_problem(20, 4096, seed)
    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True)
        return _split(x, (y - y.mean()) / y.std(), seed, stratify=False)
    if name in ("cancer", "wine"):
        return _split(*{"cancer": load_breast_cancer, "wine": load_wine}[name](return_X_y=True), seed)
    if name == "patches":
        return _split(*_patches(), seed)
    if name == "rows":  # the same patches, read row by row
        held = _split(*_patches(), seed)
        return Dataset(
            *(t.reshape(-1, 3, 8, 8).transpose(1, 2).reshape(-1, 8, 24) if t.dim() == 2 else t for t in held)
        )
    raise ValueError(f"unknown data {name!r}")


# --- networks --------------------------------------------------------------------------------------------------------


def build(spec: Spec, data: Dataset, seed: int) -> nn.Module:
    outputs = 1 if data.y_train.is_floating_point() else int(data.y_train.max()) + 1
    features = data.x_train.shape[-1]
    common = {"norm": spec.norm, "skip": spec.skip, "branch_scale": spec.branch_scale, "seed": seed}
    activation = nn.functional.leaky_relu if spec.activation == "leaky_relu" else spec.activation
    if spec.arch == "mlp":
        sizes = {"in_features": features, "out_features": outputs}
        model = MLP(spec.depth, spec.width, activation, spec.init, **sizes, **common)
    elif spec.arch == "conv":
        model = ConvNet(
            spec.depth, spec.width, activation, spec.init, in_channels=features // 64, out_features=outputs, **common
        )
    else:
        sizes = {"in_features": features, "out_features": outputs}
        recurrent = spec.init if spec.init != "he" else "pytorch"
        model = RecurrentClassifier(spec.arch, spec.width, recurrent_init=recurrent, seed=seed, **sizes)
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][: spec.depth]
    with torch.no_grad():
        if spec.scaled_layer is not None:
            layers[spec.scaled_layer[0] - 1].weight.mul_(spec.scaled_layer[1])
        if spec.bias is not None:
            number, value = spec.bias
            for layer in layers if number == 0 else [layers[number - 1]]:
                layer.bias.fill_(value)
    if spec.tied:
        for layer in layers[2:]:
            layer.weight = layers[1].weight
    for layer in layers[: spec.frozen]:
        layer.requires_grad_(False)
    return model


# --- training --------------------------------------------------------------------------------------------------------


class _Peers:
    """Every tenth step, what AutoTrainer and DeepDiagnosis read; taken with hooks of its own, not from a ``Record``."""

    def __init__(self, model: nn.Module):
        self.rows: list[tuple[float, ...]] = []
        self.active = False
        self._zero: list[float] = []
        self._beyond: list[float] = []
        self.layers = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
        for module in model.modules():
            if isinstance(module, (nn.ReLU, nn.Tanh, nn.Sigmoid)):
                module.register_forward_hook(self._look)

    def _look(self, _module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if self.active:
            self._zero.append((output == 0).double().mean().item())
            self._beyond.append((inputs[0].abs() > 5).double().mean().item())

    def read(self) -> None:
        gradients = [m.weight.grad for m in self.layers if getattr(m, "weight", None) is not None]
        gradients += [m.weight_hh.grad for m in self.layers if getattr(m, "weight_hh", None) is not None]
        gradients = [g for g in gradients if g is not None]
        norms = [g.double().norm().item() for g in gradients]
        self.rows.append(
            (
                norms[0],
                norms[-1],
                max((g == 0).double().mean().item() for g in gradients),
                min(g.double().abs().mean().item() for g in gradients),
                max(self._zero, default=0.0),
                max(self._beyond, default=0.0),
            )
        )
        self._zero, self._beyond = [], []


def train(spec: Spec, seed: int, watch: bool = True) -> Outcome:
    """One run. ``watch`` records it; what is not looked at costs less."""
    torch.set_num_threads(1)
    data = load(spec.data, seed)
    model = build(spec, data, seed)
    trained = [p for p in model.parameters() if p.requires_grad]
    make = {
        "sgd": lambda lr: torch.optim.SGD(trained, lr, weight_decay=spec.weight_decay),
        "momentum": lambda lr: torch.optim.SGD(trained, lr, momentum=0.9, weight_decay=spec.weight_decay),
        "adam": lambda lr: torch.optim.Adam(trained, lr, weight_decay=spec.weight_decay),
    }
    optimizer = make[spec.optimizer](spec.lr)
    numbers = data.y_train.is_floating_point()
    loss_function = mse_loss if numbers else cross_entropy
    shape = () if numbers else (int(data.y_train.max()) + 1,)
    x, y = data.x_train * spec.input_scale, data.y_train
    generator = torch.Generator().manual_seed(seed)
    if spec.label_noise:
        other = torch.randint(0, int(y.max()) + 1, y.shape, generator=generator)
        y = torch.where(torch.rand(y.shape, generator=generator) < spec.label_noise, other, y)
    recorder = (
        Recorder(model, chance_loss=None if spec.reduction == "sum" else chance_loss(y), every=1) if watch else None
    )
    peers, accuracies, losses = (_Peers(model) if watch else None), [], []

    def batches():
        while True:
            for rows in torch.randperm(len(x), generator=generator).split(spec.batch):
                if len(rows) == spec.batch:
                    yield rows

    source = batches()

    def step(number: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = spec.lr * min(1.0, (number + 1) / spec.warmup) if spec.warmup else spec.lr
        optimizer.zero_grad()
        if peers is not None:
            peers.active = number % 10 == 0
        for _ in range(spec.accumulate):
            rows = next(source)
            answers = model(x[rows]).reshape(-1, *shape)
            loss = loss_function(answers, y[rows], reduction=spec.reduction) / spec.accumulate
            loss.backward()
            told = loss.item() * spec.accumulate
            if recorder is not None:
                recorder.log_loss(told)
            losses.append(told)
        if peers is not None and peers.active:
            peers.read()
            if not numbers:
                accuracies.append((answers.detach().argmax(1) == y[rows]).double().mean().item())
        if spec.clip is not None:
            nn.utils.clip_grad_norm_(trained, spec.clip)
        optimizer.step()

    for number in range(-spec.before, 0):
        step(number)
    if peers is not None:
        peers.rows.clear()
        accuracies.clear()
    losses.clear()
    with recorder if watch else nullcontext():
        for number in range(spec.steps):
            step(number)
            if not math.isfinite(losses[-1]) and number >= 60 and not math.isfinite(losses[-20]):
                break  # nothing comes back from there
    model.eval()
    with torch.no_grad():
        answers = model(data.x_test * spec.input_scale).reshape(-1, *shape)
        if numbers:
            score = 1 - (mse_loss(answers, data.y_test) / data.y_test.var(correction=0)).item()
        else:
            share = (answers.argmax(1) == data.y_test).double().mean().item()
            largest = torch.bincount(data.y_test).max().item() / len(data.y_test)
            score = (share - largest) / (1 - largest)
    score = score if math.isfinite(score) and answers.isfinite().all() else -math.inf
    seen = {}
    if watch:
        seen = {"rows": np.array(peers.rows), "accuracy": np.array(accuracies), "loss": np.array(losses)}
    return Outcome(score, recorder.record if watch else None, seen)


# --- the cases -------------------------------------------------------------------------------------------------------

# A network that works, for each data set and kind of network. A run passes if it scores at least 0.8 of it, and fails
# below 0.5; between them it is neither, and left out.
REFERENCE: dict[tuple[str, str], Spec] = {
    ("digits", "mlp"): Spec(),
    ("diabetes", "mlp"): Spec(data="diabetes", depth=2, lr=1e-3, batch=32),
    ("adding", "recurrent"): Spec(data="adding", arch="gru", width=32, lr=1e-2, steps=500),
    ("cancer", "mlp"): Spec(data="cancer", depth=3, batch=32),
    ("wine", "mlp"): Spec(data="wine", depth=3, batch=16, lr=2e-3),
    ("patches", "conv"): Spec(data="patches", arch="conv", width=12),
    ("rows", "recurrent"): Spec(data="rows", arch="lstm", width=32, lr=5e-3),
}
PASS, FAIL = 0.8, 0.5


def reference(spec: Spec) -> Spec:
    return REFERENCE[spec.data, spec.arch if spec.arch in ("mlp", "conv") else "recurrent"]


SLOWER_FASTER = ({"lr_times": 0.1}, {"lr_times": 10.0})


def changed(spec: Spec, change: dict) -> Spec:
    """``spec`` with some fields replaced; ``lr_times`` multiplies the learning rate."""
    change = dict(change)
    if "lr_times" in change:
        change["lr"] = spec.lr * change.pop("lr_times")
    return replace(spec, **change)


# What the runs of a family share, and the part that they stand in.
FAMILIES: dict[str, tuple[str, Spec]] = {
    # plain and residual MLPs on digits and diabetes, plain recurrence on the adding problem
    "mlp": ("tune", Spec()),
    "rnn": ("tune", Spec(data="adding", arch="rnn", width=32, lr=1e-2, steps=500)),
    # convolutional, residual and gated networks on photographs; MLPs on tables with other shapes
    "conv": ("held", Spec(data="patches", arch="conv", width=12)),
    "gated": ("held", Spec(data="rows", arch="lstm", width=32, lr=5e-3)),
    "table": ("held", Spec(data="cancer", batch=32)),
    "wine": ("held", Spec(data="wine", batch=16, lr=2e-3)),
}

# A case a line: its name, what mends it, the five settings that differ most, then others. A point stands for what the
# family has. Above each group stand the family and the fault.
COLUMNS = ("depth", "activation", "init", "optimizer", "lr")
TABLE = """
case                        remedy                  depth activ.   init optim.      lr  others

[mlp: vanishing]
relu-24-pytorch             init=he                    24 .       pytorch .         1e-3  steps=350
relu-16-small-start-sgd     init=he                    16 .           0.7 sgd       0.05
tanh-20-small-start-sgd     init=xavier                20 tanh        0.5 sgd        0.1
sigmoid-16-adam             activation=relu init=he    16 sigmoid  xavier .         1e-3
sigmoid-6-sgd               activation=relu init=he     6 sigmoid pytorch sgd        0.1

[mlp: exploding]
tanh-20-chaos-sgd           init=xavier                20 tanh        4.0 sgd       0.05
tanh-16-chaos-adam          init=xavier                16 tanh        6.0 .         1e-3
relu-16-large-start-sgd     init=he                    16 .           3.0 sgd       0.05
relu-16-large-start-adam    init=he                    16 .           4.0 .         1e-3
linear-30                   init=lecun                 30 linear      2.0 sgd       0.01
residual-50-unscaled        branch_scale=0.14          50 .             . sgd       0.03  width=32 skip=True

[mlp: overflow]
relu-26-scale-64            init=he                    26 .          64.0 .         1e-3
linear-40-scale-16          init=lecun                 40 linear     16.0 .         3e-4  width=32
relu-12-one-huge-layer      scaled_layer=None          12 .             . .         1e-3  scaled_layer=(7,1e39)

[mlp: dying ReLU]
relu-6-negative-bias        bias=None                   6 .             . sgd       0.05  bias=(0,-4.0)
relu-8-negative-bias-adam   bias=None                   8 .             . .         1e-3  bias=(0,-6.0)
relu-10-one-dead-layer      bias=None                  10 .             . .         1e-3  bias=(5,-20.0)
relu-18-narrow              width=48                   18 .             . .         1e-3  width=2

[mlp: saturated]
tanh-2-huge-start           init=xavier                 2 tanh      300.0 sgd        0.1
sigmoid-3-bias              bias=None                   3 sigmoid     4.0 sgd        0.3  bias=(0,25.0)
tanh-6-one-layer            bias=None                   6 tanh     xavier .         1e-3  bias=(3,15.0)
sigmoid-2-raw-inputs        bias=None init=xavier       2 sigmoid    60.0 .         1e-3  bias=(0,-60.0)

[mlp: learning rate too high]
relu-4-sgd-fast             lr_times=0.01               . .             . sgd        5.0
tanh-8-sgd-fast             lr_times=0.01               8 tanh     xavier sgd       10.0
relu-8-adam-fast            lr_times=0.003              8 .             . .          0.5
tanh-6-adam-fast            lr_times=0.003              6 tanh     xavier .          0.5
relu-6-momentum-fast        lr_times=0.01               6 .             . momentum   1.0
relu-4-sgd-to-nan           lr_times=0.001              . .             . sgd       50.0

[mlp: learning rate too low]
relu-4-sgd-slow             lr_times=1e4                . .             . sgd       1e-5
tanh-8-adam-slow            lr_times=1e4                8 tanh     xavier .         2e-7
relu-8-batch-norm-slow      lr_times=1e5                8 .             . sgd       1e-6  norm=batch

[rnn: vanishing]
rnn-adding-small-radius     arch=gru init=pytorch       . .           0.3 .            .
rnn-adding-default          arch=gru                    . .       pytorch .         3e-3

[rnn: exploding]
rnn-adding-large-radius     arch=gru init=pytorch       . .           4.0 .            .

[rnn: learning rate too low]
gru-adding-slow             lr_times=1e4                . .       pytorch .         1e-6  arch=gru

[mlp: healthy]
relu-4                                                  . .             . .            .
one-tiny-layer                                         10 tanh     xavier sgd        0.1  scaled_layer=(6,1e-6)
relu-12-sgd                                            12 .             . sgd       0.05
tanh-12-sgd                                            12 tanh     xavier sgd        0.1
sigmoid-2                                               2 sigmoid  xavier .         1e-2
batch-norm-10                                          10 .             . .         1e-3  norm=batch
residual-24-scaled                                     24 .             . .         1e-3  skip=True branch_scale=0.2
residual-12-unscaled                                   12 .             . .         1e-3  skip=True
layer-norm-10                                          10 .             . .         1e-3  norm=layer
many-dead-units                                         2 .             . .         3e-3  width=256 bias=(1,-3.0)
saturated-but-learning                                  2 tanh        3.0 .         3e-3
summed-loss                                             . .             . sgd       1e-3  reduction=sum
frozen-half                                             6 .             . .            .  frozen=3
tied-layers                                             6 .             . .         1e-3  tied=True
batches-of-4                                            . .             . .         1e-3  batch=4 steps=400
warm-up                                                 8 .             . .            .  warmup=60
active-clipping                                         6 .             . sgd        1.0  clip=0.1
accumulation                                            6 .             . .            .  accumulate=4 batch=16
converged                                               4 .             . .            .  before=400 steps=150
noisy-labels                                            . .             . .            .  label_noise=0.3
sigmoid-3-adam                                          3 sigmoid  xavier .         1e-2
diabetes                                                2 .             . .         1e-3  data=diabetes batch=32

[rnn: healthy]
gru-adding                                              . .       pytorch .            .  arch=gru

[conv: vanishing]
conv-20-pytorch             init=he                    20 .       pytorch .         1e-3
conv-16-small-start         init=he                    16 .           0.4 .         1e-3
conv-sigmoid-10             activation=relu            10 sigmoid      he sgd       0.05

[conv: exploding]
conv-16-large-start         init=he                    16 .           4.0 sgd       0.02
conv-tanh-14-chaos          init=xavier                14 tanh        6.0 sgd       0.05
conv-residual-40-unscaled   branch_scale=0.16          40 .             . sgd       0.01  skip=True steps=150

[conv: overflow]
conv-30-scale-40            init=he                    30 .          40.0 .         1e-3  steps=150
conv-one-huge-layer         scaled_layer=None           8 .             . .            .  scaled_layer=(4,1e39)

[conv: dying ReLU]
conv-negative-bias          bias=None                   5 .             . .         1e-3  bias=(0,-8.0)
conv-one-dead-layer         bias=None                   6 .             . .            .  bias=(3,-30.0)

[conv: saturated]
conv-tanh-bias              bias=None                   4 tanh     xavier .            .  bias=(2,20.0)

[conv: learning rate too high]
conv-sgd-fast               lr_times=0.003              . .             . sgd       20.0
conv-6-adam-fast            lr_times=3e-3               6 .             . .          0.5

[conv: learning rate too low]
conv-adam-slow              lr_times=1e4                . .             . .         3e-7

[conv: healthy]
conv-4                                                  . .             . .            .
conv-residual-16                                       16 .             . .            .  skip=True branch_scale=0.25
conv-batch-norm-10                                     10 .             . .            .  norm=batch
conv-residual-batch-norm-16                            16 .             . .            .  norm=batch skip=True
conv-clipped                                            6 .             . sgd        0.5  clip=0.1
conv-frozen                                             5 .             . .            .  frozen=2
conv-converged                                          . .             . .            .  before=300 steps=150

[gated: learning rate too high]
lstm-adam-fast              lr_times=3e-4               . .             . .         20.0

[gated: learning rate too low]
gru-adam-slow               lr_times=1e4                . .             . .         5e-7  arch=gru

[gated: healthy]
lstm-rows                                               . .             . .            .
gru-rows                                                . .             . .            .  arch=gru
rnn-rows                                                . .             . .         2e-3  arch=rnn

[table: vanishing]
cancer-tanh-24              init=xavier                24 tanh        0.4 sgd        0.1

[table: exploding]
cancer-relu-18              init=he                    18 .           4.0 sgd       0.02

[table: saturated]
cancer-sigmoid              bias=None                   3 sigmoid     4.0 sgd        0.3  bias=(0,30.0)

[table: dying ReLU]
cancer-relu                 bias=None                   5 .             . .            .  bias=(0,-10.0)

[table: healthy]
cancer-relu-3                                           3 .             . .            .
cancer-tanh-8                                           8 tanh     xavier sgd        0.1
cancer-summed-loss                                      3 .             . sgd       1e-3  reduction=sum

[wine: vanishing]
wine-relu-20                init=he                    20 .           0.6 sgd       0.05

[wine: learning rate too high]
wine-tanh-sgd-fast          lr_times=0.003              6 tanh     xavier sgd       30.0

[wine: learning rate too low]
wine-relu-sgd-slow          lr_times=1e4                4 .             . sgd       1e-6

[wine: healthy]
wine-relu-3                                             3 .             . .            .
wine-batches-of-8                                       3 .             . .         1e-3  batch=8
wine-residual-layer-norm                               10 .             . .            .  skip=True norm=layer
"""


def _value(text: str) -> object:
    """A number, a tuple, True, False or None as Python writes them; else a name."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _settings(words: list[str]) -> dict[str, object]:
    return {name: _value(text) for name, text in (word.split("=") for word in words)}


def _shams(kind: str, spec: Spec) -> tuple[dict, ...]:
    """What must not mend a fault: mostly another learning rate."""
    another_start = {"init": "xavier" if spec.arch in ("mlp", "conv") else "orthogonal"}
    rate = {"learning rate too high": (another_start,), "learning rate too low": (another_start, {"clip": 1.0})}
    return rate.get(kind, SLOWER_FASTER)


def _case(line: str, family: str, kind: str) -> Case:
    name, *words = line.split()
    first = next(i for i, word in enumerate(words) if "=" not in word)
    remedy, columns, others = words[:first], words[first : first + len(COLUMNS)], words[first + len(COLUMNS) :]
    settings = {column: _value(word) for column, word in zip(COLUMNS, columns, strict=True) if word != "."}
    part, base = FAMILIES[family]
    spec = replace(base, **settings, **_settings(others))
    if kind == "healthy":
        return Case(name, kind, part, spec)
    number, _ = spec.scaled_layer or spec.bias or (0, None)  # 0: in all layers
    return Case(name, kind, part, spec, _settings(remedy), _shams(kind, spec), number or None)


def _cases() -> Iterator[Case]:
    family, kind = "", ""
    for line in TABLE.strip().splitlines()[1:]:
        if line.startswith("["):
            family, kind = line.strip("[]").split(": ")
        elif line:
            yield _case(line, family, kind)


CASES = list(_cases())
assert len({case.name for case in CASES}) == len(CASES), "case names must be unique"
