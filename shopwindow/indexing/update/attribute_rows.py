"""Merge the attribute rows of an index with those of an update."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from shopwindow.indexing.catalogue.options import TITLE


class Merge:
    """Records where each row of the next generation takes its attribute values from.

    Args:
        rows: number of rows of the served generation; new rows are numbered after them.
    """

    def __init__(self, rows: int) -> None:
        self.base = rows
        self.new_rows = 0
        self._tables: list[pa.Table] = []
        self._targets: list[int] = []  # rows of the next generation, one per row taken from the change file
        self._origins: list[int] = []  # of each new row, the row that it replaces; -1 if none
        self._renamed: list[bool] = []  # whether the title is taken, too

    def add(self, attributes: pa.Table, changes: dict[int, tuple[int, bool]]) -> None:
        """Add rows of a change file.

        Args:
            attributes: of all these rows.
            changes: position -> row in the served generation (-1 if none), and whether the product was embedded. An
                embedded product gets a new row.
        """
        for row, embedded in changes.values():
            self._targets.append(self.base + self.new_rows if embedded else row)
            self._renamed.append(embedded)
            if embedded:
                self._origins.append(row)
                self.new_rows += 1
        self._tables.append(attributes.take(pa.array(list(changes), pa.int64())))

    @property
    def rows(self) -> int:
        """Rows taken from the change file."""
        return len(self._targets)

    @property
    def superseded(self) -> np.ndarray:
        """Rows of the served generation that new rows replace, int64."""
        origins = np.array(self._origins, np.int64)
        return origins[origins >= 0]

    def sources(self, *, title: bool) -> np.ndarray:
        """Return where the value of each row of the next generation comes from, (rows,) int64.

        A number below `base` is a row of the served generation. Numbers from `base` on count the rows taken from the
        change file, in order. -1 means that there is no value.

        Args:
            title: whether the values are titles. A title comes from the change file only if the product was embedded
                with it.
        """
        sources = self.kept()
        taken = np.array(self._renamed, bool) | (not title)
        sources[np.array(self._targets, np.int64)[taken]] = self.base + np.flatnonzero(taken)
        return sources

    def kept(self) -> np.ndarray:
        """Return the same as `sources`, for a column that the change file lacks."""
        return np.concatenate([np.arange(self.base), np.array(self._origins, np.int64)])

    def table(self) -> pa.Table:
        """Return the rows taken from the change file, in order."""
        return pa.concat_tables(self._tables)


def merge_attributes(served: pa.Table, merge: Merge) -> pa.Table:
    """Return the attribute rows of the next generation.

    Args:
        served: attribute rows of the served generation.
        merge: what changes. A column that it lacks keeps its values, and is empty for new products.
    """
    changes = merge.table()
    columns = {}
    for name in dict.fromkeys([*served.column_names, *changes.column_names]):
        old = served[name] if name in served.column_names else None
        if name in changes.column_names:
            new = changes[name]
            old = pa.nulls(served.num_rows, new.type) if old is None else old.cast(new.type)
            parts, sources = _chunks(old) + _chunks(new), merge.sources(title=name == TITLE)
        else:
            assert old is not None  # the column is in one of the two
            parts, sources = _chunks(old), merge.kept()
        whole = pa.chunked_array(parts)
        columns[name] = whole.take(pa.array(sources, mask=sources < 0))
    return pa.table(columns)


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]
