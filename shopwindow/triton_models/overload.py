"""Overload: if more requests come than a model can answer in time, refuse some at once instead of answering all late.

Triton's own limit on its queues is no help. Under 2.51 any queue policy delays random requests by half a second, and up
to 2.66 a pipeline hangs when the full queue of one of its steps refuses a request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException

ANSWERED_ROWS = 32  # rows of a batch to answer in an overload: few, so that the other requests are refused soon
# A caller that sends more than BULK_ROWS in each request decides itself how much to send at once. If all requests of a
# batch are so large, they may wait BULK_S seconds.
BULK_ROWS, BULK_S = 16, 2.5
SHORTEST_S, LONGEST_S = 2.0, 16.0  # duration of an overload before the model checks again whether it goes on
_AGAIN_S = 2.0  # an overload that returns within this time was not over
_REST_S = 0.2  # an instance that was idle for this long has no queue
_LOOK_EVERY_S = 0.025
_BATCHES = 2  # a request may wait for this many batches, however long they take
_LATELY_S = 10.0
_TIMEOUT_S = 0.2
_AFTER_FAILURE_S = 5.0


class Overload:
    """Decides how much of each batch a model instance answers.

    Requests wait in Triton's queue, and a model sees only its next batch. So if a batch is full, the model asks how
    long requests waited lately. If they waited longer than the limit, there is an overload: the model refuses full
    batches, and of other batches it answers some rows and refuses the rest. This keeps the queue short.

    The overload ends when the instance had nothing to do, or after some time. If requests soon wait longer than half of
    the limit again, the next overload lasts twice as long.

    Args:
        waited: returns the seconds that requests waited lately, on average; None if that is unknown, as at first.
        full_rows: rows of a full batch. A batch of more than half as many rows also counts as full if the largest
            recent request would not fit into it as well.
        limit_s: the longest wait, in seconds, that is no overload; 0 for no limit. The limit is at least BULK_S if all
            requests of a batch have more than BULK_ROWS rows, and at least twice the time of the previous batch.

    Attributes:
        full: whether the last batch was full, so that more requests may be waiting.
    """

    def __init__(self, waited: Callable[[], float | None], *, full_rows: int, limit_s: float) -> None:
        self._waited = waited
        self._full_rows = full_rows
        self._limit_s = limit_s or float("inf")
        self._looked_at = self._until = self._over_at = self._idle_since = float("-inf")
        self._overloaded = False
        self._began_at, self._took_s = float("inf"), 0.0  # of the last batch that was answered as a whole
        self._lasts_s = SHORTEST_S
        self._largest, self._largest_at = 0, float("-inf")  # rows of the largest recent request
        self.full = False
        self._allowance = 0  # rows; it grows with each batch, so that requests of more than ANSWERED_ROWS get through

    def answered(self, rows: Sequence[int]) -> int:
        """Return how many requests of a batch to answer, from the first one on. The model must refuse the others.

        Args:
            rows: number of rows of each request, in order.
        """
        now = self._began_at = time.monotonic()
        self.full = self._is_full(rows, now)
        bulk = min(rows, default=0) > BULK_ROWS
        rested = now - self._idle_since > _REST_S
        if self._overloaded and (rested or now >= self._until):
            self._overloaded, self._over_at = False, now
        if rested:  # the queue was empty, so earlier waits say nothing about the next requests
            if self.full:
                self._waits_too_long(now, bulk=bulk)  # only to begin a new measurement
            return len(rows)
        if not self._overloaded and self.full and self._waits_too_long(now, bulk=bulk):
            self._begin(now)
        if not self._overloaded:
            return len(rows)
        if self.full and not bulk:
            return 0  # the requests behind them in the queue would be refused too late
        self._allowance = min(self._allowance + ANSWERED_ROWS, self._full_rows)
        count = 0
        while count < len(rows) and rows[count] <= self._allowance:
            self._allowance -= rows[count]
            count += 1
        return count

    def ended(self) -> None:
        """Note that the batch was answered."""
        self._idle_since = time.monotonic()
        if not self._overloaded:  # in an overload only a part of the batch was answered
            self._took_s = max(0.0, self._idle_since - self._began_at)

    def _is_full(self, rows: Sequence[int], now: float) -> bool:
        if (largest := max(rows, default=0)) >= self._largest or now - self._largest_at > _LATELY_S:
            self._largest, self._largest_at = largest, now
        return (total := sum(rows)) > self._full_rows / 2 and total + self._largest > self._full_rows

    def _waits_too_long(self, now: float, *, bulk: bool) -> bool:
        if self._limit_s == float("inf") or now - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = now
        waited = self._waited()
        limit_s = max(self._limit_s, BULK_S) if bulk else self._limit_s
        return waited is not None and waited > max(limit_s / (2 if self._again(now) else 1), _BATCHES * self._took_s)

    def _again(self, now: float) -> bool:
        return now - self._over_at < _AGAIN_S

    def _begin(self, now: float) -> None:
        self._lasts_s = min(2 * self._lasts_s, LONGEST_S) if self._again(now) else SHORTEST_S
        self._overloaded, self._until, self._allowance = True, now + self._lasts_s, 0


class QueueStatistics:
    """Reads from Triton's statistics, over HTTP, how long requests to a model waited in the queue.

    Args:
        address: `host:port` of Triton's HTTP endpoint.
        model: name of the model.
        complain: called with the reason if the statistics cannot be read, once until they can be read again.
        headers: headers that open Triton's statistics, if they are closed.
    """

    def __init__(
        self, address: str, model: str, complain: Callable[[str], object], headers: Mapping[str, str] | None = None
    ) -> None:
        self._address, self._path, self._headers = address, f"/v2/models/{model}/stats", dict(headers or {})
        self._complain, self._failed_at = complain, float("-inf")
        self._seen: tuple[float, int, int] | None = None  # when, requests, nanoseconds

    def waited(self) -> float | None:
        """Return the average wait in seconds of the requests since the last call; None if that is unknown.

        It is unknown at the first call, if the statistics cannot be read, if no request was counted since the last
        call, or if that was more than 10 seconds ago.
        """
        if time.monotonic() - self._failed_at < _AFTER_FAILURE_S:
            return None
        try:
            count, waited_ns = self._read()
        except (OSError, HTTPException, ValueError, LookupError) as error:
            if self._failed_at == float("-inf"):
                why = f"{self._address}{self._path}: {type(error).__name__} {error}"
                self._complain(f"an overload cannot be noticed: {why}")
            self._failed_at = time.monotonic()
            return None
        self._failed_at = float("-inf")
        now, seen = time.monotonic(), self._seen
        self._seen = now, count, waited_ns
        if seen is None or now - seen[0] > _LATELY_S or count <= seen[1]:
            return None
        return (waited_ns - seen[2]) / (count - seen[1]) / 1e9

    def _read(self) -> tuple[int, int]:
        # A new connection each time: Triton waits for open connections when it stops.
        with closing(HTTPConnection(self._address, timeout=_TIMEOUT_S)) as connection:
            connection.request("GET", self._path, headers=self._headers)
            response = connection.getresponse()
            text = response.read()
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        queue = json.loads(text)["model_stats"][0]["inference_stats"]["queue"]
        return int(queue["count"]), int(queue["ns"])
