"""Own claims about the blocks of Transformers at their start."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gradclinic.course import theory
from gradclinic.course.attention import Transformer
from gradclinic.course.audit.claims import SEEDS, Finding, claim, each, memory
from gradclinic.course.audit.own.normalization import shortened

TOKENS, WIDTH = 32, 128
FLOW_DEPTHS = (2, 6, 12, 24, 48)

# What PyTorch's own block draws: the three matrices of attention together as one of Xavier's, all others uniform up to
# 1/sqrt(fan-in). So a value has variance 1/2 of what enters, a logit 1/2 times 1/2, and each other layer 1/3.
TORCH_GAINS = {"value_gain": 1 / 6, "logit_gain": 1 / 4, "feed_forward_gain": 1 / 18}


class Flows(NamedTuple):
    """What is measured at the output of each block, over twenty stacks of blocks.

    Attributes:
        gradient: norm of the gradient of all tokens, over that at the last block's output: the least, the geometric
            mean and the largest; shape (3, depth).
        difference: the same of 1 less the mean cosine between two tokens.
        ends: shape (seeds, 4). The gradient at the first block's output, relative as above; the least of any block; the
            difference at the last; and there the norm of the gradient of the query matrix over that of the value
            matrix, of our own blocks.
    """

    gradient: np.ndarray
    difference: np.ndarray
    ends: np.ndarray


class TorchLayer(nn.TransformerEncoderLayer):
    """PyTorch's own block, batches first and without dropout; all else by default."""

    def __init__(self, width: int, heads: int):
        super().__init__(width, heads, dropout=0.0, batch_first=True)


def _difference(tokens: Tensor) -> float:
    """1 less the mean cosine between two of them, (tokens, width): from differences, so that a small one is exact."""
    unit = nn.functional.normalize(tokens.double(), dim=1)
    count = len(unit)
    return float((unit - unit.mean(0)).square().sum() / (count - 1))


