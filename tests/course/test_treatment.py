"""The advice of a diagnosis can be followed by a program that builds this course's networks."""

import pytest

from gradclinic.course.models import MLP, RecurrentClassifier
from gradclinic.course.treatment import changes
from gradclinic.remedies import CLIP, GATES, GUIDE, INITIALIZE, NORMALIZE, RELU, SKIP, THROUGH_TIME, learning_rate

# Cases whose first remedy is a setting of a network, and not a line of somebody's program.
KINDS = {"initialization", "activation", "normalization", "gated recurrence"}
SETTINGS = [case for case, remedies in GUIDE.items() if remedies[0].name in KINDS]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_every_first_remedy_is_a_setting_that_a_network_takes(case, activation):
    recurrent = case.circumstance == THROUGH_TIME
    changed = changes(GUIDE[case][0], activation, recurrent)
    assert changed
    if recurrent:
        cell, init = changed.pop("cell"), changed.pop("init")
        RecurrentClassifier(cell, 4, recurrent_init=init, seed=0, in_features=2, out_features=2)
        assert changed == {}
    else:
        MLP(2, 4, **{"activation": activation, **changed}, in_features=2, out_features=2, seed=0)


@pytest.mark.parametrize("case", [case for case in GUIDE if case not in SETTINGS], ids=str)
def test_a_remedy_that_is_a_line_of_a_program_is_no_setting(case):
    with pytest.raises(ValueError, match="no setting is changed"):
        changes(GUIDE[case][0], "relu")


@pytest.mark.parametrize(
    ("remedy", "activation", "recurrent", "expected"),
    [
        (INITIALIZE, "relu", False, {"init": "he"}),
        (INITIALIZE, "tanh", False, {"init": "xavier"}),
        (INITIALIZE, "linear", False, {"init": "lecun"}),
        (INITIALIZE, "tanh", True, {"init": "orthogonal"}),
        (RELU, "sigmoid", False, {"activation": "relu", "init": "he"}),
        (NORMALIZE, "relu", False, {"norm": "batch"}),
        (GATES, "tanh", True, {"cell": "gru", "init": "pytorch"}),
        (learning_rate(0.1), "relu", False, {"lr_times": 0.1}),
    ],
)
def test_each_remedy_changes_what_it_speaks_of(remedy, activation, recurrent, expected):
    assert changes(remedy, activation, recurrent) == expected


@pytest.mark.parametrize("remedy", [CLIP, SKIP])
def test_a_remedy_that_is_no_setting_is_refused(remedy):
    with pytest.raises(ValueError, match=f"no setting is changed by .*{remedy.name}.*{remedy.advice[:9]}"):
        changes(remedy, "relu")
