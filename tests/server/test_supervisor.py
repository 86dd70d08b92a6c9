"""The supervisor and its parts on real models: pauses, health endpoints, canaries, the probe, recovery of one model."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import InferenceServerClient, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import Health, HealthServer, PortInUse, ServerOptions, Supervisor, TritonServer
from shopwindow.server.processes import stubs
from shopwindow.server.watch.backoff import Backoff
from shopwindow.server.watch.canary import Canary
from shopwindow.server.watch.health import ModelHealth
from shopwindow.server.watch.models import answered, steps
from shopwindow_client import InProcess, RetrievalClient, ServerDraining, Tls
from tests.server.gateway.conftest import write_certificate
from tests.server.watching import probe


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server(repository: Path, index: Path) -> Iterator[TritonServer]:
    """A server without a supervisor."""
    options = ServerOptions(
        repository=repository,
        index=index,
        profile="cpu-ensemble",
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        reloadable=True,
        stop_timeout_s=2.0,  # do not wait for requests that a dead process had
    )
    with TritonServer(options) as server:
        yield server


def ask(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(address, timeout=10)
    connection.request(method, path)
    reply = connection.getresponse()
    try:
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def test_pauses_double_up_to_the_longest() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    pauses = []
    for _ in range(9):
        pauses.append(backoff.pause_s())
        clock.now += pauses[-1] + 0.5  # the server died at once
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_pauses_start_again_from_the_first_after_five_healthy_minutes() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    assert [backoff.pause_s(), backoff.pause_s()] == [1, 2]
    clock.now += 2 + 299
    assert backoff.pause_s() == 4
    clock.now += 4 + 300
    assert backoff.pause_s() == 1


def test_health_endpoints_report_the_last_health() -> None:
    seen = Health(live=True, ready=True)
    with HealthServer("127.0.0.1", 0, lambda: seen) as health:
        assert ask(health.address, "/readyz") == (200, "ok\n")
        assert ask(health.address, "/livez?verbose") == (200, "ok\n")
        seen = Health(live=True, ready=False, reason="retrieve: a process of it died")
        assert ask(health.address, "/readyz") == (503, "retrieve: a process of it died\n")
        assert ask(health.address, "/readyz", "HEAD") == (503, "")
        assert ask(health.address, "/livez") == (200, "ok\n")
        seen = Health(live=False, ready=False, reason="Triton did not start")
        assert ask(health.address, "/livez") == (503, "Triton did not start\n")
        assert ask(health.address, "/metrics")[0] == 404
        models = {"retrieve": ModelHealth(ready=True, text="ok"), "embed_query": ModelHealth(ready=False, text="dead")}
        seen = Health(live=True, ready=False, reason="embed_query: dead", models=models)
        assert ask(health.address, "/readyz") == (503, "embed_query: dead\nretrieve: ok\nembed_query: dead\n")
        assert ask(health.address, "/readyz/retrieve") == (200, "ok\n")
        assert ask(health.address, "/readyz/embed_query?x") == (503, "dead\n")
        assert ask(health.address, "/readyz/nonsense")[0] == 404
        status, text = ask(health.address, "/livez", "G" * 5_000)
        assert (status, "GG" in text) == (501, False)
        port = int(health.address.rpartition(":")[2])
        with pytest.raises(PortInUse, match=f"--health-port: port {port} "):
            HealthServer("127.0.0.1", port, lambda: seen)


def test_a_supervisor_is_not_ready_before_its_first_round(tmp_path: Path) -> None:
    health = Supervisor(TritonServer(ServerOptions(repository=tmp_path))).health
    assert (health.live, health.ready) == (True, False)


def test_a_probe_fails_if_there_is_no_server() -> None:
    with socket.socket() as taken:  # bound but not listening, so that nobody else gets this port
        taken.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{taken.getsockname()[1]}"
        status, errors = probe("--url", url)
        assert status == 1
        assert "not ready: retrieve: cannot reach" in errors
        assert probe("--url", url, "--live") == (1, f"not live: {url} does not answer\n")


def test_no_canary_is_answered_from_the_cache_of_embeddings(
    repository: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = InProcessPipeline(repository, index, cached_queries=1_000)
    for _ in range(2):  # each probe is a new process and so a new canary
        with Canary("127.0.0.1:1") as canary, RetrievalClient(InProcess(pipeline), timeout_s=20.0) as client:
            monkeypatch.setattr(canary, "_client", client)
            for _ in range(3):
                assert set(canary.ask().values()) == {None}
    assert pipeline.cache is not None
    # retrieve and embed_query, and one more query for the first request to the index
    assert (pipeline.cache.hits, pipeline.cache.misses) == (0, 14)


class Statistics(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Triton's statistics and configurations, for a server with TLS that needs no Triton."""

    def ModelStatistics(self, request: object, context: object) -> service_pb2.ModelStatisticsResponse:
        reply = service_pb2.ModelStatisticsResponse()
        reply.model_stats.add(name="retrieve").inference_stats.success.count = 7
        return reply

    def ModelConfig(self, request: object, context: object) -> service_pb2.ModelConfigResponse:
        reply = service_pb2.ModelConfigResponse()
        for step in ("query_tower", "product_index"):
            reply.config.ensemble_scheduling.step.add(model_name=step)
        return reply


