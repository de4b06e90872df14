"""Lab 04: does it learn, where does the gradient stop, which fault is it, and how good is a rule?"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from gradclinic.course.exercises.draws import new_seed, over_decades, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Lab
from gradclinic.course.models import MLP
from gradclinic.course.training import chance_loss
from gradclinic.recorder import probe
from gradclinic.rules import limits

# --- 4.1: compared with guessing -------------------------------------------------------------------------------------

RECENT = 20  # steps that count as recent


def _losses(generator: torch.Generator, steps: int, end: float) -> Tensor:
    """A noisy curve with spikes, and neighbours of the recent steps that would move the median if they were counted."""
    losses = torch.linspace(uniform(generator, 1.5, 4) * end, end, steps, dtype=torch.float64)
    losses *= 0.6 + 0.8 * torch.rand(steps, generator=generator, dtype=torch.float64)
    if steps > RECENT:
        losses[-1 - whole(generator, 1, 4)] *= 20
        losses[-1], losses[-RECENT] = 0.3 * end, 0.31 * end
        losses[:-RECENT] *= 1.5
    return losses


def _labels(generator: torch.Generator, kinds: Sequence[int], examples: int) -> Tensor:
    """Of these kinds, each of which occurs; the first is common."""
    shares = torch.rand(len(kinds), generator=generator) ** 2 + 0.05
    shares[0] += 1
    drawn = torch.multinomial(shares, examples, replacement=True, generator=generator)
    drawn[: len(kinds)] = torch.arange(len(kinds))
    return torch.tensor(kinds)[drawn[torch.randperm(examples, generator=generator)]]


def _curves(seed: int) -> list[Case]:
    """Long runs and short ones, falling and rising; classes of different sizes, some of whose numbers do not occur."""
    generator = seeded(seed)
    cases = []
    for kinds, end, steps in (
        ((0, 1, 2), 0.4, 200),
        ((0, 1, 2, 3, 4), 1.2, whole(generator, 300, 500)),
        ((2, 0, 5), 0.7, whole(generator, 30, 80)),
        ((3, 7), 0.5, RECENT + 1),
        (tuple(range(whole(generator, 8, 12))), 2.0, RECENT),
        ((1, 0), 0.6, whole(generator, 6, 9) * 2),
        ((0, 4, 1, 9), 0.6, whole(generator, 6, 9) * 2 + 1),
        ((0, 6), 0.9, whole(generator, 3, 9)),
    ):
        cases.append((_losses(generator, steps, end), _labels(generator, kinds, whole(generator, 40, 300))))
    losses, labels = _losses(generator, whole(generator, 60, 90), 0.2), _labels(generator, (0, 1, 2), 90)
    cases.append((losses.flip(0), labels))  # it gets worse
    return shuffled(generator, cases)


def _recent(losses: Tensor) -> Tensor:
    return losses[-RECENT:].quantile(0.5)


AGAINST_GUESSING = Exercise(
    id="4.1-against_guessing",
    points=2,
    claims=("S14",),
    level="warm-up",
    minutes=10,
    cases=_curves,
    reference=lambda losses, labels: _recent(losses) / chance_loss(labels),
    rtol=1e-3,
    mistakes=(
        Mistake(
            "compared with the first loss",
            lambda losses, labels: _recent(losses) / losses[0],
            "You divided by the first loss. A bad start makes any end look good. Divide by the loss of guessing.",
            belief="A loss that has fallen shows that something was learnt.",
        ),
        Mistake(
            "all classes taken as equally common",
            lambda losses, labels: _recent(losses) / math.log(int(labels.max()) + 1),
            "You divided by ln(number of classes). The best guess knows how common each class is: take the entropy of "
            "the shares of the labels.",
        ),
        Mistake(
            "mean instead of median",
            lambda losses, labels: losses[-RECENT:].mean() / chance_loss(labels),
            "One wild step has moved your mean. The median does not care.",
        ),
        Mistake(
            "lower of the two in the middle",
            lambda losses, labels: losses[-RECENT:].median() / chance_loss(labels),
            "Nearly. Of an even number of losses torch.median returns the lower of the two in the middle. Take the "
            "mean of both.",
        ),
        Mistake(
            "last loss only",
            lambda losses, labels: losses[-1] / chance_loss(labels),
            f"One batch is noise. Take the median of the last {RECENT} steps.",
        ),
        Mistake(
            "entropy in bits",
            lambda losses, labels: _recent(losses) / (chance_loss(labels) / math.log(2)),
            "Your entropy is in bits. cross_entropy counts in nats: use the natural logarithm.",
        ),
    ),
)


# --- 4.2: where the gradient stops -----------------------------------------------------------------------------------


def blocked_network(generator: torch.Generator, activation: str, bias: float, number: int) -> Tensor:
    """Gradient norms of a real network in which one layer lets little or nothing through."""
    model = MLP(9, 24, activation, 0.6, seed=new_seed(generator))
    with torch.no_grad():
        for n in range(number, 10):  # above a dead layer only biases keep units alive
            getattr(model, f"layer{n}").bias.fill_(bias if n == number else 0.1)
    x, y = torch.randn(32, 64, generator=generator), torch.randint(10, (32,), generator=generator)
    return torch.from_numpy(probe(model, x, y).output_gradient_norm[0, :-1].copy())  # without the read-out


def _made(generator: torch.Generator, layers: int, number: int, last: float, lost: float = 1e-4) -> Tensor:
    """Norms from the last layer's back to the first's: shares between a fifth and two, and at one layer ``lost``."""
    norms = [last]
    for n in range(layers - 1, 0, -1):
        norms.insert(0, norms[0] * (lost if n == number else over_decades(generator, 0.2, 2)))
    return torch.tensor(norms, dtype=torch.float64)


def _blocked(seed: int) -> list[Case]:
    """Real networks, and norms of any size: the first layer starves, the last but one, or one far below 1e-12."""
    generator = seeded(seed)
    # from 3, so that the layer with the smallest gradient, the first, is not the one below it
    found = [
        blocked_network(generator, activation, bias, whole(generator, 3, 5))
        for activation, bias in (("tanh", 2.0), ("relu", -20.0), ("tanh", 3.0))
    ]
    for lost in (1e-4, 0.0):
        layers = whole(generator, 5, 9)
        numbers = (1, layers - 1, whole(generator, 2, layers - 2))
        found += [_made(generator, layers, number, over_decades(generator, 0.01, 10), lost) for number in numbers]
    layers = whole(generator, 6, 9)
    found.append(_made(generator, layers, whole(generator, 2, layers - 2), 1e-13, 1e-3))  # a vanishing gradient
    for size in (1e-18, 1e-21, 1e-25):
        found.append(_made(generator, layers, whole(generator, 2, layers - 2), size, 0.02))
    found.append(_made(generator, layers, whole(generator, 2, layers - 2), 1e12, 0.1))
    found.append(_made(generator, 2, 1, 1.0, uniform(generator, 1.1, 2)))  # of one share, that is the smallest
    # towards the output two shares are small, and below them one is smaller still
    layers = whole(generator, 7, 9)
    several = _made(generator, layers, whole(generator, 2, layers - 4), 10.0, 1e-7)
    several[:-1] *= 0.3
    several[:-2] *= 0.008
    found.append(several)
    # everything grows on its way back, but somewhere less
    grows = torch.logspace(layers, 0, layers, dtype=torch.float64)
    grows[: whole(generator, 2, layers - 1)] *= 0.4
    found.append(grows)
    return [(norms,) for norms in shuffled(generator, found)]


def _weakest(norms: Tensor) -> int:
    """The layer at whose output least is left of the gradient that the next one had."""
    norms = norms.double()
    kept = torch.where(norms[1:] > 0, norms[:-1] / norms[1:], torch.inf)
    return int(kept.argmin()) + 1


BLOCKED_AT = Exercise(
    id="4.2-blocked_at",
    points=3,
    claims=("S15",),
    level="core",
    minutes=15,
    after=("2.2-gradient_norms",),
    cases=_blocked,
    reference=_weakest,
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "counted from 0",
            lambda norms: _weakest(norms) - 1,
            "One too few. The course numbers layers from 1, at the input; Python counts from 0.",
        ),
        Mistake(
            "the layer above",
            lambda norms: _weakest(norms) + 1,
            "One too many. That layer still has its gradient. Asked for is the one that receives so little.",
        ),
        Mistake(
            "smallest gradient",
            lambda norms: int(norms.argmin()) + 1,
            "That layer has the smallest gradient, but what starves it lies above. Compare each layer with its "
            "neighbour towards the output.",
            belief="The layer with the smallest gradient is the one at fault.",
        ),
        Mistake(
            "nothing from nothing",
            lambda norms: int((norms[:-1] / norms[1:]).nan_to_num(0.0).argmin()) + 1,
            "Between two layers whose norms are both 0 nothing is lost. You took 0/0 for the smallest share.",
        ),
        Mistake(
            "differences instead of ratios",
            lambda norms: int((norms[1:] - norms[:-1]).argmax()) + 1,
            "You looked for the largest difference. Where all numbers are small a difference says little: look for "
            "the smallest ratio.",
        ),
    ),
)


# --- 4.3: five faults and none ---------------------------------------------------------------------------------------

KINDS = ("healthy", "vanishing", "exploding", "dying ReLU", "learning rate too high", "learning rate too low")


def _summaries(seed: int) -> list[Case]:
    """Runs as five numbers: recent loss over guessing; first over last gradient, and share of dead units, both before
    the first update; share of dead units at the end; largest of the first ten update ratios."""
    generator = seeded(seed)

    def between(low: float, high: float) -> float:
        return low * (high / low) ** torch.rand((), generator=generator, dtype=torch.float64).item()

    def stuck() -> float:
        return between(0.97, 1.1)

    found = [
        (between(0.01, 0.5), between(0.5, 2), 0.0, 0.0, between(1e-3, 1e-2)),  # healthy
        (between(0.01, 0.5), between(1e-7, 1e-5), 0.0, 0.1, between(1e-3, 1e-2)),  # healthy, one tiny layer at first
        (between(0.01, 0.5), between(0.5, 2), between(0.92, 0.97), 0.95, between(1e-3, 1e-2)),  # many dead, healthy
        (between(0.01, 0.5), between(0.5, 2), 0.0, 0.0, between(0.3, 0.6)),  # long steps, and healthy
        (stuck(), between(1e-9, 1e-5), 0.0, 0.0, between(1e-3, 1e-2)),  # vanishing
        (stuck(), between(1e-9, 1e-5), 0.0, 0.0, between(1e-8, 1e-6)),  # vanishing; so the steps are short as well
        (stuck(), between(1e3, 1e6), 0.0, 0.0, between(1e-3, 1e-2)),  # exploding
        (stuck(), between(1e3, 1e6), 0.0, 1.0, between(0.5, 1)),  # exploding; long steps and dead units follow
        (stuck(), 0.0, 1.0, 1.0, between(1e-4, 1e-3)),  # dying: nothing passes a dead layer
        (stuck(), between(1.2, 4), 0.0, 1.0, between(0.5, 1)),  # too high; dead units follow
        (stuck(), between(0.5, 2), 0.0, 0.0, between(0.5, 1)),  # too high
        (stuck(), between(0.5, 2), 0.0, 0.0, between(1e-8, 1e-6)),  # too low
        # several signs at once, in the order in which they count
        (stuck(), between(1e-7, 1e-4), between(0.91, 1), 1.0, between(1e-3, 1e-2)),  # dying, a little comes through
        (stuck(), between(0.5, 50), between(0.91, 1), 1.0, between(0.5, 1)),  # dying, and long steps
        (stuck(), between(1e3, 1e6), between(0.91, 1), 1.0, between(1e-8, 1e-5)),  # exploding, and dying
        (stuck(), between(1e-7, 1e-4), 0.1, 0.2, between(0.3, 0.6)),  # vanishing, and long steps
        (stuck(), between(1e-7, 1e-4), 0.1, 1.0, between(0.3, 0.6)),
        (stuck(), 0.0, 0.0, 0.0, between(1e-8, 1e-6)),  # so small that it is 0, with no unit dead
        (stuck(), between(0.5, 2), 0.3, 1.0, between(1e-3, 1e-2)),  # units died later, of none of these
        (stuck(), between(0.5, 2), 0.0, 0.0, between(1e-3, 1e-2)),  # nothing fits
        (stuck(), between(2, 50), 0.5, 0.6, between(1e-3, 1e-2)),
        (between(2, 20), between(0.5, 2), 0.0, 0.3, between(0.3, 0.8)),  # too high, and the loss rises
    ]
    found += _on_limits(between)
    return shuffled(generator, found)


def _on_limits(between: Callable[[float, float], float]) -> list[Case]:
    """A number that stands on a limit of the table, or just beside it; all else is unsuspicious."""
    fine = {"loss": 1.0, "gradient": 1.0, "dead_first": 0.0, "dead_last": 0.0, "update": 0.01}
    places = (
        ("loss", limits.LEARNS_BELOW),
        ("gradient", limits.EXPLODES_ABOVE),
        ("gradient", limits.VANISHES_BELOW),
        ("dead_first", limits.MOSTLY),
        ("update", limits.UPDATE_TOO_LARGE),
        ("update", limits.UPDATE_TOO_SMALL),
    )
    cases = []
    for name, limit in places:
        for value in (limit * between(0.992, 0.999), limit, limit * between(1.001, 1.008)):
            run = fine | {"gradient": between(0.5, 2), "update": between(5e-3, 0.05), name: value}
            if name == "loss":  # healthy or not, something else is there to see
                run |= {"update": between(0.5, 1)}
            if name == "dead_first":
                run |= {"dead_last": value}
            cases.append(tuple(run.values()))
    return cases


def _which(
    loss: float,
    gradient: float,
    dead_first: float,
    dead_last: float,
    update: float,
    order: str,
    explodes: float = limits.EXPLODES_ABOVE,
) -> int:
    """Index in ``KINDS``. ``order`` says what is asked, and what first: does it l(earn), does the gradient g(row) or
    f(ade), are units d(ead) at first or at the e(nd), how large are the u(pdates)?"""
    for question in order:
        if question == "l" and loss < limits.LEARNS_BELOW:
            return 0
        if question == "g" and gradient > explodes:
            return 2
        if question == "d" and dead_first >= limits.MOSTLY:
            return 3
        if question == "e" and dead_last >= limits.MOSTLY:
            return 3
        if question == "f" and gradient < limits.VANISHES_BELOW:
            return 1
        if question == "u" and update > limits.UPDATE_TOO_LARGE:
            return 4
        if question == "u" and update < limits.UPDATE_TOO_SMALL:
            return 5
    return 0


WHICH_FAULT = Exercise(
    id="4.3-which_fault",
    points=4,
    claims=("S13", "S29"),
    level="core",
    minutes=20,
    after=("4.1-against_guessing", "4.2-blocked_at"),
    cases=_summaries,
    reference=partial(_which, order="lgdfu"),
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "not asked whether it learns",
            partial(_which, order="gdfu"),
            "You call healthy runs ill. Ask first whether the run learns: dead units and small gradients are common in "
            "networks that do.",
            belief="Dead units, or a small gradient, mean that a run is ill.",
        ),
        Mistake(
            "late symptom taken for the cause",
            partial(_which, order="lgefu"),
            "Dead units at the end may be what long steps left behind. Only those that were dead before the first "
            "update are a cause.",
            belief="What is broken at the end is what broke first.",
        ),
        Mistake(
            "updates before the start",
            partial(_which, order="lugdf"),
            "You ask for the updates first. Their size depends on the gradient: where that vanishes or explodes, the "
            "steps follow it. Ask first what was wrong before any update.",
        ),
        Mistake(
            "vanishing before dead",
            partial(_which, order="lgfdu"),
            "Nothing passes a dead layer, so below it the gradient is 0 as well. Ask for dead units before you say "
            "vanishing.",
        ),
        Mistake(
            "order of the table",
            partial(_which, order="lfgeu"),
            "You ask in the order of the table, and for dead units at the end. A dead layer lets no gradient through, "
            "so ask for it before you say vanishing, and only for units that were dead before the first update.",
        ),
        Mistake(
            "gradient above 1 taken for exploding",
            partial(_which, order="lgdfu", explodes=1.0),
            f"A first layer with a little more gradient than the last is ordinary. Say exploding above "
            f"{limits.EXPLODES_ABOVE:g} times.",
        ),
    ),
)


# --- 4.4: how good is a rule? ----------------------------------------------------------------------------------------


def _verdicts(seed: int) -> list[Case]:
    """Two rows of numbers of kinds, what is true and what a rule said. Some kinds are never called so, or never hit,
    some are called and do not occur, and the numbers have gaps."""
    generator = seeded(seed)
    cases = []
    for kinds, runs in (
        ((0, 1, 2, 3), 60),
        ((0, 1, 2, 3, 4, 5), 90),
        ((0, 2, 5), whole(generator, 20, 50)),
        ((4, 1), whole(generator, 12, 30)),
        ((0, 1, 3, 7, 9), whole(generator, 40, 70)),
    ):
        truth = _labels(generator, kinds, runs)
        wrong = torch.rand(runs, generator=generator) < uniform(generator, 0.2, 0.4)
        said = torch.where(wrong, truth[torch.randperm(runs, generator=generator)], truth)
        if len(kinds) > 3:
            said[said == kinds[2]] = kinds[0]  # never called so
            swapped = (truth == kinds[3]).nonzero().flatten()
            said[said == kinds[3]] = kinds[0]
            said[(truth == kinds[0]).nonzero().flatten()[:2]] = kinds[3]  # called so, but wrongly
            said[swapped] = kinds[1]
        if len(kinds) in (3, 6):
            said[whole(generator, 0, runs - 1)] = 6  # a kind that does not occur
        cases.append((truth, said))
    one = torch.full((whole(generator, 3, 9),), whole(generator, 1, 4))
    some = one.clone()
    some[0] = 0
    cases += [(one, some), (torch.tensor([0, 2, 2]), torch.tensor([0, 2, 0]))]
    return shuffled(generator, cases)


def _counts(truth: Tensor, said: Tensor) -> list[tuple[int, int, int]]:
    """For each kind: rightly called so, called so, truly so."""
    return [
        (int(((truth == k) & (said == k)).sum()), int((said == k).sum()), int((truth == k).sum()))
        for k in truth.unique().tolist()
    ]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


MACRO_F1 = Exercise(
    id="4.4-macro_f1",
    points=3,
    claims=("S13",),
    level="stretch",
    minutes=15,
    after=("4.3-which_fault",),
    cases=_verdicts,
    reference=lambda truth, said: _mean([2 * hit / (told + real) for hit, told, real in _counts(truth, said)]),
    mistakes=(
        Mistake(
            "share of right answers",
            lambda truth, said: (truth == said).double().mean(),
            "This is the share of right answers. A rule that always says healthy does well by it. Score each kind by "
            "itself, then average.",
            belief="A test that is right most of the time is a good test.",
        ),
        Mistake(
            "recall",
            lambda truth, said: _mean([hit / real for hit, _, real in _counts(truth, said)]),
            "This is the recall: false alarms cost nothing. F1 counts those as well.",
        ),
        Mistake(
            "precision",
            lambda truth, said: _mean([hit / told if told else 0.0 for hit, told, _ in _counts(truth, said)]),
            "This is the precision: missed faults cost nothing. F1 counts those as well.",
        ),
        Mistake(
            "weighted by how common a kind is",
            lambda truth, said: sum(2 * h / (t + r) * r for h, t, r in _counts(truth, said)) / len(truth),
            "You gave common kinds more weight. Macro means that every kind counts the same.",
        ),
        Mistake(
            "factor 2 forgotten",
            lambda truth, said: _mean([hit / (told + real) for hit, told, real in _counts(truth, said)]),
            "Half of what it should be: F1 is twice the hits over the sum of called so and truly so.",
        ),
    ),
)

check = Lab(
    "04-identification",
    (AGAINST_GUESSING, BLOCKED_AT, WHICH_FAULT, MACRO_F1),
    after=("book/identification/vanishing", "book/identification/exploding", "book/identification/tools"),
)
