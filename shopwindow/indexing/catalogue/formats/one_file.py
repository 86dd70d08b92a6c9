"""What every format offers, so that a catalogue can be read without knowing formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

import pyarrow as pa

from shopwindow.indexing.catalogue.possible_types import PossibleTypes

ColumnType: TypeAlias = pa.DataType | PossibleTypes
"""The type of a column, or what it could be if the format does not say it."""


class Rows(Protocol):
    """The rows of one file. They come in the same order each time.

    Attributes:
        rows: how many there are.
        names: names of the columns, as often as the file has them.
        columns: name -> type, plain as in `shopwindow.indexing.catalogue.plain_types`.
        groups: first row, and row after the last, of each part that can be read without reading the other parts.
    """

    rows: int
    names: list[str]
    columns: dict[str, ColumnType]
    groups: list[tuple[int, int]]

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int, stop: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read rows in order, in constant memory.

        Args:
            types: the columns to read, each with the type to give it: its own, or one that it could have.
            size: at most this many rows at a time.
            start: number of the first row to read, from 0.
            stop: number of the row before which to stop.

        Yields:
            The number of a batch's first row, and the batch.

        Raises:
            CatalogError: the file changed or is damaged.
        """
        ...
