"""What the gateway does not let through: large messages, and methods that callers have no business with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from tritonclient.grpc import service_pb2

from shopwindow.server import TritonServer
from shopwindow.server.gateway import Gateway
from shopwindow.server.gateway.options import MAX_GRPC_BYTES, MAX_HTTP_BYTES
from shopwindow.server.options import CLOSED_PROTOCOLS
from shopwindow.server.processes import members
from tests.server.gateway.calling import call, http, question
from tests.server.gateway.conftest import StartGateway

GRPC = {
    "logging": ("LogSettings", service_pb2.LogSettingsRequest()),
    "model-repository": ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="scale")),
    "shared-memory": ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest()),
    "statistics": ("ModelStatistics", service_pb2.ModelStatisticsRequest()),
    "trace": ("TraceSetting", service_pb2.TraceSettingRequest()),
}
HTTP = {
    "logging": ("POST", "/v2/logging"),
    "model-repository": ("POST", "/v2/repository/index"),
    "shared-memory": ("GET", "/v2/systemsharedmemory/status"),
    "statistics": ("GET", "/v2/models/stats"),
    "trace": ("GET", "/v2/trace/setting"),
}
SPELLINGS = ("/v2//logging", "/v2/models/../logging", "/v2/models/scale/../../logging", "/v2/%6cogging", "/v2/logging/")


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> Gateway:
    return start_gateway()


def resident_bytes(pid: int) -> int:
    """Return the memory of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_a_message_beyond_the_limit_never_reaches_triton(gateway: Gateway, triton: TritonServer) -> None:
    before = resident_bytes(triton.pid)
    status, message = call(gateway.grpc_url, request=question(MAX_GRPC_BYTES))
    assert (status, f"larger than {MAX_GRPC_BYTES} bytes" in message) == ("RESOURCE_EXHAUSTED", True)
    assert resident_bytes(triton.pid) < before + MAX_GRPC_BYTES / 4
    assert call(gateway.grpc_url, request=question(2**20))[0] == "INVALID_ARGUMENT"  # Triton's own answer
    body = b"x" * (MAX_HTTP_BYTES + 1)
    # The answer comes before the whole body is sent, and a caller that goes on sending is cut off.
    with suppress(ConnectionError):
        assert http(gateway, "POST", "/v2/models/scale/infer", body) == 413
    assert http(gateway, "GET", "/v2/models/scale/ready") == 200


@pytest.mark.parametrize("protocol", CLOSED_PROTOCOLS)
def test_closed_protocols_are_refused_with_the_option_that_opens_them(gateway: Gateway, protocol: str) -> None:
    status, message = call(gateway.grpc_url, *GRPC[protocol])
    assert (status, message.partition("; ")[2]) == (
        "PERMISSION_DENIED",
        f"`shopwindow serve --expose {protocol}` opens it",
    )
    assert http(gateway, *HTTP[protocol]) == 403


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_path_opens_it(gateway: Gateway, path: str) -> None:
    assert http(gateway, "POST", path, "{}") in (400, 403, 404)


def test_methods_that_nobody_listed_are_unknown(gateway: Gateway) -> None:
    assert call(gateway.grpc_url, "RepositoryIndex", service_pb2.RepositoryIndexRequest())[0] == "PERMISSION_DENIED"
    assert http(gateway, "POST", "/v2/models/scale/generate", "{}") == 404
    assert http(gateway, "POST", "/metrics/quitquitquit") == 404
    assert http(gateway, "GET", "/metrics/gateway") == 200


def test_exposed_protocols_are_open_and_the_others_stay_closed(start_gateway: StartGateway) -> None:
    gateway = start_gateway(expose=("statistics",))
    assert call(gateway.grpc_url, *GRPC["statistics"]) == ("OK", "")
    assert http(gateway, *HTTP["statistics"]) == 200
    assert {call(gateway.grpc_url, *GRPC[name])[0] for name in GRPC if name != "statistics"} == {"PERMISSION_DENIED"}


def test_no_secret_is_in_a_command_line_or_an_environment(gateway: Gateway, triton: TritonServer) -> None:
    [secret] = set(triton.owner_header.values())
    for pid in (*members(gateway.pid), *members(triton.pid)):
        for file in ("cmdline", "environ"):
            assert secret.encode() not in Path(f"/proc/{pid}/{file}").read_bytes()
