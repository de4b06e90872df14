"""Transformers that learn to spell: every way of joining blocks, on the same text, with the same budget."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradclinic.course.attention import CharacterModel
from gradclinic.course.audit.claims import memory
from gradclinic.course.data import prose

DEPTHS = (2, 6, 12)
SPELLING_SEEDS = range(10)
# What is put around the blocks: how they are joined, Adam's rate, and the steps in which that rate rises to its height.
LEAGUE: dict[str, tuple[str, float, int]] = {
    "post-norm": ("post", 1e-2, 0),
    "post-norm, warm-up": ("post", 1e-2, 50),
    "post-norm, a tenth of the rate": ("post", 1e-3, 0),
    "post-norm, PyTorch's start": ("torch", 1e-2, 0),
    "pre-norm": ("pre", 1e-2, 0),
    "pre-norm, 1/√(2L)": ("scaled", 1e-2, 0),
    "DeepNorm": ("deepnorm", 1e-2, 0),
    "ReZero": ("rezero", 1e-2, 0),
}
CONTEXT, BATCH, STEPS, PART = 32, 8, 200, 20


class Spelled(NamedTuple):
    """One run.

    Attributes:
        ratio: norm of the gradient that reaches the first block's output, over the last block's, before training.
        loss: mean training loss of each ``PART`` steps, in nats a character.
        test: loss on the text held back, at the end.
    """

    ratio: float
    loss: np.ndarray
    test: float


def windows(codes: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Pieces of a text from these places on, and the character that follows each of theirs: (pieces, CONTEXT) each."""
    pieces = codes[starts[:, None] + torch.arange(CONTEXT + 1)]
    return pieces[:, :-1], pieces[:, 1:]


def loss_of(model: CharacterModel, pieces: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy in nats a character."""
    return cross_entropy(model(pieces).flatten(0, 1), following.flatten())


def first_over_last(model: CharacterModel, pieces: Tensor, following: Tensor) -> float:
    """Norm of the loss's gradient at the first block's output over that at the last block's."""
    outputs: list[Tensor] = []
    hooks = [
        model.blocks.get_submodule(f"block{n}").register_forward_hook(lambda _m, _x, output: outputs.append(output))
        for n in (1, model.blocks.depth)
    ]
    loss = loss_of(model, pieces, following)
    for hook in hooks:
        hook.remove()
    first, last = (float(g.double().norm()) for g in torch.autograd.grad(loss, outputs))
    return first / last


class CausalLayer(nn.TransformerEncoderLayer):
    """PyTorch's own block with its own start, of which a token sees itself and earlier ones; post-norm, no dropout."""

    def __init__(self, width: int, heads: int):
        super().__init__(width, heads, 4 * width, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        later = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        answer: Tensor = super().forward(x, src_mask=later, is_causal=True)
        return answer


def speller(arrangement: str, depth: int, seed: int) -> CharacterModel:
    """A model of 32 numbers a token and 4 heads; ``arrangement`` "torch" has blocks that are ``CausalLayer``."""
    ours = "post" if arrangement == "torch" else arrangement
    model = CharacterModel(depth, ours, 32, 4, characters=len(prose().characters), context=CONTEXT, seed=seed)
    if arrangement == "torch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for n in range(1, depth + 1):
                model.blocks.add_module(f"block{n}", CausalLayer(32, 4))
    return model


def spelled(arrangement: str, depth: int, seed: int, rate: float = 1e-2, warm_up: int = 0) -> Spelled:
    """Train a ``speller`` for ``STEPS`` steps of Adam on ``BATCH`` pieces of the text at a time, drawn at random.

    With ``warm_up`` the rate rises in equal steps over so many; from then on, as without, it stays.
    """
    text, model = prose(), speller(arrangement, depth, seed)
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        return windows(text.train, torch.randint(len(text.train) - CONTEXT, (count,), generator=generator))

    ratio = first_over_last(model, *draw(BATCH))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / (warm_up + 1))
        optimizer.zero_grad()
        loss = loss_of(model, *draw(BATCH))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        pieces = windows(text.test, torch.arange(0, len(text.test) - CONTEXT, CONTEXT))
        test = float(loss_of(model, *pieces))
    return Spelled(ratio, np.array(losses).reshape(-1, PART).mean(1), test)


class Spellings(NamedTuple):
    """``Spelled`` of several runs: shapes (seeds,), (seeds, parts) and (seeds,); the losses in float32."""

    ratio: np.ndarray
    loss: np.ndarray
    test: np.ndarray


@memory.cache
def spellings(
    arrangement: str, depth: int, rate: float, warm_up: int, seeds: Sequence[int] = SPELLING_SEEDS
) -> Spellings:
    """``spelled`` for each seed."""
    runs = [spelled(arrangement, depth, seed, rate, warm_up) for seed in seeds]
    loss = np.stack([run.loss for run in runs]).astype(np.float32)
    return Spellings(np.array([run.ratio for run in runs]), loss, np.array([run.test for run in runs]))


def league(depth: int) -> dict[str, Spellings]:
    """Every row of ``LEAGUE``, one run for each of ``SPELLING_SEEDS``."""
    return {name: spellings(arrangement, depth, rate, warm_up) for name, (arrangement, rate, warm_up) in LEAGUE.items()}


def guessed(known: int) -> float:
    """Loss on the text held back of who counts, in the text for training, what follows ``known`` characters.

    Each count begins at 1, so that what was not seen is not ruled out. In nats a character.

    Raises:
        ValueError: for more than 1 known character, or a negative number of them.
    """
    if known not in (0, 1):
        raise ValueError(f"known must be 0 or 1, got {known!r}")
    text = prose()
    size = len(text.characters)
    counts = torch.ones(size, size, dtype=torch.float64)
    counts.index_put_((text.train[:-1], text.train[1:]), torch.ones((), dtype=torch.float64), accumulate=True)
    counts = counts if known else counts.sum(0).expand(size, size)
    shares = counts / counts.sum(1, keepdim=True)
    return float(-shares[text.test[:-1], text.test[1:]].log().mean())


def alike(arrangement: str, depth: int, seed: int) -> float:
    """1 less the mean cosine between two places of a piece of text, behind the last block, before training."""
    model, text = speller(arrangement, depth, seed), prose()
    with torch.no_grad():
        pieces = text.train[: BATCH * CONTEXT].reshape(BATCH, CONTEXT)
        places = torch.arange(CONTEXT)
        outputs = model.blocks(model.embedding(pieces) + model.place(places)).double()
    unit = nn.functional.normalize(outputs, dim=2)
    return float((unit - unit.mean(1, keepdim=True)).square().sum() / (BATCH * (CONTEXT - 1)))
