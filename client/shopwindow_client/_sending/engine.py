"""Turns requests into replies: splits, sends, hedges, retries and joins them. Both transports share it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import deepcopy
from functools import partial
from time import monotonic
from typing import Any

import grpc
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from .._values.errors import (
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    QueueTimeout,
    ServerOverloaded,
    ShopwindowError,
    Throttled,
    from_status,
)
from .._values.options import Call
from .._values.requests import ModelRequest, Reply
from . import replies as _replies
from . import wire as _wire
from .latencies import Latencies
from .retries import Budget, Hedge, Retry
from .throttling import Throttle, Throttling
from .transport import T, Transport

_FAILURES = (grpc.RpcError, grpc.FutureCancelledError)


class Engine:
    """Answers model requests over a transport.

    Args:
        transport: Sends and waits.
        retry: When to send again. None: never.
        hedge: When to send twice. None: never.
        throttle: How much to send to a server that refuses requests. None: everything.
        clocks_synchronised: Whether the server's clock shows the same time, so requests can name their deadline by it.
    """

    def __init__(
        self,
        transport: Transport,
        retry: Retry | None,
        hedge: Hedge | None,
        *,
        throttle: Throttle | None,
        clocks_synchronised: bool,
    ) -> None:
        self._transport = transport
        self._clocks_synchronised = clocks_synchronised
        self._retry = retry
        self._hedge = hedge
        self._latencies = Latencies(hedge.percentile) if hedge is not None and hedge.percentile is not None else None
        self._throttle = throttle
        self._throttled: dict[str, Throttling] = {}  # by model, because each refuses on its own
        rule = retry or Retry()
        self._budget = Budget(rule.budget, rule.budget_ratio)
        self._max_rows: dict[str, int] = {}

    async def answer(self, requests: Sequence[ModelRequest], call: Call) -> list[Reply]:
        """Return the reply to each request, which may take several messages.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        for request in requests:
            self._hold_back(request.model)
        parts = [await self._split(request, call) for request in requests]
        if sum(map(len, parts)) == 1:
            return [await self._infer(self._transport, parts[0][0], call, call.request_id)]
        jobs: list[Callable[[Transport], Coroutine[Any, Any, Reply]]] = []
        for pieces in parts:
            for piece in pieces:
                request_id = f"{call.request_id}-{len(jobs)}"
                jobs.append(partial(self._infer, request=piece, call=call, request_id=request_id))
        replies = iter(await self._transport.gather(jobs))
        return [_replies.join([next(replies) for _ in pieces], pieces[0].model) for pieces in parts]

    async def ask(self, method: str, message: Any, call: Call, *, about: str = "server") -> Any:
        """Return the reply to any message except an inference.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        ask_once = partial(self.ask_once, method, message, call, about=about)
        return await self._until_answered(self._transport, call, call.request_id, ask_once)

    async def ask_once(self, method: str, message: Any, call: Call, *, about: str = "server") -> Any:
        """Do the same as `ask`, without retries."""
        try:
            answer = await self._transport.call(method, message, call.deadline.left_s(), call.metadata)
        except _FAILURES as error:
            raise self._translate(error, about, call) from error.__cause__
        return _replies.read_message(method, answer, about)

    async def config(self, model: str, call: Call) -> ModelConfig:
        """Return a model's configuration."""
        reply = await self.ask("ModelConfig", service_pb2.ModelConfigRequest(name=model), call, about=model)
        return reply.config

    def _hold_back(self, model: str) -> None:
        """Raise Throttled unless the throttle lets the call through."""
        if self._throttle is not None and not self._throttling(self._throttle, model).admits():
            raise Throttled(
                f"{model} at {self._transport.url} refused so many requests lately that this client (throttle) sends "
                "it only some, and did not send this one. Wait a moment, then try again, or try another server."
            )

    def _note_outcome(self, model: str, *, accepted: bool) -> None:
        if self._throttle is not None:
            self._throttling(self._throttle, model).ended(accepted=accepted)

    def _throttling(self, rule: Throttle, model: str) -> Throttling:
        return self._throttled.setdefault(model, Throttling(rule))  # threads that come first at the same time share one

    async def _split(self, request: ModelRequest, call: Call) -> list[ModelRequest]:
        if request.rows == 1:  # fits any limit, so there is no need to ask the server for it
            return [request]
        # At first several calls may ask. They all store the same number.
        if request.model not in self._max_rows:
            self._max_rows[request.model] = (await self.config(request.model, call)).max_batch_size
        accepted, fitting = self._max_rows[request.model], _replies.most_rows(request)
        limit = fitting if accepted < 1 else min(accepted, fitting)
        return [request] if request.rows <= limit else request.split(limit)

    async def _infer(self, transport: Transport, request: ModelRequest, call: Call, request_id: str) -> Reply:
        message = _wire.to_message(request, request_id)
        infer_once = partial(self._infer_once, transport, message, request, call)
        try:
            return await self._until_answered(transport, call, request_id, infer_once)
        except InvalidRequest:
            self._max_rows.pop(request.model, None)  # another server with other limits may have taken its place
            raise

    async def _until_answered(
        self, transport: Transport, call: Call, request_id: str, send: Callable[[], Awaitable[T]]
    ) -> T:
        """Send, and send again as the retry rule says."""
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await send()
            except ShopwindowError as error:
                error.request_id, error.attempts = request_id, attempt
                if not await self._pauses(transport, error, attempt, call):
                    raise
            else:
                self._budget.succeeded()
                return answer

    async def _pauses(self, transport: Transport, error: ShopwindowError, attempt: int, call: Call) -> bool:
        """Wait for the next attempt. Return False if there is none."""
        if self._retry is None or not self._retry.covers(error):
            return False
        self._budget.failed()
        pause_s = self._retry.pause_s(attempt)
        if attempt >= self._retry.attempts or not self._budget.allows or pause_s >= call.deadline.remaining_s:
            return False
        await transport.sleep(pause_s)
        return True

    async def _infer_once(self, transport: Transport, message: Any, request: ModelRequest, call: Call) -> Reply:
        # Other failures (lost, late, cancelled, not ready) do not say whether the server would have accepted.
        try:
            answer = await self._send(transport, message, request, call)
        except (ServerOverloaded, QueueTimeout):
            self._note_outcome(request.model, accepted=False)
            raise
        except InvalidRequest:
            self._note_outcome(request.model, accepted=True)
            raise
        self._note_outcome(request.model, accepted=True)
        return _replies.read_reply(answer, request)

    async def _send(self, transport: Transport, message: Any, request: ModelRequest, call: Call) -> bytes:
        left_s = call.deadline.left_s()
        _wire.limit_queueing(message, left_s)
        if self._clocks_synchronised:
            _wire.name_deadline(message, left_s)
        if self._hedge is not None:
            return await self._hedged_and_timed(self._hedge, transport, message, request, call)
        try:
            return await transport.call("ModelInfer", message, left_s, call.metadata)
        except _FAILURES as error:
            raise self._translate(error, request.model, call, request) from error.__cause__

    async def _hedged_and_timed(
        self, hedge: Hedge, transport: Transport, message: Any, request: ModelRequest, call: Call
    ) -> bytes:
        # The time counts from the first request's start, whichever answers. Otherwise hedged calls would look fast, and
        # the client would hedge more and more.
        began = monotonic()
        try:
            answer = await self._hedged(hedge, transport, message, request, call)
        except DeadlineExceeded:
            # The answer takes at least that long. If this did not count, a server that hangs would look fast.
            self._note_latency(request, monotonic() - began)
            raise
        self._note_latency(request, monotonic() - began)
        return answer

    async def _hedged(
        self, hedge: Hedge, transport: Transport, message: Any, request: ModelRequest, call: Call
    ) -> bytes:
        running = [transport.start("ModelInfer", message, call.deadline.left_s(), call.metadata)]
        failures: list[ShopwindowError] = []
        more = hedge.extra
        after_s = self._after_s(hedge, request)
        try:
            while True:
                done = await transport.wait(running, after_s if more and self._budget.allows else None)
                if not done and self._budget.take():  # other calls may have taken the last token by now
                    left_s = call.deadline.left_s()
                    message = deepcopy(message)  # asyncio may still be reading the first one
                    _wire.limit_queueing(message, left_s)
                    running.append(transport.start("ModelInfer", message, left_s, call.metadata))
                    more -= 1
                for attempt in done:
                    running.remove(attempt)
                    try:
                        reply: bytes = attempt.result()
                        return reply
                    except _FAILURES as error:
                        failures.append(self._translate(error, request.model, call, request))
                    # A refusal of the request itself is an answer. After any other failure the others may succeed.
                    if not running or isinstance(failures[-1], InvalidRequest):
                        # An error that forbids a retry wins: the server may have carried out the request.
                        raise next((error for error in failures if not error.retryable), failures[-1])
        finally:
            await transport.cancel(running)

    def _note_latency(self, request: ModelRequest, seconds: float) -> None:
        if self._latencies is not None:
            self._latencies.note(request.model, request.rows, seconds)

    def _after_s(self, hedge: Hedge, request: ModelRequest) -> float | None:
        """Return the seconds to wait for an answer before sending once more. None while that is not known."""
        measured = None if self._latencies is None else self._latencies.slow_s(request.model, request.rows)
        return min((seconds for seconds in (hedge.after_s, measured) if seconds is not None), default=None)

    def _translate(self, error: Any, model: str, call: Call, request: ModelRequest | None = None) -> ShopwindowError:
        # Callers raise these errors from the cause of gRPC's error, not from that itself: its text has the control
        # characters that the server sent.
        if self._transport.closed:
            return ClientClosed(f"the client of {self._transport.url} was closed during the call.")
        is_status = isinstance(error, grpc.RpcError)
        return from_status(
            error.code().name if is_status else "CANCELLED",
            (error.details() if is_status else "") or "",
            url=self._transport.url,
            model=model,
            timeout_s=call.deadline.timeout_s,
            positions=None if request is None else request.positions,
            most_bytes=None if request is None else _replies.most_bytes(request),
        )
