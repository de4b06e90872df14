"""Which loss a training has, and what the best constant answer would get: both stand in the gradient at the answers.

A cross-entropy sends back softmax(answers) - target, a squared error answers - target, each times a factor. So the
targets can be computed from the answers and their gradient, and the factor from the rule that targets must obey.
"""

import math
from collections import Counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CROSS_ENTROPY, SQUARED = "cross-entropy", "squared error"
BINARY, LIKELIHOOD = "binary cross-entropy", "negative log-likelihood"
SQUASHED = "squashed "

# Share of the rows of a batch, and of the steps, that have to agree.
_AGREE = 0.95
_STEPS_AGREE = 0.8
# How exactly, relative: gradients are of single precision.
_TOLERANCE = 0.01
# Answers of more entries than this have no target of their own each.
_COLUMNS = 65_536


class Revealed:
    """Gathers, from step to step, what the gradients at the answers reveal."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._steps = 0
        self._passes = self._pure = 0  # with targets; those in which all examples have the same
        self._low, self._high = math.inf, -math.inf
        self._classes: dict[str, Tensor] = {}  # kind -> how often each class was the target
        self._seen = Counter[str]()  # kind -> rows that this is of
        self._own: dict[int, list[float]] = {}  # step -> mean loss of each pass, computed from answers and targets
        # For a squared error, of which the factor is only known with the loss. n entries, answers a, gradient g:
        self._squares: list[tuple[int, int, float]] = []  # step, n, sum of g^2
        self._sums: list[Tensor] | None = None  # over the examples of a, n g; then of a^2, n a g, n^2 g^2
        self._examples = 0
        self._ends: dict[str, tuple[float, float]] = {}  # reduction -> lowest and highest target, if it is that one

    def see(self, step: int, answers: Tensor, gradient: Tensor, entries: int) -> None:
        """Take in the answers of one pass, in double precision, and the loss gradient there.

        Args:
            entries: how many there are, if these are all of them, else 0.
        """
        size = float(gradient.norm())
        if not (math.isfinite(size) and size > 0):
            return
        self._steps += 1
        self._low, self._high = min(self._low, float(answers.min())), max(self._high, float(answers.max()))
        self._mean = math.nan
        kind = self._by_classes(answers, gradient) or (entries and self._by_entries(answers, gradient)) or ""
        if kind:
            self._own.setdefault(step, []).append(self._mean)
        self._kinds[kind] += 1
        if entries and not kind:
            self._square(step, answers, gradient)

    # --- losses over classes --------------------------------------------------------------------------------------

    def _by_classes(self, answers: Tensor, gradient: Tensor) -> str:
        for dimension in {-1, 1 if answers.dim() > 2 else -1}:
            rows, back = (t.movedim(dimension, -1).reshape(-1, t.shape[dimension]) for t in (answers, gradient))
            if rows.shape[1] < 2:
                continue
            live = back.abs().sum(1) > 0
            kind = self._of_rows(rows[live], back[live])
            if kind == CROSS_ENTROPY and not bool(live.all()):
                self._add_sure(rows[~live], int(live.sum()))
            if kind:
                return kind
        return ""

    def _add_sure(self, rows: Tensor, others: int) -> None:
        """Rows that send back exactly 0 because their answer is sure and right; a row that a mask left out is not."""
        shares = rows.softmax(1)
        sure = shares.max(1).values > 1 - 1e-6
        if not bool(sure.any()):
            return
        labels = functional.one_hot(shares[sure].argmax(1), rows.shape[1]).double()
        self._classes[CROSS_ENTROPY] = self._classes[CROSS_ENTROPY] + labels.sum(0).cpu()
        self._seen[CROSS_ENTROPY] += len(labels)
        self._mean *= others / (others + len(labels))

    def _of_rows(self, rows: Tensor, back: Tensor) -> str:
        lengths = back.norm(dim=1)
        label = back.argmin(1)
        one = torch.zeros_like(rows).scatter_(1, label[:, None], 1.0)
        others = back.masked_fill(one > 0, 0.0)
        if bool((others.norm(dim=1) <= 1e-9 * lengths).all()):  # only the target's own entry has a gradient
            factor = -back.gather(1, label[:, None])[:, 0]
            given = rows.gather(1, label[:, None])[:, 0]
            log = bool((rows.logsumexp(1).abs() < 1e-3).all())
            probable = bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
            if log and _alike(factor, label):
                return self._count(LIKELIHOOD, one, -given)
            if probable and _alike(factor * given, label):
                return self._count(LIKELIHOOD, one, -given.clamp(min=1e-30).log())
            return ""
        # where an answer is sure and right, its gradient is a small difference of rounded numbers
        if not bool((back.sum(1).abs() <= 1e-3 * lengths + 1e-5 * lengths.max()).all()):
            return ""
        shares = rows.softmax(1)
        wrong = 1 - shares.gather(1, label[:, None])[:, 0]
        sure = wrong > 1e-3
        kind = CROSS_ENTROPY
        if bool((rows >= -1e-6).all()) and bool(((rows.sum(1) - 1).abs() < 1e-4).all()):
            kind = SQUASHED + CROSS_ENTROPY
        if bool(sure.any()):
            factor = -back.gather(1, label[:, None])[:, 0][sure] / wrong[sure]
            off = (back[sure] - factor[:, None] * (shares - one)[sure]).norm(dim=1) / lengths[sure]
            if float((off < _TOLERANCE).double().mean()) >= _AGREE and _alike(factor, label[sure]):
                return self._count(kind, one, -rows.log_softmax(1).gather(1, label[:, None]))
        for factor_of_all in (1 / len(rows), 1.0):  # smoothed labels: one share is large, the others are equal
            target = shares - back / factor_of_all
            high = target.max(1).values
            rest = (target.sum(1) - high) / (rows.shape[1] - 1)
            smoothed = torch.where(target == high[:, None], high[:, None], rest[:, None])
            even = (target - smoothed).abs().max(1).values < _TOLERANCE
            if float((even & (high > 0.5) & (rest > -_TOLERANCE)).double().mean()) >= _AGREE:
                target = target.clamp(0, 1)
                return self._count(kind, target, -(target * rows.log_softmax(1)).sum(1))
        return ""

    def _count(self, kind: str, targets: Tensor, losses: Tensor) -> str:
        self._mean = float(losses.mean())
        counts = targets.sum(0).cpu()
        before = self._classes.get(kind)
        self._passes += 1
        self._pure += len(targets) > 7 and bool((targets == targets[:1]).all())
        self._classes[kind] = counts if before is None or before.shape != counts.shape else before + counts
        self._seen[kind] += len(targets)
        return kind

    # --- losses over single entries ---------------------------------------------------------------------------------

    def _by_entries(self, answers: Tensor, gradient: Tensor) -> str:
        for factor in (answers.numel(), len(answers), 1):
            target = answers.sigmoid() - gradient * factor
            if _is_binary(target):
                target = target.round().reshape(len(target), -1)
                scores = answers.reshape(len(target), -1)
                return self._count(BINARY, target, functional.softplus(scores) - target * scores)
        if bool((answers >= 0).all()) and bool((answers <= 1).all()):
            for factor in (answers.numel(), len(answers), 1):
                target = answers - gradient * factor * (answers * (1 - answers)).clamp(min=1e-12)
                if _is_binary(target):
                    target = target.round().reshape(len(target), -1)
                    right = (target - (1 - answers.reshape(len(target), -1))).abs()
                    # PyTorch's own logarithm of a probability of 0 is -100
                    return self._count(LIKELIHOOD + " of two", target, -right.log().clamp(min=-100))
        return ""

    def _square(self, step: int, answers: Tensor, gradient: Tensor) -> None:
        rows, back = answers.reshape(len(answers), -1), gradient.reshape(len(answers), -1) * answers.numel()
        if rows.shape[1] > _COLUMNS:
            return
        sums = [rows.sum(0), back.sum(0), (rows * rows).sum(0), (rows * back).sum(0), (back * back).sum(0)]
        if self._sums is not None and self._sums[0].shape != sums[0].shape:
            return
        for reduction, factor in _reductions(rows.shape[1], rows.numel()).items():
            low, high = (float(end) for end in (rows - factor * back).aminmax())
            before = self._ends.get(reduction, (math.inf, -math.inf))
            self._ends[reduction] = min(low, before[0]), max(high, before[1])
        self._sums = sums if self._sums is None else [a + b for a, b in zip(self._sums, sums, strict=True)]
        self._examples += len(rows)
        self._squares.append((step, answers.numel(), float((gradient * gradient).sum())))

    # --- what it comes to ---------------------------------------------------------------------------------------------

    def verdict(self, told_step: np.ndarray, told_loss: np.ndarray) -> tuple[str, float]:
        """The kind of loss, empty if it is unknown, and the loss of the best constant answer, or NaN.

        Args:
            told_step, told_loss: every step whose loss was told, and that loss.
        """
        if not self._steps:
            return "", math.nan
        kind, count = self._kinds.most_common(1)[0]
        if kind == "":
            return self._squared_error(dict(zip(told_step.tolist(), told_loss.tolist(), strict=True)))
        # in a game of two networks each pass has one target for all: guessing is no measure there
        if count < _STEPS_AGREE * self._steps or self._pure > _STEPS_AGREE * self._passes:
            return "", math.nan
        counts, rows = self._classes[kind].double().numpy(), self._seen[kind]
        unit = self._unit(told_step, told_loss)
        if kind in (BINARY, LIKELIHOOD + " of two"):
            share = np.clip(counts / rows, 1e-12, 1 - 1e-12)
            guess = unit * float(-(share * np.log(share) + (1 - share) * np.log(1 - share)).mean())
            squashed = kind == BINARY and self._low >= 0 and self._high <= 1 and self._steps > 9
            return (SQUASHED if squashed else "") + BINARY, guess
        there = counts[counts > 0] / counts.sum()
        # few rows show fewer classes than there are (Miller 1955); of very few nothing is said
        guess = unit * (float(-(there * np.log(there)).sum()) + (len(there) - 1) / (2 * rows))
        return kind, guess if rows >= 5 * len(there) else math.nan

    def target_ends(self, kind: str, told_step: np.ndarray, told_loss: np.ndarray) -> tuple[float, float]:
        """Lowest and highest target of a squared error, NaN if they are not known."""
        ratios = self._ratios(dict(zip(told_step.tolist(), told_loss.tolist(), strict=True)))
        if kind == SQUARED and ratios and self._sums is not None:
            factor = float(np.median(ratios))
            for reduction, known in _reductions(len(self._sums[0]), self._squares[0][1]).items():
                if abs(factor / known - 1) < _TOLERANCE:
                    return self._ends[reduction]
        return math.nan, math.nan

    def _ratios(self, told: dict[int, float]) -> list[float]:
        return [2 * told[step] / (n * square) for step, n, square in self._squares if step in told and square > 0]

    def _unit(self, told_step: np.ndarray, told_loss: np.ndarray) -> float:
        """How many times the mean over examples and entries the told losses are: a sum is many times as large. NaN if
        that differs from step to step, as it does if something else is added."""
        told = dict(zip(told_step.tolist(), told_loss.tolist(), strict=True))
        pairs = [(told[step], float(np.mean(own))) for step, own in self._own.items() if step in told]
        ratios = np.array([loss / own for loss, own in pairs if own > 1e-4 and math.isfinite(loss)])
        if len(ratios) < 3:
            return 1.0
        unit = float(np.median(ratios))
        scatter = float(np.median(np.abs(ratios / unit - 1))) if unit > 0 else math.inf
        return unit if scatter < 0.2 else math.nan

    def _squared_error(self, told: dict[int, float]) -> tuple[str, float]:
        """It is one if loss / (n sum g^2) is the same in every step; that is then half of the factor that is sought."""
        ratios = self._ratios(told)
        if len(ratios) < 5 or self._sums is None or len(ratios) < _STEPS_AGREE * self._steps:
            return "", math.nan
        factor = float(np.median(ratios))
        scatter = float(np.median(np.abs(np.array(ratios) / factor - 1))) if factor > 0 else math.inf
        if scatter > _TOLERANCE:
            return "", math.nan
        size, n = len(self._sums[0]), self._squares[0][1]
        usual = [times * known for times in (1, 2) for known in _reductions(size, n).values()]
        losses = np.array([told[step] for step, _, _ in self._squares if step in told])
        # while a loss stands still every ratio is the same
        if (
            min(abs(factor / known - 1) for known in usual) > _TOLERANCE
            and scatter > 0.05 * losses.std() / losses.mean()
        ):
            return "", math.nan
        answers, back, squares, mixed, back_squares = (t.cpu().double().numpy() / self._examples for t in self._sums)
        mean = answers - factor * back
        variance = squares - 2 * factor * mixed + factor**2 * back_squares - mean**2
        return SQUARED, float(np.maximum(variance, 0).mean() / (2 * factor))


def _reductions(columns: int, entries: int) -> dict[str, float]:
    """What n times the gradient is to be multiplied by to give answers - targets, by how a squared error is reduced."""
    return {"mean": 0.5, "sum over the columns": 0.5 / columns, "sum": 0.5 / entries}


def _alike(factors: Tensor, labels: Tensor) -> bool:
    """Whether they are above 0 and the same within each class: classes may have weights, examples may not."""
    if not bool((factors > 0).all()):
        return False
    order = labels.argsort()
    factors, labels = factors[order], labels[order]
    apart = (factors[1:] - factors[:-1]).abs() > _TOLERANCE * factors[1:]
    return bool((~apart | (labels[1:] != labels[:-1])).double().mean() >= _AGREE) if len(factors) > 1 else True


def _is_binary(targets: Tensor) -> bool:
    near = torch.minimum(targets.abs(), (targets - 1).abs()) < 2 * _TOLERANCE
    return float(near.double().mean()) >= _AGREE
