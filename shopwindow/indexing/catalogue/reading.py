"""Read a catalogue: its products, ready to embed, and a list of the rows left out, with reasons."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.columns import (
    ID,
    IMAGE,
    TITLE,
    align_columns,
    broken_text,
    check_columns,
    decode_dictionaries,
    decoded_field,
    read_records,
    unify_columns,
    values,
)
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.id_set import IdSet
from shopwindow.retrieval.embedding.product_inputs import ProductBatch, ProductPreprocessor, concatenate
from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import filterable


@dataclass(frozen=True, kw_only=True)
class CatalogRows:
    """Consecutive rows of a catalogue, as read.

    Attributes:
        start: number of the first row, from 0, over all files.
        ids: product ids; None where missing.
        titles: empty where missing.
        images: encoded photos, empty where missing.
        refused: position -> reason, of the rows with a bad id or with text that is not UTF-8. Photos are checked later.
        attributes: title and the filterable columns, one row per catalogue row.
        source: name of the file, and number of its first row here; None if the catalogue is one file.
    """

    start: int
    ids: list[int | None]
    titles: list[str]
    images: list[bytes]
    refused: dict[int, str]
    attributes: pa.Table
    source: tuple[str, int] | None = None

    @cached_property
    def usable(self) -> list[int]:
        """Positions of the rows that are not refused."""
        return [position for position in range(len(self.ids)) if position not in self.refused]


@dataclass(frozen=True, kw_only=True)
class CatalogBatch:
    """Products, prepared for the product tower.

    Attributes:
        rows: catalogue rows read for the batch, including the skipped ones.
        product_ids: (products,) int64.
        batch: the tower's inputs; None if every row was skipped.
        attributes: title and the filterable columns, one row per product.
    """

    rows: int
    product_ids: np.ndarray
    batch: ProductBatch | None
    attributes: pa.Table


class Catalog:
    """Parquet files with product_id, title, image and any attribute columns. Title or image may be absent.

    Several files are one catalogue, in order. A column that a file lacks is empty there.

    Args:
        inputs: a file, or several inputs as in `catalog_files`.

    Raises:
        CatalogError: a file is unreadable, a needed column is missing or of the wrong type, or two files give a column
            different types.
    """

    def __init__(self, inputs: Path | Sequence[Path]) -> None:
        self.files = catalog_files([inputs] if isinstance(inputs, Path) else inputs)
        metadata = [check_columns(file) for file in self.files]
        self._starts = [0, *accumulate(rows for rows, _ in metadata)]
        self.rows: int = self._starts[-1]
        kept = [
            pa.schema([decoded_field(f) for f in s if f.name in (TITLE,) or filterable(f.type)]) for _, s in metadata
        ]
        self.schema = unify_columns(self.files, [schema.remove_metadata() for schema in kept])
        names = dict.fromkeys(name for _, schema in metadata for name in schema.names)
        self.unfilterable = tuple(name for name in names if name not in (ID, IMAGE, *self.schema.names))

    @property
    def groups(self) -> list[tuple[int, int]]:
        """First row, and row after the last, of each row group. A row group can be read without reading other rows."""
        found = []
        for file, first in zip(self.files, self._starts, strict=False):
            with pq.ParquetFile(file) as parquet:
                rows = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
            ends = list(accumulate(rows, initial=first))
            found += [(first, after) for first, after in pairwise(ends) if first < after]
        return found

    def source(self, row: int) -> tuple[str, int] | None:
        """Return the name of the file that holds a row, and the row's number in it; None if there is only one file."""
        if len(self.files) == 1:
            return None
        number = bisect_right(self._starts, row) - 1
        return self.files[number].name, row - self._starts[number]

    def read(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[CatalogRows]:
        """Read rows in order, in constant memory.

        Args:
            size: at most this many rows at a time.
            start: number of the first row to read.
            stop: number of the row before which to stop; None reads to the end.
        """
        stop = self.rows if stop is None else stop
        for file, first, after in zip(self.files, self._starts, self._starts[1:], strict=False):
            if start < after and first < stop:
                for at, records in read_records(file, size, max(0, start - first), min(after, stop) - first):
                    yield self._rows(first + at, decode_dictionaries(records))

    def _rows(self, start: int, records: pa.RecordBatch) -> CatalogRows:
        ids = records.column(ID).to_pylist()
        refused = broken_text(records)
        for position, product_id in enumerate(ids):
            if position not in refused and (product_id is None or not 0 <= product_id < 2**63):
                refused[position] = f"{ID}: must be from 0 to 2^63 - 1"
        return CatalogRows(
            start=start,
            ids=ids,
            titles=values(records, TITLE, ""),
            images=values(records, IMAGE, b""),
            refused=refused,
            attributes=align_columns(records, self.schema),
            source=self.source(start),
        )

    def batches(self, preprocess: ProductPreprocessor, size: int, skipped: Skipped) -> Iterator[CatalogBatch]:
        """Read the whole catalogue in order, and prepare it for the product tower.

        Args:
            preprocess: turns titles and photos into the tower's inputs.
            size: rows read at a time.
            skipped: receives the rows left out: no id, an id seen before, neither title nor photo, a broken photo.
        """
        seen = IdSet()
        for rows in self.read(size):
            batch, refused = prepare(rows, preprocess)
            kept, ids = keep(rows, refused, seen, skipped)
            prepared = [position for position in rows.usable if position not in refused]
            chosen = np.flatnonzero(np.isin(prepared, kept))
            if batch is not None and len(chosen) < len(prepared):
                batch = ProductBatch(**{name: array[chosen] for name, array in batch.tensors().items()})
            yield CatalogBatch(
                rows=len(rows.ids),
                product_ids=ids,
                batch=batch if kept else None,
                attributes=rows.attributes.take(pa.array(kept, pa.int64())),
            )


def prepare(rows: CatalogRows, preprocess: ProductPreprocessor) -> tuple[ProductBatch | None, dict[int, str]]:
    """Prepare the usable rows for the product tower.

    Returns:
        The tower's inputs, one row per usable row that was not refused, and position -> reason of the refused ones.
    """
    titles, images = [rows.titles[i] for i in rows.usable], [rows.images[i] for i in rows.usable]
    if not titles:
        return None, {}
    try:
        return preprocess(titles, images), {}
    except InvalidRequest:
        pass  # a row is at fault: prepare them one by one
    prepared: list[ProductBatch] = []
    refused: dict[int, str] = {}
    for position, title, image in zip(rows.usable, titles, images, strict=True):
        try:
            prepared.append(preprocess([title], [image]))
        except InvalidRequest as error:
            refused[position] = str(error).replace("[0]", "")
    return concatenate(prepared) if prepared else None, refused


def keep(rows: CatalogRows, refused: dict[int, str], seen: IdSet, skipped: Skipped) -> tuple[list[int], np.ndarray]:
    """Decide which rows are indexed. Of rows with the same id, it is the first usable one.

    Args:
        rows: as read.
        refused: position -> reason, of the rows that were refused after reading.
        seen: ids indexed so far; receives the kept ones.
        skipped: receives the rows left out.

    Returns:
        The positions of the kept rows, and their ids, (kept,) int64.
    """
    at_reading = set(rows.refused)
    valid = np.array([0 if i in at_reading else rows.ids[i] for i in range(len(rows.ids))], dtype=np.int64)
    known = seen.known(valid)
    new: dict[int, int] = {}
    for position, product_id in enumerate(rows.ids):
        if position in at_reading:
            reason = rows.refused[position]
        elif known[position] or product_id in new:
            reason = f"{ID}: appears twice"
        elif position in refused:
            reason = refused[position]
        else:
            new[int(valid[position])] = position
            continue
        if rows.source is not None:
            reason += f" (row {rows.source[1] + position} of {rows.source[0]})"
        skipped.add(rows.start + position, product_id, reason)
    ids = np.fromiter(new, dtype=np.int64, count=len(new))
    seen.add(ids)
    return list(new.values()), ids
