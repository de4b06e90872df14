"""Lab 11: an instrument of one's own: outputs, gradients and steps of any network, and the layer that is cut off."""

from functools import partial

import torch

from gradclinic.course.exercises.draws import seeded, whole
from gradclinic.course.exercises.exercise import Exercise, Mistake
from gradclinic.course.exercises.lab import Criterion, Essay, Lab
from gradclinic.course.exercises.programs import given, rows, stepped, trained
from gradclinic.course.exercises.watching import (
    by_entry,
    by_gradient,
    by_length,
    by_new_size,
    by_tensor,
    cut_off,
    gradients,
    in_single,
    mean_over_calls,
    moves,
    norm,
    rms,
    sizes,
    spread,
    starved,
    undefined,
    worst,
)
from gradclinic.course.models import ConvNet, Transformer

# --- the two networks that are given ---------------------------------------------------------------------------------


def convolutions(seed: int, ill: bool = True) -> ConvNet:
    """Ten convolutions with tanh. One of the layers 4 to 7 has biases of 4, where tanh is flat, if it is ill."""
    model = ConvNet(10, 16, "tanh", "xavier", seed=seed)
    if ill:
        number = whole(seeded(seed), 4, 7)
        with torch.no_grad():
            model.get_submodule(f"layer{number}").get_parameter("bias").fill_(4.0)
    return model


def blocks(seed: int, ill: bool = True, norm: str = "post") -> Transformer:
    """Three Transformer blocks. In one of them no ReLU lets anything through, if it is ill."""
    model = Transformer(3, norm=norm, seed=seed)
    if ill:
        number = whole(seeded(seed), 1, 3)
        with torch.no_grad():
            model.get_submodule(f"block{number}.up").get_parameter("bias").fill_(-20.0)
    return model


# --- 11.1: what the layers put out -----------------------------------------------------------------------------------


OUTPUTS = Exercise(
    id="11.1-outputs",
    points=3,
    claims=("S15",),
    level="warm-up",
    minutes=25,
    after=("2.2-gradient_norms",),
    cases=given,
    reference=sizes,
    atol=0.0,
    mistakes=(
        Mistake(
            "modules without modules",
            partial(sizes, leaves=True),
            "You took the modules that hold no other. Then ReLU is a layer, and torch's attention is none, because it "
            "holds one. A layer is what owns parameters: parameters(recurse=False) lists a module's own.",
        ),
        Mistake(
            "looked at when the pass was over",
            partial(sizes, late=True),
            "Right, but for a ReLU that works in place. It wrote into the tensor that you had kept, before you looked. "
            "Measure inside the hook.",
            belief="A tensor that a layer has put out stays as it was.",
        ),
        Mistake(
            "last call alone",
            partial(sizes, size=lambda outputs: rms(outputs[-1:])),
            "A layer that is called again overwrites what you kept of its first call. All that it put out counts.",
            belief="A layer is called once in a pass.",
        ),
        Mistake(
            "first call alone",
            partial(sizes, size=lambda outputs: rms(outputs[:1])),
            "Some layers are called several times, and you kept the first call alone. All that they put out counts.",
        ),
        Mistake(
            "mean over the calls",
            partial(sizes, size=mean_over_calls),
            "You took the mean of the calls' sizes. Add up squares and entries over all calls, and divide once.",
        ),
        Mistake(
            "order of definition",
            partial(sizes, order="defined"),
            "The sizes are right. But you numbered the layers as the model defines them. In which order they are "
            "called is up to its forward.",
            belief="Layers are called in the order in which a model defines them.",
        ),
        Mistake(
            "order in which they begin",
            partial(sizes, order="begun"),
            "Nearly. You number the layers as they begin. A module that holds others begins before them, and finishes "
            "after them: count when it finishes.",
        ),
        Mistake(
            "spread around the mean",
            partial(sizes, size=spread),
            "This is the standard deviation: the mean was taken off before squaring. The root mean square keeps it.",
        ),
        Mistake(
            "root forgotten",
            partial(sizes, size=lambda outputs: rms(outputs) ** 2),
            "This is the mean square. Take its root.",
        ),
        Mistake(
            "norm",
            partial(sizes, size=norm),
            "This is the norm, which grows with the number of entries. Divide the sum of squares by that number first.",
        ),
        Mistake(
            "squared in single precision",
            partial(sizes, size=partial(rms, single=True)),
            "The outputs fit into float32, their squares do not: 1e22 squared is inf, and 1e-25 squared is 0. Turn "
            "them into float64 first.",
        ),
        Mistake(
            "counted from 0",
            lambda model, x: [[place - 1, size] for place, size in sizes(model, x)],
            "One too few. The first layer to finish has the number 1, and 0 says that a layer was not called.",
        ),
        Mistake(
            "left out what is not called",
            lambda model, x: [row for row in sizes(model, x) if row[0]],
            "You have no row for a layer that is not called. It has parameters, so it gets a row: [0, 0].",
        ),
    ),
)


# --- 11.2: what comes back -------------------------------------------------------------------------------------------


