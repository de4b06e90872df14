"""Sentences of the book that a reader refuted: each counterexample computed, and the old words gone."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, hardswish, mish, one_hot

from gradclinic import probe
from gradclinic.course import theory
from gradclinic.course.audit import half_precision
from gradclinic.course.audit.recurrence import spiked_steps
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from tests.helpers import ROOT, page_names

OLD = {
    "live": [
        "the theory of this course says nothing",
    ],
    "remedies/gated-recurrence": [
        "came through the gates",
        "and through the gates",
        "can grow through the gates",
        "gradient at the first step over that at the last:\n",
        "have to be kept",
        "no piece should be shorter",
    ],
    "identification/tools": [
        "and it is built well",
        "no learning rate will make it level",
        "cannot learn as it is built",
        "not recorded it does nothing",
    ],
    "identification/vanishing": [
        "does not come back by waiting",
        "does stagnate",
        "*to* the line has learnt nothing",
        "and nothing else",
        "gone, and of a decay that Adam has blown up",
    ],
    "reference/glossary": [
        "guessing has learnt nothing",
        "Small gradients do not become 0",
        "In between nothing is lost",
        "no signal settles in them above 0",
    ],
    "identification/half-precision": [
        "No window is wide enough",
        "falling is an [explosion](exploding.md).",
        "With float16, always use",
    ],
    "identification/exploding": ["** The weights are lost.", "one batch.** If the loss of the very batch rises"],
    "identification/not-the-gradient": [
        "not behind it",
        "every tanh lies",
        "no instrument of the earlier",
        "The loss is NaN in step 1",
    ],
    "remedies/clipping": ["*every* step changes little; the", "In nearly all: lower the learning rate"],
    "vanishing/why": [
        "unit is a closed door",
        "none saturated?** The weights are too small",
        "with random inputs",
        "something else than the weights",
        "has reached its ceiling",
    ],
    "vanishing/what": ["lead. The length of a step says nothing", "still guesses when all its layers take long steps"],
    "backpropagation": [
        "If all weights are equal, in every layer, all units",
        "If either is tiny",
        "if all inputs are positive, one direction",
    ],
    "remedies/skip-connections": ["one half and no more"],
    "remedies/choosing": ["times larger after 20 layers, because [the means"],
    "remedies/initialization": ["Compute its scale,** as below"],
    "remedies/activations": ["This can happen in two ways"],
    "remedies/batch-normalization": ["for any continuous activation", "**A batch of one.** There is no spread"],
    "exploding/why": [
        "Each of these recipes puts its activation",
        "From a weight scale of $\\sqrt2$",
        "holds bit for bit",
        "call the plane a phase diagram",
        "On a bowl the weights grow",
    ],
    "reference/reproductions": ["Two things differ"],
}


@pytest.mark.parametrize("page", OLD)
def test_the_old_words_are_gone(page):
    assert f"book/{page}" in page_names()
    text = " ".join((ROOT / "book" / f"{page}.md").read_text().split())
    for words in OLD[page]:
        assert " ".join(words.split()) not in text, words


def test_the_glossary_has_no_word_that_its_page_does_not_use():
    assert not re.search(r"^gain$", (ROOT / "book" / "reference" / "glossary.md").read_text(), re.MULTILINE)


class _Rows(nn.Module):
    """Reads a digit row by row, by a layer that takes all rows at once, or by a cell that is called for each."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell, self.out = cell, nn.Linear(8, 10)

    def forward(self, x):
        rows = x.reshape(len(x), 8, 8)
        if not isinstance(self.cell, nn.RNNCellBase):
            return self.out(self.cell(rows)[0][:, -1])
        state = None
        for row in rows.unbind(1):
            state = self.cell(row, state)
        return self.out(state[0] if isinstance(state, tuple) else state)


