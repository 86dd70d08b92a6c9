"""Choose and check the ports of a server before it starts, and build its addresses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from shopwindow.server.errors import PortInUse, ServingError

_ALL_INTERFACES = {"0.0.0.0", "::", ""}


def reachable(host: str) -> str:
    """Return the host name by which this machine reaches a server that binds to `host`."""
    return "localhost" if host in _ALL_INTERFACES else host


def address(host: str, port: int) -> str:
    """Return `HOST:PORT`, by which this machine reaches a server that binds to `host`."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def choose_ports(host: str, ports: Mapping[str, int]) -> dict[str, int]:
    """Check that the requested ports are free on a host, and pick free ports for those that are 0.

    Args:
        host: The address that the server will bind to.
        ports: The requested port of each flag; 0 picks a free one.

    Returns:
        The port of each flag. All are different.

    Raises:
        PortInUse: A port is in use, or two flags request the same one.
        ServingError: The address or port cannot be bound at all.
    """
    chosen = {}
    with ExitStack() as held:  # keep all ports bound until the last is chosen, so that all are different
        for flag, port in ports.items():
            try:
                family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
                listener = held.enter_context(socket.socket(family, kind))
                # A port is free although connections of an earlier server are still in TIME_WAIT.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise PortInUse(port, flag) from error
                raise ServingError(f"{flag}: cannot listen on {host}:{port}: {error.strerror}") from error
            chosen[flag] = listener.getsockname()[1]
    return chosen
