"""Choose and check the ports of a server before it starts, and build its addresses."""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack

from shopwindow.server.errors import PortInUse, ServingError
from shopwindow.server.runtime_folder import killed_server_ends

_WAIT_S = 10.0
_POLL_S = 0.1
_ALL_INTERFACES = {"0.0.0.0", "::", ""}
_CONNECT_TIMEOUT_S = 2.0


def reachable(host: str) -> str:
    """Return the host name by which this machine reaches a server that binds to `host`."""
    return "localhost" if host in _ALL_INTERFACES else host


def address(host: str, port: int) -> str:
    """Return `HOST:PORT`, by which this machine reaches a server that binds to `host`."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_address(host: str) -> str:
    """Return the IP address to which a server binds for a host name or an address; of several the first.

    Raises:
        ServingError: The name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServingError(f"host: {host!r} is no address and no known name: {why}") from None
    return str(found[0][4][0])


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that binds to a host name or an address."""
    return ipaddress.ip_address(ip_address(host)).is_loopback


def check_ipv4(host: str) -> None:
    """Refuse a host name or an address to which Triton 2.51 cannot bind.

    Raises:
        ServingError: It has an IPv6 address, or is unknown.
    """
    if ":" in (found := ip_address(host)):
        raise ServingError(
            f"host: Triton 2.51 binds IPv4 addresses only, and {host} is {found}; only a gateway binds it"
        )


def listens(host: str, port: int) -> bool:
    """Return whether a server that binds to `host` listens on a port."""
    try:
        socket.create_connection((reachable(host), port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def choose_ports(host: str, ports: Mapping[str, int]) -> dict[str, int]:
    """Check that the requested ports are free on a host, and pick free ports for those that are 0.

    If a server of ours was killed a moment ago, its processes may hold a port a little longer. So wait for their end.

    Args:
        host: The address that the server will bind to.
        ports: The requested port of each flag; 0 picks a free one.

    Returns:
        The port of each flag. All are different.

    Raises:
        PortInUse: A port is in use, or two flags request the same one.
        ServingError: The address or port cannot be bound at all.
    """
    deadline = time.monotonic() + _WAIT_S
    waits = False
    while True:
        try:
            return _choose_ports(host, ports)
        except PortInUse as error:
            if not killed_server_ends() or time.monotonic() > deadline:
                raise
            if not waits:
                print(f"{error.flag}: waiting until a killed server gives up port {error.port} ...", flush=True)
                waits = True
            time.sleep(_POLL_S)


def _choose_ports(host: str, ports: Mapping[str, int]) -> dict[str, int]:
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
