"""Lab 08: one step of an LSTM, the bias of its forget gate, how long it remembers, and the spectral radius."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from gradclinic.course import theory
from gradclinic.course.exercises.draws import normal, over_decades, rotation, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab

# --- 8.1: one step of an LSTM ----------------------------------------------------------------------------------------


def _steps(seed: int) -> list[Case]:
    """Cells of one unit and of several, for one example and for more."""
    generator = seeded(seed)
    cases = []
    for rows, inputs, units in (
        (6, 3, 4),
        (whole(generator, 2, 5), 2, 5),
        (1, whole(generator, 1, 4), whole(generator, 2, 3)),
        (whole(generator, 7, 9), 4, 1),
        (3, 1, whole(generator, 6, 8)),
    ):
        x, h, c = (normal(generator, rows, n) for n in (inputs, units, units))
        weights = (normal(generator, 4 * units, n) for n in (inputs, units))
        cases.append((x, h, 2 * c, *weights, normal(generator, 4 * units)))
    return shuffled(generator, cases)


def _step(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_x: Tensor,
    w_h: Tensor,
    bias: Tensor,
    order: tuple[int, ...] = (0, 1, 2, 3),
    candidate: bool = True,
    shown: bool = True,
    kept: bool = True,
) -> list[Tensor]:
    parts = (x @ w_x.T + h @ w_h.T + bias).chunk(4, dim=1)
    i, f, g, o = (parts[n] for n in order)
    i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
    g = g.tanh() if candidate else g.sigmoid()
    c = (f * c if kept else c) + i * g
    return [o * (c.tanh() if shown else c), c]


def _by_torch(x: Tensor, h: Tensor, c: Tensor, w_x: Tensor, w_h: Tensor, bias: Tensor) -> list[Tensor]:
    return list(torch.lstm_cell(x, (h, c), w_x, w_h, bias, torch.zeros_like(bias)))


LSTM_STEP = Exercise(
    id="8.1-lstm_step",
    points=3,
    claims=("S19",),
    level="core",
    minutes=15,
    cases=_steps,
    reference=_by_torch,
    mistakes=(
        Mistake(
            "output gate third",
            partial(_step, order=(0, 1, 3, 2)),
            "You took the third quarter for the output gate. torch's order is input, forget, candidate, output.",
        ),
        Mistake(
            "forget gate first",
            partial(_step, order=(1, 0, 2, 3)),
            "You took the first quarter for the forget gate. torch's order is input, forget, candidate, output.",
        ),
        Mistake(
            "candidate through the sigmoid",
            partial(_step, candidate=False),
            "Gates go through the sigmoid; the candidate is no gate. It goes through tanh, and may be negative.",
        ),
        Mistake(
            "cell shown as it is",
            partial(_step, shown=False),
            "The cell is right, the state is not: it shows the tanh of the cell, times the output gate.",
        ),
        Mistake(
            "nothing forgotten",
            partial(_step, kept=False),
            "You added to the cell without forgetting. The old cell is multiplied by the forget gate first.",
            belief="The cell of an LSTM only ever adds.",
        ),
        Mistake(
            "state and cell swapped",
            lambda *case: _by_torch(*case)[::-1],
            "Right numbers in the wrong order: the state first, then the cell.",
        ),
    ),
)


# --- 8.2: the bias of the forget gate --------------------------------------------------------------------------------


def _biases(seed: int) -> list[Case]:
    """From one unit to several. In the last cases one bias is a single number, expanded: torch lets nobody write into
    that, and says to clone it first."""
    generator = seeded(seed)

    def bias(units: int) -> Tensor:
        return normal(generator, 4 * units)

    cases: list[Case] = [
        (bias(units), bias(units), opened)
        for units, opened in (
            (3, uniform(generator, 1, 4)),
            (whole(generator, 4, 7), uniform(generator, 1, 4)),
            (1, -uniform(generator, 0.5, 3)),
            (2, 0.0),
        )
    ]
    same = torch.full((2,), uniform(generator, -1, 1), dtype=torch.float64)
    cases.append((same[:1].expand(12), bias(3), uniform(generator, 0.5, 3)))
    same = torch.full((2,), uniform(generator, -1, 1), dtype=torch.float64)
    cases.append((bias(2), same[:1].expand(8), uniform(generator, 0.5, 3)))
    return shuffled(generator, cases)


def _with_bias(b_x: Tensor, b_h: Tensor, bias: float, quarter: int = 1, other: float | None = 0.0) -> list[Tensor]:
    units = len(b_x) // 4
    b_x, b_h = b_x.clone(), b_h.clone()
    where = slice(quarter * units, (quarter + 1) * units)
    b_x[where] = bias
    if other is not None:
        b_h[where] = other
    return [b_x, b_h]


def _everywhere(b_x: Tensor, b_h: Tensor, bias: float) -> list[Tensor]:
    return [torch.full_like(b_x, bias), torch.zeros_like(b_h)]


def _on_top(b_x: Tensor, b_h: Tensor, bias: float) -> list[Tensor]:
    quarters = [part + bias * (number == 1) for number, part in enumerate(b_x.chunk(4))]
    return [torch.cat(quarters), b_h]


FORGET_BIAS = Exercise(
    id="8.2-forget_bias",
    points=2,
    claims=("S19",),
    level="warm-up",
    minutes=10,
    after=("8.1-lstm_step",),
    cases=_biases,
    reference=_with_bias,
    mistakes=(
        Mistake(
            "wrong quarter",
            lambda b_x, b_h, bias: _with_bias(b_x, b_h, bias, quarter=0),
            "You set the first quarter, the input gate's. The forget gate's is the second.",
        ),
        Mistake(
            "the third quarter",
            lambda b_x, b_h, bias: _with_bias(b_x, b_h, bias, quarter=2),
            "You set the third quarter, the candidate's. Counted from 1, the forget gate's is the second.",
        ),
        Mistake(
            "both biases set",
            lambda b_x, b_h, bias: _with_bias(b_x, b_h, bias, other=bias),
            "You set both. torch adds them up, so the gate gets twice the bias. Set one of them to 0.",
        ),
        Mistake(
            "the other bias left",
            lambda b_x, b_h, bias: _with_bias(b_x, b_h, bias, other=None),
            "torch keeps two biases and adds them up. What stands in the forget quarter of the second comes on top: "
            "set it to 0.",
        ),
        Mistake(
            "all gates",
            _everywhere,
            "You set every quarter. Only the forget gate is to be opened; leave the others as they are.",
        ),
        Mistake(
            "added, not set",
            _on_top,
            "You added the bias to what was there. It is to be that number.",
        ),
    ),
)


# --- 8.3: how long it remembers --------------------------------------------------------------------------------------


def _open(seed: int) -> list[Case]:
    """Gates from nearly shut to nearly open, and shares from small to nearly all."""
    generator = seeded(seed)
    cases = [(uniform(generator, low, low + 1), uniform(generator, 0.05, 0.3)) for low in (-1, 1, 3)]
    cases += [(uniform(generator, -4, -2), uniform(generator, 0.3, 0.6))]
    cases += [(0.0, uniform(generator, 0.1, 0.9))]
    cases += [(uniform(generator, 5, 7), uniform(generator, 0.9, 0.99))]
    cases += [(uniform(generator, 0.1, 0.4), over_decades(generator, 1e-6, 1e-3))]
    return shuffled(generator, cases)


def _remembered(bias: float, share: float) -> float:
    return -math.log(share) * theory.memory_horizon(bias)


def _gate(bias: float) -> float:
    return 1 / (1 + math.exp(-bias))


REMEMBERED = Exercise(
    id="8.3-remembered",
    points=2,
    claims=("S19",),
    level="core",
    minutes=15,
    after=("8.1-lstm_step",),
    cases=_open,
    reference=_remembered,
    rtol=1e-3,
    mistakes=(
        Mistake(
            "bias for the gate",
            lambda bias, share: math.log(share) / -abs(math.log(abs(bias) or 1e-300)),
            "You took the bias for the gate. The gate is the sigmoid of it.",
        ),
        Mistake(
            "1/e for the share",
            lambda bias, share: theory.memory_horizon(bias),
            "This is when 1/e is left. Asked for is when the given share is left.",
        ),
        Mistake(
            "as if each step took the same",
            lambda bias, share: (1 - share) / (1 - _gate(bias)),
            "You took the same amount away in every step. A gate multiplies: after k steps its k-th power is left.",
            belief="A gate that is half open loses the same amount in every step.",
        ),
        Mistake(
            "exponential of the bias",
            lambda bias, share: -math.log(share) * math.exp(bias),
            "About right where the gate is nearly open, and not elsewhere. Use the logarithm of the gate itself.",
        ),
        Mistake(
            "root of the factor",
            lambda bias, share: 2 * _remembered(bias, share),
            "Twice too long. The cell itself is multiplied by the gate, not its square.",
        ),
        Mistake(
            "upside down",
            lambda bias, share: 1 / _remembered(bias, share),
            "Turn the fraction round: a gate nearer to 1 remembers longer.",
        ),
    ),
)


# --- 8.4: the spectral radius ----------------------------------------------------------------------------------------


def _of(generator: torch.Generator, values: Sequence[float], turns: Sequence[tuple[float, float]] = ()) -> Tensor:
    """A matrix with these real eigenvalues, and the complex pairs a ± bi; triangular but for the pairs, in this order.

    What stands above the diagonal changes the singular values, and no eigenvalue.
    """
    blocks = [torch.tensor([[value]], dtype=torch.float64) for value in values]
    blocks += [torch.tensor([[a, b], [-b, a]], dtype=torch.float64) for a, b in turns]
    made: Tensor = torch.block_diag(*blocks)
    above: Tensor = normal(generator, *made.shape).triu(1) * (made == 0)
    return made + 2 * above


def _matrices(seed: int) -> list[Case]:
    """The largest eigenvalue is real or complex, positive or negative, the first or the last that is found."""
    generator = seeded(seed)

    def near() -> float:
        return uniform(generator, 0.5, 1)

    small = [near() for _ in range(3)]
    a, b = 0.5 * near(), 3 * near()
    base = rotation(generator, 5)
    lopsided = normal(generator, 6, 6)
    lopsided[0, 5] += 8.0
    grown = normal(generator, 4, 4)
    found = [
        lopsided,
        _of(generator, [*small, 3 * near()]),
        _of(generator, [-3 * near(), *small]),
        _of(generator, [near(), -3 * near(), near()]),
        _of(generator, [near(), -near()], [(a, b)]),
        base @ _of(generator, [near()], [(a, b), (1.2 * near(), 0.3)]) @ base.T,
        grown + grown.T,
        torch.tensor([[-3 * near()]], dtype=torch.float64),
    ]
    radii = [uniform(generator, 0.3, 0.9), uniform(generator, 1.1, 3)] * len(found)
    return shuffled(generator, zip(found, radii, strict=False))


def _radius(w: Tensor) -> Tensor:
    radius: Tensor = torch.linalg.eigvals(w).abs().max()
    return radius


SCALED = Exercise(
    id="8.4-scaled",
    points=3,
    claims=("S19",),
    level="core",
    minutes=15,
    cases=_matrices,
    reference=lambda w, radius: w * radius / _radius(w),
    mistakes=(
        Mistake(
            "largest singular value",
            lambda w, radius: w * radius / torch.linalg.svdvals(w)[0],
            "You scaled by the largest singular value: how much one step can stretch. Over many steps the eigenvalues "
            "count.",
            belief="How far one step can stretch decides what fifty of them do.",
        ),
        Mistake(
            "norm over all entries",
            lambda w, radius: w * radius / w.norm(),
            "You divided by the root of the sum of squares of all entries. Divide by the size of the largest "
            "eigenvalue.",
        ),
        Mistake(
            "real part only",
            lambda w, radius: w * radius / torch.linalg.eigvals(w).real.abs().max(),
            "You took the real part. Eigenvalues may be complex: take the absolute value, real and imaginary part "
            "together.",
        ),
        Mistake(
            "first eigenvalue",
            lambda w, radius: w * radius / torch.linalg.eigvals(w)[0].abs(),
            "You took the first eigenvalue. torch gives them in no order: take the largest of their sizes.",
        ),
        Mistake(
            "largest entry",
            lambda w, radius: w * radius / w.abs().max(),
            "You divided by the largest entry. It says little about the matrix as a whole.",
        ),
        Mistake(
            "radius not given",
            lambda w, radius: w / _radius(w),
            "This has a spectral radius of 1. Multiply by the one that was asked for.",
        ),
        Mistake(
            "times the old radius",
            lambda w, radius: w * radius,
            "You multiplied by the new radius. The old one is still in it: divide by that.",
        ),
    ),
)


check = Lab(
    "08-gated-recurrence", (LSTM_STEP, FORGET_BIAS, REMEMBERED, SCALED), after=("book/remedies/gated-recurrence",)
)
