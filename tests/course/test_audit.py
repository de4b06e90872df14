"""Every claim's verdict over 20 seeds, and the marks on the pages that repeat it."""

import re

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gradclinic.course import audit, theory
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from tests.helpers import ROOT
from tests.helpers.verdicts import VERDICTS

BOOK = ROOT / "book"

# Whole trainings of recurrent or of very deep networks take too long for more than ten seeds.
TRAININGS_COMPARED = {"S16", "S17", "S18", "S19"}

BADGE = re.compile(r"\{bdg-ref-(\w+)\}`([ST]\d+) ([^<`]+?) <claim-([st]\d+)>`")
COLOURS = {audit.HOLDS: "success", audit.CONDITION: "warning", audit.FAILS: "danger"}


ALL = (*audit.claims(), *audit.claims("T"))


def test_every_claim_of_these_chapters_is_measured():
    assert set(audit.claims()) == set(VERDICTS), "the audit and the list of verdicts name different claims"


@pytest.mark.parametrize("id", audit.claims("T"))
def test_what_the_course_states_itself_holds(id):
    found = audit.finding(id)
    numbers = "; ".join(f"{q.what}: {q.summary}, asked {q.expected}" for q in found.as_stated)
    assert found.verdict == audit.HOLDS, f"{id} {found.verdict}: {numbers}"


@pytest.mark.parametrize("id", VERDICTS)
def test_verdict_over_twenty_seeds(id):
    found = audit.finding(id)
    numbers = "; ".join(f"{q.what}: {q.summary}, asked {q.expected}" for q in (*found.as_stated, *found.corrected))
    assert found.verdict == VERDICTS[id], f"{id} {found.verdict}, but should be {VERDICTS[id]!r}: {numbers}"


@pytest.mark.parametrize("id", ALL)
def test_what_is_random_is_measured_on_twenty_seeds(id):
    found = audit.finding(id)
    counts = {len(quantity.measured) for quantity in (*found.as_stated, *found.corrected)}
    allowed = {1, 20, 10} if id in TRAININGS_COMPARED else {1, 20}
    assert counts <= allowed, f"{id} has quantities with {counts} values; random ones need 20 seeds"


def test_a_verdict_follows_from_its_quantities():
    met, missed = (audit.Quantity("x", (1.0,), "anything", holds) for holds in (True, False))
    assert audit.Finding("S0", "", (met,)).verdict == audit.HOLDS
    assert audit.Finding("S0", "", (met, missed), "so", (met,)).verdict == audit.CONDITION
    assert audit.Finding("S0", "", (missed,), "so", (met, missed)).verdict == audit.FAILS
    assert audit.Finding("S0", "", (missed,)).verdict == audit.FAILS


def test_an_unknown_claim_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'S99'.*S1, S2"):
        audit.finding("S99")


def marks():
    """(page, colour, id, words, id in the link) of every claim mark in the book."""
    return [(page.name, *match) for page in sorted(BOOK.rglob("*.md")) for match in BADGE.findall(page.read_text())]


def test_marks_on_the_pages_say_what_the_audit_found():
    assert marks(), "no page carries a claim mark"
    for page, colour, id, words, link in marks():
        assert id == link.upper(), f"{page}: the mark {id} links to claim {link.upper()}"
        found = audit.finding(id).verdict
        assert words == found, f"{page}: the mark says {id} {words}, the audit says it {found}"
        assert colour == COLOURS[found], f"{page}: the mark of {id} has the colour of another verdict"


def test_every_claim_stands_on_a_page_and_in_the_audit():
    shown = {id for page, _, id, _, _ in marks() if page != "audit.md"}
    assert shown == set(ALL), f"not marked on any page: {set(ALL) - shown}"
    sections = re.findall(
        r"\(claim-([st]\d+)\)=\n### ([ST]\d+): .+\n\n```\{code-cell\} python\n.*\naudit\.finding\(\"([ST]\d+)\"\)",
        (BOOK / "audit.md").read_text(),
    )
    assert {row[1] for row in sections} == set(ALL), "the audit page lacks a claim's section"
    for label, heading, shown_id in sections:
        assert label.upper() == heading == shown_id, f"the section {heading} shows {shown_id}"


# --- numbers in the prose that no cell of the page prints ---


def test_one_weight_in_eleven_differs_after_two_roundings():
    share = np.array(audit.finding("S26").as_stated[2].measured)
    assert (np.round(1 / share) == 11).all(), f"the optimisation page says one in eleven, measured are {1 / share}"


