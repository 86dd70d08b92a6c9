"""What sending and waiting mean with threads and with asyncio; all else is written once, above this.

The methods are coroutines in both. Those of `BlockingTransport` never suspend, so that one step runs a whole call.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

import grpc
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from .._values.errors import ClientClosed
from .._values.options import Metadata

T = TypeVar("T")


class Source(Protocol):
    """What opens a channel."""

    @property
    def url(self) -> str: ...

    def channel(self, grpc_module: Any) -> Any: ...


class Transport(Protocol):
    """Sending and waiting."""

    url: str
    closed: bool

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        """Send one message and return the reply.

        Raises:
            grpc.RpcError: No reply.
            ClientClosed: The client was closed before or meanwhile.
        """

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        """Send one message and return at once what `wait` waits for and `result()` tells."""

    async def wait(self, attempts: Sequence[Any], timeout_s: float | None) -> list[Any]:
        """Wait until at least one attempt is done, or the time is over, and return those that are done."""

    async def cancel(self, attempts: Sequence[Any]) -> None:
        """Give attempts up, here and on the server."""

    async def sleep(self, seconds: float) -> None:
        """Wait, or until the client is closed."""

    async def gather(self, jobs: Sequence[Callable[[Any], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run jobs, at most `max_concurrent` of the client's at once; the first failure ends them all.

        Args:
            jobs: Each takes the transport to use.
        """


class BlockingTransport:
    """Over grpc, with threads where several requests are on their way at once.

    Not over tritonclient's own client: that can't cancel a request which another thread started.

    Args:
        source: Opens the channel.
        max_concurrent: Jobs at once.
    """

    def __init__(self, source: Source, max_concurrent: int) -> None:
        self.url = source.url
        self.closed = False
        self._closing = threading.Event()
        self._channel = source.channel(grpc)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="shopwindow-client")

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        check_open(self)
        try:
            return getattr(self._stub, method)(message, timeout=timeout_s, metadata=metadata)
        except ValueError as error:  # how grpc says that the channel is closed
            check_open(self, error)
            raise

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        check_open(self)
        try:
            return getattr(self._stub, method).future(message, timeout=timeout_s, metadata=metadata)
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
                    future.result()  # raises what ended the wait
            return [future.result() for future in futures]
        except RuntimeError as error:  # how a pool says that it is shut down
            check_open(self, error)
            raise
        finally:
            for future in futures:
                future.cancel()
            scope.give_up()

    def close(self) -> None:
        """End everything."""
        self.closed = True
        self._closing.set()
        self._channel.close()
        # Only now: the futures of jobs that never began must not look like failures of their own.
        self._pool.shutdown(wait=False)


class _Scope:
    """The transport of the jobs of one `gather`, which end together."""

    def __init__(self, parent: BlockingTransport) -> None:
        self.url = parent.url
        self.wait = parent.wait
        self.cancel = parent.cancel
        self._parent = parent
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._attempts: set[Any] = set()

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        return self.start(method, message, timeout_s, metadata).result()

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
        """Cancel what is on its way."""
        self._given_up.set()
        with self._lock:
            attempts = list(self._attempts)
        for attempt in attempts:
            attempt.cancel()

    def _forget(self, attempt: Any) -> None:
        with self._lock:
            self._attempts.discard(attempt)


class AsyncioTransport:
    """Over grpc.aio, on the event loop of the first call.

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
        self._closing: asyncio.Event | None = None

    async def call(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        check_open(self)
        self._open()
        try:
            return await getattr(self._stub, method)(message, timeout=timeout_s, metadata=metadata)
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:
            check_open(self, error)  # a channel that goes cancels its calls, as if somebody had cancelled this task
            raise

    def start(self, method: str, message: Any, timeout_s: float, metadata: Metadata) -> Any:
        return asyncio.ensure_future(self.call(method, message, timeout_s, metadata))

    async def wait(self, attempts: Sequence[Any], timeout_s: float | None) -> list[Any]:
        done, _ = await asyncio.wait(attempts, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return [attempt for attempt in attempts if attempt in done]

    async def cancel(self, attempts: Sequence[Any]) -> None:
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)  # so that no task outlives its call

    async def sleep(self, seconds: float) -> None:
        self._open()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)  # type: ignore[union-attr]

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
        """End everything."""
        self.closed = True
        if self._channel is not None:
            self._closing.set()  # type: ignore[union-attr]
            await self._channel.close()

    def _open(self) -> None:
        # Not when the client is made, which may be before there is a loop: all of these belong to one.
        if self._channel is None:
            self._closing = asyncio.Event()
            self._slots = asyncio.Semaphore(self._max_concurrent)
            self._channel = self._source.channel(grpc.aio)
            self._stub = GRPCInferenceServiceStub(self._channel)


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
    """Raise ClientClosed when the client is closed, or was meanwhile, which `cause` then came from."""
    if transport.closed:
        when = "is closed" if cause is None else "was closed during the call"
        raise ClientClosed(f"the client of {transport.url} {when}. Make a new one.") from cause
