"""The columns of files as they are, before anything says which are ids, titles and photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from shopwindow.indexing.catalogue.derived.path_rows import PathRows
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.formats.opening import open_rows
from shopwindow.indexing.catalogue.options import IMAGE, CatalogOptions
from shopwindow.indexing.catalogue.photos.options import PhotoOptions
from shopwindow.indexing.catalogue.plain_types import MIXED
from shopwindow.indexing.catalogue.possible_types import PossibleTypes, choose_type
from shopwindow.indexing.inspection.photo_column import holds_bytes
from shopwindow.indexing.inspection.proposal import Proposal, propose
from shopwindow.indexing.inspection.values import SAMPLED, examples_of, sample_of, type_words


@dataclass(frozen=True, kw_only=True)
class RawColumns:
    """The columns of the first file, and those that only later files have.

    Attributes:
        types: column -> its type.
        sample: column -> its first values; lacks the columns whose values are bytes or have no single type.
    """

    types: dict[str, pa.DataType]
    sample: dict[str, list[Any]]

    def lines(self) -> list[str]:
        """Return a line for each column: its name, type and examples."""
        width = max(map(len, self.types), default=0)
        return [
            f"{name.ljust(width)}  {type_words(kind)}: {', '.join(examples_of(self.sample.get(name, ())))}"
            for name, kind in self.types.items()
        ]


def raw_columns(inputs: Sequence[Path]) -> RawColumns:
    """Return the columns of a catalogue's files, with values from the first rows.

    Raises:
        CatalogError: a file cannot be read.
    """
    types: dict[str, pa.DataType] = {}
    sample: dict[str, list[Any]] = {}
    for path in catalog_files(inputs):
        rows = PathRows(open_rows(path, "catalog"), path)
        found = {
            n: choose_type([kind]) if isinstance(kind, PossibleTypes) else kind for n, kind in rows.columns.items()
        }
        new = {name: kind for name, kind in found.items() if name not in types or pa.types.is_null(types[name])}
        types |= new
        once = {name: kind for name, kind in new.items() if rows.names.count(name) == 1}
        read = {name: kind for name, kind in once.items() if kind != MIXED and not holds_bytes(kind)}
        for _, records in rows.read(read, SAMPLED, 0, min(SAMPLED, rows.rows)) if read else ():
            for name in read:
                sample[name] = [*sample.get(name, ()), *sample_of(records.column(name), SAMPLED)]
    return RawColumns(types=types, sample=sample)


def propose_more(raw: RawColumns, given: CatalogOptions) -> Proposal:
    """Propose what the given options leave open."""
    types = {name: kind for name, kind in raw.types.items() if name not in given.named}
    photos = [value for name in given.sources(IMAGE) for value in raw.sample.get(name, ())]
    sample = {**raw.sample, IMAGE: photos}
    found = propose(types | dict.fromkeys(given.columns, pa.null()), sample)
    columns = {target: names for target, names in found.columns.items() if target not in given.columns}
    return replace(found, columns=columns, fetch=found.fetch and not given.photos.fetch)


def accepted(proposal: Proposal, given: CatalogOptions) -> CatalogOptions:
    """Return the given options with what is proposed beside them."""
    more = CatalogOptions(
        columns=proposal.columns,
        numbers=dict.fromkeys(proposal.numbers, ""),
        lists=proposal.lists,
        dates=proposal.dates,
        photos=PhotoOptions(fetch=proposal.fetch),
    )
    return given.over(more)
