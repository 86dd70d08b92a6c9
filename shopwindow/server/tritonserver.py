"""A tritonserver process: start it, check that it is the right one and ready, and stop it without leftovers."""

from __future__ import annotations

import json
import os
import secrets
import time
import uuid
from collections.abc import Mapping
from compileall import compile_dir
from http.client import HTTPConnection, HTTPException
from types import TracebackType

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from shopwindow.base.triton_names import model_folders, odd_name
from shopwindow.server.command import environment, owner_headers, triton_command
from shopwindow.server.errors import ServerFailedToStart, ServingError
from shopwindow.server.install import TritonInstall, find_tritonserver
from shopwindow.server.log_file import LogFile
from shopwindow.server.options import DEFAULT_PROFILE, PLAIN_PROFILE, ServerOptions
from shopwindow.server.plain_paths import plain_install, plain_options
from shopwindow.server.ports import address, choose_ports, listens, reachable
from shopwindow.server.processes import blank_argument
from shopwindow.server.runtime_folder import RuntimeFolder, sweep
from shopwindow.server.start_log import fatal_lines, last_lines
from shopwindow.server.tethered import Tethered

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
        self._id = ""
        self._version = ""
        self._secret = secrets.token_hex(16)
        self._secret_is_shown = False
        self._ports: dict[str, int] = {}
        self._log: LogFile | None = None
        self._log_end = ""
        self._folder: RuntimeFolder | None = None
        self._process: Tethered | None = None

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
    def ports(self) -> dict[str, int]:
        """The ports by "http", "grpc" and "metrics". They stay the same when the server is restarted."""
        return {flag.strip("-").partition("-")[0]: port for flag, port in self._ports.items()}

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
        """Headers that open the closed protocols, over gRPC and over HTTP. Nobody else knows the secret in them."""
        return owner_headers(self._secret)

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
        if not (models := self._models()):
            raise ServerFailedToStart(f"repository: {self.options.repository} holds no model folders")
        if odd := next(filter(None, map(odd_name, models)), ""):
            raise ServerFailedToStart(f"repository: the model folder {odd}")
        if not self._has_profile():
            raise ServerFailedToStart(
                f"profile: no model of {self.options.repository} has a configs/{self.options.profile}.pbtxt"
            )
        if self.options.reloadable:
            # Python would write a __pycache__ beside a model.py at its first start. Triton would take that for a change
            # of the model, and replace all of its processes when the watch wants to replace one.
            compile_dir(self.options.repository, maxlevels=2, quiet=2)
        sweep()
        install = find_tritonserver()
        self._ports = choose_ports(self.options.host, ports)
        self._id = f"shopwindow-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._log_end = ""
        try:
            self._launch(install)
        except OSError as error:  # such as a full /dev/shm
            self.stop()
            raise ServingError(f"the server cannot be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def _launch(self, install: TritonInstall) -> None:
        self._log = LogFile(self.options.log_file)
        self._folder = RuntimeFolder()
        owner_file = self._folder.path / "owner"
        owner_file.touch(mode=0o600)
        owner_file.write_text(self._secret)

        options, install = plain_options(self.options, self._folder.path), plain_install(install, self._folder.path)
        command = triton_command(
            options,
            install,
            identity=self._id,
            regions=self._folder.regions,
            ports=self._ports,
            secret=self._secret,
        )
        self._process = Tethered(
            command,
            folder=self._folder.path,  # see plain_options
            output=self._log.file,
            environment=environment(options, install, http=self.http_url, owner_file=owner_file),
        )
        self._secret_is_shown = True
        self._folder.add_group(self._process.pid)

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
        return self._started().poll()

    def stop(self) -> None:
        """Stop the server and its stubs and remove their shared memory. Do nothing if the server is not running.

        Requests in flight get `stop_timeout_s` to finish. Processes that still live a little later are killed.
        """
        if self._process is not None:
            self._process.stop(self.options.stop_timeout_s + _KILL_GRACE_S)
        if self._folder is not None:
            self._folder.close()
        if self._log is not None:
            self._log_end = self._read_log()
            self._log.close()
        self._process = self._log = self._folder = None

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the server's log, at most 64 KiB, also after the server was stopped."""
        return last_lines(self._read_log(), lines)

    def rotate_log(self) -> None:
        """Put the server's log aside if it is too large; see `LogFile`. Do nothing if the server is not running."""
        if self._log is not None:
            self._log.rotate()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.options.ready_timeout_s
        fatal_since: float | None = None
        while True:
            if (status := self.poll()) is not None:
                raise self._failure(f"tritonserver exited with status {status} before it was ready")
            if self._secret_is_shown and self._read_log():  # Triton logs nothing before it has read its arguments
                blank_argument(self.pid, self._secret)
                self._secret_is_shown = False
            missing = self._missing()
            if not missing:
                return
            now = time.monotonic()
            if fatal_since is None and fatal_lines(self._read_log()):
                fatal_since = now
            if fatal_since is not None and now - fatal_since > _FATAL_GRACE_S:
                raise self._failure("tritonserver cannot become ready")
            if now > deadline:
                timeout = f"ready_timeout_s={self.options.ready_timeout_s:g}"
                raise self._failure(f"tritonserver was not ready after {timeout}: {missing}")
            self._started().wait(_POLL_S)

    def _missing(self) -> str:
        """Return what is not ready yet; empty if everything is ready."""
        for flag, port in self._ports.items():
            if not listens(self.options.host, port):
                return f"nothing listens on port {port} ({flag})"
        try:
            with InferenceServerClient(self.grpc_url, channel_args=DIRECT) as client:
                metadata = client.get_server_metadata(headers=self.owner_header, client_timeout=_CALL_TIMEOUT_S)
                for flag, name in (("--grpc-port", metadata.name), ("--http-port", self._name_over_http())):
                    if name != self._id:
                        return f"another server, {name!r}, answers on port {self._ports[flag]} ({flag})"
                index = client.get_model_repository_index(headers=self.owner_header, client_timeout=_CALL_TIMEOUT_S)
                states = {model.name: model.state or "UNAVAILABLE" for model in index.models}
                late = {name: states.get(name, "unknown to the server") for name in self._models()}
                if waiting := [f"{name} is {state}" for name, state in late.items() if state != "READY"]:
                    return ", ".join(waiting)
                if not client.is_server_ready(headers=self.owner_header, client_timeout=_CALL_TIMEOUT_S):
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
            connection.request("GET", "/v2", headers=self.owner_header)
            return str(json.load(connection.getresponse()).get("name"))
        finally:
            connection.close()

    def _failure(self, summary: str) -> ServerFailedToStart:
        log = self._read_log()
        return ServerFailedToStart(summary, fatal_lines(log) or [last_lines(log, 20)])

    def _models(self) -> list[str]:
        """Return the names of the model folders on disk."""
        return [folder.name for folder in model_folders(self.options.repository)]

    def _has_profile(self) -> bool:
        """Return whether the profile exists. With a misspelt one Triton would serve the plain configuration."""
        profile = self.options.profile
        return profile in (PLAIN_PROFILE, DEFAULT_PROFILE) or any(
            self.options.repository.glob(f"*/configs/{profile}.pbtxt")
        )

    def _read_log(self) -> str:
        """Return the end of the log, because a log may be larger than the memory."""
        return self._log_end if self._log is None else self._log.tail()

    def _started(self) -> Tethered:
        if self._process is None:
            raise ServingError("this server is not running; start() it first")
        return self._process

    def _address(self, flag: str) -> str:
        if not self._ports:
            raise ServingError("the ports are known only after start()")
        return address(self.options.host, self._ports[flag])
