"""What a search engine must do."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from shopwindow.retrieval.engines.row_mask import RowMask


class SearchEngine(Protocol):
    """Finds the rows whose vectors have the largest inner product with each query.

    Several threads may search: an index and its update, which is checked before it is served, can share an engine.
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
        """Most rows that one search can find; beyond, search exactly."""
        ...

    @property
    def description(self) -> str:
        """Which engine this is, where and how it searches, for a log."""
        ...

    def spare(self, k: int) -> int:
        """Candidates to fetch beside k rows, all to be scored again by whole vectors; 0 where scores are exact."""
        ...

    def search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """Search.

        Args:
            queries: (batch, dim) float32.
            k: rows wanted per query, at most the number of rows; `largest_k` plus its spare is the limit.
            effort: 1 to 10; 5 is the calibrated setting.
            mask: the rows that may be returned, or None for all.

        Returns:
            scores (batch, k) float32 in falling order and rows (batch, k) int64; -1 where nothing was found. Fewer
            than k rows do not mean that no more qualify.

        Raises:
            ValueError: k is above that.
        """
        ...
