"""What waits for a model: answered at once while there is room, refused at once when the wait would be too long.

Triton's own bound on its queue can't be used: under 2.51 any queue policy delays random requests by half a second, and
up to 2.66 a pipeline hangs when the full queue of a step refuses.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_SMOOTHING = 0.3  # share of the newest measurement
_GATHER_S = 0.005  # taking up what comes one by one would cost more than refusing it

Request = TypeVar("Request")
Response = TypeVar("Response")


class Backlog(Generic[Request, Response]):
    """The queue of one model instance, behind Triton's.

    Triton hands over a batch and waits for its answer, and what comes meanwhile waits in a queue without a bound. So it
    stays while batches are not full, as nothing is cheaper. After a full one, more may be waiting: then a thread of the
    backlog answers, `take` returns without, and Triton hands over what waits until all of it is here, or refused.

    Args:
        answer: answers requests, as many as fit a batch, in order, given the seconds that each waited here; it is never
            called twice at once.
        send: answers one request whose `take` returned without.
        refuse: makes the refusal of a request from the number of rows that wait.
        full_rows: rows of a full batch.
        limit_s: how long a request may have to wait, in seconds; a full batch may wait in any case.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Request], Sequence[float]], list[Response]],
        send: Callable[[Request, Response], object],
        refuse: Callable[[int], Response],
        *,
        full_rows: int,
        limit_s: float,
    ) -> None:
        self._answer, self._send, self._refuse = answer, send, refuse
        self._full_rows, self._limit_s = full_rows, limit_s
        self._waiting: deque[tuple[list[Request], int, float]] = deque()  # with rows, and since when
        self._rows = 0  # of all that wait
        self._seconds_a_row = 0.0
        self._crowded = False
        self._closed = False
        self._taken_at = float("-inf")
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def take(self, requests: list[Request], rows: int) -> list[Response] | None:
        """Answer a batch, refuse it, or keep it to be answered later.

        Args:
            requests: what Triton hands to `execute`, of one thread.
            rows: of all of them.

        Returns:
            One response per request; None when `send` will answer each.
        """
        if not self._crowded:
            responses = self._measured(requests, [0.0] * len(requests), rows)
            self._crowded = rows >= self._full_rows
            return responses
        with self._changed:
            gathered_at = self._taken_at + _GATHER_S
            self._changed.wait_for(lambda: self._rows == 0, max(0.0, gathered_at - time.monotonic()))
            self._taken_at = time.monotonic()
            if self._rows >= self._full_rows and self._rows * self._seconds_a_row > self._limit_s:
                return [self._refuse(self._rows) for _ in requests]
            if self._crowded:  # still
                self._waiting.append((requests, rows, time.monotonic()))
                self._rows += rows
                self._start()
                self._changed.notify_all()
                return None
        return self.take(requests, rows)  # the thread has ended its last batch meanwhile

    def close(self) -> None:
        """Answer all that waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._answer_on, name="backlog", daemon=True)
            self._thread.start()

    def _answer_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                requests, waited, rows = self._next()
            for request, response in zip(requests, self._measured(requests, waited, rows), strict=True):
                self._send(request, response)
            del requests, request, response  # they hold memory that the server shares with this process
            with self._changed:
                self._crowded = bool(self._waiting)

    def _next(self) -> tuple[list[Request], list[float], int]:
        """As many as fit a batch together, how long each waited, and their rows."""
        requests: list[Request] = []
        waited: list[float] = []
        total, now = 0, time.monotonic()
        while self._waiting and (not requests or total + self._waiting[0][1] <= self._full_rows):
            more, rows, since = self._waiting.popleft()
            requests += more
            waited += [now - since] * len(more)
            total += rows
        self._rows -= total
        self._changed.notify_all()
        return requests, waited, total

    def _measured(self, requests: Sequence[Request], waited: Sequence[float], rows: int) -> list[Response]:
        started = time.monotonic()
        responses = self._answer(requests, waited)
        seconds = (time.monotonic() - started) / max(1, rows)
        before = self._seconds_a_row or seconds
        self._seconds_a_row = before + _SMOOTHING * (seconds - before)
        return responses
