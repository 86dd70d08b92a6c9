"""A result page as text: columns beside each product, and lines below the table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from shopwindow_client import Row
from shopwindow_client._values.printable import printable

_WIDEST = 48  # of a cell, in columns of a terminal


def written(value: Any) -> str:
    """Return a value of a catalogue as people write it."""
    if isinstance(value, bytes):  # where a photo is
        return value.decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def has_columns(row: Row) -> bool:
    """Return whether the server sent more about each product than its id and score."""
    return row.attributes is not None or row.group_sizes is not None


def page_columns(row: Row, titles: Sequence[str]) -> list[str]:
    """Return a text for the head of the table, and one for each product. All are of one line and printable.

    Args:
        row: the products.
        titles: their titles from elsewhere, for a row without attributes.
    """
    columns: list[tuple[str, Sequence[Any]]] = []
    if row.attributes:
        columns += [(name, [product[name] for product in row.attributes]) for name in row.attributes[0]]
    elif any(titles):
        columns.append(("title", titles))
    if row.group_sizes is not None:
        columns.append(("group", [f"×{size}" for size in row.group_sizes.tolist()]))
    if row.group_members is not None:
        columns.append(("members", row.group_members))
    lines = [""] * (len(row) + 1)
    for name, values in columns:
        cells = [_cell(name), *(_cell("" if value is None else written(value)) for value in values)]
        width, numbers = max(map(_width, cells)), any(isinstance(value, (int, float)) for value in values)
        for place, cell in enumerate(cells):
            space = " " * (width - _width(cell))
            lines[place] += "  " + (space + cell if numbers else cell + space)
    return [line.rstrip() for line in lines]


def page_notes(row: Row, offset: int | None, among: int | None = None) -> list[str]:
    """Return the lines below a table: facets, how many products there are, and how to get the next page.

    Args:
        row: the products of the page.
        offset: how many places the page skipped, as --offset gives it.
        among: how many places there are at most, because a sort leaves out the others, as --among gives it.
    """
    notes = []
    for column, counts in (row.facets or {}).items():
        listed = ", ".join(f"{_counted(one)} ({one['count']:,})" for one in counts)
        notes.append(f"  {printable(column)}: {listed or '-'}")
    first, last = (offset or 0) + 1, (offset or 0) + len(row)
    said = []
    if row.total is not None:
        said.append(f"{len(row):,} of {row.total:,} {'products' if row.group_sizes is None else 'groups'}")
    if len(row) and (offset is not None or row.generation is not None):
        said.append(f"places {first:,} to {last:,}")
    ends = [end for end in (row.total, among) if end is not None]
    if row.generation is not None and len(row) and last < min(ends, default=last + 1):
        said.append(f"next: --offset {last} --generation {row.generation}")
    return [*notes, f"  {', '.join(said)}"] if said else notes


def _cell(text: str) -> str:
    text = printable(text)
    if _width(text) <= _WIDEST:
        return text
    while _width(text := text[:_WIDEST]) > _WIDEST - 1:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes. Chinese and other wide letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _counted(one: dict[str, Any]) -> str:
    """Return the value of a count, or its range."""
    if "value" in one:
        return printable(written(one["value"]))
    low, high = (None if one.get(end) is None else printable(written(one[end])) for end in ("from", "to"))
    if low is None or high is None:
        return f"below {high}" if low is None and high is not None else f"from {low}" if low is not None else "any"
    return f"{low} to {high}"
