"""Several processes that train one model: who they are, and how they put together what each measured."""

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gradclinic.recording.layers import unwrapped
from gradclinic.recording.sizes import ABSENT

# Ranks send each other so many numbers at a time.
_SENT_AT_ONCE = 2**20


class Ranks:
    """The processes that train one model together, each on its share of the batch. Every method is a collective.

    Args:
        groups: one process group for each dimension of a mesh.
        device: on which the groups exchange numbers.
    Attributes:
        size: how many processes there are.
        chief: whether this one is the first of them.
    """

    def __init__(self, groups: list[distributed.ProcessGroup], device: torch.device):
        self._groups, self._device = groups, device
        self.size = math.prod(distributed.get_world_size(group) for group in groups)
        self.chief = all(distributed.get_rank(group) == 0 for group in groups)

    def reduced(self, values: np.ndarray, how: distributed.ReduceOp.RedOpType) -> np.ndarray:
        tensor = torch.from_numpy(values.copy()).to(self._device)
        for group in self._groups:
            distributed.all_reduce(tensor, how, group=group)
        found: np.ndarray = tensor.cpu().numpy()
        return found

    def mean(self, sums: np.ndarray) -> np.ndarray:
        """What all ranks measured, over their number; what none measured stays absent."""
        there = ~(sums < 0)
        total = self.reduced(np.where(there, sums, 0).astype(np.float64), distributed.ReduceOp.SUM)
        measured = self.reduced(there.astype(np.uint8), distributed.ReduceOp.MAX) > 0
        return np.where(measured, total / self.size, ABSENT)

    def mean_loss(self, losses: np.ndarray) -> np.ndarray:
        """The mean over the ranks that were told it."""
        told = ~np.isnan(losses)
        total = self.reduced(np.where(told, losses, 0), distributed.ReduceOp.SUM)
        ranks = self.reduced(told.astype(np.float64), distributed.ReduceOp.SUM)
        return np.where(ranks > 0, total / np.maximum(ranks, 1), math.nan)

    def least(self, value: float) -> float:
        """The smallest of all ranks' values."""
        return float(self.reduced(np.array([value]), distributed.ReduceOp.MIN)[0])

    def agree(self, what: bytes) -> bool:
        number = zlib.crc32(what)
        same = self.reduced(np.array([number, -number]), distributed.ReduceOp.MAX)
        return bool(same[0] == -same[1])


def pieces(rows: int, width: int) -> Iterator[slice]:
    """The rows in pieces that are small enough to be sent."""
    at_once = max(1, _SENT_AT_ONCE // max(1, width))
    return (slice(start, start + at_once) for start in range(0, rows, at_once))


def own(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that ``fully_shard`` has spread over several."""
    if not hasattr(tensor, "to_local"):
        return tensor
    local: Tensor = tensor.to_local()
    return local


def active() -> nn.Module | None:
    """The DistributedDataParallel whose forward pass is running."""
    # from a module inside, what is around it can be seen in no other way
    return DistributedDataParallel._get_active_ddp_module()  # type: ignore[no-any-return]  # noqa: SLF001


def ranks_of(model: nn.Module) -> Ranks | None:
    """Who trains the model, if DistributedDataParallel or ``fully_shard`` has been put on it.

    Raises:
        ValueError: if its parameters lie on several device meshes.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    parallel = active()
    inner = unwrapped(model)
    if parallel is None or all(module is not inner for module in parallel.modules()):
        parallel = next((m for m in model.modules() if isinstance(m, DistributedDataParallel)), None)
    with torch.no_grad():
        device = own(next(model.parameters())).device
    if isinstance(parallel, DistributedDataParallel):
        return Ranks([parallel.process_group], device)
    meshes = {p.device_mesh for p in model.parameters() if hasattr(p, "device_mesh")}
    if len(meshes) > 1:
        raise ValueError(f"its parameters lie on {len(meshes)} device meshes, not on one")
    return Ranks(meshes.pop().get_all_groups(), device) if meshes else None


def copies_of(parameter: nn.Parameter, ranks: Ranks) -> int:
    """On how many of the ranks the same entries of the parameter lie."""
    mesh: Any = getattr(parameter, "device_mesh", None)
    placements = getattr(parameter, "placements", ())
    shards = (int(mesh.size(dimension)) for dimension, place in enumerate(placements) if not place.is_replicate())
    return ranks.size if mesh is None else ranks.size // math.prod(shards)
