"""Overload: where more comes than can be answered in time, some is refused at once rather than all answered late.

Triton's own bound on its queue can't be used: under 2.51 any queue policy delays random requests by half a second, and
up to 2.66 a pipeline hangs when the full queue of a step refuses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException

ANSWERED_ROWS = 16  # of a batch, in an overload: few, so that the others hear soon that they are refused
_LOOK_EVERY_S = 0.1
_LATELY_S = 1.0
_TIMEOUT_S = 0.5


class Overload:
    """How much of a batch a model instance answers.

    What waits, waits with Triton, and a model sees of it no more than its next batch. So after a full batch it asks how
    long requests had to wait lately. Was it longer than the limit, then of each batch a few rows are answered and the
    others refused, which keeps the queue short, until a batch has no more than these few rows.

    Args:
        waited: seconds that requests waited lately, on average; None where that is not known, as for a first look.
        full_rows: rows of a full batch.
        limit_s: the longest wait, in seconds, that is no overload.
    """

    def __init__(self, waited: Callable[[], float | None], *, full_rows: int, limit_s: float) -> None:
        self._waited = waited
        self._full_rows = full_rows
        self._limit_s = limit_s
        self._overloaded = False
        self._looked_at = float("-inf")

    def answered(self, rows: Sequence[int]) -> int:
        """How many requests of a batch, the first ones, to answer; the others are to be refused.

        Args:
            rows: of each request, in order.
        """
        total = sum(rows)
        if not self._overloaded and total >= self._full_rows:
            self._overloaded = self._look()
        elif total <= ANSWERED_ROWS:
            self._overloaded = False
        if not self._overloaded:
            return len(rows)
        count, taken = 1, rows[0]
        while count < len(rows) and taken + rows[count] <= ANSWERED_ROWS:
            taken += rows[count]
            count += 1
        return count

    def _look(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = now
        waited = self._waited()
        return waited is not None and waited > self._limit_s


class QueueStatistics:
    """How long requests to a model waited in Triton's queue, by its statistics over HTTP.

    Args:
        address: `host:port` of Triton's HTTP endpoint.
        model: name of the model.
        complain: told once why nothing is known.
    """

    def __init__(self, address: str, model: str, complain: Callable[[str], object]) -> None:
        self._address, self._path = address, f"/v2/models/{model}/stats"
        self._complain: Callable[[str], object] | None = complain
        self._connection = HTTPConnection(address, timeout=_TIMEOUT_S)
        self._seen: tuple[float, int, int] | None = None  # when, requests, nanoseconds

    def waited(self) -> float | None:
        """Seconds, on average over the requests that ended since the last look; None without one in the last second."""
        try:
            count, waited_ns = self._read()
        except (OSError, HTTPException, ValueError, LookupError) as error:
            self._connection.close()
            if self._complain is not None:
                self._complain(
                    f"overload can't be noticed: {self._address}{self._path}: {type(error).__name__} {error}"
                )
                self._complain = None
            return None
        now, seen = time.monotonic(), self._seen
        self._seen = now, count, waited_ns
        if seen is None or now - seen[0] > _LATELY_S or count <= seen[1]:
            return None
        return (waited_ns - seen[2]) / (count - seen[1]) / 1e9

    def _read(self) -> tuple[int, int]:
        self._connection.request("GET", self._path)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        queue = json.loads(text)["model_stats"][0]["inference_stats"]["queue"]
        return int(queue["count"]), int(queue["ns"])
