"""Convert the columns of a change file to the types that the index has. No value may become another kind of value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.plain_types import TEXT
from shopwindow.indexing.errors import CatalogError

_SHOWN = 60


def converted(column: pa.Array, kind: pa.DataType, name: str, file: Path, start: int) -> pa.Array:
    """Return a column in the type that the index has.

    Texts may become numbers if they are written like that, and whole numbers texts. Numbers with a fraction do not
    become texts: 38.0 would not be found by "38".

    Args:
        column: values of the change file.
        kind: type in the index.
        name: name of the column, for errors.
        file: the change file, for errors.
        start: number of the column's first row in it.

    Raises:
        CatalogError: a value cannot be converted; names file, column, row and value.
    """
    try:
        if not _another_kind(column.type, kind) or column.null_count == len(column):
            return column.cast(kind)
    except pa.ArrowException:
        pass
    row = next(place for place in range(len(column)) if not _fits(column[place : place + 1], kind))
    raise CatalogError(
        f"changes: column {name!r} of {file} is {type_name(column.type)}, in the index it is {type_name(kind)}, and "
        f"row {start + row} has {_value(column[row])}: write the column with the index's type"
    )


def _fits(one: pa.Array, kind: pa.DataType) -> bool:
    if one.null_count:
        return True
    try:
        return not _another_kind(one.type, kind) and one.cast(kind) is not None
    except pa.ArrowException:
        return False


def _another_kind(given: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_boolean(given) != pa.types.is_boolean(wanted):
        return given != TEXT and not pa.types.is_null(given)
    fraction = pa.types.is_floating(given) or (pa.types.is_decimal(given) and given.scale > 0)
    return bool(wanted == TEXT and fraction)


def _value(one: pa.Scalar) -> str:
    try:
        return repr(one.as_py())[:_SHOWN]
    except UnicodeDecodeError:
        return "text that is not UTF-8"
