"""Claims about how to see vanishing and exploding gradients, and how to tell runs apart."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from gradclinic import tensorboard
from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, Quantity, claim, each, memory
from gradclinic.course.audit.networks import digits_batch, predicted_overflow
from gradclinic.course.data import digits
from gradclinic.course.initializers import Initializer
from gradclinic.course.models import MLP
from gradclinic.course.training import chance_loss, fit
from gradclinic.record import HISTOGRAM_EDGES, Record
from gradclinic.recorder import Recorder, probe


def watched(depth: int, activation: theory.Activation, init: Initializer, seed: int) -> Record:
    """One step of Adam on 256 real digits with a fresh ``MLP`` of width 64, histograms included."""
    model = MLP(depth, 64, activation, init, seed=seed)
    x, y = digits_batch()
    with Recorder(model, histograms=True, chance_loss=chance_loss(y)) as recorder:
        loss = cross_entropy(model(x), y)
        recorder.log_loss(loss)
        loss.backward()
        torch.optim.Adam(model.parameters(), lr=3e-3).step()
    return recorder.record


def middle_exponents(record: Record) -> np.ndarray:
    """Power of ten of each hidden layer's middle gradient entry, zeros left out, from its histogram; to half a decade.

    Returns:
        Shape (depth,), of the first recorded step.
    """
    exponents = np.log10(HISTOGRAM_EDGES[len(HISTOGRAM_EDGES) // 2 :])
    counts = record.size_histogram[0, :-1, 1:]
    place = (counts.cumsum(1) < counts.sum(1, keepdims=True) / 2).sum(1)
    return (exponents[place] + exponents[place + 1]) / 2


@claim("S15")
def _s15() -> Finding:
    deep, level = ([watched(20, *kind, seed) for seed in SEEDS] for kind in (("sigmoid", "he"), ("relu", "he")))
    middle = [middle_exponents(record) for record in deep]
    norms = [np.log10(record.gradient_norm[0, :-1]) for record in deep]
    return Finding(
        "S15",
        "Histograms and norms of the gradients show that they vanish.",
        (
            each(
                "decades the norm loses from layer 20 to layer 1, 20 sigmoid layers",
                [n[-1] - n[0] for n in norms],
                "above 6",
                lambda v: v > 6,
            ),
            each(
                "decades the middle of the histogram loses",
                [m[-1] - m[0] for m in middle],
                "above 6",
                lambda v: v > 6,
            ),
            each(
                "how straight the way of the histograms to 0 is, from layer 20 back (R²)",
                [np.corrcoef(np.arange(20), m)[0, 1] ** 2 for m in middle],
                "above 0.95",
                lambda v: v > 0.95,
            ),
            each(
                "the same decades with 20 ReLU layers and the He start, either way",
                [abs(m[-1] - m[0]) for m in map(middle_exponents, level)],
                "below 1.5",
                lambda v: v < 1.5,
            ),
        ),
    )


def read_back(record: Record) -> tuple[int, int, float]:
    """Write a record for TensorBoard, and read the files with TensorBoard's own reader.

    Returns:
        How many gradient norms and how many histogram bins are not those of the record, and the decades between the
        gradient norms of the first and the last hidden layer, as read.
    """
    # here, because importing TensorBoard takes a second that no other claim needs
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TemporaryDirectory() as folder:
        reader = EventAccumulator(str(tensorboard.write(record, Path(folder) / "run"))).Reload()
    read, wrong_bins = [], 0
    for n, layer in enumerate(record.layers):
        read.append([event.value for event in reader.Scalars(f"gradient_norm/{layer}")])
        for row, event in enumerate(reader.Histograms(f"gradient/{layer}")):
            found = np.zeros(len(HISTOGRAM_EDGES) - 1)
            found[np.searchsorted(HISTOGRAM_EDGES, event.histogram_value.bucket_limit) - 1] = (
                event.histogram_value.bucket
            )
            wrong_bins += int((found != record.histogram[row, n]).sum())
    wrong = int((record.gradient_norm.astype(np.float32) != np.array(read, dtype=np.float32).T).sum())
    return wrong, wrong_bins, math.log10(read[-2][0] / read[0][0])


@claim("S32")
def _s32() -> Finding:
    wrong, wrong_bins, decades = zip(*(read_back(watched(20, "sigmoid", "he", seed)) for seed in SEEDS), strict=True)
    return Finding(
        "S32",
        "TensorBoard shows the gradients.",
        (
            each("gradient norms that its reader finds changed, 20 sigmoid layers", wrong, "0", lambda v: v == 0),
            each("bins of gradient histograms that it finds changed", wrong_bins, "0", lambda v: v == 0),
            each("decades from layer 20 to layer 1 in what it reads", decades, "above 6", lambda v: v > 6),
        ),
    )


# --- telling runs apart ----------------------------------------------------------------------------------------------

# One network, and what is changed in it. All runs but the first are stuck, and look alike from outside.
LOOKALIKES = {
    "healthy": {},
    "vanishing": {"init": "pytorch"},
    "too small a rate": {"learning_rate": 1e-6},
    "dead ReLU": {"bias": -30.0},
    "no signal": {"shuffled": True},
}


@memory.cache
def lookalike(kind: str, seed: int, every: int = 6) -> tuple[Record, float]:
    """Train 12 ReLU layers of 64 units on the digits for 4 epochs, with one thing changed.

    Args:
        kind: a key of ``LOOKALIKES``: nothing changed; PyTorch's start in place of He's; a learning rate 20,000 times
            smaller; layer 6 with a bias that no input overcomes; labels dealt out anew.
        seed: of the starting weights, the order of the examples and the deal.
        every: record one step in so many.
    Returns:
        The record, and the accuracy on the test images at the end.
    """
    wanted = {"init": "he", "learning_rate": 0.02, "bias": 0.0, "shuffled": False} | LOOKALIKES[kind]
    data, model = digits(), MLP(12, 64, "relu", wanted["init"], seed=seed)
    if wanted["bias"]:
        with torch.no_grad():
            model.layer6.bias.fill_(wanted["bias"])
    if wanted["shuffled"]:
        deal = torch.randperm(len(data.y_train), generator=torch.Generator().manual_seed(seed))
        data = data._replace(y_train=data.y_train[deal])
    recorder = Recorder(model, every=every)
    optimizer = torch.optim.SGD(model.parameters(), lr=wanted["learning_rate"], momentum=0.9)
    history = fit(model, data, optimizer, 4, seed=seed, recorder=recorder, progress=False)
    return recorder.record, history.test_accuracy[-1]


def recent_loss(record: Record) -> float:
    """Median loss of the last tenth of the recorded steps, over that of the best answer that ignores the input."""
    return float(np.median(record.loss[-max(3, len(record.loss) // 10) :]) / record.chance_loss)


def depth_ratio(record: Record) -> float:
    """First over last hidden layer's gradient at the pre-activations, in the first recorded step; NaN for 0 over 0."""
    first, last = record.output_gradient_norm[0, [0, -2]]
    return float(first / last) if last > 0 else math.nan


