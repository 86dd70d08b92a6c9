"""What the type of a column is called in messages, in words for people who do not know Arrow."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

_WORDS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_null, "no value"),
    (pa.types.is_string, "text"),
    (pa.types.is_large_string, "text"),
    (pa.types.is_string_view, "text"),
    (pa.types.is_binary, "bytes"),
    (pa.types.is_large_binary, "bytes"),
    (pa.types.is_binary_view, "bytes"),
    (pa.types.is_boolean, "true or false"),
    (pa.types.is_date, "dates"),
    (pa.types.is_timestamp, "timestamps"),
    (pa.types.is_time, "times of day"),
    (pa.types.is_duration, "durations"),
)
_USUAL = 64  # bits of a number


def type_name(kind: pa.DataType) -> str:
    """Return what a type is called, such as `whole numbers` or `lists of text`. Different numbers have different names.

    A struct without fields stands for values of several kinds.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return type_name(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_map(kind):
        return "maps"
    if pa.types.is_fixed_size_binary(kind):
        return f"{kind.byte_width} bytes each"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        name = "floating-point numbers" if pa.types.is_floating(kind) else "whole numbers"
        bits = "" if kind.bit_width == _USUAL else f" of {kind.bit_width} bits"
        return f"{name}{bits}{' from 0 on' if pa.types.is_unsigned_integer(kind) else ''}"
    if pa.types.is_decimal(kind):
        return f"decimals of {kind.precision} digits, {kind.scale} of them after the point"
    if pa.types.is_struct(kind):
        return "objects" if kind.num_fields else "values of several kinds"
    if hasattr(kind, "value_type"):
        return f"lists of {type_name(kind.value_type)}"
    return next((words for is_one, words in _WORDS if is_one(kind)), str(kind))
