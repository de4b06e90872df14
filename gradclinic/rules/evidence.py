"""What a rule has found: sentences with the numbers that they were made from, and what follows."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Number(NamedTuple):
    """A number of a sentence.

    Attributes:
        what: name of a field of the ``Record``, or of a measure that README.md describes.
        value: as it is, not rounded.
        step: of the row, if it is of one.
        layer: name of the layer or the activation, if it is of one.
    """

    what: str
    value: float
    step: int | None = None
    layer: str | None = None


class Evidence(str):
    """A sentence that keeps its numbers.

    Attributes:
        numbers: those it was made from, in the order in which it names them.
    """

    __slots__ = ("numbers",)
    numbers: tuple[Number, ...]

    def __new__(cls, text: str, *numbers: Number) -> "Evidence":
        """``text`` is a format in which {0} stands for the first number, and so on."""
        return cls.of(text.format(*(number.value for number in numbers)), numbers)

    @classmethod
    def of(cls, text: str, numbers: tuple[Number, ...]) -> "Evidence":
        """A sentence as it stands."""
        made = super().__new__(cls, text)
        made.numbers = numbers
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return Evidence.of, (str(self), self.numbers)

    def __add__(self, more: str) -> "Evidence":
        return Evidence.of(str(self) + str(more), self.numbers + getattr(more, "numbers", ()))


# How sure it is that what was found does harm. WEAK: where nothing is learnt. STRONG: unless much is learnt.
# CERTAIN: in any case.
WEAK, STRONG, CERTAIN = 1, 2, 3


@dataclass(frozen=True)
class Found:
    """What one rule has found.

    Attributes:
        kind: one of ``KINDS``.
        evidence: the decisive sentence.
        layers: those concerned, from the input.
        step: from which training step on; 0 for the data, which were there before all.
        weight: ``WEAK``, ``STRONG`` or ``CERTAIN``.
        circumstances: what makes another list of remedies the right one, as ``remedies.GUIDE`` names it.
        factor: for the learning rate.
        follows: whether this is what other faults lead to, so that it comes behind them.
    """

    kind: str
    evidence: Evidence
    layers: tuple[str, ...] = ()
    step: int = 1
    weight: int = WEAK
    circumstances: tuple[str, ...] = ()
    factor: float | None = None
    follows: bool = False


def median(values: np.ndarray) -> float:
    """Of what is finite; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def listed(names: tuple[str, ...]) -> str:
    """Names in a sentence, few of them."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)} layers)"
