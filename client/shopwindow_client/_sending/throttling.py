"""Refusing requests on the caller's side while the server refuses many: that costs the server nothing."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from .._values.errors import InvalidRequest

_SPARE = 5  # requests of a window that count as accepted beside those that were
_PARTS = 10  # of a window, of which the oldest is forgotten at a time


@dataclass(frozen=True)
class Throttle:
    """Refusing calls here, at once, while the server refuses many ("adaptive throttling").

    Saying no costs a server too: at several times what it can do, much of its time goes into refusals. With this a
    client sends about `ratio` times what was accepted lately, and raises `Throttled` for the rest, chosen at random.
    That is by model, and counts what the server answered: answers (`InvalidRequest`, too) are accepted,
    `ServerOverloaded` and `QueueTimeout` are not, and what was lost or late is neither. Retries and hedges of a call
    that is sent are sent.

    The formula is that of Beyer et al., "Site Reliability Engineering", ch. 21 (2016), with two changes: what is under
    way is not counted, and five requests of each window count as accepted, so that who sends few is not held back.

    Use it in all callers of a server, or in none: those that hold back make room for those that do not. And keep
    `ratio` well above 1 over the share that is accepted at least, however little is sent: with one of three replicas
    out of order, and refusing all, above 1.5.

    Attributes:
        ratio: Requests sent for one that is accepted, above 1. 2 leaves the server one to refuse for each that it
            answers. With less it has more time for answers, but after a while in which all was refused it takes longer
            until all is sent again: of 100 requests a second some 20 seconds with 2 and a minute with 1.2.
        window_s: Length of what "lately" is, in seconds.
    """

    ratio: float = 2.0
    window_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.ratio > 1:
            raise InvalidRequest(f"ratio must be above 1, got {self.ratio!r}; throttle=None turns throttling off")
        if not 0 < self.window_s < float("inf"):
            raise InvalidRequest(f"window_s must be a number of seconds above 0, got {self.window_s!r}")


class Throttling:
    """What became of a client's requests lately. Safe between threads.

    Those under way are in no count: who sends a thousand at once was not refused any yet.

    Args:
        rule: How much to send.
        draw: Draws a number from 0 up to 1.
        now: The time in seconds.
    """

    def __init__(
        self, rule: Throttle, draw: Callable[[], float] = random.random, now: Callable[[], float] = monotonic
    ) -> None:
        self._rule, self._draw, self._now = rule, draw, now
        self._parts: deque[_Part] = deque()
        self._wanted = self._accepted = 0  # of all parts
        self._lock = threading.Lock()

    def admits(self) -> bool:
        """Whether to send a request; one that is not sent is counted."""
        with self._lock:
            self._forget()
            too_many = self._wanted - self._rule.ratio * (self._accepted + _SPARE)
            share = too_many / (self._wanted + 1)
            if share <= 0 or self._draw() >= share:
                return True
            self._count(accepted=False)
            return False

    def ended(self, *, accepted: bool) -> None:
        """Count a request that was sent, and whether the server accepted it, whatever it made of it."""
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
