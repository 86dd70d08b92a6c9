"""Results with what makes a page: attributes, groups, totals, facets, the generation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from shopwindow_client import Results


def objects(rows: list[list[Any]]) -> np.ndarray:
    array = np.empty((len(rows), len(rows[0])), np.object_)
    for place in np.ndindex(array.shape):
        array[place] = rows[place[0]][place[1]]
    return array


def page() -> Results:
    return Results(
        np.array([[11, 12, 13], [21, -1, -1]], np.int64),
        np.array([[0.75, 0.5, 0.25], [0.5, -np.inf, -np.inf]], np.float32),
        attributes=objects([[{"price": 1.5}, {"price": None}, {"price": 3.0}], [{"price": 9.0}, None, None]]),
        group_sizes=np.array([[4, 1, 2], [1, 0, 0]], np.int64),
        group_members=objects([[[11, 14], [12], [13, 15]], [[21], None, None]]),
        total=np.array([340, 1], np.int64),
        facets=[{"colour": [{"value": "red", "count": 12}]}, {"colour": []}],
        generation=np.array([7, 8], np.int64),
    )


def test_a_row_has_what_belongs_to_its_query_and_no_padding() -> None:
    row = page()[1]
    assert list(row) == [(21, 0.5)]
    assert (row.attributes, row.group_members) == ([{"price": 9.0}], [[21]])
    assert row.group_sizes is not None
    assert row.group_sizes.tolist() == [1]
    assert (row.total, row.facets, row.generation) == (1, {"colour": []}, 8)
    assert {type(row.total), type(row.generation)} == {int}


def test_plain_data_of_a_page_is_fit_for_json() -> None:
    rows = json.loads(page().to_json())
    assert rows == [row.to_dict() for row in page()]
    assert rows[0] == {
        "total": 340,
        "facets": {"colour": [{"value": "red", "count": 12}]},
        "generation": 7,
        "products": page()[0].to_list(),
    }
    assert rows[0]["products"][1] == {
        "product_id": 12,
        "score": 0.5,
        "attributes": {"price": None},
        "group_size": 1,
        "group_members": [12],
    }
    bare = Results(page().ids, page().scores)
    assert bare[1].to_dict() == {"products": [{"product_id": 21, "score": 0.5}]}


def test_pages_are_equal_when_all_that_they_show_is() -> None:
    one = page()
    assert one == page()
    assert list(one) == list(page())
    assert one == replace(page(), generation=None)
    changed = objects([[{"price": 1.5}, {"price": 2.0}, {"price": 3.0}], [{"price": 9.0}, None, None]])
    for other in (
        replace(one, attributes=changed),
        replace(one, attributes=None),
        replace(one, group_sizes=one.group_sizes + 1),  # type: ignore[operator]
        replace(one, group_members=objects([[[11, 14], [12], [13]], [[21], None, None]])),
        replace(one, total=np.array([341, 1])),
        replace(one, facets=[{}, {}]),
        Results(one.ids, one.scores),
    ):
        assert other != one
        assert one != other
        assert other[0] != one[0]


def test_without_and_split_keep_each_product_with_its_own() -> None:
    kept = page().without([12, 21])
    assert kept[0].ids.tolist() == [11, 13]
    assert kept[0].attributes == [{"price": 1.5}, {"price": 3.0}]
    assert kept[0].group_sizes is not None
    assert (kept[0].group_sizes.tolist(), kept[0].group_members) == ([4, 2], [[11, 14], [13, 15]])
    assert (kept[0].total, kept[0].facets, kept[0].generation) == (340, page()[0].facets, 7)
    assert kept[1].to_list() == []
    assert kept.group_sizes is not None
    assert kept.group_sizes.dtype == np.int64
    same, similar = page().split(0.5)
    for part, place in ((same, slice(2)), (similar, slice(2, 3))):
        assert part[0].to_list() == page()[0].to_list()[place]
