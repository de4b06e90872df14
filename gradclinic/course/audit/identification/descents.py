"""Claims about weights that shrink or grow and losses that do not fall, measured on the same digits in every step."""

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.identification.stuck import depth_ratio
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.initializers import Initializer
from gradclinic.course.models import MLP
from gradclinic.course.training import chance_loss
from gradclinic.record import Record
from gradclinic.recorder import Recorder


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


@claim("S31")
def _s31() -> Finding:
    calm, wild = erratic_runs("healthy"), erratic_runs("exploding")
    return Finding(
        "S31",
        "A sign of exploding gradients is that the weights grow fast.",
        (
            each(
                "relative growth of the norm of layer 1 in 10 steps, 20 tanh layers, σ_w = 4, over that at σ_w = 1",
                [(grown(r, 1) - 1) / abs(grown(c, 1) - 1) for r, c in zip(wild, calm, strict=True)],
                "above 100, seed by seed",
                lambda v: v > 100,
            ),
            each(
                "that growth at σ_w = 1, either way",
                [abs(grown(r, 1) - 1) for r in calm],
                "below 0.001",
                lambda v: v < 1e-3,
            ),
        ),
    )
