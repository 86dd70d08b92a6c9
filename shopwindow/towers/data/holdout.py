"""Decide which products training never sees, from the product id alone, so that nothing has to be stored."""

from __future__ import annotations

import numpy as np


def held_out(product_ids: np.ndarray, share: float) -> np.ndarray:
    """Pick the products that training must not see.

    splitmix64 (Steele, Lea, Flood, OOPSLA 2014) maps an id to a number in [0, 1). Ids below `share` are held out. So
    every catalogue and process holds out the same ids, and a larger share includes the ids of a smaller one.

    Args:
        product_ids: (products,) int64.
        share: share of all ids to hold out, 0 <= share < 1.

    Returns:
        (products,) bool, True where the product is held out.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share of held-out products: must be at least 0 and below 1, got {share}")
    bits = np.asarray(product_ids, dtype=np.int64).astype(np.uint64)
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = bits ^ (bits >> np.uint64(31))
    # A float64 holds exactly the upper 53 bits.
    below: np.ndarray = (bits >> np.uint64(11)).astype(np.float64) / 2.0**53 < share
    return below
