"""What callers decide: how a client connects, and what one call may say beside its input."""

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

# Giving channel arguments drops tritonclient's own, so the message sizes are repeated here: without them gRPC
# refuses replies above 4 MB. The back-off is short as gRPC's two minutes far outlast a server's restart.
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
    """What every call takes.

    Attributes:
        timeout_s: Deadline of the whole call in seconds; the client's when None.
        request_id: Names the call in the server's log and traces; a random one when None.
        traceparent: W3C trace context, `00-<trace id>-<span id>-<flags>`; the client's when None.
        headers: Further gRPC metadata, names in lower case; added to the client's.
    """

    timeout_s: float | None
    request_id: str | None
    traceparent: str | None
    headers: Mapping[str, str] | None


class SearchOptions(CallOptions, total=False):
    """What every call that finds products takes; the server's default where None.

    Attributes:
        top_k: Products a query.
        effort: Search effort, 1 (fastest) to 10 (most thorough).
        filter: Conditions on attribute columns: `field("price") < 50`, or what the server reads, as a mapping or its
            JSON: `{"colour": "red", "price": {"lt": 50}, "brand": {"in": ["a", "b"]}}`.
        min_score: Leave out products that score less.
        channels: Where products come from: "embedding", "lexical" or "embedding,lexical". Words are needed for all
            but the first; `Results.channels` then tells which found each product.
        fusion: How two channels are merged: "rrf", or "weighted:0.7" with the weight of the embedding channel.
        allow_lower_effort: Let the server search with less effort than asked for when the time until the deadline is
            short; `timings` tells which it was.
        timings: Ask also how long the server's steps took, with how much effort, and of which generation the index was
            that answered: `Results.timings`.
        towers: Hash of the towers that made the embeddings given. A server whose index is of others answers
            `ServerNotReady`, where it would find anything at all: embed again then.
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
    """An encrypted connection. Files are named by path; bytes are the PEM text itself.

    Attributes:
        roots: Certificates that may have signed the server's; the system's when None.
        certificate: The client's own certificate, for servers that ask for one (mTLS).
        key: The private key of `certificate`.
        server_name: The name in the server's certificate, when it isn't the one in the address.
    """

    roots: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("certificate and key belong together: give both or none of them")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return them as gRPC takes them.

        Raises:
            InvalidRequest: A file can't be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_pem("roots", self.roots),
            private_key=_pem("key", self.key),
            certificate_chain=_pem("certificate", self.certificate),
        )


@dataclass(frozen=True)
class Connection:
    """How a client reaches its servers; see `RetrievalClient` for the fields."""

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
            raise InvalidRequest("give tls or credentials, not both")

    @property
    def is_private(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.tls is not None or self.credentials is not None

    def channel(self, grpc_module: Any) -> Any:
        """Open a channel; nothing is sent before the first call.

        Args:
            grpc_module: `grpc` or `grpc.aio`.
        """
        options = dict(_CHANNEL_OPTIONS)
        if _NAMING.match(self.url):  # may stand for many servers; a plain host:port is one
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
    """One call, shared by all the requests that it takes.

    Attributes:
        deadline: When all of them have to be answered.
        request_id: Their id; a part of a long list adds its first row.
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
        token: A bearer token, or a function that returns the one of the moment.
        traceparent: A function that returns the trace context of the moment.
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
        """Start a call: its time runs from now.

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
    """Return `headers`, or raise InvalidRequest where gRPC would refuse one with less of an explanation."""
    for name, value in headers.items():
        if not re.fullmatch(r"[0-9a-z_.-]+", name) or name.startswith("grpc-") or name.endswith("-bin"):
            raise InvalidRequest(f"headers: names are of a-z, 0-9, _, -, . and neither grpc-* nor *-bin, got {name!r}")
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
