"""Every statement of the source document, measured: one function per claim.

A claim is stated, then tested as stated. Where that does not hold, the corrected statement is tested too. The verdict
is computed from those measurements; nothing here says in advance what it should be.
"""

import functools
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import joblib
import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from gradlab import tensorboard, theory
from gradlab.data import adding_problem, digits
from gradlab.initializers import Initializer, initialize, weight_std
from gradlab.models import MLP, RecurrentClassifier
from gradlab.recorder import HISTOGRAM_EDGES, SATURATED_BELOW, Record, Recorder, probe
from gradlab.training import chance_loss, descend, fit

SEEDS = range(20)

HOLDS, CONDITION, FAILS = "holds", "holds with a condition", "does not hold"

# Training runs are kept between processes where this folder is set; the book's build names it after the code's hash.
_memory = joblib.Memory(os.environ.get("GRADLAB_CACHE"), verbose=0)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _written(value: float) -> str:
    """Four digits, with powers of ten as people write them: 1.56·10⁻⁹."""
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}" if exponent else mantissa


@dataclass(frozen=True)
class Quantity:
    """One measured number.

    Attributes:
        what: its name and unit.
        measured: one value per seed, or a single value where nothing is random.
        expected: what theory or the claim asks for, in words.
        holds: whether every value meets it.
    """

    what: str
    measured: tuple[float, ...]
    expected: str
    holds: bool

    @property
    def summary(self) -> str:
        """The mean and the range over seeds, in four digits; a geometric mean where values span decades."""
        values = np.array(self.measured)
        if len(values) == 1:
            return _written(values[0])
        wide = values.min() > 0 and values.max() / values.min() > 10
        mean = math.exp(np.log(values).mean()) if wide else values.mean()
        return f"{_written(mean)} ({_written(values.min())} to {_written(values.max())})"


@dataclass(frozen=True)
class Finding:
    """A claim with its measurements.

    Attributes:
        id: S1, S2, ... in the order of the source document.
        statement: what it states, in short.
        as_stated: measurements of the statement as it stands.
        correction: the statement that is true instead, if the claim does not hold as it stands.
        corrected: measurements of that correction.
    """

    id: str
    statement: str
    as_stated: tuple[Quantity, ...]
    correction: str | None = None
    corrected: tuple[Quantity, ...] = ()

    @property
    def verdict(self) -> str:
        """``HOLDS``, ``CONDITION`` or ``FAILS``, from the measurements alone."""
        if all(quantity.holds for quantity in self.as_stated):
            return HOLDS
        if self.correction and all(quantity.holds for quantity in self.corrected):
            return CONDITION
        return FAILS

    def _repr_html_(self) -> str:
        """The claim as the audit page shows it: statement, verdict, correction and every number."""
        rows = "".join(
            f"<tr><td>{escape(q.what)}</td><td>{escape(q.summary)}</td><td>{escape(q.expected)}</td>"
            f"<td>{'✓ met' if q.holds else '✗ not met'}</td></tr>"
            for q in (*self.as_stated, *self.corrected)
        )
        correction = f"<p><strong>What is true:</strong> {escape(self.correction)}</p>" if self.correction else ""
        return (
            f"<p><strong>As stated:</strong> {escape(self.statement)}</p>"
            f'<p><strong>Verdict:</strong> <span class="gradlab-verdict">{self.verdict}</span></p>{correction}'
            '<div class="gradlab-table"><table><thead><tr><th>quantity</th><th>measured, mean (range)</th>'
            f"<th>asked for</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>"
        )


_CLAIMS: dict[str, Callable[[], Finding]] = {}


def _claim(id: str) -> Callable:
    def register(function: Callable[[], Finding]) -> Callable[[], Finding]:
        _CLAIMS[id] = function
        return function

    return register


def claims() -> tuple[str, ...]:
    """The ids of all claims measured so far, in the order of the source document."""
    return tuple(sorted(_CLAIMS, key=lambda id: int(id[1:])))


@functools.cache
def finding(id: str) -> Finding:
    """Measure one claim; the second time in one process it is remembered.

    Raises:
        ValueError: for an unknown id.
    """
    if id not in _CLAIMS:
        raise ValueError(f"unknown claim {id!r}; measured are {', '.join(claims())}")
    return _CLAIMS[id]()


class _Overview:
    """All claims and their verdicts, as a table that links to each claim's own section."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td><a href="#claim-{id.lower()}">{id}</a></td><td>{escape(finding(id).statement)}</td>'
            f"<td>{finding(id).verdict}</td></tr>"
            for id in claims()
        )
        head = "<thead><tr><th>id</th><th>statement, in short</th><th>verdict</th></tr></thead>"
        return f'<div class="gradlab-table"><table>{head}<tbody>{rows}</tbody></table></div>'


def overview() -> _Overview:
    """Every claim with its verdict, to be shown in a notebook."""
    return _Overview()


# --- the measurements the claims share -------------------------------------------------------------------------------


class Run(NamedTuple):
    """What is kept of one training run on the digits.

    Attributes:
        loss: of every step, in nats.
        accuracy: on the test images at the end.
        gradient_norm, update_ratio: shape (steps, layers), float32, as in ``Record``.
        first_moved: distance the first layer's weights moved in all, relative to their norm at the start.
        first_norm: norm of the first layer's weights at the end, relative to the start.
    """

    loss: np.ndarray
    accuracy: float
    gradient_norm: np.ndarray
    update_ratio: np.ndarray
    first_moved: float
    first_norm: float


@_memory.cache
def run(
    depth: int, activation: str, init: Initializer, optimizer: str, learning_rate: float, epochs: int, seed: int
) -> Run:
    """Train an ``MLP`` of width 64 on the digits. Starting weights and the order of examples follow ``seed``."""
    model = MLP(depth, 64, activation, init, seed=seed)
    before = model[0].weight.detach().double().clone()
    recorder = Recorder(model, activations=False, every=10)
    trainer = getattr(torch.optim, optimizer)(model.parameters(), lr=learning_rate)
    history = fit(model, digits(), trainer, epochs, seed=seed, recorder=recorder, progress=False)
    after, record = model[0].weight.detach().double(), recorder.record
    return Run(
        loss=np.array(history.loss, dtype=np.float32),
        accuracy=history.test_accuracy[-1],
        gradient_norm=record.gradient_norm,
        update_ratio=record.update_ratio,
        first_moved=float((after - before).norm() / before.norm()),
        first_norm=float(after.norm() / before.norm()),
    )


DEPTHS = (1, 2, 3, 5, 8, 12, 20)


def accuracy_by_depth(
    activation: str, depths: Sequence[int] = DEPTHS, seeds: Sequence[int] = SEEDS
) -> dict[int, list[float]]:
    """Test accuracy per depth, one value a seed. He start, Adam at 3e-3, 10 epochs on the digits: all else equal."""
    return {
        depth: [run(depth, activation, "he", "Adam", 3e-3, 10, seed).accuracy for seed in seeds] for depth in depths
    }


def stuck(optimizer: str) -> list[Run]:
    """20 sigmoid layers with PyTorch's own start, 20 epochs on the digits, one run a seed."""
    learning_rate = {"SGD": 0.5, "Adam": 1e-2}[optimizer]
    return [run(20, "sigmoid", "pytorch", optimizer, learning_rate, 20, seed) for seed in SEEDS]


@functools.cache
def _batch(size: int = 256) -> tuple[Tensor, Tensor]:
    data = digits()
    return data.x_train[:size], data.y_train[:size]


def probes(
    depth: int, activation: theory.Activation, init: Initializer, width: int = 256, seeds: Sequence[int] = SEEDS
) -> list[Record]:
    """One backward pass of 256 real digits through a fresh network per seed."""
    return [probe(MLP(depth, width, activation, init, seed=seed), *_batch()) for seed in seeds]