def test_up_to_three_layers_sigmoid_keeps_up_and_at_eight_it_does_not():
    sigmoid, relu = (
        {depth: np.mean(v) for depth, v in audit.networks.accuracy_by_depth(name).items()}
        for name in ("sigmoid", "relu")
    )
    assert all(relu[d] - sigmoid[d] < 0.03 for d in (1, 2, 3)), (sigmoid, relu)
    assert sigmoid[8] < 0.5 < relu[8], (sigmoid, relu)
    assert sigmoid[20] < 0.15, (sigmoid, relu)
    assert relu[20] > 0.8, (sigmoid, relu)


def test_every_activation_vanishes_with_the_default_start_of_pytorch():
    for activation in theory.ACTIVATIONS:
        assert (audit.networks.profiles(20, activation, "pytorch", width=128)[:, 0] < 1e-3).all(), activation


def test_sigmoid_needs_weights_ten_times_larger_than_usual():
    assert theory.chi("sigmoid", 10.0, theory.fixed_point("sigmoid", 10.0)) == pytest.approx(1, abs=0.05)
    assert all(theory.chi("sigmoid", s, theory.fixed_point("sigmoid", s)) < 0.9 for s in (0.5, 1, 2, 4, 8))


def test_claims_come_in_the_order_of_the_lecture():
    numbers = [int(id[1:]) for id in audit.claims()]
    assert numbers == sorted(numbers)


def test_a_tanh_layer_at_scale_four_multiplies_by_little_more_than_one_and_a_half():
    assert 1.5 < audit.exploding.norm_factors("tanh", 4.0).mean() < 1.6
    assert audit.exploding.norm_factors("linear", 4.0).mean() == pytest.approx(4, rel=0.01)


def test_with_the_same_weights_relu_vanishes_where_a_linear_network_explodes():
    linear, relu = (audit.networks.profiles(40, name, 1.2, width=128)[:, 0] for name in ("linear", "relu"))
    assert (linear > 100).all(), f"{linear}, {relu}"
    assert (relu < 0.01).all(), f"{linear}, {relu}"


@pytest.mark.parametrize("weight_std", [20.0, 50.0])
def test_chi_of_saturated_tanh_is_half_the_weight_scale(weight_std):
    chi = theory.chi("tanh", weight_std, theory.fixed_point("tanh", weight_std))
    assert chi / weight_std == pytest.approx(4 / (3 * np.sqrt(2 * np.pi)), rel=0.03)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("weight_std", [8.0, 12.0, 20.0, 32.0])
def test_digits_overflow_float32_within_a_layer_of_the_prediction(activation, weight_std):
    predicted = audit.networks.predicted_overflow(activation, weight_std)
    sizes = audit.networks.signal_sizes(int(predicted) + 3, activation, weight_std)
    first = (~np.isfinite(sizes)).argmax(1) + 1
    assert not np.isfinite(sizes[:, -1]).any(), "every network has overflown three layers later"
    assert (np.abs(first - predicted) <= 1).all(), (
        f"first layers {sorted(set(first.tolist()))}, predicted {predicted:g}"
    )


def test_the_curvature_explodes_like_the_square_of_the_gradient():
    (g1, c1), (g4, c4) = (audit.exploding.steepest_curvature(scale) for scale in (1.0, 4.0))
    decades = [np.log10(high).mean() - np.log10(low).mean() for low, high in ((g1, g4), (c1, c4))]
    assert decades[1] / decades[0] == pytest.approx(2, abs=0.15), decades


def test_the_steepest_curvature_is_that_of_finite_differences():
    x, y = digits().x_train[:64].double(), digits().y_train[:64]
    model = MLP(20, 64, "tanh", 2.0, seed=0).double()
    weight = model.layer1.weight
    start, size = weight.detach().clone(), 1e-6
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(60):  # power iteration, without any second derivative
        direction /= direction.norm()
        gradients = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.copy_(start + sign * size * direction)
            gradients.append(torch.autograd.grad(cross_entropy(model(x), y), weight)[0])
        change = (gradients[0] - gradients[1]) / (2 * size)
        curvature = (direction * change).sum().item()
        direction = change
    assert curvature > 0, "another start is needed: here the loss bends most along a ridge"
    assert audit.exploding.steepest_curvature(2.0, (0,))[1][0] == pytest.approx(curvature, rel=0.02)


def test_every_step_on_the_flat_bowl_has_a_gradient_above_800():
    flat, smallest, *_ = audit.finding("S28").as_stated
    assert smallest.measured[0] > 800
    assert flat.measured[0] < 1


def test_the_two_runs_of_the_tools_page_differ_in_what_could_mend_them():
    timid, mended = (
        [audit.networks.run(20, "relu", "he", "Adam", rate, epochs, seed).accuracy for seed in audit.SEEDS]
        for rate, epochs in ((1e-6, 3), (3e-3, 10))
    )
    assert max(timid) < 0.2, "the page says that this network does not learn"
    assert min(mended) > 0.7, "and that it would with another learning rate"
