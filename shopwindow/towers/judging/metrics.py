"""Ranking metrics query by query, and their means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its 95 % percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def find_hits(ranked: np.ndarray, relevant: Sequence[Collection[int]]) -> np.ndarray:
    """Which places of the rankings hold something relevant.

    Args:
        ranked: (queries, places) int64 product ids, the best first; -1 fills places where nothing was found.
        relevant: (queries) sets of product ids.

    Returns:
        (queries, places) bool.
    """
    rows = [np.isin(ids, list(wanted)) for ids, wanted in zip(ranked, relevant, strict=True)]
    return np.array(rows, dtype=bool).reshape(ranked.shape)


def ndcg(hits: np.ndarray, relevant: np.ndarray, k: int = 10) -> np.ndarray:
    """Normalised discounted cumulative gain with binary relevance.

    Args:
        hits: (queries, places) bool.
        relevant: (queries,) int, relevant products of each query, at least 1.
        k: places that count.

    Returns:
        (queries,) float64, 0 to 1.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = hits[:, :k] @ discounts[: hits.shape[1]]
    shares: np.ndarray = gains / discounts.cumsum()[np.minimum(relevant, k) - 1]
    return shares


def reciprocal_rank(hits: np.ndarray) -> np.ndarray:
    """One over the place of the first hit, 0 where there is none; (queries,) float64."""
    return np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Share of the relevant products among the first k; arguments and result as `ndcg`."""
    shares: np.ndarray = hits[:, :k].sum(axis=1) / relevant
    return shares


def hit_rate(hits: np.ndarray, k: int) -> np.ndarray:
    """1 where any of the first k places is a hit, else 0; (queries,) float64."""
    return np.where(hits[:, :k].any(axis=1), 1.0, 0.0)


def estimate(values: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of per-query values, with the interval from resampling queries.

    Args:
        values: (queries,) at least one.
        seed: of the resampling; the same seed and number of queries draw the same resamples.

    Raises:
        ValueError: no values.
    """
    if len(values) == 0:
        raise ValueError("values: at least one is needed for a mean, got none")
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high))


def difference(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of `ours - theirs` for two systems that answered the same queries: the paired bootstrap.

    Raises:
        ValueError: the two do not have the same number of queries.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"theirs: must answer the same queries as ours, {len(ours)}, got {len(theirs)}")
    return estimate(ours - theirs, seed=seed)
