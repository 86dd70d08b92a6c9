"""Write the values of Arrow columns as JSON, a whole column at a time."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.retrieval.request.attribute_columns import filterable, is_list

_TEXT = pa.large_string()
_MISSING = pa.scalar(None, _TEXT)
_QUOTE, _NOTHING = pa.scalar('"', _TEXT), pa.scalar("", _TEXT)
_ESCAPED = '["\\\\\\x00-\\x1f]'  # what JSON does not take as it is inside a text


def has_texts(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type can be written: those that filters take, and UTF-8 as large_binary."""
    return filterable(kind) or kind == pa.large_binary() or bool(pa.types.is_null(kind))


def json_texts(array: pa.Array) -> pa.Array:
    """Return the JSON text of each value, large_binary in UTF-8; empty for a missing value.

    Numbers are written as the shop has them: a float32 19.99 is 19.99, decimals and integers are exact. NaN and
    infinite numbers, which JSON does not have, count as missing. Dates are texts like "2024-01-31", timestamps like
    "2024-01-31T12:00:00Z", with a fraction of six digits if there is one.

    Args:
        array: of a type that `has_texts` names.

    Raises:
        pa.ArrowInvalid: large_binary that is not UTF-8.
    """
    # Filled, so that the reader needs only the lengths to see what is missing.
    return pc.fill_null(_texts(array), "").cast(pa.large_binary())


def _texts(array: pa.Array) -> pa.Array:
    """Return the JSON text of each value, large_string; null for a missing value."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _texts(array.dictionary).take(array.indices)
    if is_list(kind):
        return _lists(array)
    if pa.types.is_string(kind) or kind in (_TEXT, pa.large_binary()):
        return _quoted(array.cast(_TEXT))
    if pa.types.is_floating(kind):
        return _floats(array)
    if pa.types.is_date(kind):
        return _moments(array.cast(pa.date32()).cast(_TEXT))
    if pa.types.is_timestamp(kind):
        texts = array.cast(pa.timestamp("us", "UTC"), safe=False).cast(_TEXT)
        return _moments(pc.replace_substring(pc.replace_substring(texts, " ", "T"), ".000000", ""))
    return array.cast(_TEXT)  # integers, decimals, booleans, and columns without any value


def _quoted(texts: pa.Array) -> pa.Array:
    quoted = _in_quotes(texts)
    special = pc.fill_null(pc.match_substring_regex(texts, _ESCAPED), False)
    if not pc.any(special).as_py():
        return quoted
    escaped = [json.dumps(text, ensure_ascii=False) for text in texts.filter(special).to_pylist()]
    return pc.replace_with_mask(quoted, special, pa.array(escaped, _TEXT))


def _in_quotes(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(_QUOTE, texts, _QUOTE, _NOTHING)


def _moments(texts: pa.Array) -> pa.Array:
    """Put dates in quotes. Arrow writes "<value out of range" for those that no calendar has."""
    return _in_quotes(pc.if_else(pc.starts_with(texts, "<"), _MISSING, texts))


def _floats(array: pa.Array) -> pa.Array:
    if array.type == pa.float16():  # Arrow writes it as the float32 that it equals, with more digits
        numbers = np.asarray(pc.fill_null(array.cast(pa.float32()), np.nan)).astype(np.float16)
        different, places = np.unique(numbers, return_inverse=True)
        return pa.array([str(n) if np.isfinite(n) else None for n in different], _TEXT).take(pa.array(places))
    return pc.if_else(pc.is_finite(array), array.cast(_TEXT), _MISSING)


def _lists(array: pa.Array) -> pa.Array:
    values = pc.fill_null(_texts(array.flatten()), "null")
    lengths = pc.list_value_length(array)
    ends = np.concatenate([np.zeros(1, np.int64), np.asarray(pc.fill_null(lengths, 0)).cumsum()])
    joined = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(ends), values), pa.scalar(",", _TEXT))
    texts = pc.binary_join_element_wise(pa.scalar("[", _TEXT), joined, pa.scalar("]", _TEXT), _NOTHING)
    return pc.if_else(array.is_valid(), texts, _MISSING)
