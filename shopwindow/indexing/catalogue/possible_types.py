"""The type of a column whose file does not say it, decided over the whole column.

Values of a text file, and of a folder such as `colour=red/`, are whole numbers, other numbers, true or false if all of
them are written like that. Otherwise they are text: one value `0012` or `n/a` is enough. So a column's type follows
from what is in it, and not from where in the file it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.indexing.catalogue.plain_types import DATE, FILES, MIXED, MOMENT, TEXT
from shopwindow.retrieval.request.attribute_columns import is_list
from shopwindow.retrieval.request.moments import DAY, read_moment

WHOLE, BIG, NUMBER, FLAG = pa.int64(), pa.uint64(), pa.float64(), pa.bool_()
LIST = pa.list_(pa.null())
"""Stands for lists of any values."""
# In the order in which they are tried. Texts become dates only if an option or another file says so.
_TYPES = (FLAG, WHOLE, BIG, NUMBER, TEXT, DATE, MOMENT)

_DIGITS = "(0|[1-9][0-9]{0,19})"
# An exponent needs a fraction or a sign: 12E4 may be an article number.
_WRITTEN = {
    FLAG: r"\A(true|false|True|False|TRUE|FALSE)\z",
    WHOLE: rf"\A-?{_DIGITS}\z",
    BIG: rf"\A{_DIGITS}\z",
    NUMBER: rf"\A-?{_DIGITS}(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-][0-9]+)?\z",
}
_LONG = r"\A-?[0-9]{19,}\z"  # only these can be beyond 64 bits
_RANGES = {WHOLE: range(-(2**63), 2**63), BIG: range(2**64), NUMBER: range(-(2**63), 2**63)}


# What JSON's values of these Python types always are. The limits of whole numbers must be checked.
_ALWAYS = {
    FLAG: frozenset((bool,)),
    NUMBER: frozenset((float,)),
    **dict.fromkeys((TEXT, DATE, MOMENT), frozenset((str,))),
    LIST: frozenset((list,)),
}


class PossibleTypes:
    """Which types the values of a column could have.

    Attributes:
        empty: whether there was no value yet.
        nested: whether there was an object, or a list in a list.
        items: which types the values of lists could have; None if there was no list.
    """

    def __init__(self) -> None:
        self.empty = True
        self.nested = False
        self.items: PossibleTypes | None = None
        self._against: dict[pa.DataType, tuple[int, Any]] = {}

    def see_text(self, column: pa.Array, start: int, rows: pa.Array | None = None) -> None:
        """Take notice of values of a file that holds nothing but text.

        Args:
            column: large_string.
            start: number of its first row.
            rows: the row of each value, counted from `start`; None if each value is a row.
        """
        self.empty &= column.null_count == len(column)
        for kind in (FLAG, WHOLE, BIG, NUMBER):
            if kind not in self._against and (place := _unlike(column, kind)) is not None:
                row = place if rows is None else rows[place].as_py()
                self._against[kind] = start + row, column[place].cast(FILES).as_py().decode("utf-8", "replace")
        if not self.empty and LIST not in self._against:
            first = pc.index(column.is_valid(), True).as_py()
            self.refuse([LIST], start + first, column[first].cast(FILES).as_py().decode("utf-8", "replace"))

    def see_lists(self, lists: pa.Array, start: int) -> None:
        """Take notice of lists of texts that a file of text holds, in the same way as of single texts.

        Args:
            lists: list of large_string.
            start: number of the first row.
        """
        self.items = self.items or PossibleTypes()
        self.items.see_text(lists.flatten(), start, pc.list_parent_indices(lists))
        self.empty &= lists.null_count == len(lists)
        if not self.empty and TEXT not in self._against:
            first = pc.index(lists.is_valid(), True).as_py()
            self.refuse(_TYPES, start + first, lists.slice(first, 1).cast(pa.list_(FILES)).to_pylist()[0])

    def see_values(self, values: Sequence[Any], start: int) -> None:
        """Take notice of values as JSON has them. `start` is the number of the first row."""
        self._see(list(enumerate(values, start)))

    def _see(self, values: Sequence[tuple[int, Any]]) -> None:
        """Take notice of values, each with its row."""
        found = {type(value) for _, value in values} - {type(None)}
        for kind in (*_TYPES, LIST):
            if kind not in self._against and not found <= _ALWAYS.get(kind, frozenset()):
                for row, value in values:
                    if value is not None and not _is(value, kind):
                        self._against[kind] = row, value
                        break
        self.empty &= not found
        self.nested |= dict in found
        if list in found:
            lists = [(row, value) for row, value in values if isinstance(value, list)]
            self.items = self.items or PossibleTypes()
            self.items._see([(row, item) for row, value in lists for item in value])
            self.nested |= self.items.nested or self.items.items is not None

    def refuse(self, kinds: Iterable[pa.DataType], row: int, value: Any) -> None:
        """Note that a value cannot be of some types."""
        for kind in kinds:
            self._against.setdefault(kind, (row, value))

    def against(self, kind: pa.DataType) -> tuple[int, Any] | None:
        """Return the first row and value that cannot be of a type; None if all can.

        Args:
            kind: a type of text, numbers, booleans, dates, timestamps, or lists of these. Smaller and exact numbers
                count like the larger ones; their limits are checked when values are converted.
        """
        if is_list(kind):
            return self._against.get(LIST) or (self.items.against(kind.value_type) if self.items else None)
        if pa.types.is_integer(kind):
            kind = BIG if kind == BIG else WHOLE
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            kind = NUMBER
        return self._against.get(kind)


def choose_type(columns: Iterable[PossibleTypes]) -> pa.DataType:
    """Return the type of a column from what its values could be in each file.

    Returns:
        Null if there is no value. `MIXED` if no type suits all values: texts beside numbers or lists, whole numbers
        beyond 64 bits, or objects. `PossibleTypes.nested` tells the last from the others.
    """
    found = [column for column in columns if not column.empty]
    if not found:
        return pa.null()
    if any(column.nested for column in found):
        return MIXED
    if all(column.against(LIST) is None for column in found):
        value = choose_type(column.items for column in found if column.items)
        return value if value in (MIXED, pa.null()) else pa.list_(value)
    return next((kind for kind in _TYPES if all(column.against(kind) is None for column in found)), MIXED)


def from_text(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a column of large_string in another type.

    Raises:
        pa.ArrowInvalid: a value is not of the type.
    """
    if column.type == kind:
        return column
    if pa.types.is_null(kind) and column.null_count == len(column):
        return pa.nulls(len(column))  # Arrow casts no text to null, not even where all are missing
    if kind in (DATE, MOMENT):
        return _times(column, kind)
    if pa.types.is_float16(kind):
        return column.cast(pa.float32()).cast(kind)
    return column.cast(kind)


