"""The options of a server."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PROFILE = "cpu"
CLOSED_PROTOCOLS = ("logging", "model-repository", "shared-memory", "statistics", "trace")
"""Protocols of Triton that are closed unless exposed. Through most of them a caller can harm the server: write into the
memory of the models, send a model with code, or fill the disk with log lines. Statistics tell how much is asked."""
ALL_PROTOCOLS = (*CLOSED_PROTOCOLS, "health", "inference", "metadata", "model-config")
"""All protocols of Triton. Behind a gateway all are closed, so that nobody gets around it."""
VERIFY_LEVELS = ("full", "fast", "off")  # as `shopwindow.retrieval.index.checksums.Verify`, which is slow to import
PLAIN_PROFILE = "gpu"  # its configuration is config.pbtxt itself, so it needs no --model-config-name


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How to start a tritonserver.

    Args:
        repository: The model repository. Each folder in it is a model, and every model must become ready.
        profile: `cpu` loads configs/cpu.pbtxt of the models that have one, `gpu` loads config.pbtxt of all.
        http_port: Port of the HTTP endpoint. 0 picks a free port, also for the next two.
        grpc_port: Port of the gRPC endpoint.
        metrics_port: Port of the Prometheus metrics.
        host: Address to which all three ports bind. Triton has no authentication, so let others reach it only through a
            gateway.
        behind_gateway: Closes all protocols of Triton, so that only a gateway opens them. It sends the secret that only
            the process that started the server has.
        index: Index folder. The Python models get it in the environment variable SHOPWINDOW_INDEX.
        verify: How thoroughly the models compare an index with its checksums, one of VERIFY_LEVELS. None leaves it to
            the environment variable SHOPWINDOW_VERIFY, and else takes `full`.
        threads: OpenMP and BLAS threads of each model instance, unless OMP_NUM_THREADS and the like are already set.
            More threads are slower under load, because the models already compute in one thread per core.
        shm_default_byte_size: Shared memory with which each Python model instance starts, in bytes; None for Triton's
            default. Containers often have only 64 MB of /dev/shm in all.
        ready_timeout_s: Seconds within which every model must be ready.
        stop_timeout_s: Seconds that requests in flight get to finish before the server is killed.
        log_file: File for the server's output. The previous ones are kept beside it as *.1 to *.3. None keeps the
            output in an unnamed temporary file, which `TritonServer.log_tail()` reads.
        reloadable: Allows models to be reloaded while the server runs, but only by the process that started it. A
            `Supervisor` needs this.
        expose: Protocols of CLOSED_PROTOCOLS that every caller may use. The others need a secret that only
            the process that started the server has. Behind a gateway, the gateway's own options expose them.
        extra_args: Further tritonserver arguments, added last. They must not turn off an endpoint or a model.
    """

    repository: Path
    profile: str = DEFAULT_PROFILE
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    host: str = "127.0.0.1"
    behind_gateway: bool = False
    index: Path | None = None
    verify: str | None = None
    threads: int = 1
    shm_default_byte_size: int | None = None
    ready_timeout_s: float = 120.0
    stop_timeout_s: float = 15.0
    log_file: Path | None = None
    reloadable: bool = False
    expose: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_access(self.http_port, self.grpc_port, self.metrics_port, self.expose)
        for name in ("ready_timeout_s", "stop_timeout_s", "threads"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.verify not in (None, *VERIFY_LEVELS):
            raise ValueError(f"verify must be {', '.join(VERIFY_LEVELS)} or None, got {self.verify!r}")
        if not self.profile or any(character.isspace() for character in self.profile):
            raise ValueError(f"profile must be a name without spaces, got {self.profile!r}")


def check_access(http_port: int, grpc_port: int, metrics_port: int, expose: Collection[str]) -> None:
    """Check the ports and the exposed protocols of a server or a gateway.

    Raises:
        ValueError: One is out of range or unknown.
    """
    for name, port in {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}.items():
        if not 0 <= port <= 65535:
            raise ValueError(f"{name} must be 0 (pick one) to 65535, got {port}")
    if unknown := sorted(set(expose) - set(CLOSED_PROTOCOLS)):
        raise ValueError(f"expose must be among {', '.join(CLOSED_PROTOCOLS)}, got {', '.join(unknown)}")
