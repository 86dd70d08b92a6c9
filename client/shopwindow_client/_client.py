"""The same client twice: for threads and for asyncio."""

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
    """A client of one Shopwindow server, or of all the replicas behind one name.

    Make one, keep it for the life of the process, and close it. Threads may share it. A process that forks makes its
    client after the fork, because gRPC channels do not survive one.
    """

    _transport: BlockingTransport

    def close(self) -> None:
        """Close the connection. Calls in flight and later ones raise ClientClosed. Closing twice does no harm."""
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
    """The same client for asyncio: every call is awaited.

    Make one, keep it for the life of the event loop, and close it. A client belongs to the event loop of its first
    call. Cancelling a task cancels its request on the server too.
    """

    _transport: AsyncioTransport

    async def close(self) -> None:
        """Close the connection. Calls in flight and later ones raise ClientClosed. Closing twice does no harm."""
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
