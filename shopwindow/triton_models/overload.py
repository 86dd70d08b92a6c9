"""Overload: where more comes than can be answered in time, some is refused at once rather than all answered late.

Triton's own bound on its queue can't be used: under 2.51 any queue policy delays random requests by half a second, and
up to 2.66 a pipeline hangs when the full queue of a step refuses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException

ANSWERED_ROWS = 32  # of a batch, in an overload: few, so that the others hear soon that they are refused
BULK_ROWS, BULK_S = 16, 2.5  # who sends more rows has chosen how many at once, and may wait so long, in seconds
SHORTEST_S, LONGEST_S = 2.0, 16.0  # of an overload, before it is looked again whether there still is one
_AGAIN_S = 2.0  # what comes back within this was not over
_REST_S = 0.2
_LOOK_EVERY_S = 0.025
_BATCHES = 2  # that a request may wait for, however long they take
_LATELY_S = 10.0
_TIMEOUT_S = 0.2
_AFTER_FAILURE_S = 5.0


class Overload:
    """How much of a batch a model instance answers.

    What waits, waits with Triton, and a model sees of it no more than its next batch. So where a batch is full it asks
    how long requests had to wait lately. Was it longer than the limit, then full batches are refused, and of others
    some rows are answered and the rest refused, which keeps the queue short. That ends when the instance had
    nothing to do, or after a while; should requests then soon wait again, for half of the limit, it goes on for twice
    as long.

    Args:
        waited: seconds that requests waited lately, on average; None where that is not known, as for a first look.
        full_rows: rows of a full batch; one of more than half as many, into which the largest request of late would
            not fit as well, counts as full too.
        limit_s: the longest wait, in seconds, that is no overload; at least BULK_S where all requests have more than
            BULK_ROWS rows, and at least twice what the batch before took; 0 for no limit.

    Attributes:
        full: whether the batch that came last was full: more may be waiting than it took.
    """

    def __init__(self, waited: Callable[[], float | None], *, full_rows: int, limit_s: float) -> None:
        self._waited = waited
        self._full_rows = full_rows
        self._limit_s = limit_s or float("inf")
        self._looked_at = self._until = self._over_at = self._idle_since = float("-inf")
        self._overloaded = False
        self._began_at, self._took_s = float("inf"), 0.0  # the last batch that was answered whole
        self._lasts_s = SHORTEST_S
        self._largest, self._largest_at = 0, float("-inf")  # rows of a request
        self.full = False
        self._allowance = 0  # rows; saved up for requests of more than ANSWERED_ROWS

    def answered(self, rows: Sequence[int]) -> int:
        """How many requests of a batch, the first ones, to answer; the others are to be refused.

        Args:
            rows: of each request, in order.
        """
        now = self._began_at = time.monotonic()
        self.full = self._is_full(rows, now)
        bulk = min(rows, default=0) > BULK_ROWS
        rested = now - self._idle_since > _REST_S
        if self._overloaded and (rested or now >= self._until):
            self._overloaded, self._over_at = False, now
        if rested:  # so nothing waited, and what waited before says nothing of what comes
            if self.full:
                self._waits_too_long(now, bulk=bulk)
            return len(rows)
        if not self._overloaded and self.full and self._waits_too_long(now, bulk=bulk):
            self._begin(now)
        if not self._overloaded:
            return len(rows)
        if self.full and not bulk:
            return 0  # what waits behind them would hear too late
        self._allowance = min(self._allowance + ANSWERED_ROWS, self._full_rows)
        count = 0
        while count < len(rows) and rows[count] <= self._allowance:
            self._allowance -= rows[count]
            count += 1
        return count

    def ended(self) -> None:
        """Take note that the batch was answered."""
        self._idle_since = time.monotonic()
        if not self._overloaded:  # else it was not answered whole
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
    """How long requests to a model waited in Triton's queue, by its statistics over HTTP.

    Args:
        address: `host:port` of Triton's HTTP endpoint.
        model: name of the model.
        complain: told why nothing is known, once until it is known again.
    """

    def __init__(self, address: str, model: str, complain: Callable[[str], object]) -> None:
        self._address, self._path = address, f"/v2/models/{model}/stats"
        self._complain, self._failed_at = complain, float("-inf")
        self._seen: tuple[float, int, int] | None = None  # when, requests, nanoseconds

    def waited(self) -> float | None:
        """Seconds, on average over the requests answered since the last look; None without one in 10 seconds."""
        if time.monotonic() - self._failed_at < _AFTER_FAILURE_S:
            return None
        try:
            count, waited_ns = self._read()
        except (OSError, HTTPException, ValueError, LookupError) as error:
            if self._failed_at == float("-inf"):
                why = f"{self._address}{self._path}: {type(error).__name__} {error}"
                self._complain(f"an overload can't be noticed: {why}")
            self._failed_at = time.monotonic()
            return None
        self._failed_at = float("-inf")
        now, seen = time.monotonic(), self._seen
        self._seen = now, count, waited_ns
        if seen is None or now - seen[0] > _LATELY_S or count <= seen[1]:
            return None
        return (waited_ns - seen[2]) / (count - seen[1]) / 1e9

    def _read(self) -> tuple[int, int]:
        # Closed each time: a server that is stopped waits for open ones.
        with closing(HTTPConnection(self._address, timeout=_TIMEOUT_S)) as connection:
            connection.request("GET", self._path)
            response = connection.getresponse()
            text = response.read()
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        queue = json.loads(text)["model_stats"][0]["inference_stats"]["queue"]
        return int(queue["count"]), int(queue["ns"])
