"""Values of a column as people see them: which are there, a few examples, and what their type is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.plain_types import FILES, TEXT
from shopwindow.retrieval.request.attribute_columns import is_list
from shopwindow_client._values.printable import printable

SAMPLED = 1_000  # values of a column that are looked at
_EXAMPLES, _LONGEST = 3, 32  # how many, and characters of each


def is_empty(column: pa.Array) -> np.ndarray:
    """Return which values are missing or empty, (rows,) bool."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.ones(len(column), bool)
    if pa.types.is_struct(kind):
        parts = [is_empty(pc.struct_field(column, [place])) for place in range(kind.num_fields)]
        return np.logical_and.reduce(parts) if parts else np.ones(len(column), bool)
    if kind in (TEXT, FILES):
        empty = pc.equal(pc.binary_length(column), 0)
    elif is_list(kind):
        empty = pc.equal(pc.list_value_length(column), 0)
    else:
        empty = column.is_null()
    found: np.ndarray = pc.fill_null(empty, True).to_numpy(zero_copy_only=False)
    return found


def sample_of(column: pa.Array, most: int) -> list[Any]:
    """Return the first values that are not empty. Broken text and dates beyond Python's are left out."""
    column = column.filter(pa.array(~is_empty(column))).slice(0, most)
    try:
        values: list[Any] = column.to_pylist()
        return values
    except (ValueError, OverflowError):
        return [value for one in column if (value := _readable(one)) is not None]


def _readable(one: pa.Scalar) -> Any:
    try:
        return one.as_py()
    except (ValueError, OverflowError):
        return None


def examples_of(values: Sequence[Any]) -> tuple[str, ...]:
    """Return the first different values for a table, shortened. Nothing in them steers a terminal."""
    shown = dict.fromkeys(_shown(value) for value in values[: 10 * _EXAMPLES])
    return tuple(shown)[:_EXAMPLES]


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list):
        text = "[" + ", ".join(map(_shown, value)) + "]"
    else:
        text = printable(" ".join(str(value).split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def type_words(kind: pa.DataType) -> str:
    """Return what an attribute's type is called: text, whole number, list of text, …"""
    if is_list(kind):
        return f"list of {type_words(kind.value_type)}"
    for is_one, words in (
        (pa.types.is_null, "no value in any row"),
        (pa.types.is_integer, "whole number"),
        (pa.types.is_floating, "number"),
        (pa.types.is_decimal, "number"),
        (pa.types.is_boolean, "true or false"),
        (pa.types.is_date, "date"),
        (pa.types.is_timestamp, "timestamp"),
    ):
        if is_one(kind):
            return words
    return type_name(kind)
