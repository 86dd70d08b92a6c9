"""The supervisor and its parts: pauses, health endpoints, canaries, the probe, and recovery of single models."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import Health, HealthServer, PortInUse, ServerOptions, Supervisor, TritonServer
from shopwindow.server.canary import Canary
from shopwindow.server.processes import is_at_work, stubs
from shopwindow.server.supervisor import Backoff
from shopwindow_client import (
    DeadlineExceeded,
    InProcess,
    Product,
    RetrievalClient,
    ServerDraining,
    ShopwindowError,
)

ROOT = Path(__file__).parents[2]


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
        stop_timeout_s=2.0,  # do not wait for the cancelled requests of the overload
        reloadable=True,
    )
    with TritonServer(options) as server:
        yield server


def probe(*arguments: str, timeout: float = 20.0) -> tuple[int, str]:
    """Run `shopwindow probe` and return its exit status and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "shopwindow.cli.main", "probe", "--timeout", str(timeout), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


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
    assert (pipeline.cache.hits, pipeline.cache.misses) == (0, 12)  # retrieve and embed_query


def test_strangers_cannot_load_or_unload_models(server: TritonServer) -> None:
    with InferenceServerClient(server.grpc_url) as stranger:
        for change in (stranger.unload_model, stranger.load_model):
            with pytest.raises(InferenceServerException, match="restricted"):
                change("retrieve", client_timeout=10)
    connection = HTTPConnection(server.http_url, timeout=10)
    connection.request("POST", "/v2/repository/models/retrieve/unload", body="{}")
    assert connection.getresponse().status == 403
    connection.close()


class Crowd:
    """Patient callers that keep far more work waiting than a server can do within a canary's deadline."""

    callers = 24
    products = 64

    def __init__(self, url: str, photo: bytes) -> None:
        self._photo = photo
        self._done = threading.Event()
        self._client = RetrievalClient(url, timeout_s=300.0, retry=None, max_concurrent=self.callers)
        self._threads = [threading.Thread(target=self._call) for _ in range(self.callers)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._client.close()  # it cancels the waiting requests
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        products = [Product(title="red dress", image=self._photo)] * self.products
        with suppress(ShopwindowError):
            while not self._done.is_set():
                self._client.embed_product(products)


def test_an_overloaded_server_is_ready_for_the_supervisor_and_the_probe(server: TritonServer) -> None:
    before = stubs(server.pid)
    lines: list[str] = []
    supervisor = Supervisor(server, say=lines.append)
    photo = io.BytesIO()
    Image.new("RGB", (560, 560), "red").save(photo, "PNG")  # small to send, long to decode
    with (
        Crowd(server.grpc_url, photo.getvalue()),
        RetrievalClient(server.grpc_url, timeout_s=2.0, retry=None) as client,
    ):
        while True:  # until so much work waits that a caller with a short deadline gets no answer
            try:
                client.embed_product(title="red dress")
            except DeadlineExceeded:
                break
        for _ in range(4):
            supervisor.look()
            assert supervisor.health.ready, lines
        with pytest.raises(DeadlineExceeded):  # the overload lasted all the time
            client.embed_product(title="red dress")
        assert probe("--url", server.grpc_url, timeout=2.0) == (0, "")
    assert lines == []
    assert stubs(server.pid) == before


def test_a_hanging_model_does_not_count_as_busy_and_is_loaded_again(server: TritonServer) -> None:
    before = stubs(server.pid)
    [victim] = [stub.pid for stub in before if stub.model == "product_tower"]
    os.kill(victim, signal.SIGSTOP)
    status, errors = probe("--url", server.grpc_url, timeout=2.0)
    assert status == 1
    assert "not ready: embed_product: " in errors
    assert "not ready: embed_query" not in errors

    lines: list[str] = []
    supervisor = Supervisor(server, say=lines.append)
    supervisor.look()
    assert not supervisor.health.ready  # a busy model would be ready
    while not supervisor.health.ready:
        supervisor.look()
    assert not any("starting Triton again" in line for line in lines), lines
    # The old process must not go on, because Triton 2.51 ends if a process answers that it has given up on.
    assert victim not in {stub.pid for stub in stubs(server.pid)}
    assert sorted(stub.model for stub in stubs(server.pid)) == sorted(stub.model for stub in before)


def test_a_stopped_process_is_ended_before_the_pause(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = next(stub.pid for stub in stubs(server.pid) if stub.model == "query_tower")
    moments = iter(["watching", "pausing", "loaded"])

    def sleep(_: float) -> None:
        match next(moments):
            case "watching":
                os.kill(victim, signal.SIGSTOP)
                while is_at_work(victim, server.pid):  # until the signal has arrived
                    time.sleep(0.01)
            case "pausing":  # Triton 2.51 might end if the process went on now
                deadline = time.monotonic() + 10
                while victim in {stub.pid for stub in stubs(server.pid)}:
                    assert time.monotonic() < deadline, "the process can still go on"
                    time.sleep(0.01)
            case "loaded":
                raise KeyboardInterrupt

    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("shopwindow.server.supervisor.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
        with pytest.raises(KeyboardInterrupt):
            Supervisor(server, say=lines.append).run()
    assert lines[0] == "query_tower: a process of it died; loading it again"
    assert lines[1].startswith("query_tower: loaded in ")


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
    for _ in range(4):  # this supervisor never saw the process alive, so only the canaries show that it is dead
        supervisor.look()
    assert supervisor.health.ready, lines
    assert lines[0].startswith("not ready: retrieve: ")
    assert lines[1].startswith("query_tower: 3 canaries failed")
    assert lines[-1].startswith("ready again")
    assert probe("--url", server.grpc_url) == (0, "")
    after = stubs(server.pid)
    assert sorted(stub.model for stub in after) == sorted(stub.model for stub in before)
    assert {stub.pid for stub in before} - {stub.pid for stub in after} == {victim}
