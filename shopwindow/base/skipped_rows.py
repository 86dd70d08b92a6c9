"""Rows of a catalogue that could not be used, with the reasons."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_VARIABLE = re.compile(r" \(row \d+ of .*\)$|'[^']*'|\d+")  # what differs between reasons of one kind
_SHOWN = 60  # characters of an id


@dataclass
class Skipped:
    """The rows that were left out, in catalogue order."""

    rows: list[tuple[int, Any, str]] = field(default_factory=list)

    def add(self, row: int, product_id: Any, reason: str) -> None:
        """Add one row.

        Args:
            row: row number in the catalogue, from 0.
            product_id: the row's product id, as the catalogue has it.
            reason: why the row cannot be used.
        """
        self.rows.append((row, product_id, reason))

    def to_csv(self) -> str:
        """Return the rows as CSV with the columns row (from 0), product_id, reason."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "product_id", "reason"])
        writer.writerows(self.rows)
        return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Rows that were left out for one kind of reason.

    Attributes:
        reason: the reason of the first one.
        rows: how many there are.
        first: number of the first one, from 0.
        product_id: the id of the first one, as the catalogue has it; None if it is missing.
    """

    reason: str
    rows: int
    first: int
    product_id: int | str | None

    def __str__(self) -> str:
        which = f"row {self.first}" + ("" if self.product_id is None else f", id {_short(str(self.product_id))}")
        return f"{'1 row' if self.rows == 1 else f'{self.rows} rows, the first'} ({which}): {self.reason}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class Reasons:
    """Counts the rows that are left out by kind of reason. Reasons of one kind differ in numbers and quoted values."""

    def __init__(self) -> None:
        self._kinds: dict[str, LeftOut] = {}

    def add(self, row: int, product_id: int | str | None, reason: str) -> None:
        """Count one row. The arguments are those of `Skipped.add`."""
        kind = _VARIABLE.sub("…", reason)
        if before := self._kinds.get(kind):
            self._kinds[kind] = replace(before, rows=before.rows + 1)
        else:
            self._kinds[kind] = LeftOut(reason=reason, rows=1, first=row, product_id=product_id)

    def listed(self) -> tuple[LeftOut, ...]:
        """Return the kinds, the most frequent one first."""
        return tuple(sorted(self._kinds.values(), key=lambda one: -one.rows))

    @classmethod
    def read(cls, file: Path) -> Reasons:
        """Count the rows of a file that holds what `Skipped.to_csv` returns; none if there is no file."""
        found = cls()
        if not file.exists():
            return found
        with file.open(newline="") as opened:
            for row in csv.DictReader(opened):
                found.add(int(row["row"]), row["product_id"] or None, row["reason"])
        return found
