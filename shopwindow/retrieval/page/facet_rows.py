"""The rows of each value of a facet, in a form that counts under a row mask quickly."""

from __future__ import annotations

import faiss
import numpy as np

from shopwindow.retrieval.page.facet_values import FacetValues

# A value that at least one row in so many has is kept as a bit per row: it takes at most 8 bytes for each of its rows.
# A rarer one is kept as row numbers, of 4 bytes (8 if there are more than 2**31 rows).
_ROWS_PER_BIT = 64
_BLOCK = 262_144  # row numbers that NumPy widens to 8 bytes at a time


class FacetRows:
    """The rows of each value, grouped by value.

    Args:
        found: the values of all rows.
        rows: how many rows there are.

    Attributes:
        values: as in FacetValues.
        totals: (size,) int64, how many rows have each value.
    """

    def __init__(self, found: FacetValues, rows: int) -> None:
        self.values = found.values
        self.totals = np.bincount(found.codes, minlength=found.size).astype(np.int64)
        by_value = found.places[np.argsort(found.codes, kind="stable")]
        ends = np.cumsum(self.totals)
        frequent = (self.totals > 0) & (self.totals * _ROWS_PER_BIT >= rows)
        self._frequent = np.flatnonzero(frequent)
        self._bits = np.empty((len(self._frequent), _bytes(rows)), np.uint8)
        for place, code in enumerate(self._frequent):
            mask = np.zeros(rows, bool)
            mask[by_value[ends[code] - self.totals[code] : ends[code]]] = True
            self._bits[place] = _packed(mask)
        self._rare = np.flatnonzero((self.totals > 0) & ~frequent)
        self._rare_rows = by_value[np.repeat(~frequent, self.totals)]
        self._starts = np.cumsum(self.totals[self._rare]) - self.totals[self._rare]

    @property
    def nbytes(self) -> int:
        """How much memory it takes, without the texts."""
        kept = (self.totals, self._bits, self._frequent, self._rare, self._rare_rows, self._starts, self.values)
        return sum(one.nbytes for one in kept if one is not None)

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """Return how many rows of a mask, (rows,) bool, have each value: (size,) int64."""
        counts = np.zeros_like(self.totals)
        if len(self._frequent):
            packed, differ = _packed(mask), np.empty(len(self._frequent), np.int32)
            faiss.hammings(
                *(faiss.swig_ptr(self._bits), faiss.swig_ptr(packed), len(self._frequent), 1, len(packed)),
                faiss.swig_ptr(differ),
            )
            # Bits that differ = bits of one + bits of the other - 2 * bits of both.
            counts[self._frequent] = (self.totals[self._frequent] + np.count_nonzero(mask) - differ) // 2
        if len(self._rare):
            counts[self._rare] = np.add.reduceat(self._in(mask).view(np.uint8), self._starts, dtype=np.int32)
        return counts

    def _in(self, mask: np.ndarray) -> np.ndarray:
        """Return whether each of the rows of rare values is in a mask."""
        found = np.empty(len(self._rare_rows), bool)
        for start in range(0, len(found), _BLOCK):
            block = slice(start, start + _BLOCK)
            np.take(mask, self._rare_rows[block], out=found[block], mode="clip")
        return found


def _bytes(rows: int) -> int:
    return -(-rows // 64) * 8  # FAISS compares 64 bits at a time


def _packed(mask: np.ndarray) -> np.ndarray:
    bits = np.zeros(_bytes(len(mask)), np.uint8)
    bits[: -(-len(mask) // 8)] = np.packbits(mask)
    return bits
