"""Which of Triton's methods and paths callers reach. All others are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

_SERVICE = "/inference.GRPCInferenceService/"
# Inference, health, metadata and configurations are open. A stream has no end that the gateway could wait for, and no
# model of Shopwindow needs one.
_OPEN_METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelInfer",
)
_CLOSED_METHODS = {
    "logging": ("LogSettings",),
    "model-repository": ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    "shared-memory": (
        "SystemSharedMemoryStatus",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
    ),
    "statistics": ("ModelStatistics",),
    "trace": ("TraceSetting",),
}
_MODEL = r"/v2/models/[\w.-]+(/versions/[0-9]+)?"
_OPEN_PATHS = (r"/v2/?", r"/v2/health/(live|ready)", rf"{_MODEL}(/(ready|config|infer))?/?")
_CLOSED_PATHS = {
    "logging": r"/v2/logging",
    "model-repository": r"/v2/repository/.*",
    "shared-memory": r"/v2/(system|cuda)sharedmemory.*",
    "statistics": rf"(/v2/models|{_MODEL})/stats",
    "trace": rf"(/v2|{_MODEL})/trace/setting",
}


UNFRAME, DECOMPRESS = "unframe", "decompress"
"""Names of the filters that only the routes of compressed requests enable."""


def grpc_routes(expose: Sequence[str]) -> list[Json]:
    """Return the routes of the gRPC port.

    Args:
        expose: Closed protocols that callers may use.
    """
    methods = [*_OPEN_METHODS, *(method for name in expose for method in _CLOSED_METHODS[name])]
    refused = [
        _refusal({"path": _SERVICE + method}, name)
        for name, closed in _CLOSED_METHODS.items()
        if name not in expose
        for method in closed
    ]
    matches: list[Json] = [{"path": _SERVICE + method} for method in methods]
    matches.append({"prefix": "/grpc.health.v1.Health/"})
    return [*refused, *_to_triton("grpc", matches, "grpc-encoding", (UNFRAME, DECOMPRESS))]


def http_routes(expose: Sequence[str]) -> list[Json]:
    """Return the routes of the HTTP port.

    Args:
        expose: Closed protocols that callers may use.
    """
    paths = [*_OPEN_PATHS, *(_CLOSED_PATHS[name] for name in expose)]
    refused = [
        _refusal({"safe_regex": {"regex": path}}, name) for name, path in _CLOSED_PATHS.items() if name not in expose
    ]
    matches = [{"safe_regex": {"regex": path}} for path in paths]
    return [*refused, *_to_triton("http", matches, "content-encoding", (DECOMPRESS,))]


def metrics_routes() -> list[Json]:
    """Return the routes of the metrics port: Triton's metrics, and the gateway's own."""
    own = _to("gateway", {"path": "/metrics/gateway"})
    own["route"]["prefix_rewrite"] = "/stats/prometheus"
    return [_to("metrics", {"path": "/metrics"}), own]


def _to_triton(cluster: str, matches: Sequence[Json], header: str, filters: Sequence[str]) -> list[Json]:
    """Return routes whose requests pass these filters if this header says that they are compressed."""
    enabled = {
        name: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}} for name in filters
    }
    compressed = {"headers": [{"name": header, "string_match": {"exact": "gzip"}}]}
    found = []
    for match in matches:
        found.append({**_to(cluster, match | compressed), "typed_per_filter_config": enabled})
        found.append(_to(cluster, match))
    return found


def _to(cluster: str, match: Json) -> Json:
    # No timeout of the gateway's own: the caller's deadline travels with the request.
    return {"match": match, "route": {"cluster": cluster, "timeout": "0s"}}


def _refusal(match: Json, protocol: str) -> Json:
    text = f"the protocol {protocol} is closed; `shopwindow serve --expose {protocol}` opens it"
    return {"match": match, "direct_response": {"status": 403, "body": {"inline_string": text}}}
