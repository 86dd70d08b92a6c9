"""Encrypted connections: certificates of both sides, and their replacement while the gateway runs."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import grpc
import pytest

from shopwindow.server import ServingError
from shopwindow.server.gateway import Gateway, GatewayOptions
from shopwindow_client import RetrievalClient, Tls, TlsFailed
from tests.server.gateway.calling import call
from tests.server.gateway.conftest import StartGateway, write_certificate
from tests.server.launching import eventually


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pems")
    for name in ("server", "caller", "stranger", "next"):
        write_certificate(folder, name)
    return folder


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway, pems: Path) -> Gateway:
    return start_gateway(certificate=pems / "server.pem", key=pems / "server.key", client_ca=pems / "caller.pem")


def tls(pems: Path, caller: str | None, roots: str = "server") -> Tls:
    """Return how a caller encrypts its connection."""
    if caller is None:
        return Tls(roots=pems / f"{roots}.pem")
    return Tls(roots=pems / f"{roots}.pem", certificate=pems / f"{caller}.pem", key=pems / f"{caller}.key")


def test_a_caller_with_a_certificate_of_the_authority_gets_in(gateway: Gateway, pems: Path) -> None:
    with RetrievalClient(gateway.grpc_url, tls=tls(pems, "caller")) as client:
        assert client.health().live
    context = ssl.create_default_context(cafile=pems / "server.pem")
    context.load_cert_chain(pems / "caller.pem", pems / "caller.key")
    opener = build_opener(HTTPSHandler(context=context), ProxyHandler({}))
    for url in (f"{gateway.http_url}/v2", gateway.metrics_url):
        assert opener.open(url, timeout=30).status == 200


@pytest.mark.parametrize("caller", ["stranger", None])
def test_a_caller_without_one_does_not(gateway: Gateway, pems: Path, caller: str | None) -> None:
    assert call(gateway.grpc_url, credentials=tls(pems, caller).credentials())[0] == "UNAVAILABLE"


def test_neither_does_one_that_speaks_plain_text(gateway: Gateway) -> None:
    assert call(gateway.grpc_url)[0] == "UNAVAILABLE"


def test_the_client_refuses_a_server_that_it_does_not_trust(gateway: Gateway, pems: Path) -> None:
    with (
        RetrievalClient(gateway.grpc_url, tls=tls(pems, "caller", roots="stranger"), retry=None) as client,
        pytest.raises(TlsFailed),
    ):
        client.embed_query("red dress")


def test_a_new_certificate_is_taken_while_it_runs_and_a_broken_one_is_not(
    start_gateway: StartGateway, pems: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    certificate, key = tmp_path / "now.pem", tmp_path / "now.key"
    certificate.symlink_to(pems / "server.pem")
    key.symlink_to(pems / "server.key")
    gateway = start_gateway(certificate=certificate, key=key, complain=said.append)

    def trusted_by(roots: str) -> bool:
        credentials = grpc.ssl_channel_credentials((pems / f"{roots}.pem").read_bytes())
        return call(gateway.grpc_url, credentials=credentials)[0] == "OK"

    assert trusted_by("server")
    certificate.unlink()
    certificate.symlink_to(pems / "next.pem")  # the key is still the old one
    gateway.refresh()
    assert "the new files are not used: TLS: " in said[-1]
    assert trusted_by("server")
    key.unlink()
    key.symlink_to(pems / "next.key")
    gateway.refresh()
    assert "took the new" in said[-1]
    eventually(lambda: trusted_by("next"), "the new certificate is shown")
    assert not trusted_by("server")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"certificate": "server.pem"}, "certificate is given, key is not"),
        ({"key": "server.key"}, "key is given, certificate is not"),
        ({"client_ca": "caller.pem"}, "client_ca asks callers for certificates, which needs TLS"),
    ],
)
def test_options_that_do_not_fit_are_refused(pems: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        GatewayOptions(**{name: pems / file for name, file in files.items()})


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("server.pem", "stranger.key", "mismatch"),
        ("server.key", "server.key", "cannot be used"),
        ("none.pem", "server.key", "No such file"),
    ],
)
def test_a_certificate_that_cannot_be_used_stops_the_start(
    start_gateway: StartGateway, pems: Path, certificate: str, key: str, why: str
) -> None:
    with pytest.raises(ServingError, match=f"TLS: .*{why}"):
        start_gateway(certificate=pems / certificate, key=pems / key)
