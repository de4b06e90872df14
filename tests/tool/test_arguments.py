"""One number, or an error that names it."""

import math
import re

import numpy as np
import pytest

from gradclinic.arguments import number, whole


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, np.float32(0.5), np.int64(3), 1e308])
def test_a_number_comes_back_as_a_float(value):
    found = number("rate", value)
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize("value", ["1", None, True, np.True_, [1], 1j, np.array([1.0])])
def test_what_is_no_number_is_a_type_error_that_names_it(value):
    with pytest.raises(TypeError, match=rf"^rate must be a number, got {re.escape(repr(value))}$"):
        number("rate", value)


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [
        (-1, {}, "rate must be finite and at least 0, got -1"),
        (0, {"above_minimum": True}, "rate must be finite and above 0, got 0"),
        (math.nan, {}, "rate must be finite and at least 0, got nan"),
        (math.inf, {}, "rate must be finite and at least 0, got inf"),
        (-math.inf, {"minimum": -math.inf}, "rate must be finite, got -inf"),
        (1.5, {"maximum": 1}, "rate must be finite and at least 0 and at most 1, got 1.5"),
    ],
)
def test_what_is_out_of_bounds_is_a_value_error_that_says_what_is_allowed(value, bounds, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        number("rate", value, **bounds)


@pytest.mark.parametrize("value", [1, 7, np.int32(5)])
def test_a_whole_number_comes_back_as_an_int(value):
    found = whole("steps", value)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [3.0, "3", None, True, math.nan])
def test_what_is_no_integer_is_a_type_error_that_names_it(value):
    with pytest.raises(TypeError, match=rf"^steps must be an integer, got {re.escape(repr(value))}$"):
        whole("steps", value)


def test_an_integer_out_of_bounds_is_a_value_error():
    with pytest.raises(ValueError, match=r"^steps must be at least 1, got 0$"):
        whole("steps", 0)
    with pytest.raises(ValueError, match=r"^row must be between -3 and 2, got 3$"):
        whole("row", 3, -3, 2)
    assert whole("seed", -5, -math.inf) == -5
