"""What callers choose: how a client connects, and the options of a call."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Union

import grpc

from .addresses import Address, parse_address
from .deadline import Deadline
from .errors import InvalidRequest
from .requests import FilterLike, check_text

Pem = Union[bytes, str, "os.PathLike[str]"]
Metadata = tuple[tuple[str, str], ...]

# gRPC refuses a reply by its announced size, before it takes any of it in. 64 rows of 10,000 products with their scores
# and channels take 13 MB, and the client splits longer lists so that each reply fits.
MAX_REPLY_BYTES = 32 * 2**20

# Errors of Triton may quote what was sent. gRPC drops texts above 8 kB with an error about their size. The back-off is
# short because gRPC's two minutes are far longer than a server's restart.
_METADATA_BYTES = 64 * 2**10
_CHANNEL_OPTIONS: dict[str, int | str] = {
    "grpc.max_send_message_length": 2**31 - 1,
    "grpc.max_receive_message_length": MAX_REPLY_BYTES,
    "grpc.max_metadata_size": _METADATA_BYTES,
    "grpc.absolute_max_metadata_size": _METADATA_BYTES,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
}
_COMPRESSION = {
    None: grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
_MAX_HEADERS_BYTES = 8_000  # gRPC's servers refuse more than 8 KiB, and each header counts 32 bytes more than it has
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class CallOptions(TypedDict, total=False):
    """The options of every call, to keep in a dictionary. `RetrievalClient.retrieve` explains them."""

    timeout_s: float | None
    request_id: str | None
    traceparent: str | None
    headers: Mapping[str, str] | None


class PageOptions(TypedDict, total=False):
    """Those options of a search that make a result page."""

    fields: Sequence[str] | None
    total: bool
    facets: Mapping[str, Any] | None
    facet_over: int | None
    collapse: str | Mapping[str, Any] | None
    boost: Sequence[Mapping[str, Any]] | None
    sort: Mapping[str, Any] | None
    diversity: float | None
    offset: int | None
    generation: int | None


class SearchOptions(CallOptions, PageOptions, total=False):
    """The options of every search, to keep in a dictionary. `RetrievalClient.retrieve` explains them.

    `options: SearchOptions = {"top_k": 10}`, then `client.retrieve("mug", **options)`.
    """

    top_k: int | None
    effort: int | None
    filter: FilterLike | None
    min_score: float | str | None
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
    address: Address = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", parse_address(self.url))
        if self.compression not in _COMPRESSION:
            raise InvalidRequest(f"compression must be 'gzip', 'deflate' or None, got {self.compression!r}")
        if self.tls is not None and self.credentials is not None:
            raise InvalidRequest("give either tls or credentials, not both")
        if self.tls is not None:
            object.__setattr__(self, "credentials", self.tls.credentials())
        for name, value in (self.channel_options or {}).items():
            if not isinstance(name, str) or not isinstance(value, (int, str)):
                raise InvalidRequest(
                    f"channel_options: must be strings with a number or a string, got {name!r}: {value!r}"
                )
            if isinstance(value, int) and abs(value) >= 2**31:
                raise InvalidRequest(f"channel_options[{name!r}] must fit into 32 bits, got {value}")

    @property
    def is_private(self) -> bool:
        """Whether nobody else can read what is sent: it is encrypted, or stays on this machine."""
        return self.credentials is not None or self.address.is_loopback

    def channel(self, grpc_module: Any) -> Any:
        """Open a channel. It sends nothing before the first call.

        Args:
            grpc_module: `grpc` or `grpc.aio`.
        """
        options = dict(_CHANNEL_OPTIONS)
        if self.address.may_be_many:
            options["grpc.lb_policy_name"] = "round_robin"
        if self.address.is_loopback:  # gRPC would use a proxy of the environment even for this machine
            options["grpc.enable_http_proxy"] = 0
        if self.tls is not None and self.tls.server_name is not None:
            options["grpc.ssl_target_name_override"] = self.tls.server_name
        options.update(self.channel_options or {})
        chosen = {"options": list(options.items()), "compression": _COMPRESSION[self.compression]}
        if self.credentials is None:
            return grpc_module.insecure_channel(self.url, **chosen)
        return grpc_module.secure_channel(self.url, self.credentials, **chosen)


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
        if request_id is not None:
            check_text("request_id", request_id)
        metadata = dict(self.headers)
        if self.token is not None:
            metadata["authorization"] = f"Bearer {check_token(self.token() if callable(self.token) else self.token)}"
        if traceparent is None and self.traceparent is not None:
            traceparent = self.traceparent()
        if traceparent is not None:
            if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
                raise InvalidRequest(f"traceparent must look like 00-<32 hex>-<16 hex>-<2 hex>, got {traceparent!r}")
            metadata["traceparent"] = traceparent
        if headers:
            metadata.update(check_headers(headers))
        size = sum(len(name) + len(value) + 32 for name, value in metadata.items())
        if size > _MAX_HEADERS_BYTES:
            raise InvalidRequest(f"headers and token must have at most {_MAX_HEADERS_BYTES:,} bytes, got {size:,}")
        return Call(deadline, secrets.token_hex(8) if request_id is None else request_id, tuple(metadata.items()))


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return `headers`, or raise InvalidRequest for one that gRPC would refuse with a worse explanation."""
    for name, value in headers.items():
        if (
            not isinstance(name, str)
            or not re.fullmatch(r"[0-9a-z_.-]+", name)
            or name.startswith("grpc-")
            or name.endswith("-bin")
        ):
            raise InvalidRequest(
                f"headers: a name may hold a-z, 0-9, _, - and ., and is neither grpc-* nor *-bin, got {name!r}"
            )
        if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise InvalidRequest(f"headers[{name!r}] must be printable ASCII")  # never the value: it may be a secret
    return headers


def check_token(token: str) -> str:
    """Return `token`, or raise InvalidRequest if no header can carry it. The error never shows it."""
    if not isinstance(token, str) or not re.fullmatch(r"[\x20-\x7e]+", token) or token != token.strip():
        raise InvalidRequest(
            f"token must be printable ASCII without spaces around it, got another {type(token).__name__}"
        )
    return token


def _pem(name: str, source: Pem | None) -> bytes | None:
    if source is None:
        return None
    try:
        pem = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{name}: cannot read {os.fspath(source)!r}: {error.strerror}") from error
    if not pem:
        raise InvalidRequest(f"{name} must be a PEM text, got 0 bytes")  # gRPC would take it for None
    return pem
