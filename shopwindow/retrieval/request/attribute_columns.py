"""Attribute columns of the catalogue, held so that a filter turns into a row mask quickly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """A string column as dictionary codes.

    Attributes:
        codes: (rows,) of the smallest integer type that holds them, index into `values`; -1 where the value is
            missing.
        values: value -> code.
    """

    codes: np.ndarray
    values: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """A numeric or boolean column.

    Attributes:
        numbers: (rows,) float64, float32 where the catalogue has that, or the smallest integer type that holds them.
        present: (rows,) bool, False where the value is missing.
    """

    numbers: np.ndarray
    present: np.ndarray


Column = TextColumn | NumberColumn

_SLICE = 1_000

TITLE = "title"  # kept for display; every product has its own, so as a filter it would only cost memory


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
        """The column called `name`, or None when there is none."""
        return self._columns.get(name)


def filterable(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type can be filtered on."""
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
    # As it was given: in float64, a float32 19.99 would no longer equal the 19.99 of a filter.
    kind = pa.int64() if whole else pa.float32() if pa.types.is_float32(array.type) else pa.float64()
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())  # Arrow's own cast makes 19.99 a neighbour of the float that a filter gives
    # Unchecked: an unsigned 64-bit number may lose digits that no filter needs.
    numbers = np.asarray(pc.fill_null(array.cast(kind, safe=False), pa.scalar(0, kind)))
    if whole:
        return NumberColumn(numbers=_smallest(numbers), present=present)
    return NumberColumn(numbers=numbers, present=present & ~np.isnan(numbers))


def _numbered(values: pa.Array) -> dict[str, int]:
    """Value -> position. By and by, as pyarrow lets no other thread run while it converts: requests would wait."""
    return {
        value: position
        for start in range(0, len(values), _SLICE)
        for position, value in enumerate(values.slice(start, _SLICE).to_pylist(), start)
    }


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """(rows,) integers in the smallest type that holds them: a filter reads the whole column, so bytes are time."""
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    kinds = (kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return numbers.astype(next(kinds, np.int64), copy=False)
