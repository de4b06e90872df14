"""What of a learner's notebook is run to answer an exercise, and what comes back of it."""

import json

import pytest
import torch

from tools.grading import inside
from tools.grading.cells import Allowance, TooLarge, bound, called, needed, plain, statements
from tools.grading.jail import LIMITS

MANY = LIMITS.entries
CELLS = [
    "%matplotlib inline\nimport math\nimport no_such_module\nscale = 2.0",
    "this is not Python",
    "def helper(x):\n    return math.sqrt(x) * scale",
    "print(1 / 0)\nunused = 1 / 0",
    "def answer(x):\n    return helper(x)",
]


def test_only_what_a_function_rests_on_is_run():
    names = [bound(statement) for statement in needed("answer", statements(CELLS))]
    assert names == [{"math"}, {"scale"}, {"helper"}, {"answer"}]
    assert called("answer", CELLS, [(4.0,), (9.0,)], MANY) == {"status": "answers", "answers": [4.0, 6.0]}


def test_what_is_local_to_a_function_draws_in_nothing_of_the_same_name():
    cells = [
        "for model in range(3):\n    squares = [model] * 2\nscale = 2",
        "def answer(model, size=scale):\n    squares = [model for part in [model]]\n    return sum(squares) * size",
    ]
    names = [bound(statement) for statement in needed("answer", statements(cells))]
    assert names == [{"scale"}, {"answer"}]
    assert called("answer", cells, [(4.0,)], MANY)["answers"] == [8.0]


def test_the_last_definition_counts_as_it_would_in_the_kernel():
    cells = ["def f(x):\n    return 1", "def f(x):\n    return 2"]
    assert called("f", cells, [(0,)], MANY)["answers"] == [2]


def test_a_function_that_is_not_there_is_missing_and_says_what_went_wrong_before():
    assert called("f", ["x = 1"], [(0,)], MANY) == {"status": "missing", "message": ""}
    assert called("f", ["f = 1 / 0"], [(0,)], MANY)["message"].startswith("ZeroDivisionError")


def test_answers_come_back_as_plain_numbers():
    given = (torch.tensor([1.5, float("inf")]), [torch.tensor(2), 3, (4.0, None)])
    assert json.loads(json.dumps(plain(given, Allowance(MANY)))) == [[1.5, float("inf")], [2, 3, [4.0, None]]]


class NeverWalked(list):
    """A list that can be counted, and tells if anybody reads it."""

    def __iter__(self):
        raise AssertionError("it was read")


def test_a_list_that_is_too_long_is_counted_and_not_read():
    with pytest.raises(TooLarge):
        plain(NeverWalked([1] * 11), Allowance(10))


def test_entries_are_counted_over_all_lists_and_all_cases():
    twice = [1]
    for _ in range(60):  # few lists, and more numbers than any time is enough for
        twice = [twice, twice]
    for answer in ([[1] * 6] * 2, torch.zeros(2, 6), torch.zeros(100_000_000), twice):
        with pytest.raises(TooLarge):
            plain(answer, Allowance(12))
    cells = ["def f(x):\n    return [x] * 6"]
    assert called("f", cells, [(1,), (2,)], 12)["answers"] == [[1] * 6, [2] * 6]
    with pytest.raises(TooLarge):
        called("f", cells, [(1,), (2,), (3,)], 12)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'{"status": "answers", "answers": [1, 2]}', {"status": "answers", "answers": [1, 2]}),
        (b'{"status": "raised", "message": "no", "more": 1}', {"status": "raised", "message": "no"}),
        (b'{"status": "blank"}', {"status": "blank", "message": ""}),
        (b'{"status": "answers", "answers": [1, 2, 3, 4, 5]}', {"status": "large"}),
        (b'{"status": "answers", "answers": "' + b"x" * 100 + b'"}', {"status": "large"}),
        (b'{"status": "refused"}', None),
        (b'{"status": "right", "points": 2}', None),
        (b'{"status": "answers", "answers": "all right"}', None),
        (b'{"status": ["answers"]}', None),
        (b'["answers"]', None),
        (b'{"status": "blank"}{"status": "blank"}', None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_learners_process_may_say_only_what_is_its_to_say(written, read):
    assert inside.said(written, {"answer_bytes": 99, "entries": 4}) == read
