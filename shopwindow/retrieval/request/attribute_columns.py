"""Attribute columns of the catalogue, in a form that turns a filter into a row mask quickly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def texts(self) -> list[str]:
        """The value of each code, made once."""
        return list(self.values)


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """A numeric or boolean column.

    Attributes:
        numbers: (rows,) float64, or float32 or float16 if the catalogue has them, or the smallest integer type that
            holds them; uint64 if there are numbers beyond int64.
        present: (rows,) bool, False if the value is missing.
        boolean: whether the catalogue holds true and false; `numbers` has 1 and 0 for them.
    """

    numbers: np.ndarray
    present: np.ndarray
    boolean: bool = False

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value, found once; both 0 if there is none. Those beyond 2^53 are rounded."""
        held = self.numbers[self.present]
        return (float(held.min()), float(held.max())) if len(held) else (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class TimeColumn:
    """A column of dates or of timestamps.

    Attributes:
        numbers: (rows,) of the smallest integer type that holds them: days since 1970, or microseconds, in UTC.
        present: (rows,) bool, False if the value is missing.
        days: whether the column holds dates.
    """

    numbers: np.ndarray
    present: np.ndarray
    days: bool


@dataclass(frozen=True, kw_only=True)
class ListColumn:
    """A column of lists. A product has all values of its list; one with an empty list has none.

    Attributes:
        ends: (rows + 1,) of the smallest integer type that holds them: where each row's values begin, and at last the
            number of all values.
        values: the values of all lists, one after the other.
    """

    ends: np.ndarray
    values: TextColumn | NumberColumn

    def any(self, mask: np.ndarray) -> np.ndarray:
        """Return which rows have at least one value of a mask, (values,) bool: (rows,) bool."""
        if not len(mask):
            return np.zeros(len(self.ends) - 1, bool)
        starts = self.ends[:-1]
        # The added value is for empty lists at the end, which begin behind the last value.
        found = np.asarray(np.logical_or.reduceat(np.append(mask, False), starts))
        found &= starts < self.ends[1:]  # for an empty list, reduceat gives the value that it begins at
        return found


Column = TextColumn | NumberColumn | TimeColumn | ListColumn

_SLICE = 1_000
_WHOLE, _UNSIGNED = pa.int64(), pa.uint64()

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
            if name != TITLE and (column := _convert(table.column(name))) is not None
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
    if is_list(kind):
        return _is_single(kind.value_type)
    return _is_single(kind) or _is_time(kind)


def is_list(kind: pa.DataType) -> bool:
    """Return whether an Arrow type is one of lists, in whatever way they are stored."""
    found = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(one(kind) for one in found)


def _is_single(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _is_text(kind) or bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _convert(column: pa.ChunkedArray) -> Column | None:
    if not filterable(column.type):
        return None
    if is_list(column.type):
        return _lists(column)
    if _is_time(column.type):
        return _times(column)
    return _single(column)


def _single(column: pa.ChunkedArray) -> TextColumn | NumberColumn:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if _is_text(kind):
        return _texts(column)
    parts = [_numbers(chunk) for chunk in column.chunks] or [_numbers(pa.array([], column.type))]
    numbers = np.concatenate(_of_one_type([part for part, _ in parts]))
    present = np.concatenate([held for _, held in parts])
    if numbers.dtype.kind == "f":
        return NumberColumn(numbers=numbers, present=present & ~np.isnan(numbers))
    return NumberColumn(numbers=_smallest(numbers), present=present, boolean=pa.types.is_boolean(kind))


def _lists(column: pa.ChunkedArray) -> ListColumn:
    lengths = [np.asarray(pc.fill_null(pc.list_value_length(chunk), 0)) for chunk in column.chunks]
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    ends = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()
    return ListColumn(ends=_smallest(ends), values=_single(values))


def _times(column: pa.ChunkedArray) -> TimeColumn:
    days = bool(pa.types.is_date(column.type))
    kind = pa.date32() if days else pa.timestamp("us", column.type.tz)
    numbers = column.cast(kind, safe=False).cast(pa.int32() if days else pa.int64())
    present = np.asarray(column.is_valid())
    return TimeColumn(numbers=_smallest(np.asarray(pc.fill_null(numbers, 0))), present=present, days=days)


def _texts(column: pa.ChunkedArray) -> TextColumn:
    """Number the values chunk by chunk. Joined, a column of more than 2 GiB of text would be too long for Arrow."""
    values: dict[str, int] = {}
    parts = [np.empty(0, np.int32)]
    for chunk in column.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        numbered = [-1]  # the code of a missing value
        # In slices: pyarrow lets no other thread run while it converts, so requests would wait for a long column.
        for start in range(0, len(encoded.dictionary), _SLICE):
            for value in encoded.dictionary.slice(start, _SLICE).to_pylist():
                numbered.append(-1 if value is None else values.setdefault(value, len(values)))
        places = pc.fill_null(encoded.indices.cast(pa.int32()), -1)
        parts.append(np.array(numbered, np.int32)[np.asarray(places) + 1])
    return TextColumn(codes=_smallest(np.concatenate(parts)), values=values)


def _numbers(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers, in the type that filters compare in, and which of them are present, both (rows,)."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    present = np.asarray(array.is_valid())
    if array.type == pa.float16():  # Arrow computes little with it
        return np.asarray(pc.fill_null(array.cast(pa.float32()), 0.0)).astype(np.float16), present
    # Keep float32: converted to float64, a float32 19.99 would no longer equal the 19.99 of a filter.
    kind = array.type if array.type in (_UNSIGNED, pa.float32()) else pa.float64()
    if pa.types.is_boolean(array.type) or (pa.types.is_integer(array.type) and array.type != _UNSIGNED):
        kind = _WHOLE
    if pa.types.is_decimal(array.type):
        # Through text, because Arrow's cast from decimal to float gives another float than the 19.99 of a filter.
        whole, array = array.type.scale <= 0, array.cast(pa.string())
        if whole:
            return _whole_decimals(array), present
    return np.asarray(pc.fill_null(array.cast(kind), pa.scalar(0, kind))), present


def _whole_decimals(texts: pa.Array) -> np.ndarray:
    """Return decimals without a fraction: exact if they fit 64 bits, as databases write ids, else float64."""
    for kind in (_WHOLE, _UNSIGNED, pa.float64()):
        try:
            return np.asarray(pc.fill_null(texts.cast(kind), pa.scalar(0, kind)))
        except pa.ArrowInvalid:
            pass  # some are too large, or written with an exponent
    raise AssertionError("every decimal is a float64")


def _of_one_type(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Return arrays in one type that holds all their numbers.

    Only decimals have parts of several types. NumPy would make floats of int64 and uint64.
    """
    kinds = {part.dtype for part in parts}
    if len(kinds) == 1:
        return parts
    whole = kinds == {np.dtype(np.int64), np.dtype(np.uint64)}
    if whole and all(part.min(initial=0) >= 0 for part in parts):
        return [part.astype(np.uint64) for part in parts]
    return [part.astype(np.float64) for part in parts]


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """Return the integers in the smallest type that holds them. A filter reads the whole column, so bytes cost time."""
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    kinds = (kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    beyond = np.uint64 if high > np.iinfo(np.int64).max else np.int64
    return numbers.astype(next(kinds, beyond), copy=False)
