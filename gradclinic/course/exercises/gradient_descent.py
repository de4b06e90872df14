"""Lab 01: one step of gradient descent, how long it may be, and where its gradient comes from."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradclinic.course import theory
from gradclinic.course.exercises.bowls import around, bowl, tilted
from gradclinic.course.exercises.draws import normal, over_decades, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab

# --- 1.1 and 1.2: the update -----------------------------------------------------------------------------------------


def _sgd(weight: Tensor, gradient: Tensor, learning_rate: float) -> Tensor:
    parameter = nn.Parameter(weight)
    parameter.grad = gradient
    torch.optim.SGD([parameter], lr=learning_rate).step()
    return parameter.detach()


def _shape(generator: torch.Generator, about: int, axes: int) -> tuple[int, ...]:
    """Of a tensor with so many entries or a few less and one to three axes; a single entry has none."""
    rows = whole(generator, 2, 4)
    return ((about,), (rows, about // rows), (rows, 2, about // (2 * rows)))[axes - 1] if about > 1 else ()


def _updates(*sizes: int) -> Callable[[int], list[Case]]:
    """Cases of about so many weights each: single and double precision in turn, rates below 1 and above."""

    def cases(seed: int) -> list[Case]:
        generator = seeded(seed)
        cases = []
        for number, about in enumerate(sizes):
            dtype = torch.float64 if number % 2 else torch.float32
            shape = _shape(generator, about, 1 + number % 3)
            weight, gradient = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
            rate = over_decades(generator, *((0.15, 0.9), (1.2, 4), (0.01, 0.07))[number % 3])
            cases.append((weight, gradient * over_decades(generator, 0.5, 8), rate))
        return shuffled(generator, cases)

    return cases


STEP = Exercise(
    id="1.1-step",
    points=2,
    claims=("S26",),
    level="warm-up",
    minutes=10,
    cases=_updates(1, 4, 8, 15, 24, 30),
    reference=_sgd,
    rtol=1e-5,
    atol=1e-6,
    mistakes=(
        Mistake(
            "uphill",
            lambda w, g, lr: w + lr * g,
            "The gradient points to where the loss grows. You walk uphill: change a sign.",
        ),
        Mistake(
            "learning rate forgotten",
            lambda w, g, lr: w - g,
            "The step is as long as the gradient itself. The learning rate should scale it.",
        ),
        Mistake(
            "only the step",
            lambda w, g, lr: -lr * g,
            "This is the step, ΔW. Return the weight after the step.",
        ),
        Mistake(
            "gradient normalised",
            lambda w, g, lr: w - lr * g / g.norm(),
            "Every step has the same length, whatever the slope. Plain gradient descent uses the gradient as it is.",
            belief="A step is as long as the learning rate says.",
        ),
    ),
)

FUSED_STEP = Exercise(
    id="1.2-fused_step",
    points=1,
    claims=("S26",),
    level="stretch",
    minutes=10,
    after=("1.1-step",),
    cases=_updates(3000, 5000, 4000, 2000),
    reference=_sgd,
    rtol=0.0,
    atol=0.0,
    mistakes=(
        Mistake(
            "rounded twice",
            lambda w, g, lr: w - lr * g,
            "Right to seven digits, but not to the last bit: the product is rounded, and then the difference again. "
            "torch.add takes a factor, alpha, and multiplies and adds in one operation.",
        ),
        Mistake(
            "computed in double precision",
            lambda w, g, lr: (w.double() - lr * g.double()).float(),
            "Closer to the exact result than torch is, but not what torch does: it works in single precision, with "
            "the learning rate in single precision too. Leave the tensors as they are and use one operation.",
        ),
        Mistake(
            "uphill",
            lambda w, g, lr: torch.add(w, g, alpha=lr),
            "One operation, but the wrong way: the loss grows. Change a sign.",
        ),
    ),
)


# --- 1.3: the largest stable step ------------------------------------------------------------------------------------


def _hessians(seed: int) -> list[Case]:
    generator = seeded(seed)

    def steep() -> float:
        return uniform(generator, 3, 30)

    # from flat to steep; the steepest is 3 to 30, so that none of the usual mistakes hits the right number
    found = [
        tilted(generator, (torch.logspace(-1, 0, size, dtype=torch.float64) * steep()).tolist())
        for size in (2, 3, whole(generator, 4, 7))
    ]
    # flat where all weights move together, so that all that stands beside the diagonal is negative
    found.append(bowl([steep() / 30, 30 + steep(), 30 + steep()], around([1.0, 1.2, 0.8])))
    nearly = steep()  # curvatures that a few multiplications do not tell apart
    found.append(tilted(generator, [0.9 * nearly, 0.95 * nearly, nearly]))
    along = [steep() for _ in range(whole(generator, 3, 5))]
    along.insert(
        whole(generator, 1, len(along)), 1.3 * max(along)
    )  # the lab's bowl: along the axes, the first not steepest
    found.append(torch.diag(torch.tensor(along, dtype=torch.float64)))
    # the steepest direction is at right angles to (1, 1), as it is for any weight that works against another
    flat, more = uniform(generator, 1, 3), uniform(generator, 1, 3)
    found.append(torch.tensor([[flat + more, -more], [-more, flat + more]], dtype=torch.float64))
    found.append(torch.tensor([[steep()]], dtype=torch.float64))  # one weight
    found.append(tilted(generator, [1.0, 10 * steep(), 1e5 * steep()]))
    found.append(tilted(generator, [1e-6 * steep(), 1e-4 * steep()]))
    return [(hessian,) for hessian in shuffled(generator, found)]


def _largest_step(hessian: Tensor) -> float:
    return theory.stability_limit(torch.linalg.eigvalsh(hessian)[-1].item())


LARGEST_STEP = Exercise(
    id="1.3-largest_step",
    points=2,
    claims=("S1",),
    level="core",
    minutes=15,
    cases=_hessians,
    reference=_largest_step,
    mistakes=(
        Mistake(
            "flattest direction",
            lambda h: 2 / torch.linalg.eigvalsh(h)[0].item(),
            "This step suits the flattest direction. The steepest one diverges first.",
            belief="It is the flat directions that limit the learning rate.",
        ),
        Mistake(
            "one over the curvature",
            lambda h: 1 / torch.linalg.eigvalsh(h)[-1].item(),
            "With this step the steepest direction is solved at once. You can go on to the other side of the valley, "
            "and as far again.",
            belief="The longest safe step is the one that ends at the bottom of the valley.",
        ),
        Mistake(
            "curvature along the axes",
            lambda h: 2 / h.diagonal().max().item(),
            "The diagonal holds the curvature along the axes only. The steepest direction may lie between them: it is "
            "an eigenvector.",
        ),
        Mistake(
            "sum of the curvatures",
            lambda h: 2 / h.diagonal().sum().item(),
            "The trace adds the curvature of all directions. Each direction has to be stable by itself.",
        ),
    ),
)


# --- 1.4: backpropagation by hand ------------------------------------------------------------------------------------


def _networks(seed: int) -> list[Case]:
    generator = seeded(seed)
    cases = []
    for batch, inputs, hidden, outputs in (
        (1, 4, 3, 2),  # one example
        (whole(generator, 6, 9), 2, 5, 3),
        (whole(generator, 2, 5), 3, 4, 1),  # one output
        (whole(generator, 2, 5), 1, 2, 4),  # one input
        (3, 5, 1, 2),  # one unit
        (2, 3, 3, 3),
    ):
        # weights large enough to bend tanh, so that its slope matters
        x, y = normal(generator, batch, inputs), normal(generator, batch, outputs)
        cases.append((x, y, normal(generator, hidden, inputs), normal(generator, outputs, hidden)))
    x, y, w1, w2 = cases[1]
    cases.append((2000 * x, y.clone(), w1.clone(), w2.clone()))  # so far out that exp(z) is beyond the largest number
    return shuffled(generator, cases)


def _autograd(x: Tensor, y: Tensor, w1: Tensor, w2: Tensor) -> list[Tensor]:
    w1.requires_grad_()
    w2.requires_grad_()
    loss = ((torch.tanh(x @ w1.T) @ w2.T - y) ** 2).sum(1).mean() / 2
    return list(torch.autograd.grad(loss, (w1, w2)))


Slope = Callable[[Tensor, Tensor], Tensor | float]  # of tanh, from its input and its output


def _by_hand(x: Tensor, y: Tensor, w1: Tensor, w2: Tensor, slope: Slope, share: float) -> list[Tensor]:
    z = x @ w1.T
    h = torch.tanh(z)
    error = (h @ w2.T - y) / share
    return [(error @ w2 * slope(z, h)).T @ x, error.T @ h]


BACKPROPAGATE = Exercise(
    id="1.4-backpropagate",
    points=3,
    claims=("S26",),
    level="core",
    minutes=25,
    cases=_networks,
    reference=_autograd,
    mistakes=(
        Mistake(
            "slope forgotten",
            lambda x, y, w1, w2: _by_hand(x, y, w1, w2, lambda z, h: 1.0, len(x)),
            "On its way to the first layer the gradient has to pass tanh. Multiply by its slope, unit by unit.",
            belief="A gradient goes back through the weights alone.",
        ),
        Mistake(
            "slope at the output",
            lambda x, y, w1, w2: _by_hand(x, y, w1, w2, lambda z, h: 1 - torch.tanh(h) ** 2, len(x)),
            "The slope of tanh belongs at its input z. You took it at its output h: there it is 1 − tanh(h)², and you "
            "need 1 − tanh(z)², which is 1 − h².",
        ),
        Mistake(
            "mean over the batch forgotten",
            lambda x, y, w1, w2: _by_hand(x, y, w1, w2, lambda z, h: 1 - h**2, 1),
            "The loss is a mean over the examples. Your gradient is a sum over them: divide by the size of the batch.",
        ),
        Mistake(
            "last layer first",
            lambda x, y, w1, w2: _by_hand(x, y, w1, w2, lambda z, h: 1 - h**2, len(x))[::-1],
            "Both gradients are right, but in the order in which you found them. Return the first layer's first.",
        ),
        Mistake(
            "half forgotten",
            lambda x, y, w1, w2: [2 * g for g in _by_hand(x, y, w1, w2, lambda z, h: 1 - h**2, len(x))],
            "Twice too large. The loss carries a factor 1/2, which cancels the 2 of the square.",
        ),
    ),
)

check = Lab("01-gradient-descent", (STEP, FUSED_STEP, LARGEST_STEP, BACKPROPAGATE), after=("book/optimization",))
