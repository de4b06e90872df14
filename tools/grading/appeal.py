"""What exactly was wrong: the cases on which a learner's function was tried, its answers, and the right ones."""

import inspect
from collections.abc import Sequence

from torch import Tensor

from gradclinic.course.exercises import Exercise
from tools.grading import plain
from tools.grading.ledger import Record
from tools.grading.marks import find_lab

LONG = 200  # characters of one value


def explained(lab: str, record: Record) -> str:
    """All that is known of one learner's mark, to be read in a terminal. The seed is not in it."""
    marked = record.marked
    lines = [f"{marked.student}, {lab}: {marked.points:g} of {sum(mark.of for mark in marked.marks):g} computed points"]
    if record.when:
        lines.append(f"handed in at {record.when} UTC")
    if len(record.attempts) > 1:
        lines += [f"attempt of {when or 'an unknown time'}: {points:g} points" for when, points in record.attempts]
    lines += [f"noticed: {flag}" for flag in record.flags]
    exercises = {exercise.name: exercise for exercise in find_lab(lab).exercises}
    for mark in marked.marks:
        named = f" ({mark.mistake})" if mark.mistake else ""
        lines += [
            "",
            f"{mark.exercise}: {mark.status}{named}, {mark.points:g} of {mark.of:g} points",
            f"  {mark.message}",
        ]
        if mark.status == "wrong" and mark.exercise in exercises:
            lines += _tries(exercises[mark.exercise], record, marked.answers.get(mark.exercise))
    return "\n".join(map(plain.lines, lines)) + "\n"


def _tries(exercise: Exercise, record: Record, answers: Sequence[object] | None) -> list[str]:
    """Each case, what was answered and what is right; of an exercise with many right answers, what came of them."""
    expected = exercise.expected(record.seed)
    names = list(inspect.signature(exercise.reference).parameters)
    lines = []
    if answers is None or len(answers) != len(expected):
        lines.append("  its answers are not kept: there were none, not one for each try, or too many numbers")
        answers = [None] * len(expected)
    for number, (case, answer, right) in enumerate(zip(exercise.cases(record.seed), answers, expected, strict=True), 1):
        if exercise.outcome is None and not exercise.differs(answer, right):
            lines.append(f"  try {number} of {len(expected)}: right")
            continue
        lines.append(f"  try {number} of {len(expected)}:")
        for position, value in enumerate(case):
            name = names[position] if position < len(names) else f"argument {position + 1}"
            lines.append(f"    {name} = {_short(value)}")
        lines += [f"    answered: {_short(answer)}", f"    right is: {_short(right)}"]
    return lines


def _short(value: object) -> str:
    text = _numbers(value)
    return text if len(text) <= LONG else f"{text[:LONG]} ... ({len(text)} characters)"


def _numbers(value: object) -> str:
    """Numbers with all the digits that are compared, and lists of them; anything else as Python shows it."""
    if isinstance(value, Tensor):
        value = value.tolist() if value.numel() <= LONG else value
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_numbers, value[:LONG]))}]"
    return f"{value:.8g}" if isinstance(value, float) else " ".join(repr(value).split())