def test_what_tells_a_busy_model_is_read_over_tls_too(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "server")
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Statistics(), server)
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    )
    server.start()
    url, tls = f"127.0.0.1:{port}", Tls(roots=certificate)
    try:
        assert answered(url, {}, tls) == {"retrieve": 7}
        assert steps(url, "retrieve", {}, tls) == ["query_tower", "product_index"]
        assert answered(url, {}) == {}
    finally:
        server.stop(None)


class Late(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A server that answers late and tells nothing of its models."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def ModelInfer(self, request: object, context: object) -> service_pb2.ModelInferResponse:
        self.done.wait(60)
        return service_pb2.ModelInferResponse()


def test_a_late_model_is_called_late_where_statistics_are_closed() -> None:
    server, late = grpc.server(ThreadPoolExecutor(4)), Late()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(late, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        status, errors = probe("--url", f"127.0.0.1:{port}", "--model", "retrieve", timeout=1.0)
    finally:
        late.done.set()
        server.stop(None)
    assert status == 1
    assert errors.startswith("late: retrieve: ")
    assert "it may only be busy: the server's statistics, which would tell, could not be asked for" in errors


def test_strangers_cannot_load_or_unload_models(server: TritonServer) -> None:
    with InferenceServerClient(server.grpc_url) as stranger:
        for change in (stranger.unload_model, stranger.load_model):
            with pytest.raises(InferenceServerException, match="restricted"):
                change("retrieve", client_timeout=10)
    connection = HTTPConnection(server.http_url, timeout=10)
    connection.request("POST", "/v2/repository/models/retrieve/unload", body="{}")
    assert connection.getresponse().status == 403
    connection.close()


def test_a_hanging_model_does_not_count_as_busy_and_is_loaded_again(server: TritonServer) -> None:
    before = stubs(server.pid)
    [victim] = [stub.pid for stub in before if stub.model == "product_tower"]
    os.kill(victim, signal.SIGSTOP)
    status, errors = probe("--url", server.grpc_url, timeout=2.0)
    assert status == 1
    # Late for whom Triton asks first. It answers others that the process is not healthy.
    assert {line.split(": ")[1] for line in errors.splitlines()} == {"embed_product", "retrieve_similar"}
    assert probe("--url", server.grpc_url, "--model", "embed_query", "--model", "product_index") == (0, "")
    assert probe("--url", server.grpc_url, "--model", "query_tower")[0] != 0

    lines: list[str] = []
    supervisor = Supervisor(server, say=lines.append)
    supervisor.look()
    assert not supervisor.health.ready  # a busy model would be ready
    assert supervisor.health.models["retrieve"].ready  # it uses the other tower
    while not supervisor.health.ready:
        supervisor.look()
    assert not any("starting Triton again" in line for line in lines), lines
    # The old process must not go on, because Triton 2.51 ends if a process answers that it has given up on.
    assert victim not in {stub.pid for stub in stubs(server.pid)}
    assert sorted(stub.model for stub in stubs(server.pid)) == sorted(stub.model for stub in before)


def test_a_dead_model_fails_the_probe_and_is_loaded_again(server: TritonServer) -> None:
    assert probe("--url", server.grpc_url) == (0, "")
    before = stubs(server.pid)
    [victim] = [stub.pid for stub in before if stub.model == "query_tower"]
    os.kill(victim, signal.SIGKILL)

    status, errors = probe("--url", server.grpc_url)
    assert status == 1
    for pipeline in ("retrieve", "embed_query"):
        assert f"not ready: {pipeline}: a process of {pipeline} at {server.grpc_url} died" in errors
    assert "retrieve_similar" not in errors  # it uses the other tower
    assert probe("--url", server.grpc_url, "--live") == (0, "")
    with (
        RetrievalClient(server.grpc_url, timeout_s=20.0, retry=None) as client,
        pytest.raises(ServerDraining, match="Stub process 'query_tower_0_0' is not healthy") as lost,
    ):
        client.embed_query("a")
    assert lost.value.retryable

    lines: list[str] = []
    supervisor = Supervisor(server, say=lines.append)
    supervisor.look()  # this supervisor never saw the process alive, so only the canaries show that it is dead
    while not supervisor.health.ready:
        supervisor.look()
    assert lines[0].startswith("not ready: retrieve: ")
    assert lines[1].startswith("query_tower: 3 canaries failed")
    assert lines[-1].startswith("ready again")
    assert probe("--url", server.grpc_url) == (0, "")
    after = stubs(server.pid)
    assert sorted(stub.model for stub in after) == sorted(stub.model for stub in before)
    assert {stub.pid for stub in before} - {stub.pid for stub in after} == {victim}
