"""Rows that could not be used: counted, listed with reasons, never silent."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Skipped:
    """Rows left out, in catalogue order."""

    rows: list[tuple[int, Any, str]] = field(default_factory=list)

    def add(self, row: int, product_id: Any, reason: str) -> None:
        """Note one row."""
        self.rows.append((row, product_id, reason))

    def to_csv(self) -> str:
        """As text with the columns row (from 0), product_id, reason."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "product_id", "reason"])
        writer.writerows(self.rows)
        return text.getvalue()
