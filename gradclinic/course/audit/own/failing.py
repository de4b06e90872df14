"""Starts that fail, and one that does not: ten tanh layers, seen from inside before the first step."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit

DEPTH, WIDTH = 10, 64
ALIKE = "alike"  # each weight of a layer is the same number, of the size of Xavier's
STARTS: tuple[str | float, ...] = (ALIKE, 0.1, 1.0, 5.0)  # the others are weight scales


def begun(start: str | float, seed: int) -> MLP:
    """Ten tanh layers of 64 units at one of ``STARTS``; all biases are 0."""
    if start != ALIKE:
        return MLP(DEPTH, WIDTH, "tanh", float(start), seed=seed)
    model = MLP(DEPTH, WIDTH, "tanh", 1.0, seed=seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.fill_(1 / math.sqrt(parameter.shape[1]))
    return model


def inside(start: str | float, seed: int = 0) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """What each layer's units give on 64 digits, and the slope of tanh there; layer -> (images, units)."""
    values, slopes, signal = {}, {}, digits_batch(64)[0].double()
    with torch.no_grad():
        for name, module in begun(start, seed).double().named_children():
            before, signal = signal, module(signal)
            if name.startswith("activation"):
                layer = int(name.removeprefix("activation"))
                values[layer], slopes[layer] = signal, theory.slope("tanh", before)
    return values, slopes


@memory.cache
def learnt(start: str | float, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Test accuracy after 3 epochs of Adam at 0.001 on the digits; shape (seeds,)."""
    found = []
    for seed in seeds:
        model = begun(start, seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        found.append(fit(model, digits(), optimizer, 3, seed=seed, progress=False).test_accuracy[-1])
    return np.array(found)
