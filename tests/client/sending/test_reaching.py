"""How the client reaches a server: names, IPv6, unix sockets, resolvers that fail, proxies, tokens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from shopwindow_client import AsyncRetrievalClient, RetrievalClient, Retry, ServerUnreachable
from shopwindow_client._values.errors import from_status
from tests.client.sending.false_server import false_server, results

REPLY = results([[7, 8]], [[0.9, 0.8]])


def ask_both(url: str, **settings: Any) -> list[Any]:
    """Return what both clients find."""

    async def ask() -> Any:
        async with AsyncRetrievalClient(url, timeout_s=30.0, **settings) as client:
            return await client.retrieve("mug")

    with RetrievalClient(url, timeout_s=30.0, **settings) as client:
        return [client.retrieve("mug"), asyncio.run(ask())]


@pytest.mark.parametrize("address", ["[::1]:0", "localhost:0", "127.0.0.1:0", "unix:{folder}/shop.sock"])
def test_ipv6_addresses_names_and_sockets_are_reached(address: str, tmp_path: Path) -> None:
    with false_server(REPLY, address=address.format(folder=tmp_path)) as url:
        for found in ask_both(url):
            assert found[0].ids.tolist() == [7, 8]
    if address.startswith("unix"):
        with RetrievalClient(url) as client, pytest.raises(ServerUnreachable, match="cannot reach unix:"):
            client.retrieve("mug")


@pytest.mark.parametrize("url", ["shop.invalid:8001", "dns:///shop.invalid:8001", "dns:///certificates.invalid:8001"])
def test_a_name_that_nobody_knows_is_unreachable_and_tried_again(url: str) -> None:
    async def ask() -> None:
        async with AsyncRetrievalClient(url, timeout_s=30.0) as client:
            await client.retrieve("mug")

    with RetrievalClient(url, timeout_s=30.0) as client:
        for call in (lambda: client.retrieve("mug"), lambda: asyncio.run(ask())):
            with pytest.raises(ServerUnreachable, match=f"cannot reach {url}") as caught:
                call()
            assert (type(caught.value), caught.value.attempts) == (ServerUnreachable, 3)
    assert not RetrievalClient(url).health(timeout_s=10.0).reachable


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("UNAVAILABLE", "errors resolving shop:1: [field:hostname lookup error:address lookup failed for shop:1: no]"),
        ("UNAVAILABLE", "DNS resolution failed for shop:1: C-ares status is not ARES_SUCCESS qtype=A name=shop"),
        ("UNAVAILABLE", "DNS resolution failed for service: shop:1"),
        ("UNAVAILABLE", "Name resolution failure"),
        ("UNAVAILABLE", "name resolver error: produced zero addresses"),
        ("UNAVAILABLE", "resolver transient failure"),
        ("UNAVAILABLE", "getaddrinfo: Temporary failure in name resolution"),
        ("UNAVAILABLE", "Domain name not found"),
        ("UNAVAILABLE", "dns: A record lookup error: lookup shop: no such host"),
        ("UNAVAILABLE", "Unable to resolve host shop"),
        ("INTERNAL", "Illegal status code from resolver; original status: INVALID_ARGUMENT: Cannot parse authority"),
    ],
)
def test_every_way_to_say_that_a_name_is_unknown_counts(status: str, said: str) -> None:
    error = from_status(status, said, url="shop:1", model="retrieve", timeout_s=1.0)
    assert type(error) is ServerUnreachable
    assert Retry().covers(error)


@contextmanager
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """Listen as a proxy that hangs up, and keep the first line that each caller sends."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:

        def listen() -> None:
            while True:
                connection, _ = server.accept()
                with closing(connection):
                    heard.append(connection.recv(4_096).partition(b"\r\n")[0])
                if heard[-1] == b"end":
                    return

        threads.submit(listen)
        yield server.getsockname()[1], heard
        with socket.create_connection(server.getsockname()) as connection:
            connection.sendall(b"end")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A proxy in the environment. The list holds what it was asked for."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with listener() as (port, heard):
        for name in ("grpc_proxy", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        yield heard


@pytest.mark.parametrize(
    ("listens", "called"),
    [
        ("127.0.0.1:0", "{url}"),
        ("localhost:0", "{url}"),
        ("[::1]:0", "{url}"),
        ("localhost:0", "dns:///{url}"),
        ("127.0.0.1:0", "ipv4:{url}"),
        ("unix:{folder}/shop.sock", "{url}"),
    ],
)
def test_no_call_to_this_machine_goes_through_a_proxy(
    proxy: list[bytes], listens: str, called: str, tmp_path: Path
) -> None:
    with false_server(REPLY, address=listens.format(folder=tmp_path)) as url:
        for found in ask_both(called.format(url=url)):
            assert len(found[0]) == 2
    assert proxy == []


def test_other_calls_may_go_through_a_proxy(proxy: list[bytes]) -> None:
    with RetrievalClient("shop.invalid:8001", retry=None) as client, pytest.raises(ServerUnreachable):
        client.retrieve("mug")
    assert proxy[0] == b"CONNECT shop.invalid:8001 HTTP/1.1"


def test_a_token_reaches_a_server_on_this_machine() -> None:
    seen: list[str] = []

    def answer(request: Any, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata())["authorization"])
        return REPLY

    with false_server(answer) as url:
        ask_both(url, token=lambda: "secret-1")
    assert seen == ["Bearer secret-1"] * 2
