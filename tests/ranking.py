"""Compare rankings: equal up to the rounding of float32 and the order of products with equal scores."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-5


def assert_same_ranking(
    ids: np.ndarray, scores: np.ndarray, expected_ids: np.ndarray, expected_scores: np.ndarray
) -> None:
    """Assert that two (rows, k) rankings have the same scores. Ids may differ only among scores within TOLERANCE."""
    assert ids.shape == scores.shape == expected_ids.shape == expected_scores.shape
    np.testing.assert_array_equal(ids < 0, expected_ids < 0)
    np.testing.assert_array_equal(np.isneginf(scores), ids < 0)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=TOLERANCE)
    for row, expected in enumerate(expected_ids.tolist()):
        place = {product: rank for rank, product in enumerate(expected)}
        for rank in np.flatnonzero(ids[row] != expected_ids[row]).tolist():
            # If the other ranking lacks a product, its score must be that of the last place.
            expected_score = expected_scores[row, place.get(int(ids[row, rank]), -1)]
            assert abs(expected_score - scores[row, rank]) <= 2 * TOLERANCE, (row, rank, ids[row, rank], expected[rank])


def assert_is_exact_search(
    ids: np.ndarray,
    scores: np.ndarray,
    queries: np.ndarray,
    vectors: np.ndarray,
    product_ids: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
    min_score: float = -np.inf,
) -> None:
    """Assert that the answer (rows, k) to queries (rows, dim) is what numpy finds among the allowed products."""
    row_of = {product: row for row, product in enumerate(product_ids.tolist())}
    everything = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    keep = np.ones(len(vectors), bool) if allowed is None else allowed
    for found, found_scores, all_scores in zip(ids.tolist(), scores, everything, strict=True):
        best = np.sort(all_scores[keep & (all_scores >= min_score)])[::-1][: len(found)]
        count = len(best)
        assert found[count:] == [-1] * (len(found) - count)
        assert np.isneginf(found_scores[count:]).all()
        rows = [row_of[product] for product in found[:count]]
        assert len(set(rows)) == count
        assert keep[rows].all()
        np.testing.assert_allclose(found_scores[:count], best, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(found_scores[:count], all_scores[rows], rtol=0, atol=TOLERANCE)
