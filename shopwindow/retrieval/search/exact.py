"""Exact search, and the result type of every search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shopwindow.retrieval.engines.stored_vectors import Vectors

PAD_ID = -1
PAD_SCORE = -np.inf


@dataclass(frozen=True)
class SearchResult:
    """Products found for the rows of one request.

    Attributes:
        product_ids: (batch, top_k) int64; padded with -1 if fewer than top_k products qualify.
        scores: (batch, top_k) float32 in falling order: cosine similarity, or as `search_channels` says; padded with
            -inf.
        channels: (batch, top_k) int64, bit mask of the `Channel`s that found each product; padded with 0.
        rows: (batch, top_k) int64, the products' rows in the index; in Milvus, which has no rows, their ids. Padded
            with -1.
        rankings: (batch) the rankings that the products are from, if the request has a page; else none.
    """

    product_ids: np.ndarray
    scores: np.ndarray
    channels: np.ndarray
    rows: np.ndarray
    rankings: Sequence[Any] = ()

    def __getitem__(self, part: slice) -> SearchResult:
        """Return the result of some of the rows."""
        return SearchResult(
            self.product_ids[part], self.scores[part], self.channels[part], self.rows[part], self.rankings[part]
        )


def exact_search(
    queries: np.ndarray, vectors: Vectors, candidates: np.ndarray, k: int, block: int = 65_536
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows with the largest inner products by scoring every candidate, in blocks that bound the memory.

    Args:
        queries: (batch, dim) float32.
        vectors: (rows, dim) float32, possibly memory-mapped.
        candidates: row numbers to score, at least k of them.
        k: rows to return per query.
        block: rows scored at a time.

    Returns:
        scores (batch, k) float32 in falling order, rows (batch, k) int64; equal scores in row order.
    """
    best_scores = np.empty((len(queries), 0), dtype=np.float32)
    best_rows = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(candidates), block):
        some = candidates[start : start + block]
        scores = np.concatenate([best_scores, queries @ vectors[some].T], axis=1)
        rows = np.concatenate([best_rows, np.broadcast_to(some, (len(queries), len(some)))], axis=1)
        if scores.shape[1] > k:
            kept = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
            scores, rows = np.take_along_axis(scores, kept, 1), np.take_along_axis(rows, kept, 1)
        best_scores, best_rows = scores, rows
    order = np.argsort(-best_scores, axis=1, kind="stable")
    return np.take_along_axis(best_scores, order, 1), np.take_along_axis(best_rows, order, 1)
