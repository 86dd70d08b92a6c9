"""A transport without a server. Tests script its replies and failures, to the microsecond."""

from __future__ import annotations

from typing import Any

import grpc

from shopwindow_client import Hedge, Retry, Throttle
from shopwindow_client._in_process import Refused
from shopwindow_client._sending.engine import Engine
from shopwindow_client._sending.transport import finish
from shopwindow_client._values.options import Call
from shopwindow_client._values.requests import ModelRequest, encode_queries

ANSWER = b""  # a reply without outputs, which a request without outputs asks for
FULL = Refused(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
LOST = Refused(grpc.StatusCode.UNAVAILABLE, "Socket closed")
LATE = Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

TIMEOUT_S = 1.0


class Scripted:
    """A transport with its own clock, which moves only while the transport waits.

    Args:
        script: For each request, in the order of sending: after how many seconds it ends, and with what. Requests
            beyond the script are never answered.

    Attributes:
        now: Seconds.
        sent: For each request, when it was sent, and its message.
        waits: For each wait, the number of requests and the longest time in seconds.
    """

    url, closed = "nowhere", False

    def __init__(self, *script: tuple[float, Any]) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, Any]] = []
        self.waits: list[tuple[int, float | None]] = []
        self._script = iter(script)

    def ask(self, engine: Engine, model: str = "retrieve") -> Any:
        """Make a call that takes one request."""
        request = ModelRequest(model, encode_queries("mug"), (), {})
        return finish(engine.answer([request], Call(_Deadline(self), "", ())))  # type: ignore[arg-type]

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Any) -> Any:
        attempt = self.start(method, message, timeout_s, metadata)
        self.now = attempt.end
        return attempt.result()

    def start(self, method: str, message: Any, timeout_s: float, metadata: Any) -> _Attempt:
        self.sent.append((self.now, message))
        after_s, outcome = next(self._script, (timeout_s, LATE))
        return _Attempt(self.now + after_s, outcome)

    async def wait(self, attempts: list[_Attempt], timeout_s: float | None) -> list[_Attempt]:
        self.waits.append((len(attempts), timeout_s))
        first = min(attempt.end for attempt in attempts)
        self.now = first if timeout_s is None else min(first, self.now + timeout_s)
        return [attempt for attempt in attempts if attempt.end <= self.now]

    async def cancel(self, attempts: list[_Attempt]) -> None:
        """Do nothing: a cancelled request never ends."""


def engine(
    transport: Scripted, hedge: Hedge | None, retry: Retry | None = None, throttle: Throttle | None = None
) -> Engine:
    """Return an engine on top of a script."""
    return Engine(transport, retry, hedge, throttle=throttle, clocks_synchronised=False)  # type: ignore[arg-type]


class _Attempt:
    def __init__(self, end: float, outcome: Any) -> None:
        self.end = end
        self._outcome = outcome

    def result(self) -> Any:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class _Deadline:
    """The deadline of a call, on the transport's clock."""

    timeout_s = TIMEOUT_S

    def __init__(self, transport: Scripted) -> None:
        self._transport = transport
        self._end = transport.now + TIMEOUT_S

    @property
    def remaining_s(self) -> float:
        return self._end - self._transport.now

    def left_s(self) -> float:
        return self.remaining_s
