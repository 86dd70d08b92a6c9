"""What callers choose: how a client connects, and the options of a call."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Union

import grpc

from .deadline import Deadline
from .errors import InvalidRequest
from .requests import FilterLike

Pem = Union[bytes, str, "os.PathLike[str]"]
Metadata = tuple[tuple[str, str], ...]

# Channel arguments replace tritonclient's own, so the message sizes must be repeated here. Without them gRPC refuses
# replies above 4 MB. The back-off is short because gRPC's two minutes are far longer than a server's restart.
_CHANNEL_OPTIONS: dict[str, int | str] = {
    "grpc.max_send_message_length": 2**31 - 1,
    "grpc.max_receive_message_length": 2**31 - 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
}
_COMPRESSION = {
    None: grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
_NAMING = re.compile(r"(dns|ipv4|ipv6|xds|unix|unix-abstract|vsock):")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class CallOptions(TypedDict, total=False):
    """The options of every call, to keep in a dictionary. `RetrievalClient.retrieve` explains them."""

    timeout_s: float | None
    request_id: str | None
    traceparent: str | None
    headers: Mapping[str, str] | None


class SearchOptions(CallOptions, total=False):
    """The options of every search, to keep in a dictionary. `RetrievalClient.retrieve` explains them.

    `options: SearchOptions = {"top_k": 10}`, then `client.retrieve("mug", **options)`.
    """

    top_k: int | None
    effort: int | None
    filter: FilterLike | None
    min_score: float | None
    channels: str | None
    fusion: str | None
    allow_lower_effort: bool
    timings: bool
    towers: str | None


@dataclass(frozen=True)
class Tls:
    """An encrypted connection. Give each file as a path, or its PEM text as bytes.

    Attributes:
        roots: Certificates trusted to sign the server's. None: the system's.
        certificate: The client's own certificate, for servers that ask for one (mTLS).
        key: The private key of `certificate`.
        server_name: The name in the server's certificate, if it differs from the address.
    """

    roots: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("certificate and key belong together: give both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return them as gRPC's own object.

        Raises:
            InvalidRequest: A file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_pem("roots", self.roots),
            private_key=_pem("key", self.key),
            certificate_chain=_pem("certificate", self.certificate),
        )


@dataclass(frozen=True)
class Connection:
    """How a client reaches its servers. `RetrievalClient` explains the fields."""

    url: str
    tls: Tls | None = None
    credentials: grpc.ChannelCredentials | None = None
    compression: str | None = None
    channel_options: Mapping[str, int | str] | None = None

    def __post_init__(self) -> None:
        if self.url.startswith(("http://", "https://", "grpc://", "grpcs://")):
            raise InvalidRequest(f"url must be host:port of the gRPC service with no scheme, got {self.url!r}")
        if self.compression not in _COMPRESSION:
            raise InvalidRequest(f"compression must be 'gzip', 'deflate' or None, got {self.compression!r}")
        if self.tls is not None and self.credentials is not None:
            raise InvalidRequest("give either tls or credentials, not both")

    @property
    def is_private(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls is not None or self.credentials is not None

    def channel(self, grpc_module: Any) -> Any:
        """Open a channel. It sends nothing before the first call.

        Args:
            grpc_module: `grpc` or `grpc.aio`.
        """
        options = dict(_CHANNEL_OPTIONS)
        if _NAMING.match(self.url):  # may be many servers; a plain host:port is one
            options["grpc.lb_policy_name"] = "round_robin"
        if self.tls is not None and self.tls.server_name is not None:
            options["grpc.ssl_target_name_override"] = self.tls.server_name
        options.update(self.channel_options or {})
        credentials = self.credentials if self.tls is None else self.tls.credentials()
        chosen = {"options": list(options.items()), "compression": _COMPRESSION[self.compression]}
        if credentials is None:
            return grpc_module.insecure_channel(self.url, **chosen)
        return grpc_module.secure_channel(self.url, credentials, **chosen)


@dataclass(frozen=True)
class Call:
    """What all requests of one call share.

    Attributes:
        deadline: When all of them must be answered.
        request_id: Their id. If a call takes several requests, each adds its number, from 0.
        metadata: gRPC metadata to send.
    """

    deadline: Deadline
    request_id: str
    metadata: Metadata


@dataclass(frozen=True)
class CallDefaults:
    """What a client adds to each call.

    Attributes:
        timeout_s: Deadline in seconds.
        headers: gRPC metadata.
        token: A bearer token, or a function that returns the current one.
        traceparent: A function that returns the current trace context.
    """

    timeout_s: float
    headers: Mapping[str, str]
    token: str | Callable[[], str] | None
    traceparent: Callable[[], str | None] | None

    def begin(
        self,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """Start a call. Its time runs from now.

        Raises:
            InvalidRequest: An option has the wrong form.
        """
        deadline = Deadline(self.timeout_s if timeout_s is None else timeout_s)
        metadata = dict(self.headers)
        if self.token is not None:
            metadata["authorization"] = f"Bearer {self.token() if callable(self.token) else self.token}"
        if traceparent is None and self.traceparent is not None:
            traceparent = self.traceparent()
        if traceparent is not None:
            if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
                raise InvalidRequest(f"traceparent must look like 00-<32 hex>-<16 hex>-<2 hex>, got {traceparent!r}")
            metadata["traceparent"] = traceparent
        if headers:
            metadata.update(check_headers(headers))
        return Call(deadline, secrets.token_hex(8) if request_id is None else request_id, tuple(metadata.items()))


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return `headers`, or raise InvalidRequest for one that gRPC would refuse with a worse explanation."""
    for name, value in headers.items():
        if not re.fullmatch(r"[0-9a-z_.-]+", name) or name.startswith("grpc-") or name.endswith("-bin"):
            raise InvalidRequest(
                f"headers: a name may hold a-z, 0-9, _, - and ., and is neither grpc-* nor *-bin, got {name!r}"
            )
        if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise InvalidRequest(f"headers[{name!r}] must be printable ASCII")  # never the value: it may be a secret
    return headers


def _pem(name: str, source: Pem | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{name}: cannot read {os.fspath(source)!r}: {error.strerror}") from error
