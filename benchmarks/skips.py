"""Degradation in a small convolutional network: too slow for a page. Writes book/assets/skips.json."""

import json
import math
from pathlib import Path

import torch

from gradclinic.course.data import digits
from gradclinic.course.models import ConvNet
from gradclinic.course.training import fit

DEPTHS, EPOCHS, SEEDS = (4, 16), 6, range(10)


def error(depth: int, skip: bool, seed: int) -> list[float]:
    """Share of training images named wrongly after each epoch: 8 channels, batch normalisation, Adam at 0.01."""
    scale = 1 / math.sqrt(depth) if skip else 1.0
    model = ConvNet(depth, 8, norm="batch", skip=skip, branch_scale=scale, seed=seed)
    history = fit(model, digits(), torch.optim.Adam(model.parameters(), lr=1e-2), EPOCHS, seed=seed, progress=False)
    return [round(1 - share, 5) for share in history.train_accuracy]


def main() -> None:
    torch.set_num_threads(1)
    kept = {
        kind: {str(depth): [error(depth, skip, seed) for seed in SEEDS] for depth in DEPTHS}
        for kind, skip in (("plain", False), ("residual", True))
    }
    target = Path(__file__).resolve().parent.parent / "book" / "assets" / "skips.json"
    target.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
