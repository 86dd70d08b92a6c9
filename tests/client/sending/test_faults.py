"""Servers that are full, frozen, killed, restarted, draining: the right error in time, and no search too many."""

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

Twins = tuple[TritonServer, TritonServer]


def both(twins: Twins) -> str:
    """An address that stands for two servers."""
    return "ipv4:" + ",".join(server.grpc_url for server in twins)


@contextmanager
def a_stranger(port: int = 0) -> Iterator[int]:
    """A gRPC server with another protocol, and the port that it listens on."""
    stranger = grpc.server(ThreadPoolExecutor(1))
    port = stranger.add_insecure_port(f"127.0.0.1:{port}")
    stranger.start()
    try:
        yield port
    finally:
        stranger.stop(None).wait()


def warm(client: RetrievalClient, embedding: np.ndarray) -> None:
    client.retrieve_by_embedding(embedding, top_k=3)


def test_a_full_queue_is_overload_and_retries_get_through_when_there_is_room(
    twins: Twins, embedding: np.ndarray
) -> None:
    server, before = twins[0], searched(twins[0])
    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=None) as hasty,
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as patient,
        ThreadPoolExecutor(8) as threads,
    ):
        with busy(server):
            # One is at work, one in the queue; how many of the others come too late depends on who was first.
            calls = [threads.submit(hasty.retrieve_by_embedding, embedding, top_k=3) for _ in range(6)]
            until(lambda: sum(call.done() for call in calls) >= 3)
            retried = threads.submit(patient.retrieve_by_embedding, embedding, top_k=3)
        refused = [error for call in calls if (error := call.exception()) is not None]
        assert {type(error) for error in refused} == {ServerOverloaded}
        assert all("Wait a moment" in str(error) and error.attempts == 1 for error in refused)
        assert len(retried.result()) == 1
    assert searched(server) - before == len(calls) - len(refused) + 1  # every success once, nothing else


def test_a_frozen_server_costs_the_deadline_and_no_more(twins: Twins, embedding: np.ndarray) -> None:
    server = twins[0]
    with RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client:
        warm(client, embedding)
        with frozen(server):
            with pytest.raises(DeadlineExceeded, match=r"timeout_s=0\.3"):
                client.retrieve_by_embedding(embedding, timeout_s=0.3)
            assert not client.health(timeout_s=0.3).reachable
        warm(client, embedding)  # read by the server after all that it missed, which can't disturb the next test


def test_a_slow_server_is_hedged_by_another_which_searches_once(twins: Twins, embedding: np.ndarray) -> None:
    with RetrievalClient(both(twins), timeout_s=60.0, hedge=Hedge(after_s=0.05), retry=PATIENT) as client:
        connect(client, embedding, *twins)
        client.health()  # on each connection, after what was cancelled there
        before = [searched(server) for server in twins]
        with busy(twins[0]):
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(5)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    counts = [searched(server) - count for server, count in zip(twins, before, strict=True)]
    assert counts[0] <= 2  # one at work, one in the queue: for more a full queue has no place
    assert counts[1] == len(found)


