"""A catalogue as one parquet file with the photos in it: what evaluation and training read.

A parquet file that is like that already stays where it is. Anything else is copied once into a cache, and taken from
there until its files change:

CACHE/<hash of paths and options>/about.json            what the rest was made from
CACHE/<hash of paths and options>/part-<row>.parquet    the parts of a copy that is not finished
CACHE/<hash of paths and options>/products.parquet      the copy
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shopwindow.base.checked_table import is_text
from shopwindow.base.default_places import user_cache
from shopwindow.base.machine import turn_to_load
from shopwindow.base.whole_folders import mark_of
from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.files import catalog_files, path_columns
from shopwindow.indexing.catalogue.formats.opening import is_parquet, open_rows
from shopwindow.indexing.catalogue.options import ID, IMAGE, TITLE, CatalogOptions
from shopwindow.indexing.catalogue.photos.options import PhotoOptions
from shopwindow.indexing.catalogue.plain_parts import join_parts, said_in, write_parts
from shopwindow.indexing.catalogue.plain_types import TEXT
from shopwindow.indexing.catalogue.product_ids import read_ids, wrong_id
from shopwindow.indexing.catalogue.reading import Catalog

_FORM = 1  # of the copies; another number makes them anew
_COPY, _ABOUT = "products.parquet", "about.json"
_IDS_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class PlainCatalog:
    """A catalogue as one parquet file: product_id, title, image with the bytes of a photo, and attributes.

    Attributes:
        file: the file.
        copied: whether it is a copy in the cache.
        notes: what the copy lacks, with figures, a line each.
    """

    file: Path
    copied: bool = False
    notes: tuple[str, ...] = ()


def plain_catalog(
    inputs: Sequence[Path],
    options: CatalogOptions,
    *,
    defaults: CatalogOptions | None = None,
    photos: bool = True,
    cache: Path | None = None,
    progress: bool = True,
) -> PlainCatalog:
    """Return a catalogue as one parquet file: the file itself, or a copy that is made now or was made before.

    A copy leaves rows out as `shopwindow index` does: those without a valid id, and those with the id of another row.
    Of several photos it has the first. It is made in constant memory beside 8 to 20 bytes for each id. If that is
    stopped, it goes on after the last finished part.

    Args:
        inputs: as in `catalog_files`.
        options: how the files are read.
        defaults: how they are read where `options` says nothing. What concerns columns that they lack does not count.
        photos: whether the photos are needed.
        cache: folder of the copies; None for `shopwindow/catalogues` in the user's cache folder.
        progress: show a bar.

    Raises:
        CatalogError: the files are no catalogue, or none of the first photos can be read.
        OSError: the cache cannot be written.
    """
    files = catalog_files(inputs)
    defaults = defaults or CatalogOptions()
    if len(files) == 1 and is_parquet(files[0]) and _is_plain(files[0], _effective(options, defaults, files)):
        return PlainCatalog(file=files[0])
    names = list(map(str, files))
    told = json.dumps([_FORM, names, options.to_json(), defaults.to_json(), photos])
    folder = (cache or user_cache("catalogues")) / hashlib.sha256(told.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    copy, about = folder / _COPY, folder / _ABOUT
    made_from = json.dumps({"files": names, "marks": list(map(mark_of, files))})
    with _swept(folder), turn_to_load(folder):  # the processes of one training want the same copy
        if not about.exists() or about.read_text() != made_from:
            for old in (about, *folder.glob("*.parquet")):
                old.unlink(missing_ok=True)
        if not copy.exists():
            catalog = Catalog(files, _effective(options, defaults, files))
            if photos:
                catalog.check_photos(1)
            about.write_text(made_from)
            write_parts(catalog, folder, photos=photos, progress=progress)
            join_parts(folder, copy, [f"column {name!r} is left out: {why}" for name, why in catalog.left_out.items()])
        return PlainCatalog(file=copy, copied=True, notes=tuple(said_in(copy)))


@contextmanager
def _swept(folder: Path) -> Iterator[None]:
    """Remove the folder afterwards if nothing was written into it."""
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def _effective(options: CatalogOptions, defaults: CatalogOptions, files: Sequence[Path]) -> CatalogOptions:
    names = {name for file in files for name in (*open_rows(file, "catalog").names, *path_columns(file))}
    return options.over(defaults.within(names))


def _is_plain(path: Path, options: CatalogOptions) -> bool:
    """Return whether a parquet file can be read as it is."""
    # Photos that are bytes in the file are read in one way only.
    if replace(options, photos=PhotoOptions(unreadable=options.photos.unreadable)) != CatalogOptions():
        return False
    file = CatalogFile(path, options=options)
    kinds = {field.name: field.type for field in pq.read_schema(path)}
    title, image = (kinds.get(name, pa.null()) for name in (TITLE, IMAGE))
    photos = pa.types.is_null(image) or pa.types.is_binary(image) or pa.types.is_large_binary(image)
    if path_columns(path) or not photos or not (pa.types.is_null(title) or is_text(title)):
        return False
    file.text_ids = file.ids == TEXT
    ids = [records for _, records in file.read({}, _IDS_AT_ONCE, own=[ID])]
    if any(wrong_id(one) is not None for records in ids for one in read_ids(records)):
        return False
    return not ids or pc.count_distinct(pa.Table.from_batches(ids)[ID]).as_py() == file.rows
