"""One file of a catalogue or of changes: its columns, checked, and its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.derived.mapped_rows import MappedRows
from shopwindow.indexing.catalogue.derived.number_texts import NumberTexts
from shopwindow.indexing.catalogue.derived.parsed_rows import ParsedRows
from shopwindow.indexing.catalogue.derived.path_rows import PathRows
from shopwindow.indexing.catalogue.formats.one_file import ColumnType
from shopwindow.indexing.catalogue.formats.opening import open_rows
from shopwindow.indexing.catalogue.options import ID, IMAGE, TARGETS, TITLE, CatalogOptions, near
from shopwindow.indexing.catalogue.plain_types import FILES, TEXT, plain_type
from shopwindow.indexing.catalogue.possible_types import WHOLE, PossibleTypes, choose_type
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import is_list

_LISTS = pa.list_(TEXT)  # of several photos
_INSPECT = (
    "name the right columns, as in --map product_id=COLUMN,title=COLUMN,image=COLUMN; 'shopwindow inspect' proposes "
    "those with usual names"
)
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # pandas numbers its rows in this column


class CatalogFile:
    """A file that is a catalogue, or changes to one. The folders in its path may hold columns, too.

    Args:
        path: the file.
        option: name of the option that gave the file; errors begin with it.
        options: how to read it; None for the defaults.
        complete: whether the file must have a column of titles or photos. If not, it may also lack columns that the
            options name.

    Attributes:
        path: the file.
        rows: number of rows.
        groups: as in `shopwindow.indexing.catalogue.formats.one_file.Rows`.
        given: names of the columns in the file and its path.
        columns: name -> type, or what the type could be. Titles are text. Pandas' own index is left out.
        in_path: name -> value, of the columns that only the path holds.
        left_out: column -> why it is not in `columns`.
        text_ids: whether the ids are read as texts, whatever they could be; see `settle_ids`.

    Raises:
        CatalogError: the file is unreadable, or a needed column is missing or of the wrong type.
    """

    def __init__(
        self, path: Path, option: str = "catalog", *, options: CatalogOptions | None = None, complete: bool = True
    ) -> None:
        self.path, self._option, self._options = path, option, options or CatalogOptions()
        in_file = open_rows(path, option)
        if twice := [name for name, count in Counter(in_file.names).items() if count > 1]:
            raise CatalogError(f"{option}: {path} has several columns {twice[0]!r}; give each a name of its own")
        in_file.columns = {n: kind for n, kind in in_file.columns.items() if not _PANDAS_INDEX.fullmatch(n)}
        with_path = PathRows(in_file, path)
        self._parsed = ParsedRows(with_path, path, option, self._options)
        self._rows = MappedRows(self._parsed, path, option, self._options)
        self.rows, self.groups = self._rows.rows, self._rows.groups
        self.given, self.in_path = tuple(with_path.columns), with_path.in_path
        self.columns, self.left_out = self._rows.columns, self._rows.left_out
        self.text_ids = False
        self._check(complete)

    @property
    def numbers(self) -> Mapping[str, NumberTexts]:
        """Columns of texts that are read as numbers."""
        return self._parsed.numbers

    def use_marks(self, marks: Mapping[str, str]) -> None:
        """Say how to read `numbers`: name -> decimal mark, see `decide_mark`."""
        self._parsed.marks = marks

    def _check(self, complete: bool) -> None:
        if ID not in self.columns:
            (source,) = self._options.sources(ID)
            wanted = f"a column {source!r} for {ID}" if source != ID else f"a column {ID!r}"
            raise CatalogError(
                f"{self._option}: {self.path} needs {wanted}{near(source, self.given)}; it has {sorted(self.given)}; "
                f"{_INSPECT}"
            )
        if complete and TITLE not in self.columns and IMAGE not in self.columns:
            title, image = ("+".join(self._options.sources(target)) for target in (TITLE, IMAGE))
            raise CatalogError(
                f"{self._option}: {self.path} needs a column {title!r} or {image!r}{near(title, self.given)}; it has "
                f"{sorted(self.given)}; {_INSPECT}"
            )
        if not complete:
            self._check_whole_title()
        self._check_ids()
        if TITLE in self.columns:
            self._check_title(self.columns[TITLE])
            self.columns[TITLE] = TEXT
        if IMAGE in self.columns and not holds_photos(self.columns[IMAGE]):
            raise CatalogError(
                f"{self._option}: column {IMAGE!r} of {self.path} must hold photos: files (binary), or text that is a "
                "path, an address or base64, or objects with 'bytes' or 'path', or lists of these; got "
                f"{described(self.columns[IMAGE], TEXT)}"
            )

    def _check_whole_title(self) -> None:
        """Check that a file has all parts of a title, or none. With some of them, the title would change unnoticed."""
        parts = self._options.sources(TITLE)
        absent = [name for name in parts if name not in self.given]
        if 0 < len(absent) < len(parts):
            held = next(name for name in parts if name in self.given)
            raise CatalogError(
                f"{self._option}: {self.path} has {held!r}, but not {absent[0]!r}: titles are joined from "
                f"{'+'.join(parts)}, so give all of these columns, or none"
            )

    @property
    def ids(self) -> ColumnType:
        """`WHOLE`, `TEXT`, null if there is no id, or what the ids could be if the format does not say it."""
        kind = self.columns[ID]
        known = isinstance(kind, PossibleTypes) or kind == TEXT or pa.types.is_null(kind)
        return kind if known else WHOLE

    def _check_ids(self) -> None:
        kind = self.columns[ID]
        chosen = choose_type([kind]) if isinstance(kind, PossibleTypes) else kind
        whole = pa.types.is_integer(chosen) or (pa.types.is_decimal(chosen) and chosen.scale == 0)
        if whole or chosen == TEXT or pa.types.is_null(chosen):
            return
        where = (
            f"{self._option}: column {ID!r} of {self.path} is {described(kind, WHOLE)}, and ids must be whole numbers "
            "or texts"
        )
        if pa.types.is_floating(chosen):
            raise CatalogError(
                f"{where}: write it as int64, or as text. Pandas makes floats of whole numbers where some are missing; "
                "its type 'Int64' does not"
            )
        raise CatalogError(f"{where}: write it as text")

    def _check_title(self, kind: ColumnType) -> None:
        wrong = kind.against(TEXT) if isinstance(kind, PossibleTypes) else not pa.types.is_null(kind) and kind != TEXT
        if wrong:
            raise CatalogError(
                f"{self._option}: column {TITLE!r} of {self.path} must be text, got {described(kind, TEXT)}; write it "
                "as text, or name another column with --map title=COLUMN"
            )

    def read(
        self,
        types: Mapping[str, pa.DataType],
        size: int,
        start: int = 0,
        stop: int | None = None,
        *,
        own: Collection[str] = TARGETS,
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read rows in order, in constant memory.

        Args:
            types: name -> type, of the columns to read beside `own`. A column that the file lacks is left out.
            size: at most this many rows at a time.
            start: number of the first row to read.
            stop: number of the row before which to stop; None reads to the end.
            own: which to read of ids, titles and photos.

        Yields:
            The number of a batch's first row, and the batch.

        Raises:
            CatalogError: the file changed or is damaged, or a value does not fit its column's type.
        """
        kinds = {name: kind for name, kind in self._own_types().items() if name in own}
        wanted = {name: kind for name, kind in {**types, **kinds}.items() if name in self.columns}
        yield from self._rows.read(wanted, size, start, self.rows if stop is None else stop)

    def _own_types(self) -> dict[str, pa.DataType]:
        ids, photos = self.columns[ID], self.columns.get(IMAGE)
        chosen = choose_type([ids]) if isinstance(ids, PossibleTypes) else ids
        whole = WHOLE if pa.types.is_null(chosen) else chosen
        kinds: dict[str, pa.DataType] = {ID: TEXT if self.text_ids else whole, TITLE: TEXT}
        if isinstance(photos, PossibleTypes):
            kinds[IMAGE] = _photos_in_text(photos) or TEXT
        elif photos is not None:
            kinds[IMAGE] = photos
        return kinds


