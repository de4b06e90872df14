"""Changes of a right answer that leave it right, and why. The labels are those of ``tests.helpers.mutants``."""

POSITIVE = "what it stands for is never below 0, or only its square or its size counts"
SIZE = "a whole number, or a number that is never on that side of 1"
NUMBERS = "numbers, texts and functions are given: nothing of them can be written over"
SAME = "the same by arithmetic"
FINE = "a finer or coarser grid, within what the text allows"
ORDER = "the order does not matter here"
WHOLE = "the answer is a whole number, or yes or no"
SHARE = "a share is never above 1"
LIMIT = "the limit itself decides nothing: no try can meet it, or both sides agree there"


def _all(reason: str, *labels: str) -> dict[str, str]:
    return dict.fromkeys(labels, reason)


ABS = "answer absolute"
WRITTEN = "everything that was given set to 0"

EQUIVALENT: dict[str, dict[str, str]] = {
    "1.1-step": _all(POSITIVE, "argument 3 absolute"),
    "1.2-fused_step": _all(POSITIVE, "argument 3 absolute"),
    "1.3-largest_step": _all(POSITIVE, ABS),
    "2.1-steepest": _all(FINE, "1001 becomes 1002", "1001 becomes 1000") | {WRITTEN: NUMBERS},
    "2.2-gradient_norms": _all(POSITIVE, "argument 3 absolute", ABS),
    "2.3-decay_factor": _all(POSITIVE, "argument 2 absolute", "argument 3 absolute", ABS) | {WRITTEN: NUMBERS},
    "2.4-deepest": _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS)
    | _all(SHARE, "argument 1 held below 1", "argument 2 held below 1")
    | {"answer rounded": WHOLE, WRITTEN: NUMBERS},
    "3.1-critical_scale": _all(POSITIVE, "argument 2 absolute", "argument 3 absolute", ABS)
    | _all(LIMIT, "factor(middle) < 1 becomes factor(middle) <= 1")
    | _all(SAME, "high - low > 0.0001 * high becomes high - low >= 0.0001 * high")
    | _all("the answer still lies between the bounds", "argument 2 held below 1", "argument 2 rounded")
    | _all("the answer still lies between the bounds", "argument 3 rounded", "argument 3 held above 0.1")
    | _all("a wider interval that has the answer in it finds the same", "argument 3 not looked at")
    | _all(FINE, "0.0001 becomes 5e-05")
    | {WRITTEN: NUMBERS},
    "3.2-overflow_layer": _all(
        LIMIT, "largest < torch.finfo(torch.float32).max becomes largest <= torch.finfo(torch.float32).max"
    )
    | _all(POSITIVE, "argument 2 absolute", "argument 3 absolute", "argument 4 absolute", ABS)
    | _all(SIZE, "argument 2 held above 0.1", "argument 4 held above 0.1")
    | {"answer rounded": WHOLE, WRITTEN: NUMBERS},
    "3.3-diverges": _all(LIMIT, "learning_rate * steepest > 2 becomes learning_rate * steepest >= 2")
    | _all(POSITIVE, "argument 1 absolute")
    | _all(
        "the gradient plays no part: that is the exercise",
        *(
            f"argument 3 {how}"
            for how in ("absolute", "half of it", "without its last", "without its first", "backwards", "not looked at")
        ),
    )
    | _all(WHOLE, "answer squared", "answer root", "answer rounded", "answer at most 1", ABS),
    "3.4-monitor": _all(
        SAME,
        "parameter.grad.double().square().sum().item() becomes parameter.grad.double().square().sum()",
        "loop over (layer.parameters())[::-1]",
    )
    | {ABS: POSITIVE},
    "4.1-against_guessing": _all(
        SAME,
        "torch.bincount(labels).double() becomes torch.bincount(labels)",
        "losses[-20:].double() becomes losses[-20:]",
    )
    | _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS)
    | _all(ORDER, "argument 2 backwards"),
    "4.2-blocked_at": _all(
        "a comparison with 0/0 is False",
        "above > 0 and norms[layer] / above < share becomes norms[layer] / above < share",
        "above > 0 becomes above >= 0",
        "0 becomes -1",
    )
    | _all(LIMIT, "norms[layer] / above < share becomes norms[layer] / above <= share")
    | _all(ORDER, "loop over (range(len(norms) - 1))[::-1]")
    | _all(POSITIVE, "argument 1 absolute", ABS)
    | {"answer rounded": WHOLE},
    "4.3-which_fault": _all(POSITIVE, *(f"argument {n} absolute" for n in range(1, 6)), ABS)
    | _all(
        "no limit of the table lies beyond, or between",
        *(f"argument {n} held {side}" for n in (1, 3, 4) for side in ("below 1", "above 0.1")),
        "argument 5 held below 1",
    )
    | _all("what is dead at the end is no cause", "argument 4 rounded", "argument 4 not looked at")
    | {"answer rounded": WHOLE, WRITTEN: NUMBERS},
    "4.4-macro_f1": _all(ORDER, "loop over (truth.unique())[::-1]")
    | _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS)
    | _all(SHARE, "answer at most 1"),
    "5.1-start_std": _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS)
    | _all(SIZE, "argument 1 held above 0.1", "argument 2 held above 0.1")
    | {WRITTEN: NUMBERS},
    "5.2-critical_gain": _all(
        FINE, "8 becomes 9", "8 becomes 7", "8 becomes 4.0", "20001 becomes 20002", "20001 becomes 20000"
    )
    | {ABS: POSITIVE, "answer rounded": FINE, WRITTEN: NUMBERS},
    "5.3-dead_share": _all(ORDER, "argument 2 backwards") | _all(SHARE, "answer at most 1") | {ABS: POSITIVE},
    "5.4-stretched": _all("torch.eye(len) has as many rows for any of the equal sizes", "0 becomes -1")
    | {ABS: POSITIVE},
    "6.1-normalized": _all("a square", "z - mean becomes mean - z") | _all(POSITIVE, "argument 4 absolute"),
    "6.2-evaluated": _all(POSITIVE, "argument 3 absolute", "argument 4 absolute")
    | _all(SHARE, "argument 3 held below 1", "argument 4 held below 1"),
    "6.3-norm_factor": _all(
        FINE,
        "8 becomes 9",
        "8 becomes 7",
        "8 becomes 4.0",
        "20001 becomes 20002",
        "20001 becomes 20000",
        "answer rounded",
    )
    | _all(SAME, "value.detach() becomes value", "z.detach() becomes z", "without value = value.detach()")
    | {ABS: POSITIVE, WRITTEN: NUMBERS},
    "7.3-growth": _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", "argument 3 absolute", ABS)
    | _all("the branches of the tries are never so weak", "argument 1 held above 0.1")
    | {WRITTEN: NUMBERS},
    "7.4-scale": _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", "argument 3 absolute", ABS)
    | _all(SIZE, "argument 2 held above 0.1", "argument 3 held above 0.1")
    | _all("the branches of the tries are never so weak", "argument 1 held above 0.1")
    | {WRITTEN: NUMBERS},
    "8.3-remembered": _all(POSITIVE, "argument 2 absolute", ABS)
    | _all(SHARE, "argument 2 held below 1")
    | {WRITTEN: NUMBERS},
    "8.4-scaled": _all(POSITIVE, "argument 2 absolute") | _all("the radii are larger", "argument 2 held above 0.1"),
    "9.1-clipped": _all(
        SAME,
        "sum((gradient.square().sum() for gradient in gradients)).sqrt().item() becomes "
        "sum((gradient.square().sum() for gradient in gradients)).sqrt()",
    )
    | _all(LIMIT, "norm > threshold becomes norm >= threshold")
    | _all(POSITIVE, "argument 2 absolute"),
    "9.2-trained": _all(
        "what is written into is a copy, and what is returned are its numbers",
        "start.clone() becomes start",
        "w.detach() becomes w",
    )
    | _all(ORDER, "loop over (range(steps))[::-1]")
    | _all(POSITIVE, "argument 3 absolute", "argument 4 absolute", "argument 5 absolute")
    | _all(SIZE, "argument 5 held above 0.1"),
    "9.3-threshold": _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS)
    | _all(ORDER, "argument 1 backwards")
    | _all(SHARE, "argument 2 held below 1"),
    "9.4-kept_direction": _all(SAME, "gradient @ cut becomes cut @ gradient")
    | _all("both vectors are changed alike", "argument 1 absolute", "argument 1 backwards")
    | _all(POSITIVE, "argument 2 absolute", ABS)
    | _all(SHARE, "answer at most 1"),
    "10.2-first_symptom": _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS) | {"answer rounded": WHOLE},
    "10.3-next_repair": _all(
        SAME,
        "(dead >= 0.9).nonzero().flatten() becomes (dead >= 0.9).nonzero()",
        "int(silent[0]) becomes silent[0]",
    )
    | _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", "argument 3 absolute", ABS)
    | _all(ORDER, "argument 3 backwards"),
    "10.4-proof": _all("the largest sum is the largest mean", "validation.mean(1) becomes validation.sum(1)")
    | _all(POSITIVE, *(f"argument {n} absolute" for n in range(1, 5)))
    | _all("Student's quantile is never below 1.96", "argument 4 held above 0.1")
    | _all(SHARE, "answer at most 1"),
    "11.1-outputs": _all(
        "the model is not called again: whether hooks stay on it, 11.2 asks",
        "handle.remove() becomes handle",
        "without for handle in handles:",
        "without handle.remove()",
        "loop over (handles)[1:]",
        "loop over (handles)[:-1]",
    )
    | _all(SAME, "output.double().square().sum().item() becomes output.double().square().sum()")
    | _all(ORDER, "loop over (handles)[::-1]", "argument 2 backwards")
    | {ABS: POSITIVE, "answer mean of it": "each part of a row is one number, and that is its mean"},
    "11.2-gradients": _all(SAME, "gradient.double().square().sum().item() becomes gradient.double().square().sum()")
    | _all(ORDER, "loop over (handles)[::-1]")
    | _all(POSITIVE, "argument 3 absolute", ABS)
    | _all(SIZE, "argument 3 held above 0.1"),
    "11.3-updates": _all(
        SAME,
        "(p.detach().double() - was.double()).square().sum().item() becomes "
        "(p.detach().double() - was.double()).square().sum()",
        "was.double().square().sum().item() becomes was.double().square().sum()",
        "p.detach() becomes p",
    )
    | _all("a square", "p.detach().double() - was.double() becomes was.double() - p.detach().double()")
    | _all("the other of the two is of double precision", "p.detach().double() becomes p.detach()")
    | _all("the other of the two is of double precision", "was.double() becomes was")
    | _all(ORDER, "loop over (zip(layer.parameters(recurse=False), old))[::-1]")
    | {ABS: POSITIVE},
    "11.4-cut_off": _all("the layer itself has less than is enough", "layer - 1 becomes layer", "1 becomes 0")
    | _all(ORDER, "loop over (norms[:layer - 1])[::-1]")
    | _all(POSITIVE, "argument 1 absolute", "argument 2 absolute", ABS)
    | _all(SHARE, "argument 2 held below 1")
    | {"answer rounded": WHOLE},
}
