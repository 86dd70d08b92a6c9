"""Find what looks like a mistake in how a catalogue is read: text where numbers were, a title that nobody named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from shopwindow.indexing.catalogue.formats.one_file import ColumnType
from shopwindow.indexing.catalogue.options import ID, IMAGE, TITLE
from shopwindow.indexing.catalogue.plain_types import TEXT
from shopwindow.indexing.catalogue.possible_types import NUMBER, PossibleTypes
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.inspection.counting import RowCounts
from shopwindow.indexing.inspection.proposal import propose

_NUMBER = re.compile(r"-?\d+([.,]\d+)?")
_MOSTLY = 0.5  # share of a text column's values that are numbers, from which it may have been meant as one
_SHOWN = 60


def find_hints(catalog: Catalog, counts: RowCounts) -> Iterator[str]:
    """Yield a line for each thing that looks like a mistake, with the remedy."""
    types: dict[str, pa.DataType] = {field.name: field.type for field in catalog.schema}
    types |= {ID: counts.id_type}
    if any(IMAGE in file.columns for file in catalog.parts):
        types[IMAGE] = pa.null()
    proposal = propose(types, counts.sample)
    for target, names in proposal.columns.items():
        mapping = shlex.quote(f"{target}={'+'.join(names)}")
        yield f"no column is read as {target}; {' and '.join(map(repr, names))} looks like it: --map {mapping}"
    if proposal.fetch and not catalog.options.photos.fetch:
        yield "photos are on the web: --fetch-photos"
    for name in proposal.numbers:
        yield f"{name!r} is text, and looks like numbers: --number {shlex.quote(name)}"
    for name, mark in proposal.lists.items():
        yield f"{name!r} is one text, and looks like several: --list {shlex.quote(f'{name}={mark}')}"
    for name in proposal.dates:
        yield f"{name!r} is text, and looks like dates: --date {shlex.quote(name)}"
    guessed = {*proposal.numbers, *proposal.dates, TITLE, ID, IMAGE}
    for name in (name for name, kind in types.items() if kind == TEXT and name not in guessed):
        values = [str(value) for value in counts.sample[name]]
        if sum(_NUMBER.fullmatch(value.strip()) is not None for value in values) > _MOSTLY * len(values):
            kinds = [(file.path, file.columns[name]) for file in catalog.parts if name in file.columns]
            if found := next((why for path, kind in kinds if (why := _not_a_number(path, kind))), None):
                yield f"{name!r} is text, and most of its values are numbers: {found}"


def _not_a_number(path: Path, kind: ColumnType) -> str | None:
    if isinstance(kind, PossibleTypes) and (against := kind.against(NUMBER)):
        return f"row {against[0]} of {path} has {str(against[1])[:_SHOWN]!r}; leave such values empty"
    return None if isinstance(kind, PossibleTypes) else f"{path} says so; write the column as numbers"
