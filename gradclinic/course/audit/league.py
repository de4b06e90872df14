"""Every remedy in the same deep network, on the same digits."""

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
import torch

from gradclinic.course.audit.claims import memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.record import Record
from gradclinic.recorder import probe

DEEP = 20
_SCALED = {"skip": True, "branch_scale": 1 / math.sqrt(DEEP)}

# What is changed in 20 sigmoid layers of 64 units with PyTorch's own start.
REMEDIES: dict[str, dict[str, Any]] = {
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


@memory.cache
def treated(remedy: str, seed: int) -> Treated:
    """Look at the start, then train for 6 epochs on the digits with Adam at 1e-3: the same budget for every remedy."""
    model, clip_norm = treat(remedy, seed)
    record = probe(model, *digits_batch())
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


def runs() -> dict[str, list[Treated]]:
    """Every remedy of ``REMEDIES``, one run for each of ``LEAGUE_SEEDS``."""
    return {remedy: [treated(remedy, seed) for seed in LEAGUE_SEEDS] for remedy in REMEDIES}


def treated_start(remedy: str) -> Record:
    """The record of one pass through the first network of the league with this remedy, before training.

    Raises:
        ValueError: for a remedy that is not in ``REMEDIES``.
    """
    return probe(treat(remedy, 0)[0], *digits_batch())
