"""Mining click logs, on a log small enough to work out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from towers.data import Clicks
from towers.mining import keyword_sets


def clicks(**clicked: set[int]) -> Clicks:
    nothing: Any = np.zeros(0)
    return Clicks(queries=list(clicked), query=nothing, product=nothing, weight=nothing, clicked=list(clicked.values()))


LOG = clicks(mug={1, 2, 3, 4}, cup={1, 2, 3}, red_mug={1}, lamp={9}, light={8, 9})


def sets(**options: Any) -> dict[str, list[str]]:
    found = keyword_sets(LOG, **options)
    return {query: [LOG.queries[other] for other in others] for query, others in zip(LOG.queries, found, strict=True)}


def test_queries_that_share_clicks_belong_together_the_most_similar_first() -> None:
    # mug-cup 3 / sqrt(12) = 0.87, mug-red_mug 1 / 2, cup-red_mug 1 / sqrt(3) = 0.58, lamp-light 1 / sqrt(2) = 0.71.
    assert sets(floor=0.4) == {
        "mug": ["cup", "red_mug"],
        "cup": ["mug", "red_mug"],
        "red_mug": ["cup", "mug"],
        "lamp": ["light"],
        "light": ["lamp"],
    }


def test_the_floor_and_the_size_bound_a_set() -> None:
    assert sets(floor=0.6) == {"mug": ["cup"], "cup": ["mug"], "red_mug": [], "lamp": ["light"], "light": ["lamp"]}
    assert sets(floor=0.4, largest=1)["red_mug"] == ["cup"]


@pytest.mark.parametrize("query", LOG.queries)
def test_no_query_is_in_its_own_set(query: str) -> None:
    assert query not in sets(floor=0.0)[query]
