"""The deadline that all parts of a call share."""

from __future__ import annotations

import math
import time

from .errors import DeadlineExceeded, InvalidRequest


def check_timeout(timeout_s: int | float) -> float:
    """Return `timeout_s`, or raise InvalidRequest unless it is a finite, positive number of seconds."""
    is_number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool)
    if not is_number or not math.isfinite(timeout_s) or timeout_s <= 0:
        raise InvalidRequest(f"timeout_s must be a finite number of seconds above 0, got {timeout_s!r}")
    return float(timeout_s)


class Deadline:
    """A deadline `timeout_s` seconds from now."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = check_timeout(timeout_s)
        self._end = time.monotonic() + self.timeout_s

    @property
    def remaining_s(self) -> float:
        """The seconds left. 0 or less once the deadline has passed."""
        return self._end - time.monotonic()

    def left_s(self) -> float:
        """Return the seconds left.

        Raises:
            DeadlineExceeded: No time is left.
        """
        left = self.remaining_s
        if left <= 0:
            raise DeadlineExceeded(
                f"timeout_s={self.timeout_s:g} was used up before every part of the call was sent. Allow more "
                "time or send fewer rows in a call."
            )
        return left
