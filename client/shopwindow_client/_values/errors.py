"""The errors of the client, and the one place that turns a gRPC status into one of them.

ShopwindowError
├── InvalidRequest         the request is wrong: change it
│   ├── MessageTooLarge    request or reply is larger than a message may be
│   └── GenerationGone     the generation that must answer is no longer served
├── DeadlineExceeded       no answer within timeout_s
├── ServerOverloaded       the server's queue is full                     (retryable)
│   └── Throttled          the server refused so many that the client sent nothing (retryable)
├── QueueTimeout           the request waited too long in the server's queue (retryable)
├── ServerUnreachable      no connection; nothing was sent                (retryable)
│   ├── ConnectionLost     the connection broke during the call; the server may have carried it out
│   └── TlsFailed          one side does not trust the other's certificate
├── ServerNotReady         the server answers but does not serve the model (retryable)
│   └── ServerDraining     the server shuts down, or loads, unloads or lost the model (retryable)
├── VersionMismatch        client and server do not speak the same contract
├── NotAuthorised          the server, or a proxy before it, refuses this caller
├── ServerFault            the server failed while working on the request, or sent a reply that it should not
└── ClientClosed           this client was closed before the call, or belongs to another event loop
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from .printable import short


class ShopwindowError(Exception):
    """Base of every error that the client raises on purpose.

    Its text has at most 2,000 characters, without control characters, whatever a server said.

    Attributes:
        retryable: True if the server did not carry out the request, and sending it again after a pause may succeed.
        request_id: The id of the request, as the server's log shows it. None if the request was never sent.
        attempts: How often the request was sent, not counting hedges.
    """

    retryable: ClassVar[bool] = False
    request_id: str | None = None
    attempts: int = 0

    def __init__(self, message: str = "") -> None:
        super().__init__(short(message))


class InvalidRequest(ShopwindowError, ValueError):
    """Raised when the request itself is wrong. The client finds out before sending, or the server says so.

    Attributes:
        position: Which of the given queries, products or embeddings is wrong, from 0. None if something else is.
    """

    position: int | None = None

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class MessageTooLarge(InvalidRequest):
    """Raised when a request or its reply is larger than the client, the server or a proxy between them allows."""


class GenerationGone(InvalidRequest):
    """Raised when the server does not serve the `generation` that the request names. Start again from the first page.

    The index was replaced since that page, or another replica has another index.
    """


class DeadlineExceeded(ShopwindowError, TimeoutError):
    """Raised when no full answer came before the call's deadline. The server drops requests that it has not begun."""


class ServerOverloaded(ShopwindowError):
    """Raised when the server refused the request because its queue is full."""

    retryable = True


class Throttled(ServerOverloaded):
    """Raised by a client with a `Throttle` while the server refuses many requests. Nothing was sent."""


class QueueTimeout(ShopwindowError):
    """Raised when the server dropped the request from its queue before starting on it."""

    retryable = True


class ServerUnreachable(ShopwindowError, ConnectionError):
    """Raised when there is no connection to the server."""

    retryable = True


class ConnectionLost(ServerUnreachable):
    """Raised when the connection broke during the call. The server may have carried the call out."""

    retryable = False


class TlsFailed(ServerUnreachable):
    """Raised when a certificate is missing, wrong, out of date, or made for another name."""

    retryable = False


class ServerNotReady(ShopwindowError):
    """Raised when the server answers but does not serve the model: unknown, loading or unloading."""

    retryable = True


class ServerDraining(ServerNotReady):
    """Raised when the server is shutting down, loads or unloads the model (Triton does not say which), or lost it.

    A model is lost if its process died. You may send again the requests that it had begun, because a search changes
    nothing.
    """


class VersionMismatch(ShopwindowError):
    """Raised when the server does not know what this client asks for, or is no Shopwindow server."""


class NotAuthorised(ShopwindowError):
    """Raised when the server does not accept the caller's token, certificate or headers."""


class ServerFault(ShopwindowError):
    """Raised when the server failed while working on the request, or sent an answer that it should never send."""


class ClientClosed(ShopwindowError):
    """Raised when you use a closed client, or an asyncio client outside the event loop of its first call."""


# UNAVAILABLE means several things. Triton has few sentences for it, and they rarely change. gRPC's change with its
# version, so only those that say that nothing was sent are listed. Any other sentence counts as a broken connection,
# and the client never sends such a request again unless the caller allowed it.
_DRAINING = ("server is stopping", "shutting down", "no available versions")
_DIED = re.compile(r"stub process .* is not healthy")
_NOT_READY = ("unknown model", "not ready")
_NEVER_SENT = re.compile(
    r"failed to connect|backends failing|empty address list|connection refused"
    # Envoy, such as the gateway of `shopwindow serve` while Triton is started again.
    r"|remote connection failure|delayed connect error|no healthy upstream"
    # Resolvers: gRPC's own, its older ones, c-ares and the system's.
    r"|errors? resolving|resolution (failed|error)|name resolution|(could not|cannot|unable to|failed to) resolve"
    r"|resolver|getaddrinfo|lookup (failed|error)|no such host|domain name not found|name or service not known"
    r"|no address associated|c-ares"
)
_TLS = (
    "security handshake",
    "ssl handshake",
    "ssl_error",
    "ssl routines",
    "tls handshake",
    "certificate",
    "peer name",
    "hostname verif",
)
# gRPC checks the sizes of messages and of metadata. "Client:" is this side, so these are about what a server sent.
_LARGE_REPLY = re.compile(r"client: received message larger than max \((\d+)")
_LARGE_METADATA = "metadata size exceeds"
_TOO_LARGE = ("larger than max", "message too large", "exceeds maximum size")
_MISMATCH = re.compile(
    r"unexpected inference (in|out)put|expected \d+ inputs but got|unexpected datatype|unknown request parameter"
    r"|unexpected shape for input"
)
_GENERATION = re.compile(r"\bgeneration: \d+ is no")
_POSITION = re.compile(r"\b(query|title|image|embedding|like)\[(\d+)\]")


