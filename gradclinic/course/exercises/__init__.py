"""The exercises of the labs, each defined once.

One definition serves the friendly check in the notebook, the grader, the tests and the instructor's index. Answers
are judged from returned numbers alone, so that a mark never has to trust code in a learner's notebook.
"""

import copy
import functools
import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

Answer = object  # a number, a tensor, or nested lists and tuples of them


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer: what it is called, a function that makes it, and the hint that undoes it.

    ``belief`` is what somebody holds true who makes it, where it is more than a slip.
    """

    name: str
    function: Callable[..., Answer]
    hint: str
    belief: str = ""


@dataclass(frozen=True)
class Verdict:
    """status: "right", "wrong" or "blank". message: what to tell the learner. mistake: its name if recognised."""

    status: str
    message: str
    mistake: str | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        id: ``<lab number>.<exercise number>-<name>``; the part after the dash is what a check is called by.
        points: for the grader.
        claims: ids of the statements it exercises.
        level: "warm-up", "core" or "stretch".
        cases: seed -> the argument tuples it is tried on; the same seed gives the same cases in any process.
        reference: the package's own implementation.
        mistakes: the usual wrong answers.
        rtol, atol: how near an answer must be to the reference; both 0 asks for the same bits.
        outcome: for what many answers get right, such as a trained network: (answers, seed) -> what came of each. Then
            the outcomes are compared, and the answers themselves need only have the form of the reference's.
        minutes: what it takes, with its text and what follows it: the authors' estimate.
        after: ids of the exercises that it builds on.
    """

    id: str
    points: int
    claims: tuple[str, ...]
    level: str
    cases: Callable[[int], Sequence[tuple]]
    reference: Callable[..., Answer]
    mistakes: tuple[Mistake, ...]
    rtol: float = 1e-4
    atol: float = 1e-9
    outcome: Callable[[Sequence[Answer], int], list[Answer]] | None = None
    minutes: int = 0
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.id.partition("-")[2]

    def answers(self, function: Callable[..., Answer], seed: int) -> list[Answer]:
        """What ``function`` returns on each case of ``seed``; it gets copies, so it cannot change the case."""
        return [function(*copy.deepcopy(case)) for case in self.cases(seed)]

    def judge(self, answers: Sequence[Answer], seed: int) -> Verdict:
        """Compare returned answers with the reference and with the known mistakes.

        Args:
            answers: one per case of ``seed``: numbers, tensors, or (nested) lists of numbers, from any process.
            seed: which cases they answer.
        """
        expected, outcomes = _known(self, self.reference, seed)
        if len(answers) != len(expected):
            return Verdict("wrong", f"{len(expected)} answers were asked for, {len(answers)} given.")
        if any(answer is None for answer in answers):
            return Verdict("wrong", "Your function returned None. Does every path through it end in `return`?")
        if self.outcome is not None:
            problem = next((p for a, e in zip(answers, expected, strict=True) if (p := _malformed(a, e))), None)
            if problem is not None:
                return Verdict("wrong", problem)
            answers = self.outcome(answers, seed)
        problem = next((p for a, e in zip(answers, outcomes, strict=True) if (p := self._differs(a, e))), None)
        if problem is None:
            return Verdict("right", "Right.")
        for mistake in self.mistakes:
            _, made = _known(self, mistake.function, seed)
            if not any(self._differs(a, m) for a, m in zip(answers, made, strict=True)):
                return Verdict("wrong", mistake.hint, mistake.name)
        return Verdict("wrong", problem)

    def _differs(self, answer: Answer, expected: Answer) -> str | None:
        """None if the two agree within tolerance, else a sentence that says how they differ."""
        if problem := _malformed(answer, expected):
            return problem
        (_, got), (_, want) = _flat(answer), _flat(expected)
        near = torch.isclose(got, want, rtol=self.rtol, atol=self.atol, equal_nan=True)
        if not near.all():
            # two equal infinities differ by NaN, and would pass for the worst
            worst = int(torch.argmax(torch.where(near, -1.0, (got - want).abs().nan_to_num(math.inf, math.inf))))
            return f"Not yet: on one of the tries it gives {got[worst]:.6g} where {want[worst]:.6g} is right."
        return None

    def attempt(self, function: Callable[..., Answer], seed: int = 0) -> Verdict:
        """Run ``function`` on the cases of ``seed`` and judge it; whatever it raises becomes part of the verdict."""
        try:
            answers = self.answers(function, seed)
        except NotImplementedError:
            return Verdict("blank", "Not attempted yet.")
        except Exception as error:  # a learner's code may raise anything
            return Verdict("wrong", f"Your function stopped with {type(error).__name__}: {error}")
        return self.judge(answers, seed)


