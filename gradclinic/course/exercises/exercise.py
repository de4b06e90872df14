"""What an exercise is, and how answers to it are judged: from returned numbers alone."""

import copy
import functools
import inspect
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Answer = object  # a number, a tensor, or nested lists and tuples of them
Case = tuple[Any, ...]  # the arguments of one try


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer: what it is called, a function that makes it, and the hint that undoes it.

    ``belief`` is what somebody holds true who makes it, where it is more than a slip. ``credit`` is the part of the
    points that it earns; at 0 the grader decides by the hint.
    """

    name: str
    function: Callable[..., Answer]
    hint: str
    belief: str = ""
    credit: float = 0.0


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
        seconds: of computing that the lab's text promises it; 0 where it promises none. The grader gives it more.
        tries: on how many seeds the check in the notebook tries an answer; 1 where a seed takes long.
    """

    id: str
    points: int
    claims: tuple[str, ...]
    level: str
    cases: Callable[[int], Sequence[Case]]
    reference: Callable[..., Answer]
    mistakes: tuple[Mistake, ...]
    rtol: float = 1e-4
    atol: float = 1e-9
    outcome: Callable[[Sequence[Answer], int], Sequence[Answer]] | None = None
    minutes: int = 0
    after: tuple[str, ...] = ()
    seconds: int = 0
    tries: int = 3

    @property
    def name(self) -> str:
        return self.id.partition("-")[2]

    def answers(self, function: Callable[..., Answer], seed: int) -> list[Answer]:
        """What ``function`` returns on each case of ``seed``; it gets copies, so it cannot change the case."""
        return [function(*copy.deepcopy(case)) for case in _made(self.cases, seed)]

    def expected(self, seed: int) -> Sequence[Answer]:
        """What the reference answers on each case of ``seed``; computed once for a whole class."""
        return _known(self, self.reference, seed)[0]

    def judge(self, answers: Sequence[Answer], seed: int, names: Sequence[str] = ()) -> Verdict:
        """Compare returned answers with the reference and with the known mistakes.

        Args:
            answers: one per case of ``seed``: numbers, tensors, or (nested) lists of numbers, from any process.
            seed: which cases they answer.
            names: what the learner calls the arguments; the numbers among them are told with what is wrong.
        """
        expected, outcomes = _known(self, self.reference, seed)
        if len(answers) != len(expected):
            return Verdict("wrong", f"{len(expected)} answers were asked for, {len(answers)} given.")
        if any(answer is None for answer in answers):
            return Verdict("wrong", "Your function returned None. Does every path through it end in `return`?")
        if self.outcome is not None:
            for answer, wanted in zip(answers, expected, strict=True):
                if isinstance(malformed := _rows(answer, wanted), str):
                    return Verdict("wrong", malformed)
            answers = self.outcome(answers, seed)
        problems = [self.differs(a, e) for a, e in zip(answers, outcomes, strict=True)]
        if not any(problems):
            return Verdict("right", "Right.")
        for mistake in self.mistakes:
            _, made = _known(self, mistake.function, seed)
            if not any(self.differs(a, m) for a, m in zip(answers, made, strict=True)):
                return Verdict("wrong", mistake.hint, mistake.name)
        return Verdict("wrong", self._told(problems, seed, names))

    def _told(self, problems: Sequence[str | None], seed: int, names: Sequence[str]) -> str:
        """What is wrong with the first try that is not right, the numbers that it was given, and how many are right."""
        number, problem = next((number, problem) for number, problem in enumerate(problems) if problem)
        given = dict(zip(names, _made(self.cases, seed)[number], strict=False)) if self.outcome is None else {}
        told = [f"{name} = {value:.6g}" for name, value in given.items() if type(value) in (int, float)]
        told += [f"{name} = {value!r}" for name, value in given.items() if type(value) is str]
        where = f" There {', '.join(told)}." if told else ""
        right = f" Of {len(problems)} tries {problems.count(None)} are right." if len(problems) > 1 else ""
        return f"{problem}{where}{right}"

    def differs(self, answer: Answer, expected: Answer) -> str | None:
        """None if the two agree within tolerance, else a sentence that says how they differ."""
        rows = _rows(answer, expected)
        if isinstance(rows, str):
            return rows
        got, want = rows
        near = torch.isclose(got, want, rtol=self.rtol, atol=self.atol, equal_nan=True)
        if near.all():
            return None
        # two equal infinities differ by NaN, and would pass for the worst
        worst = int(torch.argmax(torch.where(near, -1.0, (got - want).abs().nan_to_num(math.inf, math.inf))))
        return f"Not yet: it gives {got[worst]:.6g} where {want[worst]:.6g} is right."

    def attempt(self, function: Callable[..., Answer], seed: int = 0) -> Verdict:
        """Run ``function`` on the cases of ``seed`` and judge it; whatever it raises becomes part of the verdict."""
        if not callable(function):
            return Verdict("wrong", f"Pass the function itself, without calling it: got {_short(function)}.")
        try:
            answers = self.answers(function, seed)
        except Exception as error:  # a learner's code may raise anything
            if _left_blank(function, error):
                return Verdict("blank", "Not attempted yet.")
            return Verdict("wrong", f"Your function stopped with {type(error).__name__}: {error}")
        return self.judge(answers, seed, _names(function))


