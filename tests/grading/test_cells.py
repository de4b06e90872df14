"""What of a learner's notebook is run to answer an exercise, and what comes back of it."""

import contextlib
import json

import cloudpickle
import pytest
import torch

from gradclinic.course.exercises.gradient_descent import STEP
from tests.helpers import athome, ways
from tools.grading.cells import Allowance, Choice, TooLarge, called, looked_at, plain, statements
from tools.grading.jail import LIMITS, Jail, Limits, packed

MANY = LIMITS.entries
CELLS = [
    "%matplotlib inline\nimport math\nimport no_such_module\nscale = 2.0",
    "this is not Python",
    "def helper(x):\n    return math.sqrt(x) * scale",
    "print(1 / 0)\nunused = 1 / 0",
    "def answer(x):\n    return helper(x)",
]


def rested_on(name, cells, given=()):
    """What each statement binds that is run for a function."""
    found = statements(cells)
    return [found[i].binds for i in Choice(name, found, given).all()]


def test_only_what_a_function_rests_on_is_run():
    names = rested_on("answer", CELLS)
    assert names == [{"math"}, {"scale"}, {"helper"}, {"answer"}]
    assert called("answer", CELLS, [(4.0,), (9.0,)], MANY) == {"status": "answers", "answers": [4.0, 6.0]}


def test_what_is_local_to_a_function_draws_in_nothing_of_the_same_name():
    cells = [
        "for model in range(3):\n    squares = [model] * 2\nscale = 2",
        "def answer(model, size=scale):\n    squares = [model for part in [model]]\n    return sum(squares) * size",
    ]
    names = rested_on("answer", cells)
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


# --- ✓ at home is ✓ in the mark ---------------------------------------------------------------------------------------

EVERY_WAY = ways.by_name()


@pytest.fixture(scope="module")
def at_home():
    """Whether each way gets a ✓ at home: by the last check that is called there."""
    printed = athome.printed([ways.notebook(cells) for cells in EVERY_WAY.values()])
    said = [[line for line in text.splitlines() if line.startswith(("✓ step", "✗ step", "○ step"))] for text in printed]
    return {way: lines[-1:] == ["✓ step: Right."] for way, lines in zip(EVERY_WAY, said, strict=True)}


@pytest.mark.long  # some hundred notebooks are run at home
def test_most_ways_are_right_at_home_and_those_that_are_called_wrong_are_not(at_home):
    wrong = {way for way, right in at_home.items() if not right}
    assert {way for way in at_home if way.startswith("wrong")} <= wrong
    assert len(wrong) >= 20
    assert len(at_home) - len(wrong) >= 200


@pytest.mark.long  # some hundred notebooks are run at home
@pytest.mark.parametrize("way", EVERY_WAY)
def test_what_is_right_at_home_is_right_in_the_mark_and_nothing_else(way, at_home, jail):
    reply = jail.ask("step", ways.notebook(EVERY_WAY[way]), packed(STEP, 5))
    right = reply["status"] == "answers" and STEP.judge(reply["answers"], 5).status == "right"
    assert right == at_home[way], reply


def test_a_helper_that_stands_below_the_check_is_found(jail):
    cells = [ways.IMPORTS, ways.BY_MOVED, ways.CHECK, ways.MOVED]
    reply = jail.ask("step", cells, packed(STEP, 5))
    assert STEP.judge(reply["answers"], 5).status == "right"


# --- what takes long --------------------------------------------------------------------------------------------------

TABLE = ["table = {2: 5}", "def f(x):\n    return table[x]"]


def test_experiments_that_come_with_the_notebook_are_not_run_for_what_they_touch():
    experiment = "table.update({2: 6})\nprint(f(2))"
    assert called("f", [*TABLE, experiment], [(2,)], MANY)["answers"] == [6]
    assert called("f", [*TABLE, experiment], [(2,)], MANY, given=[2])["answers"] == [5]
    assert rested_on("f", [*TABLE, experiment], given=[2]) == [{"table"}, {"f"}]


def test_of_a_released_cell_what_a_function_rests_on_is_run():
    cells = ["points = [1, 2]\nprint(1 / 0)\npoints += [3]", "def f(x):\n    return points[x]"]
    assert called("f", cells, [(2,)], MANY, given=[0])["answers"] == [3]


def test_what_stands_below_the_check_is_not_run_for_it():
    cells = [*TABLE, "check.f(f)", "while True:\n    table[2] = 7"]
    assert called("f", cells, [(2,)], MANY)["answers"] == [5]


def test_a_check_is_never_run():
    assert rested_on("f", [*TABLE, "check.f(f)\nfor _ in range(3):\n    print(check.g(f, table))"]) == [
        {"table"},
        {"f"},
    ]


@pytest.mark.parametrize(
    "experiment",
    [
        "while True:\n    study(table)",
        "for _ in iter(int, 1):\n    study(table)",
        "study(table)\nraise KeyboardInterrupt",
        "study(table)\nimport sys\nsys.exit()",
        "[study(table, n) for n in iter(int, 1)]",
    ],
)
def test_an_endless_experiment_that_may_matter_is_given_up(experiment, bubblewrap):
    cells = ["def study(some, n=0):\n    return len(some) + n", TABLE[0], TABLE[1], experiment, "table.update({2: 6})"]
    with contextlib.closing(Jail(Limits(seconds=20, wall=600))) as jail:
        assert jail.ask("f", cells, cloudpickle.dumps([(2,)])) == {"status": "answers", "answers": [6]}


# --- what is told of it -----------------------------------------------------------------------------------------------


def test_where_names_get_their_meaning_is_told():
    cells = ["def f(x):\n    x +", "def g():\n    return h()", "def f(x): return 1", "h = abs", "globals()['g'] = 3"]
    told = looked_at(["f", "g"], cells, [0, 1])
    assert told == [[[2], [2], "SyntaxError in line 2: invalid syntax"], [[4], [3, 4], None]]
    assert looked_at(["f"], cells, [-1], given=[2]) == [[[], [], None]]


def test_statements_are_read_as_ipython_reads_them():
    cells = ["%%time\nx = 1\n%time y = 2", "%%capture kept\nz = 3", "%%bash\nw = 4", "v = !ls", "u = (5\n% 2)", "t ="]
    names = set().union(*(found.binds for found in statements(cells)))
    assert names == {"x", "y", "z", "kept", "v", "u"}