@pytest.mark.parametrize(
    ("cell", "known"), [("RNN", True), ("LSTMCell", True), ("GRUCell", True), ("LSTM", False), ("GRU", False)]
)
def test_a_ratio_through_time_is_known_where_the_steps_are_seen(cell, known):
    settings = {} if cell.endswith("Cell") else {"batch_first": True}
    data = digits()
    record = probe(_Rows(getattr(nn, cell)(8, 8, **settings)), data.x_train[:32], data.y_train[:32])
    assert np.isfinite(record.time_ratio[0, 0]) == known


def _one_step(function, scale=2.0**16, steps=1):
    """A weight that ``function`` makes a loss of, after steps with a scaler; and the scale after each."""
    weight = nn.Parameter(torch.tensor([0.0, 4.0]))
    optimizer, scaler = torch.optim.SGD([weight], 0.1), torch.amp.GradScaler("cpu", init_scale=scale)
    scales = []
    for _ in range(steps):
        optimizer.zero_grad()
        scaler.scale(function(weight)).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return weight, scales


def _masked_behind(weight):
    return torch.where(weight > 0, weight.sqrt(), torch.zeros_like(weight)).sum()


def test_the_scale_falls_without_an_explosion_and_the_weights_are_not_lost():
    weight, scales = _one_step(_masked_behind, steps=5)
    assert scales == [2.0**exponent for exponent in (15, 14, 13, 12, 11)]
    assert weight.tolist() == [0, 4]


def test_clipping_that_raises_stops_a_scaler_that_would_have_found_its_scale():
    model, (x, y) = half_precision.network(0), (digits().x_train[:64], digits().y_train[:64])
    optimizer, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu", init_scale=2.0**24)
    for raising in (True, *[False] * 8):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if raising:
            with pytest.raises(RuntimeError, match="non-finite"):
                nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    assert 2.0**14 < scaler.get_scale() < 2.0**24
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_scaler_refuses_weights_in_half_precision():
    model = nn.Linear(4, 2).half()
    optimizer, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.ones(1, 4).half()).float().sum()).backward()
    with pytest.raises(ValueError, match="unscale FP16"):
        scaler.step(optimizer)


def test_a_network_that_is_right_and_much_too_sure_has_a_loss_above_guessing():
    data, model = digits(), MLP(2, 64, "relu", "he", seed=0)
    fit(model, data, torch.optim.Adam(model.parameters(), 1e-3), 8, progress=False)
    scores = model(data.x_test).detach()
    assert (scores.argmax(1) == data.y_test).double().mean() > 0.9
    assert cross_entropy(scores, data.y_test) < 0.5
    assert cross_entropy(30 * scores, data.y_test) > 1.5 * math.log(10)


def _window(depth: int, seed: int) -> float:
    """Decades of two between the ends of the window of the page's network, at another depth."""
    sizes = [v.abs()[v != 0].double() for v in half_precision.gradients("float32", 0, seed, depth)]
    low = max(np.log2(half_precision.BECOMES_ZERO / float(v.quantile(0.01))) for v in sizes)
    return np.log2(half_precision.LAST_FINITE / max(float(v.max()) for v in sizes)) - low


def test_ten_vanishing_layers_have_a_window_and_it_narrows_with_depth():
    assert math.isclose(_window(half_precision.LAYERS, 0), np.diff(half_precision.window(0))[0])
    widths = np.array([[_window(depth, seed) for depth in (6, 10, 14, 18)] for seed in range(5)])
    assert (np.diff(widths, axis=1) < 0).all()
    assert widths[:, 1].min() > 8
    assert widths[:, 3].max() < 0


def test_with_momentum_a_short_step_may_raise_the_loss_of_its_own_batch():
    def rises(momentum):
        weight = nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
        optimizer = torch.optim.SGD([weight], 0.01, momentum=momentum)
        rose = False
        for slope in (1.0, -0.1):  # two batches with losses that are straight lines: no step is too long on them
            optimizer.zero_grad()
            before = slope * weight
            before.backward()
            optimizer.step()
            rose = rose or bool(slope * weight > before)
        return rose

    assert rises(0.9)
    assert not rises(0.0)


