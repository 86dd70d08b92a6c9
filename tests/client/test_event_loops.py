"""An asyncio client outside the event loop of its first call says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shopwindow_client import AsyncRetrievalClient, ClientClosed, Hedge
from tests.client.sending.false_server import false_server, results

REPLY = results([[7, 8]], [[0.9, 0.8]])


async def use(client: AsyncRetrievalClient) -> None:
    assert len((await client.retrieve("red dress"))[0]) == 2


async def misuse(client: AsyncRetrievalClient) -> None:
    calls: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: client.retrieve("red dress"),
        lambda: client.retrieve(["red dress", "mug"]),
        client.info,
        client.health,
        client.close,
    )
    for call in calls:
        with pytest.raises(ClientClosed, match=r"belongs to the event loop of its first call.*in each event loop"):
            await asyncio.wait_for(call(), 30.0)


@pytest.mark.parametrize("hedge", [None, Hedge(after_s=5.0)], ids=["plain", "hedged"])
def test_a_client_in_an_event_loop_beside_its_own_says_so_in_calls_and_in_close(hedge: Hedge | None) -> None:
    async def use_twice(url: str) -> None:
        client = AsyncRetrievalClient(url, timeout_s=30.0, hedge=hedge)
        await use(client)
        await asyncio.to_thread(asyncio.run, misuse(client))
        await use(client)  # it still works where it belongs
        await client.close()
        await asyncio.to_thread(asyncio.run, client.close())  # closing twice does no harm anywhere
        with pytest.raises(ClientClosed, match="is closed"):
            await use(client)

    with false_server(REPLY) as url:
        asyncio.run(use_twice(url))


def test_a_client_whose_event_loop_has_ended_says_so() -> None:
    with false_server(REPLY) as url:
        client = AsyncRetrievalClient(url, timeout_s=30.0)
        asyncio.run(use(client))
        asyncio.run(misuse(client))
        with pytest.raises(ClientClosed, match="first call, which has ended"):
            asyncio.run(use(client))


def test_a_client_that_was_never_used_belongs_to_no_event_loop() -> None:
    with false_server(REPLY) as url:
        client = AsyncRetrievalClient(url, timeout_s=30.0)
        asyncio.run(client.close())
        with pytest.raises(ClientClosed, match="is closed"):
            asyncio.run(use(client))
