"""The asyncio client: the same answers, many calls at once, cancelling, closing, servers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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
    Part,
    Product,
    RetrievalClient,
    ServerNotReady,
    ServerUnreachable,
)
from tests.client.sending.harm import PATIENT, busy, frozen, holds, kill, queued, searched, until

QUERIES = ["red dress", "blue shirt", "white mug", "running shoes", "black leather bag"]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, and check that no task is left."""

    async def watched() -> Any:
        result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    return asyncio.run(watched())


def test_both_clients_return_the_same(served: TritonServer) -> None:
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
            assert (found.ids == wanted.ids).mean() > 0.95  # products with equal scores may change places
        elif hasattr(wanted, "embeddings"):
            np.testing.assert_allclose(found.embeddings, wanted.embeddings, atol=1e-5)
        elif isinstance(wanted, np.ndarray):
            np.testing.assert_allclose(found, wanted, atol=1e-5)
        else:
            assert found == wanted


def test_many_calls_at_once_each_get_their_own_answer(served: TritonServer) -> None:
    embeddings = np.random.default_rng(1).normal(size=(300, 128)).astype(np.float32)

    async def ask() -> list[Any]:
        async with AsyncRetrievalClient(served.grpc_url, timeout_s=60.0) as client:
            return await asyncio.gather(*(client.retrieve_by_embedding(row, top_k=2) for row in embeddings))

    found = run(ask())
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        expected = client.retrieve_by_embedding(embeddings, top_k=2)
    assert np.concatenate([results.ids for results in found]).tolist() == expected.ids.tolist()


@pytest.mark.parametrize("calls", [[1, 1], [2]], ids=["two calls", "two parts of one call"])
def test_cancelling_a_task_ends_its_requests_on_the_server(
    two_servers: tuple[TritonServer, TritonServer], calls: list[int]
) -> None:
    server, before = two_servers[0], searched(two_servers[0])
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
                for _ in range(5):  # the server reads this after the cancellations
                    with pytest.raises(ServerNotReady):
                        await client.retrieve("a model that this server lacks")

    run(give_up())
    assert searched(server) - before == len(rows) + 1  # of the cancelled ones only the one it had begun


def test_a_server_that_never_answers_and_an_address_without_one(mute_url: str) -> None:
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


def test_frozen_and_killed_servers(
    options: dict[str, Any], two_servers: tuple[TritonServer, TritonServer], embedding: np.ndarray
) -> None:
    async def ask() -> None:
        with TritonServer(ServerOptions(**options)) as victim:
            both = f"ipv4:{victim.grpc_url},{two_servers[1].grpc_url}"
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
                await hedged.health()  # each server reads it after the cancelled requests
                await client.retrieve_by_embedding(embedding)
                with busy(victim):
                    call = asyncio.ensure_future(client.retrieve_by_embedding(embedding))
                    await asyncio.to_thread(until, lambda: holds(victim))
                    kill(victim)
                    with pytest.raises(ConnectionLost) as caught:
                        await call
                assert (type(caught.value), caught.value.attempts) == (ConnectionLost, 1)
                while type(caught.value) is ConnectionLost:  # more calls may begin on the dying connection
                    with pytest.raises(ServerUnreachable) as caught:
                        await client.retrieve_by_embedding(embedding)
                assert "cannot reach" in str(caught.value)

    run(ask())


def test_closing_ends_the_calls_in_flight(mute_url: str) -> None:
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
