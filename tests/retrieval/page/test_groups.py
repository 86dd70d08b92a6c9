"""Products with equal values are a group, and a product without a value is one of its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval.page.groups import group_numbers
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from tests.retrieval.page.any_column import COLUMNS


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=40)
@given(data=st.data())
def test_equal_values_and_only_they_have_equal_numbers(name: str, data: st.DataObject) -> None:
    kind, values = COLUMNS[name]
    held = data.draw(st.lists(st.none() | values, max_size=12))
    column = AttributeTable(pa.table({"c": pa.array(held, kind)})).get("c")
    assert column is not None
    numbers = group_numbers(column)
    assert numbers.dtype.kind == "i"
    for row, (value, number) in enumerate(zip(held, numbers.tolist(), strict=True)):
        if value is None or value != value:
            assert number == -1 - row
        else:
            assert number >= 0
            assert [other == value for other in held] == (numbers == number).tolist()


def test_many_rows_without_a_value_among_few_values() -> None:
    """Codes of few values take one byte, and the numbers of these rows do not fit it."""
    column = AttributeTable(pa.table({"c": pa.array(["a", "b", *[None] * 40_000, "a"])})).get("c")
    assert column is not None
    numbers = group_numbers(column)
    assert numbers[[0, -1]].tolist() == [numbers[0]] * 2
    assert len(np.unique(numbers)) == 40_002
    assert numbers[40_001] == -40_002
