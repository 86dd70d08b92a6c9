"""Read a catalogue: its products, ready to embed, and a list of the rows left out, with reasons."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shopwindow.base.skipped_rows import Skipped
from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.catalog_file import CatalogFile, holds_texts
from shopwindow.indexing.catalogue.columns import (
    align_columns,
    check_named,
    decide_marks,
    photo_places,
    refused_rows,
    unify_columns,
    values,
)
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.id_set import ProductSet
from shopwindow.indexing.catalogue.options import ID, IMAGE, TITLE, CatalogOptions
from shopwindow.indexing.catalogue.photos.first_look import check_photos
from shopwindow.indexing.catalogue.photos.options import Unreadable
from shopwindow.indexing.catalogue.photos.reader import PhotoReader, Photos
from shopwindow.indexing.catalogue.photos.sources import place_of, sources
from shopwindow.indexing.catalogue.plain_types import FILES, MIXED
from shopwindow.indexing.catalogue.product_ids import Id, numbered, read_ids, same_number, settle_text_ids
from shopwindow.retrieval.embedding.bundle import PHOTOS_PER_PRODUCT
from shopwindow.retrieval.embedding.product_inputs import ProductBatch, ProductPreprocessor, concatenate
from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import filterable

_LOOKED_AT = 64  # rows at a time
_IDS_AT_ONCE = 65_536
_FETCHED_AHEAD = 2  # batches whose photos are on their way, so that a slow one holds up nothing


@dataclass(frozen=True, kw_only=True)
class CatalogRows:
    """Consecutive rows of a catalogue, as read.

    Attributes:
        start: number of the first row, from 0, over all files.
        ids: the numbers of the products: their ids, or the numbers of their text ids; None where missing.
        keys: the text ids, None where missing; None if ids are whole numbers.
        titles: empty where missing.
        photos: of each product, those that were asked for. They are decoded later, and may still be broken.
        refused: position -> reason, of the rows with a bad id, or with text that is not UTF-8.
        attributes: the columns of `Catalog.stored`, one row per catalogue row.
        source: name of the file, and number of its first row here; None if the catalogue is one file.
        photo_needed: whether a product is left out if none of its photos can be read.
    """

    start: int
    ids: list[int | None]
    titles: list[str]
    photos: list[Photos]
    refused: dict[int, str]
    attributes: pa.Table
    source: tuple[str, int] | None = None
    photo_needed: bool = False
    keys: list[str | None] | None = None

    def shop_id(self, position: int) -> Id | None:
        """Return the id of a row as the shop has it."""
        return self.ids[position] if self.keys is None else self.keys[position]

    @cached_property
    def usable(self) -> list[int]:
        """Positions of the rows that are not refused."""
        return [position for position in range(len(self.ids)) if position not in self.refused]

    @property
    def images(self) -> list[bytes]:
        """The first photo of each product that was read; empty where there is none."""
        return [next((photo for photo in some if isinstance(photo, bytes)), b"") for some in self.photos]

    def located(self, position: int, reason: str) -> str:
        """Return a reason with the file and the row in it, if the catalogue has several files."""
        return reason if self.source is None else f"{reason} (row {self.source[1] + position} of {self.source[0]})"


@dataclass(frozen=True, kw_only=True)
class CatalogBatch:
    """Products, prepared for the product tower.

    Attributes:
        rows: catalogue rows read for the batch, including the skipped ones.
        product_ids: (products,) int64.
        product_keys: the text ids; None if ids are whole numbers.
        batch: the tower's inputs; None if every row was skipped.
        attributes: the columns of `Catalog.stored`, one row per product.
    """

    rows: int
    product_ids: np.ndarray
    batch: ProductBatch | None
    attributes: pa.Table
    product_keys: list[str] | None = None


class Catalog:
    """Files with product_id, title, image and any attribute columns. Title or image may be absent.

    Several files are one catalogue, in order. A column that a file lacks is empty there.

    Args:
        inputs: a file, or several inputs as in `catalog_files`.
        options: how to read them; None for the defaults.

    Attributes:
        files: the files.
        options: how they are read, with the decimal marks that were found.
        rows: number of rows in all files.
        schema: title and the attributes, in the order of the files.
        left_out: column -> why it is no attribute.

    Raises:
        CatalogError: a file is unreadable, a needed column is missing or of the wrong type, or two files give a column
            different types.

    Attributes:
        text_ids: whether the product ids are texts.
    """

    def __init__(self, inputs: Path | Sequence[Path], options: CatalogOptions | None = None) -> None:
        options = options or CatalogOptions()
        self.files = catalog_files([inputs] if isinstance(inputs, Path) else inputs)
        self._files = [CatalogFile(file, options=options) for file in self.files]
        check_named(options, self._files)
        self.options = decide_marks(options, self._files)
        self._photos = PhotoReader(self.options.photos)
        self._starts = [0, *accumulate(file.rows for file in self._files)]
        self.rows: int = self._starts[-1]
        self.text_ids = settle_text_ids(self._files)
        types = unify_columns(self._files)
        self._types = {n: kind for n, kind in types.items() if filterable(kind)}
        self.schema = pa.schema(list(self._types.items()))
        self.left_out = {name: why for file in self._files for name, why in file.left_out.items()}
        for name, kind in types.items():
            if name not in self._types:
                # Values of several kinds are refused, so here these are what no attribute can hold.
                held = "objects or lists of lists" if kind == MIXED else type_name(kind)
                self.left_out[name] = "it has no value" if pa.types.is_null(kind) else f"it holds {held}"

    @cached_property
    def photo_column(self) -> str | None:
        """The shop's name for the column of photos, if it says where they are; the first photo decides for all.

        None if it holds the photos themselves, or there is none.
        """
        name = self.options.sources(IMAGE)[0]
        files = [file for file in self._files if IMAGE in file.columns]
        if name in (ID, *self.schema.names) or not all(holds_texts(file.columns[IMAGE]) for file in files):
            return None
        for file in files:
            for _, records in file.read({}, _LOOKED_AT, own=[IMAGE]):
                for value in values(records, IMAGE, None):
                    if next(sources(value), None) is not None:
                        return name if place_of(value) is not None else None
        return None

    @cached_property
    def stored(self) -> pa.Schema:
        """What an index keeps of a product: `schema`, and where its first photo is.

        That column has the name `photo_column` and is of bytes, so that no filter can name it: a dictionary of all
        paths would only cost memory.
        """
        return self.schema if self.photo_column is None else self.schema.append(pa.field(self.photo_column, FILES))

    @property
    def parts(self) -> tuple[CatalogFile, ...]:
        """The files, each as it is read."""
        return tuple(self._files)

    @property
    def unfilterable(self) -> tuple[str, ...]:
        """Names of the columns that are no attributes."""
        return tuple(self.left_out)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """First row, and row after the last, of each part that can be read without reading other rows."""
        return [
            (start + first, start + after)
            for file, start in zip(self._files, self._starts, strict=False)
            for first, after in file.groups
            if first < after
        ]

    def source(self, row: int) -> tuple[str, int] | None:
        """Return the name of the file that holds a row, and the row's number in it; None if there is only one file."""
        if len(self.files) == 1:
            return None
        number = bisect_right(self._starts, row) - 1
        return self.files[number].name, row - self._starts[number]

    def read(
        self, size: int, start: int = 0, stop: int | None = None, *, photos: int = PHOTOS_PER_PRODUCT
    ) -> Iterator[CatalogRows]:
        """Read rows in order, in constant memory.

        Args:
            size: at most this many rows at a time.
            start: number of the first row to read.
            stop: number of the row before which to stop; None reads to the end.
            photos: how many photos of a product to read.
        """
        ahead = _FETCHED_AHEAD if self._photos.options.fetch else 0
        waiting: deque[Callable[[], CatalogRows]] = deque()
        for file, at, records in self._records(size, start, stop):
            pending = self._photos.start(values(records, IMAGE, None), file, photos)
            waiting.append(partial(self._rows, at, records, pending))
            if len(waiting) > ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def check_photos(self, photos: int) -> bool:
        """Check that photos can be read; `photos` is how many of a product are.

        Returns:
            Whether any product has one, or there is no column for them.

        Raises:
            CatalogError: see `shopwindow.indexing.catalogue.photos.first_look.check_photos`.
        """
        if any(IMAGE in file.columns for file in self._files):
            column = ((file, values(r, IMAGE, None)) for file, _, r in self._records(_LOOKED_AT, 0, None, {}))
            return check_photos(column, self._photos, photos, "catalog")
        return True

    def photos_of(self, products: Collection[Id]) -> dict[Any, bytes]:
        """Return id as the shop has it -> first photo that can be read, of those of the products that have one."""
        found: dict[Any, bytes] = {}
        for file in self._files:
            for group in file.groups if IMAGE in file.columns else ():
                wanted = {
                    at + row: product
                    for at, records in file.read({}, _IDS_AT_ONCE, *group, own=[ID])
                    for row, product in enumerate(read_ids(records))
                    if product is not None and product in products
                }
                span = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
                for at, records in file.read({}, _LOOKED_AT, *span, own=[IMAGE]):
                    some = {row: wanted[at + row] for row in range(records.num_rows) if at + row in wanted}
                    column = values(records, IMAGE, None)
                    read = self._photos.start([column[row] for row in some], file.path, PHOTOS_PER_PRODUCT)()
                    for product, photos in zip(some.values(), read, strict=True):
                        # If an id is repeated, its first row is indexed.
                        found.setdefault(product, next((p for p in photos if isinstance(p, bytes)), b""))
        return found

    def _records(
        self, size: int, start: int, stop: int | None, types: Mapping[str, pa.DataType] | None = None
    ) -> Iterator[tuple[Path, int, pa.RecordBatch]]:
        stop = self.rows if stop is None else stop
        for file, first, after in zip(self._files, self._starts, self._starts[1:], strict=False):
            if start < after and first < stop:
                wanted = max(0, start - first), min(after, stop) - first
                for at, records in file.read(self._types if types is None else types, size, *wanted):
                    yield file.path, first + at, records

    def _rows(self, start: int, records: pa.RecordBatch, photos: Callable[[], list[Photos]]) -> CatalogRows:
        ids, keys = numbered(read_ids(records), text=self.text_ids)
        return CatalogRows(
            start=start,
            ids=ids,
            keys=keys,
            titles=values(records, TITLE, ""),
            photos=photos(),
            refused=refused_rows(records),
            attributes=align_columns(self._with_places(records), self.stored),
            source=self.source(start),
            photo_needed=self._photos.options.unreadable is Unreadable.LEAVE_OUT,
        )

    def _with_places(self, records: pa.RecordBatch) -> pa.RecordBatch:
        if self.photo_column is None:
            return records
        columns = dict(zip(records.schema.names, records.columns, strict=True))
        return pa.RecordBatch.from_pydict({**columns, self.photo_column: photo_places(records)})

    def batches(self, preprocess: ProductPreprocessor, size: int, skipped: Skipped) -> Iterator[CatalogBatch]:
        """Read the whole catalogue in order, and prepare it for the product tower, with one photo of each product.

        Args:
            preprocess: turns titles and photos into the tower's inputs.
            size: rows read at a time.
            skipped: receives the rows left out: no id, an id seen before, neither title nor photo, a broken photo.
        """
        seen = ProductSet()
        for rows in self.read(size, photos=1):
            usable = rows.usable
            images = rows.images
            batch, wrong = prepare([rows.titles[i] for i in usable], [images[i] for i in usable], preprocess)
            refused = {usable[place]: reason for place, reason in wrong.items()}
            kept, ids, keys = keep(rows, refused, seen, skipped)
            prepared = [position for position in rows.usable if position not in refused]
            chosen = np.flatnonzero(np.isin(prepared, kept))
            if batch is not None and len(chosen) < len(prepared):
                batch = ProductBatch(**{name: array[chosen] for name, array in batch.tensors().items()})
            yield CatalogBatch(
                rows=len(rows.ids),
                product_ids=ids,
                product_keys=keys,
                batch=batch if kept else None,
                attributes=rows.attributes.take(pa.array(kept, pa.int64())),
            )


