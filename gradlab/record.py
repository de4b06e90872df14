"""What a recorder saw: one value per layer and step, as arrays."""

from dataclasses import dataclass

import numpy as np

# Gradient histograms share these edges, in every layer and run: half decades from 1e-40 to 1e10, negative and positive.
# The middle bin holds what is zero or smaller.
_MAGNITUDES = [10 ** (exponent / 2) for exponent in range(-80, 21)]
HISTOGRAM_EDGES = np.array([*(-m for m in reversed(_MAGNITUDES)), *_MAGNITUDES])


@dataclass(frozen=True, eq=False)
class Record:
    """What a recorder saw. Arrays are float64, one row a recorded step; a value that does not exist is NaN.

    Attributes:
        layers: names of the L modules that own parameters, in the order the model defines them.
        activations: names of the A activation modules that are watched.
        step: shape (S,), the training step of each row, counted from 1.
        gradient_norm, weight_norm, update_norm: shape (S, L), Euclidean norms over all parameters of a layer. The
            update is what the optimiser really changed, so with Adam it is not the gradient times the learning rate.
        output_rms: shape (S, L), root mean square of a layer's output (for a linear layer: the pre-activations).
        output_gradient_norm: shape (S, L), Euclidean norm of the loss gradient at that output, over the batch.
        saturation: shape (S, A), share of outputs whose slope is below 5 % of the activation's largest slope.
        dead: shape (S, A), share of units that were exactly 0 for each of the last 512 recorded examples, or as many
            as there were (ReLU only). The units of an image (batch, channels, height, width) are its channels,
            otherwise those of the last dimension.
        time_ratio: shape (S, L), for a layer that is called several times in one pass (a recurrent cell): gradient
            norm at the output of its first call over that of its last. NaN for a layer that is called once.
        loss: shape (S,), as told by ``Recorder.log_loss``.
        chance_loss: loss of the best answer that ignores the input, as told to the ``Recorder``.
        output_nonfinite, nonfinite: shape (S, L), whether a layer's output, or its gradient, held inf or NaN.
        histogram: shape (S, L, B), how many gradient entries fall between two neighbours of ``HISTOGRAM_EDGES``; what
            is larger counts in the outermost bins, what is not finite nowhere. B is 0 unless asked for.
        activation_kinds: class names of the activation modules, one for each of ``activations``.
    """

    layers: tuple[str, ...]
    activations: tuple[str, ...]
    step: np.ndarray
    gradient_norm: np.ndarray
    weight_norm: np.ndarray
    update_norm: np.ndarray
    output_rms: np.ndarray
    output_gradient_norm: np.ndarray
    saturation: np.ndarray
    dead: np.ndarray
    time_ratio: np.ndarray
    loss: np.ndarray
    chance_loss: float
    output_nonfinite: np.ndarray
    nonfinite: np.ndarray
    histogram: np.ndarray
    activation_kinds: tuple[str, ...] = ()

    @property
    def faulty(self) -> np.ndarray:
        """Shape (S,): whether any output or gradient of the step held inf or NaN; else a NaN means "not measured"."""
        return self.output_nonfinite.any(1) | self.nonfinite.any(1)

    @property
    def size_histogram(self) -> np.ndarray:
        """Shape (S, L, 101): ``histogram`` without signs. First what is 0 or below the smallest edge, then how many
        sizes fall between two neighbours of the positive ``HISTOGRAM_EDGES``. Shape (S, L, 0) if none was counted."""
        half = self.histogram.shape[2] // 2
        if half == 0:
            return self.histogram
        below, zero, above = np.split(self.histogram, [half, half + 1], axis=2)
        return np.concatenate([zero, above + below[..., ::-1]], axis=2)

    @property
    def first_nonfinite(self) -> tuple[int, str, str] | None:
        """(step, layer, "output" or "gradient") where inf or NaN was first seen, or None.

        Within a step outputs come before gradients; outputs are looked through from the input, gradients from the loss.
        """
        for row, step in enumerate(self.step):
            for name, found in (("output", self.output_nonfinite[row]), ("gradient", self.nonfinite[row])):
                if found.any():
                    layers = np.flatnonzero(found)
                    return int(step), self.layers[layers[0] if name == "output" else layers[-1]], name
        return None

    @property
    def update_ratio(self) -> np.ndarray:
        """Shape (S, L): update norm over weight norm, dimensionless; around 1e-3 is common in healthy training."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.update_norm / self.weight_norm