def _at_start(depth: int, norm: str, pooled: bool, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Gradients and differences of one stack, (depth,) each, and the ratio of the last block's matrices."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    model = Transformer(depth, "pre" if norm == "pre" else "post", WIDTH, 4, seed=seed)
    blocks = [model.get_submodule(f"block{n}") for n in range(1, depth + 1)]
    weights: list[Tensor] = [blocks[-1].get_parameter(f"attention.{name}.weight") for name in ("query", "value")]
    if norm == "torch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            blocks = [TorchLayer(WIDTH, 4) for _ in blocks]
        weights = []
    x, outputs = normal(1, TOKENS, WIDTH), []
    for block in blocks:
        x = block.double()(x)
        outputs.append(x)
    answer = model.norm.double()(x)
    loss = (answer * normal(1, 1 if pooled else TOKENS, WIDTH)).sum()
    gradients = np.array([float(g.norm()) for g in torch.autograd.grad(loss, outputs + weights)])
    differences = np.array([_difference(tokens.detach()[0]) for tokens in outputs])
    ratio = gradients[depth] / gradients[depth + 1] if weights else 0.0
    return gradients[:depth] / gradients[depth - 1], differences, float(ratio)


@memory.cache
def token_flows(depth: int, norm: str, pooled: bool = False, seeds: Sequence[int] = SEEDS) -> Flows:
    """A stack of blocks with ``norm`` "post" or "pre", or of PyTorch's own with "torch", given Gaussian tokens.

    32 tokens of 128 numbers, 4 heads, float64. The loss is a random direction of each token's output, or with
    ``pooled`` of their mean. All is right to 0.1 %.
    """
    found = [_at_start(depth, norm, pooled, seed) for seed in seeds]
    gradients, differences = np.stack([row[0] for row in found]), np.stack([row[1] for row in found])
    ends = [gradients[:, 0], gradients.min(1), differences[:, -1], np.array([row[2] for row in found])]
    return Flows(_bands(gradients), _bands(differences), shortened(np.stack(ends, 1)))


def _bands(values: np.ndarray) -> np.ndarray:
    """The least, the geometric mean and the largest over seeds; shape (3, depth)."""
    return shortened(np.stack([values.min(0), np.exp(np.log(values).mean(0)), values.max(0)]))


def predicted_flows(depth: int, norm: str, pooled: bool = False) -> theory.BlockFlow:
    """What ``theory`` predicts for ``token_flows``."""
    gains = TORCH_GAINS if norm == "torch" else {}
    return theory.block_flow(depth, "pre" if norm == "pre" else "post", TOKENS, WIDTH, pooled=pooled, **gains)


def stack_copies(seed: int) -> float:
    """Largest difference between the weights of the first and the third layer of a fresh ``nn.TransformerEncoder``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stack = nn.TransformerEncoder(TorchLayer(16, 2), 3, enable_nested_tensor=False)
    pairs = zip(stack.layers[0].parameters(), stack.layers[2].parameters(), strict=True)
    return max(float((one - other).detach().abs().max()) for one, other in pairs)


@claim("T39")
def _t39() -> Finding:
    post, pre = (token_flows(48, norm) for norm in ("post", "pre"))
    told = {norm: (1 - predicted_flows(48, norm).similarity).numpy() for norm in ("post", "pre")}
    return Finding(
        "T39",
        "Blocks whose branches hand on tokens as large as they read make tokens alike: with the norm behind the sum by "
        "a factor per block, with the norm in front of the branch by a power of the depth.",
        (
            each(
                "1 − cosine between two of 32 tokens after 48 post-norm blocks",
                post.ends[:, 2],
                "below 10⁻¹⁰",
                lambda v: v < 1e-10,
            ),
            each("the same after 48 pre-norm blocks", pre.ends[:, 2], "above 0.05", lambda v: v > 0.05),
            each(
                "post-norm: geometric mean of 20 over what is predicted, after block 12",
                [post.difference[1, 11] / told["post"][11]],
                "1 ± 50 %, where it has fallen by a factor of about 60",
                lambda v: 0.5 < v < 1.5,
            ),
            each(
                "pre-norm: the largest distance of any block from what is predicted",
                np.abs(pre.difference[1] / told["pre"] - 1).max(keepdims=True),
                "below 8 %",
                lambda v: v < 0.08,
            ),
        ),
    )


@claim("T40")
def _t40() -> Finding:
    flows = {(depth, norm): token_flows(depth, norm) for depth in (12, 48) for norm in ("post", "pre")}
    pooled = {depth: token_flows(depth, "post", True) for depth in (12, 48)}
    level = TOKENS**-0.5
    told, grown = (float(predicted_flows(depth, "pre").gradient[0]) for depth in (48, 2))
    return Finding(
        "T40",
        "At the start of post-norm blocks, where each token has a loss of its own, the part of the gradient that "
        "tokens do not share vanishes by a factor per block, and the part that they share stays. So it falls to about "
        "1/√n for n tokens and no further; and not at all where the loss reads the mean of all tokens.",
        (
            each(
                "gradient at the first of 12 post-norm blocks over the last",
                flows[12, "post"].ends[:, 0],
                f"within a factor of 3 of 1/√32 = {level:.3f}",
                lambda v: level / 3 < v < 3 * level,
            ),
            each(
                "the least at any of 48 post-norm blocks, geometric mean of 20 stacks",
                [np.exp(np.log(flows[48, "post"].ends[:, 1].astype(float)).mean())],
                f"within a factor of 4 of {level:.3f}: 2^(−47/2) would be 10⁻⁷",
                lambda v: level / 4 < v < 4 * level,
            ),
            each(
                "gradient at the first of 12 over the last, loss of the mean token",
                pooled[12].ends[:, 0],
                "above 1/2",
                lambda v: v > 0.5,
            ),
            each(
                "the same of 48, geometric mean of 20 stacks",
                [np.exp(np.log(pooled[48].ends[:, 0].astype(float)).mean())],
                "above 1/4",
                lambda v: v > 0.25,
            ),
            each(
                "gradient at the first of 48 pre-norm blocks over the last, mean of 20 stacks",
                [flows[48, "pre"].ends[:, 0].astype(float).mean()],
                f"{told:.2f} ± 15 %; of 2 blocks {grown:.2f}",
                lambda v: bool(abs(v / told - 1) < 0.15),
            ),
        ),
    )


@claim("T41")
def _t41() -> Finding:
    post, pre = (token_flows(24, norm).ends[:, 3] for norm in ("post", "pre"))
    return Finding(
        "T41",
        "Where tokens have become alike, the gradient of queries vanishes: there is no choice left to learn from.",
        (
            each(
                "gradient of queries over that of values, last of 24 post-norm blocks",
                post,
                "below 10⁻⁵",
                lambda v: v < 1e-5,
            ),
            each("the same, pre-norm", pre, "above 0.01", lambda v: v > 0.01),
        ),
    )


@claim("T42")
def _t42() -> Finding:
    flows = {depth: token_flows(depth, "torch") for depth in (12, 48)}
    layer = TorchLayer(WIDTH, 4)
    told = {depth: predicted_flows(depth, "torch") for depth in (12, 48)}
    return Finding(
        "T42",
        "PyTorch's own block is post-norm by default, with branches that start small: after 12 of them tokens are "
        "still different, after 48 they are nearly alike. And its stack begins as copies of one layer.",
        (
            each("norm_first of nn.TransformerEncoderLayer", [layer.norm_first], "0: false", lambda v: v == 0),
            each(
                "1 − cosine between two of 32 tokens after 12 of them, geometric mean of 20 stacks",
                [flows[12].difference[1, -1]],
                f"{1 - told[12].similarity[-1]:.2f} ± 10 %, as predicted",
                lambda v: abs(v / float(1 - told[12].similarity[-1]) - 1) < 0.1,
            ),
            each("the same of each stack", flows[12].ends[:, 2], "above 0.3", lambda v: v > 0.3),
            each("after 48", flows[48].ends[:, 2], "below 0.02", lambda v: v < 0.02),
            each("gradient at the first of 12 over the last", flows[12].ends[:, 0], "above 1/2", lambda v: v > 0.5),
            each(
                "largest difference between the weights of the first and third layer of nn.TransformerEncoder",
                [stack_copies(seed) for seed in SEEDS],
                "0, to the last bit",
                lambda v: v == 0,
            ),
        ),
    )
