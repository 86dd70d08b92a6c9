"""Reading a catalogue: parquet rows in, products worth embedding out, and a list of the rest with reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from export.errors import CatalogError
from retrieval.attributes import filterable
from retrieval.errors import InvalidRequest
from retrieval.products import ProductBatch, ProductPreprocessor, concatenate
from retrieval.skipped import Skipped

ID, TITLE, IMAGE = "product_id", "title", "image"


@dataclass(frozen=True, kw_only=True)
class CatalogBatch:
    """Some products, prepared for the product tower.

    Attributes:
        rows: catalogue rows read for it, the skipped ones included.
        product_ids: (products,) int64.
        batch: the tower's inputs; None when every row was skipped.
        attributes: title and the filterable columns, one row per product.
    """

    rows: int
    product_ids: np.ndarray
    batch: ProductBatch | None
    attributes: pa.Table


class Catalog:
    """A parquet file with product_id, title and image (either may be absent) and any attribute columns.

    Args:
        file: the parquet file.

    Raises:
        CatalogError: unreadable, or a needed column is missing or of the wrong type.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._parquet = pq.ParquetFile(file)
        except (OSError, pa.ArrowException) as error:
            raise CatalogError(f"catalog: cannot read {file} as parquet: {error}") from error
        schema = self._parquet.schema_arrow
        names = set(schema.names)
        if ID not in names or not pa.types.is_integer(schema.field(ID).type):
            raise CatalogError(f"catalog: {file} needs an integer column {ID!r}; it has {sorted(names)}")
        if not names & {TITLE, IMAGE}:
            raise CatalogError(f"catalog: {file} needs a column {TITLE!r} or {IMAGE!r}; it has {sorted(names)}")
        if TITLE in names and not _holds_text(schema.field(TITLE).type):
            raise CatalogError(f"catalog: column {TITLE!r} of {file} must be text, got {schema.field(TITLE).type}")
        if IMAGE in names and not _holds_files(schema.field(IMAGE).type):
            raise CatalogError(
                f"catalog: column {IMAGE!r} of {file} must hold encoded photos (binary, or a struct with a binary "
                f"field 'bytes'), got {schema.field(IMAGE).type}"
            )
        self.file = file
        self.rows: int = self._parquet.metadata.num_rows
        self._columns = [f.name for f in schema if f.name in (ID, TITLE, IMAGE) or filterable(f.type)]
        self.unfilterable = tuple(f.name for f in schema if f.name not in self._columns)

    def batches(self, preprocess: ProductPreprocessor, size: int, skipped: Skipped) -> Iterator[CatalogBatch]:
        """Read the whole catalogue in order.

        Args:
            preprocess: turns titles and photos into the tower's inputs.
            size: rows read at a time.
            skipped: receives the rows left out: no id, an id seen before, neither title nor photo, a broken photo.
        """
        seen: set[int] = set()
        start = 0
        for records in self._parquet.iter_batches(batch_size=size, columns=self._columns):
            records = _plain(records)
            kept: list[int] = []
            prepared: list[ProductBatch] = []
            ids = records.column(ID).to_pylist()
            broken = _broken_text(records)
            titles = _values(records, TITLE, "")
            images = _values(records, IMAGE, b"")
            for position, (product_id, title, image) in enumerate(zip(ids, titles, images, strict=True)):
                if position in broken:
                    skipped.add(start + position, product_id, broken[position])
                elif product_id is None or not 0 <= product_id < 2**63:
                    skipped.add(start + position, product_id, f"{ID}: must be from 0 to 2^63 - 1")
                elif product_id in seen:
                    skipped.add(start + position, product_id, f"{ID}: appears twice")
                else:
                    try:
                        prepared.append(preprocess([title], [image]))
                    except InvalidRequest as error:
                        skipped.add(start + position, product_id, str(error).replace("[0]", ""))
                    else:
                        seen.add(product_id)
                        kept.append(position)
            table = pa.Table.from_batches([records]).take(pa.array(kept, pa.int64()))
            yield CatalogBatch(
                rows=records.num_rows,
                product_ids=np.array([ids[position] for position in kept], dtype=np.int64),
                batch=concatenate(prepared) if prepared else None,
                attributes=table.drop_columns([name for name in (ID, IMAGE) if name in table.column_names]),
            )
            start += records.num_rows


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_files(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind))


def _plain(records: pa.RecordBatch) -> pa.RecordBatch:
    """Dictionary columns decoded, as one broken entry of a dictionary would seem to break every row."""
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in records.columns]
    return pa.RecordBatch.from_arrays(columns, names=records.schema.names)


def _broken_text(records: pa.RecordBatch) -> dict[int, str]:
    """Positions whose text is not UTF-8, which parquet lets pass, with the reason."""
    try:
        records.validate(full=True)
        return {}
    except pa.ArrowInvalid:
        broken = {}
        for position in range(records.num_rows):
            try:
                # take, and not slice, which would still look at the neighbours' bytes
                records.take([position]).validate(full=True)
            except pa.ArrowInvalid as error:
                broken[position] = f"text that is not UTF-8: {error}".splitlines()[0]
        return broken


def _values(records: pa.RecordBatch, name: str, missing: Any) -> list[Any]:
    if name not in records.schema.names:
        return [missing] * records.num_rows
    column = records.column(name)
    # The Hugging Face layout of an image: a struct of bytes and path.
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
    values = []
    for value in column:
        try:
            plain = value.as_py()
        except UnicodeDecodeError:
            plain = None  # its row is left out by `_broken_text`
        values.append(missing if plain is None else plain)
    return values
