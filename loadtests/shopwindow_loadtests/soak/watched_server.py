"""`shopwindow serve` in a separate process, with a record of what its health endpoint says."""

from __future__ import annotations

import bisect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from shopwindow.base.default_places import python_path
from shopwindow.server.processes import Stub, kill, members, started_by, stubs
from shopwindow_client import RetrievalClient, ShopwindowError
from shopwindow_loadtests.generator.server_cpu import private_bytes
from shopwindow_loadtests.soak.callers import Failure

TOLD_WITHIN_S = 2.0  # the watch looks once a second
# A request that a dead process had, or was given after its death, may fail up to this much later.
AFTERMATH_S = 3.0
_LOOK_S = 0.05
_GIVE_UP_S = 60.0
_START_S = 240.0

TRITON, GATEWAY = "Triton", "the gateway"  # the processes that all models need
# For each Python model of the profile `cpu`, a call that passes through it. No pipeline of this profile uses the models
# of single steps, but the watch covers them too.
CALLS: dict[str, Callable[[RetrievalClient], object]] = {
    "retrieve": lambda client: client.retrieve("red dress", top_k=1),
    "retrieve_similar": lambda client: client.retrieve_similar(title="red dress", top_k=1),
    "embed_query": lambda client: client.embed_query("red dress"),
    "embed_product": lambda client: client.embed_product(title="red dress"),
    "query_tokenizer": lambda client: client.embed_query("red dress"),
    "query_tower": lambda client: client.embed_query("red dress"),
    "product_preprocessor": lambda client: client.embed_product(title="red dress"),
    "product_tower": lambda client: client.embed_product(title="red dress"),
    "product_index": lambda client: client.retrieve_by_embedding(client.embed_query("red dress"), top_k=1),
    TRITON: lambda client: client.retrieve("red dress", top_k=1),
    GATEWAY: lambda client: client.retrieve("red dress", top_k=1),
}


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How the server recovered after a process was killed or frozen.

    Attributes:
        victim: The model whose process it was, TRITON or GATEWAY.
        how: The signal that it got.
        began: When it got it, in seconds of `time.monotonic`.
        seconds: From then until health endpoint and model were well again; infinite if that did not happen, or if
            there was no such process.
        failures: Failed calls to this model in that time.
    """

    victim: str
    how: str = "SIGKILL"
    began: float = 0.0
    seconds: float
    failures: list[Failure]

    def explains(self, moment: float) -> bool:
        """Whether a request that failed at this time may have failed for this reason."""
        return self.began <= moment <= self.began + self.seconds + AFTERMATH_S


class WatchedServer:
    """The running command `shopwindow serve`. It stops at the end of the block.

    Args:
        repository: The model repository.
        index: The index home.
        log: File for Triton's log.
        settings: Environment variables to add.

    Attributes:
        url: `host:port` of the gRPC endpoint.
        addresses: `host:port` of each endpoint: `gRPC`, `HTTP`, `metrics` and `health`.
        lines: The output of the command.
    """

    def __init__(self, repository: Path, index: Path, log: Path, settings: Mapping[str, str] | None = None) -> None:
        ports = [part for name in ("http", "grpc", "metrics", "health") for part in (f"--{name}-port", "0")]
        command = [sys.executable, "-P", "-m", "shopwindow.cli.main", "serve", "--host", "127.0.0.1", *ports]
        command += ["--repository", str(repository), "--index", str(index), "--log", str(log)]
        self.lines: list[str] = []
        environment = {**os.environ, "PYTHONPATH": python_path(), **(settings or {})}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._seen: list[tuple[float, bool]] = []
        self._done = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        deadline = time.monotonic() + _START_S
        while not any("Ctrl-C stops it." in line for line in self.lines):
            if not self._reader.is_alive() or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError("\n".join(["shopwindow serve did not start:", *self.lines]))
            time.sleep(_LOOK_S)
        told = dict(line.split() for line in self.lines if line.startswith("  ") and len(line.split()) == 2)
        self.addresses = {name: url.rpartition("://")[2].partition("/")[0] for name, url in told.items()}
        self.url = self.addresses["gRPC"]
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> WatchedServer:
        self._watcher.start()
        while not self.is_ready:
            time.sleep(_LOOK_S)
        self._seen.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        family = [self.triton, self.gateway, *self._stub_ids()]
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            for pid in filter(None, family):
                kill(pid)

    @property
    def triton(self) -> int:
        """Process id of Triton; 0 while there is none."""
        return started_by(self._process.pid, "tritonserver")

    @property
    def gateway(self) -> int:
        """Process id of the gateway; 0 while there is none."""
        return started_by(self._process.pid, "envoy")

    @property
    def stubs(self) -> list[Stub]:
        """The processes of the Python models."""
        return stubs(self.triton)

    @property
    def models(self) -> list[str]:
        """The Python models, in alphabetical order."""
        return sorted({stub.model for stub in self.stubs})

    @property
    def memory(self) -> int:
        """Private memory of the server's processes, without mapped files, in bytes."""
        return sum(map(private_bytes, members(self.triton)))

    @property
    def is_ready(self) -> bool:
        """The latest answer of the health endpoint."""
        return bool(self._seen) and self._seen[-1][1]

    @property
    def looks(self) -> tuple[int, int]:
        """How often the health endpoint was asked, and how often it said that the server was not ready."""
        seen = list(self._seen)
        return len(seen), sum(not ready for _, ready in seen)

    def was_told(self, moment: float) -> bool:
        """Whether the health endpoint said, when a request failed or near that time, that the server was not ready."""
        seen = list(self._seen)
        last = max(0, bisect.bisect(seen, (moment - AFTERMATH_S, True)) - 1)
        return any(not ready for when, ready in seen[last:] if when <= moment + TOLD_WITHIN_S)

    def harm_and_wait(self, victim: str, number: signal.Signals) -> Recovery:
        """Send a signal to a process and call its model until all is well again.

        Args:
            victim: A model, of which one process gets the signal, or TRITON or GATEWAY.
            number: SIGKILL or SIGSTOP.
        """
        before = sorted(stub.model for stub in self.stubs)
        stub = next((stub.pid for stub in self.stubs if stub.model == victim), 0)
        pid = {TRITON: self.triton, GATEWAY: self.gateway}.get(victim, stub)
        if pid == 0:  # the last victim has not recovered; and a signal to 0 would hit the soak itself
            return Recovery(victim=victim, how=number.name, began=time.monotonic(), seconds=float("inf"), failures=[])
        failures: list[Failure] = []
        noticed = answered = False
        with RetrievalClient(self.url, timeout_s=_GIVE_UP_S, retry=None) as client:
            began = time.monotonic()
            os.kill(pid, number)
            while not (noticed and answered and self.is_ready) and time.monotonic() < began + _GIVE_UP_S:
                try:
                    CALLS[victim](client)
                    answered = True
                except ShopwindowError as error:
                    failures.append(Failure(time.monotonic(), error))
                    answered = False
                noticed = any(not ready for when, ready in list(self._seen) if when >= began)
                time.sleep(_LOOK_S)
            took = time.monotonic() - began
        complete = sorted(stub.model for stub in self.stubs if stub.pid != pid) == before
        well = noticed and answered and self.is_ready and complete
        seconds = took if well else float("inf")
        return Recovery(victim=victim, how=number.name, began=began, seconds=seconds, failures=failures)

    def _stub_ids(self) -> list[int]:
        return [stub.pid for stub in self.stubs]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_S):
            moment, ready = time.monotonic(), False
            connection = HTTPConnection(self.addresses["health"], timeout=5)
            with suppress(OSError, HTTPException):
                connection.request("GET", "/readyz")
                ready = connection.getresponse().status == 200
            connection.close()
            self._seen.append((moment, ready))
