"""Addresses: what is taken, what is refused and why, and which of them stay on this machine."""

from __future__ import annotations

from typing import Any

import pytest

from shopwindow_client import AsyncRetrievalClient, InvalidRequest, RetrievalClient
from shopwindow_client._values.addresses import parse_address

LOOPBACK = [
    "localhost:8001",
    "LOCALHOST.:8001",
    "127.0.0.1:1",
    "127.9.8.7:65535",
    "[::1]:8001",
    "[::ffff:127.0.0.1]:8001",
    "0.0.0.0:8001",
    "[::]:8001",
    "dns:///localhost:8001",
    "dns:localhost:8001",
    "ipv4:127.0.0.1:8001,127.0.0.2:8001",
    "ipv6:[::1]:8001",
    "unix:/run/shop.sock",
    "unix:shop.sock",
    "unix:///run/shop.sock",
    "unix-abstract:shop",
]
ELSEWHERE = [
    "shop.internal:8001",
    "shop_1:8001",
    "xn--lden-koa.test:8001",
    "localhost.example.com:8001",
    "127.example.com:8001",
    "10.0.0.1:8001",
    "[fe80::1%eth0]:8001",
    "[2001:db8::1]:8001",
    "dns:///shop.internal:8001",
    "dns://10.0.0.53:53/shop.internal:8001",
    "ipv4:127.0.0.1:8001,10.0.0.2:8001",
    "ipv6:[::1]:8001,[2001:db8::1]:8001",
    "xds:///shop",
]
PORT = "port must be a number from 1 to 65535, not"
MALFORMED = {
    "": "it is empty",
    "localhost": "the port is missing",
    "localhost:": f"{PORT} ''",
    ":8001": "'' is not a host name",
    "localhost:0": f"{PORT} '0'",
    "localhost:99999": f"{PORT} '99999'",
    "localhost:65536": f"{PORT} '65536'",
    "localhost:-1": f"{PORT} '-1'",
    "localhost:+80": f"{PORT} '\\+80'",
    "localhost:http": f"{PORT} 'http'",
    "localhost:8001/": f"{PORT} '8001/'",
    " localhost:8001": "no spaces or control characters",
    "local host:8001": "no spaces",
    "localhost:8001\n": "no spaces or control characters",
    "localhost\x1b[31m:8001": "control characters",
    "l\u00e4den.test:8001": "must be ASCII.*xn--",
    "localhost:\u0668\u0660\u0660\u0661": "must be ASCII",
    "http://localhost:8000": "leave out the scheme http://",
    "https://localhost:8001": "leave out the scheme https://",
    "grpc://localhost:8001": "leave out the scheme grpc://",
    "dns://localhost:8001": "three slashes",
    "dns:///localhost": "the port is missing",
    "dns://nowhere/localhost:8001": "the port is missing",
    "user@localhost:8001": "'user@localhost' is not a host name",
    "shop,stall:8001": "is not a host name",
    "a..b:8001": "is not a host name",
    "-a:8001": "is not a host name",
    "a" * 64 + ":8001": "is not a host name",
    "a." * 127 + "a:8001": "is not a host name",
    "256.1.1.1:8001": "'256.1.1.1' is not an IPv4 address",
    "127.1:8001": "'127.1' is not an IPv4 address",
    "10.0.0.1.:8001": "is not an IPv4 address",
    "::1:8001": "Write an IPv6 address in brackets",
    "[::1]": "the port is missing",
    "[::1:8001": "bracket \\] is missing",
    "[::1]8001": f"{PORT} '8001'",
    "[::g]:8001": "in brackets is not an IPv6 address",
    "[127.0.0.1]:8001": "in brackets is not an IPv6 address",
    "ipv4:shop.internal:8001": "shop.internal is not an IPv4 address",
    "ipv4:10.0.0.1:8001,": "the port is missing",
    "ipv4:10.0.0.1:8001, 10.0.0.2:8001": "no spaces",
    "ipv6:10.0.0.1:8001": "10.0.0.1 is not an IPv6 address",
    "unix:": "has 1 to 107 bytes, not 0",
    "unix://run/shop.sock": "three slashes",
    "unix:/" + "a" * 107: "has 1 to 107 bytes, not 108",
    "xds:shop": "write xds:///name",
    "vsock:1:8001": "more than one colon",
}


@pytest.mark.parametrize("url", LOOPBACK + ELSEWHERE)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    with RetrievalClient(url) as client:
        assert client.url == url
    assert AsyncRetrievalClient(url).url == url
    assert parse_address(url).is_loopback == (url in LOOPBACK)


@pytest.mark.parametrize(("url", "named"), MALFORMED.items())
def test_a_malformed_address_is_refused_at_once_with_what_is_right(url: str, named: str) -> None:
    for client in (RetrievalClient, AsyncRetrievalClient):
        with pytest.raises(InvalidRequest, match=named) as caught:
            client(url)
        assert "url must be host:port of the gRPC service, such as 'localhost:8001'" in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("url", [None, 8001, b"localhost:8001", ("localhost", 8001)])
def test_an_address_that_is_no_string_is_refused(url: Any) -> None:
    with pytest.raises(InvalidRequest, match="it must be a string or an InProcess, not"):
        RetrievalClient(url)


@pytest.mark.parametrize("url", LOOPBACK)
def test_a_token_goes_in_plain_text_to_this_machine(url: str) -> None:
    RetrievalClient(url, token="secret").close()


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_token_goes_nowhere_else_in_plain_text(url: str) -> None:
    for client in (RetrievalClient, AsyncRetrievalClient):
        with pytest.raises(InvalidRequest, match=r"token would travel in plain text to .*: give tls=Tls"):
            client(url, token="secret")