def test_one_mask_before_the_root_makes_a_distance_of_0_a_distance_of_1():
    features = torch.ones(2, 3, requires_grad=True)
    squared = ((features[:, None] - features[None]) ** 2).sum(-1)
    before = torch.sqrt(torch.where(squared > 0, squared, 1.0))
    assert (before == 1).all()
    both = before * (squared > 0)
    assert (both == 0).all()
    both.sum().backward()
    assert features.grad.isfinite().all()


def test_clipping_in_every_step_changes_adam_much_where_gradients_differ_in_size():
    free, clipped = (spiked_steps("Adam", 1000.0, clip, 1002, 1000)[1000] for clip in (None, 0.5))  # all are above 0.5
    assert free > 2 * clipped
    alike = [spiked_steps("Adam", 1.0, clip, 120, 100)[100] for clip in (None, 0.5)]
    assert math.isclose(*alike, rel_tol=1e-6)


@pytest.mark.parametrize("equal", [True, False])
def test_units_with_equal_weights_stay_alike_if_their_biases_are_equal_too(equal):
    model, data = MLP(2, 16, "tanh", 1.0, seed=0).double(), digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for layer in (model.layer1, model.layer2, model.readout):
        nn.init.constant_(layer.weight, 0.05)
        biases = torch.linspace(-1, 1, len(layer.bias)).double()
        layer.bias.data = torch.full_like(biases, 0.05) if equal else biases
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(model(data.x_train[:64].double()), data.y_train[:64]).backward()
        optimizer.step()
    weight = model.layer1.weight.detach()
    assert ((weight - weight[0]).abs().max() < 1e-12) == equal


def test_at_zero_a_bias_lets_the_last_weights_move():
    data = digits()
    for bias, moves in ((0.0, False), (0.5, True)):
        model = MLP(2, 16, "tanh", 1.0, seed=0)
        for name, parameter in model.named_parameters():
            nn.init.constant_(parameter, bias if name.endswith("bias") else 0.0)
        cross_entropy(model(data.x_train[:64]), data.y_train[:64]).backward()
        assert (model.readout.weight.grad.abs().max() > 0) == moves
        assert model.layer1.weight.grad.abs().max() == 0


def test_adam_moves_a_layer_whose_gradient_is_a_tiny_product():
    moved = {}
    for optimizer in (torch.optim.SGD, torch.optim.Adam):
        weight = nn.Parameter(torch.ones(4))
        weight.grad = torch.full((4,), 1e-6)
        optimizer([weight], lr=0.01).step()
        moved[optimizer] = float((weight.detach() - 1).abs().max())
    assert moved[torch.optim.SGD] < 1e-6
    assert moved[torch.optim.Adam] > 0.009


def test_positive_inputs_with_small_means_have_no_direction_that_is_far_steeper():
    inputs = one_hot(torch.arange(64)).double() + 0.001
    assert inputs.min() > 0
    curvatures = torch.linalg.eigvalsh(inputs.T @ inputs / len(inputs))
    assert curvatures[-1] < 1.2 * curvatures[-2]


@pytest.mark.parametrize("entering", ["all ones", "mean zero", "behind ReLU"])
def test_the_sum_of_many_scaled_relu_blocks_grows_by_what_its_mean_says(entering):
    generator = torch.Generator().manual_seed(0)
    width, blocks = 1024, 100
    h = torch.randn(1, width, generator=generator)
    h = {"all ones": torch.ones(1, width), "mean zero": h - h.mean(), "behind ReLU": h.relu()}[entering]
    start, share = h.norm(), float(h.mean() / h.square().mean().sqrt())
    for _ in range(blocks):
        h = h + (h @ torch.randn(width, width, generator=generator) * (2 / width) ** 0.5).relu() / blocks
    rate = math.pi**-0.5
    told = math.cosh(rate) + share * math.sinh(rate)
    assert abs(float(h.norm() / start) / told - 1) < 0.05
    assert {"all ones": 1.7, "mean zero": 1.1, "behind ReLU": 1.4}[entering] < told <= math.exp(rate) + 1e-9


