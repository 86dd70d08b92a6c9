"""Refuses calls on the client's side while the server refuses many, which costs the server nothing."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from .._values.errors import InvalidRequest
from .._values.numbers import is_finite

_SPARE = 5  # requests per window that count as accepted on top of the accepted ones
_PARTS = 10  # of a window; the oldest part is forgotten as a whole


@dataclass(frozen=True)
class Throttle:
    """Refuses calls on the client's side, at once, while the server refuses many ("adaptive throttling").

    Refusing costs a server time, too. Under several times the load that it can serve, it spends much of its time on
    refusals. With a throttle the client sends each model about `ratio` times as many calls as the model accepted
    lately. For the other calls, chosen at random, it raises `Throttled`. A call counts as accepted if the server
    answered it, even with `InvalidRequest`, and as refused after `ServerOverloaded` or `QueueTimeout`. A call that was
    lost or late counts as neither. The throttle never holds back retries and hedges of a call that it let through.

    The formula is that of Beyer et al., "Site Reliability Engineering", ch. 21 (2016), with two changes. Calls in
    flight do not count. Five requests of each window count as accepted, so the throttle hardly holds back a client that
    sends few.

    Use a throttle in all callers of a server or in none: callers that hold back make room for those that do not. Some
    share of the requests may be refused even under a low load. Keep `ratio` well above 1 divided by the share that is
    always accepted. If one of three replicas may be broken and refuse everything, that is above 1.5.

    Attributes:
        ratio: How many requests to send for each accepted one, above 1. With 2, the server refuses one request for each
            that it answers. A lower ratio leaves the server more time for answers. But after a time in which it refused
            everything, it takes longer until the client sends everything again: at 100 requests per second about 20
            seconds with 2, and a minute with 1.2.
        window_s: How many seconds "lately" is.
    """

    ratio: float = 2.0
    window_s: float = 10.0

    def __post_init__(self) -> None:
        if not is_finite(self.ratio) or self.ratio <= 1:
            raise InvalidRequest(
                f"ratio must be a finite number above 1, got {self.ratio!r}; throttle=None turns throttling off"
            )
        if not is_finite(self.window_s) or self.window_s <= 0:
            raise InvalidRequest(f"window_s must be a number of seconds above 0, got {self.window_s!r}")


class Throttling:
    """Counts how many of a client's latest requests were accepted. Threads may share it.

    Requests in flight do not count: the server has not refused them yet.

    Args:
        rule: How much to send.
        draw: Returns a random number from 0 up to 1.
        now: Returns the time in seconds.
    """

    def __init__(
        self, rule: Throttle, draw: Callable[[], float] = random.random, now: Callable[[], float] = monotonic
    ) -> None:
        self._rule, self._draw, self._now = rule, draw, now
        self._parts: deque[_Part] = deque()
        self._wanted = self._accepted = 0  # of all parts
        self._lock = threading.Lock()

    def admits(self) -> bool:
        """Return whether to send a request, and count it if not."""
        with self._lock:
            self._forget()
            too_many = self._wanted - self._rule.ratio * (self._accepted + _SPARE)
            share = too_many / (self._wanted + 1)
            if share <= 0 or self._draw() >= share:
                return True
            self._count(accepted=False)
            return False

    def ended(self, *, accepted: bool) -> None:
        """Count a request that was sent, and whether the server accepted it."""
        with self._lock:
            self._forget()
            self._count(accepted=accepted)

    def _count(self, *, accepted: bool) -> None:
        now = self._now()
        if not self._parts or now - self._parts[-1].began > self._rule.window_s / _PARTS:
            self._parts.append(_Part(now))
        self._parts[-1].wanted += 1
        self._parts[-1].accepted += accepted
        self._wanted += 1
        self._accepted += accepted

    def _forget(self) -> None:
        oldest = self._now() - self._rule.window_s
        while self._parts and self._parts[0].began < oldest:
            part = self._parts.popleft()
            self._wanted -= part.wanted
            self._accepted -= part.accepted


@dataclass
class _Part:
    began: float
    wanted: int = 0
    accepted: int = 0
