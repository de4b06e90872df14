"""Lab 09: clip by the norm, at the right moment, at a threshold from the record; and what clipping by value turns."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gradclinic.course import theory
from gradclinic.course.exercises.draws import normal, over_decades, seeded, shuffled, sign, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab

# --- 9.1: by the norm ------------------------------------------------------------------------------------------------


def _gradients(seed: int) -> list[Case]:
    """From one tensor to six, of no axis to three, longer than the threshold, shorter, and just beside it."""
    generator = seeded(seed)
    shapes = ((4, 3), (4,), (2, 4), (), (2, 1, 3), (1,))
    cases = []
    for count, times in (
        (3, uniform(generator, 5, 20)),
        (3, uniform(generator, 1e-3, 1e-2)),
        (4, uniform(generator, 1.1, 2)),  # longer than the threshold, but no tensor of them is
        (6, uniform(generator, 0.7, 0.95)),
        (2, uniform(generator, 1.02, 1.05)),
        (2, uniform(generator, 0.95, 0.98)),
        (1, uniform(generator, 1.5, 5)),
        (5, uniform(generator, 30, 1000)),
    ):
        gradients = [
            normal(generator, *shape) for shape in (((4, 3),) if count == 1 else shuffled(generator, shapes)[:count])
        ]
        threshold = over_decades(generator, *{1: (10, 20), 5: (0.02, 0.08)}.get(count, (0.3, 3)))
        # no tensor sticks out, so that all of them have to count
        even = [g / (g.norm() * math.sqrt(count)) * uniform(generator, 0.9, 1.1) for g in gradients]
        total = math.sqrt(sum(float(g.square().sum()) for g in even))
        cases.append(([times * threshold / total * g for g in even], threshold))
    zero = [torch.zeros(3, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)]
    cases.append((zero, uniform(generator, 0.5, 3)))  # nothing to clip, and nothing to divide by
    return shuffled(generator, cases)


def _total(gradients: list[Tensor]) -> Tensor:
    norm: Tensor = torch.cat([g.flatten() for g in gradients]).norm()
    return norm


def _times(gradients: list[Tensor], factor: float | Tensor) -> list[Tensor]:
    return [factor * g for g in gradients]


def _by_norm(gradients: list[Tensor], threshold: float) -> list[Tensor]:
    flat = theory.clip(torch.cat([g.flatten() for g in gradients]), norm=threshold)
    parts = flat.split([g.numel() for g in gradients])
    return [part.reshape(g.shape) for part, g in zip(parts, gradients, strict=True)]


CLIPPED = Exercise(
    id="9.1-clipped",
    points=2,
    claims=("S20", "S33"),
    level="warm-up",
    minutes=10,
    cases=_gradients,
    reference=_by_norm,
    mistakes=(
        Mistake(
            "each tensor by its own norm",
            lambda gradients, c: [_by_norm([g], c)[0] for g in gradients],
            "You clipped each tensor by its own norm. That shortens some layers and not others, and so turns the "
            "step. Take one norm over all of them.",
            belief="To clip each layer by itself is to clip the gradient.",
        ),
        Mistake(
            "by value",
            lambda gradients, c: [g.clamp(-c, c) for g in gradients],
            "You clipped each entry. Here the whole gradient is to be shortened, with its direction kept.",
        ),
        Mistake(
            "small ones made larger",
            lambda gradients, c: _times(gradients, c / _total(gradients)),
            "Right for large gradients. A gradient below the threshold is to stay as it is: the factor is never above "
            "1.",
            belief="Clipping lifts gradients that are too small.",
        ),
        Mistake(
            "norms added up",
            lambda gradients, c: _times(
                gradients, min(1.0, float(c / torch.stack([g.norm() for g in gradients]).sum()))
            ),
            "You added the tensors' norms. Squares add up: take the root of the sum of squares.",
        ),
        Mistake(
            "root forgotten",
            lambda gradients, c: _times(gradients, min(1.0, float(c / _total(gradients) ** 2))),
            "You divided by the sum of squares. The norm is its root.",
        ),
        Mistake(
            "length 1",
            lambda gradients, c: _times(gradients, min(1.0, float(1 / _total(gradients)))),
            "Your result has length 1. It is to have the length of the threshold.",
        ),
        Mistake(
            "the wrong way round",
            lambda gradients, c: _times(gradients, max(1.0, float(c / _total(gradients)))),
            "Your factor is never below 1: it makes small gradients larger and leaves large ones. Take the smaller of "
            "the two, not the larger.",
        ),
    ),
)


# --- 9.2: at the right moment ----------------------------------------------------------------------------------------


class Wall:
    """A loss: a valley that is curved in each direction by its own number, with a wall: far out it rises with the third
    power of the distance from ``bottom``."""

    def __init__(self, curvature: Tensor, bottom: Tensor, steepness: float) -> None:
        self.curvature, self.bottom, self.steepness = curvature, bottom, steepness

    def __call__(self, w: Tensor) -> Tensor:
        away = w - self.bottom
        loss: Tensor = (self.curvature * away.square()).sum() / 2 + self.steepness * away.norm() ** 3
        return loss


def _walks(seed: int) -> list[Case]:
    generator = seeded(seed)
    cases = []
    # a few steps, which end where clipping still acts; so many that it ends; one; and two walks it hardly touches
    for size, far, threshold, rate, steps in (
        (5, 6.0, uniform(generator, 0.5, 1.5), 0.1, whole(generator, 4, 6)),
        (3, 4.0, 2.5, uniform(generator, 0.08, 0.12), whole(generator, 18, 25)),
        (whole(generator, 2, 6), 5.0, uniform(generator, 0.03, 0.08), uniform(generator, 1, 2), 1),
        (1, 4.0, uniform(generator, 1, 2), 0.1, whole(generator, 2, 9)),
        (4, 2.0, uniform(generator, 40, 80), uniform(generator, 0.02, 0.05), whole(generator, 7, 12)),
    ):
        start, bottom = normal(generator, size), normal(generator, size)
        curvature = torch.arange(1, size + 1, dtype=torch.float64) * uniform(generator, 0.6, 1.2)
        loss = Wall(curvature, bottom, uniform(generator, 0.03, 0.08))
        cases.append((loss, bottom + start / start.norm() * far, rate, threshold, steps))
    return shuffled(generator, cases)


def _walk(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    learning_rate: float,
    threshold: float,
    steps: int,
    how: str = "right",
) -> list[Tensor]:
    """Train with torch's own parts, clipping when ``how`` says so; the weights, and the norm left in .grad."""
    w = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([w], lr=learning_rate)
    clip = partial(torch.nn.utils.clip_grad_norm_, [w], threshold)
    for _ in range(steps):
        if how != "gradients add up":
            optimizer.zero_grad()
        if how == "before backward":
            clip()
        loss(w).backward()
        if how in ("right", "gradients add up"):
            clip()
        if how == "value":
            torch.nn.utils.clip_grad_value_([w], threshold)
        optimizer.step()
        if how == "after the step":
            clip()
        if how == "weights":
            with torch.no_grad():
                w.mul_(min(1.0, threshold / float(w.norm())))
    return [*w.detach(), *(p.grad.norm() for p in (w,) if p.grad is not None)]


