"""The claim that stagnation is a sign of vanishing gradients, and what tells stuck runs apart."""

import math
from typing import Any

import numpy as np
import torch

from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.record import Record
from gradclinic.recorder import Recorder

# One network, and what is changed in it. All runs but the first are stuck, and look alike from outside.
LOOKALIKES: dict[str, dict[str, Any]] = {
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
    wanted: dict[str, Any] = {"init": "he", "learning_rate": 0.02, "bias": 0.0, "shuffled": False}
    wanted |= LOOKALIKES[kind]
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
        "A run whose gradient vanishes often stagnates, at least for a while. So does one with too small a learning "
        "rate, dead ReLU units, or labels that have nothing to do with the inputs. Three numbers tell them apart: the "
        "gradient's ratio across depth, the update ratio, and the share of dead units.",
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
