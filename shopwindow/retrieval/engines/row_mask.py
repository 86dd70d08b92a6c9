"""The rows that a search may return, with their count, bits and numbers computed only once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shopwindow.retrieval.engines.equal_rows import EqualRows


class RowMask:
    """A row mask that cannot be changed. Keep it: with millions of rows, counting and packing take as long as a search.

    Args:
        rows: (rows,) bool. It becomes read-only.
    """

    def __init__(self, rows: np.ndarray) -> None:
        rows.flags.writeable = False
        self.rows = rows
        self._parts: dict[int, tuple[RowMask, RowMask]] = {}
        self._over: tuple[EqualRows, RowMask] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def count(self) -> int:
        """Number of rows that may be returned."""
        return int(np.count_nonzero(self.rows))

    @property
    def share(self) -> float:
        """Share of all rows that may be returned. It is never 0: if no row may be returned, it counts one."""
        return max(self.count, 1) / max(len(self.rows), 1)

    @cached_property
    def bits(self) -> np.ndarray:
        """One bit per row, (rows / 8 rounded up,) uint8, in the format of FAISS's IDSelectorBitmap."""
        return np.packbits(self.rows, bitorder="little")

    @cached_property
    def numbers(self) -> np.ndarray:
        """Numbers of the rows that may be returned, (count,) int64 in rising order. They take 8 bytes each."""
        return np.flatnonzero(self.rows)

    def split(self, at: int) -> tuple[RowMask, RowMask]:
        """Return the masks of the rows before `at` and of the rows from `at` on."""
        if at not in self._parts:
            self._parts[at] = RowMask(self.rows[:at]), RowMask(self.rows[at:])
        return self._parts[at]

    def over(self, equal: EqualRows) -> RowMask:
        """Return the mask of the distinct vectors that have a row in this mask."""
        kept = self._over
        if kept is None or kept[0] is not equal:
            kept = self._over = equal, RowMask(np.logical_or.reduceat(self.rows[equal.by_vector], equal.starts))
        return kept[1]
