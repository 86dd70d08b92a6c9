"""Where the gateway listens."""

from __future__ import annotations

import socket

import pytest

from shopwindow.server import PortInUse, ServingError, TritonServer
from shopwindow.server.gateway import Gateway, GatewayOptions
from shopwindow.server.ports import check_ipv4, is_loopback
from tests.server.gateway.calling import call
from tests.server.gateway.conftest import StartGateway


@pytest.mark.parametrize("host", ["::1", "localhost", "0.0.0.0", "::"])
def test_it_listens_on_addresses_and_names(start_gateway: StartGateway, host: str) -> None:
    gateway = start_gateway(host=host)
    assert call(gateway.grpc_url)[0] == "OK"


def test_an_unknown_name_is_refused(start_gateway: StartGateway) -> None:
    with pytest.raises(ServingError, match=r"no-such-host\.invalid"):
        start_gateway(host="no-such-host.invalid")


def test_a_port_in_use_is_named(triton: TritonServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder, pytest.raises(PortInUse, match="--grpc-port"):
        Gateway(GatewayOptions(grpc_port=holder.getsockname()[1]), triton).start()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_only_this_machine_reaches_a_loopback_address(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")


def test_triton_itself_refuses_ipv6() -> None:
    with pytest.raises(ServingError, match="IPv4"):
        check_ipv4("::1")
    check_ipv4("127.0.0.1")
