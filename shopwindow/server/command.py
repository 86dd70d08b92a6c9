"""The command line and the environment of a tritonserver process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from shopwindow.server.install import TritonInstall
from shopwindow.server.options import ALL_PROTOCOLS, CLOSED_PROTOCOLS, PLAIN_PROFILE, ServerOptions

OWNER_KEY = "shopwindow-owner"
# OpenTelemetry's own variable, such as http://collector:4318/v1/traces. The Python models send their spans there too.
TRACES_VARIABLE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

# glibc returns blocks of 1 MiB and more as soon as they are freed. By default it would learn to keep ever larger ones,
# and a few large messages would hold on to their memory for ever.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(8 * 2**20)}


def triton_command(
    options: ServerOptions,
    install: TritonInstall,
    *,
    identity: str,
    regions: str,
    ports: Mapping[str, int],
    secret: str,
) -> list[str]:
    """Return the command line of a server.

    Args:
        options: What to serve, and how; from `plain_options`.
        install: The server's program; from `plain_install`.
        identity: The server's name, which every caller can read.
        regions: The start of the names of the server's shared memory regions. No caller may know it.
        ports: The port for each flag.
        secret: The secret that a caller must send to use a closed protocol.
    """
    command = [str(install.binary), f"--id={identity}", f"--model-repository={options.repository}"]
    command += [f"--{endpoint}-address={options.host}" for endpoint in ("http", "grpc", "metrics")]
    command += [f"{flag}={port}" for flag, port in ports.items()]
    command += [f"--exit-timeout-secs={max(1, int(options.stop_timeout_s))}"]
    # Otherwise Triton first starts a process of each Python model to ask it what its configuration lacks: nothing.
    command += ["--disable-auto-complete-config"]
    command += [f"--backend-config=python,shm-region-prefix-name={regions}-"]
    if options.shm_default_byte_size is not None:
        command += [f"--backend-config=python,shm-default-byte-size={options.shm_default_byte_size}"]
    if options.profile != PLAIN_PROFILE:
        command += [f"--model-config-name={options.profile}"]
    if options.reloadable:
        command += ["--model-control-mode=explicit", "--load-model=*"]
    closed = list(ALL_PROTOCOLS)
    if not options.behind_gateway:
        closed = [name for name in CLOSED_PROTOCOLS if name not in options.expose]
    if closed:
        flags = ("grpc-restricted-protocol", "http-restricted-api")
        command += [f"--{flag}={','.join(closed)}:{OWNER_KEY}={secret}" for flag in flags]
    if collector := os.environ.get(TRACES_VARIABLE):
        command += ["--trace-config=mode=opentelemetry", "--trace-config=level=TIMESTAMPS"]
        command += [f"--trace-config=opentelemetry,url={collector}"]
    if install.backend_directory is not None:
        command += [f"--backend-directory={install.backend_directory}"]
    return [*command, *options.extra_args]


def owner_headers(secret: str) -> dict[str, str]:
    """Return the headers that open closed protocols, over gRPC and over HTTP."""
    return {f"triton-grpc-protocol-{OWNER_KEY}": secret, OWNER_KEY: secret}


def environment(options: ServerOptions, install: TritonInstall, *, http: str, owner_file: Path) -> dict[str, str]:
    """Return the environment variables of a server and its stubs.

    Args:
        options: What to serve, and how; from `plain_options`.
        install: The server's program; from `plain_install`.
        http: `host:port` of the server's HTTP endpoint. The models read its statistics to notice an overload.
        owner_file: A file that holds the secret for closed protocols, for the same purpose.
    """
    variables = dict(os.environ)
    # Stubs take their packages from the environment whose bin folder is first in PATH.
    _put_first(variables, "PATH", install.python_folder)
    _put_first(variables, "LD_LIBRARY_PATH", *install.library_path)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        variables.setdefault(name, str(options.threads))
    for name, value in _MALLOC.items():
        variables.setdefault(name, value)
    variables["SHOPWINDOW_HTTP"] = http
    variables["SHOPWINDOW_OWNER_FILE"] = str(owner_file)
    if options.index is not None:
        variables["SHOPWINDOW_INDEX"] = str(options.index)
    if options.verify is not None:
        variables["SHOPWINDOW_VERIFY"] = options.verify
    return variables


def _put_first(environment: dict[str, str], name: str, *folders: Path) -> None:
    if folders:
        environment[name] = os.pathsep.join([*map(str, folders), *filter(None, [environment.get(name)])])
