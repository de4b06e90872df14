"""Own claims about layer, RMS and group normalisation."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course import theory
from gradclinic.course.audit.claims import SEEDS, Finding, Quantity, claim, each, memory
from gradclinic.course.audit.networks import digits_batch
from gradclinic.course.audit.own.remedies import layer_norm_factor
from gradclinic.course.data import Dataset, digits
from gradclinic.course.initializers import Initializer
from gradclinic.course.models import MLP, ConvNet
from gradclinic.course.training import fit
from gradclinic.recorder import probe

NORMS: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
PLACES = ("front", "behind")  # of the activation


def normed(
    activation: str, norm: str, place: str, init: Initializer, depth: int, width: int, seed: int
) -> nn.Sequential:
    """An ``MLP`` with a norm in front of each activation or behind it; the norms are named ``norm1``, ``norm2``, ...

    Raises:
        ValueError: for an unknown norm or place.
    """
    if norm not in NORMS or place not in PLACES:
        raise ValueError(
            f"norm is one of {', '.join(NORMS)}, place one of {', '.join(PLACES)}; got {norm!r}, {place!r}"
        )
    network = nn.Sequential()
    for name, module in MLP(depth, width, activation, init, seed=seed).named_children():
        number = name.removeprefix("activation")
        if name == number:
            network.add_module(name, module)
            continue
        pair = {f"norm{number}": NORMS[norm](width), name: module}
        for part in pair if place == "front" else reversed(pair):
            network.add_module(part, pair[part])
    return network


def shortened(values: np.ndarray) -> np.ndarray:
    """float32 with mantissas of 10 bits: right to 0.1 %, and small where it is kept."""
    mantissas, exponents = np.frexp(values)
    return np.ldexp(np.round(mantissas * 2**10) / 2**10, exponents).astype(np.float32)  # type: ignore[no-any-return]


@memory.cache
def normed_profiles(
    activation: str, norm: str, place: str, depth: int = 20, seeds: Sequence[int] = SEEDS
) -> np.ndarray:
    """Gradient norm at each norm's output over the last one's, before training; shape (seeds, depth).

    256 units, weights of variance 1 / fan-in, 64 digits; right to 0.1 %.
    """
    found = []
    for seed in seeds:
        record = probe(normed(activation, norm, place, "lecun", depth, 256, seed), *digits_batch(64))
        norms = [i for i, name in enumerate(record.layers) if name.startswith("norm")]
        found.append(record.output_gradient_norm[0, norms] / record.output_gradient_norm[0, norms[-1]])
    return shortened(np.stack(found))


def normed_factors(activation: str, norm: str, place: str) -> np.ndarray:
    """Factor of the squared gradient per layer, layers 6 to 20; shape (seeds,)."""
    profile = normed_profiles(activation, norm, place)
    factors: np.ndarray = (profile[:, 5].astype(float) / profile[:, -1]) ** (2 / (profile.shape[1] - 6))
    return factors


def predicted_factor(activation: str, norm: str, place: str) -> float:
    """E[phi'^2] over what the norm divides by: Var[phi] for layer norm behind the activation, else E[phi^2]."""
    centred = norm == "layer" and place == "behind"
    return theory.batch_norm_factor(activation) if centred else layer_norm_factor(activation)


@memory.cache
def normed_accuracy(norm: str, place: str, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Of 20 sigmoid layers of 64 units with PyTorch's own start, after 6 epochs of Adam at 1e-3 on the digits.

    Shape (seeds,).
    """
    found = []
    for seed in seeds:
        model = normed("sigmoid", norm, place, "pytorch", 20, 64, seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        found.append(fit(model, digits(), optimizer, 6, seed=seed, progress=False).test_accuracy[-1])
    return np.array(found)


@claim("T36")
def _t36() -> Finding:
    def factor(activation: str, norm: str, place: str) -> Quantity:
        want = predicted_factor(activation, norm, place)
        return each(
            f"factor of the squared gradient per {activation} layer, {norm} norm {place}, mean of 20 networks",
            [normed_factors(activation, norm, place).mean()],
            f"{want:.3f} ± 5 %",
            lambda v: abs(v / want - 1) < 0.05,
        )

    accuracy = {(norm, place): normed_accuracy(norm, place) for norm in NORMS for place in PLACES}
    return Finding(
        "T36",
        "At the start of wide layers layer and RMS normalisation in front of the activation multiply the squared "
        "gradient by E[φ′²]/E[φ²], RMS normalisation behind it too; layer normalisation behind it by E[φ′²]/Var[φ]. "
        "So of the four it is the last with which sigmoids learn.",
        (
            *(
                factor(activation, norm, place)
                for activation in ("sigmoid", "relu", "tanh", "gelu", "silu")
                for norm in NORMS
                for place in PLACES
            ),
            *(
                each(
                    f"accuracy of 20 sigmoid layers after 6 epochs, {norm} norm {place}",
                    values,
                    "above 0.5" if (norm, place) == ("layer", "behind") else "below 0.2",
                    (lambda v: v > 0.5) if (norm, place) == ("layer", "behind") else (lambda v: v < 0.2),
                )
                for (norm, place), values in accuracy.items()
            ),
        ),
    )


# --- what no gradient passes ---


def removed_directions(norm: str, seed: int, width: int = 256) -> tuple[float, float, float]:
    """Of a random gradient that went back through a norm of random numbers of mean 1: three shares of its norm.

    Along the vector of ones, along the normalised numbers, and all that is left over all there would be without
    removed directions.
    """
    generator = torch.Generator().manual_seed(seed)
    x = 1 + 2 * torch.randn(width, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    y = NORMS[norm](width).double()(x)
    (gradient,) = torch.autograd.grad(y @ torch.randn(width, generator=generator, dtype=torch.float64), x)
    ones, own = torch.ones_like(y), y.detach()
    along = [float((gradient @ v).abs() / v.norm() / gradient.norm()) for v in (ones, own)]
    return along[0], along[1], float(gradient.norm() * x.detach().std(correction=0) / width**0.5)


def scaled_weights(seed: int, factor: float = 10.0) -> tuple[float, float, float]:
    """Of layer 3 of five tanh layers with layer norm in front of each activation: three numbers.

    The cosine between its weights and their gradient; the norm of the gradient with the weights times ``factor``, over
    before; and the norm of the weights after 20 steps of SGD at 0.5, over before. 64 units.
    """
    x, y = digits_batch(64)
    model = MLP(5, 64, "tanh", "lecun", norm="layer", seed=seed).double()
    weight = model.layer3.weight
    (gradient,) = torch.autograd.grad(cross_entropy(model(x.double()), y), weight)
    cosine = float((weight * gradient).sum().detach() / weight.detach().norm() / gradient.norm())
    with torch.no_grad():
        weight.mul_(factor)
    (small,) = torch.autograd.grad(cross_entropy(model(x.double()), y), weight)
    with torch.no_grad():
        weight.div_(factor)
    before = float(weight.detach().norm())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(model(x.double()), y).backward()
        optimizer.step()
    return cosine, float(small.norm() / gradient.norm()), float(weight.detach().norm()) / before


@claim("T37")
def _t37() -> Finding:
    removed = {norm: np.array([removed_directions(norm, seed) for seed in SEEDS]) for norm in NORMS}
    scaled = np.array([scaled_weights(seed) for seed in SEEDS])
    return Finding(
        "T37",
        "No gradient passes a norm along the numbers that it normalised, nor passes layer normalisation along their "
        "mean. So the gradient of weights in front of it stands at right angles to them and falls as they grow, and "
        "plain gradient steps lengthen them.",
        (
            each(
                "share of the gradient behind a layer norm along the mean",
                removed["layer"][:, 0],
                "below 10⁻⁴: only ε of the norm is left",
                lambda v: v < 1e-4,
            ),
            each("and along the normalised numbers", removed["layer"][:, 1], "below 10⁻⁴", lambda v: v < 1e-4),
            each("the latter behind an RMS norm", removed["rms"][:, 1], "below 10⁻⁴", lambda v: v < 1e-4),
            each(
                "cosine between weights in front of a layer norm and their gradient",
                np.abs(scaled[:, 0]),
                "below 10⁻⁴",
                lambda v: v < 1e-4,
            ),
            each(
                "gradient of weights that are ten times larger, over before",
                scaled[:, 1],
                "1/10 ± 0.1 %",
                lambda v: abs(v / 0.1 - 1) < 1e-3,
            ),
            each(
                "norm of these weights after 20 steps of plain gradient descent, over before",
                scaled[:, 2],
                "above 1",
                lambda v: v > 1,
            ),
        ),
    )


# --- two examples at a time ---


def _in_pairs() -> Dataset:
    data = digits()
    even = len(data.x_train) // 2 * 2  # a batch of one has no spread
    return data._replace(x_train=data.x_train[:even], y_train=data.y_train[:even])


def signs_left(seed: int) -> float:
    """Share of the outputs of a batch norm that are within 1 % of -1 or 1, over 100 batches of two digits.

    It stands behind the first layer of 64 units of a ReLU network.
    """
    model = MLP(3, 64, "relu", "he", norm="batch", seed=seed)
    pairs = digits().x_train[:200].split(2)
    with torch.no_grad():
        outputs = torch.cat([model.norm1(model.layer1(pair)) for pair in pairs])
    return float(((outputs.abs() - 1).abs() < 0.01).double().mean())


def _learnt_in_pairs(model: nn.Module, rate: float, seed: int) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    return fit(model, _in_pairs(), optimizer, 1, batch_size=2, seed=seed, progress=False).test_accuracy[-1]


@memory.cache
def dense_in_pairs(norm: str, seeds: Sequence[int] = SEEDS) -> np.ndarray:
    """Test accuracy of 3 ReLU layers of 64 units after one epoch on the digits, two at a time, Adam at 1e-3.

    Shape (seeds,).
    """
    return np.array([_learnt_in_pairs(MLP(3, 64, "relu", "he", norm=norm, seed=seed), 1e-3, seed) for seed in seeds])


@memory.cache
def convolutions_in_pairs(norm: str, seeds: Sequence[int]) -> np.ndarray:
    """Test accuracy of 4 convolutions of 8 channels after one epoch on the digits, two at a time, Adam at 1e-2.

    ``norm`` is "batch", or "group": four groups of two channels. Shape (seeds,).
    """
    found = []
    for seed in seeds:
        model = ConvNet(4, 8, "relu", "he", norm="batch" if norm == "batch" else "layer", seed=seed)
        if norm == "group":
            for n in range(1, 5):
                model.add_module(f"norm{n}", nn.GroupNorm(4, 8))  # in its old place
        found.append(_learnt_in_pairs(model, 1e-2, seed))
    return np.array(found)


@claim("T38")
def _t38() -> Finding:
    batch, layer = (dense_in_pairs(norm) for norm in ("batch", "layer"))
    return Finding(
        "T38",
        "In a batch of two, batch normalisation of a dense layer leaves little of a unit but which of the two examples "
        "has more of it. Layer normalisation learns from such batches.",
        (
            each(
                "share of its outputs within 1 % of −1 or 1",
                [signs_left(seed) for seed in SEEDS],
                "above 0.9",
                lambda v: v > 0.9,
            ),
            each(
                "accuracy of 3 dense ReLU layers after an epoch in batches of two, layer normalisation",
                layer,
                "above 0.8",
                lambda v: v > 0.8,
            ),
            each("the same, batch normalisation", batch, "below 0.6", lambda v: v < 0.6),
        ),
    )
