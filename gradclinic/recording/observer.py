"""What every kind of measurement does, so that one more takes one file, and one line in ``watch.py``."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from torch import nn

from gradclinic.recording.hooks import Hook
from gradclinic.recording.ranks import Ranks
from gradclinic.recording.table import Columns, Row, Table


class Order(NamedTuple):
    """Indices of layers and of activations, from the input to the output."""

    layers: list[int]
    activations: list[int]


class Observer:
    """One kind of quantity, from the hook that sees it to the field of a record.

    Only what is gathered by hooks on modules is forgotten with a pass. By default an observer sees and keeps nothing.
    """

    def columns(self) -> Columns:
        """What it adds to each row of the table."""
        return {}

    def hooks(self) -> Iterable[tuple[nn.Module, Hook]]:
        """Forward hooks, and the modules they are for. They are on only for steps that are recorded."""
        return ()

    def new_pass(self) -> None:
        """A forward pass of the model begins, in a step that is recorded."""

    def forget(self) -> None:
        """Take no notice of the passes since the last step: it is written, or nothing came of them."""

    def row(self, _ranks: Ranks | None, /) -> Row:
        """A value for each of its columns; with several processes, this one's share."""
        return {}

    def new_block(self) -> None:
        """Rows from here on are those that the ranks will join."""

    def alike(self) -> object:
        """What has to be the same for all ranks that join their rows, as something that ``repr`` tells apart."""
        return None

    def width(self, _name: str, column: np.ndarray, /) -> int:
        """How many numbers a row of this column has the ranks send."""
        return math.prod(column.shape[1:])

    def joined(self, _name: str, own: np.ndarray, _rows: slice, ranks: Ranks, /) -> np.ndarray:
        """Some rows of a column, counted from the block's first, as all ranks together saw them. A collective."""
        return ranks.mean(own)

    def join_rest(self, _ranks: Ranks, /) -> None:
        """Put together what is in no column. A collective."""

    def fields(self, _table: Table, _order: Order, /) -> dict[str, np.ndarray]:
        """The arrays of a ``Record`` that its columns become."""
        return {}
