"""Score the candidates of an engine with compressed vectors again, with the whole vectors."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.engines.interface import SearchEngine
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.stored_vectors import Vectors


def search_rescored(
    engine: SearchEngine, vectors: Vectors, queries: np.ndarray, k: int, effort: int, mask: RowMask | None
) -> tuple[np.ndarray, np.ndarray]:
    """Search an engine and score its candidates exactly, so that scores are cosines even if its vectors are compressed.

    Args:
        engine: the engine to search.
        vectors: (rows, dim) float32, possibly memory-mapped: the vectors that the engine was built from.
        queries: (batch, dim) float32.
        k: rows to return, at most `engine.largest_k` and the number of allowed rows.
        effort: 1 to 10.
        mask: the rows that may be returned, or None for all.

    Returns:
        scores (batch, k) float32 in falling order, equal ones in row order, and rows (batch, k) int64; padded with
        -inf and -1.
    """
    spare = engine.spare(k)
    if spare == 0:
        return engine.search(queries, k, effort, mask)
    allowed = len(vectors) if mask is None else mask.count
    _, rows = engine.search(queries, min(k + spare, allowed), effort, mask)
    scores = np.full(rows.shape, -np.inf, np.float32)
    for query, found, its_scores in zip(queries, rows, scores, strict=True):  # one query at a time bounds the memory
        np.copyto(its_scores, vectors[found] @ query, where=found >= 0)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