@functools.lru_cache(maxsize=256)
def _known(exercise: Exercise, function: Callable[..., Answer], seed: int) -> tuple[list[Answer], list[Answer]]:
    """The answers of the reference or of a usual mistake, and what is compared of them, once for a whole class."""
    answers = exercise.answers(function, seed)
    return answers, answers if exercise.outcome is None else exercise.outcome(answers, seed)


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric: what is looked at, its points, and what earns all of them or half."""

    name: str
    points: int
    full: str
    half: str


@dataclass(frozen=True)
class Essay:
    """What a learner writes in words and a person marks; ``id``, ``claims`` and ``level`` as of an ``Exercise``."""

    id: str
    claims: tuple[str, ...]
    level: str
    rubric: tuple[Criterion, ...]

    @property
    def name(self) -> str:
        return self.id.partition("-")[2]

    @property
    def points(self) -> int:
        return sum(criterion.points for criterion in self.rubric)


@dataclass(frozen=True)
class Lab:
    """The exercises of one lab, and its checks: ``lab.norms(gradient_norms)`` checks the exercise called norms.

    Attributes:
        name: as its folder is called.
        exercises: in their order.
        after: the pages to read first, as the table of contents names them.
        essays: are marked by a person, and have no check.
    """

    name: str
    exercises: tuple[Exercise, ...] = field(default_factory=tuple)
    essays: tuple[Essay, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def rubric(self) -> tuple[tuple[str, int, str], ...]:
        """What a person marks: (criterion, points, what full marks look like) each."""
        return tuple((c.name, c.points, c.full) for essay in self.essays for c in essay.rubric)

    def __getattr__(self, name: str) -> Callable[[Callable], None]:
        for exercise in object.__getattribute__(self, "exercises"):
            if exercise.name == name:
                return lambda function: _report(exercise, function)
        known = ", ".join(e.name for e in object.__getattribute__(self, "exercises"))
        raise AttributeError(f"no exercise is called {name!r} in this lab; there are {known}")


def labs() -> tuple[Lab, ...]:
    """All labs, in order: each module of this package defines one, called ``check``."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return tuple(sorted((module.check for module in modules), key=lambda lab: lab.name))


def _report(exercise: Exercise, function: Callable) -> None:
    """Print a tick, "not attempted yet" or a hint. Only nbgrader's own run is stopped by a wrong answer."""
    if not callable(function):
        verdict = Verdict("wrong", f"Pass the function itself, without calling it: got {_short(function)}.")
    else:
        verdict = exercise.attempt(function)
    mark = {"right": "✓", "wrong": "✗", "blank": "○"}[verdict.status]
    named = f" ({verdict.mistake})" if verdict.mistake else ""
    message = f"{mark} {exercise.name}{named}: {verdict.message}"
    if verdict.status != "right" and os.environ.get("NBGRADER_EXECUTION") in ("autograde", "validate"):
        raise AssertionError(message)
    print(message)


def _malformed(answer: Answer, expected: Answer) -> str | None:
    """None if the answer is made of finite numbers in the expected shape, else a sentence that says what it is."""
    got, want = _flat(answer), _flat(expected)
    if got is None:
        return f"Numbers were expected, but the answer is {_short(answer)}."
    (got_shape, got), (want_shape, want) = got, want
    if got_shape != want_shape:
        return f"The answer should have shape {_words(want_shape)}, and has {_words(got_shape)}."
    if not torch.isfinite(got).all() and torch.isfinite(want).all():
        return "The answer holds a value that is not a finite number."
    return None


def _flat(answer: Answer) -> tuple[tuple, torch.Tensor] | None:
    """(shape, all numbers in one float64 row), or None for something that is not made of numbers."""
    if isinstance(answer, (list, tuple)) and not (answer and all(type(part) in (int, float) for part in answer)):
        parts = [_flat(part) for part in answer]
        if any(part is None for part in parts):
            return None
        shapes = [shape for shape, _ in parts]
        # Equal parts are one array, so that a list of numbers and a tensor of them are the same answer.
        same = bool(shapes) and all(shape == shapes[0] for shape in shapes)
        shape = (len(parts), *shapes[0]) if same and all(isinstance(n, int) for n in shapes[0]) else tuple(shapes)
        return shape, torch.cat([numbers for _, numbers in parts]) if parts else torch.empty(0, dtype=torch.float64)
    try:
        kind = None if isinstance(answer, torch.Tensor) else torch.float64
        tensor = torch.as_tensor(answer, dtype=kind).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    return tuple(tensor.shape), tensor.flatten()


def _words(shape: tuple) -> str:
    if not shape:
        return "a single number"
    return f"{shape}" if all(isinstance(n, int) for n in shape) else f"{len(shape)} parts of shapes {shape}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
