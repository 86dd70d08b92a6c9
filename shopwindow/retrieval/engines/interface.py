"""The interface of a search engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from shopwindow.retrieval.engines.row_mask import RowMask


class SearchEngine(Protocol):
    """Finds the rows whose vectors have the largest inner product with each query.

    Several threads may search at the same time. The served index and its update, which is checked before it is served,
    can share one engine.
    """

    @property
    def rows(self) -> int:
        """Number of indexed vectors."""
        ...

    @property
    def dim(self) -> int:
        """Length of an indexed vector."""
        ...

    @property
    def largest_k(self) -> int:
        """Largest k of a search. For a larger k, search exactly."""
        ...

    @property
    def description(self) -> str:
        """Which engine this is, where and how it searches, as text for a log."""
        ...

    def spare(self, k: int) -> int:
        """Return how many more than k candidates to fetch for scoring with whole vectors; 0 if scores are exact."""
        ...

    def search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """Search.

        Args:
            queries: (batch, dim) float32.
            k: rows to return per query, at most the number of rows, and at most `largest_k` plus its spare.
            effort: 1 to 10; 5 is the calibrated setting.
            mask: the rows that may be returned, or None for all.

        Returns:
            scores (batch, k) float32 in falling order and rows (batch, k) int64; -1 if nothing was found. If it found
            fewer than k rows, more may still qualify.

        Raises:
            ValueError: k is above its limit.
        """
        ...
