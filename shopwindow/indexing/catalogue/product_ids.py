"""The ids of products: whole numbers or texts, the same kind in all files of a catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from shopwindow.base.product_keys import RULE, is_key, key_number
from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.options import ID
from shopwindow.indexing.catalogue.plain_types import TEXT
from shopwindow.indexing.catalogue.possible_types import WHOLE, PossibleTypes, choose_type
from shopwindow.indexing.errors import CatalogError

Id = int | str
"""A product's id as the shop has it."""

_WHOLE_RULE = "must be a whole number from 0 to 2^63 - 1; write larger or negative ids as text, with a letter in front"
_WHOLE_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)
_SHOWN = 60  # characters of a wrong id


def settle_text_ids(files: Sequence[CatalogFile]) -> bool:
    """Return whether the ids of a catalogue are texts, and settle it in all files.

    If a format does not say it, all files decide together.

    Raises:
        CatalogError: the ids are texts in one file and whole numbers in another.
    """
    said = [(file, file.ids) for file in files if isinstance(file.ids, pa.DataType) and not pa.types.is_null(file.ids)]
    undecided = [file.ids for file in files if isinstance(file.ids, PossibleTypes)]
    if said:
        text = bool(said[0][1] == TEXT)
        source = said[0][0]
    else:
        text = bool(choose_type(undecided) not in (WHOLE, pa.uint64(), pa.null()))
        source = next((file for file in files if _against(file, TEXT if text else WHOLE) is None), files[0])
    for file in files:
        settle_ids(file, text=text, where=f"in {source.path}")
    return text


def settle_ids(file: CatalogFile, *, text: bool, where: str, option: str = "catalog") -> None:
    """Check that the ids of a file can be of a kind, and read them so.

    Args:
        file: the file.
        text: whether they should be texts.
        where: where they are, for the error, such as "in the index".
        option: name of the option that gave the file; the error begins with it.

    Raises:
        CatalogError: they are of the other kind; names the file, the row and the value.
    """
    against = _against(file, TEXT if text else WHOLE)
    if against is None:
        file.text_ids = text
        return
    wanted, other = ("text", "whole numbers") if text else ("whole numbers", "text")
    found = f"{other} in {file.path}" if against[0] < 0 else f"row {against[0]} of {file.path} has {_show(against[1])}"
    raise CatalogError(f"{option}: column {ID!r} is {wanted} {where}, and {found}: write both with one type")


def _against(file: CatalogFile, kind: pa.DataType) -> tuple[int, Any] | None:
    """Return a row (-1 for all) and a value that is not of a kind; None if the whole file can be."""
    if isinstance(file.ids, PossibleTypes):
        found = file.ids.against(kind)
        # Numbers beyond 2^63 are refused row by row.
        return None if kind == WHOLE and found and file.ids.against(pa.uint64()) is None else found
    return None if file.ids == kind or pa.types.is_null(file.ids) else (-1, None)


def read_ids(records: pa.RecordBatch) -> list[Id | None]:
    """Return the ids of rows as the shop has them; None where missing or not UTF-8."""
    column = records.column(ID)
    try:
        found = column.to_pylist()
    except UnicodeDecodeError:
        found = [_decoded(entry) for entry in column]
    if column.type == TEXT:
        return [value or None for value in found]
    return [None if value is None else int(value) for value in found]


def _decoded(entry: pa.Scalar) -> str | None:
    try:
        value: str | None = entry.as_py()
        return value
    except UnicodeDecodeError:
        return None


def numbered(ids: Sequence[Id | None], *, text: bool) -> tuple[list[int | None], list[str | None] | None]:
    """Return the numbers of ids, and the texts of text ids; None in place of these if ids are whole numbers.

    A text that can be no id has no number; `wrong_id` refuses it.
    """
    if not text:
        return [value if isinstance(value, int) else None for value in ids], None
    keys = [value if isinstance(value, str) else None for value in ids]
    return [None if key is None or not is_key(key) else key_number(key) for key in keys], keys


def of_this_kind(given: Sequence[Id], *, text: bool) -> list[Id]:
    """Return ids of products to remove, as an index has them.

    Args:
        given: the ids. Whole numbers may be written as text.
        text: whether the index has text ids.

    Raises:
        CatalogError: an id is of the other kind; names it.
    """
    for value in given:
        if text != isinstance(value, str) and not (isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip())):
            has, other = ("texts", "write them as text") if text else ("whole numbers", "give those of this index")
            raise CatalogError(f"removed: the index has {has} as ids, got {_show(value)}: {other}")
    return list(given) if text else [int(value) for value in given]


def same_number(key: str) -> str:
    """Return the reason for leaving out a product whose text id has the number of another text id."""
    return f"{ID}: {_show(key)} happens to have the number of another id in this index; give the product another id"


def wrong_id(value: Id | None) -> str | None:
    """Return why a value is no id of a product; None if it is one."""
    if value is None:
        return f"{ID}: is missing; give every product one"
    if isinstance(value, str):
        return None if is_key(value) else f"{ID}: must be {RULE}, got {_show(value)}"
    return None if 0 <= value < 2**63 else f"{ID}: {_WHOLE_RULE}; got {value}"


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
