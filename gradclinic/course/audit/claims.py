"""What a claim, its measurements and its verdict are; the list of all claims."""

import functools
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import SupportsFloat

import numpy as np

from gradclinic.arguments import number, whole
from gradclinic.course.audit.kept import Kept

SEEDS = range(20)

HOLDS, CONDITION, FAILS = "holds", "holds with a condition", "does not hold"

# Training runs are kept between processes where this folder is set, as the build of the book and the tests do.
memory = Kept(os.environ.get("GRADCLINIC_CACHE"))

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _written(value: float) -> str:
    """Four digits, with powers of ten as people write them: 1.56·10⁻⁹."""
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}" if exponent else mantissa


def few(value: SupportsFloat, digits: int = 1) -> str:
    """A number as a sentence needs it: so many significant digits, powers of ten as people write them: 10⁻⁵.

    Raises:
        ValueError: for a number that is not finite, or fewer than 1 digit.
        TypeError: for a value that is no number, or digits that are no integer.
    """
    value, digits = number("value", value, -math.inf), whole("digits", digits)
    return _written(float(f"{value:.{digits}g}")).removeprefix("1·")


@dataclass(frozen=True)
class Quantity:
    """One measured number.

    Attributes:
        what: its name and unit.
        measured: one value per seed, or a single value where nothing is random.
        expected: what theory or the claim asks for, in words.
        holds: whether every value meets it.
    """

    what: str
    measured: tuple[float, ...]
    expected: str
    holds: bool

    @property
    def summary(self) -> str:
        """The mean and the range over seeds, in four digits; a geometric mean where values span decades."""
        values = np.array(self.measured)
        if len(values) == 1:
            return _written(values[0])
        wide = values.min() > 0 and values.max() / values.min() > 10
        mean = math.exp(np.log(values).mean()) if wide else values.mean()
        return f"{_written(mean)} ({_written(values.min())} to {_written(values.max())})"


def each(
    what: str, values: Iterable[SupportsFloat], expected: str, meets: Callable[[float], bool | np.bool_]
) -> Quantity:
    """A quantity that holds if every one of its values does."""
    numbers = tuple(float(value) for value in values)
    return Quantity(what, numbers, expected, all(meets(value) for value in numbers))


@dataclass(frozen=True)
class Finding:
    """A claim with its measurements.

    Attributes:
        id: S1, S2, ... in the order of the source document; T1, T2, ... for what the course states itself.
        statement: what it states, in short.
        as_stated: measurements of the statement as it stands.
        correction: the statement that is true instead, if the claim does not hold as it stands.
        corrected: measurements of that correction.
    """

    id: str
    statement: str
    as_stated: tuple[Quantity, ...]
    correction: str | None = None
    corrected: tuple[Quantity, ...] = ()

    @property
    def verdict(self) -> str:
        """``HOLDS``, ``CONDITION`` or ``FAILS``, from the measurements alone."""
        if all(quantity.holds for quantity in self.as_stated):
            return HOLDS
        if self.correction and all(quantity.holds for quantity in self.corrected):
            return CONDITION
        return FAILS

    def _repr_html_(self) -> str:
        """The claim as the audit page shows it: statement, verdict, correction and every number."""
        rows = "".join(
            f"<tr><td>{escape(q.what)}</td><td>{escape(q.summary)}</td><td>{escape(q.expected)}</td>"
            f"<td>{'✓ met' if q.holds else '✗ not met'}</td></tr>"
            for q in (*self.as_stated, *self.corrected)
        )
        correction = f"<p><strong>What is true:</strong> {escape(self.correction)}</p>" if self.correction else ""
        return (
            f"<p><strong>As stated:</strong> {escape(self.statement)}</p>"
            f'<p><strong>Verdict:</strong> <span class="gradclinic-verdict">{self.verdict}</span></p>{correction}'
            f"{_SCROLLS.format('What was measured')}<table><thead><tr><th>quantity</th><th>measured, mean (range)</th>"
            f"<th>asked for</th><th>met?</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )


# a table that is wider than a phone scrolls by itself, by keyboard too
_SCROLLS = '<div class="gradclinic-table" role="group" aria-label="{}" tabindex="0">'

_CLAIMS: dict[str, Callable[[], Finding]] = {}


def claim(id: str) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Enter the function below in the list of claims, under this id."""

    def register(function: Callable[[], Finding]) -> Callable[[], Finding]:
        _CLAIMS[id] = function
        return function

    return register


def claims(whose: str = "S") -> tuple[str, ...]:
    """The ids of the claims of the source document, in its order; or with "T" those of the course itself.

    Raises:
        ValueError: for another letter.
    """
    if whose not in ("S", "T"):
        raise ValueError(f"whose must be 'S', the source document's claims, or 'T', the course's own; got {whose!r}")
    return tuple(sorted((id for id in _CLAIMS if id.startswith(whose)), key=lambda id: int(id[1:])))


@functools.cache
def finding(id: str) -> Finding:
    """Measure one claim; the second time in one process it is remembered.

    Raises:
        ValueError: for an unknown id.
    """
    if id not in _CLAIMS:
        raise ValueError(f"unknown claim {id!r}; measured are {', '.join(claims() + claims('T'))}")
    return _CLAIMS[id]()


class _Overview:
    """Claims and their verdicts, as a table that links to each claim's own section."""

    def __init__(self, whose: str):
        self._ids = claims(whose)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td><a href="#claim-{id.lower()}">{id}</a></td><td>{escape(finding(id).statement)}</td>'
            f"<td>{finding(id).verdict}</td></tr>"
            for id in self._ids
        )
        head = "<thead><tr><th>id</th><th>statement, in short</th><th>verdict</th></tr></thead>"
        return f"{_SCROLLS.format('Claims and verdicts')}<table>{head}<tbody>{rows}</tbody></table></div>"


def overview(whose: str = "S") -> _Overview:
    """Every claim of the source document, or with "T" of the course, with its verdict: to be shown in a notebook.

    Raises:
        ValueError: for another letter.
    """
    return _Overview(whose)
