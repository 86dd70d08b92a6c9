"""Ids, titles and photos, read from the columns that `CatalogOptions.columns` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.formats.one_file import ColumnType, Rows
from shopwindow.indexing.catalogue.options import IMAGE, TARGETS, TITLE, CatalogOptions, near
from shopwindow.indexing.catalogue.plain_types import TEXT, joined_lists
from shopwindow.indexing.catalogue.possible_types import PossibleTypes, choose_type, from_text
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import is_list


class MappedRows:
    """Rows with the columns product_id, title and image, see `shopwindow.indexing.catalogue.formats.one_file.Rows`.

    A column that one of these is read from is not a column any more, except the parts of a joined title. A column that
    has the name of one of these, but is not what it is read from, is left out.

    Args:
        rows: the rows of the file.
        path: the file.
        option: name of the option that gave it; errors begin with it.
        options: which columns to read.

    Attributes:
        left_out: column -> why nothing is read from it.

    Raises:
        CatalogError: a column cannot be part of a title, photos have different types, or a file with a column `title`
            lacks the column that titles are read from.
    """

    def __init__(self, rows: Rows, path: Path, option: str, options: CatalogOptions) -> None:
        self._rows, self._path, self._option = rows, path, option
        self.rows, self.groups = rows.rows, rows.groups
        self._sources = {
            target: sources
            for target in TARGETS
            if (sources := tuple(name for name in options.sources(target) if name in rows.columns))
        }
        self.left_out: dict[str, str] = {}
        for target in TARGETS:
            if target in rows.columns and not any(target in options.sources(other) for other in TARGETS):
                self._check_replaced(target, options.sources(target))
                self.left_out[target] = f"{target} is read from {'+'.join(options.sources(target))}"
        title = self._sources.get(TITLE, ())
        self._parts = {name: self._part_type(name) for name in title} if len(title) > 1 else {}
        self._photos: dict[str, pa.DataType] = {}  # column -> type, if photos come from several
        used = {name for sources in self._sources.values() for name in sources if name not in self._parts}
        self.columns: dict[str, ColumnType] = {target: self._type(target, s) for target, s in self._sources.items()}
        self.columns |= {n: kind for n, kind in rows.columns.items() if n not in used and n not in TARGETS}
        self.names = list(self.columns)

    def _check_replaced(self, target: str, sources: Sequence[str]) -> None:
        if target not in self._sources:
            hint = near(sources[0], self._rows.columns)
            raise CatalogError(
                f"{self._option}: {self._path} has a column {target!r}, but {target} is read from "
                f"{'+'.join(map(repr, sources))}, which it lacks{hint}; rename the column, or give --map "
                f"{target}={target}"
            )

    def _part_type(self, name: str) -> pa.DataType:
        kind = self._rows.columns[name]
        if isinstance(kind, PossibleTypes):
            kind = TEXT if kind.against(TEXT) is None else choose_type([kind])
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if kind != TEXT and not number and not pa.types.is_null(kind):
            raise CatalogError(
                f"{self._option}: column {name!r} of {self._path} is {type_name(kind)}, and a title can be joined from "
                "texts and numbers only"
            )
        return kind

    def _type(self, target: str, sources: Sequence[str]) -> ColumnType:
        kinds = [self._rows.columns[name] for name in sources]
        if len(sources) == 1:
            return kinds[0]
        if target == TITLE:
            return TEXT
        self._photos = {name: _photo_type(kind) for name, kind in zip(sources, kinds, strict=True)}
        single = {name: kind.value_type if is_list(kind) else kind for name, kind in self._photos.items()}
        held = {kind: name for name, kind in single.items() if not pa.types.is_null(kind)}
        if len(held) > 1:
            listed = ", ".join(f"{name} is {type_name(kind)}" for kind, name in held.items())
            raise CatalogError(f"{self._option}: the photos of {self._path} must have one type: {listed}")
        return pa.list_(next(iter(held), pa.null()))

    def read(
        self, types: Mapping[str, pa.DataType], size: int, start: int, stop: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See `Rows`."""
        wanted: dict[str, pa.DataType] = dict(self._parts) if TITLE in types else {}
        for name, kind in types.items():
            for source in self._sources.get(name, (name,)):
                wanted.setdefault(source, self._photos.get(source, kind) if name == IMAGE else kind)
        for at, records in self._rows.read(wanted, size, start, stop):
            yield at, pa.RecordBatch.from_pydict({n: self._column(records, n, kind) for n, kind in types.items()})

    def _column(self, records: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
        sources = self._sources.get(name, (name,))
        if len(sources) == 1:
            return self._converted(records, sources[0], kind)
        if name == TITLE:
            return _joined([self._converted(records, part, TEXT) for part in sources])
        parts = [self._converted(records, photo, self._photos[photo]) for photo in sources]
        return _listed([part.cast(kind.value_type) if pa.types.is_null(part.type) else part for part in parts])

    def _converted(self, records: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
        column = records.column(name)
        if column.type == kind:
            return column
        try:
            return from_text(column, kind) if column.type == TEXT else column.cast(kind)
        except pa.ArrowException as error:
            raise CatalogError(
                f"{self._option}: column {name!r} of {self._path} should be {type_name(kind)}: {error}"
            ) from error


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    """Return texts joined by spaces; without a value where no part has one."""
    kept = [pc.if_else(pc.equal(part, ""), pa.scalar(None, TEXT), part) for part in parts]
    joined = pc.binary_join_element_wise(*kept, pa.scalar(" ", TEXT), null_handling="skip")
    return pc.if_else(pc.equal(joined, ""), pa.scalar(None, TEXT), joined)


def _photo_type(kind: ColumnType) -> pa.DataType:
    if not isinstance(kind, PossibleTypes):
        return kind
    return TEXT if not kind.empty and kind.against(TEXT) is None else choose_type([kind])


def _listed(parts: Sequence[pa.Array]) -> pa.Array:
    """Return a list of the values of each row, column after column, also of those that are in lists."""
    values, starts, lengths, before = [], [], [], 0
    for part in parts:
        if is_list(part.type):
            found, count = part.flatten(), np.asarray(pc.fill_null(pc.list_value_length(part), 0), dtype=np.int64)
        else:
            found, count = part.drop_null(), part.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
        values.append(found)
        starts.append(before + count.cumsum() - count)
        lengths.append(count)
        before += len(found)
    start, length = np.stack(starts, axis=1).ravel(), np.stack(lengths, axis=1).ravel()
    order = np.repeat(start - (length.cumsum() - length), length) + np.arange(length.sum())
    return joined_lists(pa.concat_arrays(values).take(pa.array(order)), pa.array(sum(lengths)))
