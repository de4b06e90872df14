"""Lab 07: a block with a way around it, the gradient on that way, the growth of the sum, and a scale that bounds it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradclinic.course.exercises.draws import normal, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab

# --- 7.1: the block --------------------------------------------------------------------------------------------------


def _blocks(seed: int) -> list[Case]:
    """Blocks of one unit and of many, for one example and for many; scales of either sign, below 1 and above."""
    generator = seeded(seed)
    cases = []
    for rows, size, scale in (
        (3, 4, uniform(generator, 0.3, 0.8)),
        (whole(generator, 5, 8), whole(generator, 2, 3), uniform(generator, 1.3, 3)),
        (1, whole(generator, 5, 7), -uniform(generator, 0.3, 2)),
        (whole(generator, 2, 4), 1, uniform(generator, 0.01, 0.1)),
        (3, 3, uniform(generator, 0.5, 2)),
    ):
        weight = uniform(generator, 0.7, 1.5) * normal(generator, size, size) / math.sqrt(size)
        cases.append((normal(generator, rows, size), weight, scale))
    return shuffled(generator, cases)


def _around(h: Tensor, weight: Tensor, scale: float) -> Tensor:
    return h + scale * torch.tanh(h @ weight.T)


BLOCK = Exercise(
    id="7.1-block",
    points=2,
    claims=("S18",),
    level="warm-up",
    minutes=10,
    cases=_blocks,
    reference=_around,
    mistakes=(
        Mistake(
            "skip added before the activation",
            lambda h, weight, scale: torch.tanh(h + scale * (h @ weight.T)),
            "The sum goes through tanh. Then the path is not free: the slope of tanh stands on it. Add h last.",
            belief="A skip connection works wherever it is added.",
        ),
        Mistake(
            "skip around the wrong thing",
            lambda h, weight, scale: h @ weight.T + scale * torch.tanh(h @ weight.T),
            "Your path starts behind the weights, so they stand on it. It has to start at the block's input, h.",
        ),
        Mistake(
            "scale on the whole sum",
            lambda h, weight, scale: scale * (h + torch.tanh(h @ weight.T)),
            "You scaled the path as well. Over L blocks its factor is scaleᴸ, which vanishes. Scale the branch alone.",
            belief="To tame a sum that grows, scale the sum.",
        ),
        Mistake(
            "scale on the path",
            lambda h, weight, scale: scale * h + torch.tanh(h @ weight.T),
            "The scale is on the path, and the branch is free. It belongs on the branch.",
        ),
        Mistake(
            "scale inside the activation",
            lambda h, weight, scale: h + torch.tanh(scale * (h @ weight.T)),
            "The scale is inside tanh. Scale what tanh returns.",
        ),
        Mistake(
            "scale forgotten",
            lambda h, weight, scale: h + torch.tanh(h @ weight.T),
            "A path and a branch, as it should be. But the branch is not scaled.",
        ),
        Mistake(
            "no skip",
            lambda h, weight, scale: scale * torch.tanh(h @ weight.T),
            "This is the branch alone. What came in has to come out as well.",
        ),
        Mistake(
            "weights not transposed",
            lambda h, weight, scale: h + scale * torch.tanh(h @ weight),
            "Each row of weight belongs to one unit, as in nn.Linear. For rows of examples that is h @ weight.T.",
        ),
    ),
)


# --- 7.2: the gradient on its way back -------------------------------------------------------------------------------


def _ways_back(seed: int) -> list[Case]:
    generator = seeded(seed + 1)
    return [(*case, normal(generator, *case[0].shape)) for case in _blocks(seed)]


def _through(weight: Tensor, slope: Tensor, delta: Tensor) -> Tensor:
    return (slope * delta) @ weight


def _slope(h: Tensor, weight: Tensor) -> Tensor:
    return 1 - torch.tanh(h @ weight.T) ** 2


def _back(h: Tensor, weight: Tensor, scale: float, delta: Tensor) -> Tensor:
    return delta + scale * _through(weight, _slope(h, weight), delta)


WAY_BACK = Exercise(
    id="7.2-way_back",
    points=3,
    claims=("S18", "S2"),
    level="core",
    minutes=20,
    after=("1.4-backpropagate", "7.1-block"),
    cases=_ways_back,
    reference=_back,
    mistakes=(
        Mistake(
            "detached skip",
            lambda h, weight, scale, delta: scale * _through(weight, _slope(h, weight), delta),
            "This is what comes back through the branch. The path brings its share too, as it would not if h were "
            "detached.",
        ),
        Mistake(
            "detached branch",
            lambda h, weight, scale, delta: delta,
            "This is what comes back on the path. The branch brings something as well: it depends on h too.",
            belief="With skip connections the gradient takes the path, and the path alone.",
        ),
        Mistake(
            "scale forgotten",
            lambda h, weight, scale, delta: delta + _through(weight, _slope(h, weight), delta),
            "Forward, the branch is multiplied by the scale. So it is on the way back.",
        ),
        Mistake(
            "scale on the whole sum",
            lambda h, weight, scale, delta: scale * (delta + _through(weight, _slope(h, weight), delta)),
            "You scaled the path as well. Its factor is 1.",
        ),
        Mistake(
            "slope forgotten",
            lambda h, weight, scale, delta: delta + scale * delta @ weight,
            "On the way back through tanh the gradient is multiplied by its slope, 1 − tanh².",
        ),
        Mistake(
            "value for the slope",
            lambda h, weight, scale, delta: delta + scale * _through(weight, torch.tanh(h @ weight.T), delta),
            "You multiplied by tanh. On the way back it is the slope that counts, 1 − tanh².",
        ),
        Mistake(
            "slope at the block's input",
            lambda h, weight, scale, delta: delta + scale * _through(weight, 1 - torch.tanh(h) ** 2, delta),
            "You took the slope at h. tanh gets h @ weight.T: take it there.",
        ),
        Mistake(
            "slope on the path",
            lambda h, weight, scale, delta: (
                _slope(h, weight) * delta + scale * _through(weight, _slope(h, weight), delta)
            ),
            "You put the slope on the path too. No activation stands there.",
        ),
        Mistake(
            "weights the wrong way round",
            lambda h, weight, scale, delta: delta + scale * _through(weight.T, _slope(h, weight), delta),
            "Forward it is h @ weight.T, so rows of gradients come back by @ weight.",
        ),
    ),
)


# --- 7.3: the growth of the sum --------------------------------------------------------------------------------------


def _towers(seed: int) -> list[Case]:
    """From one block to a hundred, odd and even; branches that shrink and that grow, scales of either sign."""
    generator = seeded(seed)
    few, many = whole(generator, 2, 9), whole(generator, 60, 100)
    return shuffled(
        generator,
        [
            (uniform(generator, 0.4, 0.9), uniform(generator, 0.3, 0.7), 2 * few),
            (uniform(generator, 1.5, 3), uniform(generator, 0.3, 0.7), 2 * few + 1),
            (uniform(generator, 0.4, 0.9), uniform(generator, 1.5, 2.5), whole(generator, 2, 5)),
            (uniform(generator, 0.4, 0.9), -uniform(generator, 0.3, 0.7), whole(generator, 7, 20)),
            (uniform(generator, 0.5, 2), uniform(generator, 0.05, 0.2), many),
            (uniform(generator, 1.5, 3), uniform(generator, 1.2, 2), 1),
            (uniform(generator, 1.5, 3), uniform(generator, 1.2, 2), 0),  # nothing was added yet
        ],
    )


GROWTH = Exercise(
    id="7.3-growth",
    points=3,
    claims=("S18",),
    level="core",
    minutes=15,
    after=("7.1-block",),
    cases=_towers,
    reference=lambda c, scale, blocks: (1 + scale**2 * c) ** (blocks / 2),
    mistakes=(
        Mistake(
            "root forgotten",
            lambda c, scale, blocks: (1 + scale**2 * c) ** blocks,
            "This is the growth of the mean square. Asked for is that of its root.",
        ),
        Mistake(
            "scale not squared",
            lambda c, scale, blocks: (1 + scale * c) ** (blocks / 2),
            "A branch that is multiplied by scale has its mean square multiplied by scale².",
        ),
        Mistake(
            "scale forgotten",
            lambda c, scale, blocks: (1 + c) ** (blocks / 2),
            "This is the unscaled network. Where is the branch's scale?",
        ),
        Mistake(
            "sizes added",
            lambda c, scale, blocks: (1 + scale * math.sqrt(c)) ** blocks,
            "You added sizes. Of two things that are independent with mean 0, the mean squares add up.",
        ),
        Mistake(
            "branches of one size",
            lambda c, scale, blocks: math.sqrt(1 + blocks * scale**2 * c),
            "You let each block add the same. But a branch is fed by the sum: as that grows, so does the branch.",
            belief="Each block adds the same amount.",
        ),
        Mistake(
            "path forgotten",
            lambda c, scale, blocks: (scale**2 * c) ** (blocks / 2),
            "This is a plain network, where only the branch is handed on. The path hands on the sum itself.",
        ),
        Mistake(
            "one block",
            lambda c, scale, blocks: math.sqrt(1 + scale**2 * c),
            "This is the factor of one block. There are as many of them as `blocks` says.",
        ),
    ),
)


# --- 7.4: the scale that bounds it -----------------------------------------------------------------------------------


def _bounds(seed: int) -> list[Case]:
    """From one block to a hundred, from hardly any growth to a large one."""
    generator = seeded(seed)
    return shuffled(
        generator,
        [
            (uniform(generator, 0.4, 0.9), 2 * whole(generator, 3, 10), uniform(generator, 1.5, 4)),
            (uniform(generator, 1.5, 3), 2 * whole(generator, 3, 10) + 1, uniform(generator, 1.5, 4)),
            (uniform(generator, 0.4, 3), whole(generator, 60, 100), uniform(generator, 10, 100)),
            (uniform(generator, 0.1, 0.3), whole(generator, 2, 4), uniform(generator, 4, 9)),
            (uniform(generator, 0.4, 0.9), 1, uniform(generator, 1.5, 4)),
            (uniform(generator, 0.5, 2), whole(generator, 5, 20), uniform(generator, 1.01, 1.1)),
        ],
    )


def _scale(made: Callable[[float, int, float], float]) -> Callable[[float, int, float], float]:
    """The scale from what is made of ``most``: what one block may add to a mean square of 1."""
    return lambda c, blocks, most: math.sqrt(made(c, blocks, most))


SCALE = Exercise(
    id="7.4-scale",
    points=3,
    claims=("S18",),
    level="stretch",
    minutes=15,
    after=("7.3-growth",),
    cases=_bounds,
    reference=_scale(lambda c, blocks, most: (most ** (2 / blocks) - 1) / c),
    mistakes=(
        Mistake(
            "root forgotten",
            lambda c, blocks, most: (most ** (2 / blocks) - 1) / c,
            "This is scale². Return the scale.",
        ),
        Mistake(
            "size for the mean square",
            _scale(lambda c, blocks, most: (most ** (1 / blocks) - 1) / c),
            "You let the mean square grow by `most`. It is the root mean square that may: the mean square may grow by "
            "its square.",
        ),
        Mistake(
            "branch forgotten",
            _scale(lambda c, blocks, most: most ** (2 / blocks) - 1),
            "You took a branch that keeps the mean square. This one multiplies it by c.",
        ),
        Mistake(
            "branches of one size",
            _scale(lambda c, blocks, most: (most**2 - 1) / (blocks * c)),
            "You let each block add the same. The growth of the blocks multiplies: take a root of it, not a part.",
        ),
        Mistake(
            "1/√L for all",
            lambda c, blocks, most: 1 / math.sqrt(blocks),
            "1/√L keeps the growth bounded, but not by this number. Use c and most.",
            belief="1/√L is the right scale for every branch.",
        ),
        Mistake(
            "1/L",
            lambda c, blocks, most: 1 / blocks,
            "1/L is for branches whose means add up. These have none, and 1/L would leave them nearly nothing to say.",
        ),
        Mistake(
            "one block",
            _scale(lambda c, blocks, most: (most**2 - 1) / c),
            "With this scale a single block grows by `most`. All of them together may.",
        ),
    ),
)


check = Lab("07-skip-connections", (BLOCK, WAY_BACK, GROWTH, SCALE), after=("book/remedies/skip-connections",))
