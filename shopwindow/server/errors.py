"""The errors of starting and running a server.

ServingError
├── TritonNotFound
├── EnvironmentUnfit
├── PortInUse
└── ServerFailedToStart
"""

from __future__ import annotations

from collections.abc import Sequence


class ServingError(Exception):
    """Base of all errors of this package."""


class TritonNotFound(ServingError):
    """Raised when there is no tritonserver on PATH and no wheel of it in this Python environment."""


class EnvironmentUnfit(ServingError):
    """Raised when the server would fail or answer wrongly with this Python environment or machine."""


class PortInUse(ServingError):
    """Raised when a requested port is already in use.

    Attributes:
        port: The port.
        flag: The command line flag that asked for the port, such as `--grpc-port`.
    """

    def __init__(self, port: int, flag: str) -> None:
        super().__init__(f"{flag}: port {port} is already in use; give another one, or 0 to pick a free one")
        self.port = port
        self.flag = flag


class ServerFailedToStart(ServingError):
    """Raised when the server ended, refused its repository, or was not ready in time.

    Attributes:
        reasons: The lines of the server's log that give the reason.
    """

    def __init__(self, summary: str, reasons: Sequence[str] = ()) -> None:
        super().__init__("\n".join([summary, *(f"  {reason}" for reason in reasons)]))
        self.reasons = tuple(reasons)
