"""What to do about a fault, in which order, and where the book explains it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gradclinic.arguments import number

BOOK = "https://github.com/gradient-course/gradient-course/blob/main/book"


@dataclass(frozen=True)
class Remedy:
    """What to do.

    Attributes:
        name: what is changed: "initialization", "activation", "learning rate" and so on.
        advice: a sentence that says how.
        page: of the book, where it is explained.
        factor: for the learning rate, where one is advised.
    """

    name: str
    advice: str
    page: str
    factor: float | None = None

    @property
    def address(self) -> str:
        """Where its page can be read."""
        return f"{BOOK}/{self.page}.md"


INITIALIZE = Remedy(
    "initialization",
    "Start from weights of the critical scale: He for ReLU, Xavier for tanh, biases 0.",
    "remedies/initialization",
)
NORMALIZE = Remedy(
    "normalization", "Normalise inside each block (batch or layer norm).", "remedies/batch-normalization"
)
SKIP = Remedy(
    "skip connections", "Add skip connections, the branch scaled by 1/sqrt(depth).", "remedies/skip-connections"
)
CLIP = Remedy(
    "clipping", "Clip the gradient by its norm, at a value that most recorded steps stay below.", "remedies/clipping"
)
RELU = Remedy("activation", "Replace the sigmoid by ReLU, with He's starting weights.", "remedies/activations")
LEAKY = Remedy("activation", "Replace ReLU by one that has a slope below 0 (leaky ReLU, GELU).", "remedies/activations")
GATES = Remedy("gated recurrence", "Replace the plain recurrent cell by an LSTM or a GRU.", "remedies/gated-recurrence")


def learning_rate(factor: float) -> Remedy:
    """Another learning rate, ``factor`` times the one that it is.

    Raises:
        TypeError: if ``factor`` is no number.
        ValueError: if it is not finite and above 0.
    """
    factor = number("factor", factor, above_minimum=True)
    return Remedy("learning rate", f"Multiply the learning rate by about {factor:g}.", "optimization", factor)


# What can make another list the right one for the same kind of fault.
THROUGH_TIME = "through time"
SIGMOID_UNITS = "with sigmoid units"


class Case(NamedTuple):
    """A kind of fault, as ``diagnose`` calls it, and the circumstance that counts, if one does."""

    kind: str
    circumstance: str | None = None

    def __str__(self) -> str:
        return self.kind if self.circumstance is None else f"{self.kind}, {self.circumstance}"


# What to do first, second, third. Learning rates are apart: what they need is a number.
GUIDE: dict[Case, tuple[Remedy, ...]] = {
    Case("vanishing"): (INITIALIZE, SKIP, NORMALIZE),
    Case("vanishing", SIGMOID_UNITS): (RELU, SKIP, NORMALIZE),
    Case("vanishing", THROUGH_TIME): (GATES,),
    Case("exploding"): (INITIALIZE, NORMALIZE, CLIP),
    Case("exploding", THROUGH_TIME): (GATES, CLIP),
    Case("overflow"): (INITIALIZE, NORMALIZE),
    Case("dying ReLU"): (INITIALIZE, LEAKY),
    Case("saturated"): (INITIALIZE, NORMALIZE),
    Case("saturated", SIGMOID_UNITS): (RELU, SKIP, NORMALIZE),
}


def advised(kind: str, circumstances: Iterable[str] = ()) -> tuple[Remedy, ...]:
    """What to do about a kind of fault, the first thing first.

    Args:
        kind: one that ``GUIDE`` has.
        circumstances: those that hold, the one that counts most first; the first that ``GUIDE`` knows decides.
    Raises:
        ValueError: for another kind.
    """
    for case in (*(Case(kind, circumstance) for circumstance in circumstances), Case(kind)):
        if case in GUIDE:
            return GUIDE[case]
    known = ", ".join(sorted({case.kind for case in GUIDE}))
    raise ValueError(f"kind must be one of {known}; got {kind!r}")
