"""TLS, mutual TLS and tokens against a real server."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import AsyncRetrievalClient, InvalidRequest, RetrievalClient, ServerUnreachable, Tls, TlsFailed
from tests.client.sending.harm import end


@pytest.fixture(scope="module")
def mutual(options: dict[str, Any], pems: Path) -> Iterator[TritonServer]:
    """A server that asks for its callers' certificates."""
    flags = (
        "--grpc-use-ssl=1",
        "--grpc-use-ssl-mutual=1",
        f"--grpc-server-cert={pems / 'server.pem'}",
        f"--grpc-server-key={pems / 'server.key'}",
        f"--grpc-root-cert={pems / 'server.pem'}",
    )
    server = TritonServer(ServerOptions(**options, extra_args=flags))
    server.start()  # `wait_until_ready` would speak plain gRPC
    try:
        while not _is_ready(server):
            assert server.poll() is None, server.log_tail()
            time.sleep(0.05)
        yield server
    finally:
        end(server)


def _is_ready(server: TritonServer) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{server.http_url}/v2/health/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def test_a_call_succeeds_when_both_sides_trust_the_other(
    mutual: TritonServer, pems: Path, embedding: np.ndarray
) -> None:
    tls = Tls(
        roots=pems / "server.pem",
        certificate=(pems / "server.pem").read_bytes(),
        key=pems / "server.key",
        server_name="shop.test",
    )
    with RetrievalClient(mutual.grpc_url, timeout_s=60.0, tls=tls, token=lambda: "secret") as client:
        assert len(client.retrieve_by_embedding(embedding, top_k=3)[0]) == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"roots": "stranger.pem"},
        {"server_name": "another.test"},
        {"certificate": "stranger.pem", "key": "stranger.key"},
        {"certificate": None, "key": None},
    ],
    ids=["server not trusted", "another name", "client not trusted", "client has none"],
)
def test_a_wrong_certificate_is_an_error_and_not_tried_again(
    mutual: TritonServer, pems: Path, embedding: np.ndarray, changed: dict[str, Any]
) -> None:
    files = {"roots": "server.pem", "certificate": "server.pem", "key": "server.key", "server_name": "shop.test"}
    files.update(changed)
    named = {name: value if value is None or name == "server_name" else pems / value for name, value in files.items()}
    # A server that refuses a client's certificate hangs up. Under TLS 1.3 this can come after the handshake.
    kind = TlsFailed if changed.keys() & {"roots", "server_name"} else ServerUnreachable
    with RetrievalClient(mutual.grpc_url, timeout_s=60.0, tls=Tls(**named)) as client:
        with pytest.raises(kind) as caught:
            client.retrieve_by_embedding(embedding)
        if kind is TlsFailed:
            assert caught.value.attempts == 1
            assert "certificate names this host" in str(caught.value)

    async def ask_from_asyncio() -> None:
        async with AsyncRetrievalClient(mutual.grpc_url, timeout_s=60.0, tls=Tls(**named)) as client:
            await client.retrieve_by_embedding(embedding)

    with pytest.raises(kind):
        asyncio.run(ask_from_asyncio())


def test_plain_text_does_not_reach_a_server_with_tls(mutual: TritonServer, embedding: np.ndarray) -> None:
    with RetrievalClient(mutual.grpc_url, timeout_s=60.0) as client, pytest.raises(ServerUnreachable):
        client.retrieve_by_embedding(embedding)


def test_wrong_tls_settings_are_refused_at_once(pems: Path) -> None:
    with pytest.raises(InvalidRequest, match="token would travel in plain text"):
        RetrievalClient("shop.test:8001", token="secret")
    with pytest.raises(InvalidRequest, match="certificate and key belong together"):
        Tls(certificate=pems / "server.pem")
    for client in (RetrievalClient, AsyncRetrievalClient):
        with pytest.raises(InvalidRequest, match=r"roots: cannot read '.*nothing\.pem'"):
            client(tls=Tls(roots=pems / "nothing.pem"))
        with pytest.raises(InvalidRequest, match="roots must be a PEM text, got 0 bytes"):
            client(tls=Tls(roots=b""))


def test_a_certificate_that_is_none_is_a_failure_of_tls(mutual: TritonServer, embedding: np.ndarray) -> None:
    with (
        RetrievalClient(mutual.grpc_url, timeout_s=60.0, tls=Tls(roots=b"none")) as client,
        pytest.raises(TlsFailed, match="no trusted connection"),
    ):
        client.retrieve_by_embedding(embedding)
