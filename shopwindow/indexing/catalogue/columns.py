"""The columns of several files together, and the values of the columns that every catalogue has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from shopwindow.base.type_words import type_name
from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.derived.number_texts import decide_mark, decide_unit
from shopwindow.indexing.catalogue.options import ID, IMAGE, CatalogOptions, near
from shopwindow.indexing.catalogue.photos.sources import place_of
from shopwindow.indexing.catalogue.plain_types import FILES, MIXED, TEXT
from shopwindow.indexing.catalogue.possible_types import BIG, FLAG, LIST, NUMBER, PossibleTypes, choose_type
from shopwindow.indexing.catalogue.product_ids import read_ids, wrong_id
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import filterable

_RANGE = "a column holds numbers from -2^63 to 2^63 - 1, or whole numbers from 0 to 2^64 - 1"


def check_named(options: CatalogOptions, files: Sequence[CatalogFile], option: str = "catalog") -> None:
    """Check that every column that the options name is in one of the files.

    Raises:
        CatalogError: one is not.
    """
    given = dict.fromkeys(name for file in files for name in file.given)
    for name, said in options.named.items():
        if name not in given:
            where = str(files[0].path) if len(files) == 1 else f"any of the {len(files)} files"
            raise CatalogError(
                f"{option}: {said}: there is no column {name!r} in {where}{near(name, given)}; there are "
                f"{sorted(given)}"
            )


def decide_marks(options: CatalogOptions, files: Sequence[CatalogFile], option: str = "catalog") -> CatalogOptions:
    """Decide how numbers in texts are read, tell the files, and return the options with what was decided.

    Raises:
        CatalogError: see `decide_mark` and `decide_unit`.
    """
    held = {name: [file.numbers[name] for file in files if name in file.numbers] for name in options.numbers}
    units = {name: decide_unit(name, some, option, options.units.get(name, "")) for name, some in held.items()}
    marks = {name: decide_mark(name, some, option, options.numbers[name]) for name, some in held.items()}
    for file in files:
        file.use_marks(marks)
    return replace(options, numbers=marks, units={name: unit for name, unit in units.items() if unit})


def unify_columns(files: Sequence[CatalogFile]) -> dict[str, pa.DataType]:
    """Return name -> type, of titles and attributes in all files together.

    A column that a file lacks is empty there. If a file does not say a column's type, the other files decide, else the
    values in all files. A column without any value has the type null.

    Raises:
        CatalogError: two files give a column different types, or a value does not fit the type that it should have.
    """
    names = dict.fromkeys(name for file in files for name in file.columns if name not in (ID, IMAGE))
    return {name: _type_of(name, files) for name in names}


def _type_of(name: str, files: Sequence[CatalogFile]) -> pa.DataType:
    kinds = [(file.path, file.columns[name]) for file in files if name in file.columns]
    said = [(p, k) for p, k in kinds if isinstance(k, pa.DataType) and not pa.types.is_null(k)]
    undecided = {path: kind for path, kind in kinds if isinstance(kind, PossibleTypes)}
    for path, kind in said[1:] if any(filterable(kind) for _, kind in said) else []:
        if kind != said[0][1]:
            raise CatalogError(
                f"catalog: column {name!r} is {type_name(said[0][1])} in {said[0][0]} and {type_name(kind)} in {path}: "
                "write both with one type"
            )
    if said:
        for path, possible in undecided.items():
            check_fits(name, possible, said[0][1], path, "catalog", f"in {said[0][0]}")
        return said[0][1]
    chosen = choose_type(undecided.values())
    if chosen == MIXED and not any(possible.nested for possible in undecided.values()):
        found = _clash(undecided)
        values = [f"row {row} of {path} has {str(value)[:60]!r}" for (path, row), value in found.items()]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found.values())
        remedy = f"{_RANGE}: write all its values as text" if numbers else "write all its values alike"
        raise CatalogError(f"catalog: column {name!r} has no single type: {', '.join(values)}; {remedy}")
    return chosen


def check_fits(name: str, possible: PossibleTypes, kind: pa.DataType, path: Path, option: str, where: str) -> None:
    """Check that all values of a column of undecided type can have a type.

    Raises:
        CatalogError: one cannot; names file, column, row and value.
    """
    against = possible.against(kind)
    if against is not None:
        raise CatalogError(
            f"{option}: column {name!r} is {type_name(kind)} {where}, and row {against[0]} of {path} has "
            f"{str(against[1])[:60]!r}: write both with one type"
        )


def _clash(undecided: Mapping[Path, PossibleTypes]) -> dict[tuple[Path, int], Any]:
    """Return the first two values that no type holds together, by file and row; one if it alone is beyond all types."""
    held = {path: possible for path, possible in undecided.items() if not possible.empty}
    if all(possible.against(LIST) is None for possible in held.values()):
        return _clash({path: possible.items for path, possible in held.items() if possible.items})
    found: dict[tuple[Path, int], Any] = {}
    for kind in (TEXT, NUMBER, BIG, FLAG, LIST):
        for path, possible in undecided.items():
            if against := possible.against(kind):
                found[path, against[0]] = against[1]
                break
    return dict(islice(found.items(), 2))


def align_columns(records: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return records with the columns of a schema. A column that the records lack is empty."""
    columns = [
        records.column(field.name) if field.name in records.schema.names else pa.nulls(records.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def photo_places(records: pa.RecordBatch) -> pa.Array:
    """Return where the first photo of each product is, see `place_of`, in UTF-8: large_binary."""
    places = map(place_of, values(records, IMAGE, None))
    return pa.array([None if place is None else place.encode() for place in places], FILES)


def refused_rows(records: pa.RecordBatch) -> dict[int, str]:
    """Return position -> reason of the rows that cannot be indexed: a bad id, or broken text."""
    refused = _broken_text(records)
    for position, product_id in enumerate(read_ids(records)):
        if position not in refused and (reason := wrong_id(product_id)) is not None:
            refused[position] = reason
    return refused


def _broken_text(records: pa.RecordBatch) -> dict[int, str]:
    """Return position -> reason of the rows whose text is not UTF-8. Parquet does not check that."""
    if _is_sound(records):
        return {}
    broken: dict[int, str] = {}
    for name, column in zip(records.schema.names, records.columns, strict=True):
        for position in () if _is_sound(column) else range(records.num_rows):
            # Not slice: its validation would still read the neighbours' bytes.
            if not _is_sound(column.take(pa.array([position]))):
                broken.setdefault(position, f"{name}: text that is not UTF-8; write the file as UTF-8")
    return broken


def _is_sound(data: pa.Array | pa.RecordBatch) -> bool:
    try:
        data.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def values(records: pa.RecordBatch, name: str, missing: Any) -> list[Any]:
    """Return a column's values. `missing` stands for an absent value."""
    if name not in records.schema.names:
        return [missing] * records.num_rows
    found = map(_value, records.column(name))
    return [missing if value is None else value for value in found]


def _value(entry: pa.Scalar) -> Any:
    try:
        return entry.as_py()
    except UnicodeDecodeError:
        return None  # `refused_rows` names this row
