"""Texts that become numbers, lists or dates, as `CatalogOptions` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.derived.number_texts import NumberTexts
from shopwindow.indexing.catalogue.formats.one_file import ColumnType, Rows
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.plain_types import DATE, MOMENT, TEXT, joined_lists
from shopwindow.indexing.catalogue.possible_types import (
    BIG,
    FLAG,
    LIST,
    NUMBER,
    WHOLE,
    PossibleTypes,
    choose_type,
    from_text,
    texts_of,
)
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import is_list
from shopwindow.retrieval.request.moments import read_moment

_SCANNED = 4_096  # rows at a time


class ParsedRows:
    """Rows with some columns of texts parsed, see `shopwindow.indexing.catalogue.formats.one_file.Rows`.

    The columns are read once as a whole, to check their values. A column that holds numbers, lists or dates already
    stays as it is.

    Args:
        rows: the rows of the file.
        path: the file.
        option: name of the option that gave it; errors begin with it.
        options: which columns to parse.

    Attributes:
        numbers: name -> its values, for each column of numbers. `marks` must say how to read those before `read`.
        marks: name -> decimal mark.

    Raises:
        CatalogError: a column is no text, or a value is not what it should be.
    """

    def __init__(self, rows: Rows, path: Path, option: str, options: CatalogOptions) -> None:
        self._rows, self._path, self._option, self._options = rows, path, option, options
        self.rows, self.groups, self.names = rows.rows, rows.groups, rows.names
        self.columns: dict[str, ColumnType] = dict(rows.columns)
        self.marks: Mapping[str, str] = options.numbers
        self.numbers = {n: NumberTexts(n, path, option) for n in options.numbers if self._is_text(n, "number", _number)}
        self._lists = {n: sep for n, sep in options.lists.items() if self._is_text(n, "list", is_list)}
        self._dates = {n for n in options.dates if self._is_text(n, "date", _date)}
        self._parsed = {*self.numbers, *self._lists, *self._dates}
        if self._parsed:
            self._see()

    def _is_text(self, name: str, option: str, parsed: Callable[[pa.DataType], bool]) -> bool:
        """Return whether a column must be parsed."""
        kind = self.columns.get(name)
        if kind is None or not isinstance(kind, PossibleTypes):
            found = kind
        else:
            found = pa.null() if kind.empty else TEXT if kind.against(TEXT) is None else choose_type([kind])
        if found is None or pa.types.is_null(found) or parsed(found):
            return False
        if found != TEXT:
            raise CatalogError(
                f"{self._option}: --{option} {name}: column {name!r} of {self._path} holds {type_name(found)}, and "
                f"only texts can become {option}s"
            )
        return True

    def _see(self) -> None:
        """Read the columns once, to check their values and to find their types."""
        possible = {name: PossibleTypes() for name in self._parsed}
        for at, records in self._rows.read(dict.fromkeys(self._parsed, TEXT), _SCANNED, 0, self.rows):
            for name, found in possible.items():
                column = records.column(name)
                if name in self._lists:
                    found.see_lists(_split(column, self._lists[name]), at)
                elif name in self._dates:
                    self._see_dates(found, name, column, at)
                else:
                    self.numbers[name].see(column, at)
        for name, numbers in self.numbers.items():
            if numbers.first:
                possible[name].empty = False
                possible[name].refuse((FLAG, WHOLE, BIG, TEXT, DATE, MOMENT, LIST), *numbers.first)
        self.columns.update(possible)

    def _see_dates(self, found: PossibleTypes, name: str, column: pa.Array, at: int) -> None:
        for place, value in enumerate(texts_of(column)):
            if value is None:
                continue
            try:
                day = read_moment(value).day
            except ValueError:
                raise CatalogError(
                    f"{self._option}: --date {name}: row {at + place} of {self._path} has {value[:60]!r}; write dates "
                    "as ISO 8601 does, such as 2024-01-31 or 2024-01-31T12:00:00Z"
                ) from None
            found.empty = False
            found.refuse((FLAG, WHOLE, BIG, NUMBER, TEXT, LIST), at + place, value)
            if not day:
                found.refuse([DATE], at + place, value)

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int, stop: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See `Rows`."""
        wanted = {name: TEXT if name in self._parsed else kind for name, kind in types.items()}
        for at, records in self._rows.read(wanted, size, start, stop):
            columns = {n: self._column(n, records.column(n), kind, at) for n, kind in types.items()}
            yield at, pa.RecordBatch.from_pydict(columns)

    def _column(self, name: str, column: pa.Array, kind: pa.DataType, at: int) -> pa.Array:
        if name not in self._parsed or kind == TEXT:
            return column
        try:
            if name in self.numbers:
                return self.numbers[name].convert(column, kind, self.marks[name])
            if name in self._dates:
                return from_text(column, kind)
            lists = _split(column, self._lists[name])
            return joined_lists(from_text(lists.flatten(), kind.value_type), pc.list_value_length(lists))
        except pa.ArrowException as error:
            raise CatalogError(
                f"{self._option}: column {name!r} of {self._path} should be {type_name(kind)}, and a row from {at} on "
                f"is not: {error}"
            ) from error


def _split(column: pa.Array, separator: str) -> pa.Array:
    """Return the parts of texts, without spaces around them and without empty ones."""
    parts = pc.split_pattern(column, separator)
    rows, values = pc.list_parent_indices(parts), pc.ascii_trim_whitespace(parts.flatten())
    held = pc.not_equal(values, "")
    counts = pc.value_counts(rows.filter(held))
    lengths = [0] * len(column)
    for row, count in zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True):
        lengths[row] = count
    found = pa.array(lengths, pa.int64())
    return joined_lists(values.filter(held), pc.if_else(column.is_valid(), found, pa.scalar(None, pa.int64())))


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _date(kind: pa.DataType) -> bool:
    return kind in (DATE, MOMENT)
