"""Servers that are full, frozen, killed, restarted or shutting down: the right error in time, and no extra search."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import (
    ConnectionLost,
    DeadlineExceeded,
    Hedge,
    MessageTooLarge,
    RetrievalClient,
    Retry,
    ServerDraining,
    ServerNotReady,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
    VersionMismatch,
)
from tests.client.sending.harm import PATIENT, busy, connect, frozen, holds, kill, queued, searched, until

TwoServers = tuple[TritonServer, TritonServer]


def both(two_servers: TwoServers) -> str:
    """Return one address for two servers."""
    return "ipv4:" + ",".join(server.grpc_url for server in two_servers)


@contextmanager
def other_protocol(port: int = 0) -> Iterator[int]:
    """Start a gRPC server with another protocol, and return the port that it listens on."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def warm(client: RetrievalClient, embedding: np.ndarray) -> None:
    client.retrieve_by_embedding(embedding, top_k=3)


def test_a_full_queue_is_an_overload_and_retries_succeed_once_there_is_room(
    two_servers: TwoServers, embedding: np.ndarray
) -> None:
    server, before = two_servers[0], searched(two_servers[0])
    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=None) as hasty,
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as patient,
        ThreadPoolExecutor(8) as threads,
    ):
        with busy(server):
            # The model works on one, and the queue holds one. How many others come too late depends on the order.
            calls = [threads.submit(hasty.retrieve_by_embedding, embedding, top_k=3) for _ in range(6)]
            until(lambda: sum(call.done() for call in calls) >= 3)
            retried = threads.submit(patient.retrieve_by_embedding, embedding, top_k=3)
        refused = [error for call in calls if (error := call.exception()) is not None]
        assert {type(error) for error in refused} == {ServerOverloaded}
        assert all("Wait a moment" in str(error) and error.attempts == 1 for error in refused)
        assert len(retried.result()) == 1
    assert searched(server) - before == len(calls) - len(refused) + 1  # each success counts once, and nothing else


def test_a_call_to_a_frozen_server_ends_at_its_deadline(two_servers: TwoServers, embedding: np.ndarray) -> None:
    server = two_servers[0]
    with RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client:
        warm(client, embedding)
        with frozen(server):
            with pytest.raises(DeadlineExceeded, match=r"timeout_s=0\.3"):
                client.retrieve_by_embedding(embedding, timeout_s=0.3)
            assert not client.health(timeout_s=0.3).reachable
        warm(client, embedding)  # now the server has read all that it missed, so the next test starts clean


def test_a_hedge_finds_the_fast_server_which_searches_once_per_call(
    two_servers: TwoServers, embedding: np.ndarray
) -> None:
    with RetrievalClient(both(two_servers), timeout_s=60.0, hedge=Hedge(after_s=0.05), retry=PATIENT) as client:
        connect(client, embedding, *two_servers)
        client.health()  # each server reads it after the cancelled requests
        before = [searched(server) for server in two_servers]
        with busy(two_servers[0]):
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(5)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    counts = [searched(server) - count for server, count in zip(two_servers, before, strict=True)]
    assert counts[0] <= 2  # one at work and one in the queue, which holds no more
    assert counts[1] == len(found)


def test_the_server_drops_a_queued_request_after_its_deadline(two_servers: TwoServers, embedding: np.ndarray) -> None:
    server = two_servers[0]
    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        warm(client, embedding)
        before = searched(server)
        with busy(server):
            at_work = threads.submit(client.retrieve_by_embedding, embedding, top_k=3)
            until(lambda: holds(server))
            with pytest.raises(DeadlineExceeded):  # while it is in the queue
                client.retrieve_by_embedding(embedding, timeout_s=0.3)
            for _ in range(5):  # the server reads this after the client gave up
                with pytest.raises(ServerNotReady):
                    client.retrieve("a model that this server lacks")
        assert len(at_work.result()[0]) == 3
        warm(client, embedding)
    assert searched(server) - before == 2


def test_a_hedge_finds_the_server_that_is_not_frozen(two_servers: TwoServers, embedding: np.ndarray) -> None:
    with RetrievalClient(both(two_servers), timeout_s=60.0, hedge=Hedge(after_s=0.05), retry=PATIENT) as client:
        connect(client, embedding, *two_servers)
        client.health()  # each server reads it after the cancelled requests
        before = searched(*two_servers)
        with frozen(two_servers[0]):
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(6)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    assert len(found) <= searched(*two_servers) - before <= 2 * len(found)