@pytest.mark.parametrize("activation", [mish, hardswish])
def test_some_smooth_activations_stand_on_an_edge_as_gelu_does(activation):
    scale = theory.critical_weight_std(activation)
    keeps = [theory.variance_map(activation, scale, q) / q for q in (0.1, 1.0, 3.0)]
    assert keeps[0] < 0.95
    assert math.isclose(keeps[1], 1, abs_tol=1e-6)
    assert keeps[2] > 1.05
    x, y = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 10
    model = MLP(30, 256, activation, scale, seed=0)
    ratios = [r[0, 0] / r[0, 29] for r in (probe(model, size * x, y).output_gradient_norm for size in (0.3, 1.0))]
    assert ratios[1] > 5 * ratios[0]


def test_doubling_alone_does_not_give_the_growth_of_twenty_bare_relu_blocks():
    size, _ = theory.residual_growth("relu", 20, math.sqrt(2))
    assert size[-1] > 10 * 2 ** (19 / 2)


def test_a_batch_of_one_has_a_spread_in_a_convolution():
    assert nn.BatchNorm2d(3)(torch.randn(1, 3, 8, 8)).isfinite().all()
    with pytest.raises(ValueError, match="more than 1 value"):
        nn.BatchNorm1d(3)(torch.randn(1, 3))


def test_plain_descent_with_strong_decay_runs_to_zero_too():
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], 0.5, weight_decay=0.1)
    for _ in range(60):
        weight.grad = torch.zeros(4)
        optimizer.step()
    assert weight.max() < 0.05


# --- what a fifth reader refuted ------------------------------------------------------------------------------------


