"""What goes wrong with servers, done to real ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serving import TritonServer
from tests.serving.stranger import executions

# Added to a model: it begins no request while a file named for its server stands beside it. Stopping the model's
# process would not do: Triton 2.51 takes it for dead after a second, and then ends itself.
BRAKE = """

import os
import pathlib

_execute = TritonPythonModel.execute


def _execute_when_free(self, requests):
    brake = pathlib.Path(__file__).with_name(f"held-{os.getpgid(0)}")
    while brake.exists():
        brake.with_suffix(".holds").touch()
        time.sleep(0.005)
    return _execute(self, requests)


TritonPythonModel.execute = _execute_when_free
"""


@contextmanager
def busy(server: TritonServer) -> Iterator[None]:
    """Let the model of a small server begin nothing, and finish what it has after that."""
    _brake(server).touch()
    try:
        yield
    finally:
        _brake(server).unlink()
        _brake(server).with_suffix(".holds").unlink(missing_ok=True)


def holds(server: TritonServer) -> bool:
    """Whether the model of a busy server has a request by now; the next one will wait in the queue."""
    return _brake(server).with_suffix(".holds").exists()


def _brake(server: TritonServer) -> Path:
    return server.options.repository / "product_index" / "1" / f"held-{server.pid}"


@contextmanager
def frozen(server: TritonServer) -> Iterator[None]:
    """Stop every process of a server: it keeps its connections and says nothing."""
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGCONT)


def kill(server: TritonServer) -> None:
    """End a server at once, as a machine does that loses its power."""
    os.killpg(server.pid, signal.SIGKILL)


def searched(*servers: TritonServer) -> int:
    """How many searches servers have finished, by their own count."""
    counted, before = _counted(servers), -1
    while counted != before:  # a reply is counted a moment after it was sent
        time.sleep(0.05)
        counted, before = _counted(servers), counted
    return counted


def _counted(servers: Sequence[TritonServer]) -> int:
    return sum(int(executions(server, "product_index").inference_stats.success.count) for server in servers)
