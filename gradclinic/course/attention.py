"""Blocks of attention and feed-forward layers, and the ways of joining them that people use today."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from gradclinic.arguments import whole

# "post": LN(x + f(x)), Vaswani et al. 2017, section 5.4. "pre": x + f(LN(x)), and a last norm after all blocks, Xiong
# et al. 2020, table 1. "scaled": as pre, with the last matrix of each branch times 1/sqrt(2 depth) at the start,
# Radford et al. 2019, section 2.3. "deepnorm": LN(a x + f(x)), values and feed-forward times b at the start, Wang et
# al. 2022, figure 2. "rezero": x + g f(x), no norm, g learnt and 0 at the start, Bachlechner et al. 2021, section 3.
ARRANGEMENTS = ("post", "pre", "scaled", "deepnorm", "rezero")


class Attention(nn.Module):
    """Self-attention: every token takes a weighted mean of the values of all, or with ``causal`` of those before it.

    The matrices ``query``, ``key``, ``value`` and ``out`` have no biases and start with variance 1 / width.

    Args:
        width: numbers in a token, a multiple of ``heads``.
        heads: parts that the tokens are cut into, each with weights of its own.
        causal: whether a token sees itself and earlier ones, and no later one.
        unit_logits: normalise queries and keys, each head of each token, before they meet (QK-norm).
    Raises:
        ValueError: for a size below 1, or a width that is no multiple of heads.
        TypeError: for a size that is no integer.
    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, width: int, heads: int, causal: bool = False, unit_logits: bool = False):
        super().__init__()
        width, self.heads = whole("width", width), whole("heads", heads)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.causal = causal
        self.query, self.key, self.value, self.out = (_drawn(width, width, 1.0) for _ in range(4))
        self.query_norm, self.key_norm = (
            nn.LayerNorm(width // heads) if unit_logits else nn.Identity() for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, tokens, width) to the same; ValueError for another number of dimensions."""
        if x.dim() != 3:
            raise ValueError(f"x must be (batch, tokens, width), got {tuple(x.shape)}")
        queries, keys, values = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        logits = self.logits(self.query_norm(queries), self.key_norm(keys))
        mixed = softmax(logits, dim=-1) @ values
        answer: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return answer

    def logits(self, queries: Tensor, keys: Tensor) -> Tensor:
        """What softmax is given: (batch, heads, tokens, tokens), -inf where a token may not look."""
        logits = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])
        if self.causal:
            later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
            logits = logits.masked_fill(later, -math.inf)
        return logits


def _drawn(fan_in: int, fan_out: int, weight_std: float) -> nn.Linear:
    """A layer without a bias, Gaussian weights of standard deviation ``weight_std`` / sqrt(fan_in)."""
    layer = nn.Linear(fan_in, fan_out, bias=False)
    nn.init.normal_(layer.weight, std=weight_std / math.sqrt(fan_in))
    return layer


class Block(nn.Module):
    """Attention, then a feed-forward net of one ReLU layer four times as wide: two residual branches.

    At the start each branch hands on tokens of about the size that it was given.

    Args:
        arrangement: one of ``ARRANGEMENTS``.
        depth: of the stack that the block is part of; "scaled" and "deepnorm" depend on it.
        width, heads, causal, unit_logits: as of ``Attention``.
    Raises:
        ValueError, TypeError: as ``Attention``; ValueError for an unknown arrangement.
    """

    def __init__(
        self, arrangement: str, depth: int, width: int, heads: int, causal: bool = False, unit_logits: bool = False
    ):
        if arrangement not in ARRANGEMENTS:
            raise ValueError(f"unknown arrangement {arrangement!r}; known: {', '.join(ARRANGEMENTS)}")
        super().__init__()
        depth = whole("depth", depth)
        self.first = arrangement in ("pre", "scaled")  # whether the norm stands at the entry of the branch
        self.keep = (2 * depth) ** 0.25 if arrangement == "deepnorm" else 1.0
        self.attention = Attention(width, heads, causal, unit_logits)
        wide, narrow = _drawn(width, 4 * width, math.sqrt(2)), _drawn(4 * width, width, 1.0)
        self.feed_forward = nn.Sequential(wide, nn.ReLU(), narrow)
        bare = arrangement == "rezero"
        self.norm1: nn.Module = nn.Identity() if bare else nn.LayerNorm(width)
        self.norm2: nn.Module = nn.Identity() if bare else nn.LayerNorm(width)
        self.gain = nn.Parameter(torch.zeros(())) if bare else 1.0
        with torch.no_grad():
            if arrangement == "scaled":
                for layer in (self.attention.out, narrow):
                    layer.weight.mul_((2 * depth) ** -0.5)
            if arrangement == "deepnorm":
                for layer in (self.attention.value, self.attention.out, wide, narrow):
                    layer.weight.mul_((8 * depth) ** -0.25)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, tokens, width) to the same."""
        for branch, norm in ((self.attention, self.norm1), (self.feed_forward, self.norm2)):
            x = x + branch(norm(x)) if self.first else norm(self.keep * x + self.gain * branch(x))
        return x


class Transformer(nn.Module):
    """A stack of blocks, named ``block1`` to ``blockL``, and where norms stand first, a last ``norm``.

    Args:
        depth: number of blocks L, at least 1.
        arrangement, width, heads, causal, unit_logits: as of ``Block``.
        seed: of the starting weights; with None they come from torch's global generator.
    Raises:
        ValueError, TypeError: as ``Block``; TypeError for a seed that is no integer.
    """

    def __init__(
        self,
        depth: int,
        arrangement: str = "pre",
        width: int = 64,
        heads: int = 4,
        *,
        causal: bool = False,
        unit_logits: bool = False,
        seed: int | None = None,
    ):
        super().__init__()
        self.depth = whole("depth", depth)
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(whole("seed", seed, -math.inf))
            for n in range(1, depth + 1):
                self.add_module(f"block{n}", Block(arrangement, depth, width, heads, causal, unit_logits))
        self.norm = nn.LayerNorm(width) if arrangement in ("pre", "scaled") else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, tokens, width) to the same."""
        for n in range(1, self.depth + 1):
            x = self.get_submodule(f"block{n}")(x)
        answer: Tensor = self.norm(x)
        return answer


class CharacterModel(nn.Module):
    """Guess the next character of a text, at every place of it, from those before.

    Args:
        depth, arrangement, width, heads, unit_logits, seed: as of ``Transformer``.
        characters: how many different ones there are.
        context: the longest text it can read at once.
    Raises:
        ValueError, TypeError: as ``Transformer``.
    """

    def __init__(
        self,
        depth: int,
        arrangement: str = "pre",
        width: int = 32,
        heads: int = 4,
        *,
        characters: int,
        context: int = 32,
        unit_logits: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        self.blocks = Transformer(
            depth, arrangement, width, heads, causal=True, unit_logits=unit_logits, seed=whole("seed", seed, -math.inf)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(whole("characters", characters), width)
            self.place = nn.Embedding(whole("context", context), width)
            self.readout = _drawn(width, characters, 1.0)
            for table in (self.embedding, self.place):
                nn.init.normal_(table.weight, std=math.sqrt(0.5))

    def forward(self, text: Tensor) -> Tensor:
        """From (batch, places) of whole numbers to scores, (batch, places, characters)."""
        places = torch.arange(text.shape[1], device=text.device)
        answer: Tensor = self.readout(self.blocks(self.embedding(text) + self.place(places)))
        return answer
