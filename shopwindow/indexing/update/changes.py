"""Read changes to a catalogue, and decide which products must be embedded and which only change attributes.

A change file has product_id and any of the catalogue's columns, in any format of a catalogue. As in a catalogue, an
empty title or image means that there is none. A row with neither leaves the product's title and photo as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.columns import (
    check_fits,
    check_named,
    decide_marks,
    photo_places,
    refused_rows,
    values,
)
from shopwindow.indexing.catalogue.options import ID, IMAGE, TITLE, CatalogOptions
from shopwindow.indexing.catalogue.photos.first_look import check_photos
from shopwindow.indexing.catalogue.photos.options import Unreadable
from shopwindow.indexing.catalogue.photos.reader import PhotoReader, Photos
from shopwindow.indexing.catalogue.plain_types import FILES, TEXT
from shopwindow.indexing.catalogue.product_ids import Id, numbered, read_ids, same_number, settle_ids
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.update.converting import converted
from shopwindow.indexing.update.next_generation import Generation
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.index.product_keys import unlike_keys
from shopwindow.retrieval.pipeline import TOWER_ROWS

_ATTRIBUTE_ROWS = 16_384  # rows read at a time if there is nothing to embed
_GIVE_BOTH = (
    "{changed}: changed, but the file has no column {absent!r}: give both, because they are embedded together, or "
    "leave both columns out to change attributes only"
)


Content: TypeAlias = tuple[str, Photos]
"""A title and photos."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row of the change file.

    Attributes:
        product_id: its id, or the number of its text id.
        row: the product's row in the index; -1 if it is new.
        key: its text id; None if ids are whole numbers.
        content: title and photos to embed, empty if there is none; None if only attributes change.
    """

    product_id: int
    row: int
    key: str | None = None
    content: Content | None = None


@dataclass(frozen=True, kw_only=True)
class ChangedRows:
    """Consecutive rows of the change file.

    Attributes:
        start: number of the first row, from 0.
        ids: product ids as the shop has them; None where missing.
        changes: position -> what the row changes.
        refused: position -> reason, of the rows that are left out.
        photo_needed: whether a row is left out if it has photos and none can be read.
        attributes: the file's title and attribute columns, in the index's types, one row for each row of the file.
    """

    start: int
    ids: list[Id | None]
    changes: dict[int, Change]
    refused: dict[int, str]
    photo_needed: bool
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

    @property
    def text_ids(self) -> bool:
        """Whether the index has text ids."""
        return self.generation.product_keys is not None

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of product ids, or of the numbers of text ids, both (n,) int64; -1 if there is none."""
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[places] == ids, self._rows[places], -1)

    def unlike(self, rows: np.ndarray, keys: list[str] | None) -> np.ndarray:
        """Return where `find` found the row of another text id with the same number, (n,) bool.

        Args:
            rows: (n,) int64, from `find`.
            keys: (n) text ids; None if ids are whole numbers.
        """
        stored = self.generation.product_keys
        return np.zeros(len(rows), bool) if stored is None or keys is None else unlike_keys(stored, rows, keys)

    def titles(self, rows: np.ndarray) -> list[str]:
        """Return the titles of rows, (n,) int64; empty if there is none or the row is -1."""
        table = self.generation.attributes
        if TITLE not in table.column_names:
            return [""] * len(rows)
        return [title or "" for title in table[TITLE].take(pa.array(rows, mask=rows < 0)).to_pylist()]


