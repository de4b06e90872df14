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
    "skip connections",
    "Add skip connections, each branch scaled by 1/depth or ending in a linear layer that starts at 0.",
    "remedies/skip-connections",
)
CLIP = Remedy(
    "clipping",
    "Clip the gradient by its norm: at the median of the norms in your record, or below.",
    "remedies/clipping",
)
RELU = Remedy("activation", "Replace the sigmoid by ReLU, with He's starting weights.", "remedies/activations")
LEAKY = Remedy("activation", "Replace ReLU by one that has a slope below 0 (leaky ReLU, GELU).", "remedies/activations")
GATES = Remedy("gated recurrence", "Replace the plain recurrent cell by an LSTM or a GRU.", "remedies/gated-recurrence")


_ELSEWHERE = "identification/not-the-gradient"

CLEAR = Remedy(
    "clear gradients",
    "Clear the gradients in each step: optimizer.zero_grad() before loss.backward().",
    _ELSEWHERE,
)
GIVE = Remedy(
    "optimiser",
    "Give these layers' parameters to the optimiser; if it was made before they were, or of a copy, make it anew.",
    _ELSEWHERE,
)
CONNECT = Remedy(
    "connect",
    "Find what cuts these layers off from the loss: detach(), no_grad(), .data, a way through numpy, argmax or "
    "rounding, or an answer that is constant.",
    _ELSEWHERE,
)
RANDOM = Remedy(
    "initialization",
    "Draw the starting weights at random, of the critical scale: units that start alike stay alike.",
    "remedies/initialization",
)
LESS_DECAY = Remedy(
    "weight decay",
    "Lower the weight decay, or the penalty in the loss, a hundredfold, or leave it out.",
    _ELSEWHERE,
)
SCALE = Remedy(
    "scale inputs", "Subtract the mean of each input and divide by its standard deviation (pixels: by 255).", _ELSEWHERE
)
SCALE_TARGETS = Remedy(
    "scale targets", "Subtract the targets' mean and divide by their standard deviation; undo it in use.", _ELSEWHERE
)
NO_SOFTMAX = Remedy("output layer", "Remove the softmax: cross_entropy has its own, and takes raw scores.", _ELSEWHERE)
ONE_SIGMOID = Remedy(
    "output layer",
    "Have exactly one sigmoid: raw scores with binary_cross_entropy_with_logits, or a sigmoid with "
    "binary_cross_entropy; no softmax over one unit.",
    _ELSEWHERE,
)
NO_RELU = Remedy("output layer", "Remove the activation behind the last layer: the loss needs raw numbers.", _ELSEWHERE)
OUTPUT_RANGE = Remedy(
    "output layer",
    "Remove the bounded activation behind the last layer, or bring the targets into its range.",
    _ELSEWHERE,
)
FILL = Remedy("data", "Find the examples that hold NaN or inf, and fill or drop them.", _ELSEWHERE)
GUARD_LOSS = Remedy(
    "guard the operation",
    "Keep 0 out of log, division and empty means in the loss: clamp what goes in, not what comes out; check targets.",
    _ELSEWHERE,
)
GUARD_LAYER = Remedy(
    "guard the operation",
    "Keep this layer from what it has no answer to: a row masked whole, a division by 0, a root or log of what is not "
    "above 0.",
    _ELSEWHERE,
)
GUARD_BACKWARD = Remedy(
    "guard the operation",
    "Mask before the root, norm, log or division, not after it: torch.where lets the gradient of the branch that was "
    "not taken through, and 0 times inf is NaN.",
    _ELSEWHERE,
)
TRACE = Remedy(
    "trace", "Repeat the step with gradclinic.trace_nonfinite(model, batch, loss): it names the operation.", _ELSEWHERE
)
SCHEDULE = Remedy(
    "schedule",
    "Step the scheduler once an epoch, not once a batch, or have it fall later: the rate is gone.",
    _ELSEWHERE,
)
SHAPES = Remedy(
    "shapes", "Give answers and targets the same shape: (N, 1) against (N) compares each with every other.", _ELSEWHERE
)
PAIRS = Remedy(
    "pairs",
    "Check that each input still has its own target, and that a single batch can be learnt by heart.",
    _ELSEWHERE,
)
LOCATE = Remedy(
    "compare two examples",
    "Give the network two different inputs, and compare what each layer makes of them: find the first that makes them "
    "alike (a gate that is shut, a norm over one number, a pooled or padded-out input).",
    _ELSEWHERE,
)
THAW = Remedy(
    "thaw",
    "Load the trained weights, if these layers should have them; else let them be trained: requires_grad_(True), and "
    "give them to the optimiser.",
    _ELSEWHERE,
)
RATE_OF_ZERO = Remedy(
    "learning rate",
    "Give the optimiser a learning rate above 0: look for a schedule whose factor is 0, or an integer division.",
    _ELSEWHERE,
)
TURN_SIGN = Remedy(
    "sign",
    "Turn the sign: minimise what is to become small. A score that is to become large is minimised with a minus, and "
    "maximize=True does the opposite.",
    _ELSEWHERE,
)
UPDATE_RANGE = Remedy(
    "range of the update",
    "Keep the weights in float32 (autocast, not model.half()), or give Adam an eps of 1e-4: in half precision 1e-8 is "
    "0, and 0/0 is NaN.",
    "identification/half-precision",
)
STEADY = Remedy(
    "steady targets",
    "If the targets come from the network itself, hold the copy that they come from still for longer.",
    _ELSEWHERE,
)
STRONGER_GAME = Remedy(
    "loss that does not flatten",
    "Use a loss that stays steep where answers are bad, as -log D in place of log(1 - D).",
    _ELSEWHERE,
)


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
IN_INPUT, IN_LAYER, IN_LOSS, IN_BACKWARD = "in the input", "in a layer", "in the loss", "in the backward pass"
IN_TARGETS, BY_SCHEDULE, BY_SHAPES, AT_ANSWERS = "in the targets", "by a schedule", "by shapes", "at the answers"
IN_UPDATE, SIGN, FROZEN, AT_ZERO = "in the update", "of the wrong sign", "frozen", "at zero"
ALIKE = "alike from the start"
SOFTMAX, SIGMOID, RECTIFIED, BOUNDED = "softmax", "sigmoid", "ReLU", "bounded"


