"""Everything that can go wrong between "start it" and "it is ready".

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
    """Raised when there is no tritonserver, neither on PATH nor as a wheel of the running interpreter."""


class EnvironmentUnfit(ServingError):
    """Raised when this Python environment or machine would make the server fail, or answer wrongly."""


class PortInUse(ServingError):
    """Raised when a requested port is already taken.

    Attributes:
        port: The port that is taken.
        flag: The command line flag that asked for it, e.g. `--grpc-port`.
    """

    def __init__(self, port: int, flag: str) -> None:
        super().__init__(f"{flag}: port {port} is already in use; give another one, or 0 to pick a free one")
        self.port = port
        self.flag = flag


class ServerFailedToStart(ServingError):
    """Raised when the server died, refused its repository, or was not ready in time.

    Attributes:
        reasons: The lines of the server's log that say why.
    """

    def __init__(self, summary: str, reasons: Sequence[str] = ()) -> None:
        super().__init__("\n".join([summary, *(f"  {reason}" for reason in reasons)]))
        self.reasons = tuple(reasons)
