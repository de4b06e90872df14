"""Lab 10: what was first, one repair at a time, a network rescued, and a proof that holds for the next seed too."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradclinic.course.data import Dataset, digits
from gradclinic.course.exercises.draws import seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case, Exercise, Mistake
from gradclinic.course.exercises.lab import Criterion, Essay, Lab
from gradclinic.course.exercises.patients import DEPTH, WIDTH, first_steps, linear_layers, patient, time_lines
from gradclinic.course.models import MLP
from gradclinic.course.training import accuracy, fit
from gradclinic.rules.limits import EXPLODES_ABOVE, MOSTLY, UPDATE_TOO_LARGE, VANISHES_BELOW

# --- 10.2: what was first --------------------------------------------------------------------------------------------


def _first(dead: Tensor, update: Tensor, how: str = "right") -> list[int]:
    """[step, layer, what]: 1 for dead units, 2 for an update too long; ``how`` is a usual way to look for it."""
    signs = {1: dead >= MOSTLY, 2: update > UPDATE_TOO_LARGE}
    if how == "updates first":
        signs = {2: signs[2], 1: signs[1]}
    places = [(step, what) for step in range(len(dead)) for what in signs]
    if how == "dead first":
        places.sort(key=lambda place: place[1])
    if how == "last step":
        places = [(step, what) for step, what in places if step == len(dead) - 1]
    for step, what in places:
        layers = signs[what][step].nonzero().flatten()
        if len(layers):
            layer = layers[-1 if how == "nearest the output" else 0]
            return [step, int(layer), what] if how == "from 0" else [step + 1, int(layer) + 1, what]
    return [0, 0, 0]


def _longest(dead: Tensor, update: Tensor) -> list[int]:
    step, layer = divmod(int(update.nan_to_num(0, 0).argmax()), update.shape[1])
    return [step + 1, layer + 1, 2]


FIRST_SYMPTOM = Exercise(
    id="10.2-first_symptom",
    tries=1,
    points=3,
    claims=("S13", "S15"),
    level="warm-up",
    cases=time_lines,
    reference=_first,
    rtol=0.0,
    atol=1e-6,
    minutes=15,
    mistakes=(
        Mistake(
            "last state",
            partial(_first, how="last step"),
            "You looked at the last step. By then one fault has led to others. Go through the steps from the first.",
            belief="What is wrong at the end of a run is what went wrong.",
        ),
        Mistake(
            "counted from 0",
            partial(_first, how="from 0"),
            "One too few. The course counts steps and layers from 1; Python counts from 0.",
        ),
        Mistake(
            "dead units always the cause",
            partial(_first, how="dead first"),
            "You looked for dead units in the whole run before you looked at the updates. Steps that are too long kill "
            "units: whatever came first in time is the cause.",
        ),
        Mistake(
            "updates before dead units",
            partial(_first, how="updates first"),
            "In the same step you asked for the update first. Units are seen in the forward pass, the update comes at "
            "the end of the step: it cannot have caused them.",
        ),
        Mistake(
            "nearest the output",
            partial(_first, how="nearest the output"),
            "You named the layer nearest the output. The signal comes from the input: a layer that gives only zeros "
            "silences all that come after it.",
        ),
        Mistake(
            "longest update",
            _longest,
            "You named the longest update of the run. The first that is too long is the cause, and in some of the runs "
            "no update is.",
        ),
    ),
)


# --- 10.3: one repair at a time --------------------------------------------------------------------------------------

AIM = 5e-3  # what the longest first update should be, as a share of the weights


def _repair(dead: Tensor, gradient: Tensor, update: Tensor, how: str = "right") -> list[float]:
    """[layer whose biases go to 0, factor for all weights, factor for the learning rate]; 0, 1, 1 leave all alone."""
    found = (dead >= MOSTLY).nonzero().flatten()
    layer = (int(found[-1 if how == "nearest the output" else 0]) + (how != "from 0")) if len(found) else 0
    ratio = float(gradient[0] / gradient[-1])
    root = {"whole ratio": 1, "root of L": len(gradient)}.get(how, len(gradient) - 1)
    faulty = not VANISHES_BELOW <= ratio <= EXPLODES_ABOVE and ratio > 0
    weights = ratio ** (1 / root if how == "same way" else -1 / root) if faulty else 1.0
    longest = float(update.max())
    rate = AIM / longest if longest > UPDATE_TOO_LARGE else 1.0
    if how == "all at once":
        return [layer, weights, rate]
    if how == "rate before weights" and not layer and rate != 1:
        return [0, 1.0, rate]
    if layer or found.numel():
        return [layer, 1.0, 1.0]
    return [0, weights, 1.0] if weights != 1 else [0, 1.0, rate]


NEXT_REPAIR = Exercise(
    id="10.3-next_repair",
    tries=1,
    points=4,
    claims=("S2", "S22", "S23"),
    level="core",
    cases=first_steps,
    reference=_repair,
    rtol=1e-3,
    minutes=20,
    after=("10.2-first_symptom",),
    mistakes=(
        Mistake(
            "all at once",
            partial(_repair, how="all at once"),
            "You repair several things from one record. While the gradient fades or grows, the length of the updates "
            "says nothing about the learning rate. Make the first repair only, then record again.",
            belief="One record shows all faults of a network.",
        ),
        Mistake(
            "rate before weights",
            partial(_repair, how="rate before weights"),
            "You set the learning rate first. An update is compared with the weights, so it must wait until their size "
            "is right.",
            belief="The learning rate comes first.",
        ),
        Mistake(
            "root of the number of layers",
            partial(_repair, how="root of L"),
            "Nearly. From the last of L layers to the first the gradient passes L − 1 weight matrices, not L.",
        ),
        Mistake(
            "whole ratio in every layer",
            partial(_repair, how="whole ratio"),
            "You multiply every layer by the whole ratio. The factors multiply up: each layer gets its share, a root.",
        ),
        Mistake(
            "wrong way round",
            partial(_repair, how="same way"),
            "Your factor makes it worse: where the gradient fades the weights must grow, where it grows they must "
            "shrink.",
        ),
        Mistake(
            "nearest the output",
            partial(_repair, how="nearest the output"),
            "You mend the last silent layer. It is silent because one before it is: mend the one nearest the input.",
        ),
        Mistake(
            "counted from 0",
            partial(_repair, how="from 0"),
            "One too few: layers are counted from 1.",
        ),
    ),
)


# --- 10.1: rescued ---------------------------------------------------------------------------------------------------

ENOUGH = 0.75  # share of held-apart digits; guessing gets 0.1, a healthy network of this shape 0.8 to 0.95
GROWN = 4.0  # sigma_w: He starts at 1.41, and training moves it by a few per cent
SMALL = 0.8
SHIFTED = -1.0


def shown(seed: int) -> Dataset:
    """The digits of a seed, split afresh, with pixels and classes in another order each time.

    Otherwise a network that was trained once would read those of every patient.
    """
    data, generator = digits(seed), seeded(seed)
    pixels = torch.randperm(data.x_train.shape[1], generator=generator)
    classes = torch.randperm(10, generator=generator)
    return Dataset(data.x_train[:, pixels], classes[data.y_train], data.x_test[:, pixels], classes[data.y_test])


def _patients(seed: int) -> list[Case]:
    """One patient, its learning rate, and the digits to train on; ``_came_of`` holds the others apart."""
    data = shown(seed)
    return [(*patient(seed), data.x_train, data.y_train)]


def _rescued(
    model: MLP, learning_rate: float, x: Tensor, y: Tensor, left: str = "nothing", epochs: int = 8
) -> list[Tensor]:
    """Mend the network but for what is ``left``, train it, and return its parameters."""
    generator = seeded(0)
    with torch.no_grad():
        for layer in linear_layers(model):
            if left != "weights":
                nn.init.orthogonal_(layer.weight, math.sqrt(2), generator=generator)
            if left != "biases":
                layer.bias.zero_()
    if left != "training":
        optimizer = torch.optim.Adam(model.parameters(), learning_rate if left == "rate" else 3e-3)
        fit(model, Dataset(x, y, x[:1], y[:1]), optimizer, epochs, progress=False)
    return [parameter.detach() for parameter in model.parameters()]


def _came_of(answers: Sequence[Any], seed: int) -> list[int]:
    """0 where a network with these parameters reads digits that it was not trained on, else the number of a fault."""
    data, found = shown(seed), []
    for answer in answers:
        model = MLP(DEPTH, WIDTH, "relu")
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), answer, strict=True):
                parameter.copy_(torch.as_tensor(value))
        if accuracy(model, data.x_test, data.y_test) >= ENOUGH:
            found.append(0)
            continue
        hidden = linear_layers(model)[:-1]
        spread = np.median([(layer.weight.square().mean() * layer.in_features).sqrt().item() for layer in hidden])
        shift = min(layer.bias.median().item() for layer in hidden)
        found.append(1 if spread > GROWN else 2 if shift < SHIFTED else 3 if spread < SMALL else 4)
    return found


RESCUE = Exercise(
    id="10.1-rescue",
    tries=1,
    points=5,
    claims=("S1", "S17"),
    level="core",
    cases=_patients,
    reference=_rescued,
    outcome=_came_of,
    rtol=0.0,
    atol=1e-6,
    minutes=20,
    seconds=10,  # as the notebook says
    mistakes=(
        Mistake(
            "learning rate left",
            partial(_rescued, left="rate", epochs=1),
            "Your network has far larger weights than a start would give it: the steps were too long. Train with a "
            "smaller learning rate than the one it came with.",
        ),
        Mistake(
            "silent layer left",
            partial(_rescued, left="biases", epochs=1),
            "One layer still has biases so far below 0 that no unit of it ever answers. Look at the share of dead "
            "units, and set those biases to 0 before you train.",
        ),
        Mistake(
            "weights left small",
            partial(_rescued, left="weights", epochs=1),
            "Your weights are still far too small for 16 ReLU layers, and hardly any gradient comes through. Start "
            "from He's.",
        ),
        Mistake(
            "trained too little",
            partial(_rescued, left="training"),
            f"The three faults are mended, but the network reads fewer than {ENOUGH:.0%} of the digits held apart. "
            "Train it longer, and look at how its loss falls.",
        ),
    ),
)


# --- 10.4: the proof -------------------------------------------------------------------------------------------------


def _trials(seed: int) -> list[Case]:
    """Accuracies of two to six repairs over three to twelve seeds, on validation and on held-apart digits, those of a
    healthy reference, and the quantile of Student's t. Some seeds are hard for everyone."""
    from scipy.stats import t

    generator = seeded(seed)
    cases = []
    for seeds, repairs in ((6, 4), (whole(generator, 8, 12), 5), (whole(generator, 3, 4), 3), (5, 6), (7, 3)):
        hard = 0.06 * torch.rand(seeds, generator=generator, dtype=torch.float64)
        best = uniform(generator, 0.75, 0.93)

        def around(level: float, hard: Tensor = hard) -> Tensor:
            return level - hard + 0.004 * torch.randn(len(hard), generator=generator, dtype=torch.float64)

        lucky = around(best - 0.09)
        lucky[whole(generator, 0, seeds - 1)] = best + 0.055
        others = [uniform(generator, 0.3, best - 0.2) for _ in range(repairs - 3)]
        validation = torch.stack([around(best), around(best - 0.02), lucky, *map(around, others)])
        tested = torch.stack([around(best - 0.02), around(best + 0.01), around(best - 0.08), *map(around, others)])
        order = torch.randperm(repairs, generator=generator)
        if seeds == 6:  # the best is the last
            order = torch.cat([order[order != 0], order[order == 0]])
        reference = around(best - uniform(generator, -0.05, 0.03))
        cases.append((validation[order], tested[order], reference, float(t.ppf(0.975, seeds - 1))))
    return shuffled(generator, cases)


