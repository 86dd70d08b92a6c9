"""What is slow by a client's own measure: a percentile of its latest latencies."""

from __future__ import annotations

import math
import threading
from collections import deque

_KEPT = 1_000
_ABOVE = 5  # measurements beyond the percentile, below which it says little
_RENEWED_EVERY = 32  # measurements: a percentile needs them sorted

Kind = tuple[str, int]


class Latencies:
    """Latencies of requests, by model and magnitude of their rows. Safe between threads.

    Args:
        percentile: The one to tell, below 100.
    """

    def __init__(self, percentile: float) -> None:
        self._percentile = percentile
        self._needed = math.ceil(_ABOVE * 100 / (100 - percentile))
        self._latest: dict[Kind, deque[float]] = {}
        self._counts: dict[Kind, int] = {}
        self._slow: dict[Kind, float] = {}
        self._lock = threading.Lock()

    def note(self, model: str, rows: int, seconds: float) -> None:
        """Take in how long a request took to be answered, or was waited for until its deadline."""
        kind = (model, rows.bit_length())
        with self._lock:
            latest = self._latest.setdefault(kind, deque(maxlen=_KEPT))
            latest.append(seconds)
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            if count >= self._needed and (count - self._needed) % _RENEWED_EVERY == 0:
                self._slow[kind] = sorted(latest)[math.ceil(self._percentile * len(latest) / 100) - 1]

    def slow_s(self, model: str, rows: int) -> float | None:
        """The percentile in seconds; None while too few were measured."""
        return self._slow.get((model, rows.bit_length()))
