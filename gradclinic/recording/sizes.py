"""How large the entries of a tensor are: sums of their squares, and counts by size."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradclinic.record import HISTOGRAM_EDGES

# In a sum of squares this stands for "there was nothing to measure"; a NaN there is one that was measured.
ABSENT = -1.0

_EDGES = torch.from_numpy(HISTOGRAM_EDGES)


# --- sums of squares -------------------------------------------------------------------------------------------------


def square(tensor: Tensor) -> float:
    """Sum of squares of all entries. Finite entries of any size give what float64 gives, to 1e-4.

    One pass in single precision is ten times as quick as one in double precision. It is right unless squares of the
    entries fall out of its range, and that shows in the result.
    """
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()  # what an embedding's gradient does not store is 0
    norm: float
    if tensor.dtype is torch.float32:
        norm = torch.linalg.vector_norm(tensor).item()
    elif tensor.is_complex():
        return square(torch.view_as_real(tensor))
    elif tensor.dtype is torch.float64:
        norm = torch.linalg.vector_norm(tensor).item()
        return norm**2
    else:  # half precision: the result would be rounded to it
        norm = torch.linalg.vector_norm(tensor, dtype=torch.float32).item()
    if 1e-13 < norm < 1e18:
        return norm * norm
    if tensor.numel() == 0 or torch.linalg.vector_norm(tensor, math.inf).item() == 0:
        return 0.0
    norm = torch.linalg.vector_norm(tensor.double()).item()
    return norm**2


def squares(tensors: Sequence[Tensor]) -> list[float]:
    """``square`` of each. On an accelerator they are computed together and fetched at once."""
    if all(tensor.is_cpu for tensor in tensors) or any(t.is_sparse or t.is_complex() for t in tensors):
        return [square(tensor) for tensor in tensors]
    return squares_together(tensors)


def squares_together(tensors: Sequence[Tensor]) -> list[float]:
    norms = torch._foreach_norm(list(tensors), 2, torch.float64)  # noqa: SLF001  # so torch clips, too
    return [norm * norm for norm in torch.stack([norm.to(norms[0].device) for norm in norms]).tolist()]


# --- histograms ------------------------------------------------------------------------------------------------------

BINS = len(HISTOGRAM_EDGES) - 1
_NOT_FINITE, _UNSURE = BINS, BINS + 1


def _sought(values: Tensor) -> Tensor:
    """The bin of each value, by halving; what is beyond an outermost edge counts in the outermost bin."""
    return (torch.bucketize(values.double(), _EDGES) - 1).clamp_(0, BINS - 1)


@functools.cache
def _bin_of_upper_half() -> Tensor:
    """For the upper 16 of a float32's 32 bits, its bin; unsure where an edge lies among the numbers that share them."""
    upper = np.arange(2**16, dtype=np.uint32) << 16
    ends = np.stack([upper, upper | 0xFFFF])
    finite = (upper & 0x7F800000) != 0x7F800000
    values = np.where(finite, ends, 0).astype(np.uint32).view(np.float32)
    first, last = _sought(torch.from_numpy(values)).numpy()
    return torch.from_numpy(np.where(finite, np.where(first == last, first, _UNSURE), _NOT_FINITE))


def histogram(values: Tensor) -> np.ndarray:
    """How many of the values lie in each bin of ``HISTOGRAM_EDGES``; those that are not finite nowhere.

    Halving takes eight steps a value. The upper half of its bits tells the bin of all but one in two hundred at once.
    """
    if values.dtype is torch.float64:
        return torch.bincount(_sought(values[values.isfinite()]), minlength=BINS).numpy()
    values = values.float()
    bins = _bin_of_upper_half().index_select(0, (values.view(torch.int32) >> 16) & 0xFFFF)
    counts = torch.bincount(bins, minlength=BINS + 2)[:BINS]
    return (counts + torch.bincount(_sought(values[bins == _UNSURE]), minlength=BINS)).numpy()
