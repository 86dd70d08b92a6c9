"""The network between client and server fails and recovers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import DeadlineExceeded, Hedge, RetrievalClient, ServerUnreachable
from tests.client.sending.harm import PATIENT, busy, connect, end, holds, searched, until
from tests.client.sending.wire import Wire

DIRECT = {"grpc.enable_http_proxy": 0}
FORBIDDEN = "Operation not permitted", "Permission denied"


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """A link that works."""
    if shutil.which("ip") is None:
        pytest.skip("needs the command ip, of iproute2, which is not installed")
    wire = Wire()
    try:
        wire.lay()
    except subprocess.CalledProcessError as error:
        wire.remove()
        if not any(sign in error.stderr for sign in FORBIDDEN):
            raise  # a fault of the link itself is not a machine without namespaces
        pytest.skip(f"needs the right to make network namespaces (CAP_NET_ADMIN): {error.stderr.strip()}")
    try:
        yield wire
    finally:
        wire.remove()


@pytest.fixture(scope="module")
def far(wire: Wire, options: dict[str, Any]) -> Iterator[TritonServer]:
    """A small server at the other end of the link."""
    server = TritonServer(ServerOptions(**{**options, "host": wire.host}))
    wire.do_there(server.start)
    try:
        server.wait_until_ready()
        yield server
    finally:
        end(server)


def test_a_call_during_a_cut_ends_at_its_deadline_and_is_not_sent_again(
    wire: Wire, far: TritonServer, embedding: np.ndarray
) -> None:
    with (
        RetrievalClient(far.grpc_url, timeout_s=60.0, retry=PATIENT, channel_options=DIRECT) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        client.retrieve_by_embedding(embedding)
        before = searched(far)
        with busy(far):
            call = threads.submit(client.retrieve_by_embedding, embedding, timeout_s=4.0)
            until(lambda: holds(far))
            with wire.cut():
                with pytest.raises(DeadlineExceeded, match="timeout_s=4"):
                    call.result()
                assert not client.health(timeout_s=0.3).reachable
        assert len(client.retrieve_by_embedding(embedding, top_k=3)[0]) == 3  # the link works again
        assert searched(far) - before == 2


def test_behind_a_cut_a_hedge_finds_the_other_server(
    wire: Wire, far: TritonServer, two_servers: tuple[TritonServer, TritonServer], embedding: np.ndarray
) -> None:
    near = two_servers[0]
    url = f"ipv4:{far.grpc_url},{near.grpc_url}"
    with RetrievalClient(
        url, timeout_s=60.0, hedge=Hedge(after_s=0.05), retry=PATIENT, channel_options=DIRECT
    ) as client:
        connect(client, embedding, far, near)
        client.health()  # each server reads it after the cancelled requests
        before = searched(far, near)
        with wire.cut():
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(6)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    assert len(found) <= searched(far, near) - before <= 2 * len(found)


def test_a_server_behind_a_cut_is_unreachable_until_the_link_works_again(
    wire: Wire, far: TritonServer, embedding: np.ndarray
) -> None:
    before = searched(far)
    with RetrievalClient(far.grpc_url, timeout_s=60.0, retry=PATIENT, channel_options=DIRECT) as patient:
        with (
            wire.cut(),
            RetrievalClient(far.grpc_url, timeout_s=60.0, retry=None, channel_options=DIRECT) as hasty,
            pytest.raises(ServerUnreachable, match="cannot reach"),
        ):
            hasty.retrieve_by_embedding(embedding)
        assert len(patient.retrieve_by_embedding(embedding, top_k=3)[0]) == 3
    assert searched(far) - before == 1
