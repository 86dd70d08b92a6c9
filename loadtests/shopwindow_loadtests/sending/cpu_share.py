"""How much of a core a process that sends load uses: near all of one, what it measures is itself."""

from __future__ import annotations

import time
from collections import deque

WINDOW_S = 5.0  # short enough for a spike, too long for a burst


class CpuShare:
    """Watches this process from now on."""

    def __init__(self) -> None:
        self._looks = deque([(time.perf_counter(), time.process_time())])
        self._busiest: float | None = None

    def look(self) -> float:
        """Cores used in the busiest stretch of `WINDOW_S` so far, or throughout before there was one. Call it often."""
        at_s, cpu_s = time.perf_counter(), time.process_time()
        while len(self._looks) > 1 and self._looks[1][0] <= at_s - WINDOW_S:
            self._looks.popleft()
        began_s, before_s = self._looks[0]
        self._looks.append((at_s, cpu_s))
        share = (cpu_s - before_s) / max(at_s - began_s, 1e-9)
        if at_s - began_s >= WINDOW_S:
            self._busiest = max(share, self._busiest or 0.0)
        return share if self._busiest is None else self._busiest
