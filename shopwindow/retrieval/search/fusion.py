"""Merge two rankings into one."""

from __future__ import annotations

import numpy as np

# From Cormack, Clarke and Büttcher 2009. The larger it is, the less the first places count above the next.
RRF_K = 60

Found = tuple[np.ndarray, np.ndarray]
"""Products (found,) int64, without repetitions, and their scores (found,) in falling order."""


def fuse(embedding: Found, lexical: Found, *, weight: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge what the two channels found for one query.

    By reciprocal rank, each channel that found a product adds 1 / (RRF_K + place) to its score.

    With a weight, the scores of each channel are first stretched: its best product gets 1 and its worst 0. A product
    then scores `weight` times its embedding score plus (1 - `weight`) times its lexical score. A channel that did not
    find a product gives it 0.

    Args:
        embedding: ranking of the embedding channel.
        lexical: ranking of the lexical channel.
        weight: weight of the embedding channel, 0 to 1; None merges by reciprocal rank.

    Returns:
        Three arrays with one entry per product that any channel found. Products, int64. Fused scores, float64, in
        falling order; products with equal scores are in the order of the embedding channel, then of the lexical one.
        Channels, int64: 1 if the embedding channel found the product, 2 for the lexical one, 3 for both.
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
    """Stretch scores to 0 to 1; all become 1 if they are equal."""
    if len(scores) == 0 or scores[0] == scores[-1]:
        return np.ones(len(scores))
    wide = scores.astype(np.float64)
    stretched: np.ndarray = (wide - wide[-1]) / (wide[0] - wide[-1])
    return stretched
