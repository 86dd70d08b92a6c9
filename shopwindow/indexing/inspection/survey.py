"""Say what a catalogue will become, and what is wrong with it. Everything is read except the bytes of photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import LeftOut
from shopwindow.indexing.catalogue.options import ID, IMAGE, TARGETS, TITLE
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.inspection.counting import RowCounts
from shopwindow.indexing.inspection.hints import find_hints
from shopwindow.indexing.inspection.photo_column import has_photo_bytes, photo_words, rows_without_photo
from shopwindow.indexing.inspection.values import examples_of, type_words

_ROWS = 8_192  # read at a time


@dataclass(frozen=True, kw_only=True)
class ColumnUse:
    """What a column becomes.

    Attributes:
        name: as the files have it. Several that become one thing are joined by `+`.
        becomes: id, title, photo, attribute, or left out.
        type: what its values are, in words; of a column that is left out, why it is.
        missing: number of rows without a value; None if that is not known.
        examples: the first different values, shortened.
    """

    name: str
    becomes: str
    type: str
    missing: int | None = None
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a catalogue will become.

    Attributes:
        files: the files.
        rows: rows in all files.
        columns: the columns: id, title, photo, attributes, and those left out.
        left_out: the rows that are left out, by reason, the most frequent one first.
        hints: what looks like a mistake, a line each, with the remedy.
    """

    files: tuple[str, ...]
    rows: int
    columns: tuple[ColumnUse, ...]
    left_out: tuple[LeftOut, ...]
    hints: tuple[str, ...]

    @property
    def products(self) -> int:
        """Rows that can be indexed, unless photos are all that they have and cannot be read."""
        return self.rows - sum(one.rows for one in self.left_out)

    def check(self) -> None:
        """Refuse a catalogue of which nothing can be indexed.

        Raises:
            CatalogError: no row can be.
        """
        if self.products == 0:
            named = self.files[0] if len(self.files) == 1 else f"{len(self.files)} files"
            why = f"; {self.left_out[0].rows} rows: {self.left_out[0].reason}" if self.left_out else ""
            raise CatalogError(f"catalog: none of the {self.rows} rows of {named} can be indexed{why}")

    def to_json(self) -> dict[str, Any]:
        """Return the survey as JSON has it."""
        return {**asdict(self), "products": self.products}


def survey(catalog: Catalog, *, progress: bool = True) -> Survey:
    """Read a catalogue in constant memory, without the bytes of photos.

    Args:
        catalog: the catalogue.
        progress: show a bar.

    Raises:
        CatalogError: a file is damaged, or a value does not fit its column's type.
    """
    counts = RowCounts()
    types = {field.name: field.type for field in catalog.schema}
    with progress_bar(total=catalog.rows, desc="reading", unit="row", enabled=progress, delay=1.0) as bar:
        start = 0
        for file in catalog.parts:
            own = (ID, TITLE) if has_photo_bytes(file) else TARGETS
            for at, records in file.read(types, _ROWS, own=own):
                counts.add(file, start + at, records)
                bar.update(records.num_rows)
            start += file.rows
    return Survey(
        files=tuple(map(str, catalog.files)),
        rows=catalog.rows,
        columns=tuple(_columns(catalog, counts)),
        left_out=counts.left_out.listed(),
        hints=tuple(find_hints(catalog, counts)),
    )


def _columns(catalog: Catalog, counts: RowCounts) -> Iterator[ColumnUse]:
    def used(name: str, becomes: str, kind: str) -> ColumnUse:
        return ColumnUse(
            name="+".join(catalog.options.sources(name)) if name in (ID, TITLE, IMAGE) else name,
            becomes=becomes,
            type=kind,
            missing=rows_without_photo(catalog, counts.held[name])
            if name == IMAGE
            else catalog.rows - counts.held[name],
            examples=examples_of(counts.sample[name]),
        )

    yield used(ID, "id", type_words(counts.id_type))
    if TITLE in catalog.schema.names:
        yield used(TITLE, "title", "text")
    if any(IMAGE in file.columns for file in catalog.parts):
        yield used(IMAGE, "photo", photo_words(catalog, counts.sample[IMAGE]))
    for field in catalog.schema:
        if field.name != TITLE:
            yield used(field.name, "attribute", type_words(field.type))
    for name, why in catalog.left_out.items():
        yield ColumnUse(name=name, becomes="left out", type=why)