def _lower_end(validation: Tensor, held_apart: Tensor, reference: Tensor, t: float, how: str = "right") -> Tensor:
    """Of the 95 % interval of the paired difference, chosen repair minus reference; ``how`` as a usual slip."""
    chosen = {
        "chosen by held-apart": held_apart.mean(1).argmax(),
        "lucky run": validation.max(1).values.argmax(),
    }.get(how, validation.mean(1).argmax())
    reached = (validation if how == "validation reported" else held_apart)[chosen]
    difference = reached - reference
    error = difference.std(correction=0 if how == "divided by n" else 1) / math.sqrt(len(reference))
    if how == "unpaired":
        error = ((reached.var() + reference.var()) / len(reference)).sqrt()
    if how == "spread":
        error = difference.std()
    if how == "mean":
        return difference.mean()
    return difference.mean() + (t if how == "upper end" else -t) * error


PROOF = Exercise(
    id="10.4-proof",
    points=4,
    claims=("S14",),
    level="stretch",
    cases=_trials,
    reference=_lower_end,
    minutes=20,
    mistakes=(
        Mistake(
            "chosen by the held-apart digits",
            partial(_lower_end, how="chosen by held-apart"),
            "You chose the repair that does best on the digits held apart. Then they are held apart no longer, and the "
            "best of several flatters itself. Choose by the validation accuracies.",
            belief="What does best on the test data is best.",
        ),
        Mistake(
            "chosen by one lucky run",
            partial(_lower_end, how="lucky run"),
            "You chose the repair with the best single run. Compare means over all seeds.",
            belief="One good run shows that a repair works.",
        ),
        Mistake(
            "validation accuracy reported",
            partial(_lower_end, how="validation reported"),
            "You compare the validation accuracies with the reference. They have done the choosing; the proof needs "
            "the digits held apart.",
        ),
        Mistake(
            "not paired",
            partial(_lower_end, how="unpaired"),
            "You took the spreads of the two apart. Both were run on the same seeds, some hard and some easy: take the "
            "difference seed by seed first.",
        ),
        Mistake(
            "spread instead of error",
            partial(_lower_end, how="spread"),
            "This is the spread of single runs. The mean of n runs is surer than one: divide by the root of n.",
        ),
        Mistake(
            "standard deviation divided by n",
            partial(_lower_end, how="divided by n"),
            "Nearly. A standard deviation from n numbers around their own mean is divided by n − 1.",
        ),
        Mistake(
            "no interval",
            partial(_lower_end, how="mean"),
            "This is the mean difference. How much would it vary with other seeds? Go down by t standard errors.",
        ),
        Mistake(
            "upper end",
            partial(_lower_end, how="upper end"),
            "This is the upper end, the most hopeful value. A proof has to hold at the lower one.",
        ),
    ),
)


# --- 10.5: the reasoning ---------------------------------------------------------------------------------------------

REASONING = Essay(
    id="10.5-reasoning",
    claims=("S13", "S25"),
    level="stretch",
    rubric=(
        Criterion(
            "The faults",
            2,
            "Names every fault, with its layers or its size, and nothing that is healthy.",
            "One is missing, or has no place or size.",
        ),
        Criterion(
            "The order",
            2,
            "Says which fault hid which, and why the record could not show the next one before the last was mended.",
            "The order is right, but the reason is missing.",
        ),
        Criterion(
            "The evidence",
            2,
            "Every fault rests on a number from the record that is compared with something: guessing, another layer, "
            "the size of the weights.",
            "Numbers stand alone, or come from the end of the run only.",
        ),
        Criterion(
            "The repair and the proof",
            2,
            "Says how each repair takes its cause away, and why the proof is fair: several seeds, the same for both, "
            "digits that chose nothing, and a repair that should not help does not.",
            "One of the two is well argued.",
        ),
    ),
)

check = Lab(
    "10-rescue",
    (RESCUE, FIRST_SYMPTOM, NEXT_REPAIR, PROOF),
    (REASONING,),
    after=("book/identification/mystery-runs", "book/remedies/choosing"),
)
