"""The loss of knowing nothing: what the best answer gets that ignores the input."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

# What these take has to be squashed, so that is what a constant answer is, too.
_LOG_SHARES = (functional.nll_loss, nn.NLLLoss)
_PROBABILITIES = (functional.binary_cross_entropy, nn.BCELoss)


def chance_loss(
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    *,
    classes: int | None = None,
) -> float:
    """Loss of the best answer that is the same for all examples, for ``Recorder(chance_loss=...)``.

    For a cross-entropy that is the entropy of the labels in nats, for a squared error the variance of the targets, for
    an absolute one their mean distance from the median. It is found by minimising ``loss`` itself, so it holds for
    others, too: class weights, label smoothing, Huber's.

    Args:
        targets: all targets of the training, or many: shape (N), integers, for losses over classes; else shape (N, ...)
            as the answers have it.
        loss: function of (answers, targets) that gives one number, a mean over the examples, as the training's does. A
            sum over a batch is so many times as large as that batch is.
        classes: how many there are; unless told, as many as the largest label says.
    Returns:
        The loss, in its own units.
    Raises:
        TypeError: if ``targets`` is no tensor, or ``loss`` no function.
        ValueError: if there are no targets, they are not finite, or ``loss`` gives more than one number.
    Source: Cover and Thomas (2006), section 2.1, for the entropy.
    """
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a tensor, got {type(targets).__name__}")
    if not callable(loss):
        raise TypeError(f"loss must be a function of answers and targets, got {loss!r}")
    if targets.numel() == 0:
        raise ValueError("chance_loss needs at least one target, got none")
    targets = targets.detach().cpu()
    over_classes = not (targets.is_floating_point() or targets.is_complex())
    if over_classes:
        size: tuple[int, ...] = (int(targets.max()) + 1 if classes is None else classes,)
        there = targets[targets >= 0].flatten()
        start = torch.bincount(there, minlength=size[0]).double().clamp(min=1e-9).log()
    else:
        if not bool(targets.isfinite().all()):
            raise ValueError("targets must be finite, and some are inf or NaN")
        targets, size = targets.double(), tuple(targets.shape[1:])
        start = targets.mean(0)
    kind = loss if not isinstance(loss, nn.Module) else type(loss)
    if kind in _PROBABILITIES:
        start = start.clamp(1e-6, 1 - 1e-6).logit()
    constant = start.clone().requires_grad_()

    def answers() -> Tensor:
        found = constant
        if kind in _LOG_SHARES:
            found = found.log_softmax(0)
        if kind in _PROBABILITIES:
            found = found.sigmoid()
        every = found.expand(len(targets), *size)
        # losses over classes want them in the second dimension, before those of the places in an example
        places = targets.shape[1:] if over_classes else ()
        return every.reshape(len(targets), *size, *([1] * len(places))).expand(len(targets), *size, *places)

    def measured() -> Tensor:
        found = loss(answers(), targets)
        if not isinstance(found, Tensor) or found.numel() != 1:
            raise ValueError("loss must give one number, a mean over the examples, not one for each")
        return found.double()

    with torch.enable_grad():
        best = float(measured().detach())
        search = torch.optim.LBFGS([constant], max_iter=200, tolerance_change=1e-12, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            search.zero_grad()
            found = measured()
            found.backward()
            return found

        search.step(closure)
    after = float(measured().detach())
    return min(best, after) if after == after else best
