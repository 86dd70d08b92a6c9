"""Read the small parquet files that people make: queries, judgements, clicks, pairs. Every value is checked.

Each error is one line that names the file, the column, the row (counted from 0), the value, and what to do.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.product_keys import KeyNumber, is_key
from shopwindow.base.type_words import type_name

_AS_PARQUET = "write it as parquet, for example with pandas.read_csv(...).to_parquet(...)"
_PANDAS_INDEX = "__index_level_"  # begins the name of a column that pandas adds


class _Broken:
    """Stands for text that is not UTF-8. Parquet does not check that."""

    def __repr__(self) -> str:
        return "text that is not UTF-8"


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds texts, in whatever way they are stored."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_text(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind.value_type if pa.types.is_dictionary(kind) else kind))


def _is_number(kind: pa.DataType) -> bool:
    found = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(one(kind) for one in found)


@dataclass(frozen=True)
class Kind:
    """What the values of a column may be.

    Attributes:
        words: what they may be, for messages.
        remedy: what to do about other values.
        holds: whether a column's type is one of these.
        good: whether a value is; values of another type never come here.
        made: what the reader returns for a value.
    """

    words: str
    remedy: str
    holds: Callable[[pa.DataType], bool]
    good: Callable[[Any], bool]
    made: Callable[[Any], Any] | None = None


PRODUCT = Kind(
    "whole numbers from 0 to 2^63 - 1, or texts",
    "write the ids as the index has them, as int64 or as text; a float would lose digits",
    lambda kind: _is_whole(kind) or is_text(kind) or isinstance(kind, pa.UuidType),
    lambda value: is_key(value) if isinstance(value, str) else 0 <= value < 2**63,
    lambda value: KeyNumber(value) if isinstance(value, str) else value,
)
KEY = Kind(
    "whole numbers or texts",
    "give every row an id, all of one type",
    lambda kind: _is_whole(kind) or is_text(kind),
    lambda value: not isinstance(value, str) or bool(value.strip()),
)
TEXT = Kind("texts", "write the texts, and leave out rows without one", is_text, lambda value: bool(value.strip()))
GRADE = Kind(
    "finite numbers",
    "write 0 for a product that is not relevant and 1 or a higher grade for one that is",
    _is_number,
    lambda value: not math.isinf(value),
)
COUNT = Kind(
    "whole numbers from 1",
    "write the number of clicks as int64, and leave out rows without a click",
    _is_whole,
    lambda value: value >= 1,
)
LABEL = Kind(
    "0 or 1", "write 1 for the same product and 0 for different ones", _is_number, lambda value: value in (0, 1)
)


@dataclass(frozen=True)
class Column:
    """A column to read.

    Attributes:
        name: its name.
        kind: what its values may be.
        needed: whether the file must have it.
        gaps: whether values may be missing or blank.
        unique: whether no value may come twice.
    """

    name: str
    kind: Kind
    needed: bool = True
    gaps: bool = False
    unique: bool = False


def read_checked(
    option: str, file: Path, columns: Sequence[Column], *, other_texts: bool = False, empty: bool = False
) -> dict[str, list[Any]]:
    """Read columns of a parquet file.

    Args:
        option: name of the option that gave the file; errors begin with it.
        file: the parquet file.
        columns: the columns. The others are ignored.
        other_texts: read all other text columns too. Their values are not checked.
        empty: whether the file may have no row.

    Returns:
        Name -> values. A column that is not needed and not there is left out. NaN stays NaN. Products with text ids are
        `KeyNumber`s.

    Raises:
        ValueError: the file is no parquet file or has no row, a column is missing or of another type, or a value is
            not allowed.
    """
    where = f"{option}: {file}"
    try:
        with _open(where, file) as parquet:
            schema = parquet.schema_arrow
            there = [column for column in columns if column.needed or column.name in schema.names]
            for column in there:
                _check_type(where, parquet, column)
            names = [column.name for column in there]
            if other_texts:
                names += [f.name for f in schema if is_text(f.type) and _is_other(f.name, schema, columns)]
            if parquet.metadata.num_rows == 0 and not empty:
                raise ValueError(f"{where} has no row")
            table = parquet.read(columns=names)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{where} is damaged: {_first_line(error)}; write it again") from None
    found = {name: _values(table[name]) for name in names}
    for column in there:
        _check_values(where, column, found[column.name])
        if (made := column.kind.made) is not None:
            found[column.name] = [None if value is None else made(value) for value in found[column.name]]
    return found


def _open(where: str, file: Path) -> pq.ParquetFile:
    if file.is_dir():
        raise ValueError(f"{where} is a folder; give one parquet file")
    if not file.exists():
        raise ValueError(f"{where} does not exist")
    with file.open("rb") as opened:
        start = opened.read(40)
    if not start.startswith(b"PAR1"):
        begins = f"begins with {start.decode('utf-8', 'replace').splitlines()[0]!r}" if start else "is empty"
        raise ValueError(f"{where} is not a parquet file, it {begins}; {_AS_PARQUET}")
    return pq.ParquetFile(file)


def _check_type(where: str, parquet: pq.ParquetFile, column: Column) -> None:
    schema = parquet.schema_arrow
    count = schema.names.count(column.name)
    if count == 0:
        raise ValueError(
            f"{where} has no column {column.name!r} ({column.kind.words}); it has {schema.names}; rename "
            "the one that holds them"
        )
    if count > 1:
        raise ValueError(f"{where} has {count} columns {column.name!r}; leave one of them")
    kind = schema.field(column.name).type
    if not column.kind.holds(kind):
        first = [value for batch in islice(parquet.iter_batches(1, columns=[column.name]), 1) for value in batch[0]]
        row = f", such as {show_value(_value(first[0]))} in row 0 (from 0)" if first else ""
        raise ValueError(
            f"{where}: column {column.name!r} must hold {column.kind.words}, got {type_name(kind)}{row}; "
            f"{column.kind.remedy}"
        )


def _is_other(name: str, schema: pa.Schema, columns: Sequence[Column]) -> bool:
    known = any(name == column.name for column in columns)
    return not known and not name.startswith(_PANDAS_INDEX) and schema.names.count(name) == 1


def _values(column: pa.ChunkedArray) -> list[Any]:
    if isinstance(column.type, pa.UuidType):
        return [None if value is None else str(value) for value in column.to_pylist()]
    try:
        values: list[Any] = column.to_pylist()
        return values
    except UnicodeDecodeError:
        return [_value(item) for item in column]


def _value(item: pa.Scalar) -> Any:
    try:
        return item.as_py()
    except UnicodeDecodeError:
        return _Broken()


def _check_values(where: str, column: Column, values: list[Any]) -> None:
    def good(value: Any) -> bool:
        if value is None or (column.gaps and isinstance(value, str)):
            return column.gaps
        return not isinstance(value, _Broken) and column.kind.good(value)

    if wrong := [row for row, value in enumerate(values) if not good(value)]:
        row = wrong[0]
        more = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise ValueError(
            f"{where}: column {column.name!r} must hold {column.kind.words}, row {row} (from 0) has "
            f"{show_value(values[row])}{more}; {column.kind.remedy}"
        )
    first: dict[Any, int] = {}
    for row, value in enumerate(values if column.unique else ()):
        if (before := first.setdefault(value, row)) != row:
            raise ValueError(
                f"{where}: column {column.name!r} has {show_value(value)} twice, in rows {before} and {row} (from 0); "
                "leave one of them"
            )


def show_value(value: Any) -> str:
    """Return a value for a message, shortened if it is long."""
    return "no value" if value is None else reprlib.repr(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
