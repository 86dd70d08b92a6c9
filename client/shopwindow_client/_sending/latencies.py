"""A percentile of a client's latest latencies: the measure of what is slow."""

from __future__ import annotations

import math
import threading
from collections import deque

_KEPT = 1_000
_ABOVE = 5  # with fewer measurements above it, a percentile says little
_RENEWED_EVERY = 32  # measurements, because a new percentile must sort them all

Kind = tuple[str, int]


class Latencies:
    """Latencies of requests, by model and by the magnitude of their row count. Threads may share it.

    Args:
        percentile: The percentile to compute, below 100.
    """

    def __init__(self, percentile: float) -> None:
        self._percentile = percentile
        self._needed = math.ceil(_ABOVE * 100 / (100 - percentile))
        self._latest: dict[Kind, deque[float]] = {}
        self._counts: dict[Kind, int] = {}
        self._slow: dict[Kind, float] = {}
        self._lock = threading.Lock()

    def note(self, model: str, rows: int, seconds: float) -> None:
        """Count how long a request took, or how long the client waited for it until the deadline."""
        kind = (model, rows.bit_length())
        with self._lock:
            latest = self._latest.setdefault(kind, deque(maxlen=_KEPT))
            latest.append(seconds)
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            if count >= self._needed and (count - self._needed) % _RENEWED_EVERY == 0:
                self._slow[kind] = sorted(latest)[math.ceil(self._percentile * len(latest) / 100) - 1]

    def slow_s(self, model: str, rows: int) -> float | None:
        """Return the percentile in seconds. None while there are too few measurements."""
        return self._slow.get((model, rows.bit_length()))