@functools.lru_cache(maxsize=64)
def _made(cases: Callable[[int], Sequence[Case]], seed: int) -> Sequence[Case]:
    """The cases of a seed, made once for the reference, the mistakes and a learner."""
    return cases(seed)


@functools.lru_cache(maxsize=256)
def _known(exercise: Exercise, function: Callable[..., Answer], seed: int) -> tuple[Sequence[Answer], Sequence[Answer]]:
    """The answers of the reference or of a usual mistake, and what is compared of them, once for a whole class."""
    answers = exercise.answers(function, seed)
    return answers, answers if exercise.outcome is None else exercise.outcome(answers, seed)


def _rows(answer: Answer, expected: Answer) -> tuple[Tensor, Tensor] | str:
    """Both as rows of numbers if the answer has the expected form, else a sentence that says what is wrong with it."""
    given, wanted = _flat(answer), _flat(expected)
    if given is None or wanted is None:
        return f"Numbers were expected, but the answer is {_short(answer)}."
    (shape, row), (wanted_shape, wanted_row) = given, wanted
    if shape != wanted_shape:
        return f"The answer should have shape {_words(wanted_shape)}, and has {_words(shape)}."
    odd = not torch.isfinite(row).all() and bool(torch.isfinite(wanted_row).all())
    if odd or (torch.isnan(row).all() and not torch.isnan(wanted_row).any()):
        return "The answer holds a value that is not a finite number."
    return row, wanted_row


def _flat(answer: Answer) -> tuple[tuple[Any, ...], Tensor] | None:
    """(shape, all numbers in one float64 row), or None for something that is not made of numbers.

    The shape of a list whose parts differ is that of each part.
    """
    if isinstance(answer, (list, tuple)) and not (answer and all(type(part) in (int, float) for part in answer)):
        parts = []
        for part in map(_flat, answer):
            if part is None:
                return None
            parts.append(part)
        shapes = [shape for shape, _ in parts]
        # Equal parts are one array, so that a list of numbers and a tensor of them are the same answer.
        same = bool(shapes) and all(shape == shapes[0] for shape in shapes)
        shape = (len(parts), *shapes[0]) if same and all(isinstance(n, int) for n in shapes[0]) else tuple(shapes)
        return shape, torch.cat([row for _, row in parts]) if parts else torch.empty(0, dtype=torch.float64)
    try:
        kind = None if isinstance(answer, Tensor) else torch.float64
        tensor = torch.as_tensor(answer, dtype=kind).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    return tuple(tensor.shape), tensor.flatten()


def _left_blank(function: Callable[..., Answer], error: Exception) -> bool:
    """Whether the error is the one that stands in a blank. torch raises its like, too, but says what is missing."""
    if not isinstance(error, NotImplementedError) or error.args or error.__traceback__ is None:
        return False
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return innermost.f_globals is getattr(function, "__globals__", innermost.f_globals)


def _names(function: Callable[..., Answer]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of some that are written in C
        return []


def _words(shape: tuple[Any, ...]) -> str:
    if not shape:
        return "a single number"
    return f"{shape}" if all(isinstance(n, int) for n in shape) else f"{len(shape)} parts of shapes {shape}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
