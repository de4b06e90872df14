"""What of a learner's notebook is run to answer an exercise, and what comes back of it."""

import json

import pytest
import torch

from tools import grade, jail

CELLS = [
    "%matplotlib inline\nimport math\nimport no_such_module\nscale = 2.0",
    "this is not Python",
    "def helper(x):\n    return math.sqrt(x) * scale",
    "print(1 / 0)\nunused = 1 / 0",
    "def answer(x):\n    return helper(x)",
]


def test_only_what_a_function_rests_on_is_run():
    names = [jail.bound(statement) for statement in jail.needed("answer", jail.statements(CELLS))]
    assert names == [{"math"}, {"scale"}, {"helper"}, {"answer"}]
    assert jail.called("answer", CELLS, [(4.0,), (9.0,)]) == {"status": "answers", "answers": [4.0, 6.0]}


def test_what_is_local_to_a_function_draws_in_nothing_of_the_same_name():
    cells = [
        "for model in range(3):\n    squares = [model] * 2\nscale = 2",
        "def answer(model, size=scale):\n    squares = [model for part in [model]]\n    return sum(squares) * size",
    ]
    names = [jail.bound(statement) for statement in jail.needed("answer", jail.statements(cells))]
    assert names == [{"scale"}, {"answer"}]
    assert jail.called("answer", cells, [(4.0,)])["answers"] == [8.0]


def test_the_last_definition_counts_as_it_would_in_the_kernel():
    cells = ["def f(x):\n    return 1", "def f(x):\n    return 2"]
    assert jail.called("f", cells, [(0,)])["answers"] == [2]


def test_a_function_that_is_not_there_is_missing_and_says_what_went_wrong_before():
    assert jail.called("f", ["x = 1"], [(0,)]) == {"status": "missing", "message": ""}
    assert jail.called("f", ["f = 1 / 0"], [(0,)])["message"].startswith("ZeroDivisionError")


def test_answers_come_back_as_plain_numbers():
    given = (torch.tensor([1.5, float("inf")]), [torch.tensor(2), 3, (4.0, None)])
    assert json.loads(json.dumps(jail.plain(given))) == [[1.5, float("inf")], [2, 3, [4.0, None]]]


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        ({"status": "blank"}, "blank", "Not attempted"),
        ({"status": "time"}, "wrong", "in time"),
        ({"status": "died"}, "wrong", "ended the process"),
        ({"status": "raised", "message": "ValueError: no"}, "wrong", "ValueError: no"),
        ({"status": "answers", "answers": "nonsense"}, "wrong", ""),
        ({"status": "answers", "answers": [None, None]}, "wrong", ""),
    ],
)
def test_whatever_comes_back_becomes_a_mark(reply, status, words):
    exercise = grade.find_lab("01-gradient-descent").exercises[0]
    mark = grade.judged(exercise, 7, reply)
    assert (mark.points, mark.of, mark.status) == (0, exercise.points, status)
    assert words in mark.message


def test_right_numbers_get_the_points_and_a_usual_mistake_its_name():
    for exercise in grade.find_lab("06-batch-normalization").exercises:
        for function, points, name in (
            (exercise.reference, exercise.points, None),
            (exercise.mistakes[0].function, 0, exercise.mistakes[0].name),
        ):
            answers = [jail.plain(answer) for answer in exercise.answers(function, 11)]
            mark = grade.judged(exercise, 11, {"status": "answers", "answers": json.loads(json.dumps(answers))})
            assert (mark.points, mark.mistake) == (points, name)


def test_an_unknown_lab_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'99-none'.*01-gradient-descent"):
        grade.find_lab("99-none")
