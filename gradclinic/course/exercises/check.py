"""The check of an exercise as a learner meets it: one line in the notebook, and what the experiments then run."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradclinic.course.exercises.exercise import Answer, Exercise, Verdict

# Of each exercise, by its id, the function that was tried last, and what came of it.
_judged: dict[str, tuple[Callable[..., Answer], Verdict]] = {}


class Check:
    """The check of one exercise. Called with your function, it says in one line whether that is right.

    ``use`` chooses what the experiments run that stand below the exercise: your function if it is right, ours if not.
    """

    def __init__(self, exercise: Exercise) -> None:
        self._exercise = exercise

    def __call__(self, function: Callable[..., Answer]) -> None:
        """Print a tick, "not attempted yet" or a hint. Only nbgrader's own run is stopped by a wrong answer."""
        verdict = self._judge(function)
        mark = {"right": "✓", "wrong": "✗", "blank": "○"}[verdict.status]
        named = f" ({verdict.mistake})" if verdict.mistake else ""
        message = f"{mark} {self._exercise.name}{named}: {verdict.message}"
        if verdict.status != "right" and os.environ.get("NBGRADER_EXECUTION") in ("autograde", "validate"):
            raise AssertionError(message)
        print(message)

    def use(self, function: Callable[..., Answer]) -> Callable[..., Any]:
        """Your function if it is right, else ours, to be called with the same arguments; one line says which.

        It gets copies of the tensors, so it may write into them. A list or an array of numbers comes back as a tensor.
        Should your function stop on something that the check did not try, ours goes on from there, and a line says so.
        """
        name, kept = self._exercise.name, _judged.get(self._exercise.id)
        verdict = kept[1] if kept is not None and kept[0] is function else self._judge(function)
        if verdict.status == "right":
            print(f"▸ {name}: yours runs here.")
            return _or_else(function, self._exercise.reference, name)
        print(f"▸ {name}: ours runs here, until yours is right.")
        return _or_else(self._exercise.reference, None, name)

    def _judge(self, function: Callable[..., Answer]) -> Verdict:
        verdicts = (self._exercise.attempt(function, seed) for seed in range(self._exercise.tries))
        right = Verdict("right", "Right.")
        verdict = next((verdict for verdict in verdicts if verdict.status != "right"), right)
        _judged[self._exercise.id] = function, verdict
        return verdict


def _or_else(first: Callable[..., Answer], other: Callable[..., Answer] | None, name: str) -> Callable[..., Any]:
    """``first``, and from its first error on ``other``, if there is one."""
    held = [first]

    def run(*arguments: Any) -> Any:
        try:
            answer = held[0](*map(_copied, arguments))
            if answer is None:
                raise ValueError("it returned None")
            return _plain(answer)
        except Exception as error:  # a learner's code may raise anything
            if other is None or held[0] is other:
                raise
            print(f"▸ {name}: yours stopped here with {type(error).__name__}: {error} From here on ours runs.")
            held[0] = other
            return _plain(other(*map(_copied, arguments)))

    return run


def _copied(argument: Any) -> Any:
    """Tensors as copies that a gradient passes; a network or a function as it is."""
    if isinstance(argument, Tensor):
        return argument.clone()
    return type(argument)(map(_copied, argument)) if type(argument) in (list, tuple) else argument


def _plain(answer: Any) -> Any:
    """Numbers in a row as a tensor, whichever way they are held."""
    if isinstance(answer, np.ndarray):
        return torch.from_numpy(answer)
    if not isinstance(answer, (list, tuple)):
        return answer
    parts = [_plain(part) for part in answer]
    if not all(isinstance(part, (bool, int, float)) or (isinstance(part, Tensor) and not part.dim()) for part in parts):
        return parts
    return torch.stack([torch.as_tensor(part, dtype=torch.float64) for part in parts]) if parts else torch.zeros(0)
