"""Thresholds equal those found by counting pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.towers.evaluation.same_style_threshold import count_pairs, threshold_table


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def catalogue(products: int) -> tuple[np.ndarray, np.ndarray, dict[int, set[int]]]:
    """Return products of which every two rows are a pair, most pairs near each other."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(products, 8))
    vectors[1::2] = vectors[::2] + rng.normal(size=(products // 2, 8)) * rng.choice([0.1, 0.3, 1.5], (products // 2, 1))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = rng.permutation(products) * 3
    same = {int(ids[row]): {int(ids[row ^ 1])} for row in range(products) if row % 5}
    return vectors.astype(np.float32), ids, same


def test_counts_equal_those_taken_pair_by_pair() -> None:
    vectors, ids, same = catalogue(60)
    found, right = count_pairs(vectors, ids, same)
    cosines = vectors.astype(float) @ vectors.T.astype(float)
    for place in (0, 700, 1_000, 1_500, 1_900, 1_999):
        threshold = place / 1_000 - 1
        pairs = [
            (trigger, int(ids[other]))
            for row, trigger in enumerate(ids.tolist())
            for other in range(60)
            if trigger in same and other != row and cosines[row, other] >= threshold
        ]
        assert found[place] == len(pairs)
        assert right[place] == sum(other in same[trigger] for trigger, other in pairs)


def test_the_table_has_the_lowest_precise_threshold_and_the_one_of_the_best_f1() -> None:
    vectors, ids, same = catalogue(400)
    cosines = vectors.astype(float) @ vectors.T.astype(float)
    triggers = np.array([trigger in same for trigger in ids.tolist()])
    mate = np.zeros((400, 400), bool)
    mate[np.arange(400), np.arange(400) ^ 1] = True
    asked = triggers[:, None] & ~np.eye(400, dtype=bool)

    def quality(threshold: float) -> tuple[float, float, float]:
        found = asked & (cosines >= threshold - 1e-6)
        right = int((found & mate).sum())
        precision, recall = right / max(int(found.sum()), 1), right / int(triggers.sum())
        return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0

    precise, best = threshold_table(vectors, ids, same).rows
    for row in (precise, best):
        threshold = row["threshold"]
        assert isinstance(threshold, float)
        assert [row[name] for name in ("precision", "recall", "F1")] == pytest.approx(quality(threshold))
    grid = [step / 1_000 for step in range(1_000)]
    assert precise["threshold"] == min(threshold for threshold in grid if quality(threshold)[0] >= 0.9)
    assert quality(float(str(best["threshold"])))[2] == pytest.approx(max(quality(threshold)[2] for threshold in grid))


def test_if_unlabelled_products_are_nearest_no_threshold_is_precise() -> None:
    precise, best = threshold_table(on_circle(0, 1, 80, 81), np.arange(4), {0: {2}, 1: {3}}).rows
    assert precise["threshold"] is None and precise["recall"] is None
    assert best["recall"] == 1.0


def test_equal_products_reach_the_highest_threshold() -> None:
    found, right = count_pairs(on_circle(33, 33, 90, 180), np.arange(4), {0: {1}, 1: {0}})
    assert (found[-1], right[-1]) == (2, 2)
