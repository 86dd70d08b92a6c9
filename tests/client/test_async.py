"""The asyncio twin: the same answers, many calls at once, cancelling, closing, servers that fail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import (
    AsyncRetrievalClient,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    Hedge,
    InvalidRequest,
    MessageTooLarge,
    Part,
    Product,
    RetrievalClient,
    ServerNotReady,
    ServerUnreachable,
)
from tests.client.sending.harm import PATIENT, busy, frozen, holds, kill, queued, searched, until

QUERIES = ["red dress", "blue shirt", "white mug", "running shoes", "black leather bag"]


@pytest.fixture
def mute_url() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen()
        yield f"localhost:{listener.getsockname()[1]}"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, and see that no task is left over."""

    async def watched() -> Any:
        result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    return asyncio.run(watched())


def test_the_twins_give_the_same(served: TritonServer) -> None:
    asked: list[tuple[str, Any, dict[str, Any]]] = [
        ("retrieve", QUERIES * 30, {"top_k": 5}),
        ("retrieve", "red dress", {"filter": {"price": {"lt": 50}}, "min_score": 0.01}),
        ("retrieve_similar", [Product("red dress"), Product("mug")], {"top_k": 7}),
        ("retrieve_composed", [Part("red dress"), Part(Product("mug"), -0.5)], {"top_k": 7}),
        ("embed_query", QUERIES, {}),
        ("embed_product", Product("mug"), {}),
    ]

    async def all_of_them() -> list[Any]:
        async with AsyncRetrievalClient(served.grpc_url, timeout_s=60.0) as client:
            return [await getattr(client, name)(given, **options) for name, given, options in asked] + [
                await client.info(),
                await client.health(),
            ]

    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        expected = [getattr(client, name)(given, **options) for name, given, options in asked] + [
            client.info(),
            client.health(),
        ]
    for found, wanted in zip(run(all_of_them()), expected, strict=True):
        if hasattr(wanted, "scores"):
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
            assert (found.ids == wanted.ids).mean() > 0.95  # what ties may change places
        elif hasattr(wanted, "embeddings"):
            np.testing.assert_allclose(found.embeddings, wanted.embeddings, atol=1e-5)
        elif isinstance(wanted, np.ndarray):
            np.testing.assert_allclose(found, wanted, atol=1e-5)
        else:
            assert found == wanted


def test_a_thousand_calls_at_once(served: TritonServer) -> None:
    embeddings = np.random.default_rng(1).normal(size=(1000, 128)).astype(np.float32)

    async def ask() -> list[Any]:
        async with AsyncRetrievalClient(served.grpc_url, timeout_s=60.0) as client:
            return await asyncio.gather(*(client.retrieve_by_embedding(row, top_k=2) for row in embeddings))

    found = run(ask())
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        expected = client.retrieve_by_embedding(embeddings, top_k=2)
    assert np.concatenate([results.ids for results in found]).tolist() == expected.ids.tolist()


@pytest.mark.parametrize("calls", [[1, 1], [2]], ids=["two calls", "two parts of one call"])
def test_a_cancelled_task_ends_its_requests(twins: tuple[TritonServer, TritonServer], calls: list[int]) -> None:
    server, before = twins[0], searched(twins[0])
    rows = np.eye(2, 128, dtype=np.float32)

    async def give_up() -> None:
        async with AsyncRetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client:
            await client.retrieve_by_embedding(rows)
            with busy(server):
                tasks = [asyncio.ensure_future(client.retrieve_by_embedding(rows[:size])) for size in calls]
                await asyncio.to_thread(until, lambda: holds(server) and queued(server) == 1)
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with pytest.raises(asyncio.CancelledError):
                        await task
                for _ in range(5):  # what is answered now was read by the server after the cancellations
                    with pytest.raises(ServerNotReady):
                        await client.retrieve("a model that this server lacks")

    run(give_up())
    assert searched(server) - before == len(rows) + 1  # of the cancelled ones only the one that was begun


def test_deadlines_hedges_and_dead_addresses(mute_url: str) -> None:
    async def ask() -> None:
        for hedge in (None, Hedge(after_s=0.05, extra=3)):
            async with AsyncRetrievalClient(mute_url, timeout_s=0.3, hedge=hedge) as client:
                with pytest.raises(DeadlineExceeded, match=r"timeout_s=0\.3"):
                    await client.retrieve("red dress")
        async with AsyncRetrievalClient("127.0.0.1:1", timeout_s=60.0) as client:
            with pytest.raises(ServerUnreachable) as caught:
                await client.retrieve(QUERIES)
            assert caught.value.attempts == 3
            with pytest.raises(InvalidRequest, match=r"queries\[1\]"):
                await client.retrieve(["fine", ""])

    run(ask())


def test_servers_that_are_frozen_and_killed(
    options: dict[str, Any], twins: tuple[TritonServer, TritonServer], embedding: np.ndarray
) -> None:
    async def ask() -> None:
        with TritonServer(ServerOptions(**options)) as victim:
            both = f"ipv4:{victim.grpc_url},{twins[1].grpc_url}"
            async with (
                AsyncRetrievalClient(victim.grpc_url, timeout_s=60.0) as client,
                AsyncRetrievalClient(both, timeout_s=60.0, hedge=Hedge(after_s=0.05), retry=PATIENT) as hedged,
            ):
                await client.retrieve_by_embedding(embedding)
                with frozen(victim):
                    with pytest.raises(DeadlineExceeded, match=r"timeout_s=0\.3"):
                        await client.retrieve_by_embedding(embedding, timeout_s=0.3)
                    for _ in range(4):
                        assert len((await hedged.retrieve_by_embedding(embedding, top_k=3))[0]) == 3
                await hedged.health()  # on each connection, after what was cancelled there
                await client.retrieve_by_embedding(embedding)
                with busy(victim):
                    call = asyncio.ensure_future(client.retrieve_by_embedding(embedding))
                    await asyncio.to_thread(until, lambda: holds(victim))
                    kill(victim)
                    with pytest.raises(ConnectionLost) as caught:
                        await call
                assert (type(caught.value), caught.value.attempts) == (ConnectionLost, 1)
                while type(caught.value) is ConnectionLost:  # more calls may begin on what is left of the connection
                    with pytest.raises(ServerUnreachable) as caught:
                        await client.retrieve_by_embedding(embedding)
                assert "cannot reach" in str(caught.value)

    run(ask())


def test_a_message_that_is_too_large(twins: tuple[TritonServer, TritonServer], embedding: np.ndarray) -> None:
    async def ask() -> None:
        for option in ("grpc.max_send_message_length", "grpc.max_receive_message_length"):
            async with AsyncRetrievalClient(twins[0].grpc_url, timeout_s=60.0, channel_options={option: 100}) as client:
                with pytest.raises(MessageTooLarge, match=r"vs\. 100.*Send fewer rows"):
                    await client.retrieve_by_embedding(embedding)

    run(ask())


def test_closing_ends_what_is_on_its_way(mute_url: str) -> None:
    async def close_early() -> None:
        client = AsyncRetrievalClient(mute_url, timeout_s=60.0)
        call = asyncio.ensure_future(client.retrieve("red dress"))
        await asyncio.wait([call], timeout=0.05)
        await client.close()
        with pytest.raises(ClientClosed):
            await call
        with pytest.raises(ClientClosed, match="Make a new"):
            await client.retrieve("red dress")
        await client.close()

    run(close_early())
