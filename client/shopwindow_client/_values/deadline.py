"""The deadline that all parts of a call share."""

from __future__ import annotations

import time

from .errors import DeadlineExceeded, InvalidRequest
from .numbers import is_finite

MAX_TIMEOUT_S = 1e6  # Python and gRPC can wait no more than some years, and Triton counts microseconds


def check_timeout(timeout_s: int | float) -> float:
    """Return `timeout_s`, or raise InvalidRequest unless it is a number of seconds above 0, at most `MAX_TIMEOUT_S`."""
    if not is_finite(timeout_s) or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidRequest(
            f"timeout_s must be a finite number of seconds above 0 and at most {MAX_TIMEOUT_S:,.0f}, got {timeout_s!r}"
        )
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