GRADIENTS = Exercise(
    id="11.2-gradients",
    points=4,
    claims=("S15", "S18"),
    level="core",
    minutes=30,
    after=("11.1-outputs",),
    cases=trained,
    reference=gradients,
    atol=0.0,
    mistakes=(
        Mistake(
            "gradients of the parameters",
            partial(gradients, how="parameters"),
            "These are the gradients of the parameters. Asked for is the gradient at the layer's output: what comes "
            "back to it, before it is turned into those of its parameters.",
            belief="The gradient of a layer is the gradient of its weights.",
        ),
        Mistake(
            "gradients at the inputs",
            partial(gradients, how="inputs"),
            "You put the hook on what enters the layer. That is one step further back: put it on what leaves it.",
        ),
        Mistake(
            "hooks left on",
            partial(gradients, how="left on"),
            "Your hooks were still there in the passes after the one to be watched, and added what they saw. Each "
            "register_forward_hook gives a handle: call its remove() when the watched pass is over.",
            belief="A hook ends with the function that put it on.",
        ),
        Mistake(
            "all passes watched",
            partial(gradients, how="all"),
            "You added up the gradients of all passes. Have the hooks on during the watched one alone.",
        ),
        Mistake(
            "the watched pass alone was run",
            partial(gradients, how="alone"),
            "You ran the watched pass and none before it. Each pass changes the weights, so the training is another "
            "one: an instrument lets the program go its own way.",
        ),
        Mistake(
            "gradients cleared",
            partial(gradients, how="clears"),
            "You cleared the gradients before a pass. This program adds up two of them on purpose before it moves: "
            "whoever only watches leaves .grad alone.",
            belief="It does no harm to call zero_grad before backward.",
        ),
        Mistake(
            "kept by retain_grad",
            partial(gradients, how="kept"),
            "Right, but for a ReLU that works in place: retain_grad then keeps the gradient behind the ReLU. A hook "
            "that is put on the tensor when the layer is done sees the one in front of it.",
        ),
        Mistake(
            "last call to be seen",
            partial(gradients, size=lambda found: norm(found[-1:])),
            "A layer that is called several times gets several gradients, and you kept one. Add their squares.",
        ),
        Mistake(
            "sum of norms",
            partial(gradients, size=lambda found: sum(norm([gradient]) for gradient in found)),
            "You added the norms of the calls. Take all entries for one long vector: the squares add up.",
        ),
        Mistake(
            "root forgotten",
            partial(gradients, size=lambda found: norm(found) ** 2),
            "This is the sum of squares. The norm is its root.",
        ),
        Mistake(
            "root mean square",
            partial(gradients, size=lambda found: rms(found) if found else 0.0),
            "You divided by the number of entries. For gradients the norm is asked for, without it.",
        ),
        Mistake(
            "squared in single precision",
            partial(gradients, size=partial(norm, single=True)),
            "The gradients fit into float32, their squares do not. Turn them into float64 first.",
        ),
        Mistake(
            "counted from 0",
            lambda model, passes, watched: gradients(model, passes, watched + 1),
            "You watched the pass after the one asked for. Passes are counted from 1.",
        ),
    ),
)


# --- 11.3: how far the layers move -----------------------------------------------------------------------------------


UPDATES = Exercise(
    id="11.3-updates",
    points=3,
    claims=("S4", "S31"),
    level="core",
    minutes=20,
    after=("11.1-outputs",),
    cases=stepped,
    reference=moves,
    atol=0.0,
    mistakes=(
        Mistake(
            "two names for one tensor",
            partial(moves, size=lambda before, after: 0.0),
            "Nothing ever moves. An optimiser writes into the parameters, and what you kept is the same tensor by "
            "another name. Take a copy before the step, with clone().",
        ),
        Mistake(
            "learning rate times gradient",
            by_gradient,
            "Right for plain gradient descent. Adam and weight decay move parameters by something else than that: look "
            "at where they are, before and after.",
            belief="A step is the learning rate times the gradient.",
        ),
        Mistake(
            "divided by the size after the step",
            partial(moves, size=by_new_size),
            "Nearly. You divide by the length after the step. Asked for is that from which the layer set out.",
            credit=0.5,
        ),
        Mistake(
            "change of the length",
            partial(moves, size=by_length),
            "You compare two lengths. A vector can turn, and keep its length: take the length of the difference.",
        ),
        Mistake(
            "entry by entry",
            partial(moves, size=by_entry),
            "You took a ratio for each entry. One entry near 0 spoils the mean: take the two norms.",
        ),
        Mistake(
            "tensor by tensor",
            by_tensor,
            "You took a ratio for each tensor, and then their mean. A fresh bias is 0, and its ratio infinite. Take "
            "all of a layer's parameters for one vector.",
        ),
        Mistake(
            "biases left out",
            partial(moves, how="first"),
            "Your layers have a single tensor each. All parameters that a layer owns belong to its vector.",
        ),
        Mistake(
            "layers inside counted as well",
            partial(moves, how="nested"),
            "A module that holds others was given their parameters, too. parameters(recurse=False) lists its own.",
        ),
        Mistake(
            "two steps",
            partial(moves, how="twice"),
            "You ran the step twice, and the second counted as well. Once is what a watched program would do.",
        ),
        Mistake(
            "0/0",
            undefined,
            "Right, but for a layer of zeros that stays where it is. It did not move: its ratio is 0.",
        ),
        Mistake(
            "nothing from zero",
            lambda model, step: [0.0 if found == float("inf") else found for found in moves(model, step)],
            "Right, but for a layer of zeros that moves. Whatever its step, it is infinitely longer than 0: math.inf.",
        ),
        Mistake(
            "squared in single precision",
            partial(moves, size=in_single),
            "The parameters fit into float32, their squares do not. Turn them into float64 first.",
        ),
    ),
)


# --- 11.4: who is cut off --------------------------------------------------------------------------------------------


CUT_OFF = Exercise(
    id="11.4-cut_off",
    points=2,
    claims=("S10", "S18"),
    level="stretch",
    minutes=15,
    after=("4.2-blocked_at", "11.2-gradients"),
    cases=rows,
    reference=cut_off,
    rtol=0.0,
    atol=1e-6,
    mistakes=(
        Mistake(
            "from the input on",
            partial(cut_off, from_input=True),
            "You name the loss nearest the input. A gradient comes from the output: begin there, and stop at the "
            "first.",
        ),
        Mistake(
            "the worst one",
            worst,
            "You name the layer with the smallest share, as in lab 04. Asked for is the first one below the limit, "
            "coming from the output.",
        ),
        Mistake(
            "compared with the last layer",
            partial(
                cut_off,
                lost=lambda norms, place, share: bool(norms[place] < share * norms[-1]),
                others=lambda norms, place, share: int((norms[:place] >= share * norms[-1]).sum()),
            ),
            "You compare each layer with the last one. Then a gradient that fades a little in every layer looks as if "
            "one of them broke it. Compare with the next one towards the output.",
            belief="Where little of the gradient is left, it has just been lost.",
        ),
        Mistake(
            "reached compared with the layer itself",
            partial(cut_off, others=lambda norms, place, _: int((norms[:place] > norms[place]).sum())),
            "The layer is right. But those before it you compare with the starved one: a little more than almost "
            "nothing is not much. Compare with the layer behind it, as before.",
        ),
        Mistake(
            "all layers before it",
            partial(cut_off, others=lambda norms, place, share: place),
            "The layer is right. You count all that lie before it: count those that get the share of the layer behind "
            "it, or more.",
            belief="Behind a layer without a gradient no layer has one.",
        ),
        Mistake(
            "none before it",
            partial(cut_off, others=lambda norms, place, share: 0),
            "The layer is right. Look at those before it: where a skip connection goes round the layer, they have "
            "their gradient.",
        ),
        Mistake(
            "the share itself taken for a loss",
            partial(cut_off, lost=lambda norms, place, share: bool(norms[place] <= share * norms[place + 1] > 0)),
            "Right, but on the limit itself. Cut off is who has less than the share, not who has exactly that.",
        ),
        Mistake(
            "nothing from nothing",
            partial(
                cut_off,
                lost=lambda norms, place, share: starved(norms, place, share) or bool(norms[place] == 0),
            ),
            "Between two layers whose norms are both 0 nothing is lost. You take 0 of 0 for a loss.",
        ),
        Mistake(
            "counted from 0",
            lambda norms, share: [max(0, cut_off(norms, share)[0] - 1), cut_off(norms, share)[1]],
            "One too few. Layers are counted from 1, in the order of their calls; 0 says that none is cut off.",
        ),
        Mistake(
            "the layer behind it",
            lambda norms, share: [n + (n > 0 and not place) for place, n in enumerate(cut_off(norms, share))],
            "One too many. That layer still has its gradient. Asked for is the one that receives so little.",
        ),
    ),
)


# --- 11.5: a third program -------------------------------------------------------------------------------------------

REPORT = Essay(
    id="11.5-report",
    claims=("S13", "S15"),
    level="stretch",
    rubric=(
        Criterion(
            "The program",
            2,
            "Says what it is for, where it comes from, and what of it the instrument cannot see or would count "
            "otherwise: functions, modules called several times or not at all.",
            "Names the network, and not how its layers are called.",
        ),
        Criterion(
            "The numbers",
            2,
            "Names the layers with the smallest gradient and the longest update, each by a number that is compared "
            "with something: its neighbour, guessing, the size of the weights.",
            "Numbers stand alone, or only a figure is shown.",
        ),
        Criterion(
            "The verdict",
            2,
            "Says whether a fault is there, which loss or score it costs, and which other cause would show the same "
            "numbers.",
            "A verdict without its cost, or without an alternative.",
        ),
        Criterion(
            "The test",
            2,
            "Changes one thing, predicts before running what the record will show, runs it on more than one seed, and "
            "says what came of the prediction.",
            "One thing is changed, but nothing was predicted, or one run decides.",
        ),
    ),
)

check = Lab(
    "11-your-own-instrument",
    (OUTPUTS, GRADIENTS, UPDATES, CUT_OFF),
    (REPORT,),
    after=("book/backpropagation", "book/remedies/skip-connections"),
)