def described(kind: ColumnType, wanted: pa.DataType | None = None) -> str:
    """Return what a type is called in messages. Of an undecided type, it adds the first value that is not `wanted`."""
    if not isinstance(kind, PossibleTypes):
        return type_name(kind)
    name = "objects" if kind.nested else type_name(choose_type([kind]))
    against = kind.against(wanted) if wanted is not None else None
    return name if against is None else f"{name} ({str(against[1])[:60]!r} in row {against[0]})"


def _photos_in_text(possible: PossibleTypes) -> pa.DataType | None:
    """Return the type to read photos with from a file of text; None if its values cannot be photos."""
    if possible.against(TEXT) is None:
        return TEXT
    return _LISTS if possible.items is not None and possible.against(_LISTS) is None else None


def holds_texts(kind: ColumnType) -> bool:
    """Return whether photos of a type are texts or lists of texts. If not, the values hold them as bytes or objects."""
    if isinstance(kind, PossibleTypes):
        return True
    single = plain_type(kind.value_type) if is_list(kind) else kind
    return bool(single == TEXT or pa.types.is_null(single))


def holds_photos(kind: ColumnType) -> bool:
    """Return whether values of a type can be photos, see `shopwindow.indexing.catalogue.photos.sources`."""
    if isinstance(kind, PossibleTypes):
        return _photos_in_text(kind) is not None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return holds_photos(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        parts = [part.type for part in kind.fields if part.name in ("bytes", "path")]
        return bool(parts) and all(not pa.types.is_struct(part) and holds_photos(part) for part in parts)
    return kind in (FILES, TEXT) or bool(pa.types.is_null(kind))