TRAINED = Exercise(
    id="9.2-trained",
    points=3,
    claims=("S33",),
    level="core",
    minutes=20,
    after=("9.1-clipped",),
    cases=_walks,
    reference=_walk,
    rtol=1e-4,
    mistakes=(
        Mistake(
            "clipped after the step",
            partial(_walk, how="after the step"),
            "Your weights moved as if nothing had been clipped: the step was already taken. Clip between backward and "
            "step.",
        ),
        Mistake(
            "clipped before backward",
            partial(_walk, how="before backward"),
            "Your weights moved as if nothing had been clipped: before backward there is no gradient yet. Clip between "
            "backward and step.",
            belief="It does not matter when one clips.",
        ),
        Mistake(
            "gradients add up",
            partial(_walk, how="gradients add up"),
            "Every backward adds to what is there. Set the gradient to zero before each one.",
        ),
        Mistake(
            "weights clipped",
            partial(_walk, how="weights"),
            "You clipped the weights. It is the gradient that is too long.",
        ),
        Mistake(
            "by value",
            partial(_walk, how="value"),
            "You clipped entry by entry, which turns the step. Use the norm.",
        ),
    ),
)


# --- 9.3: at which threshold -----------------------------------------------------------------------------------------


def _recorded(seed: int) -> list[Case]:
    """Norms of runs long and short, with broken steps in some; the share is that of a whole number of steps."""
    generator = seeded(seed)
    cases = []
    for finite, above, infinite, undefined, size in (
        (400, 40, 6, 3, 1.0),
        (whole(generator, 300, 390), whole(generator, 15, 25), whole(generator, 4, 8), 5, 30.0),
        (whole(generator, 40, 60), whole(generator, 15, 20), 0, 12, 1e-3),
        (whole(generator, 20, 30), whole(generator, 12, 14), 5, 0, 3.0),
        (whole(generator, 100, 200), 3, 0, 0, 100.0),
    ):
        norms = torch.exp(0.8 * normal(generator, finite)) * over_decades(generator, size, 3 * size)
        if not infinite + undefined:  # the first and the last step are the largest
            norms[0], norms[-1] = 2 * norms.max(), 3 * norms.max()
        broken = torch.tensor([math.inf] * infinite + [math.nan] * undefined, dtype=torch.float64)
        order = torch.randperm(finite + infinite + undefined, generator=generator)
        shown = torch.cat([norms, broken])[order] if len(broken) else norms
        cases.append((shown, above / finite))
    return shuffled(generator, cases)


def _above(answers: Sequence[Any], seed: int) -> list[float]:
    """How many finite norms lie above each threshold. One that lies on a threshold counts as the share wants it."""
    counts = []
    for (norms, share), answer in zip(_recorded(seed), answers, strict=True):
        finite, threshold = _finite(norms), float(torch.as_tensor(answer, dtype=torch.float64))
        wanted = round(share * len(finite))
        above, on = int((finite > threshold).sum()), int((finite == threshold).sum())
        counts.append(float(min(max(wanted, above), above + on)))
    return counts


