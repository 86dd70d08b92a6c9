"""Files of text, packed or not, as lines and as columns."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.formats.one_file import ColumnType
from shopwindow.indexing.catalogue.plain_types import DATE, FILES, MOMENT, TEXT, joined_lists
from shopwindow.indexing.catalogue.possible_types import PossibleTypes, from_text
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import is_list

PACKED = (".gz", ".zst")
LONGEST = 64 * 2**20  # characters of a line or a field: more is no product, but a file of another format
_SCANNED = 4_096  # rows at a time when types are decided
_HELD = 16 * 2**20  # characters of the rows held at a time


class Malformed(ValueError):
    """A line breaks the rules of its format. The text says where and how."""


Row = Mapping[str, Any]
ReadRows = Callable[[IO[str]], Iterator[tuple[Row, int]]]
"""Yields the rows of an open file, each with its length in characters; raises Malformed."""


class TextRows:
    """The rows of a file of text, see `shopwindow.indexing.catalogue.formats.one_file.Rows`.

    The file is read once as a whole, to count its rows and to find out which types its columns could have.

    Args:
        path: the file.
        option: name of the option that gave it; errors begin with it.
        format: what the format is called in errors.
        read_rows: reads the format.
        typed: whether the format tells texts from numbers.
        names: names of the columns in the file's head, if the format has one.
    """

    def __init__(
        self, path: Path, option: str, format: str, read_rows: ReadRows, *, typed: bool, names: Sequence[str] = ()
    ) -> None:
        self._path, self._option, self._format, self._read_rows, self._typed = path, option, format, read_rows, typed
        possible = {name: PossibleTypes() for name in names}
        self.rows = 0
        for columns, count in self._batches(_SCANNED):
            for name, values in columns.items():
                column = possible.setdefault(name, PossibleTypes())
                if typed:
                    column.see_values(values, self.rows)
                else:
                    column.see_text(as_text(values), self.rows)
            self.rows += count
        if broken := [name for name in possible if any("\ud800" <= letter <= "\udfff" for letter in name)]:
            raise CatalogError(
                f"{option}: the column {broken[0]!a} of {path} has a name that is not UTF-8; write the file as UTF-8"
            )
        self.names = list(possible)
        self.columns: dict[str, ColumnType] = dict(possible)
        self.groups = [(0, self.rows)]

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int, stop: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See `Rows`. Rows before `start` are read and dropped."""
        at = start
        for columns, count in self._batches(size, start, stop):
            records = {
                name: self._column(name, columns.get(name) or [None] * count, kind, at) for name, kind in types.items()
            }
            yield at, pa.RecordBatch.from_pydict(records)
            at += count
        if at < stop:
            raise CatalogError(f"{self._option}: {self._path} changed while it was read: it lacks row {at}")

    def _batches(
        self, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[dict[str, list[Any]], int]]:
        """Yield columns of values, and the number of rows."""
        try:
            with open_text(self._path) as file:
                rows = islice(self._read_rows(file), start, stop)
                while held := _take(rows, size):
                    names = dict.fromkeys(name for row in held for name in row)
                    yield {name: [row.get(name) for row in held] for name in names}, len(held)
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            raise CatalogError(f"{self._option}: cannot read {self._path} as {self._format}: {error}") from error

    def _column(self, name: str, values: list[Any], kind: pa.DataType, start: int) -> pa.Array:
        try:
            return self._convert(values, kind)
        except (pa.ArrowException, OverflowError):
            for position, value in enumerate(values):
                try:
                    self._convert([value], kind)
                except (pa.ArrowException, OverflowError) as error:
                    raise CatalogError(
                        f"{self._option}: column {name!r} of {self._path} should be {type_name(kind)}, and row "
                        f"{start + position} has {str(value)[:60]!r}"
                    ) from error
            raise

    def _convert(self, values: list[Any], kind: pa.DataType) -> pa.Array:
        if kind == TEXT:
            return as_text(values)
        if is_list(kind) and self._typed:
            lengths = pa.array([None if value is None else len(value) for value in values], pa.int64())
            items = [item for value in values if value is not None for item in value]
            return joined_lists(self._convert(items, kind.value_type), lengths)
        if self._typed and not pa.types.is_decimal(kind) and kind not in (DATE, MOMENT):
            return pa.array(values, pa.float32()).cast(kind) if pa.types.is_float16(kind) else pa.array(values, kind)
        return from_text(as_text([None if value is None else str(value) for value in values]), kind)


def as_text(values: Sequence[str | None]) -> pa.Array:
    """Return texts as large_string. Halves of characters become bytes that are not UTF-8, for a check to find."""
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError:
        encoded = [None if value is None else _encode(value) for value in values]
        return pa.array(encoded, FILES).view(TEXT)


def _encode(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")  # what the file had, before `open_text` decoded it
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a file of text, unpacked if its name ends in .gz or .zst. UTF-16 is read if the file begins with its mark.

    Line breaks stay as they are. Bytes that are not UTF-8 become surrogates, see `as_text`.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as raw, _unpacked(path, raw) as stream:
        buffered = io.BufferedReader(stream)
        wide = buffered.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        encoding = "utf-16" if wide else "utf-8-sig"
        yield io.TextIOWrapper(buffered, encoding, errors="surrogateescape", newline="")


def _unpacked(path: Path, raw: IO[bytes]) -> Any:
    name = path.name.lower()
    if name.endswith(".gz"):
        return gzip.open(raw)  # Arrow would not notice that the end is missing
    return pa.CompressedInputStream(raw, "zstd") if name.endswith(".zst") else raw


def _take(rows: Iterator[tuple[Row, int]], size: int) -> list[Row]:
    """Return the next rows: at most `size`, and at least one that fits into memory."""
    held: list[Row] = []
    length = 0
    while len(held) < size and length < _HELD:
        row = next(rows, None)
        if row is None:
            break
        held.append(row[0])
        length += row[1]
    return held