def lstm_gain(seed: int, forget_bias: float, blocked: tuple[str, ...]) -> float:
    """Gradient at the cell of the first of fifty steps over that of the last, with some ways of the output blocked."""
    torch.manual_seed(seed)
    layer, x = nn.LSTMCell(2, 32).double(), torch.rand(64, 50, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.bias_ih[32:64], layer.bias_hh[32:64] = forget_bias, 0.0
    state, cells = torch.zeros(64, 32, dtype=torch.float64), [torch.zeros(64, 32, dtype=torch.float64)]
    cells[0].requires_grad_()
    for step in range(50):
        inward = x[:, step] @ layer.weight_ih.T + layer.bias_ih + layer.bias_hh
        free, held = (inward + h @ layer.weight_hh.T for h in (state, state.detach()))
        i, f, _, o = (held if "gates" in blocked else free).chunk(4, 1)
        g = (held if "candidate" in blocked else free).chunk(4, 1)[2]
        cells.append(f.sigmoid() * cells[-1] + i.sigmoid() * g.tanh())
        state = o.sigmoid() * cells[-1].tanh()
    first, last = torch.autograd.grad(state.sum(), [cells[1], cells[-1]])
    return float(first.norm() / last.norm())


@pytest.mark.parametrize("forget_bias", [0.0, 4.0])
def test_most_of_an_lstm_s_gradient_comes_through_the_new_content(forget_bias):
    def middle(*blocked: str) -> float:
        return math.exp(np.mean([math.log(lstm_gain(seed, forget_bias, blocked)) for seed in range(20)]))

    free, gates, candidate = middle(), middle("gates"), middle("candidate")
    assert gates > 0.5 * free, "the gates' own ways carry little"
    assert candidate < 0.3 * free
    assert forget_bias < 4 or gates > 1 > candidate, "and it is this way that makes it grow"


def test_where_relu_explodes_the_curvature_may_be_zero():
    data = digits()
    x, t = data.x_train[:64].double(), data.y_train[:64]
    for seed in range(20):
        model = MLP(20, 64, "relu", 4.0, seed=seed).double()
        weight = model.layer1.weight
        (gradient,) = torch.autograd.grad(cross_entropy(model(x), t), weight, create_graph=True)
        direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        (curved,) = torch.autograd.grad((gradient * direction).sum(), weight)
        assert gradient.norm() > 1e6
        assert curved.norm() < 1e-6 * gradient.norm()


def test_weights_that_do_not_average_to_zero_close_a_door():
    data = digits()
    ratios = {}
    for shift in (0.0, 0.3):
        found = []
        for seed in range(20):
            model = MLP(6, 128, "sigmoid", 1.0, seed=seed)
            with torch.no_grad():
                model.layer4.weight.add_(shift)
            record = probe(model, data.x_train[:256], data.y_train[:256])
            found.append(max(record.output_gradient_norm[0, 2] / record.output_gradient_norm[0, 5], 1e-30))
        ratios[shift] = np.exp(np.log(found).mean())
    assert ratios[0.3] < 1e-3 * ratios[0.0]


def test_finite_entries_can_overflow_the_norm_and_leave_nothing():
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.full((4,), 1e20)
    assert nn.utils.clip_grad_norm_([weight], 1.0).isinf()
    assert (weight.grad == 0).all()


def test_a_step_of_plain_descent_is_rounded_once():
    draw = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(1000, generator=draw) for _ in range(2))
    after = weight.clone().requires_grad_()
    after.grad = gradient.clone()
    torch.optim.SGD([after], 0.1).step()
    exact = weight.double() - float(np.float32(0.1)) * gradient.double()
    assert ((after.double() - exact).abs() <= 2e-7 * exact.abs().clamp(min=1e-2)).all()
    assert (after.detach() - weight == -0.1 * gradient).float().mean() < 0.5, "the difference is not the step to a bit"


# --- what a sixth reader refuted ------------------------------------------------------------------------------------


def bare_relu_layers(seed: int) -> nn.Sequential:
    """Twenty ReLU layers as ``nn.Linear`` draws them, without biases."""
    torch.manual_seed(seed)
    layers = [part for _ in range(20) for part in (nn.Linear(64, 64, bias=False), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10, bias=False)).double()


def test_weight_gradients_can_be_level_where_signal_and_gradient_both_fade():
    data = digits()
    x, y = data.x_train[:256].double(), data.y_train[:256]
    weights, arriving = [], []
    for seed in range(20):
        record = probe(bare_relu_layers(seed), x, y)
        norms, at = np.asarray(record.gradient_norm[0]), record.output_gradient_norm[0]
        weights.append((norms[0] / norms[-1], norms.max()))
        arriving.append(at[0] / at[19])
    level, size = np.exp(np.log(weights).mean(0))
    assert 1 / 3 < level < 3
    assert size < 1e-6
    assert np.exp(np.log(arriving).mean()) < 1e-6, "the gradient at the pre-activations tells"


def test_layers_above_live_on_what_a_leak_passes():
    data, reached = digits(), {}
    for activation in ("relu", "leaky_relu"):
        for seed in range(5):
            model = MLP(3, 64, activation, "he", seed=seed)
            nn.init.constant_(model.layer1.bias, -8.0)
            model.layer1.requires_grad_(False)
            moved = [parameter for parameter in model.parameters() if parameter.requires_grad]
            history = fit(model, data, torch.optim.Adam(moved, lr=1e-2), 10, seed=seed, progress=False)
            reached.setdefault(activation, []).append(history.test_accuracy[-1])
    assert max(reached["relu"]) < 0.2
    assert min(reached["leaky_relu"]) > 0.5


