"""Starts a real tritonserver on a model repository, in a container or not, and leaves nothing behind."""

from __future__ import annotations

from serving.errors import EnvironmentUnfit, PortInUse, ServerFailedToStart, ServingError, TritonNotFound
from serving.install import TritonInstall, find_tritonserver
from serving.options import ServerOptions
from serving.server import TritonServer

__all__ = [
    "EnvironmentUnfit",
    "PortInUse",
    "ServerFailedToStart",
    "ServerOptions",
    "ServingError",
    "TritonInstall",
    "TritonNotFound",
    "TritonServer",
    "find_tritonserver",
]
