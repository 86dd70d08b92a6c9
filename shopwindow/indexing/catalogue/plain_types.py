"""One Arrow type for each kind of value. Writers differ in how they store the same text or photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.base.checked_table import is_text
from shopwindow.retrieval.request.attribute_columns import is_list

TEXT, FILES = pa.large_string(), pa.large_binary()
DATE, MOMENT = pa.date32(), pa.timestamp("us", "UTC")
MIXED = pa.struct([])
"""Stands for a column whose values have no single type. No filter can name it."""


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that stands for a type here.

    All text is `large_string`, whose columns may exceed 2 GiB, and all bytes are `large_binary`. A dictionary has the
    type of its values, an extension type that of its storage, but UUIDs are text. All lists are `list`, all dates
    `date32`, and all timestamps count microseconds in UTC; without a zone they are taken to be in UTC. Numbers and
    other types stay as they are.
    """
    if isinstance(kind, pa.UuidType):
        return TEXT
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if is_text(kind):
        return TEXT
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_large_binary(kind):
        return FILES
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, plain_type(part.type)) for part in kind.fields])
    if is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_date(kind):
        return DATE
    return MOMENT if pa.types.is_timestamp(kind) else kind


def plain(array: pa.Array) -> pa.Array:
    """Return an array in its plain type. Text that is not UTF-8 stays as it is. UUIDs become their canonical text."""
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], TEXT)
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    if pa.types.is_dictionary(array.type):
        # The values first: Arrow does not look up values of a view type. Decoded, one broken value of a dictionary
        # spoils only the rows that have it.
        return plain(array.dictionary).take(array.indices)
    if pa.types.is_struct(array.type):
        names = [part.name for part in array.type.fields]
        parts = [plain(pc.struct_field(array, [place])) for place in range(len(names))]
        return pa.StructArray.from_arrays(parts, names=names, mask=array.is_null())
    if is_list(array.type):
        return joined_lists(plain(array.flatten()), pc.list_value_length(array))
    kind = plain_type(array.type)
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        return array.cast(kind, safe=False)  # cuts nanoseconds off
    return array if array.type == kind else array.cast(kind)


def joined_lists(values: pa.Array, lengths: pa.Array) -> pa.ListArray:
    """Return lists of consecutive values, with these lengths; a row without a length has no value."""
    ends = np.concatenate([np.zeros(1, np.int64), np.asarray(pc.fill_null(lengths, 0)).cumsum()])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=lengths.is_null())


def plain_table(table: pa.Table) -> pa.Table:
    """Return a table in plain types. Older indexes hold text as `string`, which Arrow cannot join beyond 2 GiB."""
    fields: Sequence[pa.Field] = [pa.field(field.name, plain_type(field.type)) for field in table.schema]
    columns = [
        pa.chunked_array([plain(chunk) for chunk in column.chunks], field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))
