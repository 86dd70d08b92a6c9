"""Deadlines of requests, and the effort that fits into the time left."""

from __future__ import annotations

import time
from dataclasses import replace

from shopwindow.retrieval.errors import RetrievalError
from shopwindow.retrieval.request.parameters import RequestParameters

_SMOOTHING = 0.3  # weight of the newest measurement
_FORGOTTEN_AFTER_S = 10.0  # so that one slow search does not lower the effort for good


class Expired(RetrievalError):
    """Raised when a request's deadline passes before its turn comes; served as UNAVAILABLE."""

    def __init__(self, late_s: float) -> None:
        # Triton itself says "Request timeout expired" of a request that waited too long, and clients match on that.
        super().__init__(
            f"Request timeout expired: its deadline passed {late_s * 1e3:.0f} ms before its turn came, so it was not "
            "answered; allow more time, or send less at once"
        )


def deadline_of(parameters: RequestParameters, timeout_us: int, began: float) -> float:
    """Return the time until which a request must be answered, in seconds of `time.perf_counter`.

    The result is infinite if the request sets no limit.

    Args:
        parameters: the request's parameters. `deadline_unix_ms` includes the time that the request waited in queues.
        timeout_us: the request's `timeout` in microseconds, or 0 for none. It starts at `began`, because the time of
            arrival is not known here.
        began: time at which the model took up the batch, in seconds of `time.perf_counter`.
    """
    deadline = began + timeout_us / 1e6 if timeout_us > 0 else float("inf")
    if parameters.deadline_unix_ms is not None:
        deadline = min(deadline, time.perf_counter() + parameters.deadline_unix_ms / 1e3 - time.time())
    return deadline


class SearchCosts:
    """The time that recent searches took, by effort. Several threads may use it at once."""

    def __init__(self) -> None:
        self._seconds_a_row: dict[int, tuple[float, float]] = {}  # effort -> seconds, when measured

    def note(self, effort: int, rows: int, seconds: float) -> None:
        """Add a measurement.

        Args:
            effort: effort of the search.
            rows: number of embeddings that were searched together.
            seconds: duration of the search.
        """
        if rows > 0:
            now, cost = time.perf_counter(), seconds / rows
            before = self._recent(now).get(effort)
            self._seconds_a_row[effort] = (cost if before is None else before + _SMOOTHING * (cost - before), now)

    def expected(self, effort: int, rows: int) -> float:
        """Return the seconds that a search will probably take; 0 if there is no recent measurement.

        If this effort was not measured, the nearest measured effort counts. Each step of effort doubles the candidates
        and so the time.
        """
        recent = self._recent(time.perf_counter())
        if not recent:
            return 0.0
        nearest = min(recent, key=lambda measured: abs(measured - effort))
        return rows * recent[nearest] * 2.0 ** (effort - nearest)

    def fit(self, parameters: RequestParameters, rows: int, left_s: float) -> RequestParameters:
        """Lower a request's effort until the search fits into the time left, if the request allows that.

        Args:
            parameters: the request's parameters.
            rows: number of embeddings that are searched together. The request waits for all of them.
            left_s: seconds until the request's deadline.

        Returns:
            The parameters with the lowered effort, or the same object if nothing changes.
        """
        if not parameters.allow_lower_effort:
            return parameters
        effort = parameters.effort
        while effort > 1 and self.expected(effort, rows) > left_s:
            effort -= 1
        return parameters if effort == parameters.effort else replace(parameters, effort=effort)

    def _recent(self, now: float) -> dict[int, float]:
        known = self._seconds_a_row.copy()  # because another thread may add to it meanwhile
        return {effort: cost for effort, (cost, when) in known.items() if now - when <= _FORGOTTEN_AFTER_S}
