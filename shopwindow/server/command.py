"""The command line and the environment of a tritonserver process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from shopwindow.server.install import TritonInstall
from shopwindow.server.options import PLAIN_PROFILE, ServerOptions

OWNER_KEY = "shopwindow-owner"
# OpenTelemetry's own variable: http://collector:4318/v1/traces. The Python models send their stages there too.
TRACES_VARIABLE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

_TETHER = Path(__file__).with_name("_tether.py")


def tethered_command(
    options: ServerOptions, install: TritonInstall, *, identity: str, ports: Mapping[str, int], secret: str
) -> list[str]:
    """The command line of a server that ends with this process.

    Args:
        options: What to serve, and how.
        install: The server's program.
        identity: The server's name, which its shared memory bears too.
        ports: The port for each flag.
        secret: What a caller has to show who loads and unloads models.
    """
    command = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), str(install.binary)]
    command += [f"--id={identity}", f"--model-repository={options.repository.resolve()}"]
    command += [f"--{endpoint}-address={options.host}" for endpoint in ("http", "grpc", "metrics")]
    command += [f"{flag}={port}" for flag, port in ports.items()]
    command += [f"--exit-timeout-secs={max(1, int(options.stop_timeout_s))}"]
    # Our own prefix tells our shared memory from that of other servers when it has to be removed.
    command += [f"--backend-config=python,shm-region-prefix-name={identity}-"]
    if options.shm_default_byte_size is not None:
        command += [f"--backend-config=python,shm-default-byte-size={options.shm_default_byte_size}"]
    if options.profile != PLAIN_PROFILE:
        command += [f"--model-config-name={options.profile}"]
    if options.reloadable:
        # Who may load models may send one with code of his own, so that is for us alone.
        command += ["--model-control-mode=explicit", "--load-model=*"]
        command += [
            f"--{flag}=model-repository:{OWNER_KEY}={secret}"
            for flag in ("grpc-restricted-protocol", "http-restricted-api")
        ]
    if collector := os.environ.get(TRACES_VARIABLE):
        command += ["--trace-config=mode=opentelemetry", "--trace-config=level=TIMESTAMPS"]
        command += [f"--trace-config=opentelemetry,url={collector}"]
    if install.backend_directory is not None:
        command += [f"--backend-directory={install.backend_directory}"]
    return [*command, *options.extra_args]


def environment(options: ServerOptions, install: TritonInstall, *, http: str) -> dict[str, str]:
    """The environment variables of a server and its stubs.

    Args:
        options: What to serve, and how.
        install: The server's program.
        http: `host:port` of the server's HTTP endpoint, whose statistics tell the models of an overload.
    """
    variables = dict(os.environ)
    # Python stubs see the packages of the environment whose bin folder comes first.
    _put_first(variables, "PATH", Path(sys.executable).parent)
    _put_first(variables, "LD_LIBRARY_PATH", *install.library_path)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        variables.setdefault(name, str(options.threads))
    variables["SHOPWINDOW_HTTP"] = http
    if options.index is not None:
        variables["SHOPWINDOW_INDEX"] = str(options.index.resolve())
    return variables


def _put_first(environment: dict[str, str], name: str, *folders: Path) -> None:
    if folders:
        environment[name] = os.pathsep.join([*map(str, folders), *filter(None, [environment.get(name)])])
