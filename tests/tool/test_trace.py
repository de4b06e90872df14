"""``trace_nonfinite`` names the operation and the line where inf or NaN was born, and leaves no trace itself."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradclinic import trace_nonfinite


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(seed=0):
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(seed)), torch.zeros(16, 3)


def root_behind_where(answers, _):
    squared = ((answers[:, None] - answers[None]) ** 2).sum(-1)
    return torch.where(squared > 0, torch.sqrt(squared), torch.zeros_like(squared)).mean()


def log_of_nothing(answers, targets):
    return (targets - torch.log(answers.softmax(1) * 0)).mean()


def mean_of_nobody(answers, _):
    return answers[answers > 1e9].mean()


def norm_at_zero(answers, _):
    return torch.sqrt((answers * 0).pow(2).sum())


def angle(answers, _):
    return torch.acos(answers / answers.abs().max()).mean()


def overflow(answers, _):
    return ((answers * 1e25) ** 2).mean()


def infinity_minus_itself(answers, _):
    large = answers.abs() * 1e30 * 1e30
    return (large - large).mean()


@pytest.mark.parametrize(
    ("loss", "direction", "operation", "gave"),
    [
        (root_behind_where, "backward", "SqrtBackward0", "NaN"),
        (log_of_nothing, "forward", "log", "inf"),
        (mean_of_nobody, "forward", "mean", "NaN"),
        (norm_at_zero, "backward", "SqrtBackward0", "inf"),
        (angle, "backward", "AcosBackward0", "inf"),
        (overflow, "forward", "pow", "inf"),
        (infinity_minus_itself, "forward", "mul", "inf"),
    ],
)
def test_the_operation_and_the_line(loss, direction, operation, gave):
    found = trace_nonfinite(model(), batch(), loss)
    assert (found.direction, found.gave) == (direction, gave)
    assert found.operation.split(" ")[0] == operation
    assert "test_trace.py" in found.line
    line = int(found.line.split(":")[1])
    assert loss.__code__.co_firstlineno < line <= loss.__code__.co_firstlineno + 3, found.line
    assert found.line in str(found)
    assert found.given in str(found)


class Attention(nn.Module):
    def __init__(self, mask):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.mask = mask

    def forward(self, x):
        return self.attention(x, x, x, key_padding_mask=self.mask)[0]


def test_a_mask_is_no_fault_and_a_row_masked_whole_is():
    x, mask = torch.randn(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 2:] = True
    given = (x, torch.zeros(2, 5, 4))
    assert trace_nonfinite(Attention(mask), given, functional.mse_loss) is None
    mask[1] = True
    found = trace_nonfinite(Attention(mask), given, functional.mse_loss)
    assert "softmax" in found.operation
    assert "masked whole" in found.given


def test_what_is_bad_from_the_start_is_named_as_such():
    x, y = batch()
    x[3, 1] = float("nan")
    assert trace_nonfinite(model(), (x, y), functional.mse_loss).direction == "input"
    bad = model()
    with torch.no_grad():
        bad[2].weight[0, 0] = float("inf")
    found = trace_nonfinite(bad, batch(), functional.mse_loss)
    assert (found.direction, found.operation, found.gave) == ("weights", "2.weight", "inf")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "loss", [functional.mse_loss, functional.smooth_l1_loss, lambda a, t: (a.norm() - t.sum()) ** 2]
)
def test_what_is_finite_is_not_blamed(loss, seed):
    assert trace_nonfinite(model(seed), batch(seed), loss) is None


def test_nothing_is_said_and_anomaly_mode_is_as_before(recwarn):
    assert trace_nonfinite(model(), batch(), root_behind_where) is not None
    assert not recwarn.list
    assert not torch.is_anomaly_enabled()


def test_nothing_is_changed():
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    functional.mse_loss(net(batch()[0]), batch()[1]).backward()
    before, gradients = copy.deepcopy(net.state_dict()), [p.grad.clone() for p in net.parameters()]
    state = torch.get_rng_state()
    for loss in (functional.mse_loss, root_behind_where):
        trace_nonfinite(net, batch(), loss)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))


def test_a_batch_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x, targets):
            return {"logits": self.layer(x), "targets": targets}

    x, y = batch()
    found = trace_nonfinite(Named(), {"x": x, "targets": y}, lambda out, _: torch.log(out["logits"] * 0).mean())
    assert found.operation == "log"
