"""Blocks of attention do what PyTorch's own do, and start as the papers say; what is predicted of them is so."""

import math

import pytest
import torch
from torch import nn

from gradclinic.course import theory
from gradclinic.course.attention import Attention, Block, CharacterModel, Transformer
from gradclinic.course.audit.characters import LEAGUE, speller
from gradclinic.course.data import PROSE, prose

X = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_the_library(causal):
    ours = Attention(12, 3, causal)
    peer = nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        peer.out_proj.weight.copy_(ours.out.weight)
    mask = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    expected = peer(X, X, X, attn_mask=mask, need_weights=False)[0]
    assert torch.allclose(ours(X), expected, atol=1e-6)


@pytest.mark.parametrize("arrangement", ["pre", "post"])
def test_a_block_is_that_of_the_library(arrangement):
    ours = Block(arrangement, 1, 12, 3)
    peer = nn.TransformerEncoderLayer(
        12, 3, 48, dropout=0.0, batch_first=True, norm_first=arrangement == "pre", bias=False
    )
    with torch.no_grad():
        attention = ours.attention
        matrices = [attention.query.weight, attention.key.weight, attention.value.weight]
        peer.self_attn.in_proj_weight.copy_(torch.cat(matrices))
        peer.self_attn.out_proj.weight.copy_(attention.out.weight)
        peer.linear1.weight.copy_(ours.feed_forward[0].weight)
        peer.linear2.weight.copy_(ours.feed_forward[2].weight)
    assert torch.allclose(ours(X), peer(X), atol=1e-5)


def test_unit_logits_are_at_most_the_root_of_a_heads_width_whatever_the_weights():
    ours = Attention(12, 3, unit_logits=True)
    with torch.no_grad():
        ours.query.weight.mul_(1e3)
    queries, keys = (layer(X).unflatten(2, (3, 4)).transpose(1, 2) for layer in (ours.query, ours.key))
    assert ours.logits(queries, keys).abs().max() > 100
    assert ours.logits(ours.query_norm(queries), ours.key_norm(keys)).abs().max() <= math.sqrt(4) + 1e-5


def test_rezero_starts_as_the_identity_and_can_leave_it():
    block = Block("rezero", 5, 12, 3)
    assert torch.equal(block(X), X)
    block(X).square().sum().backward()
    assert block.gain.grad.abs() > 0


def test_the_branches_of_a_deep_stack_start_as_small_as_the_papers_say():
    """Radford 2019: the last matrix of each branch by 1/sqrt(2 L). Wang 2022: four matrices by (8 L)^(-1/4)."""
    for arrangement, factors in (("scaled", (1, 0.25, 1, 0.25)), ("deepnorm", (64**-0.25,) * 4)):
        found = []
        for name in ("pre", arrangement):
            block = Transformer(8, name, 12, 3, seed=0).get_submodule("block3")
            layers = [block.attention.value, block.attention.out, block.feed_forward[0], block.feed_forward[2]]
            found.append([layer.weight.detach().norm() for layer in layers])
        assert [float(b / a) for a, b in zip(*found, strict=True)] == pytest.approx(factors)
    assert Block("deepnorm", 8, 12, 3).keep == pytest.approx(2.0)  # (2 * 8)^(1/4)


@pytest.mark.parametrize("arrangement", [arrangement for arrangement, *_ in LEAGUE.values()])
def test_no_character_is_told_what_comes_later(arrangement):
    model = speller(arrangement, 2, 0)
    text = prose().train[:32][None]
    changed = text.clone()
    changed[0, 20] = (changed[0, 20] + 1) % len(prose().characters)
    same = (model(text) - model(changed)).abs().amax(2)[0] < 1e-6
    assert same[:20].all()
    assert not same[20]


def test_a_seed_decides_the_weights():
    first, again, other = (
        nn.utils.parameters_to_vector(CharacterModel(1, characters=5, width=8, seed=seed).parameters())
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_text_is_the_one_that_was_measured_with():
    text = prose()
    assert len(text.train) + len(text.test) == 58_943
    assert set(text.train.tolist()) == set(range(len(text.characters)))
    spelt = "".join(text.characters[code] for code in text.train[:44].tolist())
    assert spelt == "here are three networks on the same 1,347 im"
    assert len(PROSE) == 16


# --- what theory predicts ---


def test_where_tokens_are_alike_a_post_norm_block_halves_the_square_of_what_they_do_not_share():
    """By hand: attention doubles the square of the sum and gives back nothing; the net doubles and gives back alike."""
    told = theory.block_flow(60, "post", tokens=10**9, width=10**9).gradient
    assert float(told[40] / told[50]) == pytest.approx(2**-5, rel=1e-3)


def test_what_tokens_share_of_their_gradient_stays_as_long_as_they_are_alike():
    told = theory.block_flow(60, "post", tokens=32, width=10**9, pooled=True)
    assert told.gradient[40:].tolist() == pytest.approx([1.0] * 20, rel=1e-3)
    alone = theory.block_flow(200, "post", tokens=32, width=10**9)
    assert float(alone.gradient[100]) == pytest.approx(32**-0.5, rel=0.05)


def test_without_branches_nothing_changes():
    for norm in ("post", "pre"):
        told = theory.block_flow(5, norm, 8, 10**9, value_gain=0, feed_forward_gain=0)
        for values, expected in ((told.size, 1), (told.similarity, 0), (told.gradient, 1)):
            assert values.tolist() == pytest.approx([expected] * 5, abs=1e-6)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("pooled", [False, True])
def test_a_wide_stack_is_as_predicted(norm, pooled):
    depth, tokens, width = 4, 16, 256
    told = theory.block_flow(depth, norm, tokens, width, pooled=pooled)
    rows = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        model = Transformer(depth, norm, width, 4, seed=seed)
        x, outputs = torch.randn(1, tokens, width, generator=generator), []
        for n in range(1, depth + 1):
            x = model.get_submodule(f"block{n}")(x)
            outputs.append(x)
        direction = torch.randn(1, 1 if pooled else tokens, width, generator=generator)
        gradients = torch.autograd.grad((model.norm(x) * direction).sum(), outputs)
        cosines = []
        for part in (outputs, gradients):
            for item in part:
                unit = nn.functional.normalize(item[0].detach(), dim=1)
                cosines.append(float(((unit @ unit.T).sum() - tokens) / (tokens * (tokens - 1))))
        lengths = [float(g.norm() / gradients[-1].norm()) for g in gradients]
        sizes = [float(h.detach().square().mean()) for h in outputs]
        rows.append(torch.tensor([sizes, cosines[:depth], lengths, cosines[depth:]]))
    size, similarity, gradient, _ = torch.stack(rows).mean(0)
    assert size.tolist() == pytest.approx(told.size.tolist(), rel=0.06)
    assert similarity.tolist() == pytest.approx(told.similarity.tolist(), abs=0.04)
    assert gradient.tolist() == pytest.approx(told.gradient.tolist(), rel=0.2 if pooled else 0.12)
