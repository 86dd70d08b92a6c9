"""An engine over an updated index: the base as it was built, and the delta of products added since."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.engines.faiss_cpu import FaissCpuEngine
from shopwindow.retrieval.engines.interface import SearchEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow.retrieval.engines.row_mask import RowMask


class SegmentedEngine:
    """Searches the base with its engine and the delta exactly, and merges both by score. Rows are numbered base first.

    Args:
        base: engine of the base rows.
        base_vectors: (base rows, dim) float32, possibly memory-mapped.
        delta: (delta rows, dim) float32, at least one row.

    Attributes:
        base: engine of the base rows.
    """

    def __init__(self, base: SearchEngine, base_vectors: np.ndarray, delta: np.ndarray) -> None:
        self.base = base
        self._base_vectors = base_vectors
        self._delta = FaissCpuEngine.build(delta, choose_recipe(len(delta), "flat"))

    @property
    def rows(self) -> int:
        """Number of indexed vectors, base and delta."""
        return self.base.rows + self._delta.rows

    @property
    def dim(self) -> int:
        """Length of an indexed vector."""
        return self.base.dim

    @property
    def largest_k(self) -> int:
        """See `SearchEngine.largest_k`."""
        return self.rows if self.base.largest_k >= self.base.rows else self.base.largest_k

    @property
    def description(self) -> str:
        """See `SearchEngine.description`."""
        return f"{self.base.description}, and {self._delta.rows} updated vectors searched exactly"

    def spare(self, k: int) -> int:
        """See `SearchEngine.spare`. It is 0, because `search` itself scores the base's candidates again.

        Rough scores of the base could not be merged with exact scores of the delta.
        """
        return 0

    def search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """See `SearchEngine.search`.

        If the base found fewer rows than it was asked for, the last place of that query is -1, even if the delta could
        fill it. The caller then knows that the base may hold better products.
        """
        base_rows = self.base.rows
        base_mask, delta_mask = mask.split(base_rows) if mask is not None else (None, None)
        base_k = min(k, base_rows if base_mask is None else base_mask.count)
        delta_k = min(k, self._delta.rows if delta_mask is None else delta_mask.count)
        scores = np.empty((len(queries), base_k + delta_k), np.float32)
        rows = np.empty(scores.shape, np.int64)
        if base_k:
            scores[:, :base_k], rows[:, :base_k] = search_rescored(
                self.base, self._base_vectors, queries, base_k, effort, base_mask
            )
        if delta_k:
            scores[:, base_k:], rows[:, base_k:] = self._delta.search(queries, delta_k, effort, delta_mask)
            rows[:, base_k:] += base_rows
        short = (rows[:, :base_k] < 0).any(axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
        scores[short, -1], rows[short, -1] = -np.inf, -1
        return scores, rows
