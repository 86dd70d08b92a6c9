"""Triton's other protocols are closed to callers, and what opens them is nowhere to be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from shopwindow.server import ServerOptions, TritonServer
from shopwindow.server.processes import members
from tests.server.launching import ask, options, shared_memory, write_model

GRPC = {
    "logging": lambda client: client.update_log_settings({"log_verbose_level": 9}),
    "model-repository": lambda client: client.load_model("scale"),
    "shared-memory": lambda client: client.register_system_shared_memory("mine", "/shopwindow-1", 64),
    "statistics": lambda client: client.get_inference_statistics(),
    "trace": lambda client: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
}
HTTP = {
    "logging": ("POST", "/v2/logging"),
    "model-repository": ("POST", "/v2/repository/index"),
    "shared-memory": ("POST", "/v2/systemsharedmemory/region/mine/register"),
    "statistics": ("GET", "/v2/models/stats"),
    "trace": ("POST", "/v2/trace/setting"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    models = tmp_path_factory.mktemp("models")
    write_model(models)
    with TritonServer(options(models)) as server:
        yield server


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    models = tmp_path_factory.mktemp("models")
    write_model(models)
    with TritonServer(options(models, expose=("shared-memory",))) as server:
        yield server


def status(server: TritonServer, protocol: str) -> int:
    """Return the HTTP status of a request to a protocol."""
    connection = HTTPConnection(server.http_url, timeout=10)
    try:
        connection.request(*HTTP[protocol], body="{}")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("protocol", GRPC)
def test_a_caller_cannot_use_a_closed_protocol(server: TritonServer, protocol: str) -> None:
    with (
        InferenceServerClient(server.grpc_url) as client,
        pytest.raises(InferenceServerException, match="restricted"),
    ):
        GRPC[protocol](client)
    assert status(server, protocol) == 403
    assert ask(server)[0] == 63.0  # and inference is open


def test_an_exposed_protocol_is_open_and_the_others_stay_closed(exposed: TritonServer) -> None:
    with InferenceServerClient(exposed.grpc_url) as client:
        assert not client.get_system_shared_memory_status().regions
    assert status(exposed, "shared-memory") != 403
    assert {status(exposed, protocol) for protocol in HTTP if protocol != "shared-memory"} == {403}


def test_the_secret_opens_them_and_is_in_no_command_line(server: TritonServer) -> None:
    with InferenceServerClient(server.grpc_url) as client:
        assert client.get_model_repository_index(headers=server.owner_header).models
    [secret] = set(server.owner_header.values())
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in members(server.pid)]
    assert any(b"restricted" in line for line in lines)
    assert not any(secret.encode() in line for line in lines)


def test_the_name_that_a_server_tells_says_nothing_of_its_shared_memory(server: TritonServer) -> None:
    with InferenceServerClient(server.grpc_url) as client:
        name = client.get_server_metadata().name
    regions = shared_memory(os.getpid())
    assert regions
    known = f"shopwindow-{os.getpid()}-"
    assert not any(region.removeprefix(known)[:8] in name for region in regions)


def test_other_users_cannot_open_the_folder_of_a_server_nor_write_its_shared_memory(server: TritonServer) -> None:
    """They can read the memory. Triton makes it so, whatever the umask is."""
    modes = {path: path.stat().st_mode for path in Path("/dev/shm").glob(f"shopwindow-{os.getpid()}-*")}
    assert {stat.S_IMODE(mode) for mode in modes.values() if stat.S_ISDIR(mode)} == {0o700}
    assert {mode & 0o022 for mode in modes.values() if stat.S_ISREG(mode)} == {0}


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expose must be among logging, .*, got inference"):
        ServerOptions(repository=tmp_path, expose=("inference",))
