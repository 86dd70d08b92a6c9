"""Exact ranking of candidates by cosine similarity, from embedding matrices."""

from __future__ import annotations

import numpy as np

QUERIES_AT_A_TIME = 256


def rank(
    queries: np.ndarray, candidates: np.ndarray, ids: np.ndarray, k: int, *, exclude: np.ndarray | None = None
) -> np.ndarray:
    """Return the best candidates for each query. Among equal scores, the earlier row comes first.

    A row of zeros means that there is no embedding. Such a candidate is never found, and such a query finds nothing.

    Args:
        queries: (queries, dim) float32, L2-normalised.
        candidates: (candidates, dim) float32, L2-normalised.
        ids: (candidates,) int64.
        k: number of places.
        exclude: (queries,) row of the candidate that each query must not find, usually itself. None excludes none.

    Returns:
        (queries, k) int64 ids, -1 where there are too few candidates.
    """
    absent = ~candidates.any(axis=1)
    found = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        block = queries[start : start + QUERIES_AT_A_TIME]
        scores = block @ candidates.T
        scores[:, absent] = -np.inf
        scores[~block.any(axis=1)] = -np.inf
        if exclude is not None:
            scores[np.arange(len(block)), exclude[start : start + len(block)]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        found[start : start + len(block), : order.shape[1]] = np.where(np.isneginf(best), -1, ids[order])
    return found
