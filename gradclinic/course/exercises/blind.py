"""A patient for each learner: networks that do not learn, with faults that are drawn by the learner's name."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from gradclinic.course.data import Dataset, digits
from gradclinic.course.exercises.draws import over_decades, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.patients import DEPTH, WIDTH, linear_layers
from gradclinic.course.models import MLP


@dataclass
class Blind:
    """A network, the learning rate that Adam gets with it, and the images that it learns from.

    ``said`` compares what somebody names with what was done to it; nothing else tells.
    """

    model: MLP
    learning_rate: float
    data: Dataset
    _faults: tuple[str, ...] = field(default=(), repr=False)

    def said(self, *names: str) -> None:
        """Print how many of the named faults are there, and whether any is missing. The names are those of ``FAULTS``.

        Raises:
            ValueError: for a name that is none of them.
        """
        if unknown := set(names) - set(FAULTS):
            raise ValueError(f"no fault is called {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
        right = len(set(names) & set(self._faults))
        rest = "and that is all" if set(self._faults) <= set(names) else "and there is more"
        print(f"{right} of {len(set(names))} named are there, {rest}.")


Change = Callable[[Blind, torch.Generator], Blind]


def _silent(case: Blind, generator: torch.Generator) -> Blind:
    torch.nn.init.constant_(linear_layers(case.model)[whole(generator, 2, 9)].bias, -50.0)
    return case


def _scaled(low: float, high: float) -> Change:
    def change(case: Blind, generator: torch.Generator) -> Blind:
        factor = uniform(generator, low, high) / math.sqrt(2)  # of He's weights
        with torch.no_grad():
            for layer in linear_layers(case.model):
                layer.weight.mul_(factor)
        return case

    return change


def _rate(low: float, high: float) -> Change:
    return lambda case, generator: replace(case, learning_rate=over_decades(generator, low, high))


def _empty(case: Blind, generator: torch.Generator) -> Blind:
    """One layer has weights of 0, and so has its gradient's way back."""
    torch.nn.init.zeros_(linear_layers(case.model)[whole(generator, 2, 9)].weight)
    return case


def _labels(case: Blind, generator: torch.Generator) -> Blind:
    """The images for training have got the labels of others."""
    y = case.data.y_train
    return replace(case, data=case.data._replace(y_train=y[torch.randperm(len(y), generator=generator)]))


def _pixels(case: Blind, generator: torch.Generator) -> Blind:
    """The images for training lie upside down in their brightness, and a thousandth as bright: not so the others."""
    x = case.data.x_train
    return replace(case, data=case.data._replace(x_train=-1e-3 * x))


def _one_class(case: Blind, generator: torch.Generator) -> Blind:
    """The images for training are sorted out but for two digits."""
    first = whole(generator, 0, 8)
    kept = (case.data.y_train == first) | (case.data.y_train == first + 1)
    return replace(case, data=case.data._replace(x_train=case.data.x_train[kept], y_train=case.data.y_train[kept]))


# Those that 10.3 can mend come first.
FAULTS: dict[str, Change] = {
    "a silent layer": _silent,
    "weights too small": _scaled(0.35, 0.45),
    "weights too large": _scaled(4.0, 6.0),
    "learning rate too high": _rate(0.2, 0.5),
    "learning rate too low": _rate(1e-8, 1e-7),
    "a layer of zeros": _empty,
    "labels shuffled": _labels,
    "other pixels than in the test": _pixels,
    "digits missing": _one_class,
}
MENDED = 4  # so many
_CONFLICTS = ({"weights too small", "weights too large"}, {"learning rate too high", "learning rate too low"})


def drawn(name: str) -> tuple[str, ...]:
    """The faults of the patient of this name, of ``FAULTS``: for whoever teaches.

    Raises:
        TypeError: for a name that is no text.
        ValueError: for an empty one.
    """
    return _drawn(name)[0]


def _drawn(name: str) -> tuple[tuple[str, ...], torch.Generator]:
    if not isinstance(name, str):
        raise TypeError(f"name must be a text, got {name!r}")
    if not name.strip():
        raise ValueError(f"name must not be empty, got {name!r}")
    generator = seeded(int(hashlib.sha256(name.strip().lower().encode()).hexdigest()[:8], 16))
    while True:
        faults = shuffled(generator, list(FAULTS)[:MENDED])[: whole(generator, 1, 2)]
        faults += shuffled(generator, list(FAULTS)[MENDED:])[:1]
        if not any(conflict <= set(faults) for conflict in _CONFLICTS):
            return tuple(faults), generator


def blind_patient(name: str) -> Blind:
    """The patient of whoever is called so: one or two faults that the rules of 10.3 mend, and one that they do not.

    Args:
        name: any text that is not empty; the same name gives the same patient.
    Raises:
        TypeError, ValueError: as ``drawn``.
    """
    return sick(*_drawn(name))


def sick(faults: tuple[str, ...], generator: torch.Generator) -> Blind:
    """A network of 16 ReLU layers with He's start and Adam at 2e-3, and these faults."""
    seed = whole(generator, 0, 10**6)
    case = Blind(MLP(DEPTH, WIDTH, "relu", "he", seed=seed), 2e-3, digits(seed % 1000), faults)
    for fault in FAULTS:  # in one order, whichever way they were drawn
        if fault in faults:
            case = FAULTS[fault](case, generator)
    return case
