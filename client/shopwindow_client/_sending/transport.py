"""Sending and waiting, with threads and with asyncio. All else is written once, on top of this.

The methods of both are coroutines. Those of `BlockingTransport` never suspend, so one step runs a whole call.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

import grpc
from tritonclient.grpc import service_pb2

from .._values.errors import ClientClosed
from .._values.options import Metadata

T = TypeVar("T")

_METHODS = ("ModelInfer", "ModelConfig", "ModelReady", "ServerLive", "ServerMetadata", "ServerReady")


class Source(Protocol):
    """Something that opens a channel."""

    @property
    def url(self) -> str: ...

    def channel(self, grpc_module: Any) -> Any: ...


class Transport(Protocol):
    """Sending and waiting."""

    url: str
    closed: bool

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> bytes:
        """Send one message and return the reply, unread.

        Raises:
            grpc.RpcError: No reply came.
            ClientClosed: The client was closed before or during the call, or belongs to another event loop.
        """

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        """Send one message and return an attempt at once. `wait` waits for it, and its `result()` is the reply."""

    async def wait(self, attempts: Sequence[Any], timeout_s: float | None) -> list[Any]:
        """Wait until an attempt is done or the time is over. Return the attempts that are done."""

    async def cancel(self, attempts: Sequence[Any]) -> None:
        """Cancel attempts, here and on the server."""

    async def sleep(self, seconds: float) -> None:
        """Wait. Stop early if the client is closed."""

    async def gather(self, jobs: Sequence[Callable[[Any], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run jobs, at most `max_concurrent` of the client's at once. The first failure ends them all.

        Args:
            jobs: Each takes the transport to use.
        """


