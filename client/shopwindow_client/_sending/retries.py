"""When to send a request again: retries within a budget, and hedges."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass

from .._values.deadline import MAX_TIMEOUT_S
from .._values.errors import (
    ConnectionLost,
    InvalidRequest,
    QueueTimeout,
    ServerDraining,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
)
from .._values.numbers import is_finite, is_whole

_DOUBLINGS = 60  # of the pause; a float has no room for a thousand
_RETRIED = (QueueTimeout, ServerDraining, ServerOverloaded, ServerUnreachable)


@dataclass(frozen=True)
class Retry:
    """Sends again what the server did not carry out: unreachable, overloaded, draining, dropped from the queue.

    The longest pause doubles with each attempt, and each pause is a random part of it, so many clients do not come
    back together. A budget of tokens keeps retries from flooding a server that is down, as gRPC does (gRFC A6). Every
    attempt that fails like this takes one token, and so does every hedge. Every success returns `budget_ratio` of a
    token. Retries stop while half the budget or less is left.

    Attributes:
        attempts: How often a request is sent at most, including the first time.
        first_pause_s: Longest pause before the second attempt, in seconds.
        max_pause_s: Longest pause before any attempt, in seconds.
        budget: Most tokens of a client. All its calls, their retries and hedges share them.
        budget_ratio: Tokens that a success returns.
        lost: Also send again what was in flight when the connection broke. The server may have carried it out, so it
            may search twice. A search changes nothing.
    """

    attempts: int = 3
    first_pause_s: float = 0.05
    max_pause_s: float = 1.0
    budget: float = 10.0
    budget_ratio: float = 0.1
    lost: bool = False

    def __post_init__(self) -> None:
        if not is_whole(self.attempts) or self.attempts < 1:
            raise InvalidRequest(
                f"attempts must be a whole number of at least 1, got {self.attempts!r}; retry=None turns retries off"
            )
        for name in ("first_pause_s", "max_pause_s", "budget", "budget_ratio"):
            value = getattr(self, name)
            if not (is_finite(value) or value == math.inf) or value < 0:
                raise InvalidRequest(f"{name} must be a number of at least 0, got {value!r}")

    def covers(self, error: ShopwindowError) -> bool:
        """Return whether another attempt after this error makes sense."""
        if isinstance(error, ConnectionLost):
            return self.lost
        return error.retryable and isinstance(error, _RETRIED)

    def pause_s(self, attempt: int) -> float:
        """Return the seconds to wait after a failed attempt, counted from 1."""
        longest: float = min(self.max_pause_s, self.first_pause_s * 2.0 ** min(attempt - 1, _DOUBLINGS))
        return random.uniform(0.0, longest)


@dataclass(frozen=True)
class Hedge:
    """Sends a request a second time if the first is slow to answer.

    The first answer counts, and the client cancels the other request. With several replicas behind the address this
    makes the slowest calls faster. It costs one extra request for every call that is slower than the wait. Each hedge
    takes a token of the budget in `Retry` (or of `Retry()` with retry=None). While half the budget or less is left, the
    client does not hedge. So with the defaults it hedges 5 times, then once for each 10 answers. For more, give a
    larger `budget` or `budget_ratio`.

    Attributes:
        after_s: Seconds without an answer before the client sends the request once more.
        extra: How many more times to send it at most. Before each, the client waits just as long again for an answer
            or a failure.
        percentile: Wait as long as this percentile, 50 to 99, of the client's own latest latencies. 95 sends one call
            in twenty twice. The client keeps up to 1,000 latencies for each model and magnitude of the row count. The
            percentile counts once 5 latencies lie above it: after 100 calls for 95, after 500 for 99. A call that ends
            in `DeadlineExceeded` counts with the time that it lasted. With `after_s` too, the shorter wait counts.
            Until there is a percentile, `after_s` alone counts, and without it the client does not hedge.
    """

    after_s: float | None = None
    extra: int = 1
    percentile: float | None = None

    def __post_init__(self) -> None:
        if self.after_s is None and self.percentile is None:
            raise InvalidRequest("give after_s, percentile or both; hedge=None turns hedges off")
        if self.after_s is not None and not (is_finite(self.after_s) and 0 < self.after_s <= MAX_TIMEOUT_S):
            raise InvalidRequest(
                f"after_s must be above 0 and at most {MAX_TIMEOUT_S:,.0f} seconds, got {self.after_s!r}"
            )
        if self.percentile is not None and not (is_finite(self.percentile) and 50 <= self.percentile <= 99):
            raise InvalidRequest(f"percentile must be from 50 to 99, got {self.percentile!r}")
        if not is_whole(self.extra) or self.extra < 1:
            raise InvalidRequest(
                f"extra must be a whole number of at least 1, got {self.extra!r}; hedge=None turns hedges off"
            )


class Budget:
    """The tokens that retries and hedges of one client share. Threads may share it."""

    def __init__(self, tokens: float, ratio: float) -> None:
        self._most = self._tokens = tokens
        self._ratio = ratio
        self._lock = threading.Lock()

    @property
    def allows(self) -> bool:
        """Whether enough tokens are left to send something again."""
        return self._tokens > self._most / 2

    def succeeded(self) -> None:
        """Count an answer."""
        if self._tokens < self._most:  # usually the budget is full, which needs no lock
            with self._lock:
                self._tokens = min(self._most, self._tokens + self._ratio)

    def take(self) -> bool:
        """Take a token for a hedge if enough are left. Return whether it was taken."""
        with self._lock:
            if not self.allows:
                return False
            self._tokens -= 1.0
            return True

    def failed(self) -> None:
        """Count a failure after which a retry makes sense."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)
