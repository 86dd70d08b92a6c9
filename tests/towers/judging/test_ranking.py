"""Exact ranking from embedding matrices."""

from __future__ import annotations

import numpy as np

from shopwindow.towers.judging.ranking import QUERIES_AT_A_TIME, rank

CANDIDATES = np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 0]], dtype=np.float32)
IDS = np.array([10, 11, 12, 13])


def test_the_nearest_come_first_and_candidates_without_embedding_are_never_found() -> None:
    found = rank(np.array([[1, 0], [0, 1]], dtype=np.float32), CANDIDATES, IDS, 5)
    assert found.tolist() == [[10, 12, 11, -1, -1], [11, 12, 10, -1, -1]]


def test_a_query_without_an_embedding_finds_nothing() -> None:
    assert rank(np.zeros((1, 2), dtype=np.float32), CANDIDATES, IDS, 2).tolist() == [[-1, -1]]


def test_a_query_does_not_find_its_excluded_row_in_any_block() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(QUERIES_AT_A_TIME + 40, 6)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    ids = np.arange(len(table)) + 1000
    found = rank(table, table, ids, 3, exclude=np.arange(len(table)))
    scores = table.astype(np.float64) @ table.T
    np.fill_diagonal(scores, -2)
    assert (found[:, 0] == ids[scores.argmax(axis=1)]).mean() > 0.99  # rounding to float32 may swap near ties
    assert not (found == ids[:, None]).any()
