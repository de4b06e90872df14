"""Own claims about descent: bowls, momentum, Adam, and networks that are no bowl."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy, one_hot

from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.initializers import Initializer
from gradclinic.course.models import MLP

# Plain descent, with momentum, and Adam, each at a learning rate that suits the ravine: steep curvature 1, flat 0.01.
RAVINE = (1.0, 0.01)
RATES = {"SGD": 1.9, "momentum": 0.3, "Adam": 0.1}
MOMENTUM = 0.9


def turned(curvatures: Sequence[float], degrees: float) -> Tensor:
    """The Hessian of a bowl of two directions, turned by an angle; shape (2, 2)."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    return turn @ torch.diag(torch.tensor(curvatures, dtype=torch.float64)) @ turn.T


def walk(
    optimizer: str,
    hessian: Tensor,
    start: Tensor,
    learning_rate: float,
    steps: int,
    *,
    momentum: float = MOMENTUM,
    unit: float = 1.0,
) -> Tensor:
    """Positions of torch's own optimiser on the bowl w·Hw/2, times ``unit``; shape (steps + 1, directions).

    Args:
        optimizer: "SGD", "momentum" (SGD with it) or "Adam".
    """
    position = torch.nn.Parameter(start.clone())
    trainer: torch.optim.Optimizer
    if optimizer == "Adam":
        trainer = torch.optim.Adam([position], lr=learning_rate)
    else:
        trainer = torch.optim.SGD([position], lr=learning_rate, momentum=momentum if optimizer == "momentum" else 0)
    path = [start]
    for _ in range(steps):
        trainer.zero_grad()
        (unit * position @ hessian @ position / 2).backward()
        trainer.step()
        path.append(position.detach().clone())
    return torch.stack(path)


def bowl_loss(path: Tensor, hessian: Tensor) -> np.ndarray:
    """Loss at each position; shape (steps + 1,)."""
    loss: np.ndarray = ((path @ hessian) * path).sum(1).div(2).numpy()
    return loss