def signs(record: Record) -> dict[str, float]:
    """The three numbers that tell apart why a run is stuck.

    Returns:
        ``ratio``: as ``depth_ratio``. ``update``: median over steps of the median update ratio of the layers. ``dead``:
        largest share of dead units in a layer, in the first recorded step.
    """
    return {
        "ratio": depth_ratio(record),
        "update": float(np.nanmedian(np.median(record.update_ratio, axis=1))),  # unknown in the last step
        "dead": float(record.dead[0].max()),
    }


def told_apart(record: Record) -> str:
    """A key of ``LOOKALIKES``, read off the loss and the three numbers of ``signs``."""
    if recent_loss(record) < 0.8:
        return "healthy"
    found = signs(record)
    if found["dead"] > 0.9:
        return "dead ReLU"
    if found["ratio"] < 1e-3:
        return "vanishing"
    return "too small a rate" if found["update"] < 1e-4 else "no signal"


class Descent(NamedTuple):
    """A run on the same digits in every step, so that no batch is easier than the last.

    Attributes:
        loss: before each step, in nats.
        record: of one step in ``every``, the first included.
    """

    loss: np.ndarray
    record: Record


@memory.cache
def descended(
    depth: int,
    activation: str,
    init: Initializer,
    optimizer: str,
    learning_rate: float,
    steps: int,
    seed: int,
    weight_decay: float = 0.0,
    every: int = 10,
) -> Descent:
    """Train an ``MLP`` of width 32 on 128 digits."""
    model, (x, y) = MLP(depth, 32, activation, init, seed=seed), digits_batch(128)
    trainer = getattr(torch.optim, optimizer)(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    losses = []
    with Recorder(model, every=every, chance_loss=chance_loss(y)) as recorder:
        for _ in range(steps):
            trainer.zero_grad()
            loss = cross_entropy(model(x), y)
            recorder.log_loss(loss)
            loss.backward()
            trainer.step()
            losses.append(loss.item())
    return Descent(np.array(losses), recorder.record)


def rising(run: Descent) -> float:
    """Share of steps after which the loss was higher by more than a thousandth of that of guessing."""
    return float((np.diff(run.loss) > 1e-3 * run.record.chance_loss).mean())


def grown(run: Descent, row: int = -1) -> float:
    """Norm of the first layer's weights and biases after a recorded step, over that after the first."""
    return float(run.record.weight_norm[row, 0] / run.record.weight_norm[0, 0])


@claim("S12")
def _s12() -> Finding:
    def runs(activation: str, init: Initializer, optimizer: str, rate: float, decay: float) -> list[Descent]:
        return [descended(10, activation, init, optimizer, rate, 61, seed, decay) for seed in SEEDS]

    plain, decayed = (runs("sigmoid", "pytorch", "SGD", 0.5, decay) for decay in (0.0, 0.1))
    return Finding(
        "S12",
        "A sign of vanishing gradients is that the weights converge to 0.",
        (
            each(
                "first over last layer's gradient norm, 10 sigmoid layers",
                [r.record.gradient_norm[0, 0] / r.record.gradient_norm[0, -1] for r in plain],
                "below 10⁻⁶: they vanish",
                lambda v: v < 1e-6,
            ),
            each(
                "norm of layer 1 after 60 steps of SGD over before",
                [grown(r) for r in plain],
                "below 0.5, if weights converge to 0",
                lambda v: v < 0.5,
            ),
            each(
                "the same with weight decay 0.1, learning rate 0.5, over 0.95⁶⁰: what decay alone leaves",
                [grown(r) / 0.95**60 for r in decayed],
                "1 ± 10⁻³",
                lambda v: abs(v - 1) < 1e-3,
            ),
            each(
                "norm of layer 1 after 60 steps of Adam with weight_decay=1e-4 over before",
                [grown(r) for r in runs("sigmoid", "pytorch", "Adam", 5e-3, 1e-4)],
                "below 0.1",
                lambda v: v < 0.1,
            ),
            each(
                "the same with AdamW",
                [grown(r) for r in runs("sigmoid", "pytorch", "AdamW", 5e-3, 1e-4)],
                "below 0.5, if weights converge to 0",
                lambda v: v < 0.5,
            ),
            each(
                "the same with Adam where gradients do not vanish: 10 ReLU layers, He's start",
                [grown(r) for r in runs("relu", "he", "Adam", 5e-3, 1e-4)],
                "above 0.9",
                lambda v: v > 0.9,
            ),
        ),
    )


@claim("S13")
def _s13() -> Finding:
    runs = {kind: [lookalike(kind, seed)[0] for seed in SEEDS] for kind in LOOKALIKES}
    others = ("too small a rate", "dead ReLU", "no signal")
    return Finding(
        "S13",
        "A sign of vanishing gradients is that the metrics stagnate.",
        (
            each(
                "recent loss over that of guessing, vanishing",
                [recent_loss(r) for r in runs["vanishing"]],
                "above 0.95: it stagnates",
                lambda v: v > 0.95,
            ),
            *(
                each(
                    f"recent loss over that of guessing, {kind}",
                    [recent_loss(r) for r in runs[kind]],
                    "below 0.95, if only vanishing gradients stagnate",
                    lambda v: v < 0.95,
                )
                for kind in others
            ),
        ),
        "Vanishing gradients make a run stagnate. So do too small a learning rate, dead ReLU units, and labels that "
        "have nothing to do with the inputs. Three numbers tell them apart: the gradient's ratio across depth, "
        "the update ratio, and the share of dead units.",
        (
            each(
                "first over last gradient at the pre-activations, vanishing",
                [signs(r)["ratio"] for r in runs["vanishing"]],
                "below 10⁻³",
                lambda v: v < 1e-3,
            ),
            *(
                each(
                    f"the same, {kind}",
                    [signs(r)["ratio"] for r in runs[kind]],
                    "above 10⁻²",
                    lambda v: v > 1e-2,
                )
                for kind in ("healthy", "too small a rate", "no signal")
            ),
            each(
                "median update ratio, too small a rate",
                [signs(r)["update"] for r in runs["too small a rate"]],
                "below 10⁻⁵",
                lambda v: v < 1e-5,
            ),
            *(
                each(
                    f"the same, {kind}",
                    [signs(r)["update"] for r in runs[kind]],
                    "above 2·10⁻⁴",
                    lambda v: v > 2e-4,
                )
                for kind in ("healthy", "no signal")
            ),
            each(
                "largest share of dead units in a layer, dead ReLU",
                [signs(r)["dead"] for r in runs["dead ReLU"]],
                "1",
                lambda v: v == 1,
            ),
            *(
                each(
                    f"the same, {kind}",
                    [signs(r)["dead"] for r in runs[kind]],
                    "below 0.9",
                    lambda v: v < 0.9,
                )
                for kind in ("healthy", "vanishing", "too small a rate", "no signal")
            ),
            *(
                each(
                    f"read off the loss and these numbers rightly, {kind} (1: yes)",
                    [told_apart(r) == kind for r in runs[kind]],
                    "1",
                    lambda v: v == 1,
                )
                for kind in LOOKALIKES
            ),
        ),
    )


# 20 tanh layers: weight scale and learning rate
ERRATIC = {"healthy": (1.0, 0.02), "vanishing": (0.5, 0.02), "exploding": (4.0, 0.02), "too long a step": (1.0, 2.0)}


@functools.cache
def erratic_runs(kind: str) -> list[Descent]:
    """40 steps of gradient descent on the same 128 digits, 20 tanh layers, one run a seed; a key of ``ERRATIC``."""
    scale, rate = ERRATIC[kind]
    return [descended(20, "tanh", scale, "SGD", rate, 41, seed) for seed in SEEDS]


@claim("S14")
def _s14() -> Finding:
    runs = {kind: erratic_runs(kind) for kind in ERRATIC}
    rises = {kind: [rising(r) for r in found] for kind, found in runs.items()}
    level = [depth_ratio(r.record) for r in runs["too long a step"]]
    return Finding(
        "S14",
        "A loss that does not fall, or is erratic, is a sign of vanishing gradients.",
        (
            each(
                "share of its loss that 20 tanh layers lose in 40 steps, vanishing (σ_w = 0.5)",
                [1 - r.loss[-1] / r.loss[0] for r in runs["vanishing"]],
                "below 0.01: it does not fall",
                lambda v: v < 0.01,
            ),
            each(
                "the same where gradients do not vanish (σ_w = 1)",
                [1 - r.loss[-1] / r.loss[0] for r in runs["healthy"]],
                "above 0.05",
                lambda v: v > 0.05,
            ),
            each(
                "share of steps that raise the loss, vanishing",
                rises["vanishing"],
                "above 0.1, if an erratic loss is its sign",
                lambda v: v > 0.1,
            ),
        ),
        "Where gradients vanish the loss does not fall, and it lies still. An erratic loss points the other way: to "
        "exploding gradients, or to steps that are too long for a healthy network.",
        (
            each("the same, exploding (σ_w = 4)", rises["exploding"], "above 0.1", lambda v: v > 0.1),
            each(
                "the same, learning rate 100 times that of the healthy run",
                rises["too long a step"],
                "above 0.1",
                lambda v: v > 0.1,
            ),
            each(
                "first over last gradient of that run at its start",
                level,
                "between 0.01 and 100: neither fault",
                lambda v: 0.01 < v < 100,
            ),
            each("share of steps that raise the loss, healthy", rises["healthy"], "0", lambda v: v == 0),
        ),
    )


@claim("S29")
def _s29() -> Finding:
    calm, wild = erratic_runs("healthy"), erratic_runs("exploding")

    def jump(run: Descent) -> float:
        return float(np.abs(np.diff(run.loss)).mean() / run.record.chance_loss)

    def turns(run: Descent) -> float:
        change = np.sign(np.diff(run.loss))
        return float((change[1:] != change[:-1]).mean())

    return Finding(
        "S29",
        "A sign of exploding gradients is a loss that is erratic and oscillates.",
        (
            each(
                "share of steps that raise the loss, 20 tanh layers, σ_w = 4",
                [rising(r) for r in wild],
                "above 0.1",
                lambda v: v > 0.1,
            ),
            each("the same at σ_w = 1", [rising(r) for r in calm], "0", lambda v: v == 0),
            each(
                "share of steps after which the loss turns round, σ_w = 4",
                [turns(r) for r in wild],
                "above 0.1",
                lambda v: v > 0.1,
            ),
            each("the same at σ_w = 1", [turns(r) for r in calm], "0", lambda v: v == 0),
            each(
                "mean change of the loss in a step over that of guessing, σ_w = 4",
                [jump(r) for r in wild],
                "above 0.05",
                lambda v: v > 0.05,
            ),
            each("the same at σ_w = 1", [jump(r) for r in calm], "below 0.02", lambda v: v < 0.02),
        ),
    )


class Overflow(NamedTuple):
    """Where one forward pass left the range of float32.

    Attributes:
        layer: the first layer with a pre-activation that is not finite, counted from 1.
        inf_share: share of inf among what is not finite in that layer; the rest is NaN.
        nan_share: share of NaN among all pre-activations two layers on.
        named: what ``Record.first_nonfinite`` says, as (layer's name, "output" or "gradient").
    """

    layer: int
    inf_share: float
    nan_share: float
    named: tuple[str, str]


@memory.cache
def overflowed(activation: str, scale: float, seed: int) -> Overflow:
    """Send 64 digits through a network that is four layers deeper than its predicted overflow, and look."""
    depth = int(predicted_overflow(activation, scale)) + 4
    model, (x, y) = MLP(depth, 256, activation, scale, seed=seed), digits_batch(64)
    inf, nan, signal = [], [], x
    with torch.no_grad():
        for name, module in model.named_children():
            signal = module(signal)
            if name.startswith("layer"):
                inf.append(float(signal.isinf().double().mean()))
                nan.append(float(signal.isnan().double().mean()))
    first = next(n for n in range(depth) if inf[n] + nan[n] > 0)
    _, layer, what = probe(model, x, y).first_nonfinite
    return Overflow(first + 1, inf[first] / (inf[first] + nan[first]), nan[first + 2], (layer, what))


def _near(what: str, layers: Sequence[int], predicted: float) -> Quantity:
    return each(what, layers, f"{predicted:g} ± 1, predicted from σ_w", lambda v: abs(v - predicted) <= 1)


S30_CASES = (("relu", 8.0), ("relu", 20.0), ("linear", 8.0), ("linear", 20.0))


@claim("S30")
def _s30() -> Finding:
    found = {case: [overflowed(*case, seed) for seed in SEEDS] for case in S30_CASES}
    trained, calm = ([descended(20, "relu", init, "SGD", 0.01, 10, seed) for seed in SEEDS] for init in (2.0, "he"))

    def first_nan(run: Descent) -> int:
        """Step before which the loss was first NaN, counted from 1; 0 for never."""
        return int(np.isnan(run.loss).argmax()) + 1 if np.isnan(run.loss).any() else 0

    return Finding(
        "S30",
        "A sign of exploding gradients is NaN in the loss, or on the way to it.",
        (
            *(
                _near(
                    f"layer with the first inf, {activation}, σ_w = {scale:g}",
                    [o.layer for o in cases],
                    predicted_overflow(activation, scale),
                )
                for (activation, scale), cases in found.items()
            ),
            each(
                "share of inf in that layer, of what is not finite there, mean of these four networks",
                [np.mean([o.inf_share for o in row]) for row in zip(*found.values(), strict=True)],
                "above 0.5: inf comes before NaN",
                lambda v: v > 0.5,
            ),
            each(
                "share of NaN two layers on, lowest of the four",
                [min(o.nan_share for o in row) for row in zip(*found.values(), strict=True)],
                "above 0.9",
                lambda v: v > 0.9,
            ),
            each(
                "whether the recorder names that very layer, all four (1: yes)",
                [
                    all(o.named == (f"layer{o.layer}", "output") for o in row)
                    for row in zip(*found.values(), strict=True)
                ],
                "1",
                lambda v: v == 1,
            ),
            each(
                "step at which the loss is first NaN, 20 ReLU layers, σ_w = 2, learning rate 0.01",
                [first_nan(r) for r in trained],
                "at most 10",
                lambda v: 1 <= v <= 10,
            ),
            each(
                "the same at σ_w = √2, in as many steps (0: never)",
                [first_nan(r) for r in calm],
                "0",
                lambda v: v == 0,
            ),
        ),
    )


@claim("S31")
def _s31() -> Finding:
    calm, wild = erratic_runs("healthy"), erratic_runs("exploding")
    return Finding(
        "S31",
        "A sign of exploding gradients is that the weights grow fast.",
        (
            each(
                "relative growth of the norm of layer 1 in 10 steps, 20 tanh layers, σ_w = 4",
                [grown(r, 1) - 1 for r in wild],
                "above 0.05",
                lambda v: v > 0.05,
            ),
            each(
                "the same at σ_w = 1, either way",
                [abs(grown(r, 1) - 1) for r in calm],
                "below 0.001",
                lambda v: v < 1e-3,
            ),
        ),
    )
