"""A tritonserver process: started, checked to be ours and ready, and stopped without leftovers."""

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
from shopwindow.server.processes import kill_group
from shopwindow.server.start_log import fatal_lines, last_lines

_SHARED_MEMORY = Path("/dev/shm")

# gRPC would ask a proxy from the environment even for this machine's own ports.
DIRECT = [("grpc.enable_http_proxy", 0)]

_POLL_S = 0.1
_CALL_TIMEOUT_S = 2.0
# A server that logged a fatal line may hang instead of exiting; it gets this long to log the rest.
_FATAL_GRACE_S = 3.0
_KILL_GRACE_S = 3.0


class TritonServer:
    """One tritonserver on a model repository.

    As a context manager it is ready inside the block and gone after it:

        with TritonServer(ServerOptions(repository=Path("build/model_repository"))) as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    The server ends with the Python process that started it, however that one ends.

    Args:
        options: What to serve, and how.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._id = ""
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
        """Address of the gRPC endpoint as tritonclient.grpc wants it, `localhost:8001`."""
        return self._address("--grpc-port")

    @property
    def http_url(self) -> str:
        """Address of the HTTP endpoint as tritonclient.http wants it, `localhost:8000`."""
        return self._address("--http-port")

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes, `http://localhost:8002/metrics`."""
        return f"http://{self._address('--metrics-port')}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the server, which is also the id of the process group of its Python stubs."""
        return self._started().pid

    @property
    def version(self) -> str:
        """Version of the server, `2.51.0`, known once it is ready."""
        return self._version

    @property
    def owner_header(self) -> dict[str, str]:
        """The gRPC metadata that opens the model repository of a reloadable server, which is closed to all others."""
        return {f"triton-grpc-protocol-{OWNER_KEY}": self._secret} if self.options.reloadable else {}

    def start(self) -> None:
        """Starts the server and returns at once; see `wait_until_ready`.

        Raises:
            TritonNotFound: No tritonserver is installed.
            EnvironmentUnfit: This environment can't run it.
            PortInUse: A requested port is taken.
            ServerFailedToStart: The repository is not a folder with models in it.
            ServingError: It is running already.
        """
        self._start(
            {
                "--http-port": self.options.http_port,
                "--grpc-port": self.options.grpc_port,
                "--metrics-port": self.options.metrics_port,
            }
        )

    def restart(self) -> None:
        """Stops what is left of the server and starts it anew, at the addresses that it had.

        Raises:
            ServingError: As `start` does.
        """
        ports = self._ports
        self.stop()
        self._start(ports)

    def _start(self, ports: Mapping[str, int]) -> None:
        if self._process is not None:
            raise ServingError(f"this server is running already (process {self.pid}); stop it first")
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
        self._log_end = ""
        self._log = _open_log(self.options.log_file)

        command = tethered_command(self.options, install, identity=self._id, ports=self._ports, secret=self._secret)
        # The kernel ends a tethered process with the *thread* that started it, and start() may be called from
        # one that ends soon. So a thread of its own starts the server and lives exactly as long as it does.
        started: Future[subprocess.Popen[bytes]] = Future()
        self._keeper = threading.Thread(
            target=self._keep,
            args=(command, environment(self.options, install, http=self.http_url), started),
            daemon=True,
        )
        self._keeper.start()
        self._process = started.result()

    def wait_until_ready(self) -> None:
        """Waits until this very server answers and every model of the repository is ready.

        A server that does not get there is stopped.

        Raises:
            ServerFailedToStart: It died, a model failed to load, or `ready_timeout_s` went by.
        """
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def poll(self) -> int | None:
        """The exit status of the server, None while it runs; negative when a signal ended it."""
        process = self._started()
        return process.returncode if self._wait_for_end(0) else None

    def stop(self) -> None:
        """Stops the server and its stubs and removes their shared memory; does nothing when none runs.

        Requests in flight get `stop_timeout_s` to finish. What still lives a little after that is killed.
        """
        if self._process is None:
            return
        if self.poll() is None:
            self._process.terminate()
            self._wait_for_end(self.options.stop_timeout_s + _KILL_GRACE_S)
        kill_group(self._process.pid)
        self._wait_for_end(None)
        for region in _SHARED_MEMORY.glob(f"{self._id}*"):
            region.unlink(missing_ok=True)
        self._log_end = self._read_log()
        if self._log is not None:
            self._log.close()
        self._process = self._keeper = self._log = None

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that the server wrote, also after it was stopped."""
        return last_lines(self._read_log(), lines)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.options.ready_timeout_s
        fatal_since: float | None = None
        while True:
            if (status := self.poll()) is not None:
                raise self._failure(f"tritonserver exited with status {status} before it was ready")
            missing = self._missing()
            if not missing:
                return
            now = time.monotonic()
            if fatal_since is None and fatal_lines(self._read_log()):
                fatal_since = now
            if fatal_since is not None and now - fatal_since > _FATAL_GRACE_S:
                raise self._failure("tritonserver can't become ready")
            if now > deadline:
                timeout = f"ready_timeout_s={self.options.ready_timeout_s:g}"
                raise self._failure(f"tritonserver was not ready after {timeout}: {missing}")
            self._wait_for_end(_POLL_S)

    def _missing(self) -> str:
        """What is not ready yet, empty when all is."""
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
        # Not urllib, which would ask a proxy from the environment.
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
        """Names of the model folders on disk."""
        repository = self.options.repository
        if not repository.is_dir():
            return []
        return sorted(folder.name for folder in repository.iterdir() if folder.is_dir())

    def _has_profile(self) -> bool:
        """Whether the profile exists; Triton would serve the plain configuration under a misspelt one."""
        profile = self.options.profile
        return profile in (PLAIN_PROFILE, DEFAULT_PROFILE) or any(
            self.options.repository.glob(f"*/configs/{profile}.pbtxt")
        )

    def _keep(self, command: list[str], environment: dict[str, str], started: Future[subprocess.Popen[bytes]]) -> None:
        """Body of the keeper thread: starts the process, reports it, and waits for its end."""
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own process group; Ctrl-C reaches us alone, and we stop it
            )
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    def _wait_for_end(self, timeout_s: float | None) -> bool:
        """Whether the server has ended, after waiting for that at most so long; None waits without end."""
        if self._keeper is not None:
            self._keeper.join(timeout_s)
        return self._keeper is None or not self._keeper.is_alive()

    def _read_log(self) -> str:
        if self._log is None:
            return self._log_end
        descriptor = self._log.fileno()  # pread, as the file offset belongs to the server that writes
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServingError("this server is not running; start() comes first")
        return self._process

    def _address(self, flag: str) -> str:
        if not self._ports:
            raise ServingError("the ports are known after start()")
        return address(self.options.host, self._ports[flag])


def _open_log(path: Path | None) -> BinaryIO:
    """The file the server writes to; an unnamed one is gone when it is closed."""
    if path is None:
        return tempfile.TemporaryFile()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():  # a restart must not erase what the last server said before it died
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("w+b")


def _sweep_shared_memory() -> None:
    """Remove regions whose starting process was killed before it could."""
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
