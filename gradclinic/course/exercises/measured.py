"""Networks that measure by how much a layer multiplies a gradient: what the search of lab 03 is tried on."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradclinic.course.exercises.curves import Curve, Kink
from gradclinic.course.exercises.draws import normal, seeded, shuffled, sign, uniform, whole
from gradclinic.course.exercises.exercise import Case


class Factor:
    """Called with a weight scale, it builds a network and measures its factor of the gradient norm, layer by layer.

    Args:
        weights: of each layer, (layers, units, units), at a weight scale of 1.
        signal: what enters, (examples, units); decides in which precision is computed.
        bend: the activation.
    """

    def __init__(self, weights: Tensor, signal: Tensor, bend: Callable[[Tensor], Tensor]) -> None:
        self._weights, self._signal, self._bend = weights, signal, bend

    def __call__(self, weight_std: float) -> float:
        """NaN where the numbers have left the range of their precision."""
        first = signal = self._layer(self._signal, 0, weight_std).detach().requires_grad_()
        for number in range(1, len(self._weights)):
            signal = self._layer(signal, number, weight_std)
        delta = torch.ones_like(signal)
        (arrived,) = torch.autograd.grad(signal, first, delta)
        ratio = float(arrived.double().norm() / delta.double().norm()) ** (1 / (len(self._weights) - 1))
        return ratio if math.isfinite(ratio) and bool(signal.isfinite().all()) else math.nan

    def _layer(self, signal: Tensor, number: int, weight_std: float) -> Tensor:
        return self._bend(weight_std * signal @ self._weights[number].T)


class WideFactor:
    """The same for one wide layer, whose inputs are Gaussian with variance 1, and which may add to its input.

    Args:
        inputs: of its units, at a weight scale of 1.
        bend: the activation.
        path, branch: the layer adds ``branch`` times what it makes of its input to ``path`` times the input.
    """

    def __init__(
        self, inputs: Tensor, bend: Callable[[Tensor], Tensor], path: float = 0.0, branch: float = 1.0
    ) -> None:
        self._inputs, self._bend, self._path, self._branch = inputs, bend, path, branch

    def __call__(self, weight_std: float) -> float:
        z = (weight_std * self._inputs).requires_grad_()
        (slope,) = torch.autograd.grad(self._bend(z).sum(), z)
        return math.hypot(self._path, self._branch * weight_std * math.sqrt(float(slope.square().mean())))


def searches(seed: int) -> list[Case]:
    """Factors, with a scale at which they are below 1 and one at which they are not."""
    generator = seeded(seed)

    def factor(bend: Callable[[Tensor], Tensor]) -> Factor:
        layers, units = whole(generator, 4, 5), whole(generator, 6, 12)
        weights = torch.randn(layers, units, units, generator=generator) / math.sqrt(units)
        return Factor(weights, torch.randn(4, units, generator=generator), bend)

    def kink() -> Kink:
        return Kink(uniform(generator, 0.6, 1.4), uniform(generator, 0, 0.4))

    def bent(steepness: float) -> WideFactor:
        """Steep around 0 and flatter far out, where the slope does not fade, so that the factor crosses 1 once."""
        height, place = uniform(generator, 0.7, 1.3), sign(generator) * uniform(generator, 0.3, 0.6) / steepness
        bend = Curve([(height, steepness, place)], [0.3 * height * steepness])
        return WideFactor(normal(generator, 300), bend)

    found: list[Case] = [
        (factor(kink()), 0.1, uniform(generator, 20, 60)),
        (bent(uniform(generator, 0.6, 1.5)), 0.2, uniform(generator, 30, 60)),
        (bent(uniform(generator, 60, 120)), 1e-4, uniform(generator, 0.8, 1.2)),  # a small scale
        (bent(uniform(generator, 3000, 5000)), 1e-5, uniform(generator, 0.8, 1.2)),  # ends must agree by their ratio
        # so wide a range that its upper end overflows
        (factor(kink()), 0.05, 10 ** uniform(generator, 10.5, 12)),
        (factor(kink()), 0.05, 10 ** uniform(generator, 14.5, 16)),
    ]
    # a path around the layer: from scale to scale the factor hardly changes
    around = [
        WideFactor(normal(generator, 300), kink(), uniform(generator, 0.9975, 0.9985), uniform(generator, 0.01, 0.03))
        for _ in range(2)
    ]
    found += [(each, 0.1, uniform(generator, 40, 90)) for each in around]
    return shuffled(generator, found)
