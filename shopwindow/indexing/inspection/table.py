"""A survey as text."""

from __future__ import annotations

from collections.abc import Sequence

from shopwindow.indexing.inspection.survey import ColumnUse, Survey
from shopwindow_client._values.printable import printable

_HEAD = ("column", "becomes", "type", "without", "examples")
_WIDEST, _WIDEST_EXAMPLES = 28, 60  # characters of a name, and of all examples of a column


def survey_table(survey: Survey, *, most: int | None = None) -> str:
    """Return a survey as a short table, the rows that are left out, and hints.

    Args:
        survey: the survey.
        most: how many columns to show; None for all.
    """
    named = survey.files[0] if len(survey.files) == 1 else f"{len(survey.files)} files"
    columns = survey.columns[:most]
    lines = [f"{named}: {survey.rows} rows, {survey.products} to index", *_aligned([_HEAD, *map(_cells, columns)])]
    if len(columns) < len(survey.columns):
        lines.append(f"and {len(survey.columns) - len(columns)} more columns; 'shopwindow inspect' shows all")
    lines += [printable(f"left out: {one}") for one in survey.left_out]
    return "\n".join([*lines, *(printable(f"note: {hint}") for hint in survey.hints)])


def _cells(column: ColumnUse) -> tuple[str, ...]:
    missing = "" if column.becomes == "left out" else "?" if column.missing is None else str(column.missing)
    return (
        _cut(printable(column.name), _WIDEST),
        column.becomes,
        column.type,
        missing,
        _cut(", ".join(column.examples), _WIDEST_EXAMPLES),
    )


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    right = _HEAD.index("without")
    lines = []
    for row in rows:
        cells = [row[place].rjust(w) if place == right else row[place].ljust(w) for place, w in enumerate(widths)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines
