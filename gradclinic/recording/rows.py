"""The rows of a record, from what the observers saw of each step; and how the rows of several ranks become one."""

from collections.abc import Sequence

import numpy as np

from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.ranks import Ranks, pieces
from gradclinic.recording.table import Table


class Rows:
    """One row a recorded step, with the columns of all observers.

    A provisional row is there because a block has ended. The next block takes it back: the training goes on.
    """

    def __init__(self, observers: Sequence[Observer]):
        self._observers = observers
        self._of_column = {name: observer for observer in observers for name in observer.columns()}
        columns = {name: column for observer in observers for name, column in observer.columns().items()}
        self.table = Table({"step": ((), np.int64)} | columns)
        self._provisional = False
        self._joined = 0  # rows of earlier blocks

    def has(self, step: int) -> bool:
        """Whether this step, the last that was counted, is recorded."""
        return len(self.table) > 0 and int(self.table["step"][-1]) == step

    def add(self, step: int, ranks: Ranks | None, provisional: bool = False) -> None:
        row: dict[str, object] = {"step": step}
        for observer in self._observers:
            row |= observer.row(ranks)
        self.table.add(row)
        self._provisional = provisional

    def change_last(self, observer: Observer, ranks: Ranks | None) -> None:
        """Write the last row's columns of one observer anew."""
        self.table.set_last(observer.row(ranks))

    def new_block(self) -> None:
        """Rows from here on are joined when the block ends. Of an earlier one that broke off they stay this rank's."""
        self._joined = len(self.table)
        for observer in self._observers:
            observer.new_block()

    def take_back(self) -> None:
        """Drop a provisional row."""
        if self._provisional:
            self.table.drop_last()
            self._provisional = False

    def broken(self) -> bool:
        """Whether the last row holds an output or a gradient that is not finite."""
        known = [name for name in ("output", "gradient") if name in self.table]
        return any(not np.isfinite(self.table[name][-1]).all() for name in known)

    def join(self, ranks: Ranks, layers: Sequence[str]) -> None:
        """Put into the rows of this block what all ranks saw. A collective: every rank has to come here.

        Raises:
            ValueError: if they recorded other steps or other layers.
        """
        table, rows = self.table, slice(self._joined, len(self.table))
        names = [name for name in table.columns() if name != "step"]
        alike = [list(layers), names, [observer.alike() for observer in self._observers]]
        if not ranks.agree(repr(alike).encode() + table["step"][rows].tobytes()):
            raise ValueError("they recorded other steps or layers than this one, so the record is this rank's own")
        joined = {name: table[name][rows].copy() for name in names}
        for name, column in joined.items():
            observer = self._of_column[name]
            for piece in pieces(len(column), observer.width(name, column)):
                column[piece] = observer.joined(name, column[piece], piece, ranks)
        for observer in self._observers:
            observer.join_rest(ranks)
        for name, column in joined.items():  # all of it, or nothing
            table[name][rows] = column
        self.new_block()

    def fields(self, order: Order) -> dict[str, np.ndarray]:
        """The arrays of a ``Record``."""
        arrays = {"step": self.table["step"].copy()}
        for observer in self._observers:
            arrays |= observer.fields(self.table, order)
        return arrays
