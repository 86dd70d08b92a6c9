"""HTTP requests with odd lines, paths, methods and headers, to all HTTP ports of a server."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from shopwindow_loadtests.fuzz.requests import values
from shopwindow_loadtests.fuzz.requests.cases import Model, RawHttp
from shopwindow_loadtests.fuzz.requests.http_infer import head

_METHODS = (
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PRI",
    "get",
    "POST",
    "G" * 5_000,
    "\x00",
    "",
)
_PATHS = (
    "/",
    "/v2",
    "/v2/",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models//infer",
    "//v2",
    "*",
    "",
    "/metrics",
    "/livez",
    "/readyz",
    "/v2/models/MODEL",
    "/v2/models/MODEL/ready",
    "/v2/models/MODEL/config",
    "/v2/models/MODEL/stats",
    "/v2/models/MODEL/versions/1/infer",
    "/v2/models/MODEL/versions/99/stats",
    "/v2/models/MODEL/versions/-1/infer",
    "/v2/models/%00/infer",
    "/v2/models/..%2f..%2fetc/config",
    "/v2/../../etc/passwd",
    "/v2/models/MODEL/infer?x=" + "y" * 3_000,
    "/v2/" + "a/" * 3_000,
    "/" + "x" * 60_000,
    "http://elsewhere/v2",
    "/v2 HTTP/9.9",
    "/v2/models/%ff%fe/infer",
    "/v2/models/\x01\x1b[2J/ready",
    "/v2/models/caf\xe9/ready",
    "/v2/models/MODEL/trace/setting",
)
# The server refuses these. Even if it did not, these requests would change nothing.
_CLOSED = (
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/logging"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/nothing/load"),
    ("POST", "/v2/repository/models/nothing/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/nothing/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
)
_VERSIONS = ("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 x", "", "http/1.1")
_HEADERS = (
    ("Content-Length", "0"),
    ("Content-Length", "5"),
    ("Content-Length", "-1"),
    ("Transfer-Encoding", "chunked, chunked"),
    ("Transfer-Encoding", "identity"),
    ("Expect", "100-continue"),
    ("Expect", "200-ok"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Connection", "keep-alive"),
    ("Upgrade", "h2c"),
    ("Range", "bytes=0-"),
    ("Host", "a b"),
    ("Host", ""),
    ("Accept-Encoding", "gzip"),
    ("Accept-Encoding", "x" * 9_000),
    ("X\x00Y", "z"),
    ("Content-Encoding", "gzip"),
    ("traceparent", "00-0-0-0"),
    ("Inference-Header-Content-Length", "7"),
    (" folded", "x"),
    ("triton-grpc-protocol-shopwindow-owner", "guess"),
    ("shopwindow-owner", "guess"),
    ("Cookie", "\xff" * 300),
)
_H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def odd_http(rng: Random, models: Sequence[Model]) -> tuple[str, RawHttp]:
    """Return a description and bytes for one of the HTTP ports."""
    port = rng.choice(("http", "http", "http", "metrics", "health"))
    draw = rng.random()
    if draw < 0.08:
        data = rng.choice(
            (_H2, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(60), rng.randbytes(300), b"\r\n" * 50)
        )
        return "no HTTP/1 at all", RawHttp(port=port, pieces=(data,), whole=False)
    if draw < 0.2:
        method, path = rng.choice(_CLOSED)
        data = head(f"{method} {path} HTTP/1.1", {"Host": "localhost", "Content-Length": "0"})
        return f"closed: {method} {path}", RawHttp(port="http", pieces=(data,), whole=True, closed=True)
    model = rng.choice(models).name
    method = "GET" if rng.random() < 0.4 else rng.choice(_METHODS)
    path = rng.choice(_PATHS).replace("MODEL", model)
    headers = {"Host": "localhost"}
    headers.update(rng.sample(_HEADERS, rng.choice((0, 0, 1, 2))))
    many = rng.random() < 0.05
    if many:
        headers.update({f"X-{number}": "y" * 50 for number in range(rng.choice((90, 300, 2_000)))})
    data = head(f"{method} {path} {rng.choice(_VERSIONS)}", headers)
    if rng.random() < 0.15:
        data = values.mutated(rng, data, rng.randint(1, 4))
    if rng.random() < 0.1:
        data *= 3  # three requests in one write
    what = f"{port}: {method[:10]!r} {path[:40]!r}{', many headers' if many else ''}"
    return what, RawHttp(port=port, pieces=(data,), whole=False)
