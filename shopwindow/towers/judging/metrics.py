"""Ranking metrics for each query, and their means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """Mark the places of the rankings that hold a relevant product.

    Args:
        ranked: (queries, places) int64 product ids, the best first; -1 where nothing was found.
        relevant: (queries) sets of product ids.

    Returns:
        (queries, places) bool.
    """
    rows = [np.isin(ids, list(answers)) for ids, answers in zip(ranked, relevant, strict=True)]
    return np.array(rows, dtype=bool).reshape(ranked.shape)


def ndcg(ranked: np.ndarray, grades: Sequence[Mapping[int, float]], k: int = 10) -> np.ndarray:
    """Return the normalised discounted cumulative gain (Jarvelin and Kekalainen, TOIS 2002).

    The gain of a product is its grade, as in trec_eval's ndcg_cut, and not 2^grade - 1. If all grades of a query are
    equal, they do not matter.

    Args:
        ranked: (queries, places) int64 product ids, the best first; -1 where nothing was found.
        grades: (queries) product id -> grade above 0, at least one for each query.
        k: number of places that count.

    Returns:
        (queries,) float64, 0 to 1.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))

    def gain(found: Sequence[float]) -> float:
        return float(np.array(found) @ discounts[: len(found)])

    shares = []
    for ids, answers in zip(ranked[:, :k].tolist(), grades, strict=True):
        best = gain(sorted(answers.values(), reverse=True)[:k])
        shares.append(gain([answers.get(product, 0.0) for product in ids]) / best)
    return np.array(shares, dtype=np.float64)


def reciprocal_rank(hits: np.ndarray) -> np.ndarray:
    """Return one over the place of the first hit, 0 if there is none; (queries,) float64."""
    return np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the share of the relevant products that are among the first k.

    Args:
        hits: (queries, places) bool.
        relevant: (queries,) int, number of relevant products of each query, at least 1.
        k: number of places that count.

    Returns:
        (queries,) float64, 0 to 1.
    """
    shares: np.ndarray = hits[:, :k].sum(axis=1) / relevant
    return shares


def hit_rate(hits: np.ndarray, k: int) -> np.ndarray:
    """Return 1 if one of the first k places is a hit, otherwise 0; (queries,) float64."""
    return np.where(hits[:, :k].any(axis=1), 1.0, 0.0)


def estimate(values: np.ndarray, *, seed: int = 0) -> Estimate:
    """Return the mean of per-query values, with the interval from resampling queries.

    Args:
        values: (queries,) at least one value.
        seed: seed of the resampling. The same seed and number of queries give the same resamples.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 0:
        raise ValueError("values: a mean needs at least one value, got none")
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high))


def difference(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0) -> Estimate:
    """Return the mean of `ours - theirs` for two systems on the same queries, with a paired bootstrap interval.

    Raises:
        ValueError: the two have different numbers of queries.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"theirs: must be for the same queries as ours, {len(ours)} values, got {len(theirs)}")
    return estimate(ours - theirs, seed=seed)
