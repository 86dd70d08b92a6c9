"""Attribute columns of rare Arrow types: filtered like numbers and booleans, or not at all."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import AttributeTable, filterable
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.filter_rows import check_filter, filter_mask

TABLE = pa.table(
    {
        "views": pa.array([2**63 + 2**20, 5, None, 2**64 - 1], pa.uint64()),
        "price": pa.array([Decimal("19.99"), Decimal("20.00"), None, Decimal("-0.07")], pa.decimal128(12, 2)),
        "ean": pa.array([Decimal(2**63 + 1), Decimal(2**63 + 3), None, Decimal(4)], pa.decimal128(38, 0)),
        "account": pa.array([Decimal(2**53), Decimal(2**53 + 1), None, Decimal(-4)], pa.decimal256(60, 0)),
        "half": pa.array([np.float16(19.99), np.float16(20), None, np.float16("nan")], pa.float16()),
        "size": pa.array([38, 40, None, 38], pa.int32()).dictionary_encode(),
        "on_sale": pa.array([True, False, None, True], pa.bool_()),
        "opens": pa.array([time(9), time(10), None, time(9)], pa.time32("s")),
    }
)


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        ({"views": {"gte": 2**62}}, [0, 3]),
        ({"views": {"lt": 10}}, [1]),
        ({"views": 5}, [1]),
        ({"views": 2**63 + 2**20}, [0]),
        ({"views": 2**63 + 2**20 + 1}, []),
        ({"views": {"gt": 2**64 - 2}}, [3]),
        ({"views": {"gte": -1}}, [0, 1, 3]),
        ({"views": {"lt": 1e30}}, [0, 1, 3]),
        ({"views": {"in": [2**64 - 1, 5.0, 2**64 - 2]}}, [1, 3]),
        ({"views": {"ne": 2**64 - 1}}, [0, 1, 2]),
        ({"ean": 2**63 + 1}, [0]),
        ({"ean": {"gt": 2**63 + 1}}, [1]),
        ({"account": {"lte": 2**53}}, [0, 3]),
        ({"half": 19.99}, [0]),
        ({"half": {"gte": 19.99}}, [0, 1]),
        ({"half": {"lte": 19.99}}, [0]),
        ({"half": {"lt": 1e9}}, [0, 1]),
        ({"price": 19.99}, [0]),
        ({"price": {"lt": 20}}, [0, 3]),
        ({"price": {"in": [20, -0.07]}}, [1, 3]),
        ({"size": 38}, [0, 3]),
        ({"size": {"gt": 38}}, [1]),
        ({"on_sale": True}, [0, 3]),
        ({"on_sale": False}, [1]),
    ],
    ids=str,
)
def test_rare_number_types_and_booleans_are_filtered_by_value(conditions: dict[str, Any], rows: list[int]) -> None:
    table = AttributeTable(TABLE)
    parsed = parse_filter(conditions)
    check_filter(parsed, table)
    assert filter_mask(parsed, table).nonzero()[0].tolist() == rows


def test_a_column_of_times_of_day_cannot_be_filtered() -> None:
    table = AttributeTable(TABLE)
    assert table.names == ["account", "ean", "half", "on_sale", "price", "size", "views"]
    assert not filterable(pa.time32("s"))
    with pytest.raises(InvalidRequest, match=r"filter\.opens: no such attribute"):
        check_filter(parse_filter({"opens": "09:00:00"}), table)


@pytest.mark.parametrize("kind", [pa.uint64(), pa.int64(), pa.decimal128(20, 0)], ids=str)
def test_whole_numbers_stay_exact_over_the_chunks_of_a_column(kind: pa.DataType) -> None:
    """One chunk holds small numbers only, so that it alone would fit into a smaller type."""
    large = 2**63 + 1 if kind != pa.int64() else 2**53 + 1
    chunks = [pa.array([1, None], pa.int64()).cast(kind), pa.array([Decimal(large), Decimal(large - 1)]).cast(kind)]
    table = AttributeTable(pa.table({"n": pa.chunked_array(chunks)}))
    assert filter_mask(parse_filter({"n": large}), table).tolist() == [False, False, True, False]
    assert filter_mask(parse_filter({"n": {"lt": large}}), table).tolist() == [True, False, False, True]


def test_a_text_column_of_more_than_two_gib_is_filtered() -> None:
    """Arrow's `string` counts bytes with 31 bits. The chunks share their memory, so the test takes little."""
    chunk = pa.array(["red", None, *["x" * 2**20] * 64, "blue"])
    chunks = [*[chunk] * 33, pa.array(["blue", "green"])]
    assert sum(each.nbytes for each in chunks) > 2**31
    table = AttributeTable(pa.table({"description": pa.chunked_array(chunks)}))
    assert table.rows == 67 * 33 + 2
    for text, rows in (("blue", [*range(66, 67 * 33, 67), 67 * 33]), ("green", [67 * 33 + 1])):
        assert filter_mask(parse_filter({"description": text}), table).nonzero()[0].tolist() == rows
    absent = filter_mask(parse_filter({"description": {"exists": False}}), table)
    assert absent.nonzero()[0].tolist() == [*range(1, 67 * 33, 67)]