class ChangeFile:
    """A change file that fits an index.

    Args:
        file: the file.
        products: the products of the index.
        reading: how to read the file; options that are not given are those of the index.
        towers: the repository whose towers embed.

    Raises:
        CatalogError: the file is unreadable, has no product_id or ids of another kind than the index, has a column that
            the index does not know, lacks one that `reading` names, or none of its photos can be read.
    """

    def __init__(self, file: Path, products: LiveProducts, reading: CatalogOptions, towers: Path) -> None:
        options = reading.over(CatalogOptions.from_json(products.generation.manifest.reading))
        self._file, self._products = CatalogFile(file, "changes", options=options, complete=False), products
        check_named(reading, [self._file], "changes")
        decide_marks(options, [self._file], "changes")
        self.rows = self._file.rows
        settle_ids(self._file, text=products.text_ids, where="in the index", option="changes")
        manifest, attributes = products.generation.manifest, products.generation.attributes.schema
        # Where photos are is read from the column that photos are read from, and from no other.
        known = {ID, TITLE, IMAGE, *(one.name for one in attributes if one.type != FILES), *manifest.unfilterable}
        place = CatalogOptions.from_json(manifest.reading).sources(IMAGE)[0]
        self._place = place if place in attributes.names and attributes.field(place).type == FILES else None
        given = self._file.columns
        if unknown := [name for name in given if name not in known and name not in self._file.in_path]:
            raise CatalogError(
                f"changes: {file} has columns that the index does not know: {', '.join(unknown)}; the index has "
                f"{', '.join(sorted(known))}. Leave them out, or build the index again from a catalogue with them"
            )
        self._content = {TITLE, IMAGE} & {*given}
        self._photos = PhotoReader(options.photos)
        self._most = Bundle.read(towers).photos_per_product if IMAGE in given else 0
        plain = [name for name in given if name in attributes.names and name != IMAGE]
        self._types = {name: attributes.field(name).type for name in plain}
        if TITLE in given and pa.types.is_null(self._types.get(TITLE, pa.null())):
            self._types[TITLE] = TEXT  # no product of the index has a title yet
        self._read: dict[str, pa.DataType] = {}
        for name, kind in self._types.items():
            found = given[name]
            if isinstance(found, pa.DataType):
                self._read[name] = found  # converted by `_attributes`
            else:
                check_fits(name, found, kind, file, "changes", "in the index")
                self._read[name] = kind
        if IMAGE in given:
            column = ((file, values(records, IMAGE, None)) for _, records in self._file.read({}, TOWER_ROWS))
            check_photos(column, self._photos, self._most, "changes")

    def read(self) -> Iterator[ChangedRows]:
        """Read the file in order, in constant memory.

        Raises:
            CatalogError: values of a column cannot be converted to the type that the index has.
        """
        for start, records in self._file.read(self._read, TOWER_ROWS if self._content else _ATTRIBUTE_ROWS):
            yield self._rows(start, records)

    def _rows(self, start: int, records: pa.RecordBatch) -> ChangedRows:
        given, refused = read_ids(records), refused_rows(records)
        numbers, keys = numbered(given, text=self._products.text_ids)
        valid = np.array([-1 if i in refused else number for i, number in enumerate(numbers)], np.int64)
        rows = self._products.find(valid)
        if keys is not None:
            for position in np.flatnonzero(self._products.unlike(rows, [key or "" for key in keys])).tolist():
                refused.setdefault(position, same_number(keys[position] or ""))
        changes: dict[int, Change] = {}
        stored = self._products.titles(rows) if self._content else [""] * len(given)
        titles = values(records, TITLE, "")
        photos = self._photos.start(values(records, IMAGE, None), self._file.path, self._most)()
        neither = [not title and not some for title, some in zip(titles, photos, strict=True)]
        kept = np.where(neither, rows, -1)  # these keep title and photos
        for position, row in enumerate(rows.tolist()):
            if position in refused:
                continue
            found = self._change(row, stored[position], titles[position], photos[position])
            if isinstance(found, str):
                refused[position] = found
            else:
                key = None if keys is None else keys[position]
                changes[position] = Change(product_id=int(valid[position]), key=key, row=row, content=found)
        return ChangedRows(
            start=start,
            ids=given,
            changes=changes,
            refused=refused,
            photo_needed=self._photos.options.unreadable is Unreadable.LEAVE_OUT,
            attributes=self._attributes(records, set(refused), start, kept),
        )

    def _change(self, row: int, stored: str, title: str, photos: Photos) -> Content | str | None:
        """Return what to embed; None if title and photos stay as they are; a reason if that cannot be decided.

        Args:
            row: -1 for a new product.
            stored: title in the index.
            title: title in the change file, or empty.
            photos: photos in the change file, or empty.
        """
        if row < 0:
            return title, photos
        read = [photo for photo in photos if isinstance(photo, bytes)]
        content = int(self._products.generation.content[row])
        if not title and not photos:
            return None
        if IMAGE not in self._content:
            if title == stored:
                return None
            if content != content_hash(stored):
                return _GIVE_BOTH.format(changed=TITLE, absent=IMAGE)
        elif TITLE not in self._content:
            if content == content_hash(stored, *read):
                return None
            if stored:
                return _GIVE_BOTH.format(changed=IMAGE, absent=TITLE)
        return None if content == content_hash(title, *read) else (title, photos)

    def _attributes(self, records: pa.RecordBatch, refused: set[int], start: int, kept: np.ndarray) -> pa.Table:
        columns = {}
        for name, kind in self._types.items():
            column = records.column(name)
            if refused:  # refused rows may hold values that cannot be converted
                column = column.take(pa.array([None if i in refused else i for i in range(len(column))], pa.int64()))
            columns[name] = converted(column, kind, name, self._file.path, start)
        if self._place is not None and IMAGE in self._content:
            stored = self._products.generation.attributes[self._place].take(pa.array(kept, mask=kept < 0))
            columns[self._place] = pc.if_else(pa.array(kept >= 0), stored, photo_places(records))
        return pa.table(columns)
