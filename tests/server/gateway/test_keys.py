"""Only callers with a key get in, each within its rate, and a withdrawn key stops working."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from shopwindow.server import TritonServer
from shopwindow.server.gateway import Gateway, KeysInvalid, process
from shopwindow.server.gateway.keys import read_keys
from shopwindow_client import NotAuthorised, RetrievalClient
from tests.server.gateway.calling import bearer, call, http, question
from tests.server.gateway.conftest import StartGateway
from tests.server.launching import eventually

SHOP, SLOW = "shop-" + "k" * 20, "slow-" + "s" * 20


def write_keys(file: Path, **callers: Any) -> Path:
    """Write a file of keys, in place."""
    file.write_text(
        json.dumps({name: {"key": about} if isinstance(about, str) else about for name, about in callers.items()})
    )
    return file


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    slow = {"key": SLOW, "requests_per_second": 2}
    return start_gateway(keys=write_keys(tmp_path_factory.mktemp("keys") / "keys.json", shop=SHOP, slow=slow))


def test_only_a_caller_with_a_key_is_answered(gateway: Gateway) -> None:
    assert call(gateway.grpc_url, headers=bearer(SHOP)) == ("OK", "")
    assert http(gateway, "GET", "/v2", headers=bearer(SHOP)) == 200
    assert http(gateway, "GET", "/metrics", headers=bearer(SHOP)) == 200
    for headers in ({}, {"authorization": SHOP}, bearer(SHOP[:-1]), bearer(SHOP + "k"), {"shopwindow-owner": "x"}):
        status, message = call(gateway.grpc_url, headers=headers)
        assert (status, SHOP in message) == ("UNAUTHENTICATED", False)
        assert http(gateway, "GET", "/v2", headers=headers) == 401
        assert http(gateway, "GET", "/metrics", headers=headers) == 401


def test_the_client_sends_its_key_and_names_its_error(gateway: Gateway) -> None:
    with RetrievalClient(gateway.grpc_url, token=SHOP) as client:
        assert client.health().live
    with RetrievalClient(gateway.grpc_url, token="another") as client, pytest.raises(NotAuthorised, match="Bearer KEY"):
        client.embed_query("red dress")


def test_a_caller_beyond_its_rate_is_told_so_and_the_others_are_not(gateway: Gateway) -> None:
    answers = [call(gateway.grpc_url, headers=bearer(SLOW)) for _ in range(20)]
    assert answers[0] == ("OK", "")
    refused = [message for status, message in answers if status == "RESOURCE_EXHAUSTED"]
    assert "the caller has used up its requests per second" in refused[0]
    assert [call(gateway.grpc_url, headers=bearer(SHOP))[0] for _ in range(20)] == ["OK"] * 20


def test_nobody_gets_around_the_gateway(gateway: Gateway, triton: TritonServer) -> None:
    for method, request in (("ModelInfer", question()), ("ServerLive", service_pb2.ServerLiveRequest())):
        status, message = call(triton.grpc_url, method, request, headers=bearer(SHOP))
        assert (status, "restricted" in message) == ("UNAVAILABLE", True), method


def test_new_keys_are_taken_while_it_runs(
    start_gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_DRAIN_S", 1)
    said: list[str] = []
    file = write_keys(tmp_path / "keys.json", shop=SHOP)
    gateway = start_gateway(keys=file, complain=said.append)
    file.write_text("{")
    gateway.refresh()
    assert "the new files are not used" in said[-1]
    gateway.restart()
    assert call(gateway.grpc_url, headers=bearer(SHOP))[0] == "OK"  # and the old ones stay in use
    write_keys(file, other=SLOW)
    gateway.refresh()
    assert "took the new" in said[-1]
    eventually(lambda: call(gateway.grpc_url, headers=bearer(SLOW))[0] == "OK", "the new key works")
    eventually(lambda: call(gateway.grpc_url, headers=bearer(SHOP))[0] == "UNAUTHENTICATED", "the old one does not")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "must be a JSON object of at least one caller"),
        ("{}", "must be a JSON object of at least one caller"),
        ('{"a": {"key": "short"}}', "a: key: must be 20 to 4096 printable ASCII characters without spaces, has 5"),
        ('{"a": {"key": "' + "ü" * 30 + '"}}', "a: key: must be 20 to 4096 printable ASCII"),
        ('{"a": {"key": "' + "k" * 20 + '", "rate": 3}}', "a: knows key and requests_per_second, got rate"),
        (
            '{"a": {"key": "' + "k" * 20 + '", "requests_per_second": 0}}',
            "requests_per_second: must be 1 to 1000000, got 0",
        ),
        ('{"a b": {"key": "' + "k" * 20 + '"}}', "a name must be 1 to 64 letters, digits, .*, got 'a b'"),
        ('{"a": {"key": "' + "k" * 20 + '"}, "b": {"key": "' + "k" * 20 + '"}}', "a and b have the same key"),
        ('{"a": {"key": "' + "k" * 20 + '"}, "a": {"key": "' + "l" * 20 + '"}}', "'a' is there twice"),
    ],
)
def test_a_wrong_file_of_keys_is_refused_without_a_key_in_the_message(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(KeysInvalid, match=why) as error:
        read_keys(file)
    assert "k" * 20 not in str(error.value)
