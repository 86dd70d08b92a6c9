"""Results: rows without padding, plain data, equality, a readable table, splitting."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from shopwindow_client import InvalidRequest, Results, Timings

RESULTS = Results(
    np.array([[11, 12, 13, 14], [21, -1, -1, -1], [-1, -1, -1, -1]], np.int64),
    np.array([[0.9, 0.8, 0.7, 0.6], [0.5] + [-np.inf] * 3, [-np.inf] * 4], np.float32),
)


def test_rows_have_no_padding() -> None:
    assert [row.ids.tolist() for row in RESULTS] == [[11, 12, 13, 14], [21], []]
    assert all(np.isfinite(row.scores).all() for row in RESULTS)
    assert [len(row) for row in RESULTS] == RESULTS.counts.tolist() == [4, 1, 0]
    assert len(RESULTS) == 3
    assert RESULTS[-2].ids.tolist() == [21]


def test_the_table_shows_the_best_and_says_what_it_leaves_out() -> None:
    assert repr(RESULTS).splitlines() == [
        "Results(3 rows, k=4)",
        "  row  found  best (id: score)",
        "    0      4  11: 0.9000, 12: 0.8000, 13: 0.7000, ...",
        "    1      1  21: 0.5000",
        "    2      0  -",
    ]
    many = Results(np.ones((1000, 3), np.int64), np.ones((1000, 3), np.float32))
    assert len(repr(many).splitlines()) == 8
    assert repr(many).endswith("... and 995 more")
    assert repr(RESULTS[1]) == "Row(1 product: 21: 0.5000)"
    assert repr(RESULTS[2]) == "Row(no products)"


def test_iterating_over_a_row_gives_pairs_of_plain_numbers_best_first() -> None:
    pairs = [(product_id, round(score, 6)) for product_id, score in RESULTS[0]]
    assert pairs == [(11, 0.9), (12, 0.8), (13, 0.7), (14, 0.6)]
    assert {type(number) for row in RESULTS for pair in row for number in pair} == {int, float}


def test_plain_data_is_fit_for_json_and_has_no_padding() -> None:
    data = RESULTS.to_list()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [[product["product_id"] for product in row] for row in data] == [[11, 12, 13, 14], [21], []]
    assert data[1] == RESULTS[1].to_list() == [{"product_id": 21, "score": 0.5}]
    found_by = np.array([[3, 1, 2, 3], [2, 0, 0, 0], [0] * 4], np.int64)
    with_channels = Results(RESULTS.ids, RESULTS.scores, channels=found_by)
    assert with_channels.to_list()[1] == [{"product_id": 21, "score": 0.5, "channels": 2}]
    assert with_channels[0].channels is not None
    assert with_channels[0].channels.tolist() == [3, 1, 2, 3]


def test_results_are_equal_when_they_found_the_same() -> None:
    again = Results(RESULTS.ids.copy(), RESULTS.scores.copy(), Timings(*[np.ones(3)] * 8))
    assert again == RESULTS
    assert list(again) == list(RESULTS)
    assert again.split(0.7) == RESULTS.split(0.7)
    other_ids, other_scores = RESULTS.ids + 1, RESULTS.scores + 1
    channels = np.ones_like(RESULTS.ids)
    for other in (
        Results(other_ids, RESULTS.scores),
        Results(RESULTS.ids, other_scores),
        Results(RESULTS.ids, RESULTS.scores, channels=channels),
        Results(RESULTS.ids[:2], RESULTS.scores[:2]),
    ):
        assert other != RESULTS
        assert other[0] != RESULTS[0] or len(other) != len(RESULTS)
    assert RESULTS[0] != RESULTS[1]
    assert RESULTS.to_list() != RESULTS


def test_a_slice_of_results_is_refused() -> None:
    with pytest.raises(TypeError, match="'slice' object"):
        RESULTS[:2]  # type: ignore[index]


def test_a_split_puts_every_product_into_one_of_two_lists_in_order() -> None:
    same, similar = RESULTS.split(0.7)
    assert [row.ids.tolist() for row in same] == [[11, 12, 13], [], []]
    assert [row.ids.tolist() for row in similar] == [[14], [21], []]
    for part in (same, similar):
        assert part.ids.shape == part.scores.shape == RESULTS.ids.shape
        assert (part.ids.dtype, part.scores.dtype) == (np.int64, np.float32)
        assert (np.isneginf(part.scores) == (part.ids == -1)).all()
    assert [row.scores.tolist() for row in similar] == [[RESULTS.scores[0, 3]], [0.5], []]


def test_without_removes_one_product_from_each_row() -> None:
    other = RESULTS.without([12, 99, 5])
    assert [row.ids.tolist() for row in other] == [[11, 13, 14], [21], []]
    assert [row.ids.tolist() for row in other.split(0.75).same] == [[11], [], []]
    one = Results(RESULTS.ids[:1], RESULTS.scores[:1])
    assert one.without(11).ids.tolist() == [[12, 13, 14, -1]]


def test_without_and_split_keep_the_timings() -> None:
    times, counts = np.array([1.0, 2.0, 3.0]), np.array([4, 5, 6])
    results = Results(RESULTS.ids, RESULTS.scores, Timings(*[times] * 5, *[counts] * 3))
    assert results.without([12, 99, 5]).split(0.7).similar.timings is results.timings
    assert RESULTS.split(0.7).same.timings is None


def test_without_and_split_keep_the_channels() -> None:
    channels = np.array([[3, 1, 2, 3], [2, 0, 0, 0], [0, 0, 0, 0]], np.int64)
    same, similar = Results(RESULTS.ids, RESULTS.scores, channels=channels).without([12, 99, 5]).split(0.7)
    assert same.channels.tolist() == [[3, 2, 0, 0], [0] * 4, [0] * 4]  # of 11 and 13
    assert similar.channels.tolist() == [[3, 0, 0, 0], [2, 0, 0, 0], [0] * 4]  # of 14, and of 21
    assert same.channels.dtype == np.int64
    assert RESULTS.without([12, 99, 5]).split(0.7).same.channels is None


@pytest.mark.parametrize("threshold", [None, "0.9", float("nan"), True])
def test_a_threshold_that_is_not_a_finite_number_is_refused(threshold: Any) -> None:
    with pytest.raises(InvalidRequest, match="same_threshold must be a finite number, got"):
        RESULTS.split(threshold)


@pytest.mark.parametrize("products", [11, [11, 12], [11.0, 12.0, 13.0], ["11", "12", "13"]])
def test_ids_that_do_not_fit_the_rows_are_refused(products: Any) -> None:
    with pytest.raises(InvalidRequest, match="products must be one id for each of the 3 rows"):
        RESULTS.without(products)