def test_a_server_killed_in_a_call_is_a_lost_connection_and_retried_only_if_allowed(
    options: dict[str, Any], two_servers: TwoServers, embedding: np.ndarray
) -> None:
    with TritonServer(ServerOptions(**options)) as victim:
        targets = both((victim, two_servers[1]))
        with (
            RetrievalClient(victim.grpc_url, timeout_s=60.0) as careful,
            RetrievalClient(targets, timeout_s=60.0, retry=replace(PATIENT, lost=True)) as bold,
            ThreadPoolExecutor(4) as threads,
        ):
            warm(careful, embedding)
            connect(bold, embedding, victim, two_servers[1])
            before = searched(two_servers[1])
            with busy(victim):
                lost = threads.submit(careful.retrieve_by_embedding, embedding)
                found = [threads.submit(bold.retrieve_by_embedding, embedding, top_k=3) for _ in range(2)]
                until(lambda: any(call.done() for call in found))  # the one that went to the other server
                until(lambda: holds(victim) and queued(victim) == 1)  # the other two
                kill(victim)
                error = lost.exception(timeout=60)
            assert type(error) is ConnectionLost
            assert error.attempts == 1
            assert all(len(call.result(timeout=60)[0]) == 3 for call in found)
            assert searched(two_servers[1]) - before == len(found)
            while type(error) is ConnectionLost:  # more calls may begin on the dying connection
                with pytest.raises(ServerUnreachable) as caught:
                    careful.retrieve_by_embedding(embedding)
                error = caught.value
            assert "cannot reach" in str(error)


def test_calls_outlive_a_restart_and_another_protocol_on_the_port_is_an_error(
    options: dict[str, Any], embedding: np.ndarray
) -> None:
    bold = replace(PATIENT, lost=True)
    with TritonServer(ServerOptions(**options)) as server, ThreadPoolExecutor(2) as threads:
        port = int(server.grpc_url.rpartition(":")[2])
        client = RetrievalClient(server.grpc_url, timeout_s=120.0, retry=bold)
        warm(client, embedding)
        with busy(server):
            calls = [threads.submit(client.retrieve_by_embedding, embedding, top_k=3)]
            until(lambda: holds(server))
            kill(server)
        server.stop()
        calls.append(threads.submit(client.retrieve_by_embedding, embedding, top_k=3))
        with TritonServer(ServerOptions(**{**options, "grpc_port": port})) as again:
            assert [len(call.result(timeout=120)[0]) for call in calls] == [3, 3]
            assert searched(again) == len(calls)
            kill(again)
    with client, other_protocol(port), pytest.raises(VersionMismatch, match="not Triton's protocol"):
        client.retrieve_by_embedding(embedding)


def test_a_server_that_shuts_down_says_so_and_finishes_its_requests(
    options: dict[str, Any], embedding: np.ndarray
) -> None:
    kinds: set[type[ShopwindowError]] = set()
    server = TritonServer(ServerOptions(**{**options, "stop_timeout_s": 60.0}))
    with (
        server,
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=None) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        warm(client, embedding)
        with busy(server):
            in_flight = threads.submit(client.retrieve_by_embedding, embedding, top_k=3)
            until(lambda: holds(server))
            os.kill(server.pid, signal.SIGTERM)
            while ServerDraining not in kinds:
                try:
                    client.retrieve_by_embedding(embedding, timeout_s=0.5)
                except ShopwindowError as error:
                    kinds.add(type(error))
        assert len(in_flight.result()[0]) == 3
        kill(server)
    # In the first moments nothing has changed yet, so other errors can come first.
    assert kinds <= {ServerDraining, DeadlineExceeded, ServerOverloaded}


def test_a_message_that_is_too_large_is_an_error_on_either_side(two_servers: TwoServers, embedding: np.ndarray) -> None:
    before = searched(two_servers[0])
    for option in ("grpc.max_send_message_length", "grpc.max_receive_message_length"):
        with RetrievalClient(two_servers[0].grpc_url, channel_options={option: 100}) as client:
            with pytest.raises(MessageTooLarge, match=r"vs\. 100.*Send fewer rows") as caught:
                client.retrieve_by_embedding(embedding)
            assert not caught.value.retryable
    assert searched(two_servers[0]) - before == 1  # once, for the reply that was too large


def test_the_wrong_port_model_or_protocol_is_an_error_that_says_so(
    two_servers: TwoServers, embedding: np.ndarray
) -> None:
    with (
        RetrievalClient(two_servers[0].http_url, timeout_s=60.0) as client,
        pytest.raises(ServerUnreachable, match="8001"),
    ):
        client.retrieve_by_embedding(embedding)
    with (
        RetrievalClient(two_servers[0].grpc_url, timeout_s=60.0) as client,
        pytest.raises(ServerNotReady, match="health"),
    ):
        client.retrieve("a model that this server lacks")
    with other_protocol() as port, RetrievalClient(f"127.0.0.1:{port}", timeout_s=60.0) as client:
        with pytest.raises(VersionMismatch, match="not Triton's protocol") as caught:
            client.retrieve_by_embedding(embedding)
        assert caught.value.attempts == 1


def test_retries_end_when_the_budget_is_spent(embedding: np.ndarray) -> None:
    with RetrievalClient(
        "127.0.0.1:1", timeout_s=60.0, retry=Retry(attempts=3, first_pause_s=0.0, budget=8.0)
    ) as client:
        attempts = []
        for _ in range(4):
            with pytest.raises(ServerUnreachable) as caught:
                client.retrieve_by_embedding(embedding)
            attempts.append(caught.value.attempts)
    assert attempts == [3, 1, 1, 1]  # 8 tokens: after the fourth failure half of them are left
    with (
        RetrievalClient("127.0.0.1:1", timeout_s=60.0, retry=None) as client,
        pytest.raises(ServerUnreachable) as caught,
    ):
        client.retrieve_by_embedding(embedding)
    assert caught.value.attempts == 1