def prepare(
    titles: Sequence[str], images: Sequence[bytes], preprocess: ProductPreprocessor
) -> tuple[ProductBatch | None, dict[int, str]]:
    """Prepare products for the product tower.

    Returns:
        The tower's inputs, one row per product that was not refused, and place -> reason of the refused ones.
    """
    if not titles:
        return None, {}
    try:
        return preprocess(titles, images), {}
    except InvalidRequest:
        pass  # a product is at fault: prepare them one by one
    prepared: list[ProductBatch] = []
    refused: dict[int, str] = {}
    for place, (title, image) in enumerate(zip(titles, images, strict=True)):
        try:
            prepared.append(preprocess([title], [image]))
        except InvalidRequest as error:
            refused[place] = str(error).replace("[0]", "")
    return concatenate(prepared) if prepared else None, refused


def keep(
    rows: CatalogRows, refused: dict[int, str], seen: ProductSet, skipped: Skipped
) -> tuple[list[int], np.ndarray, list[str] | None]:
    """Decide which rows are indexed. Of rows with the same id, it is the first usable one.

    Args:
        rows: as read.
        refused: position -> reason, of the rows that were refused after reading.
        seen: products indexed so far; receives the kept ones.
        skipped: receives the rows left out.

    Returns:
        The positions of the kept rows, the numbers of their ids, (kept,) int64, and their text ids; None if ids are
        whole numbers.
    """
    at_reading = set(rows.refused)
    valid = np.array([0 if i in at_reading else rows.ids[i] for i in range(len(rows.ids))], dtype=np.int64)
    known = seen.known(valid)
    new: dict[int, int] = {}
    for position, product_id in enumerate(valid.tolist()):
        if position in at_reading:
            reason = rows.refused[position]
        elif known[position] or product_id in new:
            reason = f"{ID}: appears twice"
            key = None if rows.keys is None else rows.keys[position]
            if key is not None and not (seen.knows(key) if known[position] else key == rows.shop_id(new[product_id])):
                reason = same_number(key)
        elif position in refused:
            reason = refused[position]
        else:
            new[product_id] = position
            continue
        skipped.add(rows.start + position, rows.shop_id(position), rows.located(position, reason))
    ids, kept = np.fromiter(new, dtype=np.int64, count=len(new)), list(new.values())
    keys = None if rows.keys is None else [rows.keys[position] or "" for position in kept]
    seen.add(ids, keys or ())
    return kept, ids, keys
