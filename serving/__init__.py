"""Starts a real tritonserver on a model repository, watches it, and leaves nothing behind."""

from __future__ import annotations

from serving.errors import EnvironmentUnfit, PortInUse, ServerFailedToStart, ServingError, TritonNotFound
from serving.health import Health, HealthServer
from serving.install import TritonInstall, find_tritonserver
from serving.options import ServerOptions
from serving.server import TritonServer
from serving.supervisor import Supervisor

__all__ = [
    "EnvironmentUnfit",
    "Health",
    "HealthServer",
    "PortInUse",
    "ServerFailedToStart",
    "ServerOptions",
    "ServingError",
    "Supervisor",
    "TritonInstall",
    "TritonNotFound",
    "TritonServer",
    "find_tritonserver",
]