def _times(column: pa.Array, kind: pa.DataType) -> pa.Array:
    numbers: list[int | None] = []
    for text in texts_of(column):
        try:
            moment = None if text is None else read_moment(text)
        except ValueError:
            raise pa.ArrowInvalid(f"{str(text)[:60]!r} is not written as ISO 8601, such as 2024-01-31") from None
        if moment is not None and kind == DATE and moment.start % DAY:
            raise pa.ArrowInvalid(f"{str(text)[:60]!r} is no date")
        numbers.append(None if moment is None else moment.start // DAY if kind == DATE else moment.start)
    return pa.array(numbers, pa.int32() if kind == DATE else pa.int64()).cast(kind)


def texts_of(column: pa.Array) -> list[str | None]:
    """Return the values of a column of large_string, with marks for what is not UTF-8."""
    return [None if value is None else value.decode("utf-8", "replace") for value in column.cast(FILES).to_pylist()]


def _unlike(column: pa.Array, kind: pa.DataType) -> int | None:
    place = pc.index(pc.match_substring_regex(column, _WRITTEN[kind]), False).as_py()
    if place >= 0:
        return int(place)
    if kind in _RANGES:
        long = pc.fill_null(pc.match_substring_regex(column, _LONG), False)
        for place in np.flatnonzero(long.to_numpy(zero_copy_only=False)).tolist():
            if int(column[place].as_py()) not in _RANGES[kind]:
                return int(place)
    return None


def _is(value: Any, kind: pa.DataType) -> bool:
    if kind in (TEXT, DATE, MOMENT):  # whether a text is a date is checked when it is converted
        return isinstance(value, str)
    if kind == LIST:
        return isinstance(value, list)
    if kind == FLAG:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value in _RANGES[kind]
    return kind == NUMBER and isinstance(value, float)
