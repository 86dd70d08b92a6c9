"""Read changes to a catalogue, and decide which products must be embedded and which only change attributes.

A change file is parquet with product_id and any of the catalogue's columns. As in a catalogue, an empty title or image
means that there is none. A row with neither leaves the product's title and photo as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.indexing.catalogue.columns import (
    ID,
    IMAGE,
    TITLE,
    broken_text,
    check_columns,
    decode_dictionaries,
    values,
)
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.update.next_generation import Generation
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.pipeline import TOWER_ROWS

_ATTRIBUTE_ROWS = 16_384  # rows read at a time if there is nothing to embed
_GIVE_BOTH = (
    "{changed}: changed, but the file has no column {absent!r}: give both, because they are embedded together, or "
    "leave both columns out to change attributes only"
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row of the change file.

    Attributes:
        product_id: its id.
        row: the product's row in the index; -1 if it is new.
        content: title and photo to embed, empty if there is none; None if only attributes change.
    """

    product_id: int
    row: int
    content: tuple[str, bytes] | None = None


@dataclass(frozen=True, kw_only=True)
class ChangedRows:
    """Consecutive rows of the change file.

    Attributes:
        start: number of the first row, from 0.
        ids: product ids as given; None where missing.
        changes: position -> what the row changes.
        refused: position -> reason, of the rows that are left out.
        attributes: the file's title and attribute columns, in the index's types, one row for each row of the file.
    """

    start: int
    ids: list[int | None]
    changes: dict[int, Change]
    refused: dict[int, str]
    attributes: pa.Table


class LiveProducts:
    """The products of a generation that can be found, by id.

    Args:
        generation: the generation.
    """

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._rows = np.flatnonzero(generation.alive)
        self._rows = self._rows[np.argsort(generation.product_ids[self._rows], kind="stable")]
        self._ids = generation.product_ids[self._rows]

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of product ids, both (n,) int64; -1 if there is no such product."""
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[places] == ids, self._rows[places], -1)

    def titles(self, rows: np.ndarray) -> list[str]:
        """Return the titles of rows, (n,) int64; empty if there is none or the row is -1."""
        table = self.generation.attributes
        if TITLE not in table.column_names:
            return [""] * len(rows)
        return [title or "" for title in table[TITLE].take(pa.array(rows, mask=rows < 0)).to_pylist()]


class ChangeFile:
    """A change file that fits an index.

    Args:
        file: the parquet file.
        products: the products of the index.

    Raises:
        CatalogError: the file is unreadable, has no product_id, or has a column that the index does not know.
    """

    def __init__(self, file: Path, products: LiveProducts) -> None:
        self.rows, schema = check_columns(file, "changes", complete=False)
        manifest, attributes = products.generation.manifest, products.generation.attributes.schema
        known = {ID, TITLE, IMAGE, *attributes.names, *manifest.unfilterable}
        if unknown := [name for name in schema.names if name not in known]:
            raise CatalogError(
                f"changes: {file} has columns that the index does not know: {', '.join(unknown)}; the index has "
                f"{', '.join(sorted(known))}. Leave them out, or build the index again from a catalogue with them"
            )
        self._file, self._products = file, products
        self._columns = [name for name in schema.names if name in {ID, IMAGE, TITLE, *attributes.names}]
        self._types = {name: attributes.field(name).type for name in self._columns if name in attributes.names}
        if TITLE in self._columns and pa.types.is_null(self._types.get(TITLE, pa.null())):
            self._types[TITLE] = pa.string()  # no product of the index has a title yet

    def read(self) -> Iterator[ChangedRows]:
        """Read the file in order, in constant memory.

        Raises:
            CatalogError: values of a column cannot be converted to the type that the index has.
        """
        start, size = 0, TOWER_ROWS if {TITLE, IMAGE} & {*self._columns} else _ATTRIBUTE_ROWS
        with pq.ParquetFile(self._file) as parquet:
            for records in parquet.iter_batches(batch_size=size, columns=self._columns):
                yield self._rows(start, decode_dictionaries(records))
                start += records.num_rows

    def _rows(self, start: int, records: pa.RecordBatch) -> ChangedRows:
        ids, refused = records.column(ID).to_pylist(), broken_text(records)
        for position, product_id in enumerate(ids):
            if position not in refused and (product_id is None or not 0 <= product_id < 2**63):
                refused[position] = f"{ID}: must be from 0 to 2^63 - 1"
        valid = np.array([-1 if i in refused else product_id for i, product_id in enumerate(ids)], np.int64)
        rows = self._products.find(valid)
        changes: dict[int, Change] = {}
        stored = self._products.titles(rows) if {TITLE, IMAGE} & {*self._columns} else [""] * len(ids)
        titles, images = values(records, TITLE, ""), values(records, IMAGE, b"")
        for position, row in enumerate(rows.tolist()):
            if position in refused:
                continue
            found = self._change(row, stored[position], titles[position], images[position])
            if isinstance(found, str):
                refused[position] = found
            else:
                changes[position] = Change(product_id=int(valid[position]), row=row, content=found)
        return ChangedRows(
            start=start, ids=ids, changes=changes, refused=refused, attributes=self._attributes(records, set(refused))
        )

    def _change(self, row: int, stored: str, title: str, image: bytes) -> tuple[str, bytes] | str | None:
        """Return what to embed; None if title and photo stay as they are; a reason if that cannot be decided.

        Args:
            row: -1 for a new product.
            stored: title in the index.
            title: title in the change file, or empty.
            image: photo in the change file, or empty.
        """
        if row < 0:
            return title, image
        content = int(self._products.generation.content[row])
        if not title and not image:
            return None
        if IMAGE not in self._columns:
            if title == stored:
                return None
            if content != content_hash(stored, b""):
                return _GIVE_BOTH.format(changed=TITLE, absent=IMAGE)
        elif TITLE not in self._columns:
            if content == content_hash(stored, image):
                return None
            if stored:
                return _GIVE_BOTH.format(changed=IMAGE, absent=TITLE)
        return None if content == content_hash(title, image) else (title, image)

    def _attributes(self, records: pa.RecordBatch, refused: set[int]) -> pa.Table:
        columns = {}
        for name, kind in self._types.items():
            column = records.column(name)
            if refused:  # refused rows may hold values that cannot be converted
                column = column.take(pa.array([None if i in refused else i for i in range(len(column))], pa.int64()))
            try:
                columns[name] = column.cast(kind)
            except pa.ArrowException as error:
                raise CatalogError(
                    f"changes: column {name!r} of {self._file} is {column.type}, in the index it is {kind}, and "
                    f"not all values can be converted ({error}): write the column with the index's type"
                ) from error
        return pa.table(columns)
