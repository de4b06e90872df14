"""Claims about skip connections."""

from collections.abc import Sequence

import numpy as np
import torch

from gradlab import theory
from gradlab.audit.claims import SEEDS, Finding, claim, each, memory
from gradlab.audit.league import DEEP, LEAGUE_SEEDS, treated
from gradlab.audit.networks import digits_batch
from gradlab.data import digits
from gradlab.models import MLP, ConvNet
from gradlab.recorder import probe
from gradlab.training import fit


def branch_scale(cure: str, depth: int) -> float:
    """The factor of the branch: 1, 1/sqrt(depth) or 1/depth, for ``"none"``, ``"1/√L"`` and ``"1/L"``."""
    return {"none": 1.0, "1/√L": depth**-0.5, "1/L": 1 / depth}[cure]


@memory.cache
def sums(
    activation: theory.Activation, cure: str, depth: int = 50, width: int = 256, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Root mean square of each layer's pre-activations over the first one's, in residual networks at the critical
    weight scale, on 64 digits; shape (seeds, depth).
    """
    scale = theory.critical_weight_std(activation)
    found = []
    for seed in seeds:
        model = MLP(depth, width, activation, scale, skip=True, branch_scale=branch_scale(cure, depth), seed=seed)
        found.append(probe(model, *digits_batch(64)).output_rms[0, :depth])
    return np.stack(found) / np.stack(found)[:, :1]


def predicted_sums(activation: theory.Activation, cure: str, depth: int = 50) -> np.ndarray:
    """What ``theory`` predicts for ``sums``; shape (depth,)."""
    scale = theory.critical_weight_std(activation)
    variance = scale**2 * float((digits_batch(64)[0] ** 2).mean())
    sizes = theory.skip_growth(activation, scale, depth - 1, branch_scale=branch_scale(cure, depth), variance=variance)
    return np.sqrt(np.append(variance, scale**2 * sizes.numpy()) / variance)


@memory.cache
def skip_profiles(kind: str, skip: bool, depth: int = DEEP, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Gradient norm at each layer's output over the last one's, in ReLU networks with PyTorch's own start.

    ``kind`` is ``"mlp"`` or ``"conv"``; shape (seeds, depth).
    """
    found = []
    for seed in seeds:
        settings = {"init": "pytorch", "skip": skip, "branch_scale": branch_scale("1/√L", depth), "seed": seed}
        model = MLP(depth, 64, "relu", **settings) if kind == "mlp" else ConvNet(depth, 16, "relu", **settings)
        record = probe(model, *digits_batch(64))
        layers = [i for i, name in enumerate(record.layers) if name.startswith("layer")]
        found.append(record.output_gradient_norm[0, layers])
    return np.stack(found) / np.stack(found)[:, -1:]


@memory.cache
def training_error(depth: int, skip: bool, seed: int, epochs: int = 4) -> float:
    """Share of the training images that a ReLU network still names wrongly; He's start, Adam at 1e-3."""
    data = digits()
    model = MLP(depth, 64, "relu", "he", skip=skip, branch_scale=depth**-0.5, seed=seed)
    fit(model, data, torch.optim.Adam(model.parameters(), lr=1e-3), epochs, seed=seed, progress=False)
    with torch.no_grad():
        return float((model(data.x_train).argmax(1) != data.y_train).double().mean())


@memory.cache
def gradient_correlation(depth: int, skip: bool, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Correlation of the gradients, in the input, of one output at two different digits; a mean over pairs a seed.

    ReLU networks of 128 units with He's start and no biases; with ``skip`` the branch is scaled by 1/sqrt(depth).
    """
    found = []
    for seed in seeds:
        model = MLP(depth, 128, "relu", "he", skip=skip, branch_scale=depth**-0.5, out_features=1, seed=seed)
        x = digits_batch(64)[0].clone().requires_grad_()
        gradient = torch.autograd.grad(model(x).sum(), x)[0].double()
        unit = gradient / gradient.norm(dim=1, keepdim=True)
        similar = unit @ unit.T
        found.append(float((similar.sum() - similar.trace()) / (similar.numel() - len(similar))))
    return np.array(found)


@claim("S18")
def _s18() -> Finding:
    plain, skipped = (skip_profiles("mlp", skip)[:, 0] for skip in (False, True))
    deep = {name: [treated(name, seed) for seed in LEAGUE_SEEDS] for name in ("nothing", "skip connections")}
    unscaled, scaled = (sums("relu", cure)[:, -1] for cure in ("none", "1/√L"))
    told = predicted_sums("relu", "none")[-1]
    rate = (unscaled / told) ** (1 / 49)
    return Finding(
        "S18",
        "Skip connections let the gradient pass layers by, so that deep networks train.",
        (
            each("first over last gradient, 20 ReLU layers with skips", skipped, "above 0.1", lambda v: v > 0.1),
            each("without skips", plain, "below 0.01", lambda v: v < 0.01),
            each(
                "accuracy of 20 sigmoid layers with skips, 6 epochs",
                [run.accuracy for run in deep["skip connections"]],
                "above 0.4",
                lambda v: v > 0.4,
            ),
            each("without", [run.accuracy for run in deep["nothing"]], "below 0.2", lambda v: v < 0.2),
            each(
                "signal of layer 50 over layer 1, ReLU, He's start, skips as they are",
                unscaled,
                "below 10, if nothing else changes",
                lambda v: v < 10,
            ),
        ),
        "The gradient passes. But the sum grows by a factor in each layer, and the gradient with it. A branch times "
        "1/√depth slows that down, one times 1/depth ends it.",
        (
            each("first over last gradient with skips", skipped, "above 0.1", lambda v: v > 0.1),
            each(
                "growth of the unscaled sum per layer, over what is predicted",
                rate,
                "1 ± 2 %",
                lambda v: abs(v - 1) < 0.02,
            ),
            each("signal of layer 50 over layer 1, branch scaled by 1/√50", scaled, "below 100", lambda v: v < 100),
            each("the unscaled one over the scaled one", unscaled / scaled, "above 1e6", lambda v: v > 1e6),
            each("signal of layer 50, branch scaled by 1/50", sums("relu", "1/L")[:, -1], "below 2", lambda v: v < 2),
        ),
    )
