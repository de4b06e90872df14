"""Gradients that vanish by rounding: what float16 and bfloat16 make 0, and what a loss scaler saves."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from gradclinic.course.audit.claims import SEEDS, memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import accuracy

# Half of the smallest number above 0 that float16 has, and the largest number that is not rounded to inf.
BECOMES_ZERO, LAST_FINITE = 2.0**-25, 65519.0
LAYERS, WIDTH, BATCH = 10, 32, 64
EXPONENTS = (0, 4, 8, 12, 16, 20, 24, 28)
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_images = functools.cache(digits)


def network(seed: int, depth: int = LAYERS) -> MLP:
    """A sigmoid network with Xavier's start, in float32."""
    return MLP(depth, WIDTH, "sigmoid", "xavier", seed=seed)


def _autocast(dtype: str) -> torch.autocast:
    """What makes torch compute in this type; it can be entered again.

    Raises:
        ValueError: for an unknown one.
    """
    if dtype not in TYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(TYPES)}")
    half = dtype != "float32"
    return torch.autocast("cpu", dtype=TYPES[dtype] if half else torch.float16, enabled=half)


def gradients(dtype: str, exponent: int, seed: int, depth: int = LAYERS) -> list[Tensor]:
    """Weight gradients of each layer and the read-out for 64 digits, still multiplied by 2^exponent.

    Forward and backward run in ``dtype``, "float32", "float16" or "bfloat16", through ``torch.autocast``; the weights
    and the loss are float32.
    Raises:
        ValueError: for another ``dtype``.
    """
    computing = _autocast(dtype)
    model, (x, y) = network(seed, depth), digits_batch(BATCH)
    with computing:
        loss = cross_entropy(model(x), y)
    (loss * 2.0**exponent).backward()
    weights = [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]
    return [weight.grad for weight in weights if weight.grad is not None]


def _shares(marked: Callable[[Tensor], Tensor], found: list[Tensor], true: list[Tensor]) -> list[float]:
    """Share of each layer's entries that are ``marked``, among those that are not 0 in float32."""
    return [float(marked(values)[there != 0].double().mean()) for values, there in zip(found, true, strict=True)]


def _zero(values: Tensor) -> Tensor:
    return values == 0


def _lost_by_seed(
    found: Callable[[int], list[Tensor]], seeds: Sequence[int], depth: int, marked: Callable[[Tensor], Tensor] = _zero
) -> np.ndarray:
    return np.array([_shares(marked, found(seed), gradients("float32", 0, seed, depth)) for seed in seeds])


@memory.cache
def lost(dtype: str, exponent: int = 0, depth: int = LAYERS, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Measured: share of the gradient's entries that ``dtype`` makes 0; shape (seeds, depth + 1), the read-out last.

    Entries that are 0 in float32 too are not counted: some pixels are never on.
    """
    return _lost_by_seed(lambda seed: gradients(dtype, exponent, seed, depth), seeds, depth)


@memory.cache
def overflowed(dtype: str, exponent: int, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Measured: share of the gradient's entries that are not finite; shape (seeds, layers + 1)."""
    return _lost_by_seed(lambda seed: gradients(dtype, exponent, seed), seeds, LAYERS, lambda v: ~v.isfinite())


@memory.cache
def predicted_by_size(exponent: int = 0, depth: int = LAYERS, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Predicted from float32: share of each layer's entries that are too small for float16; shape as ``lost``."""
    return _lost_by_seed(
        lambda seed: gradients("float32", exponent, seed, depth), seeds, depth, lambda v: v.abs() <= BECOMES_ZERO
    )


def rounded(values: Tensor) -> Tensor:
    return values.half().float()


def by_hand(exponent: int, seed: int, depth: int) -> list[Tensor]:
    """The same gradients by the chain rule, in float32 and without autograd; each result is rounded to float16."""
    model, (x, y) = network(seed, depth), digits_batch(BATCH)
    with torch.no_grad():
        layers = [getattr(model, f"layer{number}") for number in range(1, depth + 1)] + [model.readout]
        signals = [rounded(x)]
        for layer in layers:
            z = rounded(signals[-1] @ rounded(layer.weight).T + rounded(layer.bias))
            signals.append(rounded(z.sigmoid()))
        back = rounded((z.softmax(1) - one_hot(y, 10)) * 2.0**exponent / len(y))
        found = []
        for layer, signal in zip(reversed(layers), reversed(signals[:-1]), strict=True):
            found.append(rounded(back.T @ signal))
            # the slope is s (1 - s), and each of the two products is rounded
            back = rounded(rounded(rounded(back @ rounded(layer.weight)) * (1 - signal)) * signal)
    return found[::-1]


@memory.cache
def predicted_on_the_way(exponent: int = 0, depth: int = LAYERS, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Predicted by hand: as ``lost``, where each step of the chain rule is rounded to float16."""
    return _lost_by_seed(lambda seed: by_hand(exponent, seed, depth), seeds, depth)


def window(seed: int) -> tuple[float, float]:
    """The exponents of the loss scale between which float16 holds all weight gradients of ``network(seed)``.

    From float32 alone: below the first, more than 1 % of some layer's entries are too small. Above the second, one
    entry is too large.
    """
    sizes = [values.abs()[values != 0].double() for values in gradients("float32", 0, seed)]
    low = max(np.log2(BECOMES_ZERO / float(values.quantile(0.01))) for values in sizes)
    return low, np.log2(LAST_FINITE / max(float(values.max()) for values in sizes))


class HalfRun(NamedTuple):
    """``accuracy``: on the test images, one entry an epoch; ``scale``: of the loss, one entry a step, before it;
    ``skipped``: how many steps the scaler left out.
    """

    accuracy: np.ndarray
    scale: np.ndarray
    skipped: int


@memory.cache
def trained(dtype: str, start: int | None, seed: int, epochs: int = 8) -> HalfRun:
    """Train ``network(seed)`` on the digits with Adam at 0.01, with a loss scaler that starts at 2^start, or without.

    Same weights at the start, same images in the same order, whatever ``dtype`` and ``start``.
    """
    computing = _autocast(dtype)
    model, data = network(seed), _images()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** (start or 0), enabled=start is not None)
    generator = torch.Generator().manual_seed(seed)
    right, scale = [], []
    for _ in range(epochs):
        for images in torch.randperm(len(data.x_train), generator=generator).split(BATCH):
            scale.append(scaler.get_scale())
            optimizer.zero_grad()
            with computing:
                loss = cross_entropy(model(data.x_train[images]), data.y_train[images])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        right.append(accuracy(model, data.x_test, data.y_test))
    after = [*scale[1:], scaler.get_scale()]
    return HalfRun(np.array(right), np.array(scale), int(np.less(after, scale).sum()))
