"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import accumulate, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shopwindow.indexing.catalogue.formats.one_file import ColumnType
from shopwindow.indexing.catalogue.plain_types import DATE, MOMENT, plain, plain_type
from shopwindow.indexing.errors import CatalogError

_READ_BUFFER = 2**20  # bytes of a column read at a time; without it memory would hold a row group's whole column
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DAY = 24 * 60 * 60 * 10**6  # microseconds
_FIRST_DAY = date.min.toordinal() - date(1970, 1, 1).toordinal()  # of those that ISO 8601 and Python can write
_END_DAY = date.max.toordinal() + 1 - date(1970, 1, 1).toordinal()


class ParquetRows:
    """The rows of a parquet file, see `shopwindow.indexing.catalogue.formats.one_file.Rows`."""

    def __init__(self, path: Path, option: str) -> None:
        self._path, self._option = path, option
        try:
            with pq.ParquetFile(path) as parquet:
                rows = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
                schema = parquet.schema_arrow
        except (OSError, pa.ArrowException) as error:
            raise CatalogError(f"{option}: cannot read {path} as parquet: {error}") from error
        self.groups = list(pairwise(accumulate(rows, initial=0)))
        self.rows = sum(rows)
        self.names = list(schema.names)
        self._fixed = {field.name for field in schema if pa.types.is_fixed_size_list(field.type)}
        self.columns: dict[str, ColumnType] = {field.name: plain_type(field.type) for field in schema}

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int, stop: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See `Rows`."""
        groups = [group for group, (first, after) in enumerate(self.groups) if start < after and first < stop]
        at = self.groups[groups[0]][0] if groups else 0
        try:
            with pq.ParquetFile(self._path, buffer_size=_READ_BUFFER) as parquet:
                for records in parquet.iter_batches(batch_size=size, row_groups=groups, columns=list(types)):
                    skip, end = max(0, start - at), min(records.num_rows, stop - at)
                    if skip < end:
                        yield at + skip, self._typed(records.slice(skip, end - skip), types, at + skip)
                    at += records.num_rows
        except (OSError, pa.ArrowException) as error:
            fixed = [name for name in types if name in self._fixed]
            hint = f"; if lists of a fixed size, here {fixed}, lack values, write them as usual lists" if fixed else ""
            message = f"{self._option}: cannot read {self._path} as parquet: {error}{hint}"
            raise CatalogError(message) from error

    def _typed(self, records: pa.RecordBatch, types: Mapping[str, pa.DataType], start: int) -> pa.RecordBatch:
        columns = {}
        for name, kind in types.items():
            given = records.column(name)
            try:
                columns[name] = _column(given, kind)
            except pa.ArrowInvalid:
                if not pa.types.is_temporal(given.type):
                    raise
                row = next(row for row in range(len(given)) if not _fits(given.slice(row, 1), kind))
                value = given.slice(row, 1).view(pa.int32() if given.type == DATE else pa.int64())[0]
                unit = "days" if given.type == DATE else _UNITS[getattr(given.type, "unit", "ms")]  # ms: date64
                raise CatalogError(
                    f"{self._option}: column {name!r} of {self._path}: row {start + row} has {value} {unit} since "
                    "1970, which is no date from the year 1 to 9999; write null for dates that are not known"
                ) from None
        return pa.RecordBatch.from_pydict(columns)


def _column(given: pa.Array, kind: pa.DataType) -> pa.Array:
    column = plain(given)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    if kind in (DATE, MOMENT) and len(column):
        numbers = column.view(pa.int32() if column.type == DATE else pa.int64())
        day = 1 if column.type == DATE else _DAY
        least, most = pc.min_max(numbers).values()
        if least.is_valid and (least.as_py() < _FIRST_DAY * day or most.as_py() >= _END_DAY * day):
            raise pa.ArrowInvalid("a date that no filter can name")
    return column.cast(kind)


def _fits(given: pa.Array, kind: pa.DataType) -> bool:
    try:
        _column(given, kind)
    except pa.ArrowInvalid:
        return False
    return True
