"""Lab 09: clip by the norm, at the right moment, at a threshold from the record; and what clipping by value turns."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gradclinic.course import theory
from gradclinic.course.exercises.draws import normal, seeded, uniform
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab

# --- 9.1: by the norm ------------------------------------------------------------------------------------------------


def _gradients(seed: int) -> list[Case]:
    generator = seeded(seed)
    shapes = ((4, 3), (4,), (2, 4))
    large = [5 * normal(generator, *shape) for shape in shapes]
    small = [1e-3 * normal(generator, *shape) for shape in shapes]
    return [(large, uniform(generator, 0.5, 3)), (small, uniform(generator, 0.5, 3))]


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
            lambda gradients, c: _times(gradients, min(1.0, float(c / sum(g.norm() for g in gradients)))),
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


def _wall(w: Tensor, steepness: float) -> Tensor:
    """A valley, steeper in each further direction, with a wall: far out the loss rises with the third power."""
    curvature = torch.arange(1, len(w) + 1, dtype=w.dtype)
    wall: Tensor = steepness * w.norm() ** 3
    return (curvature * w.square()).sum() / 2 + wall


def _walks(seed: int) -> list[Case]:
    generator = seeded(seed)
    cases = []
    # a few steps, which end where clipping still acts; and so many that it ends
    for size, far, threshold, steps in ((5, 6.0, uniform(generator, 0.5, 1.5), 5), (3, 4.0, 2.5, 20)):
        start = normal(generator, size)
        cases.append((partial(_wall, steepness=0.05), start / start.norm() * far, 0.1, threshold, steps))
    return cases


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
    generator = seeded(seed)
    cases = []
    for share in (0.1, 0.05):
        norms = torch.exp(0.8 * normal(generator, 400)) * uniform(generator, 0.5, 5)
        norms[torch.randint(400, (6,), generator=generator)] = math.inf
        norms[torch.randint(400, (3,), generator=generator)] = math.nan
        cases.append((norms, share))
    return cases


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
    rtol=1e-2,  # between two recorded norms any number will do
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
    generator = seeded(seed)
    cases = []
    for size in (6, 40):
        gradient = normal(generator, size)
        gradient[0] = -uniform(generator, 8, 20)  # one entry sticks out, and it is negative
        gradient[1] = uniform(generator, 3, 6)
        cases.append((gradient, uniform(generator, 0.6, 1.2)))
    return cases


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
