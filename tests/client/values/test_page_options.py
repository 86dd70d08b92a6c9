"""The options of a result page: what is sent, which outputs are asked for, and what is refused before sending."""

from __future__ import annotations

import json
from datetime import date
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from shopwindow_client import InvalidRequest, Like, field
from shopwindow_client._values.like import encode_like
from shopwindow_client._values.page import encode_page
from shopwindow_client._values.requests import encode_parameters


def test_python_values_become_the_texts_of_the_contract() -> None:
    boost = [{"if": (field("stock") > 0) & (field("made") >= date(2026, 1, 31)), "add": np.float32(0.5)}]
    page = encode_page(
        fields=("title", "größe"),
        total=True,
        facets=MappingProxyType({"colour": 20, "made": {"ranges": [date(2026, 1, 1), None]}}),
        facet_over=np.int64(100),  # type: ignore[arg-type]
        collapse={"by": "style", "members": 5},
        boost=boost,
        sort={"by": "price", "among": 500},
        offset=0,
        generation=7,
    )
    texts = {name: json.loads(value) for name, value in page.parameters.items() if isinstance(value, str)}
    assert texts == {
        "fields": ["title", "größe"],
        "facets": {"colour": 20, "made": {"ranges": ["2026-01-01", None]}},
        "collapse": {"by": "style", "members": 5},
        "boost": [{"if": {"stock": {"gt": 0}, "made": {"gte": "2026-01-31"}}, "add": 0.5}],
        "sort": {"by": "price", "among": 500},
    }
    assert list(texts["facets"]) == ["colour", "made"]
    numbers = {name: value for name, value in page.parameters.items() if name not in texts}
    assert numbers == {"facet_over": 100, "offset": 0, "generation": 7}
    asked = {"attributes", "total", "facets", "group_sizes", "group_members", "generation"}
    assert sorted(page.outputs) == sorted(asked)
    assert encode_page(diversity=1).parameters == {"diversity": 1.0}


def test_nothing_is_asked_for_that_was_not_given() -> None:
    assert encode_page() == encode_page(fields=[], facets={}, boost=[]) == ({}, ())
    assert encode_page(collapse="style") == ({"collapse": "style"}, ("group_sizes",))
    assert encode_page(generation=3).outputs == ("generation",)
    assert encode_page(sort={"by": "price", "among": 9}).outputs == ()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fields": "title"}, "fields must be a list of column names, got 'title'"),
        ({"fields": ["title", 7]}, r"fields\[1\] must be a string, got 7"),
        ({"total": 1}, "total must be True or False, got 1"),
        ({"facets": ["colour"]}, r"facets must be a mapping such as .*, got \['colour'\]"),
        ({"facets": {"colour": {1}}}, "facets cannot be written as JSON"),
        ({"collapse": 7}, "collapse must be a column name, or a mapping such as .*, got 7"),
        ({"boost": {"add": 1}}, "boost must be a list of mappings"),
        ({"boost": [field("stock") > 0]}, r"boost\[0\] must be a mapping such as"),
        ({"boost": [{"if": field("stock"), "add": 1}]}, "boost cannot be written as JSON.*field"),
        ({"boost": [{"column": "margin", "add": float("nan")}]}, "boost cannot be written as JSON"),
        ({"sort": "price"}, "sort must be a mapping such as .*, got 'price'"),
        ({"diversity": True}, "diversity must be a finite number, got True"),
        ({"offset": 1.5}, "offset must be a whole number, got 1.5"),
        ({"generation": 2**63}, "generation must fit into 64 bits"),
    ],
)
def test_an_error_names_the_bad_option(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        encode_page(**options)


def test_a_relative_lowest_score_is_sent_as_text() -> None:
    assert encode_parameters(min_score="best*0.85") == {"min_score": "best*0.85"}


def sent(like: Any) -> list[Any]:
    column = encode_like(like)["like"]
    assert column.shape == (len(column), 1)
    return [json.loads(text) for text in column[:, 0]]


def test_products_to_search_with_are_one_query_or_a_row_each() -> None:
    assert sent(7) == sent(np.int64(7)) == sent([7]) == sent(np.array([7])) == [{"ids": [7]}]
    assert sent("größe") == [{"ids": ["größe"]}]
    assert sent([7, 9]) == [{"ids": [7, 9]}]
    assert sent(Like(["a", "b"], [1, -0.5])) == [{"ids": ["a", "b"], "weights": [1.0, -0.5]}]
    assert sent([Like(7), Like([8, 9], np.array([0.5, 2]))]) == [{"ids": [7]}, {"ids": [8, 9], "weights": [0.5, 2.0]}]


@pytest.mark.parametrize(
    ("like", "named"),
    [
        ([], "like must name at least one product"),
        (None, "like must be an id, a list of ids, a Like or a list of Likes, got None"),
        (True, "like must be an id"),
        ({7: 1.0}, r"got \{7: 1.0\}; weights go into Like\(ids, weights\)"),
        (1.5, "like must be an id"),
        ([7, "a"], "like must name products by whole numbers, or all by texts, got 'a'"),
        ([Like(7), 8.5], r"like\[1\] must be an id"),
        ([Like(7), Like([])], r"like\[1\] must name at least one"),
        (Like([7, 8], [1.0]), r"like.weights must be one number for each of the 2 ids, got 1"),
        (Like(7, [0]), r"like.weights\[0\] must be a finite number other than 0, got 0"),
        (Like(7, 1.0), r"like.weights must be a list of numbers, got 1.0"),  # type: ignore[arg-type]
    ],
)
def test_an_error_names_the_bad_products(like: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        encode_like(like)
