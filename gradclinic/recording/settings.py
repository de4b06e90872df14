"""What the optimiser is set to, layer by layer, and how the weights stand: asked for nothing, or all alike."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gradclinic.recording.layers import Layer
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks, own
from gradclinic.recording.table import Columns, Row, Table

_SETTINGS = ("learning_rate", "momentum", "weight_decay", "epsilon")
_FACTS = ("decoupled", "frozen", "alike")


class Settings(Observer):
    """Learning rate, momentum, weight decay and epsilon of the optimiser that holds a layer, in each recorded step."""

    def __init__(self, layers: Sequence[Layer], notes: Notes):
        self._layers, self._notes = layers, notes
        self._found = np.full((len(_SETTINGS), len(layers)), math.nan)
        self._decoupled = np.zeros(len(layers), bool)

    def know(self, layers: Sequence[Layer]) -> None:
        """Take these layers' parameters: ``fully_shard`` puts others into the place of those that were there."""
        self._layers = layers

    def columns(self) -> Columns:
        size = (len(self._layers),)
        return dict.fromkeys(_SETTINGS, (size, np.float64)) | dict.fromkeys(_FACTS, (size, np.bool_))

    def see(self, optimizer: torch.optim.Optimizer) -> None:
        """Ask an optimiser that takes part in the step. What it was given for a layer's first parameter counts."""
        with self._notes.guard("the optimiser's settings"):
            groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
            for i, layer in enumerate(self._layers):
                group = next((groups[id(p)] for p in layer.parameters if id(p) in groups), None)
                if group is not None:
                    betas = group.get("betas") or (math.nan,)
                    found = (group.get("lr"), group.get("momentum", betas[0]), group.get("weight_decay"))
                    self._found[:, i] = [_number(value) for value in (*found, group.get("eps"))]
                    apart = group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW))
                    self._decoupled[i] = bool(apart)

    def row(self, _ranks: Ranks | None, /) -> Row:
        row: dict[str, object] = dict(zip(_SETTINGS, self._found.copy(), strict=True))
        frozen, alike = np.zeros((2, len(self._layers)), bool)
        for i, layer in enumerate(self._layers):
            frozen[i] = bool(layer.parameters) and not any(p.requires_grad for p in layer.parameters)
            with self._notes.guard(f"the units of {layer.name}"), torch.no_grad():
                alike[i] = units_alike(layer)
        row |= {"decoupled": self._decoupled.copy(), "frozen": frozen, "alike": alike}
        self._found[:], self._decoupled[:] = math.nan, False
        return row

    def joined(self, _name: str, own: np.ndarray, _rows: slice, _ranks: Ranks, /) -> np.ndarray:
        return own  # all ranks have the same optimiser

    def fields(self, table: Table, order: Order, /) -> dict[str, np.ndarray]:
        return {name: table[name][:, order.layers] for name in (*_SETTINGS, *_FACTS)}


def _number(value: object) -> float:
    """A setting may be a tensor, or missing."""
    return float(value) if isinstance(value, (int, float, Tensor)) else math.nan


def units_alike(layer: Layer) -> bool:
    """Whether all units of a layer have exactly the same incoming weights; two rows tell for nearly every layer."""
    if layer.whole or isinstance(layer.module, (nn.Embedding, nn.EmbeddingBag)):
        return False  # what the model itself owns is a table, as an embedding is: its rows are no units
    weights = [own(p.detach()) for p in layer.parameters if p.dim() > 1 and p.is_floating_point()]
    # of one incoming weight or two, some may be equal by chance or by design
    weights = [weight for weight in weights if len(weight) > 1]
    return bool(weights) and all(
        torch.equal(weight[0], weight[1]) and bool((weight == weight[:1]).all()) for weight in weights
    )
