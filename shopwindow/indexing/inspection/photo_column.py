"""What the photo column of a catalogue holds, and how many rows lack a photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.options import IMAGE
from shopwindow.indexing.catalogue.photos.sources import source_words, sources
from shopwindow.indexing.catalogue.plain_types import FILES
from shopwindow.indexing.catalogue.reading import Catalog


def holds_bytes(kind: pa.DataType) -> bool:
    """Return whether photos of this type are bytes in the catalogue, so that reading them takes long."""
    if pa.types.is_struct(kind):
        return any(holds_bytes(part.type) for part in kind.fields)
    if hasattr(kind, "value_type"):
        return holds_bytes(kind.value_type)
    return bool(kind == FILES)


def has_photo_bytes(file: CatalogFile) -> bool:
    """Return whether the photos of a file are bytes in it."""
    kind = file.columns.get(IMAGE)
    return isinstance(kind, pa.DataType) and holds_bytes(kind)


def rows_without_photo(catalog: Catalog, counted: int) -> int | None:
    """Return how many rows lack a photo; None if only reading the photos would tell.

    Args:
        catalog: the catalogue.
        counted: rows that were seen to have a photo, in the files whose photos are not bytes.
    """
    unread = [file for file in catalog.parts if has_photo_bytes(file)]
    missing = [_noted_missing(file, catalog.options.sources(IMAGE)) for file in unread]
    read = catalog.rows - sum(file.rows for file in unread)
    return None if None in missing else read - counted + sum(some or 0 for some in missing)


def _noted_missing(file: CatalogFile, sources: Sequence[str]) -> int | None:
    """Return how many rows lack a photo, from the counts that a parquet file keeps of each of its parts."""
    with pq.ParquetFile(file.path) as parquet:
        about = parquet.metadata
    missing = 0
    for group in range(about.num_row_groups):
        columns = [about.row_group(group).column(place) for place in range(about.num_columns)]
        found = {one.path_in_schema: one for one in columns}
        counts = [found[name] for name in sources if name in found] or [
            one for name, one in found.items() if name in {f"{source}.bytes" for source in sources}
        ]
        if len(counts) != 1 or counts[0].statistics is None or not counts[0].statistics.has_null_count:
            return None
        missing += counts[0].statistics.null_count
        if missing and f"{sources[0]}.path" in found:  # a photo may be a path where its bytes are missing
            return None
    return missing


def photo_words(catalog: Catalog, sample: Sequence[Any]) -> str:
    """Return what the photos are: bytes in the catalogue, paths, addresses, base64."""
    kinds = Counter(source_words(source) for value in sample for source in sources(value))
    words = [word for word, _ in kinds.most_common()]
    if any(map(has_photo_bytes, catalog.parts)):
        words.append("bytes")
    return ", ".join(dict.fromkeys(words)) or "no value in any row"
