"""Metrics against values worked out by hand, and properties of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.towers.judging.metrics import difference, estimate, find_hits, hit_rate, ndcg, recall, reciprocal_rank


@pytest.mark.parametrize(
    ("ranked", "relevant", "expected"),
    [
        ([5, 9, 7], {5, 7}, 0.9197208),  # (1 + 1/2) / (1 + 1/log2 3)
        ([5, 7, 9], {5, 7}, 1.0),
        ([9, 8, 6], {5}, 0.0),
        ([9, 5], {5}, 0.6309298),  # 1/log2 3
        ([5], {5, 7}, 0.6131472),  # 1 / (1 + 1/log2 3)
        ([-1] * 10, {5}, 0.0),
        (list(range(20)), set(range(20)), 1.0),  # more relevant than places
        ([*range(10), 99], {99}, 0.0),  # the eleventh place does not count
        ([*range(9), 99], {99}, 0.2890648),  # 1/log2 11
    ],
)
def test_ndcg_by_hand(ranked: list[int], relevant: set[int], expected: float) -> None:
    for grade in (1.0, 3.0):  # equal grades do not matter
        grades = [dict.fromkeys(relevant, grade)]
        assert ndcg(np.array([ranked]), grades) == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize(
    ("ranked", "expected"),
    [
        ([1, 2, 9], 1.0),
        ([2, 1, 9], 0.7967076),  # (1 + 3/log2 3) / (3 + 1/log2 3)
        ([9, 2, -1], 0.1737653),  # (1/log2 3) / (3 + 1/log2 3)
    ],
)
def test_graded_ndcg_by_hand(ranked: list[int], expected: float) -> None:
    assert ndcg(np.array([ranked]), [{1: 3.0, 2: 1.0}]) == pytest.approx([expected], abs=1e-6)


def test_more_graded_products_than_places_are_judged_against_the_best_of_them() -> None:
    """2^53 and 2^53 + 1 are different products."""
    grades = [{2**53: 2.0, 2**53 + 1: 1.0, 5: 1.0}]
    assert ndcg(np.array([[2**53 + 1, 5]]), grades, k=1) == pytest.approx([0.5])


def test_ndcg_at_other_depths() -> None:
    ranked = np.array([[1, 2, 3]])
    assert ndcg(ranked, [{3: 1.0}], k=2) == pytest.approx([0.0])
    assert ndcg(ranked, [{3: 1.0}], k=3) == pytest.approx([0.5])


def test_every_query_is_scored_against_its_own_relevant_products() -> None:
    ranked = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [9, -1, -1, -1]])
    relevant = [{2, 4, 8}, {1}, {7}]
    hits, counts = find_hits(ranked, relevant), np.array([3, 1, 1])
    assert hits.tolist() == [[False, True, False, True], [True, False, False, False], [False] * 4]
    assert reciprocal_rank(hits).tolist() == [0.5, 1.0, 0.0]
    assert recall(hits, counts, 2) == pytest.approx([1 / 3, 1.0, 0.0])
    assert recall(hits, counts, 4) == pytest.approx([2 / 3, 1.0, 0.0])
    assert hit_rate(hits, 1).tolist() == [0.0, 1.0, 0.0]
    assert hit_rate(hits, 2).tolist() == [1.0, 1.0, 0.0]


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        found = estimate(rng.normal(0.3, 1.0, 120))
        inside += found.low <= 0.3 <= found.high
    assert 0.90 <= inside / 200 <= 0.985


def test_the_interval_is_as_wide_as_the_standard_error_predicts() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 400)
    found = estimate(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).random(50)
    assert estimate(values, seed=3) == estimate(values, seed=3)
    assert estimate(values, seed=3) != estimate(values, seed=4)


def test_a_paired_difference_shows_a_gain_that_separate_intervals_hide() -> None:
    theirs = np.random.default_rng(0).random(100)
    ours = theirs + 0.01
    assert estimate(ours).low < estimate(theirs).high  # the separate intervals overlap
    gain = difference(ours, theirs)
    assert gain.low == pytest.approx(0.01)
    assert gain.high == pytest.approx(0.01)


def test_a_mean_of_nothing_and_unpaired_systems_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        estimate(np.array([]))
    with pytest.raises(ValueError, match="same queries"):
        difference(np.zeros(3), np.zeros(4))
