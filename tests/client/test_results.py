"""Results: rows without padding, counts, a readable table."""

from __future__ import annotations

import numpy as np

from shopwindow_client import Results

RESULTS = Results(
    np.array([[11, 12, 13, 14], [21, -1, -1, -1], [-1, -1, -1, -1]], np.int64),
    np.array([[0.9, 0.8, 0.7, 0.6], [0.5] + [-np.inf] * 3, [-np.inf] * 4], np.float32),
)


def test_rows_leave_the_padding_out() -> None:
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
    assert repr(many).endswith("... 995 more rows")
    assert repr(RESULTS[1]) == "Row(1 products: 21: 0.5000)"
