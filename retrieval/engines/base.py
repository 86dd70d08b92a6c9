"""What a search engine must do."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class SearchEngine(Protocol):
    """Finds the rows whose vectors have the largest inner product with each query."""

    def search(
        self, queries: np.ndarray, k: int, effort: int, mask: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search.

        Args:
            queries: (batch, dim) float32.
            k: rows wanted per query, at most the number of indexed rows.
            effort: 1 to 10; 5 is the calibrated setting.
            mask: (rows,) bool, the rows that may be returned, or None for all.

        Returns:
            scores (batch, k) float32 in falling order and rows (batch, k) int64; -1 where nothing was found.
        """
        ...
