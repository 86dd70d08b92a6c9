"""The rows that a search may return, with everything about them that is worth working out only once."""

from __future__ import annotations

from functools import cached_property

import numpy as np


class RowMask:
    """A frozen row mask. Counting and packing take as long as a search when there are millions of rows: keep it.

    Args:
        rows: (rows,) bool; not to be changed any more.
    """

    def __init__(self, rows: np.ndarray) -> None:
        rows.flags.writeable = False
        self.rows = rows
        self._parts: dict[int, tuple[RowMask, RowMask]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def count(self) -> int:
        """Rows that may be returned."""
        return int(np.count_nonzero(self.rows))

    @property
    def share(self) -> float:
        """Of all rows, those that may be returned; above 0, as if at least one might."""
        return max(self.count, 1) / max(len(self.rows), 1)

    @cached_property
    def bits(self) -> np.ndarray:
        """A bit a row, (rows / 8 rounded up,) uint8, as FAISS's IDSelectorBitmap reads it."""
        return np.packbits(self.rows, bitorder="little")

    @cached_property
    def numbers(self) -> np.ndarray:
        """The numbers of the rows that may be returned, (count,) int64 in rising order: 8 bytes each."""
        return np.flatnonzero(self.rows)

    def split(self, at: int) -> tuple[RowMask, RowMask]:
        """The masks of the rows before `at` and of those from there on."""
        if at not in self._parts:
            self._parts[at] = RowMask(self.rows[:at]), RowMask(self.rows[at:])
        return self._parts[at]
