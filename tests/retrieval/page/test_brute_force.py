"""The judge of the pages gives what a reader of the documents works out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from tests.retrieval.page.brute_force import Page, Query, Shop, Undecided

# Scores of the query: 1, 0.8, 0.6, 0.6, 0, -1. The fourth product is not alive.
VECTORS = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0.6, -0.8], [0, 1], [-1, 0]])
COLUMNS: dict[str, list[Any]] = {
    "colour": ["red", "blue", "red", "red", None, "blue"],
    "price": [30.0, 10.0, 20.0, 5.0, float("nan"), 10.0],
    "style": ["a", "b", "a", "b", None, "b"],
    "sizes": [["S", "M", "S"], ["M"], [], None, ["S"], ["S", "L"]],
}
SHOP = Shop(
    vectors=VECTORS,
    ids=[10, 11, 12, 13, 14, 15],
    products=[{name: values[row] for name, values in COLUMNS.items()} for row in range(6)],
    alive=[True, True, True, False, True, True],
)
WORDS = [0.0, 2.0, 4.0, 9.0, 1.0, 0.0]


def page(**request: Any) -> Page:
    return Query(SHOP, request, np.array([1.0, 0.0]), WORDS).page()


def ids(found: Page) -> list[int]:
    return [SHOP.ids[place.row] for place in found.places]


def test_ranking_threshold_and_offset() -> None:
    assert ids(page()) == [10, 11, 12, 14, 15]
    assert ids(page(top_k=2, offset=3)) == [14, 15]
    assert ids(page(min_score=0.55)) == [10, 11, 12]
    assert ids(page(min_score="best*0.75")) == [10, 11]
    assert ids(page(channels="lexical")) == [12, 11, 14]
    assert (page(top_k=1).total, page(channels="lexical").total, page(min_score=0.7).total) == (5, 3, 2)


def test_filter() -> None:
    assert ids(page(filter={"colour": "red"})) == [10, 12]
    assert ids(page(filter={"not": {"colour": "red"}})) == [11, 14, 15]
    assert ids(page(filter={"price": {"gte": 10, "lt": 30}})) == [11, 12, 15]
    assert ids(page(filter={"price": {"exists": False}})) == [14]
    assert ids(page(filter={"sizes": {"contains_all": ["S", "M"]}})) == [10]
    assert ids(page(filter={"sizes": {"not_in": ["S"]}})) == [11, 12]
    assert ids(page(filter={"not": {"or": [{"colour": "blue"}, {"price": {"lt": 25}}]}})) == [10, 14]


def test_facets_leave_out_the_conditions_on_their_own_column() -> None:
    filter = {"colour": "red", "or": [{"style": "a"}, {"sizes": "S"}]}
    facets = {"colour": 5, "sizes": 1, "price": {"ranges": [None, 10, 30]}}
    assert page(filter=filter, facets=facets).facets == {
        "colour": [{"value": "red", "count": 2}, {"value": "blue", "count": 1}],
        "sizes": [{"value": "M", "count": 1}],
        "price": [{"from": None, "to": 10, "count": 0}, {"from": 10, "to": 30, "count": 1}],
    }
    assert page(facets={"colour": 5}, collapse="style").facets == {
        "colour": [{"value": "blue", "count": 1}, {"value": "red", "count": 1}]
    }
    assert page(facets={"colour": 5}, facet_over=1).facets == {"colour": [{"value": "red", "count": 1}]}


def test_collapse() -> None:
    found = page(collapse={"by": "style", "members": 1})
    assert ids(found) == [10, 11, 14]
    assert (found.total, found.group_sizes, found.group_members) == (3, [2, 2, 1], [[10], [11], [14]])


def test_sort() -> None:
    assert ids(page(sort={"by": "price", "among": 10})) == [11, 15, 12, 10, 14]
    assert ids(page(sort={"by": "price", "order": "desc"}, min_score=0)) == [10, 12, 11, 14]
    assert ids(page(sort={"by": "price", "among": 10}, collapse="style")) == [11, 12, 14]


def test_boosts() -> None:
    found = page(boost=[{"if": {"colour": "blue"}, "multiply": 2}, {"column": "price", "add": -0.05}])
    assert ids(found) == [11, 14, 12, 10, 15]
    assert [place.score for place in found.places] == pytest.approx([1.1, 0, -0.4, -0.5, -2.5])
    made = replace(SHOP, products=[{"made": None} for _ in range(6)])
    made.products[5]["made"] = date(2026, 1, 1)
    fresh = {"column": "made", "half_life_days": 30, "add": 4, "now": "2026-01-31"}
    assert Query(made, {"boost": [fresh]}, np.array([1.0, 0.0]), WORDS).page().places[0].score == 1.0


def test_merged_channels() -> None:
    found = page(channels="embedding,lexical")  # ranks 10, 11, 12, 14, 15 and 12, 11, 14
    assert ids(found) == [12, 11, 14, 10, 15]
    assert [place.channels for place in found.places] == [3, 3, 3, 1, 1]
    assert [place.score for place in found.places] == pytest.approx(
        [1 / 63 + 1 / 61, 1 / 62 + 1 / 62, 1 / 64 + 1 / 63, 1 / 61, 1 / 65]
    )
    weighted = page(channels="embedding,lexical", fusion="weighted:0.5", min_score=0.5)
    assert ids(weighted) == [12, 11, 10]
    assert [place.score for place in weighted.places] == pytest.approx([0.9, 0.45 + 1 / 6, 0.5])


def test_scores_that_rounding_could_swap_have_no_one_answer() -> None:
    near = replace(SHOP, vectors=VECTORS + np.array([[0], [-0.199999], [0], [0], [0], [0]]))
    with pytest.raises(Undecided):
        Query(near, {}, np.array([1.0, 0.0]), WORDS).page()
