"""Several processes that train one model: who they are, and how they put together what each measured."""

import math
import zlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gradclinic.recording.layers import _unwrapped
from gradclinic.recording.sizes import _ABSENT

# Ranks send each other so many numbers at a time.
_SENT_AT_ONCE = 2**20


class _Ranks:
    """The processes that train one model together, each on its share of the batch. Every method is a collective."""

    def __init__(self, groups: list, device: torch.device):
        self.groups, self.device = groups, device  # one group for each dimension of a mesh
        self.size = math.prod(distributed.get_world_size(group) for group in groups)

    def reduced(self, values: np.ndarray, how: distributed.ReduceOp) -> np.ndarray:
        tensor = torch.from_numpy(values.copy()).to(self.device)
        for group in self.groups:
            distributed.all_reduce(tensor, how, group=group)
        return tensor.cpu().numpy()

    def mean(self, sums: np.ndarray) -> np.ndarray:
        """What all ranks measured, over their number; what none measured stays absent."""
        there = ~(sums < 0)
        total = self.reduced(np.where(there, sums, 0).astype(np.float64), distributed.ReduceOp.SUM)
        measured = self.reduced(there.astype(np.uint8), distributed.ReduceOp.MAX) > 0
        return np.where(measured, total / self.size, _ABSENT)

    def mean_loss(self, losses: np.ndarray) -> np.ndarray:
        """The mean over the ranks that were told it."""
        told = ~np.isnan(losses)
        total = self.reduced(np.where(told, losses, 0), distributed.ReduceOp.SUM)
        ranks = self.reduced(told.astype(np.float64), distributed.ReduceOp.SUM)
        return np.where(ranks > 0, total / np.maximum(ranks, 1), math.nan)

    def agree(self, what: bytes) -> bool:
        number = zlib.crc32(what)
        same = self.reduced(np.array([number, -number]), distributed.ReduceOp.MAX)
        return bool(same[0] == -same[1])


def _pieces(rows: int, width: int) -> Iterator[slice]:
    """The rows in pieces that are small enough to be sent."""
    at_once = max(1, _SENT_AT_ONCE // max(1, width))
    return (slice(start, start + at_once) for start in range(0, rows, at_once))


def _own(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that ``fully_shard`` has spread over several."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _ranks_of(model: nn.Module) -> _Ranks | None:
    """Who trains the model, if DistributedDataParallel or ``fully_shard`` has been put on it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    parallel = DistributedDataParallel._get_active_ddp_module()  # around the model whose forward pass is running
    inner = _unwrapped(model)
    if parallel is None or all(module is not inner for module in parallel.modules()):
        parallel = next((m for m in model.modules() if isinstance(m, DistributedDataParallel)), None)
    with torch.no_grad():
        device = _own(next(model.parameters())).device
    if parallel is not None:
        return _Ranks([parallel.process_group], device)
    meshes = {p.device_mesh for p in model.parameters() if hasattr(p, "device_mesh")}
    if len(meshes) > 1:
        raise ValueError(f"its parameters lie on {len(meshes)} device meshes, not on one")
    return _Ranks(meshes.pop().get_all_groups(), device) if meshes else None


def _copies_of(parameter: nn.Parameter, ranks: _Ranks) -> int:
    """On how many of the ranks the same entries of the parameter lie."""
    if not hasattr(parameter, "device_mesh"):
        return ranks.size
    shards = (
        parameter.device_mesh.size(dimension)
        for dimension, placement in enumerate(parameter.placements)
        if not placement.is_replicate()
    )
    return ranks.size // math.prod(shards)
