"""How long to wait before trying again what has just failed."""

from __future__ import annotations

import time
from collections.abc import Callable


class Backoff:
    """Pauses that double with each failure, until all has been well for a while.

    Args:
        first_s: The first pause, in seconds.
        longest_s: No pause is longer, in seconds.
        healthy_s: After so many seconds without a failure the pauses begin anew.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        *,
        first_s: float = 1.0,
        longest_s: float = 60.0,
        healthy_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._healthy_s = healthy_s
        self._clock = clock
        self._next_s = first_s
        self._well_since = clock()

    def pause_s(self) -> float:
        """Counts a failure; returns the seconds to wait before the next attempt."""
        now = self._clock()
        if now - self._well_since >= self._healthy_s:
            self._next_s = self._first_s
        pause = self._next_s
        self._next_s = min(self._longest_s, 2 * pause)
        self._well_since = now + pause
        return pause
