"""What a user decides about a server, as one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PROFILE = "cpu"
PLAIN_PROFILE = "gpu"  # its configuration is config.pbtxt itself, so it has no --model-config-name


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How to start a tritonserver.

    Args:
        repository: The model repository. Each folder in it is a model, and each has to become ready.
        profile: `cpu` loads configs/cpu.pbtxt of the models that have one, `gpu` config.pbtxt of all.
        http_port: Port of the HTTP endpoint; 0 picks a free one, here and below.
        grpc_port: Port of the gRPC endpoint.
        metrics_port: Port of the Prometheus metrics.
        host: Address that all three bind to. Triton's own default, all interfaces, is what a container or pod
            needs; Triton has no authentication, so give `127.0.0.1` on a machine that others can reach.
        index: Index folder, handed to the Python models as the environment variable SHOPWINDOW_INDEX.
        threads: OpenMP and BLAS threads of each model instance, unless OMP_NUM_THREADS and the like are set
            already. More are slower under load: the models compute in threads of their own, one a core.
        shm_default_byte_size: Shared memory each Python model instance starts with, in bytes; None keeps
            Triton's default. Containers often have 64 MB of /dev/shm altogether.
        ready_timeout_s: Seconds until every model has to be ready.
        stop_timeout_s: Seconds that requests in flight get to finish before the server is killed.
        log_file: Where the server's output goes, the last one kept beside it as *.1; None keeps it in an unnamed
            temporary file, readable through `TritonServer.log_tail()`.
        reloadable: Models can be loaded again while the server runs, by who started it alone: what a `Supervisor`
            needs.
        extra_args: Further tritonserver arguments, added last. They can't turn an endpoint or a model off.
    """

    repository: Path
    profile: str = DEFAULT_PROFILE
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    host: str = "0.0.0.0"
    index: Path | None = None
    threads: int = 1
    shm_default_byte_size: int | None = None
    ready_timeout_s: float = 120.0
    stop_timeout_s: float = 15.0
    log_file: Path | None = None
    reloadable: bool = False
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("http_port", "grpc_port", "metrics_port"):
            port = getattr(self, name)
            if not 0 <= port <= 65535:
                raise ValueError(f"{name} must be 0 (pick one) to 65535, got {port}")
        for name in ("ready_timeout_s", "stop_timeout_s", "threads"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.profile or any(character.isspace() for character in self.profile):
            raise ValueError(f"profile must be a name without spaces, got {self.profile!r}")
