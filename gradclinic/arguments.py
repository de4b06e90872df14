"""One number, or an error that names the argument, what was given and what is allowed.

A wrong type is a TypeError, a wrong value a ValueError. True and False are no numbers here. numpy's numbers are.
"""

import math
from numbers import Integral, Real


def number(
    name: str, value: object, minimum: float = 0.0, *, maximum: float = math.inf, above_minimum: bool = False
) -> float:
    """``value`` as a float, if it is finite and between the two bounds.

    Args:
        name: of the argument, for the error.
        minimum, maximum: the smallest and largest value that are allowed; infinite ones leave a side open.
        above_minimum: refuse the minimum itself.
    Raises:
        TypeError: for what is no number.
        ValueError: for NaN, infinity, or a number out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    found = float(value)
    low_enough = found > minimum if above_minimum else found >= minimum
    if not (math.isfinite(found) and low_enough and found <= maximum):
        bounds = "" if minimum == -math.inf else f" and {'above' if above_minimum else 'at least'} {minimum:g}"
        bounds += "" if maximum == math.inf else f" and at most {maximum:g}"
        raise ValueError(f"{name} must be finite{bounds}, got {value!r}")
    return found


def whole(name: str, value: object, minimum: float = 1, maximum: float = math.inf) -> int:
    """``value`` as an int, if it is a whole number between the two bounds.

    Args:
        name: of the argument, for the error.
        minimum, maximum: the smallest and largest value that are allowed; infinite ones leave a side open.
    Raises:
        TypeError: for what is no integer, 3.0 among it.
        ValueError: for one out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    found = int(value)
    if not minimum <= found <= maximum:
        bounds = f"between {minimum} and {maximum}" if maximum < math.inf else f"at least {minimum}"
        raise ValueError(f"{name} must be {bounds}, got {value!r}")
    return found
