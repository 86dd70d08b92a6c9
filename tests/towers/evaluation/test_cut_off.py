"""Calibration of scores, against plain Python and NumPy over random rankings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shopwindow.towers.evaluation.cut_off import LEVELS, Found, lower_bound, points_of, rising


def random_found(seed: int, queries: int = 60, places: int = 40) -> Found:
    """Rankings whose products are right the more often, the higher they score. Some end early; scores repeat."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.uniform(-0.2, 0.95, (queries, places)).round(2).astype(np.float32), axis=1)
    right = rng.random(scores.shape) < np.clip(scores, 0.02, 1)
    for row, length in enumerate(rng.integers(0, places + 1, queries)):
        scores[row, length:], right[row, length:] = -np.inf, False
    return Found(scores, right)


def wilson(share: float, n: float) -> float:
    """Return the least true share for which the observed one is within 1.645 standard deviations, by bisection."""
    low, high = 0.0, share
    for _ in range(200):
        middle = (low + high) / 2
        if share - middle > 1.645 * math.sqrt(middle * (1 - middle) / n):
            low = middle
        else:
            high = middle
    return high


def isotonic(values: list[float], weights: list[float]) -> list[float]:
    """Return the isotonic regression by its formula: the largest, over starts, of the least mean over ends."""
    sums, totals = (np.concatenate([[0], np.cumsum(each)]) for each in (np.multiply(values, weights), weights))
    fitted = []
    for at in range(len(values)):
        ends = np.arange(at + 1, len(values) + 1)
        fitted.append(
            max(((sums[ends] - sums[start]) / (totals[ends] - totals[start])).min() for start in range(at + 1))
        )
    return fitted


@pytest.mark.parametrize("seed", range(3))
def test_points_are_the_lowest_scores_whose_bound_reaches_a_precision(seed: int) -> None:
    found = random_found(seed)
    thresholds, shares, counts, sizes = [], [], [], []
    for hundredths in range(-20, 96):
        threshold = np.float32(hundredths / 100)
        if not (found.scores == threshold).any():
            continue
        right = [int(marks[row >= threshold].sum()) for row, marks in zip(found.scores, found.right, strict=True)]
        products = [int((row >= threshold).sum()) for row in found.scores]
        thresholds.append(hundredths / 100)
        shares.append(sum(right) / sum(products))
        counts.append(float(sum(products)))
        sizes.append(sum(products) ** 2 / sum(count**2 for count in products))
    bounds = [wilson(share, n) for share, n in zip(isotonic(shares, counts), sizes, strict=True)]
    expected: dict[float, float] = {}
    for level in LEVELS:
        reached = [score for score, bound in zip(thresholds, bounds, strict=True) if bound >= level]
        if reached:
            expected[reached[0]] = level
    assert len(expected) > 5
    assert points_of(found) == tuple((level, score) for score, level in expected.items())


def test_a_calibration_holds_for_other_queries_in_nine_of_ten_cases() -> None:
    """Both halves are random, so the bound of 95 % is for the true precision, and the measured one varies about it."""
    kept = 0
    for seed in range(100):
        points = dict(points_of(random_found(seed, queries=200)))
        other = random_found(1_000 + seed, queries=200)
        above = other.scores >= np.float32(points[0.6])
        kept += other.right[above].mean() >= 0.6
    assert kept >= 90


def test_few_queries_prove_little() -> None:
    """Ten right products of one query are one observation, and of ten queries ten."""
    one = Found(np.full((1, 10), 0.5, np.float32), np.ones((1, 10), bool))
    ten = Found(np.full((10, 1), 0.5, np.float32), np.ones((10, 1), bool))
    assert points_of(one) == ((0.25, 0.5),)  # 1 / (1 + 1.645 ** 2) is 0.27
    assert points_of(ten) == ((0.75, 0.5),)  # 10 / (10 + 1.645 ** 2) is 0.79
    nothing = Found(np.full((3, 10), -np.inf, np.float32), np.zeros((3, 10), bool))
    assert points_of(nothing) == ()


def test_the_bound_is_wilson_s_and_what_falls_is_pooled() -> None:
    assert lower_bound(np.array([0.8]), np.array([50.0]))[0] == pytest.approx(wilson(0.8, 50))
    assert rising(np.array([0.1, 0.5, 0.2, 0.9]), np.array([1.0, 1.0, 2.0, 1.0])).tolist() == pytest.approx(
        [0.1, 0.3, 0.3, 0.9]
    )
