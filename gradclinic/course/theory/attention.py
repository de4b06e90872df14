"""What blocks of attention and feed-forward layers do to tokens and to a gradient, before training."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gradclinic.arguments import number, whole


class BlockFlow(NamedTuple):
    """What is predicted at the output of each block; float64 tensors of shape (depth,).

    ``size`` is the mean square of a token's numbers; tokens enter with 1. ``similarity`` is the cosine between two
    tokens; it enters as 0. ``gradient`` is the norm of the gradient of all tokens, over that at the last block's
    output, and ``gradient_similarity`` the cosine between the gradients of two tokens.
    """

    size: Tensor
    similarity: Tensor
    gradient: Tensor
    gradient_similarity: Tensor


class _Branch(NamedTuple):
    attends: bool
    size: float  # mean square of the sum that the branch leaves from
    similarity: float
    read: float  # mean square of what the branch reads
    total: float  # mean square of the sum that it comes back to


def _both_on(similarity: float) -> tuple[float, float]:
    """Of two Gaussian inputs of this cosine to a ReLU layer: the cosine of outputs, and of gradients going back."""
    angle = math.acos(min(max(similarity, -1.0), 1.0))
    return (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / math.pi, (math.pi - angle) / math.pi


def block_flow(
    depth: int,
    norm: str,
    tokens: int,
    width: int,
    *,
    pooled: bool = False,
    value_gain: float = 1.0,
    logit_gain: float = 1.0,
    feed_forward_gain: float = 1.0,
) -> BlockFlow:
    """Tokens going forward and gradients going back, through a stack of Transformer blocks with random weights.

    Four numbers are followed from branch to branch: the mean square of a token and the cosine between two, and the
    same of the gradient. Attention over n tokens whose logits are Gaussian of variance s takes from each the part
    that all have in common, and of the rest e^s / n; going back it does the same to gradients.

    Args:
        depth: number of blocks, each of attention and a feed-forward net with one ReLU layer.
        norm: "post", on the sum behind each branch, or "pre", at the entry of each branch and once at the very end.
        tokens: how many attend to each other, n, at least 2; none is masked.
        width: numbers in a token, at least 3; a norm lets two directions of width through to no gradient.
        pooled: whether the loss reads the mean of all tokens, and not each by itself.
        value_gain: factor of the mean square by the values and the output matrix together.
        logit_gain: variance of a logit for tokens of mean square 1.
        feed_forward_gain: factor of the mean square by the feed-forward net.
    Raises:
        ValueError: for another norm, a count that is too small, a negative or non-finite gain.
        TypeError: for a count that is no integer, or a gain that is no number.
    Source: residual sums as De & Smith 2020, section 3; cosines of ReLU layers as Cho & Saul 2009, section 2.1; tokens
        that grow alike as Noci et al. 2022. The recursion of gradients is derived in the book, today/transformers.
    """
    depth, n, width = whole("depth", depth), whole("tokens", tokens, 2), whole("width", width, 3)
    if norm not in ("post", "pre"):
        raise ValueError(f"norm must be 'post' or 'pre', got {norm!r}")
    values, logits = number("value_gain", value_gain), number("logit_gain", logit_gain)
    gain = number("feed_forward_gain", feed_forward_gain)
    size, similarity, branches, forward = 1.0, 0.0, [], []
    for attends in (True, False) * depth:
        read = 1.0 if norm == "pre" else size
        if attends:
            spread = logits * read**2 * (1 - similarity)  # variance of the logits that one token gives the others
            own, other = (min(math.exp(s), n) / n for s in (spread, spread * similarity))
            added = values * read * (similarity + (1 - similarity) * own)
            shared = values * read * (similarity + (1 - similarity) * other)
        else:
            added = gain * read
            shared = added * _both_on(similarity)[0]
        total = size + added
        branches.append(_Branch(attends, size, similarity, read, total))
        similarity = (size * similarity + shared) / total
        size = total if norm == "pre" else 1.0
        if not attends:
            forward.append((size, similarity))
    square, alike, back = 1.0, 1.0 if pooled else 0.0, []
    passed = 1 - 2 / width
    for branch in reversed(branches):
        if not branch.attends:
            back.append((square, alike))
        if norm == "post":
            square *= passed / branch.total
        entry = passed / branch.size if norm == "pre" else 1.0
        if branch.attends:
            r, spread = branch.similarity, logits * branch.read**2 * (1 - branch.similarity)
            own = min(math.exp(spread), n) / n
            by_logits = (1 - r) * own + alike * (r + (1 - r) / n) + (1 - alike) * own  # queries, then keys
            added = values * (alike + (1 - alike) * own + logits * branch.read**2 * (1 - r) * by_logits)
            shared = values * (alike + (1 - alike) / n)
        else:
            added, shared = gain, gain * alike * _both_on(branch.similarity)[1]
        grown = square * (1 + entry * added)
        alike = square * (alike + entry * shared) / grown
        square = grown
    back.reverse()
    sizes, cosines = torch.tensor(forward, dtype=torch.float64).unbind(1)
    squares, alikes = torch.tensor(back, dtype=torch.float64).unbind(1)
    return BlockFlow(sizes, cosines, (squares / squares[-1]).sqrt(), alikes)