def test_what_nobody_waits_for_any_more_is_dropped_from_the_queue(twins: Twins, embedding: np.ndarray) -> None:
    server = twins[0]
    with (
        RetrievalClient(server.grpc_url, timeout_s=60.0, retry=PATIENT) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        warm(client, embedding)
        before = searched(server)
        with busy(server):
            at_work = threads.submit(client.retrieve_by_embedding, embedding, top_k=3)
            until(lambda: holds(server))
            with pytest.raises(DeadlineExceeded):  # in the queue
                client.retrieve_by_embedding(embedding, timeout_s=0.3)
            for _ in range(5):  # what is answered now was read by the server after it was given up
                with pytest.raises(ServerNotReady):
                    client.retrieve("a model that this server lacks")
        assert len(at_work.result()[0]) == 3
        warm(client, embedding)
    assert searched(server) - before == 2


def test_a_hedge_finds_the_server_that_is_not_frozen_and_searches_no_more_than_asked(
    twins: Twins, embedding: np.ndarray
) -> None:
    with RetrievalClient(both(twins), timeout_s=60.0, hedge=Hedge(after_s=0.05), retry=PATIENT) as client:
        connect(client, embedding, *twins)
        client.health()  # on each connection, after what was cancelled there
        before = searched(*twins)
        with frozen(twins[0]):
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(6)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    assert len(found) <= searched(*twins) - before <= 2 * len(found)


def test_a_server_killed_in_a_call_is_a_lost_connection_that_only_who_allows_it_sends_again(
    options: dict[str, Any], twins: Twins, embedding: np.ndarray
) -> None:
    with TritonServer(ServerOptions(**options)) as victim:
        targets = both((victim, twins[1]))
        with (
            RetrievalClient(victim.grpc_url, timeout_s=60.0) as careful,
            RetrievalClient(targets, timeout_s=60.0, retry=replace(PATIENT, lost=True)) as bold,
            ThreadPoolExecutor(4) as threads,
        ):
            warm(careful, embedding)
            connect(bold, embedding, victim, twins[1])
            before = searched(twins[1])
            with busy(victim):
                lost = threads.submit(careful.retrieve_by_embedding, embedding)
                found = [threads.submit(bold.retrieve_by_embedding, embedding, top_k=3) for _ in range(2)]
                until(lambda: any(call.done() for call in found))  # the one that the other server answered
                until(lambda: holds(victim) and queued(victim) == 1)  # the other two
                kill(victim)
                error = lost.exception(timeout=60)
            assert type(error) is ConnectionLost
            assert error.attempts == 1
            assert all(len(call.result(timeout=60)[0]) == 3 for call in found)
            assert searched(twins[1]) - before == len(found)
            while type(error) is ConnectionLost:  # more calls may begin on what is left of the connection
                with pytest.raises(ServerUnreachable) as caught:
                    careful.retrieve_by_embedding(embedding)
                error = caught.value
            assert "cannot reach" in str(error)


def test_calls_outlive_a_restart_and_another_on_the_port_is_named(
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
    with client, a_stranger(port), pytest.raises(VersionMismatch, match="not Triton's protocol"):
        client.retrieve_by_embedding(embedding)


def test_a_server_that_shuts_down_says_so_and_finishes_what_it_has(
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
    # The others are what the first moments give, when nothing has changed yet.
    assert kinds <= {ServerDraining, DeadlineExceeded, ServerOverloaded}


def test_messages_that_are_too_large_are_named_on_either_side(twins: Twins, embedding: np.ndarray) -> None:
    before = searched(twins[0])
    for option in ("grpc.max_send_message_length", "grpc.max_receive_message_length"):
        with RetrievalClient(twins[0].grpc_url, channel_options={option: 100}) as client:
            with pytest.raises(MessageTooLarge, match=r"vs\. 100.*Send fewer rows") as caught:
                client.retrieve_by_embedding(embedding)
            assert not caught.value.retryable
    assert searched(twins[0]) - before == 1  # for the reply that was too large, and not again


def test_something_else_on_the_port(twins: Twins, embedding: np.ndarray) -> None:
    with RetrievalClient(twins[0].http_url, timeout_s=60.0) as client, pytest.raises(ServerUnreachable, match="8001"):
        client.retrieve_by_embedding(embedding)
    with RetrievalClient(twins[0].grpc_url, timeout_s=60.0) as client, pytest.raises(ServerNotReady, match="health"):
        client.retrieve("a model that this server lacks")
    with a_stranger() as port, RetrievalClient(f"127.0.0.1:{port}", timeout_s=60.0) as client:
        with pytest.raises(VersionMismatch, match="not Triton's protocol") as caught:
            client.retrieve_by_embedding(embedding)
        assert caught.value.attempts == 1


def test_a_budget_that_is_spent_ends_retries(embedding: np.ndarray) -> None:
    with RetrievalClient(
        "127.0.0.1:1", timeout_s=60.0, retry=Retry(attempts=3, first_pause_s=0.0, budget=8.0)
    ) as client:
        attempts = []
        for _ in range(4):
            with pytest.raises(ServerUnreachable) as caught:
                client.retrieve_by_embedding(embedding)
            attempts.append(caught.value.attempts)
    assert attempts == [3, 1, 1, 1]  # 8 tokens: after the fourth failure no more than half of them are left
    with (
        RetrievalClient("127.0.0.1:1", timeout_s=60.0, retry=None) as client,
        pytest.raises(ServerUnreachable) as caught,
    ):
        client.retrieve_by_embedding(embedding)
    assert caught.value.attempts == 1
