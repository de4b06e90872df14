"""Claims about what histograms, norms and TensorBoard show."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from gradclinic import tensorboard
from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.initializers import Initializer
from gradclinic.course.models import MLP
from gradclinic.course.training import chance_loss
from gradclinic.record import HISTOGRAM_EDGES, Record
from gradclinic.recorder import Recorder


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
    middle: np.ndarray = (exponents[place] + exponents[place + 1]) / 2
    return middle


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
