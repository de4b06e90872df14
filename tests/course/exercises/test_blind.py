"""The blind patients: each fault by itself stops the learning, and no two learners need get the same."""

import pytest
import torch

from gradclinic.course.exercises import blind
from gradclinic.course.exercises.draws import seeded
from gradclinic.course.training import fit

pytestmark = pytest.mark.long  # trains each fault on several seeds


def reached(case):
    trained = [parameter for parameter in case.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, case.learning_rate)
    return fit(case.model, case.data, optimizer, 8, progress=False).test_accuracy[-1]


@pytest.mark.parametrize("seed", range(6))
def test_without_a_fault_it_learns(seed):
    assert reached(blind.sick((), seeded(seed))) > 0.7


@pytest.mark.parametrize("fault", blind.FAULTS)
def test_each_fault_by_itself_stops_it(fault):
    for seed in range(4):
        assert reached(blind.sick((fault,), seeded(seed))) < 0.5, seed


def test_a_name_gives_one_patient_and_names_give_all_faults():
    one, same = blind.blind_patient("Ann "), blind.blind_patient("ann")
    assert torch.equal(one.model.layer1.weight, same.model.layer1.weight)
    assert one.learning_rate == same.learning_rate
    met = {blind.drawn(f"learner {n}") for n in range(60)}
    assert set().union(*met) == set(blind.FAULTS)
    assert len(met) > 25
    for faults in met:
        assert 2 <= len(faults) <= 3
        assert sum(fault in list(blind.FAULTS)[blind.MENDED :] for fault in faults) == 1
        assert not {"weights too small", "weights too large"} <= set(faults)
        assert not {"learning rate too high", "learning rate too low"} <= set(faults)


def test_it_tells_how_many_are_right_and_not_which(capsys):
    case = blind.sick(("a silent layer", "labels shuffled"), seeded(0))
    case.said("a silent layer", "digits missing")
    case.said("a silent layer", "labels shuffled")
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2 named are there, and there is more.",
        "2 of 2 named are there, and that is all.",
    ]
    assert "silent" not in repr(case)
    with pytest.raises(ValueError, match=r"called bad luck.*a silent layer"):
        case.said("bad luck")


@pytest.mark.parametrize(("name", "error"), [("", ValueError), ("  ", ValueError), (3, TypeError)])
def test_a_patient_has_a_name(name, error):
    with pytest.raises(error, match="name must"):
        blind.blind_patient(name)