def profiles(
    depth: int, activation: theory.Activation, init: Initializer, width: int = 256, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Gradient norm at each hidden layer's pre-activations over the last one's; shape (seeds, depth)."""
    norms = np.stack([r.output_gradient_norm[0, :depth] for r in probes(depth, activation, init, width, seeds)])
    return norms / norms[:, -1:]


def predicted_profile(depth: int, activation: theory.Activation, init: Initializer, width: int = 256) -> Tensor:
    """What ``theory`` predicts for ``profiles``, for the same digits."""
    x = _batch()[0]
    later, first = weight_std(init, width, width), weight_std(init, x.shape[1], width)
    # The first layer has another fan-in, and with some initialisers another scale: fold that into its input.
    variance = float((x**2).mean()) * (first / later) ** 2
    bias_std = 1 / math.sqrt(3 * width) if init == "pytorch" else 0.0
    return theory.gradient_profile(activation, depth, later, variance, bias_std=bias_std)


SETTLED_DEPTH, SETTLED_WIDTH = 20, 128


def _settled_batch(activation: theory.Activation, scale: float) -> tuple[Tensor, Tensor]:
    """64 digits, multiplied so that layer 1 has the signal at which a deep network would settle anyway."""
    x, y = _batch(64)
    settled = theory.fixed_point(activation, scale)
    if not 0 < settled < math.inf:  # it dies out, or grows for ever: begin where the limit shows at once
        settled = 1e-8 if settled == 0 else scale**2
    return x * math.sqrt(settled / (scale**2 * float((x**2).mean()))), y


@_memory.cache
def settled_profiles(activation: theory.Activation, scale: float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """As ``profiles``, of 20 layers of 128 units, with the digits scaled so that the signal is settled from layer 1."""
    batch = _settled_batch(activation, scale)
    models = (MLP(SETTLED_DEPTH, SETTLED_WIDTH, activation, scale, seed=seed) for seed in seeds)
    norms = np.stack([probe(model, *batch).output_gradient_norm[0, :SETTLED_DEPTH] for model in models])
    return norms / norms[:, -1:]


def settled_prediction(activation: theory.Activation, scale: float) -> np.ndarray:
    """What ``theory`` predicts for ``settled_profiles``: one factor for all layers; shape (layers,)."""
    mean_square = float((_settled_batch(activation, scale)[0] ** 2).mean())
    return theory.gradient_profile(activation, SETTLED_DEPTH, scale, mean_square).numpy()


@_memory.cache
def signal_sizes(
    depth: int, activation: theory.Activation, scale: float, width: int = 256, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Root mean square of each layer's pre-activations on 64 digits; inf from the first layer on that is not finite.

    Shape (seeds, depth).
    """
    sizes = np.full((len(seeds), depth), math.inf)
    for row, seed in zip(sizes, seeds, strict=True):
        signal, layer = _batch(64)[0], 0
        with torch.no_grad():
            for name, module in MLP(depth, width, activation, scale, seed=seed).named_children():
                signal = module(signal)
                if name.startswith("layer"):
                    if not signal.isfinite().all():
                        break
                    row[layer] = signal.double().square().mean().sqrt()
                    layer += 1
    return sizes


def predicted_signal(depth: int, activation: theory.Activation, scale: float) -> np.ndarray:
    """What ``theory`` predicts for the log10 of ``signal_sizes``; shape (depth,)."""
    variances = [scale**2 * float((_batch(64)[0] ** 2).mean())]
    for _ in range(depth - 1):
        variances.append(theory.variance_map(activation, scale, variances[-1]))
    return np.log10(variances) / 2


def predicted_overflow(activation: theory.Activation, scale: float, width: int = 256) -> float:
    """The layer in which ``signal_sizes`` should first not be finite, by ``theory``."""
    mean_square = float((_batch(64)[0] ** 2).mean())
    return theory.overflow_depth(activation, scale, input_variance=mean_square, width=width)


def layer_factor(profile: np.ndarray) -> np.ndarray:
    """Mean factor of the squared gradient per layer, from one or many profiles; shape (...,)."""
    return profile[..., 0] ** (2 / (profile.shape[-1] - 1))


def _all(what: str, values: Sequence[float], expected: str, meets: Callable[[float], bool]) -> Quantity:
    values = tuple(float(value) for value in values)
    return Quantity(what, values, expected, all(meets(value) for value in values))


def mean_slopes(depth: int, activation: str, init: Initializer, seed: int) -> list[float]:
    """Mean slope of the activation in each layer of a fresh network, on real digits."""
    signal, slopes = _batch()[0], []
    with torch.no_grad():
        for name, module in MLP(depth, 256, activation, init, seed=seed).named_children():
            if name.startswith("activation"):
                slopes.append(float(theory.slope(activation, signal).mean()))
            signal = module(signal)
    return slopes


# --- the optimisation process; vanishing gradients -------------------------------------------------------------------


@_claim("S1")
def _s1() -> Finding:
    low, high = profiles(30, "tanh", 0.5), profiles(30, "tanh", 4.0)
    return Finding(
        "S1",
        "Gradient descent can meet vanishing and exploding gradients.",
        (
            _all(
                "first over last gradient norm, 30 tanh layers, σ_w = 0.5", low[:, 0], "below 10⁻³", lambda v: v < 1e-3
            ),
            _all("the same network at σ_w = 4", high[:, 0], "above 10³", lambda v: v > 1e3),
        ),
    )


S2_CASES = (
    ("sigmoid", 1.0),
    ("sigmoid", 4.0),
    ("tanh", 1.0),
    ("tanh", 5 / 3),
    ("relu", math.sqrt(2)),
    ("relu", 1.0),
    ("linear", 1.0),
)


@_claim("S2")
def _s2() -> Finding:
    ends = [mean_slopes(30, "sigmoid", 1.0, seed) for seed in SEEDS]
    corrected = []
    for activation, scale in S2_CASES:
        measured = layer_factor(profiles(30, activation, scale))
        predicted = float(layer_factor(predicted_profile(30, activation, scale)))
        # the mean over seeds is compared: a single network of finite width scatters around it
        near = abs(measured.mean() / predicted - 1) < 0.02
        corrected.append(
            Quantity(
                f"factor of the squared gradient per layer, {activation}, σ_w = {scale:.3g}",
                tuple(measured),
                f"{predicted:.4g} ± 2 %",
                near,
            )
        )
    return Finding(
        "S2",
        "Gradients vanish because the slopes of the activations get smaller going backward through the layers.",
        (
            _all(
                "mean slope of the activation in layer 1 over layer 30, sigmoid",
                [slopes[0] / slopes[-1] for slopes in ends],
                "below 0.5, if slopes shrink going backward",
                lambda v: v < 0.5,
            ),
        ),
        "Each layer's slopes are about as large as the next one's. What shrinks is the product of the layers' "
        "Jacobians: each layer multiplies the squared gradient by chi = σ_w² E[φ′(z)²].",
        tuple(corrected),
    )


@_claim("S3")
def _s3() -> Finding:
    by_depth = {depth: profiles(depth, "sigmoid", 1.0)[:, 0] for depth in (5, 10, 20, 30)}
    deep = np.log(profiles(30, "sigmoid", 1.0))
    layers = np.arange(1, 31)
    slopes = np.array([np.polyfit(layers, row, 1)[0] for row in deep])
    straightness = [np.corrcoef(layers, row)[0, 1] ** 2 for row in deep]
    predicted = -math.log(theory.chi("sigmoid", 1.0, theory.fixed_point("sigmoid", 1.0))) / 2
    return Finding(
        "S3",
        "The deeper the network, the worse.",
        (
            *(
                _all(
                    f"first over last gradient norm, {depth} sigmoid layers",
                    values,
                    f"below {bound:.0e}",
                    lambda v, b=bound: v < b,
                )
                for (depth, values), bound in zip(by_depth.items(), (1e-2, 1e-5, 1e-11, 1e-17), strict=True)
            ),
            Quantity(
                "slope of the log gradient norm per layer",
                tuple(slopes),
                f"{predicted:.3f} ± 2 %, which is −log(chi)/2",
                bool(abs(slopes.mean() / predicted - 1) < 0.02),
            ),
            _all("how straight that line is (R²)", straightness, "above 0.999", lambda v: v > 0.999),
        ),
    )


@_claim("S4")
def _s4() -> Finding:
    sgd, adam = stuck("SGD"), stuck("Adam")
    decades = [np.log10(r.gradient_norm[0, :20] / r.gradient_norm[0, 19]) for r in sgd]
    return Finding(
        "S4",
        "Updates become exponentially small; training crawls or halts.",
        (
            _all(
                "decades the weight gradient loses from layer 20 to layer 1, at the start",
                [-d[0] for d in decades],
                "above 10",
                lambda v: v > 10,
            ),
            _all(
                "share of recorded steps that left layer 1 exactly where it was, SGD",
                [(r.update_ratio[:, 0] == 0).mean() for r in sgd],
                "above 0.95",
                lambda v: v > 0.95,
            ),
            _all(
                "median update-to-weight ratio of the read-out in the same runs",
                [np.median(r.update_ratio[:, -1]) for r in sgd],
                "above 10⁻³",
                lambda v: v > 1e-3,
            ),
            _all(
                "test accuracy after 20 epochs, SGD",
                [r.accuracy for r in sgd],
                "below 0.15 (guessing 0.10)",
                lambda v: v < 0.15,
            ),
            _all("the same with Adam", [r.accuracy for r in adam], "below 0.15 (guessing 0.10)", lambda v: v < 0.15),
        ),
    )


@_claim("S5")
def _s5() -> Finding:
    z = torch.linspace(-15, 15, 30001, dtype=torch.float64).requires_grad_()
    quantities = []
    for name, function, top in (("sigmoid", torch.sigmoid, 0.25), ("tanh", torch.tanh, 1.0)):
        slope = torch.autograd.grad(function(z).sum(), z)[0]
        quantities += [
            _all(
                f"largest slope of {name}, by autograd", [slope.max()], f"{top:g}", lambda v, t=top: abs(v - t) < 1e-12
            ),
            _all(f"where {name} is steepest", [z[slope.argmax()].detach()], "0", lambda v: abs(v) < 1e-9),
            _all(f"smallest slope of {name} on −15 … 15", [slope.min()], "above 0", lambda v: v > 0),
        ]
    return Finding(
        "S5", "The slope of sigmoid lies between 0 and 0.25, that of tanh between 0 and 1.", tuple(quantities)
    )


@_claim("S6")
def _s6() -> Finding:
    runs = stuck("SGD")
    return Finding(
        "S6",
        "Weights become very small, so that updated weights resemble the old ones.",
        (
            _all(
                "norm of layer 1 after training over before",
                [r.first_norm for r in runs],
                "below 0.5, if weights become small",
                lambda v: v < 0.5,
            ),
        ),
        "The weights stay as large as they were. It is the updates that become small, and so the weights stay where "
        "they started.",
        (
            _all(
                "norm of layer 1 after training over before, minus 1",
                [abs(r.first_norm - 1) for r in runs],
                "below 10⁻⁶",
                lambda v: v < 1e-6,
            ),
            _all(
                "distance layer 1 moved, relative to its norm",
                [r.first_moved for r in runs],
                "below 10⁻⁶",
                lambda v: v < 1e-6,
            ),
        ),
    )


def first_rounded_to_one(function: Callable[[Tensor], Tensor]) -> float:
    """The smallest float32 at which ``function`` returns exactly 1, by bisection over the float32 numbers."""
    low, high = torch.tensor(1.0).view(torch.int32).item(), torch.tensor(64.0).view(torch.int32).item()
    while high - low > 1:  # positive floats are ordered like the integers with the same bits
        middle = (low + high) // 2
        value = torch.tensor(middle, dtype=torch.int32).view(torch.float32)
        low, high = (low, middle) if function(value) == 1 else (middle, high)
    return torch.tensor(high, dtype=torch.int32).view(torch.float32).item()


@_claim("S7")
def _s7() -> Finding:
    wide = torch.tensor(15.0, dtype=torch.float64)
    return Finding(
        "S7",
        "Sigmoid saturates at 0 and 1, tanh at −1 and 1.",
        (
            _all(
                "1 − sigmoid(15) in double precision",
                [1 - torch.sigmoid(wide)],
                "above 0, below 10⁻⁶",
                lambda v: 0 < v < 1e-6,
            ),
            _all("sigmoid(−15)", [torch.sigmoid(-wide)], "above 0, below 10⁻⁶", lambda v: 0 < v < 1e-6),
            _all("1 − tanh(15)", [1 - torch.tanh(wide)], "above 0, below 10⁻¹²", lambda v: 0 < v < 1e-12),
            _all("1 + tanh(−15)", [1 + torch.tanh(-wide)], "above 0, below 10⁻¹²", lambda v: 0 < v < 1e-12),
            _all(
                "float32 input at which sigmoid is rounded to exactly 1",
                [first_rounded_to_one(torch.sigmoid)],
                f"{24 * math.log(2):.2f} ± 1, which is 24 log 2",
                lambda v: abs(v - 24 * math.log(2)) < 1,
            ),
            _all(
                "float32 input at which tanh is rounded to exactly 1",
                [first_rounded_to_one(torch.tanh)],
                f"{26 * math.log(2) / 2:.2f} ± 0.5, which is 13 log 2",
                lambda v: abs(v - 13 * math.log(2)) < 0.5,
            ),
        ),
    )


@_claim("S8")
def _s8() -> Finding:
    x = _batch()[0]
    share, slope_there, slope_all = [], [], []
    for seed in SEEDS:
        z = MLP(1, 256, "sigmoid", 16.0, seed=seed)[0](x).detach().double()
        slope = theory.slope("sigmoid", z)
        saturated = slope < SATURATED_BELOW * 0.25
        share.append(saturated.double().mean())
        slope_there.append(slope[saturated].mean() / 0.25)
        slope_all.append(slope.mean() / 0.25)
    exact = math.exp(-10) / (1 + math.exp(-10)) ** 2
    ten = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    measured = torch.autograd.grad(torch.sigmoid(ten), ten)[0]
    return Finding(
        "S8",
        "In saturation the derivative is about zero.",
        (
            _all(
                "slope of sigmoid at 10, by autograd", [measured], f"{exact:.4g}", lambda v: abs(v / exact - 1) < 1e-9
            ),
            _all("share of units saturated by digits, sigmoid, σ_w = 16", share, "above 0.5", lambda v: v > 0.5),
            _all("their mean slope, relative to the largest", slope_there, "below 0.05", lambda v: v < 0.05),
            _all("mean slope of all units, relative to the largest", slope_all, "below 0.3", lambda v: v < 0.3),
        ),
    )


@_claim("S9")
def _s9() -> Finding:
    accuracy = accuracy_by_depth("sigmoid", (1, 2, 20))
    return Finding(
        "S9",
        "A shallow network is hardly troubled, a deep one badly.",
        (
            _all("test accuracy, 1 sigmoid layer", accuracy[1], "above 0.9", lambda v: v > 0.9),
            _all("2 sigmoid layers", accuracy[2], "above 0.9", lambda v: v > 0.9),
            _all(
                "20 sigmoid layers, everything else equal",
                accuracy[20],
                "below 0.15 (guessing 0.10)",
                lambda v: v < 0.15,
            ),
        ),
    )


@_claim("S10")
def _s10() -> Finding:
    below, above = [], []
    for seed in SEEDS:
        free, forced = (MLP(6, 64, "tanh", "xavier", seed=seed) for _ in range(2))
        with torch.no_grad():
            forced.layer4.bias.fill_(10.0)  # the bias, not the weights: those also carry the gradient backward
        free, forced = probe(free, *_batch()), probe(forced, *_batch())
        ratio = forced.gradient_norm[0] / free.gradient_norm[0]
        below.append(ratio[2])
        above.append(ratio[4])
    return Finding(
        "S10",
        "Inputs in the saturated range leave the weights of the layer before them unmoved.",
        (
            _all(
                "weight gradient of layer 3 with layer 4 saturated, over without (tanh, 6 layers)",
                below,
                "below 10⁻⁴",
                lambda v: v < 1e-4,
            ),
            _all("the same for layer 5, after the saturated one", above, "above 0.1", lambda v: v > 0.1),
        ),
    )


@_claim("S11")
def _s11() -> Finding:
    norms = np.stack([r.gradient_norm[0] for r in probes(20, "sigmoid", "pytorch", width=64)])
    runs = stuck("SGD")
    return Finding(
        "S11",
        "Small factors multiply; the first layer learns very slowly; training can fail.",
        (
            _all(
                "first over last layer's weight gradient, 20 sigmoid layers, PyTorch's start",
                norms[:, 0] / norms[:, -1],
                "below 10⁻¹⁴",
                lambda v: v < 1e-14,
            ),
            _all(
                "distance layer 1 moved in 20 epochs, relative to its norm",
                [r.first_moved for r in runs],
                "below 10⁻⁶",
                lambda v: v < 1e-6,
            ),
            _all("test accuracy then", [r.accuracy for r in runs], "below 0.15 (guessing 0.10)", lambda v: v < 0.15),
        ),
    )


@_claim("S26")
def _s26() -> Finding:
    different, rounded_twice, ulp = [], [], []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        weight, gradient = torch.randn(2, 100_000, generator=generator)
        parameter = torch.nn.Parameter(weight.clone())
        parameter.grad = gradient.clone()
        torch.optim.SGD([parameter], lr=0.1).step()
        stepped = parameter.detach()
        different.append((stepped != torch.add(weight, gradient, alpha=-0.1)).double().mean())
        by_hand = weight - 0.1 * gradient
        rounded_twice.append((stepped != by_hand).double().mean())
        # a unit in the last place of the largest number involved, because the difference itself may cancel
        largest = torch.stack([stepped.abs(), weight.abs(), (0.1 * gradient).abs()]).amax(0)
        ulp.append(((stepped - by_hand).abs() / torch.from_numpy(np.spacing(largest.numpy()))).max())
    return Finding(
        "S26",
        "One step changes each weight by minus the learning rate times its gradient: ΔW = −α ∂L/∂W.",
        (
            _all(
                "share of weights that differ from torch.optim.SGD, W + (−α) g rounded once",
                different,
                "0",
                lambda v: v == 0,
            ),
            _all(
                "largest difference if W − α g is rounded twice, in units of the last place",
                ulp,
                "at most 1",
                lambda v: v <= 1,
            ),
            _all("share of weights that this second rounding touches", rounded_twice, "below 0.15", lambda v: v < 0.15),
        ),
    )


# --- exploding gradients ---------------------------------------------------------------------------------------------


@functools.cache
def first_step(activation: str, scale: float, learning_rate: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Of layer 1 of 20: the gradient, and how far one step of SGD moves it, both relative to the norm of its weights.

    Shapes (seeds,). The distance is read off the weights after the step, not computed from the gradient.
    """
    gradients, moved = [], []
    for seed in SEEDS:
        model = MLP(20, 128, activation, scale, seed=seed)
        before = model.layer1.weight.detach().double().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
        x, y = _batch()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        gradients.append(float(model.layer1.weight.grad.double().norm() / before.norm()))
        moved.append(float((model.layer1.weight.detach().double() - before).norm() / before.norm()))
    return np.array(gradients), np.array(moved)


@_claim("S21")
def _s21() -> Finding:
    (calm, calm_step), (large, large_step) = (first_step("tanh", scale) for scale in (1.0, 4.0))
    return Finding(
        "S21",
        "Exploding gradients: the gradients of the loss become excessively large.",
        (
            _all(
                "gradient of layer 1, 20 tanh layers, σ_w = 4, over the same at σ_w = 1 (each relative to its weights)",
                large / calm,
                "above 100",
                lambda v: v > 100,
            ),
            _all(
                "distance one step at learning rate 0.01 moves layer 1, relative to its norm, σ_w = 4",
                large_step,
                "above 0.05",
                lambda v: v > 0.05,
            ),
            _all("the same at σ_w = 1", calm_step, "below 0.001", lambda v: v < 1e-3),
        ),
    )


@_memory.cache
def steepest_curvature(scale: float, seeds: Sequence[int] = SEEDS) -> tuple[np.ndarray, np.ndarray]:
    """Norm of the gradient, and largest curvature of the loss, along layer 1's weights: 20 tanh layers, 64 digits.

    Shapes (seeds,). The curvature is the largest eigenvalue of the Hessian of these weights, by Lanczos' method.
    """
    x, y = _batch(64)
    gradients, curvatures = [], []
    for seed in seeds:
        model = MLP(20, 64, "tanh", scale, seed=seed).double()
        weight = model.layer1.weight
        (gradient,) = torch.autograd.grad(cross_entropy(model(x.double()), y), weight, create_graph=True)

        def times_hessian(vector: np.ndarray, gradient: Tensor = gradient, weight: Tensor = weight) -> np.ndarray:
            direction = torch.from_numpy(np.array(vector)).reshape(weight.shape)
            return torch.autograd.grad(gradient, weight, direction, retain_graph=True)[0].flatten().numpy()

        size = weight.numel()
        hessian = LinearOperator((size, size), matvec=times_hessian, dtype=np.float64)
        start = np.random.default_rng(seed).standard_normal(size)  # or Lanczos draws its own, another each time
        (largest,) = eigsh(hessian, k=1, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)
        gradients.append(float(gradient.detach().norm()))
        curvatures.append(float(largest))
    return np.array(gradients), np.array(curvatures)


S22_CASES = (("tanh", 1.414), ("tanh", 4.0), ("relu", 4.0), ("linear", 4.0), ("sigmoid", 20.0))


def norm_factors(activation: str, scale: float) -> np.ndarray:
    """Factor of the gradient norm per layer, where the signal has settled; shape (seeds,)."""
    return np.sqrt(layer_factor(settled_profiles(activation, scale)))


def predicted_norm_factor(activation: str, scale: float) -> float:
    """What ``theory`` predicts for ``norm_factors``: the root of chi."""
    return math.sqrt(float(layer_factor(settled_prediction(activation, scale))))


@_claim("S22")
def _s22() -> Finding:
    ends = [mean_slopes(20, "tanh", 4.0, seed) for seed in SEEDS]
    corrected = []
    for activation, scale in S22_CASES:
        measured, predicted = norm_factors(activation, scale), predicted_norm_factor(activation, scale)
        near = abs(measured.mean() / predicted - 1) < 0.02 and measured.min() > 1
        corrected.append(
            Quantity(
                f"factor of the gradient norm per layer, {activation}, σ_w = {scale:.3g}",
                tuple(measured),
                f"{predicted:.4g} ± 2 %, and above 1 in every network",
                bool(near),
            )
        )
    return Finding(
        "S22",
        "Gradients explode because the slopes get larger going backward through the layers.",
        (
            _all(
                "mean slope of the activation in layer 1 over layer 20, tanh, σ_w = 4",
                [slopes[0] / slopes[-1] for slopes in ends],
                "above 2, if slopes grow going backward",
                lambda v: v > 2,
            ),
        ),
        "The slopes do not grow; no slope of tanh is above 1. What grows is the product of the layers' Jacobians: each "
        "layer multiplies the gradient norm by the root of chi = σ_w² E[φ′(z)²], and chi is above 1.",
        tuple(corrected),
    )


@_claim("S23")
def _s23() -> Finding:
    shared = 1.2  # the same draws of the same weights; only the activation differs
    corrected = []
    for activation in ("linear", "tanh", "relu", "sigmoid"):
        critical = theory.critical_weight_std(activation)
        corrected += [
            _all(
                f"factor of the gradient norm per layer, {activation}, at 0.85 of its critical σ_w = {critical:.4g}",
                norm_factors(activation, 0.85 * critical),
                "below 1",
                lambda v: v < 1,
            ),
            _all(
                f"the same at 1.25 of it, {activation}",
                norm_factors(activation, 1.25 * critical),
                "above 1",
                lambda v: v > 1,
            ),
        ]
    growth = np.log(norm_factors("tanh", 20.0) / norm_factors("tanh", 10.0)) * 2 / math.log(2)
    straight = np.log(norm_factors("linear", 20.0) / norm_factors("linear", 10.0)) * 2 / math.log(2)
    return Finding(
        "S23",
        "The root cause of exploding gradients is the weights rather than the activation.",
        tuple(
            _all(
                f"factor of the gradient norm per layer, {activation}, σ_w = {shared}, the same weights",
                norm_factors(activation, shared),
                "above 1, if weights alone decide",
                lambda v: v > 1,
            )
            for activation in ("linear", "relu", "sigmoid")
        ),
        "It is both: gradients explode where σ_w² E[φ′(z)²] is above 1. Each activation has a critical weight scale of "
        "its own. Larger weights also saturate tanh, so that its factor chi grows like σ_w, not like σ_w².",
        (
            *corrected,
            _all(
                "power of σ_w with which chi grows, tanh, from σ_w = 10 to 20",
                growth,
                "1 ± 0.5",
                lambda v: abs(v - 1) < 0.5,
            ),
            _all("the same without an activation", straight, "2", lambda v: abs(v - 2) < 1e-3),
        ),
    )


@_claim("S24")
def _s24() -> Finding:
    scales = (1.0, 2.0, 4.0)
    steps = [first_step("tanh", scale) for scale in scales]
    rises = [
        (low, high, later / earlier)
        for low, high, (earlier, _), (later, _) in zip(scales, scales[1:], steps, steps[1:], strict=False)
    ]
    longer = [
        (low, high, later / earlier)
        for low, high, (_, earlier), (_, later) in zip(scales, scales[1:], steps, steps[1:], strict=False)
    ]
    return Finding(
        "S24",
        "Large weights give large derivatives, and new weights that deviate far from the old ones.",
        (
            *(
                _all(
                    f"relative gradient of layer 1 at σ_w = {high:g} over σ_w = {low:g}, 20 tanh layers",
                    rise,
                    "above 2",
                    lambda v: v > 2,
                )
                for low, high, rise in rises
            ),
            *(
                _all(
                    f"distance one step moves layer 1 at σ_w = {high:g} over σ_w = {low:g}, relative to its norm",
                    rise,
                    "above 2",
                    lambda v: v > 2,
                )
                for low, high, rise in longer
            ),
        ),
    )


def two_valleys(learning_rate: float, start: float, steps: int = 150) -> np.ndarray:
    """Positions of ``torch.optim.SGD`` on 0.1 w² − exp(−8 (w − 4)²): a wide valley at 0, a steep, higher one near 4."""
    w = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    path = [start]
    for _ in range(steps):
        optimizer.zero_grad()
        (0.1 * w**2 - torch.exp(-8 * (w - 4) ** 2)).backward()
        optimizer.step()
        path.append(w.item())
    return np.array(path)


@_claim("S25")
def _s25() -> Finding:
    generator = torch.Generator().manual_seed(0)
    starts = (4 + 0.1 * torch.randn(20, generator=generator, dtype=torch.float64)).tolist()
    small, large = ([two_valleys(rate, start)[-1] for start in starts] for rate in (0.02, 0.5))
    far = descend(0.5, [1.0], [1000.0], 200)[:, 0].numpy()
    exact = []
    for product in (0.1, 0.5, 1.5, 1.9, 2.0, 2.1):
        walk = descend(product / 4.0, [4.0], [1.0], 60)[:, 0].abs().numpy()
        exact.append(np.abs(walk / abs(1 - product) ** np.arange(61) - 1).max())
    at_limit = descend(2.0, [1.0], [1.0], 200)[:, 0].numpy()
    return Finding(
        "S25",
        "With exploding gradients, training oscillates around minima and misses the global one.",
        (
            _all(
                "share of steps that cross the minimum: bowl, first gradient 1000, learning rate × curvature 0.5",
                [(far[1:] * far[:-1] < 0).mean()],
                "above 0.5, if a large gradient makes it oscillate",
                lambda v: v > 0.5,
            ),
            _all(
                "where steps too long for a steep valley end, if a wide, deeper one is at 0",
                large,
                "farther than 1 from 0, if oscillating means missing the global minimum",
                lambda v: abs(v) > 1,
            ),
        ),
        "Whether it oscillates is decided by learning rate × curvature: on a bowl each step multiplies the error by "
        "1 − αc, which changes sign above 1 and grows above 2. A loss with several valleys promises no one the global "
        "minimum: here short steps stay in the steep valley, and long ones leave it for the deeper.",
        (
            _all(
                "largest relative distance from |1 − αc|^t over 60 steps, αc from 0.1 to 2.1",
                [max(exact)],
                "below 10⁻¹⁴",
                lambda v: v < 1e-14,
            ),
            _all(
                "error after 200 steps over the first, learning rate × curvature exactly 2",
                [abs(at_limit[-1])],
                "1",
                lambda v: v == 1,
            ),
            _all("where short steps end", small, "3.95 ± 0.05, the steep valley", lambda v: abs(v - 3.95) < 0.05),
            _all("where long steps end", large, "0, the deeper one", lambda v: abs(v) < 1e-3),
        ),
    )


def jacobian_gains(depth: int, activation: str, scale: float, seed: int, width: int = 128) -> np.ndarray:
    """Mean squared singular value of each Jacobian between the pre-activations of neighbouring layers, on real digits.

    Shape (depth − 1,). It is the squared Frobenius norm over the width, as a mean over the digits.
    """
    model, gains = MLP(depth, width, activation, scale, seed=seed), []
    signal = _batch()[0]
    with torch.no_grad():
        for layer in range(1, depth):
            signal = getattr(model, f"layer{layer}")(signal)
            slopes = theory.slope(activation, signal.double())
            columns = getattr(model, f"layer{layer + 1}").weight.double().square().sum(0)
            gains.append(float((slopes**2 @ columns).mean() / width))
            signal = getattr(model, f"activation{layer}")(signal)
    return np.array(gains)


@_claim("S27")
def _s27() -> Finding:
    x, y = _batch()

    def ends(scale: float, factor: float) -> tuple[list[float], list[float], list[float]]:
        """First over last gradient at the pre-activations, and the smallest and the largest weight gradient."""
        records = [
            probe(MLP(20, 128, "tanh", scale, seed=seed), x, y, lambda a, b: factor * cross_entropy(a, b))
            for seed in SEEDS
        ]
        norms = np.stack([r.gradient_norm[0] for r in records])
        ratio = np.stack([r.output_gradient_norm[0, 0] / r.output_gradient_norm[0, 19] for r in records])
        return ratio.tolist(), norms.min(1).tolist(), norms.max(1).tolist()

    level, smallest, _ = ends(1.0, 2.0**20)
    steep, _, largest = ends(4.0, 2.0**-30)
    gains = {
        scale: [np.exp(np.log(jacobian_gains(20, "tanh", scale, seed)).mean()) for seed in SEEDS]
        for scale in (0.8, 4.0)
    }
    spectral = [
        float(torch.linalg.matrix_norm(MLP(2, 128, "linear", 0.8, seed=seed).layer2.weight.detach(), 2))
        for seed in SEEDS
    ]
    shrunk = profiles(20, "linear", 0.8, width=128)[:, 0]
    return Finding(
        "S27",
        "Exploding gradients are caused by gradients greater than 1.",
        (
            _all(
                "smallest weight gradient of 20 tanh layers, σ_w = 1, loss × 2²⁰",
                smallest,
                "above 1, so that all gradients are",
                lambda v: v > 1,
            ),
            _all(
                "first over last gradient of that network",
                level,
                "above 100, if that makes them explode",
                lambda v: v > 100,
            ),
            _all(
                "largest weight gradient of 20 tanh layers, σ_w = 4, loss × 2⁻³⁰",
                largest,
                "below 1, so that all gradients are",
                lambda v: v < 1,
            ),
            _all(
                "first over last gradient of that network",
                steep,
                "below 100, if none above 1 means no explosion",
                lambda v: v < 100,
            ),
        ),
        "The gradient's own size has no say; it changes with the unit of the loss. Gradients explode where the layers' "
        "Jacobians have a mean squared singular value above 1. That the largest one is above 1 is not enough.",
        (
            _all(
                "mean squared singular value of a layer's Jacobian, tanh, σ_w = 4",
                gains[4.0],
                "above 1",
                lambda v: v > 1,
            ),
            _all("the same at σ_w = 0.8, where gradients vanish", gains[0.8], "below 1", lambda v: v < 1),
            _all("largest singular value of a linear layer, σ_w = 0.8", spectral, "above 1", lambda v: v > 1),
            _all("first over last gradient of 20 such layers", shrunk, "below 0.1: they vanish", lambda v: v < 0.1),
        ),
    )


@_claim("S28")
def _s28() -> Finding:
    # the flat bowl starts at gradient 1000, the steep one at 0.001; 200 steps each
    flat = descend(1.0, [1e-3], [1e6], 200)[:, 0].numpy()
    steep = descend(2.2, [1.0], [1e-3], 200)[:, 0].numpy()
    return Finding(
        "S28",
        "A gradient larger than 1 in size makes the weights grow exponentially.",
        (
            _all(
                "factor of the weight per step: first gradient 1000, learning rate × curvature 0.001",
                [(abs(flat[-1] / flat[0])) ** (1 / 200)],
                "above 1, if gradients above 1 make weights grow",
                lambda v: v > 1,
            ),
            _all(
                "smallest gradient in those 200 steps",
                [1e-3 * np.abs(flat).min()],
                "above 1, so that every step had one",
                lambda v: v > 1,
            ),
            _all(
                "factor of the weight per step: first gradient 0.001, learning rate × curvature 2.2",
                [(abs(steep[-1] / steep[0])) ** (1 / 200)],
                "at most 1, if gradients below 1 let no weight grow",
                lambda v: v <= 1,
            ),
            _all(
                "the same in the 30 steps in which the gradient is still below 1",
                [abs(steep[30] / steep[0]) ** (1 / 30)],
                "at most 1",
                lambda v: v <= 1,
            ),
        ),
    )


# --- how to see it ---------------------------------------------------------------------------------------------------


def watched(depth: int, activation: theory.Activation, init: Initializer, seed: int) -> Record:
    """One step of Adam on 256 real digits with a fresh ``MLP`` of width 64, histograms included."""
    model = MLP(depth, 64, activation, init, seed=seed)
    x, y = _batch()
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


@_claim("S15")
def _s15() -> Finding:
    deep, level = ([watched(20, *kind, seed) for seed in SEEDS] for kind in (("sigmoid", "he"), ("relu", "he")))
    middle = [middle_exponents(record) for record in deep]
    norms = [np.log10(record.gradient_norm[0, :-1]) for record in deep]
    return Finding(
        "S15",
        "Histograms and norms of the gradients show that they vanish.",
        (
            _all(
                "decades the norm loses from layer 20 to layer 1, 20 sigmoid layers",
                [n[-1] - n[0] for n in norms],
                "above 6",
                lambda v: v > 6,
            ),
            _all(
                "decades the middle of the histogram loses",
                [m[-1] - m[0] for m in middle],
                "above 6",
                lambda v: v > 6,
            ),
            _all(
                "how straight the way of the histograms to 0 is, from layer 20 back (R²)",
                [np.corrcoef(np.arange(20), m)[0, 1] ** 2 for m in middle],
                "above 0.95",
                lambda v: v > 0.95,
            ),
            _all(
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


@_claim("S32")
def _s32() -> Finding:
    wrong, wrong_bins, decades = zip(*(read_back(watched(20, "sigmoid", "he", seed)) for seed in SEEDS), strict=True)
    return Finding(
        "S32",
        "TensorBoard shows the gradients.",
        (
            _all("gradient norms that its reader finds changed, 20 sigmoid layers", wrong, "0", lambda v: v == 0),
            _all("bins of gradient histograms that it finds changed", wrong_bins, "0", lambda v: v == 0),
            _all("decades from layer 20 to layer 1 in what it reads", decades, "above 6", lambda v: v > 6),
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


@_memory.cache
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
        "update": float(np.median(np.median(record.update_ratio, axis=1))),
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


@_memory.cache
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
    model, (x, y) = MLP(depth, 32, activation, init, seed=seed), _batch(128)
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


@_claim("S12")
def _s12() -> Finding:
    def runs(activation: str, init: Initializer, optimizer: str, rate: float, decay: float) -> list[Descent]:
        return [descended(10, activation, init, optimizer, rate, 61, seed, decay) for seed in SEEDS]

    plain, decayed = (runs("sigmoid", "pytorch", "SGD", 0.5, decay) for decay in (0.0, 0.1))
    return Finding(
        "S12",
        "A sign of vanishing gradients is that the weights converge to 0.",
        (
            _all(
                "first over last layer's gradient norm, 10 sigmoid layers",
                [r.record.gradient_norm[0, 0] / r.record.gradient_norm[0, -1] for r in plain],
                "below 10⁻⁶: they vanish",
                lambda v: v < 1e-6,
            ),
            _all(
                "norm of layer 1 after 60 steps of SGD over before",
                [grown(r) for r in plain],
                "below 0.5, if weights converge to 0",
                lambda v: v < 0.5,
            ),
            _all(
                "the same with weight decay 0.1, learning rate 0.5, over 0.95⁶⁰: what decay alone leaves",
                [grown(r) / 0.95**60 for r in decayed],
                "1 ± 10⁻³",
                lambda v: abs(v - 1) < 1e-3,
            ),
            _all(
                "norm of layer 1 after 60 steps of Adam with weight_decay=1e-4 over before",
                [grown(r) for r in runs("sigmoid", "pytorch", "Adam", 5e-3, 1e-4)],
                "below 0.1",
                lambda v: v < 0.1,
            ),
            _all(
                "the same with AdamW",
                [grown(r) for r in runs("sigmoid", "pytorch", "AdamW", 5e-3, 1e-4)],
                "below 0.5, if weights converge to 0",
                lambda v: v < 0.5,
            ),
            _all(
                "the same with Adam where gradients do not vanish: 10 ReLU layers, He's start",
                [grown(r) for r in runs("relu", "he", "Adam", 5e-3, 1e-4)],
                "above 0.9",
                lambda v: v > 0.9,
            ),
        ),
    )


@_claim("S13")
def _s13() -> Finding:
    runs = {kind: [lookalike(kind, seed)[0] for seed in SEEDS] for kind in LOOKALIKES}
    others = ("too small a rate", "dead ReLU", "no signal")
    return Finding(
        "S13",
        "A sign of vanishing gradients is that the metrics stagnate.",
        (
            _all(
                "recent loss over that of guessing, vanishing",
                [recent_loss(r) for r in runs["vanishing"]],
                "above 0.95: it stagnates",
                lambda v: v > 0.95,
            ),
            *(
                _all(
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
            _all(
                "first over last gradient at the pre-activations, vanishing",
                [signs(r)["ratio"] for r in runs["vanishing"]],
                "below 10⁻³",
                lambda v: v < 1e-3,
            ),
            *(
                _all(
                    f"the same, {kind}",
                    [signs(r)["ratio"] for r in runs[kind]],
                    "above 10⁻²",
                    lambda v: v > 1e-2,
                )
                for kind in ("healthy", "too small a rate", "no signal")
            ),
            _all(
                "median update ratio, too small a rate",
                [signs(r)["update"] for r in runs["too small a rate"]],
                "below 10⁻⁵",
                lambda v: v < 1e-5,
            ),
            *(
                _all(
                    f"the same, {kind}",
                    [signs(r)["update"] for r in runs[kind]],
                    "above 2·10⁻⁴",
                    lambda v: v > 2e-4,
                )
                for kind in ("healthy", "no signal")
            ),
            _all(
                "largest share of dead units in a layer, dead ReLU",
                [signs(r)["dead"] for r in runs["dead ReLU"]],
                "1",
                lambda v: v == 1,
            ),
            *(
                _all(
                    f"the same, {kind}",
                    [signs(r)["dead"] for r in runs[kind]],
                    "below 0.9",
                    lambda v: v < 0.9,
                )
                for kind in ("healthy", "vanishing", "too small a rate", "no signal")
            ),
            *(
                _all(
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


@_claim("S14")
def _s14() -> Finding:
    runs = {kind: erratic_runs(kind) for kind in ERRATIC}
    rises = {kind: [rising(r) for r in found] for kind, found in runs.items()}
    level = [depth_ratio(r.record) for r in runs["too long a step"]]
    return Finding(
        "S14",
        "A loss that does not fall, or is erratic, is a sign of vanishing gradients.",
        (
            _all(
                "share of its loss that 20 tanh layers lose in 40 steps, vanishing (σ_w = 0.5)",
                [1 - r.loss[-1] / r.loss[0] for r in runs["vanishing"]],
                "below 0.01: it does not fall",
                lambda v: v < 0.01,
            ),
            _all(
                "the same where gradients do not vanish (σ_w = 1)",
                [1 - r.loss[-1] / r.loss[0] for r in runs["healthy"]],
                "above 0.05",
                lambda v: v > 0.05,
            ),
            _all(
                "share of steps that raise the loss, vanishing",
                rises["vanishing"],
                "above 0.1, if an erratic loss is its sign",
                lambda v: v > 0.1,
            ),
        ),
        "Where gradients vanish the loss does not fall, and it lies still. An erratic loss points the other way: to "
        "exploding gradients, or to steps that are too long for a healthy network.",
        (
            _all("the same, exploding (σ_w = 4)", rises["exploding"], "above 0.1", lambda v: v > 0.1),
            _all(
                "the same, learning rate 100 times that of the healthy run",
                rises["too long a step"],
                "above 0.1",
                lambda v: v > 0.1,
            ),
            _all(
                "first over last gradient of that run at its start",
                level,
                "between 0.01 and 100: neither fault",
                lambda v: 0.01 < v < 100,
            ),
            _all("share of steps that raise the loss, healthy", rises["healthy"], "0", lambda v: v == 0),
        ),
    )


@_claim("S29")
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
            _all(
                "share of steps that raise the loss, 20 tanh layers, σ_w = 4",
                [rising(r) for r in wild],
                "above 0.1",
                lambda v: v > 0.1,
            ),
            _all("the same at σ_w = 1", [rising(r) for r in calm], "0", lambda v: v == 0),
            _all(
                "share of steps after which the loss turns round, σ_w = 4",
                [turns(r) for r in wild],
                "above 0.1",
                lambda v: v > 0.1,
            ),
            _all("the same at σ_w = 1", [turns(r) for r in calm], "0", lambda v: v == 0),
            _all(
                "mean change of the loss in a step over that of guessing, σ_w = 4",
                [jump(r) for r in wild],
                "above 0.05",
                lambda v: v > 0.05,
            ),
            _all("the same at σ_w = 1", [jump(r) for r in calm], "below 0.02", lambda v: v < 0.02),
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


@_memory.cache
def overflowed(activation: str, scale: float, seed: int) -> Overflow:
    """Send 64 digits through a network that is four layers deeper than its predicted overflow, and look."""
    depth = int(predicted_overflow(activation, scale)) + 4
    model, (x, y) = MLP(depth, 256, activation, scale, seed=seed), _batch(64)
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
    return _all(what, layers, f"{predicted:g} ± 1, predicted from σ_w", lambda v: abs(v - predicted) <= 1)


S30_CASES = (("relu", 8.0), ("relu", 20.0), ("linear", 8.0), ("linear", 20.0))


@_claim("S30")
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
            _all(
                "share of inf in that layer, of what is not finite there, mean of these four networks",
                [np.mean([o.inf_share for o in row]) for row in zip(*found.values(), strict=True)],
                "above 0.5: inf comes before NaN",
                lambda v: v > 0.5,
            ),
            _all(
                "share of NaN two layers on, lowest of the four",
                [min(o.nan_share for o in row) for row in zip(*found.values(), strict=True)],
                "above 0.9",
                lambda v: v > 0.9,
            ),
            _all(
                "whether the recorder names that very layer, all four (1: yes)",
                [
                    all(o.named == (f"layer{o.layer}", "output") for o in row)
                    for row in zip(*found.values(), strict=True)
                ],
                "1",
                lambda v: v == 1,
            ),
            _all(
                "step at which the loss is first NaN, 20 ReLU layers, σ_w = 2, learning rate 0.01",
                [first_nan(r) for r in trained],
                "at most 10",
                lambda v: 1 <= v <= 10,
            ),
            _all(
                "the same at σ_w = √2, in as many steps (0: never)",
                [first_nan(r) for r in calm],
                "0",
                lambda v: v == 0,
            ),
        ),
    )


@_claim("S31")
def _s31() -> Finding:
    calm, wild = erratic_runs("healthy"), erratic_runs("exploding")
    return Finding(
        "S31",
        "A sign of exploding gradients is that the weights grow fast.",
        (
            _all(
                "relative growth of the norm of layer 1 in 10 steps, 20 tanh layers, σ_w = 4",
                [grown(r, 1) - 1 for r in wild],
                "above 0.05",
                lambda v: v > 0.05,
            ),
            _all(
                "the same at σ_w = 1, either way",
                [abs(grown(r, 1) - 1) for r in calm],
                "below 0.001",
                lambda v: v < 1e-3,
            ),
        ),
    )


# --- remedies --------------------------------------------------------------------------------------------------------

DEEP = 20
_SCALED = {"skip": True, "branch_scale": 1 / math.sqrt(DEEP)}

# What is changed in 20 sigmoid layers of 64 units with PyTorch's own start.
REMEDIES: dict[str, dict] = {
    "nothing": {},
    "clipping": {"clip_norm": 5.0},
    "He start": {"init": "he"},
    "ReLU": {"activation": "relu"},
    "layer normalisation": {"norm": "layer"},
    "batch normalisation": {"norm": "batch"},
    "skip connections": {"skip": True},
    "ReLU, He start": {"activation": "relu", "init": "he"},
    "ReLU, batch normalisation": {"activation": "relu", "norm": "batch"},
    "ReLU, He start, skips": {"activation": "relu", "init": "he", "skip": True},
    "ReLU, He start, scaled skips": {"activation": "relu", "init": "he", **_SCALED},
    "batch normalisation, skips": {"norm": "batch", "skip": True},
    "tanh, Xavier start": {"activation": "tanh", "init": "xavier"},
    "tanh, orthogonal start": {"activation": "tanh", "init": "orthogonal"},
}
LEAGUE_SEEDS = range(10)


class Treated(NamedTuple):
    """One run of the league.

    Attributes:
        ratio: gradient norm at the first layer's output over the last hidden layer's, before the first update.
        slope: of log10 of that norm against the layer's number: decades a layer.
        growth: root mean square of the last hidden layer's output over the first one's, before the first update.
        loss, accuracy: on the test images at the end.
        digest: of all weights at the end, so that two runs can be told to be the same bit for bit.
    """

    ratio: float
    slope: float
    growth: float
    loss: float
    accuracy: float
    digest: str


def treat(remedy: str, seed: int) -> tuple[MLP, float | None]:
    """The network of the league with one remedy, and the norm its gradient is clipped at.

    Raises:
        ValueError: for a remedy that is not in ``REMEDIES``.
    """
    if remedy not in REMEDIES:
        raise ValueError(f"unknown remedy {remedy!r}; known: {', '.join(REMEDIES)}")
    settings = {"activation": "sigmoid", "init": "pytorch"} | REMEDIES[remedy]
    clip_norm = settings.pop("clip_norm", None)
    return MLP(DEEP, 64, seed=seed, **settings), clip_norm


@_memory.cache
def treated(remedy: str, seed: int) -> Treated:
    """Look at the start, then train for 6 epochs on the digits with Adam at 1e-3: the same budget for every remedy."""
    model, clip_norm = treat(remedy, seed)
    record = probe(model, *_batch())
    layers = [i for i, name in enumerate(record.layers) if name.startswith("layer")]
    norms, sizes = record.output_gradient_norm[0, layers], record.output_rms[0, layers]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = fit(model, digits(), optimizer, 6, clip_norm=clip_norm, seed=seed, progress=False)
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return Treated(
        ratio=norms[0] / norms[-1],
        slope=np.polyfit(np.arange(DEEP), np.log10(norms), 1)[0],
        growth=sizes[-1] / sizes[0],
        loss=history.test_loss[-1],
        accuracy=history.test_accuracy[-1],
        digest=hashlib.sha256(weights).hexdigest(),
    )


def league() -> dict[str, list[Treated]]:
    """Every remedy of ``REMEDIES``, one run for each of ``LEAGUE_SEEDS``."""
    return {remedy: [treated(remedy, seed) for seed in LEAGUE_SEEDS] for remedy in REMEDIES}


def treated_start(remedy: str) -> Record:
    """The record of one pass through the first network of the league with this remedy, before training.

    Raises:
        ValueError: for a remedy that is not in ``REMEDIES``.
    """
    return probe(treat(remedy, 0)[0], *_batch())


# --- recurrence and clipping -----------------------------------------------------------------------------------------


class Adding(NamedTuple):
    """What is kept of one training run on the adding problem.

    Attributes:
        errors: mean squared test error after each epoch; answering always 1 gives 1/6.
        ratio_before, ratio_after: of the trained network and of its start, the gradient norm at the state after the
            first step over that after the last (``Record.time_ratio``), on 256 test sequences.
    """

    errors: np.ndarray
    ratio_before: float
    ratio_after: float


@_memory.cache
def adding_run(cell: str, length: int, epochs: int, seed: int, forget_bias: float | None = None) -> Adding:
    """Train on the adding problem: 32 units, Adam at 0.01, clipped at a norm of 1.

    An epoch is 128 batches of 32 sequences.
    """
    data = adding_problem(length, 4096, seed)
    model = RecurrentClassifier(cell, 32, in_features=2, out_features=1, forget_bias=forget_bias, seed=seed)

    def ratio() -> float:
        return float(probe(model, data.x_test[:256], data.y_test[:256], mse_loss).time_ratio[0, 0])

    before = ratio()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = fit(model, data, optimizer, epochs, batch_size=32, clip_norm=1.0, seed=seed, progress=False)
    return Adding(np.array(history.test_loss), before, ratio())


@_memory.cache
def through_time(
    cell: str,
    length: int,
    recurrent_init: str | float = "pytorch",
    forget_bias: float | None = None,
    seeds: Sequence[int] = SEEDS,
) -> np.ndarray:
    """Gradient norm at the state after each time step, over that after the last; 64 units, 64 adding problems.

    Shape (seeds, length). The loss is the mean squared error of the answer after the last step. The first column is
    ``Record.time_ratio`` of the cell.
    """
    rows = []
    for seed in seeds:
        data = adding_problem(length, 64, seed)
        kwargs = {"recurrent_init": recurrent_init, "forget_bias": forget_bias, "seed": seed}
        model, states = RecurrentClassifier(cell, 64, in_features=2, out_features=1, **kwargs), []

        def keep(module: torch.nn.Module, inputs: object, output: Tensor | tuple, states: list = states) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        handle = model.cell.register_forward_hook(keep)
        loss = mse_loss(model(data.x_train), data.y_train)
        handle.remove()
        norms = [float(g.double().norm()) for g in torch.autograd.grad(loss, states)]
        rows.append(np.array(norms) / norms[-1])
    return np.stack(rows)


@_memory.cache
def cell_memory(
    forget_bias: float, length: int, through_gates: bool = False, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """What the cell of a fresh LSTM still holds of itself after 0, 1, ... steps: size of d c_T / d c_(T - k).

    Shape (seeds, length), 1 in the first column. By autograd, of a sum of the units of c_T with random signs, as a norm
    over 64 units and 64 adding problems. Without ``through_gates`` the state that the gates read is taken as given, so
    that only the path from cell to cell counts, as in Hochreiter & Schmidhuber 1997, section 4.
    """
    rows = []
    for seed in seeds:
        model = RecurrentClassifier("lstm", 64, in_features=2, out_features=1, forget_bias=forget_bias, seed=seed)
        signs = torch.randint(0, 2, (64,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
        state, cells = torch.zeros(64, 64), [torch.zeros(64, 64, requires_grad=True)]
        for inputs in adding_problem(length, 64, seed).x_train[:, 1:].unbind(1):
            state, cell = model.cell(inputs, (state if through_gates else state.detach(), cells[-1]))
            cells.append(cell)
        norms = [float(g.double().norm()) for g in torch.autograd.grad((cells[-1] * signs).sum(), cells)]
        rows.append(np.array(norms[::-1]) / norms[-1])
    return np.stack(rows)


def predicted_through_time(radius: float, length: int) -> np.ndarray:
    """What ``theory`` predicts for ``through_time`` of a plain cell with this spectral radius; shape (length,).

    The radius of a wide Gaussian matrix is its weight scale (the circular law). Inputs and both biases enter like one
    bias: numbers from 0 to 1 and two marks, through weights of variance 1 / (3 * 64).
    """
    drive = math.sqrt((1 / 3 + 2 / length + 2) / (3 * 64))
    # a state is followed by the slopes of the next step only, hence one layer more, and the first left out
    return theory.gradient_profile("tanh", length + 1, radius, 0.0, bias_std=drive)[1:].numpy()


def horizon(kept: np.ndarray) -> float:
    """The number of steps after which a decaying row of ``cell_memory`` is 1/e, by interpolating its logarithm."""
    below = int(np.argmax(kept < math.exp(-1)))
    if kept[below] >= math.exp(-1):
        return math.inf
    before, after = np.log(kept[below - 1]), np.log(kept[below])
    return below - 1 + (before + 1) / (before - after)


ADDING_SEEDS = SEEDS[:10]  # trainings are compared on ten seeds; gradients are measured on twenty


@_claim("S19")
def _s19() -> Finding:
    runs = {cell: [adding_run(cell, 20, 4, seed) for seed in ADDING_SEEDS] for cell in ("rnn", "lstm", "gru")}
    names = {"rnn": "plain cell", "lstm": "LSTM", "gru": "GRU"}
    kept = cell_memory(2.0, 50)
    predicted = float(theory.cell_memory(2.0, 1)[1])
    return Finding(
        "S19",
        "LSTM and GRU ease vanishing gradients in sequences, by gating.",
        (
            _all(
                "test error of the plain cell after 512 steps, adding two numbers of 20",
                [run.errors[-1] for run in runs["rnn"]],
                "above 0.1; answering always 1 gives 0.167",
                lambda v: v > 0.1,
            ),
            *(
                _all(
                    f"the same of the {names[cell]}",
                    [run.errors[-1] for run in runs[cell]],
                    "below 0.02",
                    lambda v: v < 0.02,
                )
                for cell in ("lstm", "gru")
            ),
            *(
                _all(
                    f"gradient at the first state over that at the last, {names[cell]}, trained over fresh",
                    [run.ratio_after / run.ratio_before for run in runs[cell]],
                    "above 100: the gates have learned to keep it",
                    lambda v: v > 100,
                )
                for cell in ("lstm", "gru")
            ),
            _all(
                "factor of a cell's gradient per step, along the cell, fresh LSTM with forget bias 2, 49 steps",
                kept[:, -1] ** (1 / 49),
                f"{predicted:.4f} ± 2 %, the sigmoid of the bias",
                lambda v: abs(v / predicted - 1) < 0.02,
            ),
        ),
    )


def gradient_vector(model: torch.nn.Module) -> Tensor:
    """All gradients of a model as one vector, float64; shape (parameters,)."""
    return torch.cat([p.grad.detach().double().flatten() for p in model.parameters()])


@functools.cache
def clipped_gradients(threshold: float = 1.0) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """(gradient, the same after torch's clipping) of 20 exploding tanh layers, by "norm" and by "value", one a seed."""
    clips = {"norm": torch.nn.utils.clip_grad_norm_, "value": torch.nn.utils.clip_grad_value_}
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {how: [] for how in clips}
    for seed in SEEDS:
        model = MLP(20, 32, "tanh", 4.0, seed=seed)
        for how, clip in clips.items():
            model.zero_grad()
            cross_entropy(model(_batch()[0]), _batch()[1]).backward()
            before = gradient_vector(model)
            clip(model.parameters(), threshold)
            pairs[how].append((before, gradient_vector(model)))
    return pairs


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two vectors."""
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def vanishing_and_clipped(clip_norm: float, seed: int) -> tuple[float, int, float]:
    """One epoch of 20 sigmoid layers on the digits, with and without clipping.

    Returns:
        The largest gradient norm of the run without it; how many weights end differently with it; and the gradient
        norm of layer 1 after clipping over before, in the first step.
    """
    ends, record = [], None
    for bound in (None, clip_norm):
        model = MLP(20, 32, "sigmoid", "he", seed=seed)
        recorder = Recorder(model, activations=False) if bound is None else None
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, digits(), optimizer, 1, clip_norm=bound, seed=seed, recorder=recorder, progress=False)
        ends.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
        record = recorder.record if recorder is not None else record
    model = MLP(20, 32, "sigmoid", "he", seed=seed)
    cross_entropy(model(_batch()[0]), _batch()[1]).backward()
    before = float(model.layer1.weight.grad.double().norm())
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    after = float(model.layer1.weight.grad.double().norm())
    largest = float(np.sqrt((record.gradient_norm**2).sum(1)).max())
    return largest, int((ends[0] != ends[1]).sum()), after / before


@_claim("S20")
def _s20() -> Finding:
    exploding = [float(after.norm()) for _, after in clipped_gradients()["norm"]]
    _, changed, factor = zip(*(vanishing_and_clipped(5.0, seed) for seed in SEEDS), strict=True)
    return Finding(
        "S20",
        "Gradient clipping keeps gradients from becoming too small, and from exploding.",
        (
            _all(
                "gradient norm after clipping at 1, 20 tanh layers, σ_w = 4",
                exploding,
                "at most 1",
                lambda v: v <= 1 + 1e-6,
            ),
            _all(
                "gradient of layer 1 after clipping at 5 over before, 20 sigmoid layers",
                factor,
                "above 1, if clipping keeps it from becoming too small",
                lambda v: v > 1,
            ),
            _all(
                "weights that end differently after an epoch with clipping, 20 sigmoid layers",
                changed,
                "above 0, if clipping changes anything",
                lambda v: v > 0,
            ),
        ),
    )


def cliff_loss(w: Tensor, b: Tensor, steps: int = 50) -> Tensor:
    """Loss of one unit, x ← w·sigmoid(x) + b from x = 0.5, asked for an output of 0.7 after ``steps`` steps.

    Args:
        w, b: float64, of one shape, which is the loss's too.
    Source: Pascanu et al. 2013, figure 6.
    """
    x = torch.full_like(w, 0.5)
    for _ in range(steps):
        x = w * torch.sigmoid(x) + b
    return (torch.sigmoid(x) - 0.7) ** 2


class Walks(NamedTuple):
    """``path``: shape (walks, steps + 1, 2), weight and bias; ``loss`` and ``gradient_norm``: shape (walks, steps)."""

    path: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray


def cliff_starts(count: int = len(SEEDS)) -> list[list[float]]:
    """Starts on the plateau above the cliff: a weight from 5 to 6.5 and a bias from -2.6 to -2."""
    draws = torch.rand(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (torch.tensor([5.0, -2.6]) + torch.tensor([1.5, 0.6]) * draws).tolist()


@_memory.cache
def cliff_walks(
    starts: Sequence[Sequence[float]], learning_rate: float, clip_norm: float | None = None, steps: int = 150
) -> Walks:
    """``torch.optim.SGD`` on ``cliff_loss`` from each start, with torch's own clipping; norms are those before."""
    # side by side, because the loss is slow; each walk is a parameter of its own and is clipped by its own norm
    positions = [torch.nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in starts]
    optimizer = torch.optim.SGD(positions, lr=learning_rate)
    path, losses, norms = [[p.tolist() for p in positions]], [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cliff_loss(*torch.stack(list(positions), dim=1))
        loss.sum().backward()
        losses.append(loss.tolist())
        norms.append([p.grad.norm().item() for p in positions])
        if clip_norm is not None:
            for position in positions:
                torch.nn.utils.clip_grad_norm_([position], clip_norm)
        optimizer.step()
        path.append([p.tolist() for p in positions])
    return Walks(np.swapaxes(path, 0, 1), np.array(losses).T, np.array(norms).T)


@_claim("S33")
def _s33() -> Finding:
    pairs = clipped_gradients()
    by_norm, by_value = pairs["norm"], pairs["value"]
    free, held = (cliff_walks(cliff_starts(), 0.5, clip) for clip in (None, 0.5))

    def longest(walks: Walks) -> np.ndarray:
        return np.linalg.norm(np.diff(walks.path, axis=1), axis=2).max(1)

    return Finding(
        "S33",
        "Clipping sets a maximum for the gradient; what exceeds the threshold becomes the threshold.",
        (
            _all(
                "by value at 1: share of the entries beyond it that become 1 or -1, 20 tanh layers, σ_w = 4",
                [float((after[before.abs() > 1].abs() == 1).double().mean()) for before, after in by_value],
                "1",
                lambda v: v == 1,
            ),
            _all(
                "norm of that gradient",
                [float(after.norm()) for _, after in by_value],
                "at most 1, if the gradient has got a maximum",
                lambda v: v <= 1,
            ),
            _all(
                "cosine between that gradient and the one before",
                [cosine(*pair) for pair in by_value],
                "above 0.99, if only its size is limited",
                lambda v: v > 0.99,
            ),
        ),
        "There are two kinds. By value, each entry has its maximum, and the direction turns. By norm, the whole "
        "gradient is scaled to the threshold, and the direction is kept. Then no step of plain gradient descent is "
        "longer than learning rate × threshold.",
        (
            _all(
                "by norm at 1: norm of the gradient",
                [float(after.norm()) for _, after in by_norm],
                "1",
                lambda v: abs(v - 1) < 1e-5,
            ),
            _all(
                "cosine between that gradient and the one before",
                [cosine(*pair) for pair in by_norm],
                "1",
                lambda v: abs(v - 1) < 1e-9,
            ),
            _all(
                "longest step at the cliff of Pascanu 2013, clipped by norm at 0.5, learning rate 0.5",
                longest(held),
                "at most 0.25",
                lambda v: v <= 0.25 + 1e-9,
            ),
            _all("the same without clipping", longest(free), "above 0.25", lambda v: v > 0.25),
            _all(
                "smallest error in the last 50 steps there, clipped",
                held.loss[:, -50:].min(1),
                "below 0.01: it has stayed at the cliff, where the minimum is",
                lambda v: v < 0.01,
            ),
        ),
    )


class ClipRun(NamedTuple):
    """``accuracy`` on the test images at the end; ``norms``: of the whole gradient before clipping, shape (steps,)."""

    accuracy: float
    norms: np.ndarray


@_memory.cache
def clip_run(scale: float, percentile: float | None, seed: int) -> ClipRun:
    """20 tanh layers of 32 units, SGD at 0.3, 4 epochs on the digits; clipped by norm, or not with None.

    The threshold is that percentile of the gradient norms recorded in the run of the same seed without clipping.
    """
    bound = None if percentile is None else float(np.percentile(clip_run(scale, None, seed).norms, percentile))
    model = MLP(20, 32, "tanh", scale, seed=seed)
    recorder = Recorder(model, activations=False) if bound is None else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    history = fit(model, digits(), optimizer, 4, clip_norm=bound, seed=seed, recorder=recorder, progress=False)
    norms = np.empty(0) if recorder is None else np.sqrt((recorder.record.gradient_norm**2).sum(1))
    return ClipRun(history.test_accuracy[-1], norms)


def spiked_steps(optimizer: str, spike: float, clip_norm: float | None, steps: int = 200, at: int = 100) -> np.ndarray:
    """Size of each step over the learning rate, of one weight with a gradient of 1, ``spike`` in step ``at``."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    trainer = getattr(torch.optim, optimizer)([weight], lr=1e-3)
    sizes = []
    for step in range(steps):
        weight.grad = torch.full_like(weight, spike if step == at else 1.0)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([weight], clip_norm)
        before = weight.item()
        trainer.step()
        sizes.append(abs(weight.item() - before) / 1e-3)
    return np.array(sizes)


# --- activations and starting weights --------------------------------------------------------------------------------


@_memory.cache
def flows(
    depth: int, activation: theory.Activation, init: Initializer, width: int = 128, seeds: Sequence[int] = SEEDS
) -> tuple[np.ndarray, np.ndarray]:
    """The signal on its way forward and the gradient on its way back, at each hidden layer's pre-activations.

    Two arrays of shape (seeds, depth): the root mean square over the first layer's, and the gradient norm over the last
    layer's, on 64 digits.
    """
    records = [probe(MLP(depth, width, activation, init, seed=seed), *_batch(64)) for seed in seeds]
    signal = np.stack([record.output_rms[0, :depth] for record in records])
    gradient = np.stack([record.output_gradient_norm[0, :depth] for record in records])
    return signal / signal[:, :1], gradient / gradient[:, -1:]


def layer_factors(init: Initializer, fan_in: int, fan_out: int, seed: int) -> tuple[float, float]:
    """By how much one linear layer multiplies the mean square of a signal, and, backward, that of a gradient.

    Measured on 1,024 Gaussian rows each; the gradient comes back through autograd.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = initialize(torch.nn.Linear(fan_in, fan_out, bias=False), init)
        x, gradient = torch.randn(1024, fan_in, requires_grad=True), torch.randn(1024, fan_out)
        z = layer(x)
        back = torch.autograd.grad(z, x, gradient)[0]
    return (
        float(z.detach().square().mean() / x.detach().square().mean()),
        float(back.square().mean() / gradient.square().mean()),
    )


_critical = functools.cache(theory.critical_weight_std)
_images = functools.cache(digits)


@_memory.cache
def singular_values(
    depth: int, activation: str, start: str, width: int = 64, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Singular values of the Jacobian from the input to the last hidden layer, at one digit a seed.

    ``start`` is ``"gaussian"`` or ``"orthogonal"``; both get the activation's critical weight scale. All layers are
    square: a digit is repeated where the width is more than its 64 pixels. Shape (seeds, width), the largest first.
    """
    scale = _critical(activation)
    found = []
    for seed in seeds:
        init = {"gaussian": "lecun", "orthogonal": "orthogonal"}[start]
        model = MLP(depth, width, activation, init, in_features=width, seed=seed).double()
        digit = _batch(64)[0][seed].double().repeat(-(-width // 64))[:width]
        x = digit.repeat(width, 1).requires_grad_()
        signal = x
        for number in range(1, depth + 1):
            layer = getattr(model, f"layer{number}")
            signal = getattr(model, f"activation{number}")(scale * layer(signal))  # the biases are 0
        # row i of the copies asks for output i, so that one backward pass gives the whole Jacobian
        jacobian = torch.autograd.grad(signal, x, torch.eye(width, dtype=torch.float64))[0]
        found.append(torch.linalg.svdvals(jacobian).numpy())
    return np.stack(found)


@_memory.cache
def product_rates(width: int, depth: int = 200, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Growth of the logarithm of a signal's length per layer, in linear networks with sigma_w = 1; shape (seeds,)."""
    rates = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        signal, total = torch.randn(width, generator=generator, dtype=torch.float64), 0.0
        signal /= signal.norm()
        for _ in range(depth):
            signal = torch.randn(width, width, generator=generator, dtype=torch.float64) @ signal / math.sqrt(width)
            total += math.log(signal.norm())
            signal /= signal.norm()
        rates.append(total / depth)
    return np.array(rates)


class Worn(NamedTuple):
    """``off``: share of hidden units that are negative on every training image at the end; ``accuracy``: on the test
    images then.
    """

    off: float
    accuracy: float


@_memory.cache
def worn(activation: str, learning_rate: float, seed: int) -> Worn:
    """3 layers of 64 units, He's start, 2 epochs of Adam on the digits."""
    model, data = MLP(3, 64, activation, "he", seed=seed), _images()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    history = fit(model, data, optimizer, 2, seed=seed, progress=False)
    signal, off = data.x_train, []
    with torch.no_grad():
        for name, module in model.named_children():
            signal = module(signal)
            if name.startswith("layer"):
                off.append(float((signal <= 0).all(0).double().mean()))
    return Worn(float(np.mean(off)), history.test_accuracy[-1])


@_memory.cache
def born_dead(depth: int, width: int, networks: int = 1000) -> float:
    """Share of ReLU networks that give 0 at the last hidden layer for one digit, whatever the read-out."""
    dead = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        signal = _images().x_train[:networks, None].double()
        for _ in range(depth):
            fan_in = signal.shape[2]
            weights = torch.randn(networks, fan_in, width, dtype=torch.float64) * math.sqrt(2 / fan_in)
            signal = torch.relu(signal @ weights)
        dead = int((signal == 0).all(2).sum())
    return dead / networks


def trained_depths(kept: dict, share: float = 0.5) -> dict[str, float]:
    """Per weight scale, the depth at which the median training accuracy falls below ``share``; inf if it never does.

    ``kept`` is what ``benchmarks/starts.py`` keeps. Between two depths the line is straight in the logarithm of depth.
    """
    found = {}
    for scale, runs in kept["tanh"].items():
        depths = [int(depth) for depth in runs["accuracy"]]
        middle = [float(np.median(shares)) for shares in runs["accuracy"].values()]
        found[scale] = math.inf
        for (d0, a0), (d1, a1) in zip(
            zip(depths, middle, strict=True), zip(depths[1:], middle[1:], strict=True), strict=False
        ):
            if a0 >= share > a1:
                found[scale] = math.exp(math.log(d0) + (a0 - share) / (a0 - a1) * math.log(d1 / d0))
                break
    return found


TWENTY_RELU = ("pytorch", "xavier", "he")


def twenty_relu_layers(init: str) -> list[float]:
    """Test accuracy of 20 ReLU layers after 6 epochs on the digits, one value for each of ``LEAGUE_SEEDS``."""
    in_the_league = {"pytorch": "ReLU", "he": "ReLU, He start"}
    if init in in_the_league:
        return [treated(in_the_league[init], seed).accuracy for seed in LEAGUE_SEEDS]
    return [run(20, "relu", init, "Adam", 1e-3, 6, seed).accuracy for seed in LEAGUE_SEEDS]


@_claim("S17")
def _s17() -> Finding:
    at = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    below, zero, above = torch.autograd.grad(torch.relu(at).sum(), at)[0].tolist()
    size = 1e-6
    left, right = ((torch.relu(torch.tensor(h, dtype=torch.float64)) / h).item() for h in (-size, size))
    start = {init: profiles(20, "relu", init, width=128)[:, 0] for init in ("pytorch", "he")}
    accuracy = {init: twenty_relu_layers(init) for init in TWENTY_RELU}
    off = {name: [worn(name, 0.1, seed) for seed in SEEDS] for name in ("relu", "leaky_relu")}
    return Finding(
        "S17",
        "ReLU's gradient is 0 for negative and zero input and 1 for positive input, which alleviates vanishing.",
        (
            _all("slope torch gives at -1", [below], "0", lambda v: v == 0),
            _all("slope torch gives at 1", [above], "1", lambda v: v == 1),
            _all(
                "slope to the right of 0 minus slope to its left",
                [right - left],
                "0, if there is a slope at 0",
                lambda v: v == 0,
            ),
            _all(
                "first over last gradient of 20 ReLU layers, PyTorch's start",
                start["pytorch"],
                "above 0.01, if ReLU alone keeps gradients",
                lambda v: v > 0.01,
            ),
        ),
        "At 0 there is no slope; libraries agree on one. ReLU alone halves the squared gradient in every layer. Only "
        "weights that are √2 larger (He) make the factor 1. Units that are off for every input are the price.",
        (
            _all("slope torch takes at 0", [zero], "0, a convention", lambda v: v == 0),
            _all(
                "factor of the squared gradient per ReLU layer, σ_w = 1",
                norm_factors("relu", 1.0) ** 2,
                "1/2 ± 4 %",
                lambda v: abs(v - 0.5) < 0.02,
            ),
            _all(
                "the same with σ_w = √2",
                norm_factors("relu", math.sqrt(2)) ** 2,
                "1 ± 4 %",
                lambda v: abs(v - 1) < 0.04,
            ),
            _all("first over last gradient of 20 layers, He's start", start["he"], "above 0.1", lambda v: v > 0.1),
            _all(
                "accuracy of 20 layers after 6 epochs, PyTorch's start",
                accuracy["pytorch"],
                "below 0.2",
                lambda v: v < 0.2,
            ),
            _all("the same, Xavier's start", accuracy["xavier"], "above 0.2", lambda v: v > 0.2),
            _all(
                "the same, He's start",
                accuracy["he"],
                f"above Xavier's mean, {np.mean(accuracy['xavier']):.2f}",
                lambda v: v > np.mean(accuracy["xavier"]),
            ),
            _all(
                "share of units off for every image after training, Adam at 0.1",
                [w.off for w in off["relu"]],
                "above 0.2: they get no gradient any more",
                lambda v: v > 0.2,
            ),
            _all(
                "accuracy there of leaky ReLU minus ReLU, mean",
                [np.mean([w.accuracy for w in off["leaky_relu"]]) - np.mean([w.accuracy for w in off["relu"]])],
                "above 0: with a leak they get one",
                lambda v: v > 0,
            ),
        ),
    )
