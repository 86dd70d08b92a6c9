"""A section of the report: rows of labels, counts and estimates."""

from __future__ import annotations

from dataclasses import dataclass

from shopwindow.towers.judging.metrics import Estimate

Cell = str | int | float | Estimate | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with the same columns. A cell that does not apply is None.

    Attributes:
        title: heading of the section.
        note: how to read the table, in a sentence or two.
        rows: a dictionary for each row, column -> cell.
    """

    title: str
    note: str
    rows: list[dict[str, Cell]]
