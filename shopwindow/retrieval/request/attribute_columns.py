"""Attribute columns of the catalogue, in a form that turns a filter into a row mask quickly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """A string column as dictionary codes.

    Attributes:
        codes: (rows,) of the smallest integer type that holds them: the code of each row's value; -1 if the value
            is missing.
        values: value -> code.
    """

    codes: np.ndarray
    values: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """A numeric or boolean column.

    Attributes:
        numbers: (rows,) float64, or float32 if the catalogue has float32, or the smallest integer type that holds them.
        present: (rows,) bool, False if the value is missing.
    """

    numbers: np.ndarray
    present: np.ndarray


Column = TextColumn | NumberColumn

_SLICE = 1_000

# Titles are kept for display only. Nearly every product has its own title, so a filter column for it would only cost
# memory.
TITLE = "title"


class AttributeTable:
    """The columns that filters may name, one entry per indexed product, in index order."""

    def __init__(self, table: pa.Table) -> None:
        self.rows: int = table.num_rows
        self._columns: dict[str, Column] = {
            name: column
            for name in table.column_names
            if name != TITLE and (column := _convert(table.column(name).combine_chunks())) is not None
        }

    @property
    def names(self) -> list[str]:
        """Column names in alphabetical order."""
        return sorted(self._columns)

    def get(self, name: str) -> Column | None:
        """Return the column called `name`, or None if there is none."""
        return self._columns.get(name)


def filterable(kind: pa.DataType) -> bool:
    """Return whether a filter can name a column of this Arrow type."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _is_text(kind) or bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _convert(array: pa.Array) -> Column | None:
    if not filterable(array.type):
        return None
    if pa.types.is_dictionary(array.type) and not _is_text(array.type.value_type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        array = array.dictionary_encode()
    if pa.types.is_dictionary(array.type):
        codes = np.asarray(pc.fill_null(array.indices.cast(pa.int32()), -1))
        return TextColumn(codes=_smallest(codes), values=_numbered(array.dictionary))
    present = np.asarray(array.is_valid())
    whole = pa.types.is_boolean(array.type) or (pa.types.is_integer(array.type) and array.type != pa.uint64())
    # Keep float32: converted to float64, a float32 19.99 would no longer equal the 19.99 of a filter.
    kind = pa.int64() if whole else pa.float32() if pa.types.is_float32(array.type) else pa.float64()
    if pa.types.is_decimal(array.type):
        # Through text, because Arrow's cast from decimal to float gives another float than the 19.99 of a filter.
        array = array.cast(pa.string())
    # safe=False, because an unsigned 64-bit number may lose digits that no filter needs.
    numbers = np.asarray(pc.fill_null(array.cast(kind, safe=False), pa.scalar(0, kind)))
    if whole:
        return NumberColumn(numbers=_smallest(numbers), present=present)
    return NumberColumn(numbers=numbers, present=present & ~np.isnan(numbers))


def _numbered(values: pa.Array) -> dict[str, int]:
    """Return value -> position.

    It converts in slices: pyarrow lets no other thread run while it converts, so requests would wait for a long column.
    """
    return {
        value: position
        for start in range(0, len(values), _SLICE)
        for position, value in enumerate(values.slice(start, _SLICE).to_pylist(), start)
    }


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """Return the integers in the smallest type that holds them. A filter reads the whole column, so bytes cost time."""
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    kinds = (kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return numbers.astype(next(kinds, np.int64), copy=False)
