"""What a search may cost: requests that come too late are not searched for, hurried ones with less effort."""

from __future__ import annotations

import time
from dataclasses import replace

from shopwindow.retrieval.errors import RetrievalError
from shopwindow.retrieval.request.parameters import RequestParameters

_SMOOTHING = 0.3  # share of the newest measurement
_FORGOTTEN_AFTER_S = 10.0  # one slow search must not lower the effort for good


class Expired(RetrievalError):
    """Raised when a request's time is over before it was searched for; served as UNAVAILABLE."""

    def __init__(self, late_s: float) -> None:
        # "Request timeout expired" is what Triton itself says of a request that waited too long.
        super().__init__(
            f"Request timeout expired: its deadline passed {late_s * 1e3:.0f} ms before the search, which was left "
            "out; allow more time, or send less at once"
        )


def deadline_of(wanted: RequestParameters, timeout_us: int, began: float) -> float:
    """Until when a request is worth answering, in seconds of `time.perf_counter`; infinite without a limit.

    Args:
        wanted: its parameters; `deadline_unix_ms` counts the time that the request waited in queues too.
        timeout_us: its `timeout` in microseconds, which runs from `began`, as the arrival is not known here; 0 is none.
        began: when its batch was taken up.
    """
    deadline = began + timeout_us / 1e6 if timeout_us > 0 else float("inf")
    if wanted.deadline_unix_ms is not None:
        deadline = min(deadline, time.perf_counter() + wanted.deadline_unix_ms / 1e3 - time.time())
    return deadline


class SearchCosts:
    """What searches took lately, by effort. Several threads may tell and ask."""

    def __init__(self) -> None:
        self._seconds_a_row: dict[int, tuple[float, float]] = {}  # effort -> seconds, when measured

    def note(self, effort: int, rows: int, seconds: float) -> None:
        """Take in a search of some rows together."""
        if rows > 0:
            now, cost = time.perf_counter(), seconds / rows
            before = self._recent(now).get(effort)
            self._seconds_a_row[effort] = (cost if before is None else before + _SMOOTHING * (cost - before), now)

    def expected(self, effort: int, rows: int) -> float:
        """Seconds that a search will take; 0 when nothing was measured lately.

        Of an effort that was not measured it is told by the nearest that was: each step doubles the candidates.
        """
        recent = self._recent(time.perf_counter())
        if not recent:
            return 0.0
        nearest = min(recent, key=lambda measured: abs(measured - effort))
        return rows * recent[nearest] * 2.0 ** (effort - nearest)

    def fit(self, wanted: RequestParameters, rows: int, left_s: float) -> RequestParameters:
        """The same request with the highest effort, up to its own, whose search of the batch fits into the time left.

        Args:
            wanted: unchanged unless it allows a lower effort.
            rows: that are searched for together, all of which a request waits for.
            left_s: seconds until the request's deadline.
        """
        if not wanted.allow_lower_effort:
            return wanted
        effort = wanted.effort
        while effort > 1 and self.expected(effort, rows) > left_s:
            effort -= 1
        return wanted if effort == wanted.effort else replace(wanted, effort=effort)

    def _recent(self, now: float) -> dict[int, float]:
        known = self._seconds_a_row.copy()  # another thread may add to it meanwhile
        return {effort: cost for effort, (cost, when) in known.items() if now - when <= _FORGOTTEN_AFTER_S}
