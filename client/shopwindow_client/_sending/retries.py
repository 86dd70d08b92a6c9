"""When a request is sent again: retries within a budget, and hedges."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from .._values.errors import (
    ConnectionLost,
    InvalidRequest,
    QueueTimeout,
    ServerDraining,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
)

_RETRIED = (QueueTimeout, ServerDraining, ServerOverloaded, ServerUnreachable)


@dataclass(frozen=True)
class Retry:
    """Sending again what the server did not carry out: unreachable, overloaded, draining, dropped from the queue.

    The pauses double and are random between nothing and the whole, so that many clients don't come back together.
    Retries stop while no more than half the budget is left, as gRPC throttles its own (gRFC A6): every attempt that
    fails like this takes one token, as does every hedge, and every success returns `budget_ratio` of one, so a server
    that is down is not also stormed.

    Attributes:
        attempts: How often a request is sent at most, the first time included.
        first_pause_s: Longest pause before the second attempt, in seconds.
        max_pause_s: Longest pause before any, in seconds.
        budget: Tokens of a client that is well, shared by all its calls, their retries and hedges.
        budget_ratio: Tokens that a success returns.
        lost: Send again also what was on its way when the connection broke. The server may have carried it out, so
            it may be searched twice; a search changes nothing.
    """

    attempts: int = 3
    first_pause_s: float = 0.05
    max_pause_s: float = 1.0
    budget: float = 10.0
    budget_ratio: float = 0.1
    lost: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidRequest(f"attempts must be at least 1, got {self.attempts!r}; retry=None turns retries off")
        for name in ("first_pause_s", "max_pause_s", "budget", "budget_ratio"):
            if not getattr(self, name) >= 0:
                raise InvalidRequest(f"{name} must be at least 0, got {getattr(self, name)!r}")

    def covers(self, error: ShopwindowError) -> bool:
        """Return whether this kind of error is worth another attempt."""
        if isinstance(error, ConnectionLost):
            return self.lost
        return error.retryable and isinstance(error, _RETRIED)

    def pause_s(self, attempt: int) -> float:
        """Return the seconds to wait after the failure of an attempt, counted from 1."""
        longest: float = min(self.max_pause_s, self.first_pause_s * 2.0 ** (attempt - 1))
        return random.uniform(0.0, longest)


@dataclass(frozen=True)
class Hedge:
    """Sending a request a second time when the first doesn't answer soon.

    The first answer counts and the other request is cancelled. It cuts the slowest calls when several replicas stand
    behind the address, and costs the work of as many calls as are slower than that. Each hedge takes a token of the
    budget in `Retry` (of `Retry()` with retry=None) and is left out while no more than half of that is left: with the
    defaults 5 are sent, then one for each 10 answers. More need a larger `budget` or `budget_ratio`.

    Attributes:
        after_s: Seconds without an answer before the request is sent once more.
        extra: How many more times it is sent at most, one each time as long passes again without an answer or failure.
        percentile: Wait as long as this percentile, 50 to 99, of the client's own latest latencies: 95 sends one call
            in twenty twice. They are kept by model and magnitude of a request's rows, up to 1,000 of each, and count
            once 5 lie beyond the percentile: after 100 calls for 95, after 500 for 99. A call that ends in
            `DeadlineExceeded` counts as long as it lasted. With `after_s` too, the sooner of both counts, and
            `after_s` alone until then; without it nothing is hedged until then.
    """

    after_s: float | None = None
    extra: int = 1
    percentile: float | None = None

    def __post_init__(self) -> None:
        if self.after_s is None and self.percentile is None:
            raise InvalidRequest("give after_s, percentile or both; hedge=None turns hedges off")
        if self.after_s is not None and not self.after_s > 0:
            raise InvalidRequest(f"after_s must be above 0 seconds, got {self.after_s!r}")
        if self.percentile is not None and not 50 <= self.percentile <= 99:
            raise InvalidRequest(f"percentile must be from 50 to 99, got {self.percentile!r}")
        if self.extra < 1:
            raise InvalidRequest(f"extra must be at least 1, got {self.extra!r}; hedge=None turns hedges off")


class Budget:
    """The tokens that retries and hedges of one client share. Safe between threads."""

    def __init__(self, tokens: float, ratio: float) -> None:
        self._most = self._tokens = tokens
        self._ratio = ratio
        self._lock = threading.Lock()

    @property
    def allows(self) -> bool:
        """Whether there is enough left to send something again."""
        return self._tokens > self._most / 2

    def succeeded(self) -> None:
        """Count an answer."""
        if self._tokens < self._most:  # the usual case needs no lock
            with self._lock:
                self._tokens = min(self._most, self._tokens + self._ratio)

    def take(self) -> bool:
        """Take a token for a hedge, if there is enough left, and return whether there was."""
        with self._lock:
            if not self.allows:
                return False
            self._tokens -= 1.0
            return True

    def failed(self) -> None:
        """Count a failure that is worth a retry."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)
