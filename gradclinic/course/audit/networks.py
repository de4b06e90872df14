"""Measurements of deep networks on real digits that several chapters share, and what theory predicts for them."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, memory
from gradclinic.course.data import digits
from gradclinic.course.initializers import Initializer, weight_std
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.record import Record
from gradclinic.recorder import Recorder, probe


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


@memory.cache
def run(
    depth: int, activation: str, init: Initializer, optimizer: str, learning_rate: float, epochs: int, seed: int
) -> Run:
    """Train an ``MLP`` of width 64 on the digits. Starting weights and the order of examples follow ``seed``."""
    model = MLP(depth, 64, activation, init, seed=seed)
    before = model.layer1.weight.detach().double().clone()
    recorder = Recorder(model, activations=False, every=10)
    trainer = getattr(torch.optim, optimizer)(model.parameters(), lr=learning_rate)
    history = fit(model, digits(), trainer, epochs, seed=seed, recorder=recorder, progress=False)
    after, record = model.layer1.weight.detach().double(), recorder.record
    whole = np.isfinite(record.update_norm).all(1)  # the last step is one in ten only by chance
    return Run(
        loss=np.array(history.loss, dtype=np.float32),
        accuracy=history.test_accuracy[-1],
        gradient_norm=record.gradient_norm[whole],
        update_ratio=record.update_ratio[whole],
        first_moved=float((after - before).norm() / before.norm()),
        first_norm=float(after.norm() / before.norm()),
    )


DEPTHS = (1, 2, 3, 5, 8, 12, 20)


@memory.cache
def accuracies(activation: str, depths: Sequence[int] = DEPTHS, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Test accuracy by depth and seed. He start, Adam at 3e-3, 10 epochs on the digits: all else equal."""
    rows = [[run(depth, activation, "he", "Adam", 3e-3, 10, seed).accuracy for seed in seeds] for depth in depths]
    return np.array(rows)


def accuracy_by_depth(
    activation: str, depths: Sequence[int] = DEPTHS, seeds: Sequence[int] = SEEDS
) -> dict[int, list[float]]:
    """What ``accuracies`` gives, by depth."""
    return dict(zip(depths, accuracies(activation, depths, seeds).tolist(), strict=True))


def stuck(optimizer: str) -> list[Run]:
    """20 sigmoid layers with PyTorch's own start, 20 epochs on the digits, one run a seed."""
    learning_rate = {"SGD": 0.5, "Adam": 1e-2}[optimizer]
    return [run(20, "sigmoid", "pytorch", optimizer, learning_rate, 20, seed) for seed in SEEDS]


@functools.cache
def digits_batch(size: int = 256) -> tuple[Tensor, Tensor]:
    data = digits()
    return data.x_train[:size], data.y_train[:size]


def probes(
    depth: int, activation: theory.Activation, init: Initializer, width: int = 256, seeds: Sequence[int] = SEEDS
) -> list[Record]:
    """One backward pass of 256 real digits through a fresh network per seed."""
    return [probe(MLP(depth, width, activation, init, seed=seed), *digits_batch()) for seed in seeds]


def _over_last(norms: np.ndarray) -> np.ndarray:
    relative: np.ndarray = norms / norms[:, -1:]
    return relative


@memory.cache
def profiles(
    depth: int, activation: theory.Activation, init: Initializer, width: int = 256, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Gradient norm at each hidden layer's pre-activations over the last one's; shape (seeds, depth)."""
    norms = np.stack([r.output_gradient_norm[0, :depth] for r in probes(depth, activation, init, width, seeds)])
    return _over_last(norms)


def predicted_profile(depth: int, activation: theory.Activation, init: Initializer, width: int = 256) -> Tensor:
    """What ``theory`` predicts for ``profiles``, for the same digits."""
    x = digits_batch()[0]
    later, first = weight_std(init, width, width), weight_std(init, x.shape[1], width)
    # The first layer has another fan-in, and with some initialisers another scale: fold that into its input.
    variance = float((x**2).mean()) * (first / later) ** 2
    bias_std = 1 / math.sqrt(3 * width) if init == "pytorch" else 0.0
    return theory.gradient_profile(activation, depth, later, variance, bias_std=bias_std)


SETTLED_DEPTH, SETTLED_WIDTH = 20, 128


def _settled_batch(activation: theory.Activation, scale: float) -> tuple[Tensor, Tensor]:
    """64 digits, multiplied so that layer 1 has the signal at which a deep network would settle anyway."""
    x, y = digits_batch(64)
    settled = theory.fixed_point(activation, scale)
    if not 0 < settled < math.inf:  # it dies out, or grows for ever: begin where the limit shows at once
        settled = 1e-8 if settled == 0 else scale**2
    return x * math.sqrt(settled / (scale**2 * float((x**2).mean()))), y


@memory.cache
def settled_profiles(activation: theory.Activation, scale: float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """As ``profiles``, of 20 layers of 128 units, with the digits scaled so that the signal is settled from layer 1."""
    batch = _settled_batch(activation, scale)
    models = (MLP(SETTLED_DEPTH, SETTLED_WIDTH, activation, scale, seed=seed) for seed in seeds)
    norms = np.stack([probe(model, *batch).output_gradient_norm[0, :SETTLED_DEPTH] for model in models])
    return _over_last(norms)


def settled_prediction(activation: theory.Activation, scale: float) -> np.ndarray:
    """What ``theory`` predicts for ``settled_profiles``: one factor for all layers; shape (layers,)."""
    mean_square = float((_settled_batch(activation, scale)[0] ** 2).mean())
    return theory.gradient_profile(activation, SETTLED_DEPTH, scale, mean_square).numpy()


@memory.cache
def signal_sizes(
    depth: int, activation: theory.Activation, scale: float, width: int = 256, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Root mean square of each layer's pre-activations on 64 digits; inf from the first layer on that is not finite.

    Shape (seeds, depth).
    """
    sizes = np.full((len(seeds), depth), math.inf)
    for row, seed in zip(sizes, seeds, strict=True):
        signal, layer = digits_batch(64)[0], 0
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
    variances = [scale**2 * float((digits_batch(64)[0] ** 2).mean())]
    for _ in range(depth - 1):
        variances.append(theory.variance_map(activation, scale, variances[-1]))
    return np.log10(variances) / 2


def predicted_overflow(activation: theory.Activation, scale: float, width: int = 256) -> float:
    """The layer in which ``signal_sizes`` should first not be finite, by ``theory``."""
    mean_square = float((digits_batch(64)[0] ** 2).mean())
    return theory.overflow_depth(activation, scale, input_variance=mean_square, width=width)


def layer_factor(profile: np.ndarray) -> np.ndarray:
    """Mean factor of the squared gradient per layer, from one or many profiles; shape (...,)."""
    factor: np.ndarray = profile[..., 0] ** (2 / (profile.shape[-1] - 1))
    return factor


def mean_slopes(depth: int, activation: str, init: Initializer, seed: int) -> list[float]:
    """Mean slope of the activation in each layer of a fresh network, on real digits."""
    signal, slopes = digits_batch()[0], []
    with torch.no_grad():
        for name, module in MLP(depth, 256, activation, init, seed=seed).named_children():
            if name.startswith("activation"):
                slopes.append(float(theory.slope(activation, signal).mean()))
            signal = module(signal)
    return slopes
