"""Attribute columns of rare Arrow types: filtered like numbers and booleans, or not at all."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

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
        "size": pa.array([38, 40, None, 38], pa.int32()).dictionary_encode(),
        "on_sale": pa.array([True, False, None, True], pa.bool_()),
        "made": pa.array([date(2024, 5, 1), date(2025, 5, 1), None, date(2024, 5, 1)], pa.date32()),
    }
)


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        ({"views": {"gte": 2**62}}, [0, 3]),
        ({"views": {"lt": 10}}, [1]),
        ({"views": 5}, [1]),
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


def test_a_date_column_cannot_be_filtered() -> None:
    table = AttributeTable(TABLE)
    assert table.names == ["on_sale", "price", "size", "views"]
    assert not filterable(pa.date32())
    with pytest.raises(InvalidRequest, match=r"filter\.made: no such attribute"):
        check_filter(parse_filter({"made": "2024-05-01"}), table)
