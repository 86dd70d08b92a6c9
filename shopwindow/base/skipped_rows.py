"""Rows of a catalogue that could not be used, with the reasons."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any


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