def _random_bowl(seed: int, directions: int = 10) -> tuple[Tensor, Tensor]:
    """A Hessian with curvatures from 0.01 to 1 along random directions, and a start that is as far out in each."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(directions, directions, generator=generator, dtype=torch.float64)
    axes = torch.linalg.qr(draws)[0]
    curvatures = torch.logspace(-2, 0, directions, dtype=torch.float64)
    return axes @ torch.diag(curvatures) @ axes.T, axes.sum(1)


@claim("T1")
def _t1() -> Finding:
    off, flattest = [], []
    for seed in SEEDS:
        hessian, start = _random_bowl(seed)
        curvatures, axes = torch.linalg.eigh(hessian)
        along = walk("SGD", hessian, start, 1.9, 300) @ axes
        predicted = along[0] * (1 - 1.9 * curvatures) ** torch.arange(301, dtype=torch.float64).unsqueeze(1)
        off.append(float((along - predicted).abs().max()))
        flattest.append(float(along[-1, 0] ** 2 / along[-1].square().sum()))
    return Finding(
        "T1",
        "On a bowl each eigen-direction of the Hessian is walked as if it were alone: its error is multiplied by "
        "1 − αc in each step. In the end the flattest direction is what is left.",
        (
            each(
                "largest distance from that factor's power in 300 steps, 10 random directions, start 1 in each",
                off,
                "below 10⁻¹²",
                lambda v: v < 1e-12,
            ),
            each(
                "share of the squared distance that lies in the flattest direction after them",
                flattest,
                "above 0.99",
                lambda v: v > 0.99,
            ),
        ),
    )


@claim("T2")
def _t2() -> Finding:
    generator = np.random.default_rng(0)
    settings = [(generator.uniform(0, 0.95), 10 ** generator.uniform(-2, 2)) for _ in SEEDS]

    def left(beta: float, curvature: float, share: float) -> float:
        bowl = torch.tensor([[curvature]], dtype=torch.float64)
        rate = share * 2 * (1 + beta) / curvature
        return abs(float(walk("momentum", bowl, torch.ones(1, dtype=torch.float64), rate, 400, momentum=beta)[-1, 0]))

    def needed(optimizer: str, rate: float, beta: float) -> int:
        """Steps until the distance stays below a hundredth of the first, in the ravine."""
        start = torch.ones(2, dtype=torch.float64)
        path = walk(optimizer, turned(RAVINE, 0), start, rate, 400, momentum=beta)
        return int(np.flatnonzero(path.norm(dim=1).numpy() > 0.01 * math.sqrt(2))[-1]) + 1

    steep, flat = (math.sqrt(curvature) for curvature in RAVINE)
    best = ((steep - flat) / (steep + flat)) ** 2
    return Finding(
        "T2",
        "On a bowl of curvature c, descent with momentum β is stable below a learning rate of 2 (1 + β) / c. With both "
        "at their best settings, it needs a fifth of the steps of plain descent in a ravine of curvatures 1 and 0.01.",
        (
            each(
                "distance after 400 steps of torch.optim.SGD over the first, at 0.99 of that rate, 20 pairs of β and c",
                [left(*setting, 0.99) for setting in settings],
                "below 0.01",
                lambda v: v < 0.01,
            ),
            each(
                "the same at 1.01 of it",
                [left(*setting, 1.01) for setting in settings],
                "above 100",
                lambda v: v > 100,
            ),
            each(
                "steps to a hundredth of the distance, curvatures 1 and 0.01, plain descent at its best rate",
                [needed("SGD", 2 / sum(RAVINE), 0)],
                "about 230, from a factor of 99/101 a step",
                lambda v: abs(v - math.log(0.01) / math.log(99 / 101)) < 3,
            ),
            each(
                "the same with momentum, at its best rate and β",
                [needed("momentum", 4 / (steep + flat) ** 2, best)],
                "below a fifth of it",
                lambda v: v < 46,
            ),
        ),
    )


@claim("T3")
def _t3() -> Finding:
    angles = np.linspace(4, 86, len(SEEDS)).tolist()
    start = torch.ones(2, dtype=torch.float64)

    def turning(optimizer: str) -> list[float]:
        """Largest ratio of the losses of two walks, in one of which start and ravine are turned."""
        straight = bowl_loss(walk(optimizer, turned(RAVINE, 0), start, RATES[optimizer], 60), turned(RAVINE, 0))
        found = []
        for degrees in angles:
            hessian = turned(RAVINE, degrees)
            axes = turned((1.0, 0.0), degrees)[:, 0], turned((0.0, 1.0), degrees)[:, 1]
            begin = axes[0] / axes[0].norm() + axes[1] / axes[1].norm()
            loss = bowl_loss(walk(optimizer, hessian, begin, RATES[optimizer], 60), hessian)
            found.append(float(np.exp(np.abs(np.log(loss / straight)).max())))
        return found

    def unit(optimizer: str) -> list[float]:
        """Distance after 60 steps between two walks, in one of which the loss is multiplied by 100."""
        ends = []
        for degrees in angles:
            one, other = (
                walk(optimizer, turned(RAVINE, degrees), start, RATES[optimizer], 60, unit=u)[-1] for u in (1, 100)
            )
            ends.append(float((one - other).norm()))
        return ends

    return Finding(
        "T3",
        "Plain descent and momentum walk a turned ravine as they walk it straight; Adam does not. Adam's walk is the "
        "same in another unit of the loss; that of plain descent is not.",
        (
            each(
                "largest ratio of losses in 60 steps, ravine turned by 4 to 86 degrees over straight, plain descent",
                turning("SGD"),
                "1 ± 10⁻⁶",
                lambda v: v < 1 + 1e-6,
            ),
            each("the same with momentum", turning("momentum"), "1 ± 10⁻⁶", lambda v: v < 1 + 1e-6),
            each("the same with Adam", turning("Adam"), "above 1.5", lambda v: v > 1.5),
            each(
                "distance between the ends of two walks, one with 100 times the loss, Adam, start at 1.4",
                unit("Adam"),
                "below 10⁻³: ε is all that differs",
                lambda v: v < 1e-3,
            ),
            each("the same with plain descent", unit("SGD"), "above 10⁶: it diverges", lambda v: v > 1e6),
        ),
    )


class Edge(NamedTuple):
    """A run on the same digits in every step.

    Attributes:
        loss: before each step, half the squared error.
        at: the steps before which the curvature was measured, from 0.
        curvature: the largest one of the loss there; NaN where it is not finite.
    """

    loss: np.ndarray
    at: np.ndarray
    curvature: np.ndarray


def _largest_curvature(loss: Tensor, model: torch.nn.Module) -> float:
    """The largest eigenvalue of the Hessian of all weights, by Lanczos' method."""
    weights = list(model.parameters())
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights, create_graph=True)])
    if not bool(gradient.isfinite().all()):
        return math.nan

    def times_hessian(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(np.array(vector, dtype=np.float32)).ravel()
        product = torch.autograd.grad(gradient, weights, direction, retain_graph=True)
        return torch.cat([part.flatten() for part in product]).double().numpy()

    size = gradient.numel()
    hessian = LinearOperator((size, size), matvec=times_hessian, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)  # or Lanczos draws its own, another each time
    largest = eigsh(hessian, k=1, which="LA", tol=1e-2, v0=start, return_eigenvectors=False)
    return float(largest[0])


def _edge_network(activation: str, init: Initializer, seed: int) -> MLP:
    return MLP(3, 32, activation, init, seed=seed)


def _half_squared_error(model: torch.nn.Module) -> Tensor:
    x, y = digits_batch()
    error: Tensor = model(x) - one_hot(y, 10)
    return error.square().sum(1).mean() / 2


@memory.cache
def start_curvature(activation: str, init: Initializer, seed: int) -> float:
    """Largest curvature of the loss of ``edge`` before the first step."""
    model = _edge_network(activation, init, seed)
    return _largest_curvature(_half_squared_error(model), model)


@memory.cache
def edge(activation: str, init: Initializer, learning_rate: float, steps: int, every: int, seed: int) -> Edge:
    """Plain descent on half the squared error of all of 256 digits: 3 layers of 32 units."""
    model = _edge_network(activation, init, seed)
    trainer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    losses, curvatures, at = [], [], list(range(0, steps, every))
    for step in range(steps):
        trainer.zero_grad()
        loss = _half_squared_error(model)
        if step in at:
            curvatures.append(_largest_curvature(loss, model) if math.isfinite(loss.item()) else math.nan)
            loss = _half_squared_error(model)
        loss.backward()
        trainer.step()
        losses.append(loss.item())
    return Edge(np.array(losses), np.array(at), np.array(curvatures))


@memory.cache
def rising_on_cross_entropy(learning_rate: float, steps: int, seed: int) -> float:
    """Share of steps after which the cross-entropy of the network and digits of ``edge`` (tanh) is higher."""
    model, (x, y) = _edge_network("tanh", 1.0, seed), digits_batch()
    trainer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    losses = []
    for _ in range(steps):
        trainer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        trainer.step()
        losses.append(loss.item())
    return float((np.diff(losses) > 0).mean())


def rises(run: Edge) -> float:
    """Share of steps after which the loss is higher than before."""
    return float((np.diff(run.loss) > 0).mean())


EDGE_RATE, CALM_RATE = 0.4, 0.05


@claim("T4")
def _t4() -> Finding:
    runs = [edge("tanh", 1.0, EDGE_RATE, 400, 100, seed) for seed in SEEDS]
    calm = [edge("tanh", 1.0, CALM_RATE, 400, 200, seed) for seed in SEEDS]
    return Finding(
        "T4",
        "A network in full-batch descent on the squared error can hold its curvature at 2 / α: its loss rises in many "
        "steps, and falls all the same.",
        (
            each(
                "rate × curvature at the start, 3 tanh layers, 256 digits, rate 0.4",
                [EDGE_RATE * run.curvature[0] for run in runs],
                "above 2: a bowl would diverge",
                lambda v: v > 2,
            ),
            each(
                "rate × curvature in the second half of 400 steps, mean",
                [EDGE_RATE * run.curvature[2:].mean() for run in runs],
                "2 ± 10 %",
                lambda v: abs(v / 2 - 1) < 0.1,
            ),
            each("share of steps that raise the loss", [rises(run) for run in runs], "above 0.1", lambda v: v > 0.1),
            each(
                "last loss over the first",
                [run.loss[-1] / run.loss[0] for run in runs],
                "below 0.03",
                lambda v: v < 0.03,
            ),
            each(
                "share of steps that raise the loss at a rate of 0.05",
                [rises(run) for run in calm],
                "0",
                lambda v: v == 0,
            ),
            each(
                "last loss at that rate over last loss at 0.4",
                [slow.loss[-1] / fast.loss[-1] for slow, fast in zip(calm, runs, strict=True)],
                "above 2: the calm run is slower",
                lambda v: v > 2,
            ),
            each(
                "share of steps that raise the cross-entropy at a rate of 0.4, the same networks",
                [rising_on_cross_entropy(EDGE_RATE, 200, seed) for seed in SEEDS],
                "below 0.01: it shows little of this",
                lambda v: v < 0.01,
            ),
        ),
    )


@claim("T5")
def _t5() -> Finding:
    starts = [start_curvature("relu", "he", seed) for seed in SEEDS]
    runs = [edge("relu", "he", 5 / start, 151, 150, seed) for seed, start in zip(SEEDS, starts, strict=True)]
    return Finding(
        "T5",
        "At a rate of two and a half times 2/c a bowl diverges; a network with that c at its start can leave for "
        "flatter land, and converge.",
        (
            each(
                "curvature after 150 steps over that of the start, 3 ReLU layers, 256 digits, rate 5/c",
                [run.curvature[-1] / run.curvature[0] for run in runs],
                "below 0.4: now the rate is short enough",
                lambda v: v < 0.4,
            ),
            each(
                "last loss over the first; on the bowl, the error grows fourfold in a step",
                [run.loss[-1] / run.loss[0] for run in runs],
                "below 0.1",
                lambda v: v < 0.1,
            ),
        ),
    )


@memory.cache
def start_hessian(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a fresh network of 3 tanh layers of 8 units, on 256 digits: eigenvalues, and remainders of the quadratic.

    Returns:
        All eigenvalues of the Hessian of the cross-entropy, rising; and the distance of the loss from its second-order
        expansion, steps of 0.02 and 0.01 away in a random direction.
    """
    model, (x, y) = MLP(3, 8, "tanh", 1.0, seed=seed).double(), digits_batch()
    x = x.double()
    parts = {name: weight.shape for name, weight in model.named_parameters()}
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    def loss(weights: Tensor) -> Tensor:
        pieces = weights.split([shape.numel() for shape in parts.values()])
        named = {name: piece.view(shape) for (name, shape), piece in zip(parts.items(), pieces, strict=True)}
        return cross_entropy(functional_call(model, named, (x,)), y)

    hessian = torch.autograd.functional.hessian(loss, start, vectorize=True)
    gradient = torch.autograd.functional.jacobian(loss, start)
    direction = torch.randn(len(start), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    direction /= direction.norm()
    slope, bend = gradient @ direction, direction @ hessian @ direction
    remainders = [
        float(loss(start + step * direction) - loss(start) - step * slope - step**2 / 2 * bend) for step in (0.02, 0.01)
    ]
    return torch.linalg.eigvalsh(hessian).numpy(), np.abs(remainders)


@claim("T6")
def _t6() -> Finding:
    found = [start_hessian(seed) for seed in SEEDS]
    return Finding(
        "T6",
        "Near a point the loss of a network is close to a quadratic, and of the quadratic's directions some bend down.",
        (
            each(
                "remainder of the quadratic at a distance over that at half of it, 3 tanh layers of 8 units",
                [far / near for _, (far, near) in found],
                "8 ± 2: the third power",
                lambda v: 6 < v < 10,
            ),
            each(
                "share of the directions with a curvature below 0 (by more than a millionth of the largest)",
                [(values < -1e-6 * values.max()).mean() for values, _ in found],
                "above 0.2",
                lambda v: v > 0.2,
            ),
            each(
                "the most negative curvature over the largest",
                [values.min() / values.max() for values, _ in found],
                "below -0.1",
                lambda v: v < -0.1,
            ),
        ),
    )
