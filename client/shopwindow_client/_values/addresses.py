"""The addresses of servers, checked before gRPC sees them: gRPC connects to port 34463 if told 99999."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from .errors import InvalidRequest

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MAX_NAME = 253  # characters of a host name
_MAX_PATH = 107  # bytes of a unix socket's path


@dataclass(frozen=True)
class Address:
    """Where servers are.

    Attributes:
        is_loopback: Whether all of it stays on this machine: localhost, 127.0.0.0/8, ::1, 0.0.0.0, ::, a unix socket.
        may_be_many: Whether it may name several servers.
    """

    is_loopback: bool
    may_be_many: bool


def parse_address(url: str) -> Address:
    """Read an address.

    Args:
        url: `host:port`, `[IPv6 address]:port`, `dns:///host:port`, `dns://resolver:port/host:port`,
            `ipv4:address:port,address:port`, `ipv6:[address]:port,[address]:port`, `unix:/path`, `unix-abstract:name`
            or `xds:///name`.

    Raises:
        InvalidRequest: It has another form.
    """
    try:
        return _parse(url)
    except _Malformed as error:
        raise InvalidRequest(
            f"url must be host:port of the gRPC service, such as 'localhost:8001' or '[::1]:8001', got {url!r}: {error}"
        ) from None


class _Malformed(Exception):
    """What is wrong with an address."""


def _parse(url: str) -> Address:
    if not isinstance(url, str):
        raise _Malformed(f"it must be a string or an InProcess, not {type(url).__name__}")
    if not url:
        raise _Malformed("it is empty")
    if not url.isascii():
        raise _Malformed("it must be ASCII. Write an international host name in its form xn--...")
    if not url.isprintable() or " " in url:
        raise _Malformed("it must have no spaces or control characters")
    scheme, _, rest = url.partition(":")
    if scheme in _NAMING:
        return Address(_NAMING[scheme](rest), not scheme.startswith("unix"))
    if "://" in url:
        raise _Malformed(f"leave out the scheme {url.partition('://')[0]}://")
    return Address(_is_loopback(_host(url)), False)


def _dns(rest: str) -> bool:
    if rest.startswith("//"):
        resolver, slash, rest = rest[2:].partition("/")
        if not slash:
            raise _Malformed("write dns:///host:port, with three slashes")
        if resolver:
            _host(resolver)
    return _is_loopback(_host(rest))


def _addresses(rest: str, kind: type) -> bool:
    hosts = [_host(part) for part in rest.split(",")]
    for host in hosts:
        if not isinstance(host, kind):
            raise _Malformed(f"{host} is not an {'IPv4' if kind is IPv4Address else 'IPv6'} address")
    return all(map(_is_loopback, hosts))


def _socket(path: str) -> bool:
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise _Malformed("write unix:///absolute/path, with three slashes, or unix:path")
    if not 0 < len(path) <= _MAX_PATH:
        raise _Malformed(f"the path of a unix socket has 1 to {_MAX_PATH} bytes, not {len(path)}")
    return True


def _xds(rest: str) -> bool:
    if not re.fullmatch(r"//[^/]*/.+", rest):
        raise _Malformed("write xds:///name")
    return False


_NAMING = {
    "dns": _dns,
    "ipv4": lambda rest: _addresses(rest, IPv4Address),
    "ipv6": lambda rest: _addresses(rest, IPv6Address),
    "unix": _socket,
    "unix-abstract": _socket,
    "xds": _xds,
}


def _host(endpoint: str) -> str | IPv4Address | IPv6Address:
    """Return the host of `host:port`, or raise _Malformed."""
    if endpoint.startswith("["):
        inside, bracket, port = endpoint[1:].partition("]")
        if not bracket:
            raise _Malformed("the bracket ] is missing")
        try:
            host: str | IPv4Address | IPv6Address = IPv6Address(inside)
        except AddressValueError:
            raise _Malformed(f"{inside!r} in brackets is not an IPv6 address") from None
        _check_port(port)
        return host
    name, colon, port = endpoint.rpartition(":")
    if ":" in name:
        raise _Malformed("it has more than one colon. Write an IPv6 address in brackets, as in '[::1]:8001'")
    _check_port(colon + port if colon else "")
    labels = name[:-1].split(".") if name.endswith(".") else name.split(".")
    if labels[-1].isdecimal():  # as in 127.1, which some resolvers take and others do not
        try:
            return IPv4Address(name)
        except AddressValueError:
            raise _Malformed(f"{name!r} is not an IPv4 address, which has four numbers from 0 to 255") from None
    if len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise _Malformed(
            f"{name!r} is not a host name: up to {_MAX_NAME} letters, digits, '-', '_' and '.', 1 to 63 between dots"
        )
    return name


def _check_port(port: str) -> None:
    if not port:
        raise _Malformed("the port is missing. Shopwindow's is 8001 unless you chose another")
    if not re.fullmatch(r":[0-9]{1,5}", port) or not 1 <= int(port[1:]) <= 65_535:
        raise _Malformed(f"the port must be a number from 1 to 65535, not {port.lstrip(':')!r}")


def _is_loopback(host: str | IPv4Address | IPv6Address) -> bool:
    if isinstance(host, str):
        return host.lower().rstrip(".") == "localhost"
    mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    # The unspecified address, 0.0.0.0 or ::, leads to this machine, too.
    return host.is_loopback or host.is_unspecified or (mapped is not None and mapped.is_loopback)
