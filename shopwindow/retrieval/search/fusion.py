"""Merging two rankings into one."""

from __future__ import annotations

import numpy as np

# Cormack, Clarke and Büttcher 2009: how little the first places count more than the next.
RRF_K = 60

Ranking = tuple[np.ndarray, np.ndarray]
"""Products (found,) int64, each once, and their scores (found,) in falling order."""


def fuse(embedding: Ranking, lexical: Ranking, *, weight: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge what the two channels found for one query.

    By reciprocal rank a product scores 1 / (RRF_K + place) in each channel that found it. Weighted, it scores what is
    left of its score when each channel's scores are stretched to 0 for its worst product found and 1 for its best:
    `weight` times that of the embedding channel, and the rest of 1 times that of the lexical one. A channel that did
    not find a product gives it 0.

    Args:
        embedding: of the embedding channel.
        lexical: of the lexical channel.
        weight: 0 to 1; None merges by reciprocal rank.

    Returns:
        products (either found them,) int64; fused scores, float64, in falling order, equal ones as the embedding
        channel ranks them, then as the lexical one does; channels, int64, which found each: 1 embedding, 2 lexical.
    """
    ranked = (embedding, lexical)
    if weight is None:
        points = [1 / (RRF_K + np.arange(1, len(ids) + 1)) for ids, _ in ranked]
    else:
        points = [share * _stretch(scores) for share, (_, scores) in zip((weight, 1 - weight), ranked, strict=True)]
    products, first, place = np.unique(
        np.concatenate([ids for ids, _ in ranked]), return_index=True, return_inverse=True
    )
    fused = np.bincount(place, weights=np.concatenate(points), minlength=len(products))
    tags = np.repeat([1, 2], [len(ids) for ids, _ in ranked])
    channels = np.bincount(place, weights=tags, minlength=len(products)).astype(np.int64)
    order = np.lexsort((first, -fused))
    return products[order], fused[order], channels[order]


def _stretch(scores: np.ndarray) -> np.ndarray:
    """Scores from 0 to 1; all 1 where they are all the same."""
    if len(scores) == 0 or scores[0] == scores[-1]:
        return np.ones(len(scores))
    wide = scores.astype(np.float64)
    stretched: np.ndarray = (wide - wide[-1]) / (wide[0] - wide[-1])
    return stretched
