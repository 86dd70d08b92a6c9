"""Pauses between attempts that keep failing."""

from __future__ import annotations

import time
from collections.abc import Callable

# The longest pause, and the time without a failure after which pauses are short again, in seconds.
_LONGEST_PAUSE_S = 60.0
_HEALTHY_S = 300.0


class Backoff:
    """Pauses that double with each failure and start again from the first after some time without one.

    Args:
        first_s: The first pause, in seconds.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        *,
        first_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._clock = clock
        self._next_s = first_s
        self._well_since = clock()

    def pause_s(self) -> float:
        """Count a failure and return the seconds to wait before the next attempt."""
        now = self._clock()
        if now - self._well_since >= _HEALTHY_S:
            self._next_s = self._first_s
        pause = self._next_s
        self._next_s = min(_LONGEST_PAUSE_S, 2 * pause)
        self._well_since = now + pause
        return pause
