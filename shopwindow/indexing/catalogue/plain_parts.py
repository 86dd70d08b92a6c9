"""Copy a catalogue into parquet, part by part, so that a copy that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.product_keys import key_numbers
from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Reasons, Skipped
from shopwindow.base.whole_folders import sync
from shopwindow.indexing.catalogue.id_set import ProductSet
from shopwindow.indexing.catalogue.options import ID, IMAGE
from shopwindow.indexing.catalogue.photos.first_look import problem_of
from shopwindow.indexing.catalogue.photos.reader import Unread
from shopwindow.indexing.catalogue.plain_types import FILES, TEXT
from shopwindow.indexing.catalogue.possible_types import WHOLE
from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows, keep

_ROWS = 256  # read at a time
_GROUP, _PART = 32 * 2**20, 256 * 2**20  # bytes of a row group, which memory holds, and of a part
_SAID = b"shopwindow"  # in the metadata of a file


def said_in(file: Path) -> Any:
    """Return what was noted in a file that `write_parts` or `join_parts` wrote."""
    return json.loads(pq.read_metadata(file).metadata[_SAID])


def write_parts(catalog: Catalog, folder: Path, *, photos: bool, progress: bool = True) -> None:
    """Write the parts of a copy that are not there yet.

    Args:
        catalog: the catalogue.
        folder: where the parts are, each named by its first row.
        photos: whether to copy the photos, one of each product.
        progress: show a bar.

    Raises:
        CatalogError: a file is damaged or changed, or no photo can be fetched any more.
    """
    seen, at = ProductSet(), 0
    for part in _parts(folder):
        ids = pq.read_table(part, columns=[ID])[ID]
        keys = ids.to_pylist() if catalog.text_ids else []
        seen.add(key_numbers(keys) if catalog.text_ids else ids.to_numpy(), keys)
        at = said_in(part)["after"]
    with progress_bar(
        total=catalog.rows, initial=at, desc="copying the catalogue", unit="row", enabled=progress, delay=1.0
    ) as bar:
        rows = catalog.read(_ROWS, at, photos=1 if photos else 0)
        while at < catalog.rows or not any(_parts(folder)):
            new = folder / ".part.new"
            after = _write_part(new, catalog, rows, seen, photos=photos, at=at, bar=bar)
            sync(new)
            new.replace(folder / f"part-{at:012}.parquet")
            at = after


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _write_part(
    file: Path,
    catalog: Catalog,
    rows: Iterator[CatalogRows],
    seen: ProductSet,
    *,
    photos: bool,
    at: int,
    bar: Any,
) -> int:
    """Write a part, and return the number of the row after it."""
    skipped, unread = Skipped(), Skipped()
    schema = _schema(catalog, photos=photos)
    held: list[pa.Table] = []
    waiting = written = 0
    with pq.ParquetWriter(file, schema) as writer:
        for some in rows:
            held.append(_table(some, schema, seen, skipped, unread))
            waiting += held[-1].nbytes
            if waiting >= _GROUP:
                writer.write_table(pa.concat_tables(held))
                held, written, waiting = [], written + waiting, 0
            at = some.start + len(some.ids)
            bar.update(len(some.ids))
            if written + waiting >= _PART:
                break
        if held:
            writer.write_table(pa.concat_tables(held))
        said = {"after": at, "skipped": skipped.rows, "unread": unread.rows}
        writer.add_key_value_metadata({_SAID: json.dumps(said)})
    return at


def _schema(catalog: Catalog, *, photos: bool) -> pa.Schema:
    fields = [pa.field(ID, TEXT if catalog.text_ids else WHOLE), *catalog.schema]
    if photos and any(IMAGE in file.columns for file in catalog.parts):
        fields.append(pa.field(IMAGE, FILES))
    return pa.schema(fields)


def _table(rows: CatalogRows, schema: pa.Schema, seen: ProductSet, skipped: Skipped, unread: Skipped) -> pa.Table:
    problems: dict[int, str] = {}
    for position, some in enumerate(rows.photos):
        # Whoever decodes the photos sees which are broken; only where that decides about the product it counts here.
        if some and (rows.photo_needed or isinstance(some[0], Unread)) and (problem := problem_of(some[0])):
            problems[position] = problem
    kept, ids, keys = keep(rows, problems if rows.photo_needed else {}, seen, skipped)
    for position in kept:
        if position in problems:
            unread.add(rows.start + position, rows.shop_id(position), rows.located(position, problems[position]))
    found = rows.attributes.take(pa.array(kept, pa.int64()))
    columns = {name: found[name] for name in schema.names if name not in (ID, IMAGE)}
    columns[ID] = pa.array(ids if keys is None else keys, schema.field(ID).type)
    if IMAGE in schema.names:
        images = rows.images
        columns[IMAGE] = pa.array([images[position] or None for position in kept], FILES)
    return pa.table(columns, schema=schema)


def join_parts(folder: Path, file: Path, notes: Iterable[str]) -> None:
    """Join the parts into one file, and remove them. What they left out is noted after `notes`, a line each."""
    parts = _parts(folder)
    left_out, unread = Reasons(), Reasons()
    new = folder / f".{file.name}.new"
    with pq.ParquetWriter(new, pq.read_schema(parts[0])) as writer:
        for part in parts:
            said = said_in(part)
            for reasons, name in ((left_out, "skipped"), (unread, "unread")):
                for row in said[name]:
                    reasons.add(*row)
            with pq.ParquetFile(part) as opened:
                for group in range(opened.num_row_groups):
                    writer.write_table(opened.read_row_group(group))
        lines = [
            *notes,
            *(f"left out: {one}" for one in left_out.listed()),
            *(f"without a photo, because it cannot be read: {one}" for one in unread.listed()),
        ]
        writer.add_key_value_metadata({_SAID: json.dumps(lines)})
    sync(new)
    new.replace(file)
    for part in parts:
        part.unlink()
