"""Choosing and checking the ports of a server before it starts, and its addresses then."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from shopwindow.server.errors import PortInUse, ServingError

_ALL_INTERFACES = {"0.0.0.0", "::", ""}


def reachable(host: str) -> str:
    """The host under which this machine reaches a server that binds to `host`."""
    return "localhost" if host in _ALL_INTERFACES else host


def address(host: str, port: int) -> str:
    """`HOST:PORT` of a server that binds to `host`."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def choose_ports(host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Checks that ports are free on a host, and picks the ones left open.

    Args:
        host: The address the server will bind to.
        wanted: The port asked for by each flag; 0 picks a free one.

    Returns:
        The port of each flag, all different.

    Raises:
        PortInUse: A port is taken, or asked for twice.
        ServingError: The address or port can't be bound at all.
    """
    chosen = {}
    with ExitStack() as held:  # all are held until the last is chosen, so that no two are the same
        for flag, port in wanted.items():
            try:
                family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
                listener = held.enter_context(socket.socket(family, kind))
                # Connections of an earlier server that are still in TIME_WAIT don't make a port taken.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise PortInUse(port, flag) from error
                raise ServingError(f"{flag}: can't listen on {host}:{port}: {error.strerror}") from error
            chosen[flag] = listener.getsockname()[1]
    return chosen
