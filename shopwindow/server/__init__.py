"""Start a real tritonserver on a model repository, watch it, and stop it without leftovers."""

from __future__ import annotations

from shopwindow.server.errors import EnvironmentUnfit, PortInUse, ServerFailedToStart, ServingError, TritonNotFound
from shopwindow.server.install import TritonInstall, find_tritonserver
from shopwindow.server.options import ServerOptions
from shopwindow.server.tritonserver import TritonServer
from shopwindow.server.watch.health import Health, HealthServer
from shopwindow.server.watch.supervisor import Supervisor

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
