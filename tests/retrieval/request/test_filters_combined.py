"""Negations and combinations: which rows they keep, which filters are equal, and which are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shopwindow.retrieval import InvalidRequest, ProductIndex, parse_parameters
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_reading import MAX_CONDITIONS, MAX_DEPTH, parse_filter
from shopwindow.retrieval.request.filter_rows import check_filter, filter_mask
from shopwindow.retrieval.search import product_index
from tests.retrieval.index_parts import make_index

TABLE = AttributeTable(
    pa.table(
        {
            "supplier_id": pa.array([17, 17, 4, None], pa.int64()),
            "colour": pa.array(["red", "blue", "red", None], pa.string()),
            "price": pa.array([10.0, 40.0, None, 25.0], pa.float64()),
            "in_stock": pa.array([True, False, True, None], pa.bool_()),
        }
    )
)


def kept(conditions: dict[str, Any], table: AttributeTable = TABLE) -> list[int]:
    """Return the row numbers that a filter, sent as JSON, keeps."""
    parsed = parse_filter(json.dumps(conditions))
    check_filter(parsed, table)
    return np.flatnonzero(filter_mask(parsed, table)).tolist()


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        ({"supplier_id": {"ne": 17}}, [2, 3]),
        ({"supplier_id": {"ne": 17, "exists": True}}, [2]),
        ({"supplier_id": {"ne": 17}, "in_stock": True}, [2]),
        ({"supplier_id": 17, "price": {"gte": 20, "lt": 50}}, [1]),
        ({"supplier_id": {"not_in": [17, 4]}}, [3]),
        ({"supplier_id": {"ne": 4.5}}, [0, 1, 2, 3]),
        ({"colour": {"ne": "red"}}, [1, 3]),
        ({"colour": {"not_in": ["red", "green"]}}, [1, 3]),
        ({"colour": {"not_in": ["pink", "green"]}}, [0, 1, 2, 3]),
        ({"colour": {"in": ["red", "blue"], "ne": "blue"}}, [0, 2]),
        ({"colour": {"exists": True}}, [0, 1, 2]),
        ({"price": {"exists": False}}, [2]),
        ({"in_stock": {"exists": False}}, [3]),
        ({"not": {"in_stock": True}}, [1, 3]),
        ({"not": {"price": {"gte": 20}}}, [0, 2]),
        ({"not": {"colour": "red", "supplier_id": 17}}, [1, 2, 3]),
        ({"not": {"not": {"colour": "red"}}}, [0, 2]),
        ({"not": {"or": [{"colour": "blue"}, {"price": {"exists": False}}]}}, [0, 3]),
        ({"or": [{"colour": "blue"}, {"price": {"lt": 20}}]}, [0, 1]),
        ({"or": [{"colour": "blue"}, {"price": {"lt": 20}}], "in_stock": True}, [0]),
        ({"or": [{"colour": "red", "supplier_id": 4}, {"not": {"colour": {"exists": True}}}]}, [2, 3]),
        ({"and": [{"price": {"gte": 20}}, {"price": {"lt": 30}}]}, [3]),
        ({"and": [{"or": [{"colour": "red"}, {"colour": "blue"}]}, {"or": [{"price": 40}, {"price": 10}]}]}, [0, 1]),
        ({"and": [{}]}, [0, 1, 2, 3]),
        ({"or": [{}, {"colour": "red"}]}, [0, 1, 2, 3]),
        ({"not": {"or": [{}, {"colour": "red"}]}}, []),
    ],
    ids=json.dumps,
)
def test_negations_are_complements_and_a_missing_value_fails_every_test(
    conditions: dict[str, Any], rows: list[int]
) -> None:
    assert kept(conditions) == rows


A, B, C = {"colour": "red"}, {"price": {"lt": 20}}, {"in_stock": True}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"or": [A, B, C]}, {"or": [C, {"or": [B, A]}, A]}),
        ({"colour": {"ne": "red"}}, {"not": A}),
        ({"colour": {"not_in": ["red", "blue"]}}, {"not": {"colour": {"in": ["blue", "red", "blue"]}}}),
        ({"price": {"exists": False}}, {"not": {"price": {"exists": True}}}),
        ({"not": {"or": [A, B]}}, {"and": [{"not": B}, {"not": A}]}),
        ({"not": {**A, **B}}, {"or": [{"not": A}, {"not": B}]}),
        ({"supplier_id": {"in": [17, 4, 17]}}, {"supplier_id": {"in": [4, 17]}}),
        ({}, {"and": [{}, {}]}),
    ],
    ids=json.dumps,
)
def test_filters_that_mean_the_same_compare_and_hash_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert parse_filter(one) == parse_filter(json.dumps(other))
    assert hash(parse_filter(one)) == hash(parse_filter(json.dumps(other)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A, {"not": A}),
        ({"or": [A, B]}, {"and": [A, B]}),
        ({"price": {"lt": 20}}, {"not": {"price": {"gte": 20}}}),  # they differ for a missing price
        ({"not": {**A, **B}}, {"not": {"or": [A, B]}}),
        ({"and": [{"or": [A, B]}, {"not": C}]}, {"or": [A, {"and": [B, {"not": C}]}]}),
    ],
    ids=json.dumps,
)
def test_filters_that_keep_different_products_are_not_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert parse_filter(one) != parse_filter(other)
    assert kept(one) != kept(other)


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        ({"and": "x"}, [0]),
        ({"or": {"in": ["x", "z"]}}, [0]),
        ({"not": 5}, [1]),
        ({"not": {"lt": 5}}, [0]),
        ({"not": {"exists": False}}, [2]),
        ({"not": {"not": 5}}, [0, 2]),
        ({"and": [{"and": "x"}, {"not": {"and": "y"}}]}, [0]),
        ({"not": {"and": [{"lt": 5}]}}, [1, 2]),
        ({"not": {"lt": {"eq": 5}}}, [1, 2]),
    ],
    ids=json.dumps,
)
def test_columns_can_be_named_like_combinations_and_operators(conditions: dict[str, Any], rows: list[int]) -> None:
    columns = {"and": ["x", "y", None], "or": ["z", "y", None], "not": [1, 5, None], "lt": [5, 6, None]}
    assert kept(conditions, AttributeTable(pa.table(columns))) == rows


def nested(depth: int) -> dict[str, Any]:
    """Return a filter with combinations nested to a depth."""
    conditions: dict[str, Any] = {"colour": "red"}
    for level in range(depth):
        conditions = {"not": conditions} if level % 2 else {"or": [conditions, {"price": level}]}
    return conditions


@pytest.mark.parametrize(
    ("conditions", "field", "named"),
    [
        ({"and": []}, "filter.and", ["a list of at least one object", "got []"]),
        ({"or": {"colour": "red"}}, "filter.or", ["a list of at least one object", "{'colour': 'red'}"]),
        ({"or": [{"colour": "red"}, "blue"]}, "filter.or[1]", ["an object of column: condition", "'blue'"]),
        ({"or": [None]}, "filter.or[0]", ["an object of column: condition", "None"]),
        ({"or": None}, "filter.or", ["a text, a number or true/false", "None"]),
        ({"not": [{"colour": "red"}]}, "filter.not", ["must be an object", "[{'colour': 'red'}]", '{"or": [...]}']),
        ({"not": {}}, "filter.not", ["an empty condition"]),
        ({"or": [{"not": {"price": {"below": 5}}}]}, "filter.or[0].not.price", ["unknown operator 'below'", "not_in"]),
        ({"and": [{"price": {"ne": None}}]}, "filter.and[0].price.ne", ["a text, a number or true/false", "None"]),
        ({"price": {"exists": 1}}, "filter.price.exists", ["must be true or false", "got 1"]),
        ({"price": {"exists": "yes"}}, "filter.price.exists", ["must be true or false", "got 'yes'"]),
        ({"colour": {"not_in": "red"}}, "filter.colour.not_in", ["a list of 1 to 1000", "'red'"]),
        ({"colour": {"not_in": []}}, "filter.colour.not_in", ["a list of 1 to 1000", "[]"]),
        ({"price": {"ne": [5]}}, "filter.price.ne", ["a text, a number or true/false", "[5]"]),
        (
            nested(MAX_DEPTH + 1),
            "filter" + ".or[0].not" * 4 + ".or",
            [f"at most {MAX_DEPTH} of and, or, not may be nested", "got 9"],
        ),
        (
            {"or": [{"price": price} for price in range(MAX_CONDITIONS + 1)]},
            "filter",
            [f"at most {MAX_CONDITIONS} different conditions", f"got {MAX_CONDITIONS + 1}", "in or not_in"],
        ),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_malformed_combination_is_refused_with_its_place(
    conditions: dict[str, Any], field: str, named: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(json.dumps(conditions))
    assert caught.value.field == field
    assert all(part in str(caught.value) for part in named), str(caught.value)
    assert len(str(caught.value).encode()) < 400


def test_the_deepest_and_the_longest_filter_are_allowed() -> None:
    assert kept(nested(MAX_DEPTH)) == [0, 2]  # the outermost part is an `or` with the red products
    assert kept({"or": [{"price": price} for price in range(MAX_CONDITIONS)]}) == [0, 1, 3]


@pytest.mark.parametrize(
    ("conditions", "field", "named"),
    [
        ({"or": [{"color": "red"}]}, "filter.color", "did you mean 'colour'"),
        ({"not": {"colour": {"gte": "blue"}}}, "filter.colour", "gte needs a number column; colour holds text"),
        ({"colour": {"ne": 5}}, "filter.colour", "the column holds text, got 5"),
        ({"and": [{"or": [{"price": {"not_in": [5, "6"]}}]}]}, "filter.price", "the column holds numbers, got '6'"),
        ({"made": {"exists": True}}, "filter.made", "no such attribute"),
    ],
)
def test_conditions_inside_combinations_are_checked_against_the_columns(
    conditions: dict[str, Any], field: str, named: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_filter(parse_filter(conditions), TABLE)
    assert caught.value.field == field
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        ({"seller": {"in": [2**53 + 1, 0.5]}}, [1]),
        ({"seller": {"gte": float(2**53 + 2)}}, [2]),
        ({"seller": {"lt": 2.0**63}}, [0, 1, 2]),
        ({"seller": {"gt": 1e300}}, []),
        ({"stock": {"lt": 300}}, [0, 1, 2]),
        ({"stock": {"gt": -(10**12)}}, [0, 1, 2]),
        ({"stock": {"in": [256 + 3, 5, 10**12]}}, [1]),  # 256 + 3 wraps around to 3 in a byte
        ({"stock": 256 + 3}, []),
        ({"stock": {"gt": 4.5}}, [1, 2]),
        ({"stock": {"lte": -0.5}}, []),
        ({"weight": 19.99}, [0]),
        ({"weight": {"gte": 19.99}}, [0, 2]),
        ({"weight": {"in": [0.1, 19.99]}}, [0, 1]),
        ({"weight": {"lt": 1e300}}, [0, 1, 2]),
    ],
    ids=json.dumps,
)
def test_numbers_are_compared_by_value_whatever_their_type(conditions: dict[str, Any], rows: list[int]) -> None:
    columns = {
        "seller": pa.array([2**53, 2**53 + 1, 2**63 - 1], pa.int64()),
        "stock": pa.array([3, 5, 100], pa.int64()),
        "weight": pa.array([19.99, 0.1, 20], pa.float32()),
    }
    assert kept(conditions, AttributeTable(pa.table(columns))) == rows


def test_requests_with_equal_filters_are_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_index, "EXACT_ROWS", 50)
    sizes: list[int] = []
    search = FaissCpuEngine.search

    def spy(engine: FaissCpuEngine, queries: np.ndarray, *rest: Any) -> Any:
        sizes.append(len(queries))
        return search(engine, queries, *rest)

    monkeypatch.setattr(FaissCpuEngine, "search", spy)
    folder = make_index("hnsw", 500)
    equal_filters = [
        {"not": {"colour": "red"}, "price": {"gte": 100}},
        {"price": {"gte": 100}, "colour": {"ne": "red"}},
        {"and": [{"colour": {"ne": "red"}}, {"price": {"gte": 100}}, {"price": {"gte": 100}}]},
    ]
    found = ProductIndex(folder).search_batch(
        [
            (folder.vectors[7:9], parse_parameters({"top_k": 20, "filter": json.dumps(conditions)}))
            for conditions in equal_filters
        ]
    )
    assert sizes == [6]
    assert all(np.array_equal(result.product_ids, found[0].product_ids) for result in found)
