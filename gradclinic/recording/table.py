"""Rows of what was measured, and how sums become what a record holds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gradclinic.recording.sizes import ABSENT

# Name of a column -> shape and kind of what it holds in one row.
Columns = Mapping[str, tuple[tuple[int, ...], type]]

# Name of a column -> what it holds in this row.
Row = Mapping[str, object]


class Table:
    """Rows of equal size, in arrays that double when they are full."""

    def __init__(self, columns: Columns):
        self._arrays: dict[str, np.ndarray] = {
            name: np.empty((0, *shape), dtype) for name, (shape, dtype) in columns.items()
        }
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name][: self._length]

    @property
    def nbytes(self) -> int:
        """What it takes in memory, the room to grow included."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def row_nbytes(self) -> int:
        """What one row takes."""
        return sum(array.itemsize * math.prod(array.shape[1:]) for array in self._arrays.values())

    def columns(self) -> list[str]:
        return list(self._arrays)

    def add(self, row: Row) -> None:
        """Add a row, which has a value for each column."""
        for name, array in self._arrays.items():
            if len(array) == self._length:
                more = np.empty((max(64, self._length), *array.shape[1:]), array.dtype)
                self._arrays[name] = np.concatenate([array, more])
        self._length += 1
        self.set_last({name: row[name] for name in self._arrays})

    def set_last(self, values: Row) -> None:
        """Write anew what the last row holds in some columns. Of what was not asked for there is none."""
        for name, value in values.items():
            if name in self._arrays:
                self._arrays[name][self._length - 1] = value

    def drop_last(self) -> None:
        self._length -= 1

    def sums(self, name: str, order: Sequence[int]) -> np.ndarray:
        """A copy of a column, its layers or activations in this order. What was not asked for is absent."""
        if name not in self:
            return np.full((len(self), len(order)), ABSENT)
        return self[name][:, list(order)]

    def norms(self, name: str, order: Sequence[int]) -> np.ndarray:
        """The roots of a column of sums of squares, NaN where there is none."""
        squares = self.sums(name, order)
        squares[squares < 0] = math.nan
        roots: np.ndarray = np.sqrt(squares, out=squares)
        return roots

    def shares(self, part: str, whole: str, order: Sequence[int]) -> np.ndarray:
        """One column over another, NaN where either is absent."""
        above, below = self.sums(part, order), self.sums(whole, order)
        with np.errstate(divide="ignore", invalid="ignore"):
            share: np.ndarray = np.where((above < 0) | (below < 0), math.nan, above / below)
        return share