def test_the_share_of_zeros_behind_a_healthy_relu_is_a_half_at_the_start_only():
    data, model = digits(), MLP(3, 64, "relu", "pytorch", seed=0)

    def zeros() -> list[float]:
        signal, shares = data.x_train, []
        with torch.no_grad():
            for name, module in model.named_children():
                signal = module(signal)
                if name.startswith("activation"):
                    shares.append(float((signal == 0).float().mean()))
        return shares

    assert all(0.4 < share < 0.6 for share in zeros())
    history = fit(model, data, torch.optim.Adam(model.parameters(), lr=1e-3), 12, progress=False)
    assert history.test_accuracy[-1] > 0.9
    assert min(zeros()) < 0.35


@pytest.mark.parametrize(("width", "least", "most"), [(8, 0.0, 1e-4), (256, 0.02, 0.2)])
def test_at_the_critical_scale_a_narrow_network_loses_exponentially(width, least, most):
    data = digits()
    ratios = []
    for seed in range(20):
        norms = probe(MLP(200, width, "tanh", 1.0, seed=seed).double(), data.x_train[:16].double(), data.y_train[:16])
        ratios.append(norms.output_gradient_norm[0, 0] / norms.output_gradient_norm[0, 199])
    assert least < np.exp(np.log(ratios).mean()) < most


def test_a_factor_below_one_in_every_layer_need_not_leave_almost_nothing():
    told = theory.gradient_profile("tanh", 100, 1.0, 0.5).double()
    factors = told[:-1] / told[1:]
    assert (factors < 1).all()
    assert float(told[0]) > 0.05


def test_biases_can_make_a_gradient_fade_that_the_same_weights_keep():
    data = digits()
    kept, faded = [], []
    for seed in range(20):
        model = MLP(30, 256, "tanh", 1.2, seed=seed)
        for ratios in (kept, faded):
            record = probe(model, data.x_train[:64], data.y_train[:64])
            ratios.append(record.output_gradient_norm[0, 0] / record.output_gradient_norm[0, 29])
            torch.manual_seed(seed)
            for name, parameter in model.named_parameters():
                if name.endswith("bias") and name.startswith("layer"):
                    nn.init.normal_(parameter, std=0.5)
    assert min(kept) > 0.3
    assert max(faded) < 0.1


def test_a_saturated_sigmoid_network_may_still_vanish_with_large_random_weights():
    assert theory.chi("sigmoid", 8.0, theory.fixed_point("sigmoid", 8.0)) < 0.9
    assert 10 < theory.critical_weight_std("sigmoid") < 10.3


def test_eighty_tanh_layers_at_a_scale_of_1_2_pass_two_to_three_times_the_gradient():
    data = digits()
    for width in (64, 128):
        found = []
        for seed in range(20):
            record = probe(MLP(80, width, "tanh", 1.2, seed=seed), data.x_train[:64], data.y_train[:64])
            found.append(record.output_gradient_norm[0, 0] / record.output_gradient_norm[0, 79])
        assert 1.7 < np.exp(np.log(found).mean()) < 3.5


def test_elu_fades_at_its_critical_scale_and_settles_a_little_above():
    elu = nn.functional.elu
    scale = theory.critical_weight_std(elu)
    assert math.isclose(scale, 1, abs_tol=0.01)
    assert theory.fixed_point(elu, scale) < 1e-3
    assert 0.05 < theory.fixed_point(elu, 1.1) < 0.15
    passed = {size: float(theory.gradient_profile(elu, 20, size, 1.0)[0]) for size in (scale, 1.1)}
    assert passed[1.1] > 2 * passed[scale]
    longer = float(theory.gradient_profile(elu, 100, scale, 1.0)[0])
    assert 1 / 7 < longer / passed[scale] < 1 / 4, "about as one over the depth"


def test_a_smaller_rate_may_be_quicker_along_a_direction_that_is_little_flatter():
    flatter = 0.8
    assert abs(1 - 0.9 * flatter) < abs(1 - 1.8 * flatter)
