"""Starts and stops the peers."""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import grpc
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from shopwindow.base.default_places import python_path
from shopwindow.server.install import find_tritonserver
from shopwindow.server.ports import choose_ports
from shopwindow.server.tritonserver import DIRECT
from shopwindow_loadtests.generator.driving import Target
from shopwindow_loadtests.generator.server_cpu import cpu_seconds
from shopwindow_loadtests.peers.settings import (
    INDEX_VARIABLE,
    LARGEST_BATCH,
    REPOSITORY_VARIABLE,
    ROWS_VARIABLE,
    WORKERS,
)
from shopwindow_loadtests.scenario.errors import HarnessFailure

_READY_S = 120.0
_STOP_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How to start a peer.

    Attributes:
        name: Its name in the results.
        needs: Packages that it imports. The extra `bench` installs them.
        protocol: One of `shopwindow_loadtests.generator.closed_loop.PROTOCOLS`.
        command: Returns the arguments of the interpreter for a port.
        sliced: Whether it embeds queries in slices of about one length, as Shopwindow does. False: a whole batch at
            once, padded to its longest query.
    """

    name: str
    needs: Sequence[str]
    protocol: str
    command: Callable[[int], list[str]]
    sliced: bool = False

    @property
    def missing(self) -> list[str]:
        """The packages of `needs` that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


def _uvicorn(module: str) -> Callable[[int], list[str]]:
    serve = [
        "-m",
        "uvicorn",
        f"shopwindow_loadtests.peers.{module}:app",
        "--workers",
        str(WORKERS),
        "--log-level",
        "warning",
    ]
    return lambda port: [*serve, "--host", "127.0.0.1", "--port", str(port)]


def _bentoml(port: int) -> list[str]:
    service = "shopwindow_loadtests.peers.bentoml_service:Retrieve"
    return ["-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port), "--quiet"]


_FASTAPI = ("fastapi", "uvicorn", "orjson")
BATCHER = "FastAPI, batcher"
BATCHERS = BATCHER, f"{BATCHER} and slices"
PEERS = (
    Peer(name=BATCHER, needs=_FASTAPI, protocol="http", command=_uvicorn("fastapi_batcher")),
    Peer(
        name=BATCHERS[1],
        needs=_FASTAPI,
        protocol="http",
        command=_uvicorn("fastapi_batcher"),
        sliced=True,
    ),
    Peer(name="FastAPI, plain", needs=_FASTAPI, protocol="http", command=_uvicorn("fastapi_plain")),
    Peer(
        name="pytriton @batch",
        needs=("pytriton", "orjson"),
        protocol="grpc",
        command=lambda port: ["-m", "shopwindow_loadtests.peers.pytriton_batch", str(port)],
    ),
    Peer(name="BentoML", needs=("bentoml", "orjson"), protocol="nested", command=_bentoml),
)


@contextmanager
def running(peer: Peer, repository: Path, index: Path, log: Path) -> Iterator[Target]:
    """Start a peer that answers inside the block. After the block it has ended, with every process that it started.

    Args:
        peer: The peer.
        repository: Model repository.
        index: Index folder or home.
        log: File for its output.

    Raises:
        HarnessFailure: The peer ended, or was not ready in time.
    """
    port = choose_ports("127.0.0.1", {"port": 0})["port"]
    environment = {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",  # its threads would compete with the workers for the cores
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_HOME": str(log.parent.resolve() / "bentoml"),  # by default in the user's home
        REPOSITORY_VARIABLE: str(repository.resolve()),
        INDEX_VARIABLE: str(index.resolve()),
        ROWS_VARIABLE: "" if peer.sliced else str(LARGEST_BATCH),
        "PYTHONPATH": python_path(),
        # pytriton's processes run this interpreter's library only if they find it before the system's.
        "LD_LIBRARY_PATH": os.pathsep.join(
            filter(None, [*map(str, find_tritonserver().library_path), os.environ.get("LD_LIBRARY_PATH")])
        ),
    }
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-P", *peer.command(port)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it ends together with its processes
        )
        stack.callback(_stop, process)
        url = f"127.0.0.1:{port}"
        _wait(peer, process, url, log)
        yield Target(name=peer.name, protocol=peer.protocol, url=url, pid=process.pid)


def _wait(peer: Peer, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    answers = _grpc_answers if peer.protocol == "grpc" else _http_answers
    while not answers(url):
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            what = f"was not ready within {_READY_S:g} s" if ended is None else f"ended with status {ended}"
            raise HarnessFailure(f"{peer.name} {what}; the end of {log}:\n{log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.1)


def _http_answers(url: str) -> bool:
    connection = HTTPConnection(url, timeout=2.0)
    try:
        for method in ("GET", "POST"):  # BentoML takes only POST
            connection.request(method, "/ready", b"{}", {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return True
        return False
    except (HTTPException, OSError):
        return False
    finally:
        connection.close()


def _grpc_answers(url: str) -> bool:
    with InferenceServerClient(url, channel_args=DIRECT) as client:
        try:
            return bool(client.is_model_ready("retrieve", client_timeout=2.0))
        except (InferenceServerException, grpc.RpcError):
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a peer. Kill those of its processes that stay; they may have left its group."""
    with ExitStack() as stack:
        family = []
        for pid in cpu_seconds(process.pid):
            with suppress(ProcessLookupError):
                family.append(os.pidfd_open(pid))  # a descriptor, because another process may have the id by then
                stack.callback(os.close, family[-1])
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        for descriptor in family:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in family:
            select.select([descriptor], [], [], _STOP_S)  # wait for the end, because a kill returns at once
        process.wait()
