"""Dates and timestamps in filters, written as in ISO 8601.

A date is a day of UTC, `2024-01-31`. A timestamp is a moment, `2024-01-31T12:00:00+01:00`; without a zone it is UTC.

**A date that is compared with timestamps stands for its whole day**: `eq` holds for every moment of the day, `gte` and
`lt` compare with its start, `lte` and `gt` with its end. A timestamp that is compared with dates meets their starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

DAY = 86_400_000_000  # microseconds
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Moment:
    """A date or a timestamp.

    Attributes:
        start: microseconds since 1970, in UTC; of a date, those of its start.
        day: whether it is a date.
    """

    start: int
    day: bool

    def limit(self, operator: str, *, days: bool) -> int:
        """Return the whole number to compare a column with, for `lt`, `lte`, `gt` or `gte`.

        Args:
            operator: the comparison, which stays the same.
            days: whether the column counts days since 1970; if not, it counts microseconds.
        """
        below = operator in ("lt", "gte")  # the limit is where the days, or the moments, from this one on begin
        if days:
            return -(-self.start // DAY) if below else self.start // DAY
        return self.start if below or not self.day else self.start + DAY - 1

    def span(self, *, days: bool) -> tuple[int, int] | None:
        """Return the first and the last number of a column that equal this; None if none does. `days` as in `limit`."""
        if days:
            return None if self.start % DAY else (self.start // DAY, self.start // DAY)
        return self.start, self.start + (DAY - 1 if self.day else 0)


def read_moment(text: str) -> Moment:
    """Read a date or a timestamp.

    Raises:
        ValueError: it is neither, as ISO 8601 writes them.
    """
    try:
        return Moment((date.fromisoformat(text) - _START.date()) // _MICROSECOND, day=True)
    except ValueError:
        pass
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return Moment((moment - _START) // _MICROSECOND, day=False)
