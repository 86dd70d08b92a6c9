"""A sort puts products in the order that Python's `sorted` gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval.page.sorting import sort_order
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.page.sort_reading import Sort
from tests.retrieval.page.any_column import COLUMNS


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=60)
@given(data=st.data(), descending=st.booleans())
def test_products_come_by_value_then_score_then_place(name: str, data: st.DataObject, descending: bool) -> None:
    kind, values = COLUMNS[name]
    held = data.draw(st.lists(st.none() | values, min_size=1, max_size=12))
    rows = data.draw(st.permutations(range(len(held))).flatmap(lambda p: st.integers(0, len(p)).map(lambda n: p[:n])))
    scores = data.draw(st.lists(st.sampled_from([0.5, 0.25, -1.0]), min_size=len(rows), max_size=len(rows)))
    table = AttributeTable(pa.table({"c": pa.array(held, kind)}))
    order = sort_order(Sort("c", descending), table, np.array(rows, np.int64), np.array(scores, np.float32))
    assert order.dtype == np.int64

    def missing(place: int) -> bool:
        value = held[rows[place]]
        return value is None or value != value

    ranked = sorted(range(len(rows)), key=lambda place: -scores[place])
    with_value = [place for place in ranked if not missing(place)]
    with_value.sort(key=lambda place: held[rows[place]], reverse=descending)  # `reverse` keeps the order of equals
    assert order.tolist() == with_value + [place for place in ranked if missing(place)]
