"""Lab 10: the references, against the faults that were put in, and scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from torch.nn.functional import cross_entropy

from gradclinic import Recorder, diagnose
from gradclinic.course.data import digits
from gradclinic.course.exercises import rescue
from gradclinic.course.exercises.patients import real_lines
from gradclinic.course.models import MLP
from gradclinic.course.training import accuracy, fit
from tests.helpers.seeds import every_seed


@every_seed
def test_the_first_symptom_is_the_fault_that_was_put_in(seed):
    silent, lively, own, every, healthy = real_lines(seed)
    for case, kind in ((silent, 1), (lively, 1), (own, 2), (every, 2)):
        step, layer, what = rescue.FIRST_SYMPTOM.reference(*case)
        dead, update = (part.numpy() for part in case)
        assert what == kind
        assert (dead[: step - 1] < 0.9).all(), "nothing before that step"
        assert (update[: step - 1] <= 0.2).all(), "nothing before that step"
        if kind == 1:
            assert step == 1
            assert dead[0, layer - 1] == 1
            assert (dead[0, : layer - 1] < 0.9).all()
        else:  # nothing but the learning rate has changed, and the step before was an ordinary one
            assert update[step - 1, layer - 1] > 0.2 > 0.02 > update[step - 2].max()
    _, layer, _ = rescue.FIRST_SYMPTOM.reference(*own)
    assert (own[1][rescue.FIRST_SYMPTOM.reference(*own)[0] - 1] > 0.02).nonzero().flatten().tolist() == [layer - 1]
    assert (every[0] >= 0.9).any(), "units die of the long steps"
    assert not (every[0][0] >= 0.9).any(), "units die of the long steps"
    assert rescue.FIRST_SYMPTOM.reference(*healthy) == [0, 0, 0]


def _one_step(model, rate, x, y):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    recorder = Recorder(model)
    with recorder:
        cross_entropy(model(x), y).backward()
        optimizer.step()
    record = recorder.record
    hidden = (record.dead[0], record.output_gradient_norm[0, :-1], record.update_ratio[0, :-1])
    return [torch.from_numpy(row.copy()) for row in hidden]


@every_seed
def test_one_repair_after_the_other_makes_the_patient_healthy(seed):
    x, y = digits(seed).x_train[:512], digits(seed).y_train[:512]

    def fresh(bias, scale):  # a step changes a network, so each is made anew
        model, rate = rescue.patient(seed)
        with torch.no_grad():
            if bias:
                getattr(model, f"layer{bias}").bias.zero_()
            for layer in model:
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.mul_(scale)
        return model, rate

    model, rate = fresh(0, 1)
    sunk = [n for n in range(1, 17) if (getattr(model, f"layer{n}").bias < -1).all()]
    assert [rescue.NEXT_REPAIR.reference(*_one_step(model, rate, x, y))] == [[sunk[0], 1, 1]]
    model, _ = fresh(sunk[0], 1)
    std = torch.cat([getattr(model, f"layer{n}").weight.flatten() for n in range(2, 17)]).std().item() * 48**0.5
    none, scale, one = rescue.NEXT_REPAIR.reference(*_one_step(model, rate, x, y))
    assert (none, one) == (0, 1), "He's, from the record alone"
    assert scale * std == pytest.approx(2**0.5, rel=0.15), "He's, from the record alone"
    dead, gradient, update = _one_step(fresh(sunk[0], scale)[0], rate, x, y)
    assert 0.3 < gradient[0] / gradient[-1] < 3
    none, one, slower = rescue.NEXT_REPAIR.reference(dead, gradient, update)
    assert (none, one) == (0, 1)
    dead, gradient, update = _one_step(fresh(sunk[0], scale)[0], rate * slower, x, y)
    # the record divides by the weights after the step, and a step that was too long has made them larger
    assert 0.005 <= update.max().item() < 0.015
    assert rescue.NEXT_REPAIR.reference(dead, gradient, update) == [0, 1, 1]


@pytest.mark.long  # six trainings
@every_seed
def test_the_patient_has_three_faults_each_hides_the_next_and_each_is_enough(seed):
    data = digits(seed)

    def trained(biases, weights, slower):
        model, rate = rescue.patient(seed)
        with torch.no_grad():
            torch.manual_seed(seed)
            for layer in model:
                if isinstance(layer, torch.nn.Linear):
                    if biases:
                        layer.bias.zero_()
                    if weights:
                        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        recorder = Recorder(model)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3 if slower else rate)
        fit(model, data, optimizer, 5, progress=False, recorder=recorder)
        return diagnose(recorder.record).kind, accuracy(model, data.x_test, data.y_test)

    rounds = [trained(*repairs) for repairs in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1))]
    assert [kind for kind, _ in rounds] == ["dying ReLU", "vanishing", "learning rate too high", "healthy"]
    one_left = [rounds[2], trained(0, 1, 1), trained(1, 0, 1)]
    assert max(reached for _, reached in one_left) < 0.3, "guessing gets 0.1"
    assert rounds[-1][1] > 0.5, "and after five epochs more"


def test_what_a_rescue_is_judged_by_is_the_network_that_comes_back():
    exercise, data = rescue.RESCUE, digits(4)
    (case,) = exercise.cases(4)
    shown = rescue.shown(4)
    assert len(case[2]) == len(data.x_train), "the digits held apart are not given"
    order = torch.randperm(64, generator=torch.Generator().manual_seed(4))
    given, apart = case[2], data.x_test[:, order]
    assert torch.equal(given, data.x_train[:, order]), "pixels in an order of their own"
    same = [int((given == image).all(1).sum()) for image in apart]
    assert sum(same) <= 2, "the digits held apart are not given"
    numbers = {(old, new) for old, new in zip(data.y_train.tolist(), case[3].tolist(), strict=True)}
    assert len(numbers) == 10, "each class has one number, an own one"
    assert any(old != new for old, new in numbers), "each class has one number, an own one"
    assert len(case) == 4, "the digits held apart are not given"
    healthy = MLP(16, 48, "relu", "he", seed=9)  # other weights than the reference's, and trained otherwise
    fit(healthy, shown, torch.optim.AdamW(healthy.parameters(), 2e-3), 12, progress=False)
    reached = accuracy(healthy, shown.x_test, shown.y_test)
    assert reached >= rescue.ENOUGH
    lists = [parameter.tolist() for parameter in healthy.parameters()]  # as they come out of the jail
    assert exercise.judge([lists], 4).status == "right"
    assert exercise.judge([lists[:-1]], 4).message.startswith("The answer should have")
    assert "not a finite number" in exercise.judge([[*lists[:-1], [float("nan")] * 10]], 4).message
    assert (
        exercise.judge([[parameter.detach() for parameter in case[0].parameters()]], 4).mistake == "silent layer left"
    )


@every_seed
def test_the_proof_is_the_paired_interval_of_scipy(seed):
    for validation, held_apart, reference, t in rescue.PROOF.cases(seed):
        chosen = int(np.argmax(validation.numpy().mean(1)))
        expected = ttest_rel(held_apart[chosen], reference).confidence_interval(0.95).low
        assert rescue.PROOF.reference(validation, held_apart, reference, t).item() == pytest.approx(expected)
        assert chosen != int(held_apart.mean(1).argmax()), "to choose by the held-apart digits would be another choice"
        assert chosen != int(validation.max(1).values.argmax()), "and so would the best single run"
