"""Rows with equal vectors: an approximate index holds each vector once, and a search returns all its rows.

A graph over many equal vectors falls apart: their nearest neighbours are each other, so no link leads to the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.stored_vectors import Vectors

Search = Callable[[np.ndarray, int, int, RowMask | None], tuple[np.ndarray, np.ndarray]]
"""`SearchEngine.search`."""

_BLOCK = 16_384  # vectors read at a time


class EqualRows:
    """Which rows have equal vectors.

    Args:
        first: (rows,) int64, for each row the first row with the same vector, see `first_rows`.

    Attributes:
        first: the same.
        distinct: (vectors,) int64, the first row of each vector, in rising order. Vectors are numbered in this order.
        by_vector: (rows,) int64, all rows: those of vector 0 in rising order, then those of vector 1, and so on.
        starts: (vectors,) int64, where the rows of each vector start in `by_vector`.
    """

    def __init__(self, first: np.ndarray) -> None:
        self.first = first
        is_first = first == np.arange(len(first))
        self.distinct = np.flatnonzero(is_first)
        vector = (np.cumsum(is_first) - 1)[first]
        self.by_vector = np.argsort(vector, kind="stable")
        self._sizes = np.bincount(vector, minlength=len(self.distinct))
        self.starts = np.cumsum(self._sizes) - self._sizes

    @classmethod
    def of(cls, vectors: np.ndarray) -> EqualRows | None:
        """Compare all vectors; None if no two are equal.

        Args:
            vectors: (rows, dim) float32; may be memory-mapped.
        """
        found = cls(first_rows(vectors))
        return found if len(found.distinct) < len(found.first) else None

    @classmethod
    def read(cls, index: Path, vectors: int) -> EqualRows | None:
        """Read what `write` wrote beside an index; None if no two of its rows are equal.

        Args:
            index: the file of the index.
            vectors: number of vectors in it.

        Raises:
            OSError, EOFError: the file cannot be read.
            ValueError: it does not belong to the index.
        """
        file = _beside(index)
        if not file.exists():
            return None
        first = np.load(file)
        rows = np.arange(first.size)
        if first.shape != rows.shape or first.dtype != np.int64 or not ((first >= 0) & (first <= rows)).all():
            raise ValueError(f"{file}: must hold for each row the first row with an equal vector, as int64")
        found = cls(first)
        if len(found.distinct) != vectors or (first[first] != first).any():
            raise ValueError(f"{file}: names {len(found.distinct)} different vectors, {index.name} holds {vectors}")
        return found

    def write(self, index: Path) -> None:
        """Write a .npy file beside an index, whose file is `index`."""
        np.save(_beside(index), self.first)

    def search(
        self, search: Search, queries: np.ndarray, k: int, effort: int, mask: RowMask | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search an index that holds the distinct vectors, and return their rows.

        Args:
            search: searches the index. Its rows are numbers of vectors.
            queries, k, effort, mask: as for `SearchEngine.search`, for rows.

        Returns:
            As `SearchEngine.search`. The rows of a vector are in rising order, the first ones if not all fit into k.
        """
        over = None if mask is None else mask.over(self)
        # k vectors always have k rows that the mask allows, unless there are fewer.
        vectors = min(k, len(self.distinct) if over is None else over.count)
        return self._rows_of(*search(queries, vectors, effort, over), k, mask)

    def _rows_of(
        self, scores: np.ndarray, vectors: np.ndarray, k: int, mask: RowMask | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (batch, k) and rows (batch, k) of the found vectors, padded with -inf and -1."""
        if vectors.shape[1] == k and (self._sizes[vectors] == 1).all():  # most searches meet no equal vectors
            return scores, np.where(vectors < 0, -1, self.distinct[vectors])
        all_scores = np.full((len(vectors), k), -np.inf, np.float32)
        all_rows = np.full((len(vectors), k), -1, np.int64)
        for query, found in enumerate(vectors >= 0):  # one query at a time bounds the memory
            numbers = vectors[query, found]
            sizes = self._sizes[numbers]
            before = np.cumsum(sizes) - sizes
            if mask is None:  # rows beyond k need not be listed
                sizes = np.clip(k - before, 0, sizes)
            places = np.repeat(self.starts[numbers] - before, sizes) + np.arange(sizes.sum())
            rows, its_scores = self.by_vector[places], np.repeat(scores[query, found], sizes)
            if mask is not None:
                kept = mask.rows[rows]
                rows, its_scores = rows[kept], its_scores[kept]
            count = min(k, len(rows))
            all_rows[query, :count], all_scores[query, :count] = rows[:count], its_scores[:count]
        return all_scores, all_rows


def first_rows(vectors: Vectors) -> np.ndarray:
    """Return for each row the first row whose vector has the same bits, (rows,) int64.

    Args:
        vectors: (rows, dim) float32; may be memory-mapped.
    """
    rows, dim = vectors.shape
    # Odd factors, so that vectors that differ in one number never have the same sum.
    factors = np.random.default_rng(0).integers(2**64, size=dim, dtype=np.uint64) | np.uint64(1)
    sums = np.empty(rows, np.uint64)
    for start in range(0, rows, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, rows))
        sums[block] = _bits(vectors[block]).astype(np.uint64) @ factors
    _, first, vector = np.unique(sums, return_index=True, return_inverse=True)
    found: np.ndarray = first[vector]
    later = np.flatnonzero(found != np.arange(rows))
    for start in range(0, len(later), _BLOCK):  # different vectors may have the same sum
        some = later[start : start + _BLOCK]
        equal = (_bits(vectors[some]) == _bits(vectors[found[some]])).all(axis=1)
        found[some] = np.where(equal, found[some], some)
    return found


def distinct_sample(vectors: Vectors, count: int, among: np.ndarray | None = None) -> np.ndarray:
    """Return a random sample of rows with different vectors, at most `count`, int64 in rising order.

    Args:
        vectors: (rows, dim) float32; may be memory-mapped.
        count: size of the sample.
        among: the rows to draw from, int64; None for all.
    """
    first = first_rows(vectors)
    _, places = np.unique(first if among is None else first[among], return_index=True)
    chosen = np.random.default_rng(0).permutation(places)[:count]
    return np.sort(chosen if among is None else among[chosen])


def _bits(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors, np.float32).view(np.uint32)


def remove_beside(index: Path) -> None:
    """Remove what `EqualRows.write` wrote beside an index, if there is such a file."""
    _beside(index).unlink(missing_ok=True)


def _beside(index: Path) -> Path:
    return index.with_suffix(".rows.npy")