def _finite(norms: Tensor) -> Tensor:
    return norms[norms.isfinite()]


THRESHOLD = Exercise(
    id="9.3-threshold",
    points=2,
    claims=("S33",),
    level="core",
    minutes=15,
    cases=_recorded,
    reference=lambda norms, share: _finite(norms).quantile(1 - share),
    outcome=_above,  # between two recorded norms any number will do
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "the other end",
            lambda norms, share: _finite(norms).quantile(share),
            "With this threshold nearly every step is shortened. Only the share is to lie above it.",
        ),
        Mistake(
            "broken steps counted",
            lambda norms, share: norms.nan_to_num(math.inf, math.inf).sort().values[int((1 - share) * len(norms))],
            "You counted steps whose norm is inf or nan. They say nothing about healthy ones: leave them out first.",
        ),
        Mistake(
            "mean",
            lambda norms, share: _finite(norms).mean(),
            "This is the mean, and does not depend on the share. Sort the norms: which one has the share above it?",
        ),
        Mistake(
            "share of the largest",
            lambda norms, share: (1 - share) * _finite(norms).max(),
            "You took a share of the largest norm. Asked for is a share of the *steps*.",
            belief="A good threshold is some part of the largest gradient.",
        ),
        Mistake(
            "largest",
            lambda norms, share: _finite(norms).max(),
            "No step lies above the largest. The share is to.",
        ),
    ),
)


# --- 9.4: what is turned ---------------------------------------------------------------------------------------------


def _uneven(seed: int) -> list[Case]:
    """Entries that stick out to either side, by little and by much, from one that is cut to all of them, or none."""
    generator = seeded(seed)
    cases = []
    for size in (6, whole(generator, 20, 60)):
        gradient = normal(generator, size)
        gradient[0] = -uniform(generator, 8, 20)  # one entry sticks out, and it is negative
        gradient[1] = uniform(generator, 3, 6)
        cases.append((gradient[torch.randperm(size, generator=generator)], uniform(generator, 0.6, 1.2)))
    for size, times, unit in (
        (whole(generator, 3, 9), 0.3, 0.01),
        (whole(generator, 3, 9), 0.01, 10),
        (4, 1.5, 1),
        (1, 0.2, 3),
    ):
        gradient = normal(generator, size) * unit * uniform(generator, 0.5, 2)
        gradient[0] = sign(generator) * 1.2 * gradient.abs().max()
        cases.append((gradient, times * float(gradient.abs().max())))
    even = 5 * torch.rand(7, generator=generator, dtype=torch.float64) + 1
    cases.append((sign(generator) * even, uniform(generator, 2, 4)))
    return shuffled(generator, cases)


def _cosine(gradient: Tensor, clipped: Tensor) -> Tensor:
    return cosine_similarity(gradient, clipped, dim=0)


KEPT_DIRECTION = Exercise(
    id="9.4-kept_direction",
    points=3,
    claims=("S33",),
    level="core",
    minutes=15,
    after=("9.1-clipped",),
    cases=_uneven,
    reference=lambda gradient, value: _cosine(gradient, theory.clip(gradient, value=value)),
    mistakes=(
        Mistake(
            "clipped by norm",
            lambda gradient, value: _cosine(gradient, theory.clip(gradient, norm=value)),
            "You clipped by the norm, which keeps the direction: the cosine is 1. Clip each entry here.",
            belief="By norm or by value, clipping does the same to the step.",
        ),
        Mistake(
            "only from above",
            lambda gradient, value: _cosine(gradient, gradient.clamp(max=value)),
            "You limited large positive entries only. Entries below −value are too large as well.",
        ),
        Mistake(
            "angle",
            lambda gradient, value: _cosine(gradient, theory.clip(gradient, value=value)).acos(),
            "This is the angle. Return its cosine.",
        ),
        Mistake(
            "not divided by the lengths",
            lambda gradient, value: gradient @ theory.clip(gradient, value=value),
            "This is the product of the two vectors. Divide by both lengths.",
        ),
        Mistake(
            "divided by one length",
            lambda gradient, value: gradient @ theory.clip(gradient, value=value) / gradient.norm() ** 2,
            "You divided by the first length twice. The clipped gradient has a length of its own.",
        ),
        Mistake(
            "share of the length",
            lambda gradient, value: theory.clip(gradient, value=value).norm() / gradient.norm(),
            "This is how much of the length is left. Asked for is the direction.",
        ),
        Mistake(
            "large entries dropped",
            lambda gradient, value: _cosine(gradient, gradient * (gradient.abs() <= value)),
            "You set large entries to 0. Clipping sets them to the limit.",
        ),
    ),
)


check = Lab("09-clipping", (CLIPPED, TRAINED, THRESHOLD, KEPT_DIRECTION), after=("book/remedies/clipping",))
