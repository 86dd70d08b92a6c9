"""Connections to public addresses only: a catalogue must not make this machine ask others of its own network.

The check is on the address that is connected to, and not on the name before: a name may lead somewhere else a moment
later, and a redirect leads to another name.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Timer
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse

# Addresses whose last 32 bits are one of IPv4.
_WITH_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


class AddressRefused(ValueError):
    """The name of a host leads to a private address. The message names both."""


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet, and so is an address that it contains, if it does."""
    return all(ip.is_global and not ip.is_multicast for ip in _contained(ip_address(address)))


def _contained(ip: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the address, or those of IPv4 that it stands for."""
    if isinstance(ip, IPv4Address):
        yield ip
        return
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if any(ip in network for network in _WITH_IPV4):
        inner.append(IPv4Address(int(ip) & 2**32 - 1))
    found = [one for one in inner if one is not None]
    yield from found or [ip]


class _Checked:
    """The part of a connection that looks up, connects and waits for the answer.

    Attributes that urllib3's connections have: host, port, timeout, sock and socket_options.
    """

    seconds: float = 20.0
    private: bool = False

    def _new_conn(self: Any) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        allowed = [place for place in found if self.private or is_public(str(place[4][0]))]
        if not allowed:
            raise AddressRefused(f"{self.host} is {found[0][4][0]}, which is not a public address")
        problem: OSError | None = None
        for family, kind, protocol, _, address in allowed:
            connected = socket.socket(family, kind, protocol)
            try:
                connected.settimeout(self.timeout)
                for option in self.socket_options or ():
                    connected.setsockopt(*option)
                connected.connect(address)
                return connected
            except OSError as error:
                connected.close()
                problem = error
        raise NewConnectionError(self, f"cannot connect to {self.host}: {problem}") from problem

    def getresponse(self: Any) -> HTTPResponse:
        # A server that sends a byte of the head now and then would never run into the timeout of a single read.
        end = Timer(self.seconds, _shut, [self.sock])
        end.start()
        try:
            response: HTTPResponse = super().getresponse()  # type: ignore[misc]
            return response
        finally:
            end.cancel()


def _shut(connected: socket.socket) -> None:
    with suppress(OSError):  # the other side was first
        connected.shutdown(socket.SHUT_RDWR)


def checked_pools(*, private: bool, seconds: float, at_once: int) -> PoolManager:
    """Return what opens connections, to public addresses only unless `private`. Proxies are not used.

    Requests raise AddressRefused if there is no other address.

    Args:
        private: whether all addresses are allowed.
        seconds: how long a connection may take to open, or to answer.
        at_once: how many connections to one host are kept.
    """
    about = {"private": private, "seconds": seconds}
    pools: list[type] = []
    for pool, connection in ((HTTPConnectionPool, HTTPConnection), (HTTPSConnectionPool, HTTPSConnection)):
        kind = type(f"Checked{connection.__name__}", (_Checked, connection), about)
        pools.append(type(f"Checked{pool.__name__}", (pool,), {"ConnectionCls": kind}))
    manager = PoolManager(num_pools=32, maxsize=at_once, timeout=seconds)
    manager.pool_classes_by_scheme = {"http": pools[0], "https": pools[1]}
    return manager