def from_status(
    status: str,
    said: str,
    *,
    url: str,
    model: str,
    timeout_s: float,
    positions: Sequence[int] | None = None,
    most_bytes: int | None = None,
) -> ShopwindowError:
    """Return the error for a gRPC status. Its message says what to do next.

    Args:
        status: Name of the status, such as `"UNAVAILABLE"`.
        said: Message of the status.
        url: The server's address, for the message.
        model: The called model, for the message.
        timeout_s: The deadline of the whole call in seconds, for the message.
        positions: The position in the caller's list of each row of the request. None: the request holds the whole list.
        most_bytes: The size of the largest reply to the request. None: unknown.
    """
    said = said or "no message"
    lowered = said.lower().replace(url.rpartition("/")[2].lower(), "")  # a host may be called "certificates"
    # gRPC passes off some failures of its resolver as internal errors.
    if status == "UNAVAILABLE" or (status == "INTERNAL" and "from resolver" in lowered):
        return _unavailable(said, lowered, url=url, model=model, timeout_s=timeout_s)
    if status == "INVALID_ARGUMENT":
        return _invalid(said, lowered, url=url, model=model, positions=positions)
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"{model} at {url} gave no full answer within timeout_s={timeout_s:g}. Allow more time, send fewer rows "
            "per call, or check the server's load."
        )
    if status == "NOT_FOUND" and _GENERATION.search(lowered):
        return GenerationGone(f"{model} at {url}: {said}")
    if status == "NOT_FOUND":
        return _not_ready(said, lowered, url=url, model=model)
    large = _LARGE_REPLY.search(lowered)
    if _LARGE_METADATA in lowered or (large is not None and most_bytes is not None and int(large[1]) > most_bytes):
        return ServerFault(f"{model} at {url} sent more than was asked for ({said}). The server's log may say more.")
    if status in ("RESOURCE_EXHAUSTED", "OUT_OF_RANGE") and any(mark in lowered for mark in _TOO_LARGE):
        return MessageTooLarge(
            f"{model} at {url}: the message is too large ({said}). Send fewer rows per call or smaller photos, ask for "
            "a lower top_k, or raise the limit on both sides."
        )
    if status == "RESOURCE_EXHAUSTED":
        return ServerOverloaded(f"{model} at {url} is overloaded ({said}). Wait a moment, then send it again.")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return NotAuthorised(f"{url} refuses this caller ({said}). Check the client's token, headers and certificate.")
    if status == "UNIMPLEMENTED":
        return VersionMismatch(
            f"{url} does not do what this client asks ({said}). It may speak gRPC but not Triton's protocol: check "
            "that the address is Shopwindow's, and that the server and this client have the same version."
        )
    if status == "INTERNAL" and _DIED.search(lowered):
        return ServerDraining(
            f"a process of {model} at {url} died ({said}). Send the request to another replica, or again later: "
            "`shopwindow serve` restarts the model."
        )
    return ServerFault(f"{model} at {url} failed with {status or 'no status'} ({said}). The server's log says more.")


def _unavailable(said: str, lowered: str, *, url: str, model: str, timeout_s: float) -> ShopwindowError:
    if "exceeds maximum queue size" in lowered:
        return ServerOverloaded(f"{model} at {url} is overloaded ({said}). Wait a moment, then send it again.")
    if "request timeout expired" in lowered:
        return QueueTimeout(
            f"{model} at {url} dropped the request from its queue ({said}). Wait a moment and send it again, or "
            f"raise timeout_s={timeout_s:g}."
        )
    if any(mark in lowered for mark in (*_DRAINING, *_NOT_READY)):
        return _not_ready(said, lowered, url=url, model=model)
    if any(mark in lowered for mark in _TLS):
        return TlsFailed(
            f"no trusted connection to {url} ({said}). Check that the server speaks TLS, that Tls(roots=...) signed "
            "its certificate, and that the certificate names this host and has not expired."
        )
    if _NEVER_SENT.search(lowered):
        return ServerUnreachable(
            f"cannot reach {url} ({said}). Check the address, that the port is gRPC's (8001 by default, not HTTP's "
            "8000), and that the server runs."
        )
    return ConnectionLost(
        f"the connection to {url} broke during the call ({said}). Check that the server still runs. It may have "
        "carried the call out. You can send it again, because a search changes nothing."
    )


def _not_ready(said: str, lowered: str, *, url: str, model: str) -> ServerNotReady:
    if any(mark in lowered for mark in _DRAINING):
        return ServerDraining(
            f"{url} is shutting down, or does not have {model} at the moment ({said}). Send the request to another "
            "replica, or again later. health() tells whether the model is back."
        )
    return ServerNotReady(
        f"{url} does not serve {model} ({said}). health() tells which models are ready. Send the request again later."
    )


def _invalid(said: str, lowered: str, *, url: str, model: str, positions: Sequence[int] | None) -> ShopwindowError:
    if _MISMATCH.search(lowered):
        return VersionMismatch(
            f"{model} at {url} does not know what this client asks for ({said}). Install the client that belongs to "
            "the server, or update the server."
        )
    # The first such name is the wrong field. Later ones may be a quote of the caller's own words.
    found = _POSITION.search(said)
    if found is None:
        return InvalidRequest(f"{model}: {said}")
    row = int(found[2])
    position = row if positions is None or row >= len(positions) else positions[row]
    said = f"{said[: found.start()]}{found[1]}[{position}]{said[found.end() :]}"
    return InvalidRequest(f"{model}: {said}", position=position)
