"""A tritonserver process: start it, check that it is the right one and ready, and stop it without leftovers."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from shopwindow.server.command import OWNER_KEY, environment, tethered_command
from shopwindow.server.errors import ServerFailedToStart, ServingError
from shopwindow.server.install import find_tritonserver
from shopwindow.server.options import DEFAULT_PROFILE, PLAIN_PROFILE, ServerOptions
from shopwindow.server.ports import address, choose_ports, reachable
from shopwindow.server.processes import blank_argument, kill_group
from shopwindow.server.start_log import fatal_lines, last_lines

_SHARED_MEMORY = Path("/dev/shm")

# Without this, gRPC would use a proxy from the environment even for ports of this machine.
DIRECT = [("grpc.enable_http_proxy", 0)]

_POLL_S = 0.1
_CALL_TIMEOUT_S = 2.0
# After a fatal line in its log a server may hang instead of ending. It gets this long to log the rest.
_FATAL_GRACE_S = 3.0
_KILL_GRACE_S = 3.0


class TritonServer:
    """One tritonserver on a model repository.

    As a context manager, the server is ready inside the block and stopped after it:

        with TritonServer(ServerOptions(repository=Path("build/model_repository"))) as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    The server ends when the Python process that started it ends, in whatever way.

    Args:
        options: What to serve, and how.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._id = self._regions = ""
        self._version = ""
        self._secret = ""
        self._ports: dict[str, int] = {}
        self._log: BinaryIO | None = None
        self._log_end = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    def __enter__(self) -> TritonServer:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def grpc_url(self) -> str:
        """Address of the gRPC endpoint for tritonclient.grpc, such as `localhost:8001`."""
        return self._address("--grpc-port")

    @property
    def http_url(self) -> str:
        """Address of the HTTP endpoint for tritonclient.http, such as `localhost:8000`."""
        return self._address("--http-port")

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics, such as `http://localhost:8002/metrics`."""
        return f"http://{self._address('--metrics-port')}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the server. It is also the process group of the server and its stubs."""
        return self._started().pid

    @property
    def version(self) -> str:
        """Version of the server, such as `2.51.0`; empty until the server is ready."""
        return self._version

    @property
    def owner_header(self) -> dict[str, str]:
        """gRPC metadata that opens the closed protocols. Nobody else knows the secret in it."""
        return {f"triton-grpc-protocol-{OWNER_KEY}": self._secret}

    def start(self) -> None:
        """Start the server and return at once. Then call `wait_until_ready`.

        Raises:
            TritonNotFound: No tritonserver is installed.
            EnvironmentUnfit: This environment cannot run a tritonserver.
            PortInUse: A requested port is in use.
            ServerFailedToStart: The repository contains no models, or no model has the profile.
            ServingError: The server is already running.
        """
        self._start(
            {
                "--http-port": self.options.http_port,
                "--grpc-port": self.options.grpc_port,
                "--metrics-port": self.options.metrics_port,
            }
        )

    def restart(self) -> None:
        """Stop the rest of the server and start it again on the same ports.

        Raises:
            ServingError: As `start`.
        """
        ports = self._ports
        self.stop()
        self._start(ports)

    def _start(self, ports: Mapping[str, int]) -> None:
        if self._process is not None:
            raise ServingError(f"this server is already running (process {self.pid}); stop it first")
        if not self._models():
            raise ServerFailedToStart(f"repository: {self.options.repository} holds no model folders")
        if not self._has_profile():
            raise ServerFailedToStart(
                f"profile: no model of {self.options.repository} has a configs/{self.options.profile}.pbtxt"
            )
        _sweep_shared_memory()
        install = find_tritonserver()
        self._ports = choose_ports(self.options.host, ports)
        self._secret = secrets.token_hex(16)
        self._id = f"shopwindow-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        # The process id identifies this server's shared memory, so that no other server's is removed.
        self._regions = f"shopwindow-{os.getpid()}-{secrets.token_hex(16)}"
        self._log_end = ""
        self._log = _open_log(self.options.log_file)

        names = {"identity": self._id, "regions": self._regions, "secret": self._secret}
        command = tethered_command(self.options, install, ports=self._ports, **names)
        # The kernel ends a tethered process together with the *thread* that started it, and the caller's thread may
        # end soon. So a keeper thread starts the server and lives exactly as long as the server.
        started: Future[subprocess.Popen[bytes]] = Future()
        self._keeper = threading.Thread(
            target=self._keep,
            args=(command, environment(self.options, install, http=self.http_url), started),
            daemon=True,
        )
        self._keeper.start()
        self._process = started.result()

    def wait_until_ready(self) -> None:
        """Wait until this server, and not another one, answers and every model of the repository is ready.

        If that fails, the server is stopped.

        Raises:
            ServerFailedToStart: The server ended, a model failed to load, or `ready_timeout_s` is over.
        """
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def poll(self) -> int | None:
        """Return the exit status of the server, negative if a signal ended it; None while it runs."""
        process = self._started()
        return process.returncode if self._wait_for_end(0) else None

    def stop(self) -> None:
        """Stop the server and its stubs and remove their shared memory. Do nothing if the server is not running.

        Requests in flight get `stop_timeout_s` to finish. Processes that still live a little later are killed.
        """
        if self._process is None:
            return
        if self.poll() is None:
            self._process.terminate()
            self._wait_for_end(self.options.stop_timeout_s + _KILL_GRACE_S)
        kill_group(self._process.pid)
        self._wait_for_end(None)
        for region in _SHARED_MEMORY.glob(f"{self._regions}*"):
            region.unlink(missing_ok=True)
        self._log_end = self._read_log()
        if self._log is not None:
            self._log.close()
        self._process = self._keeper = self._log = None

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the server's log, also after the server was stopped."""
        return last_lines(self._read_log(), lines)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.options.ready_timeout_s
        fatal_since: float | None = None
        while True:
            if (status := self.poll()) is not None:
                raise self._failure(f"tritonserver exited with status {status} before it was ready")
            missing = self._missing()
            if not missing:
                blank_argument(self.pid, self._secret)
                return
            now = time.monotonic()
            if fatal_since is None and fatal_lines(self._read_log()):
                fatal_since = now
            if fatal_since is not None and now - fatal_since > _FATAL_GRACE_S:
                raise self._failure("tritonserver cannot become ready")
            if now > deadline:
                timeout = f"ready_timeout_s={self.options.ready_timeout_s:g}"
                raise self._failure(f"tritonserver was not ready after {timeout}: {missing}")
            self._wait_for_end(_POLL_S)

    def _missing(self) -> str:
        """Return what is not ready yet; empty if everything is ready."""
        for flag, port in self._ports.items():
            if not _listens(reachable(self.options.host), port):
                return f"nothing listens on port {port} ({flag})"
        try:
            with InferenceServerClient(self.grpc_url, channel_args=DIRECT) as client:
                metadata = client.get_server_metadata(client_timeout=_CALL_TIMEOUT_S)
                for flag, name in (("--grpc-port", metadata.name), ("--http-port", self._name_over_http())):
                    if name != self._id:
                        return f"another server, {name!r}, answers on port {self._ports[flag]} ({flag})"
                index = client.get_model_repository_index(headers=self.owner_header, client_timeout=_CALL_TIMEOUT_S)
                states = {model.name: model.state or "UNAVAILABLE" for model in index.models}
                late = {name: states.get(name, "unknown to the server") for name in self._models()}
                if waiting := [f"{name} is {state}" for name, state in late.items() if state != "READY"]:
                    return ", ".join(waiting)
                if not client.is_server_ready(client_timeout=_CALL_TIMEOUT_S):
                    return "the server says that it is not ready"
                self._version = metadata.version
        except (InferenceServerException, HTTPException, OSError, ValueError) as error:
            return f"it does not answer ({error})"
        return ""

    def _name_over_http(self) -> str:
        # Not by urllib, which would use a proxy from the environment.
        port = self._ports["--http-port"]
        connection = HTTPConnection(reachable(self.options.host), port, timeout=_CALL_TIMEOUT_S)
        try:
            connection.request("GET", "/v2")
            return str(json.load(connection.getresponse()).get("name"))
        finally:
            connection.close()

    def _failure(self, summary: str) -> ServerFailedToStart:
        log = self._read_log()
        return ServerFailedToStart(summary, fatal_lines(log) or [last_lines(log, 20)])

    def _models(self) -> list[str]:
        """Return the names of the model folders on disk."""
        repository = self.options.repository
        if not repository.is_dir():
            return []
        return sorted(folder.name for folder in repository.iterdir() if folder.is_dir())

    def _has_profile(self) -> bool:
        """Return whether the profile exists. With a misspelt one Triton would serve the plain configuration."""
        profile = self.options.profile
        return profile in (PLAIN_PROFILE, DEFAULT_PROFILE) or any(
            self.options.repository.glob(f"*/configs/{profile}.pbtxt")
        )

    def _keep(self, command: list[str], environment: dict[str, str], started: Future[subprocess.Popen[bytes]]) -> None:
        """Start the process, report it to the caller, and wait for its end. The keeper thread runs this."""
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # in its own process group, so that Ctrl-C reaches only us and we stop it
            )
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    def _wait_for_end(self, timeout_s: float | None) -> bool:
        """Wait for the server's end, at most `timeout_s` seconds (None: for ever), and return whether it has ended."""
        if self._keeper is not None:
            self._keeper.join(timeout_s)
        return self._keeper is None or not self._keeper.is_alive()

    def _read_log(self) -> str:
        if self._log is None:
            return self._log_end
        descriptor = self._log.fileno()  # read with pread, because the server writes at the file offset
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServingError("this server is not running; start() it first")
        return self._process

    def _address(self, flag: str) -> str:
        if not self._ports:
            raise ServingError("the ports are known only after start()")
        return address(self.options.host, self._ports[flag])


def _open_log(path: Path | None) -> BinaryIO:
    """Open the file that the server writes to. An unnamed file disappears when it is closed."""
    if path is None:
        return tempfile.TemporaryFile()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():  # a restart must not erase the last messages of a server that died
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("w+b")


def _sweep_shared_memory() -> None:
    """Remove shared memory whose starting process was killed before it could remove it."""
    for region in _SHARED_MEMORY.glob("shopwindow-*"):
        pid = region.name.split("-")[1]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            region.unlink(missing_ok=True)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CALL_TIMEOUT_S).close()
    except OSError:
        return False
    return True
