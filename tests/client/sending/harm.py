"""Faults, done to real servers."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shopwindow.server import TritonServer
from shopwindow_client import RetrievalClient, Retry
from tests.server.stranger import Refused, ask, executions

# A queue with one place is sometimes full although nothing is wrong.
PATIENT = Retry(attempts=10_000, first_pause_s=0.02, max_pause_s=0.1, budget=1e9)

# Added to a model. It fails on requests named "count". It begins no request while a file with its server's number lies
# beside it. Stopping the model's process would not work: Triton 2.51 takes it for dead after a second, and then ends
# itself. The model's own overload check is off, because requests wait here on purpose, and the queue has its limit.
BRAKE = """

import os
import pathlib
import time

os.environ["SHOPWINDOW_QUEUE_LIMIT_MS"] = "0"
_execute = TritonPythonModel.execute


def _execute_when_free(self, requests):
    brake = pathlib.Path(__file__).with_name(f"held-{os.getpgid(0)}")
    while brake.exists():
        brake.with_suffix(".holds").touch()
        time.sleep(0.005)
    if [request.request_id() for request in requests] == ["count"]:
        raise RuntimeError("all requests before this one are counted")
    return _execute(self, requests)


TritonPythonModel.execute = _execute_when_free
"""


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds. The time limit of the test ends the wait."""
    while not condition():
        time.sleep(0.01)


def connect(client: RetrievalClient, embedding: np.ndarray, *servers: TritonServer) -> None:
    """Search until each server was asked once. From then on the client asks them in turn."""
    before = [searched(server) for server in servers]
    while any(searched(server) == count for server, count in zip(servers, before, strict=True)):
        client.retrieve_by_embedding(embedding)


@contextmanager
def busy(server: TritonServer) -> Iterator[None]:
    """Let the model of a small server begin no request. It works on them afterwards."""
    _brake(server).with_suffix(".holds").unlink(missing_ok=True)
    _brake(server).touch()
    try:
        yield
    finally:
        _brake(server).unlink()


def holds(server: TritonServer) -> bool:
    """Return whether the model of a busy server has a request. The next one then waits in the queue."""
    return _brake(server).with_suffix(".holds").exists()


def _brake(server: TritonServer) -> Path:
    return server.options.repository / "product_index" / "1" / f"held-{server.pid}"


@contextmanager
def frozen(server: TritonServer) -> Iterator[None]:
    """Stop every process of a server. It keeps its connections and does not answer."""
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGCONT)


def kill(server: TritonServer) -> None:
    """End a server at once, as a power cut does."""
    os.killpg(server.pid, signal.SIGKILL)


def end(server: TritonServer) -> None:
    """Kill a server that has nothing to finish, and clean up after it."""
    if server.poll() is None:
        kill(server)
    server.stop()


def queued(server: TritonServer) -> int:
    """Return how many requests wait in the queue of a small server."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(server.metrics_url, timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    (line,) = (line for line in lines if line.startswith("nv_inference_pending_request_count{"))
    return int(float(line.rpartition(" ")[2]))


def searched(*servers: TritonServer) -> int:
    """Return how many searches small servers have finished, by their own count."""
    return sum(map(_counted, servers))


def _counted(server: TritonServer) -> int:
    # A server counts a reply a moment after it sent it, but before the model begins the next request. So once a request
    # fails, all searches before it are counted. The failed one does not count as a success.
    anything = {"embedding": np.eye(1, 128, dtype=np.float32)}
    while True:
        try:
            ask(server, "product_index", anything, request_id="count")
        except Refused as refused:
            if "all requests before this one are counted" in refused.message:
                return int(executions(server, "product_index").inference_stats.success.count)
            if "UNAVAILABLE" not in refused.status:  # the queue is full
                raise
