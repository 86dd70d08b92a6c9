"""The columns of a catalogue: which are needed, which types they may have, and how to read their values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import filterable

ID, TITLE, IMAGE = "product_id", "title", "image"
_READ_BUFFER = 2**20  # bytes of a column read at a time; without it memory would hold a row group's whole column


def check_columns(file: Path, option: str = "catalog", *, complete: bool = True) -> tuple[int, pa.Schema]:
    """Check that a file is a catalogue, or changes to one.

    Args:
        file: the parquet file.
        option: name of the option that gave the file; errors begin with it.
        complete: whether the file must have a column of titles or photos.

    Returns:
        The number of rows, and the schema.

    Raises:
        CatalogError: the file is unreadable, or a needed column is missing or of the wrong type.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            rows, schema = parquet.metadata.num_rows, parquet.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{option}: cannot read {file} as parquet: {error}") from error
    names = set(schema.names)
    if ID not in names or not pa.types.is_integer(schema.field(ID).type):
        raise CatalogError(f"{option}: {file} needs an integer column {ID!r}; it has {sorted(names)}")
    if complete and not names & {TITLE, IMAGE}:
        raise CatalogError(f"{option}: {file} needs a column {TITLE!r} or {IMAGE!r}; it has {sorted(names)}")
    if TITLE in names and not _holds_text(schema.field(TITLE).type):
        raise CatalogError(f"{option}: column {TITLE!r} of {file} must be text, got {schema.field(TITLE).type}")
    if IMAGE in names and not _holds_files(schema.field(IMAGE).type):
        raise CatalogError(
            f"{option}: column {IMAGE!r} of {file} must hold encoded photos (binary, or a struct with a binary "
            f"field 'bytes'), got {schema.field(IMAGE).type}"
        )
    return rows, schema


def unify_columns(files: Sequence[Path], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all files together. A column that a file lacks is empty there.

    Raises:
        CatalogError: two files give a column different types.
    """
    schema = pa.schema([f for f in schemas[0] if f.name not in (ID, IMAGE)])
    for file, other in zip(files[1:], schemas[1:], strict=True):
        for field in other:
            if field.name in (ID, IMAGE):
                continue
            place = schema.get_field_index(field.name)
            if place < 0:
                schema = schema.append(field)
            elif pa.types.is_null(schema.field(place).type):
                schema = schema.set(place, field)
            elif schema.field(place).type != field.type and not pa.types.is_null(field.type):
                raise CatalogError(
                    f"catalog: column {field.name!r} is {schema.field(place).type} in {files[0]} and {field.type} in "
                    f"{file}: write both with one type"
                )
    return schema


def decoded_field(field: pa.Field) -> pa.Field:
    """Return the field of a column after `decode_dictionaries`."""
    return pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)


def align_columns(records: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return records with the columns of a schema. A column that the records lack is empty."""
    columns = [
        records.column(field.name).cast(field.type)
        if field.name in records.schema.names and not pa.types.is_null(records.column(field.name).type)
        else pa.nulls(records.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_files(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind))


def decode_dictionaries(records: pa.RecordBatch) -> pa.RecordBatch:
    """Return records with decoded dictionary columns.

    Otherwise one broken entry of a dictionary would make every row look broken.
    """
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in records.columns]
    return pa.RecordBatch.from_arrays(columns, names=records.schema.names)


def broken_text(records: pa.RecordBatch) -> dict[int, str]:
    """Return position -> reason of the rows whose text is not UTF-8. Parquet does not check that."""
    try:
        records.validate(full=True)
        return {}
    except pa.ArrowInvalid:
        broken = {}
        for position in range(records.num_rows):
            try:
                # Not slice: its validation would still read the neighbours' bytes.
                records.take([position]).validate(full=True)
            except pa.ArrowInvalid as error:
                broken[position] = f"text that is not UTF-8: {error}".splitlines()[0]
        return broken


def values(records: pa.RecordBatch, name: str, missing: Any) -> list[Any]:
    """Return a column's values; of photos, their bytes. `missing` stands for an absent value."""
    if name not in records.schema.names:
        return [missing] * records.num_rows
    column = records.column(name)
    # The Hugging Face layout of an image: a struct of bytes and path.
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
    found = []
    for entry in column:
        try:
            value = entry.as_py()
        except UnicodeDecodeError:
            value = None  # `broken_text` refuses this row
        found.append(missing if value is None else value)
    return found


def read_records(file: Path, size: int, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield a file's rows from `start` up to, but without, `stop`: the number of a batch's first row, and the batch."""
    with pq.ParquetFile(file, buffer_size=_READ_BUFFER) as parquet:
        schema = parquet.schema_arrow
        columns = [f.name for f in schema if f.name in (ID, TITLE, IMAGE) or filterable(f.type)]
        rows = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        ranges = list(pairwise(accumulate(rows, initial=0)))
        groups = [group for group, (first, after) in enumerate(ranges) if start < after and first < stop]
        at = ranges[groups[0]][0] if groups else 0
        for records in parquet.iter_batches(batch_size=size, row_groups=groups, columns=columns):
            skip, end = max(0, start - at), min(records.num_rows, stop - at)
            if skip < end:
                yield at + skip, records.slice(skip, end - skip)
            at += records.num_rows
