"""Sentences of the book that say never, always, cannot, any, only or must without a mark, and why they may.

For each page: a piece of the sentence, and the reason.
"""

MERELY = "only in the sense of no more than, about what the page shows"
MANUAL = "it says what a command does, and a test of that command holds it to its word"
ADVICE = "advice, not a statement"
PRINTED = "the page prints the number beside it"
QUESTION = "a question, and its answer follows"
DEFINITION = "what the word means here"
BY_FORM = "it follows from the form of the formula or the code that stands there"

ABSOLUTE: dict[str, dict[str, str]] = {
    "book/identification/tools": {
        "knows only how frequent each answer is": DEFINITION,
        "only its learning rate is too small": "tests/course/test_audit.py trains both",
        "in ReLU units that are never on": DEFINITION,
        "Only the small numbers": PRINTED,
        "`write` never overwrites one": MANUAL,
        "cannot reach the ports": "how a hosted machine is set up",
        "not only those it has reached": MERELY,
        "can be known only from a copy of the weights": BY_FORM,
        "Only the numbers below them": PRINTED,
        "never more than {glue:text}`none-saturated`": PRINTED,
        "Never judge by one number": ADVICE,
    },
    "book/identification/not-the-gradient": {
        "the loss cannot go below": BY_FORM,
        "has learnt nothing about any": DEFINITION,
        "gradients never cleared": "the name of a run",
        "many a NaN comes without any growth": PRINTED,
        "with a smaller rate only more slowly": "both roots of r^2 - (2 - rate * curvature) r + 1 have length 1",
        "Only then:": ADVICE,
    },
    "book/identification/mystery-runs": {
        "A small gradient is a fault only where": DEFINITION,
        "before any update": DEFINITION,
        "They are a fault only where": DEFINITION,
        "A run counts only if": "how the benchmark chooses",
        "must fail": "how the benchmark chooses",
        "is never exactly 0": PRINTED,
    },
    "book/identification/half-precision": {
        "and only 8 bits of precision": MERELY,
        "It counts only what is lost *at* a layer": DEFINITION,
        "no layer of any network is further": PRINTED,
        "only about four networks in five": PRINTED,
        "Must the learning rate be smaller?": QUESTION,
        "A norm shows only that": BY_FORM,
    },
    "book/remedies/batch-normalization": {
        "that never learnt before": PRINTED,
        "that shift never harms": "it says what was not shown",
    },
    "book/remedies/skip-connections": {
        "What if a layer only adds": QUESTION,
        "ReLU is never negative": DEFINITION,
        "So it cannot explode any more?": QUESTION,
        "if it only found the way": MERELY,
        "Why is the branch never used?": QUESTION,
        "not only at the gradient": ADVICE,
    },
    "book/remedies/gated-recurrence": {
        "survive fifty steps before any training?": QUESTION,
        "Must the gradient explode?": QUESTION,
        "must it vanish below 1?": QUESTION,
    },
    "book/remedies/clipping": {"where only a part of the gradient is lost": DEFINITION},
    "book/audit": {"The factor of batch normalisation is never below 1": "the heading of a claim that is measured"},
    "book/teaching": dict.fromkeys(
        (
            "A wrong answer never stops the notebook",
            "an older archive never replaces newer work",
            "Canvas says only who is late",
            "For your eyes only",
            "a function that never came to an end",
            "Right answers get their marks in any case",
            "Run any of these again",
            "Only new or changed work is marked",
            "only where the work has changed since",
            "the grader never runs what a learner wrote",
            "the container must allow processes",
            "where only you can log in",
            "It never touches the public site",
            "What they cannot do is get marks for them unread",
        ),
        MANUAL,
    ),
    "book/reference/glossary": {"and only 8 bits of precision": MERELY},
    "book/reference/your-own-model": {
        "It holds numbers and names only": "tests/tool/test_record.py",
        "`quiet` only turns off": MERELY,
        "The recorder only reads": "tests/tool/test_recorder.py compares the weights bit for bit",
        "only when you must": ADVICE,
        "and only that": ADVICE,
    },
    "book/reference/api": {"can never rest on the measurement": "tests/test_layers.py"},
}
