"""Maximal marginal relevance: of products that are equally relevant, prefer those unlike the ones above them."""

from __future__ import annotations

import numpy as np

OVER = 200  # places that are ordered anew; those beyond follow as they are


def diverse_order(scores: np.ndarray, vectors: np.ndarray, strength: float) -> np.ndarray:
    """Order products so that each is relevant and unlike those before it (Carbonell and Goldstein 1998).

    The first product stays first. Then comes, again and again, the product with the largest (1 - strength) * relevance
    - strength * the largest cosine with a product chosen before. The relevance is the score, stretched to 0 to 1.

    Args:
        scores: (places,) final scores, in ranking order.
        vectors: (places, dim) float32, L2-normalised.
        strength: 0 leaves the order; 1 looks only at how unlike the products are.

    Returns:
        (places,) int64, the places in their new order. Of equally good places, the earlier one comes first.
    """
    count = len(scores)
    if not count:
        return np.empty(0, np.int64)
    wide = scores.astype(np.float64)
    low, high = wide.min(), wide.max()
    relevance = (1 - strength) * ((wide - low) / (high - low) if high > low else np.ones(count))
    cosines = strength * (vectors @ vectors.T).astype(np.float64)
    order = np.empty(count, np.int64)
    nearest = np.full(count, -np.inf)  # strength times the largest cosine with a chosen product
    chosen = 0
    for place in range(count):
        order[place] = chosen
        relevance[chosen] = -np.inf
        np.maximum(nearest, cosines[chosen], out=nearest)
        chosen = int(np.argmax(relevance - nearest))
    return order
