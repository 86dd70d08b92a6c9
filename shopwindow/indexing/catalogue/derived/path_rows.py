"""Columns that the folders in a file's path hold, as `colour=red/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from shopwindow.indexing.catalogue.files import path_columns
from shopwindow.indexing.catalogue.formats.one_file import ColumnType, Rows
from shopwindow.indexing.catalogue.plain_types import TEXT
from shopwindow.indexing.catalogue.possible_types import PossibleTypes, from_text


class PathRows:
    """The rows of a file with the columns of its path, see `shopwindow.indexing.catalogue.formats.one_file.Rows`.

    A column in the file counts more than one in its path.

    Attributes:
        in_path: name -> value, of the columns that only the path holds.
    """

    def __init__(self, rows: Rows, path: Path) -> None:
        self._rows = rows
        self.rows, self.groups = rows.rows, rows.groups
        self.in_path = {n: value for n, value in path_columns(path).items() if n not in rows.columns}
        self.names = [*rows.names, *self.in_path]
        self.columns: dict[str, ColumnType] = dict(rows.columns)
        for name, value in self.in_path.items():
            possible = PossibleTypes()
            possible.see_text(pa.array([value], TEXT), 0)
            self.columns[name] = possible

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int, stop: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See `Rows`."""
        in_file = {name: kind for name, kind in types.items() if name not in self.in_path}
        constant = [
            (name, from_text(pa.array([self.in_path[name]], TEXT), kind)[0])
            for name, kind in types.items()
            if name in self.in_path
        ]
        for at, records in self._rows.read(in_file, size, start, stop):
            for name, value in constant:
                records = records.append_column(name, pa.repeat(value, records.num_rows))
            yield at, records
