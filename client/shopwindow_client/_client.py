"""The twins: the same client for threads and for asyncio."""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ._base import BaseClient
from ._sending.transport import AsyncioTransport, BlockingTransport, Source, finish
from ._values.results import Health, ProductEmbeddings, Results, ServerInfo

Vectors = npt.NDArray[np.float32]


class RetrievalClient(BaseClient[Results, Vectors, ProductEmbeddings, ServerInfo, Health]):
    __doc__ = f"""{BaseClient.__doc__}
    Safe to share between threads. A process that forks makes its client after the fork: gRPC channels don't
    survive one.
    """

    _transport: BlockingTransport

    def close(self) -> None:
        """Close the connection: calls in flight and later ones raise ClientClosed. Closing twice is fine."""
        self._transport.close()

    def __enter__(self) -> RetrievalClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, source: Source, max_concurrent: int) -> BlockingTransport:
        return BlockingTransport(source, max_concurrent)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return finish(work)


class AsyncRetrievalClient(
    BaseClient[
        Coroutine[Any, Any, Results],
        Coroutine[Any, Any, Vectors],
        Coroutine[Any, Any, ProductEmbeddings],
        Coroutine[Any, Any, ServerInfo],
        Coroutine[Any, Any, Health],
    ]
):
    __doc__ = f"""{BaseClient.__doc__}
    For asyncio: every call is awaited. A client belongs to the event loop of its first call. Cancelling a task
    cancels its request on the server too.
    """

    _transport: AsyncioTransport

    async def close(self) -> None:
        """Close the connection: calls in flight and later ones raise ClientClosed. Closing twice is fine."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncRetrievalClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _connect(self, source: Source, max_concurrent: int) -> AsyncioTransport:
        return AsyncioTransport(source, max_concurrent)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return work