class BlockingTransport:
    """Sends over grpc, with threads for several requests at once.

    It does not use tritonclient's own client, which cannot cancel a request that another thread started.

    Args:
        source: Opens the channel.
        max_concurrent: Jobs at once.
    """

    def __init__(self, source: Source, max_concurrent: int) -> None:
        self.url = source.url
        self.closed = False
        self._closing = threading.Event()
        self._channel = source.channel(grpc)
        self._methods = _methods(self._channel)
        self._pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="shopwindow-client")

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> bytes:
        check_open(self)
        try:
            reply: bytes = self._methods[method](message, timeout=timeout_s, metadata=metadata)
            return reply
        except ValueError as error:  # how grpc reports a closed channel
            check_open(self, error)
            raise

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        check_open(self)
        try:
            return self._methods[method].future(message, timeout=timeout_s, metadata=metadata)
        except ValueError as error:
            check_open(self, error)
            raise

    async def wait(self, attempts: Sequence[Any], timeout_s: float | None) -> list[Any]:
        some_done = threading.Event()
        for attempt in attempts:
            attempt.add_done_callback(lambda _: some_done.set())
        some_done.wait(timeout_s)
        return [attempt for attempt in attempts if attempt.done()]

    async def cancel(self, attempts: Sequence[Any]) -> None:
        for attempt in attempts:
            attempt.cancel()

    async def sleep(self, seconds: float) -> None:
        self._closing.wait(seconds)

    async def gather(self, jobs: Sequence[Callable[[Any], Coroutine[Any, Any, T]]]) -> list[T]:
        scope = _Scope(self)
        futures: list[Future[T]] = []

        def run(job: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
            return finish(job(scope))

        try:
            for job in jobs:
                futures.append(self._pool.submit(run, job))
            done = wait(futures, return_when=FIRST_EXCEPTION).done
            for future in futures:
                if future in done:
                    future.result()  # raises the error that ended the wait
            return [future.result() for future in futures]
        except RuntimeError as error:  # how a pool reports that it is shut down
            check_open(self, error)
            raise
        finally:
            for future in futures:
                future.cancel()
            scope.give_up()

    def close(self) -> None:
        """Close the channel and end all calls."""
        self.closed = True
        self._closing.set()
        self._channel.close()
        # This comes last. Otherwise jobs that never began would fail with errors of the pool.
        self._pool.shutdown(wait=False)


class _Scope:
    """The transport for the jobs of one `gather`, which end together."""

    def __init__(self, parent: BlockingTransport) -> None:
        self.url = parent.url
        self.wait = parent.wait
        self.cancel = parent.cancel
        self._parent = parent
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._attempts: set[Any] = set()

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> bytes:
        reply: bytes = self.start(method, message, timeout_s, metadata).result()
        return reply

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        attempt = self._parent.start(method, message, timeout_s, metadata)
        with self._lock:
            self._attempts.add(attempt)
        attempt.add_done_callback(self._forget)
        if self._given_up.is_set():
            attempt.cancel()
        return attempt

    async def sleep(self, seconds: float) -> None:
        self._given_up.wait(seconds)

    def give_up(self) -> None:
        """Cancel the requests in flight."""
        self._given_up.set()
        with self._lock:
            attempts = list(self._attempts)
        for attempt in attempts:
            attempt.cancel()

    def _forget(self, attempt: Any) -> None:
        with self._lock:
            self._attempts.discard(attempt)


class AsyncioTransport:
    """Sends over grpc.aio, on the event loop of the first call.

    Args:
        source: Opens the channel.
        max_concurrent: Jobs at once.
    """

    def __init__(self, source: Source, max_concurrent: int) -> None:
        self.url = source.url
        self.closed = False
        self._source = source
        self._max_concurrent = max_concurrent
        self._channel: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> bytes:
        check_open(self)
        self._open()
        try:
            reply: bytes = await self._methods[method](message, timeout=timeout_s, metadata=metadata)
            return reply
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:
            check_open(self, error)  # a closing channel cancels its calls, as if someone cancelled the task
            raise

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        return asyncio.ensure_future(self.call(method, message, timeout_s, metadata))

    async def wait(self, attempts: Sequence[Any], timeout_s: float | None) -> list[Any]:
        done, _ = await asyncio.wait(attempts, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return [attempt for attempt in attempts if attempt in done]

    async def cancel(self, attempts: Sequence[Any]) -> None:
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)  # no task may outlive its call

    async def sleep(self, seconds: float) -> None:
        self._open()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def gather(self, jobs: Sequence[Callable[[Any], Coroutine[Any, Any, T]]]) -> list[T]:
        self._open()

        async def run(job: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
            async with self._slots:
                return await job(self)

        tasks = [asyncio.ensure_future(run(job)) for job in jobs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await self.cancel([task for task in tasks if not task.done()])

    async def close(self) -> None:
        """Close the channel and end all calls.

        Raises:
            ClientClosed: The client belongs to another event loop.
        """
        if self._channel is not None and not self.closed:
            self._check_loop()
            self.closed = True
            self._closing.set()
            await self._channel.close()
        self.closed = True

    def _open(self) -> None:
        # All of these belong to an event loop, and there may be none yet when the client is made.
        if self._channel is None:
            self._loop = asyncio.get_running_loop()
            self._closing = asyncio.Event()
            self._slots = asyncio.Semaphore(self._max_concurrent)
            self._channel = self._source.channel(grpc.aio)
            self._methods = _methods(self._channel)
        self._check_loop()

    def _check_loop(self) -> None:
        # Elsewhere, gRPC would wait for ever or fail with an error of asyncio.
        if asyncio.get_running_loop() is not self._loop:
            raise ClientClosed(
                f"the client of {self.url} belongs to the event loop of its first call"
                f"{', which has ended' if self._loop is None or self._loop.is_closed() else ''}. Make a client in each "
                "event loop, and close it there."
            )


def _methods(channel: Any) -> dict[str, Any]:
    """Return the methods of Triton's protocol that the client uses, by name. They return replies unread."""
    return {
        name: channel.unary_unary(
            f"/inference.GRPCInferenceService/{name}",
            request_serializer=getattr(service_pb2, f"{name}Request").SerializeToString,
            response_deserializer=None,
        )
        for name in _METHODS
    }


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a blocking call was suspended")


def check_open(transport: BlockingTransport | AsyncioTransport, cause: BaseException | None = None) -> None:
    """Raise ClientClosed if the client is closed. `cause` is the error of a call that the closing broke."""
    if transport.closed:
        when = "is closed" if cause is None else "was closed during the call"
        raise ClientClosed(f"the client of {transport.url} {when}. Make a new one.") from cause
