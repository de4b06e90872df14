"""Skip connections: what comes back, how the sum grows, and whether depth still hurts."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.league import LEAGUE_SEEDS, treated
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.data import digits
from gradclinic.course.initializers import Initializer, weight_std
from gradclinic.course.models import MLP
from gradclinic.course.training import fit

WIDTH = 256


def branch_scale(cure: str, depth: int) -> float:
    """The factor of the branch behind a name: ``"unscaled"``, ``"1/√L"`` or ``"1/L"``.

    Raises:
        ValueError: for another name.
    """
    scales = {"unscaled": 1.0, "1/√L": 1 / math.sqrt(depth), "1/L": 1 / depth}
    if cure not in scales:
        raise ValueError(f"unknown cure {cure!r}; known: {', '.join(scales)}")
    return scales[cure]


def sums_of(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The answer, and what each layer hands on: the sum where there is a skip connection."""
    found = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        for name, module in model.named_children()
        if name.startswith("layer") or name == "readout"
    ]
    answer = model(x)
    for hook in hooks:
        hook.remove()
    return answer, found[1:]  # the first layer gets the images


@memory.cache
def flows(
    depth: int,
    activation: theory.Activation,
    init: Initializer,
    skip: bool,
    scale: float = 1.0,
    norm: str | None = None,
    seeds: Sequence[int] = SEEDS,
) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square of each layer's sum over the first one's, and the gradient norm there over the last one's.

    Two arrays of shape (seeds, depth), on 64 digits, 256 units.
    """
    x, y = digits_batch(64)
    forward, back = [], []
    for seed in seeds:
        model = MLP(depth, WIDTH, activation, init, norm=norm, skip=skip, branch_scale=scale, seed=seed)
        answer, sums = sums_of(model, x)
        gradients = torch.autograd.grad(nn.functional.cross_entropy(answer, y), sums)
        forward.append([float(h.detach().double().square().mean().sqrt()) for h in sums])
        back.append([float(g.double().norm()) for g in gradients])
    sizes, norms = np.array(forward), np.array(back)
    return sizes / sizes[:, :1], norms / norms[:, -1:]


def predicted_flows(
    depth: int, activation: theory.Activation, init: Initializer, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """What ``theory`` predicts for ``flows`` with skip connections; two arrays of shape (depth,)."""
    x = digits_batch(64)[0]
    later, first = weight_std(init, WIDTH, WIDTH), weight_std(init, x.shape[1], WIDTH)
    variance = float((x**2).mean()) * (first / later) ** 2
    forward, back = theory.residual_growth(activation, depth, later, scale, variance)
    return forward.numpy(), back.numpy()


def block_factors(sizes: np.ndarray) -> np.ndarray:
    """Mean factor of the mean square per block, over the second half of the layers; shape (seeds,)."""
    half = sizes.shape[1] // 2
    factors: np.ndarray = (sizes[:, -1] / sizes[:, half]) ** (2 / (sizes.shape[1] - 1 - half))
    return factors


@memory.cache
def identity_path(depth: int, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """First over last gradient of a residual network whose branches are switched off; shape (seeds,)."""
    return flows(depth, "relu", "he", True, 0.0, None, seeds)[1][:, 0]


DEPTHS = (6, 24)
DEGRADED_SEEDS = range(10)


@memory.cache
def trained(depth: int, skip: bool, seed: int) -> np.ndarray:
    """Share of *training* images named wrongly after each epoch, shape (6,).

    ReLU layers of 32 units with batch normalisation, He's start, Adam at 1e-3; branches are scaled by 1/√L.
    """
    scale = branch_scale("1/√L", depth) if skip else 1.0
    model = MLP(depth, 32, "relu", "he", norm="batch", skip=skip, branch_scale=scale, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return 1 - np.array(fit(model, digits(), optimizer, 6, seed=seed, progress=False).train_accuracy)


def degradation(skip: bool) -> dict[int, np.ndarray]:
    """Depth -> training errors of ``trained``, of shape (seeds, epochs), ten seeds."""
    return {depth: np.stack([trained(depth, skip, seed) for seed in DEGRADED_SEEDS]) for depth in DEPTHS}


class TwoLayerBranches(nn.Module):
    """h + W2 relu(W1 h), ``depth`` times: the branch ends in a linear layer, which may start at zero.

    Args:
        depth, width: number of blocks, and units of each.
        last: ``"he"`` or ``"zero"``, the start of each W2; ``"relu"`` puts a ReLU behind a W2 of zeros.
        seed: of the starting weights.
    Raises:
        ValueError: for another ``last``.
    """

    def __init__(self, depth: int, width: int, last: str, seed: int):
        if last not in ("he", "zero", "relu"):
            raise ValueError(f"unknown last {last!r}; known: he, zero, relu")
        super().__init__()
        self.last = last
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inside, ending = ([nn.Linear(width, width) for _ in range(depth)] for _ in range(2))
            self.inside, self.ending = nn.ModuleList(inside), nn.ModuleList(ending)
            self.enter, self.readout = nn.Linear(64, width), nn.Linear(width, 10)
            for layer in (*inside, *ending, self.enter):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            if last != "he":
                for layer in ending:
                    nn.init.zeros_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.enter(x)
        for inside, ending in zip(self.inside, self.ending, strict=True):
            branch = ending(torch.relu(inside(h)))
            h = h + (torch.relu(branch) if self.last == "relu" else branch)
        answer: torch.Tensor = self.readout(h)
        return answer


@memory.cache
def moved_branches(last: str, seed: int) -> tuple[float, float, float]:
    """10 blocks of 32 units, 4 epochs of Adam at 1e-3 on the digits.

    Returns the largest logit before training, the largest weight of any W2 after it, and the accuracy on the test
    images then.
    """
    data, model = digits(), TwoLayerBranches(10, 32, last, seed)
    with torch.no_grad():
        largest = float(model(data.x_train).abs().max())
    history = fit(model, data, torch.optim.Adam(model.parameters(), lr=1e-3), 4, seed=seed, progress=False)
    weights = [p.detach() for name, p in model.ending.named_parameters() if name.endswith("weight")]
    return largest, max(float(weight.abs().max()) for weight in weights), history.test_accuracy[-1]


@memory.cache
def gradient_cosines(kind: str, depth: int, paper: bool = False, width: int = 256, points: int = 32) -> np.ndarray:
    """Cosine between the gradients at h_1 of one output, for pairs of Gaussian inputs; shape (20 seeds, depth).

    Column l is for a network whose output stands l blocks above h_1. ReLU without biases, He's start. ``kind`` is
    ``"plain"``, ``"residual"`` (h + branch) or ``"scaled"`` (branches times 1/√L). With ``paper`` each unit is on or
    off by the toss of a coin, for each input apart, as Balduzzi et al. 2017 assume, and not by what its input is.
    """
    identity, scale = {"plain": (0.0, 1.0), "residual": (1.0, 1.0), "scaled": (1.0, 1 / math.sqrt(depth))}[kind]
    found = []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, generator: torch.Generator = generator) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        start = torch.relu(normal(points, 64) @ normal(64, width) * math.sqrt(2 / 64)).requires_grad_()
        h, row = start, []
        for _ in range(depth):
            z = h @ normal(width, width) * math.sqrt(2 / width)
            coin = torch.randint(2, z.shape, generator=generator, dtype=torch.float64)
            h = identity * h + scale * (coin * z if paper else torch.relu(z))
            answer = (h @ normal(width)).sum()
            gradient = nn.functional.normalize(torch.autograd.grad(answer, start, retain_graph=True)[0], dim=1)
            cosines = gradient @ gradient.T
            row.append(float((cosines.sum() - points) / (points * (points - 1))))
        found.append(row)
    return np.array(found)


@claim("S18")
def _s18() -> Finding:
    he = flows(20, "relu", "he", True)
    told = predicted_flows(20, "relu", "he", 1.0)
    scaled = flows(20, "relu", "he", True, branch_scale("1/√L", 20))
    tanh = flows(20, "tanh", "xavier", True, branch_scale("1/√L", 20))
    grown, returned = (block_factors(sizes) for sizes in (he[0], he[1][:, ::-1]))
    accuracy = {
        name: [treated(name, seed).accuracy for seed in LEAGUE_SEEDS]
        for name in ("nothing", "skip connections", "ReLU, He start, skips", "ReLU, He start, scaled skips")
    }
    wide = (told[0][-1] / told[0][10]) ** (2 / 9)
    return Finding(
        "S18",
        "Skip connections let the gradient pass some layers by, and so ease vanishing.",
        (
            each(
                "first over last gradient of 20 blocks with the branches off",
                identity_path(20),
                "1: the identity path",
                lambda v: abs(v - 1) < 1e-5,
            ),
            each(
                "accuracy of 20 sigmoid layers after 6 epochs, with skips",
                accuracy["skip connections"],
                f"above the plain network's, {np.max(accuracy['nothing']):.2f}",
                lambda v: v > np.max(accuracy["nothing"]),
            ),
            each(
                "gradient of the first over the last of 20 ReLU blocks, He's start",
                he[1][:, 0],
                "between 1/10 and 10, if it passes unchanged",
                lambda v: 0.1 < v < 10,
            ),
        ),
        "The path past the branches has factor 1. The branches add to it, forward and backward, and the sum grows "
        "like (1+c)^L. Scale the branch, start its last layer at zero, or normalise it. 1/√L is enough for branches "
        "without a mean; ReLU has one.",
        (
            each(
                "factor of the mean square of the sum, a block of ReLU with He's start",
                grown,
                f"{wide:.2f} ± 7 %",
                lambda v: abs(v / wide - 1) < 0.07,
            ),
            each(
                "the same of the gradient, going back",
                returned,
                f"between 2, of a random direction, and {wide:.2f}, of the signal's own",
                lambda v: 2 < v < wide,
            ),
            each("the sum after 20 tanh blocks scaled by 1/√L", tanh[0][:, -1], "below 1.5", lambda v: v < 1.5),
            each("the gradient there, first over last", tanh[1][:, 0], "below 1.5", lambda v: v < 1.5),
            each("the sum after 20 ReLU blocks scaled by 1/√L", scaled[0][:, -1], "above 5", lambda v: v > 5),
            each(
                "accuracy of 20 ReLU blocks after 6 epochs, scaled minus unscaled",
                np.subtract(accuracy["ReLU, He start, scaled skips"], accuracy["ReLU, He start, skips"]),
                "above 0",
                lambda v: v > 0,
            ),
        ),
    )