class Case(NamedTuple):
    """A kind of fault, as ``diagnose`` calls it, and the circumstance that counts, if one does."""

    kind: str
    circumstance: str | None = None

    def __str__(self) -> str:
        return self.kind if self.circumstance is None else f"{self.kind}, {self.circumstance}"


# What to do first, second, third. Learning rates are apart: what they need is a number, which comes before these.
GUIDE: dict[Case, tuple[Remedy, ...]] = {
    Case("vanishing"): (INITIALIZE, SKIP, NORMALIZE),
    Case("vanishing", SIGMOID_UNITS): (RELU, SKIP, NORMALIZE),
    Case("vanishing", THROUGH_TIME): (GATES,),
    Case("exploding"): (INITIALIZE, NORMALIZE, CLIP),
    Case("exploding", THROUGH_TIME): (GATES, CLIP),
    Case("overflow"): (INITIALIZE, NORMALIZE),
    Case("overflow", SIGN): (TURN_SIGN,),
    Case("dying ReLU"): (INITIALIZE, LEAKY),
    Case("saturated"): (INITIALIZE, NORMALIZE),
    Case("saturated", SIGMOID_UNITS): (RELU, SKIP, NORMALIZE),
    Case("vanishing", AT_ANSWERS): (STRONGER_GAME,),
    Case("no gradient"): (CONNECT,),
    Case("no gradient", SIGMOID): (ONE_SIGMOID, CONNECT),
    Case("not trained"): (GIVE,),
    Case("not trained", FROZEN): (THAW,),
    Case("gradients not cleared"): (CLEAR,),
    Case("not finite"): (TRACE,),
    Case("not finite", IN_INPUT): (FILL,),
    Case("not finite", IN_LAYER): (GUARD_LAYER, TRACE),
    Case("not finite", IN_LOSS): (GUARD_LOSS, TRACE),
    Case("not finite", IN_BACKWARD): (GUARD_BACKWARD, TRACE),
    Case("not finite", IN_UPDATE): (UPDATE_RANGE,),
    Case("diverging"): (STEADY, CLIP),
    Case("diverging", SIGN): (TURN_SIGN,),
    Case("collapsed"): (PAIRS,),
    Case("collapsed", ALIKE): (LOCATE, PAIRS),
    Case("collapsed", BY_SHAPES): (SHAPES,),
    Case("unscaled data"): (SCALE,),
    Case("unscaled data", IN_TARGETS): (SCALE_TARGETS,),
    Case("output layer"): (NO_RELU,),
    Case("output layer", SOFTMAX): (NO_SOFTMAX,),
    Case("output layer", SIGMOID): (ONE_SIGMOID,),
    Case("output layer", BOUNDED): (OUTPUT_RANGE,),
    Case("weight decay too strong"): (LESS_DECAY,),
    Case("symmetric start"): (RANDOM,),
    Case("learning rate too low", BY_SCHEDULE): (SCHEDULE,),
    Case("learning rate too low", AT_ZERO): (RATE_OF_ZERO,),
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
