"""The errors of the client, and the one place where a gRPC status becomes one of them.

ShopwindowError
├── InvalidRequest         the request is wrong: change it
│   └── MessageTooLarge    request or reply is larger than a message may be
├── DeadlineExceeded       no answer within timeout_s
├── ServerOverloaded       the server's queue is full                     (retryable)
│   └── Throttled          it refused so many lately that this client did (retryable)
├── QueueTimeout           waited too long in the server's queue          (retryable)
├── ServerUnreachable      no connection, nothing was sent                (retryable)
│   ├── ConnectionLost     the connection broke during the call: it may have been carried out
│   └── TlsFailed          no connection that both sides trust
├── ServerNotReady         reached, but the model is not served           (retryable)
│   └── ServerDraining     shutting down, or the model comes, goes or died (retryable)
├── VersionMismatch        client and server do not speak the same contract
├── NotAuthorised          the server, or what stands before it, refuses this caller
├── ServerFault            the server failed inside
└── ClientClosed           this client was closed before the call
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar


class ShopwindowError(Exception):
    """Base of every error that the client raises on purpose.

    Attributes:
        retryable: True when the request was not carried out, and sending it again after a pause may succeed.
        request_id: The id that the request carried, as the server's log shows it; None when it was never sent.
        attempts: How often it was sent, hedges left out.
    """

    retryable: ClassVar[bool] = False
    request_id: str | None = None
    attempts: int = 0


class InvalidRequest(ShopwindowError, ValueError):
    """Raised when the request itself is wrong: by the client before sending, or by the server's answer.

    Attributes:
        position: Which of the queries, products or embeddings given is wrong, from 0; None when it isn't one of them.
    """

    position: int | None = None

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class MessageTooLarge(InvalidRequest):
    """Raised when a request or its reply is larger than the client, the server or a proxy between them allows."""


class DeadlineExceeded(ShopwindowError, TimeoutError):
    """Raised when no full answer came within the call's deadline. The server drops what it hasn't begun."""


class ServerOverloaded(ShopwindowError):
    """Raised when the server refused the request because its queue is full."""

    retryable = True


class Throttled(ServerOverloaded):
    """Raised by the client itself, with a `Throttle`, while the server refuses many requests: nothing was sent."""


class QueueTimeout(ShopwindowError):
    """Raised when the server dropped the request from its queue before starting on it."""

    retryable = True


class ServerUnreachable(ShopwindowError, ConnectionError):
    """Raised when there is no connection to the server."""

    retryable = True


class ConnectionLost(ServerUnreachable):
    """Raised when the connection broke during the call: whether the server carried it out is unknown."""

    retryable = False


class TlsFailed(ServerUnreachable):
    """Raised when a certificate is missing, wrong, out of date, or made for another name."""

    retryable = False


class ServerNotReady(ShopwindowError):
    """Raised when the server answers but doesn't serve the model: unknown, loading or unloading."""

    retryable = True


class ServerDraining(ServerNotReady):
    """Raised when the server is shutting down, loads or unloads the model (Triton doesn't say which), or lost it.

    A lost model's process died. What it had begun may be sent again too, as a search changes nothing.
    """


class VersionMismatch(ShopwindowError):
    """Raised when the server doesn't know what this client asks for, or isn't a Shopwindow server."""


class NotAuthorised(ShopwindowError):
    """Raised when the caller's token, certificate or headers are not accepted."""


class ServerFault(ShopwindowError):
    """Raised when the server failed while working on the request, or answered with something it never should."""


class ClientClosed(ShopwindowError):
    """Raised when a closed client is used."""


# UNAVAILABLE means several things. Triton's own sentences are few and steady, while those of the transport change
# with the version of gRPC: of these only the ones that say that nothing was sent are listed. What isn't recognised is
# taken for a connection that broke, which is never sent again unasked.
_DRAINING = ("server is stopping", "shutting down", "no available versions")
_DIED = re.compile(r"stub process .* is not healthy")
_NOT_READY = ("unknown model", "not ready")
_NEVER_SENT = (
    "failed to connect",
    "backends failing",
    "dns resolution failed",
    "name resolution",
    "empty address list",
    "resolver transient failure",
)
_TLS = ("ssl handshake", "ssl_error", "ssl routines", "tls handshake", "certificate", "peer name", "hostname verif")
_TOO_LARGE = ("larger than max", "message too large", "exceeds maximum size")
_MISMATCH = re.compile(
    r"unexpected inference (in|out)put|expected \d+ inputs but got|unexpected datatype|unknown request parameter"
    r"|unexpected shape for input"
)
_POSITION = re.compile(r"\b(query|title|image|embedding)\[(\d+)\]")


def from_status(
    status: str, said: str, *, url: str, model: str, timeout_s: float, positions: Sequence[int] | None = None
) -> ShopwindowError:
    """Translate a gRPC status.

    Args:
        status: Its name, such as `"UNAVAILABLE"`.
        said: Its message.
        url: The server's address, for the message.
        model: The model that was called, for the message.
        timeout_s: The deadline of the whole call in seconds, for the message.
        positions: Where in the caller's list each row of the request stands; None when they are all of it.

    Returns:
        The error to raise, with a message that says what to do next.
    """
    said = said or "no message"
    lowered = said.lower()
    if status == "UNAVAILABLE":
        return _unavailable(said, lowered, url=url, model=model, timeout_s=timeout_s)
    if status == "INVALID_ARGUMENT":
        return _invalid(said, lowered, url=url, model=model, positions=positions)
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"{model} at {url} gave no full answer within timeout_s={timeout_s:g}. Allow more time, send fewer rows "
            "in a call, or look at the server's load."
        )
    if status == "NOT_FOUND":
        return _not_ready(said, lowered, url=url, model=model)
    if status in ("RESOURCE_EXHAUSTED", "OUT_OF_RANGE") and any(mark in lowered for mark in _TOO_LARGE):
        return MessageTooLarge(
            f"{model} at {url}: the message is too large ({said}). Send fewer rows in a call, smaller photos or a "
            "lower top_k, or raise the limit on both sides."
        )
    if status == "RESOURCE_EXHAUSTED":
        return ServerOverloaded(f"{model} at {url} is overloaded ({said}). Wait a moment, then send it again.")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return NotAuthorised(f"{url} refuses this caller ({said}). Check token, headers and certificate of the client.")
    if status == "UNIMPLEMENTED":
        return VersionMismatch(
            f"{url} answers gRPC but not Triton's protocol ({said}). Check that the address is Shopwindow's."
        )
    if status == "INTERNAL" and _DIED.search(lowered):
        return ServerDraining(
            f"a process of {model} at {url} died ({said}). Send it to another replica, or again in a while: "
            "`shopwindow serve` brings the model back."
        )
    return ServerFault(f"{model} at {url} failed with {status or 'no status'} ({said}). Look into the server's log.")


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
            "its certificate, and that the certificate names this host and is in date."
        )
    if any(mark in lowered for mark in _NEVER_SENT):
        return ServerUnreachable(
            f"cannot reach {url} ({said}). Check the address, that its port is the gRPC one (8001 by default, not "
            "HTTP's 8000), and that the server runs."
        )
    return ConnectionLost(
        f"the connection to {url} broke during the call ({said}). Look whether the server still runs; the call may "
        "have been carried out, and can be sent again, as a search changes nothing."
    )


def _not_ready(said: str, lowered: str, *, url: str, model: str) -> ServerNotReady:
    if any(mark in lowered for mark in _DRAINING):
        return ServerDraining(
            f"{url} is shutting down, or doesn't have {model} at this moment ({said}). Send it to another replica, or "
            "again in a while; health() tells whether it is back."
        )
    return ServerNotReady(
        f"{model} is not served at {url} ({said}). Ask health() which models are ready; send it again later."
    )


def _invalid(said: str, lowered: str, *, url: str, model: str, positions: Sequence[int] | None) -> ShopwindowError:
    if _MISMATCH.search(lowered):
        return VersionMismatch(
            f"{model} at {url} doesn't know what this client asks for ({said}). Install the client that belongs to "
            "the server, or update the server."
        )
    # The first such name is the field at fault; what follows may quote the caller's own words.
    found = _POSITION.search(said)
    if found is None:
        return InvalidRequest(f"{model}: {said}")
    row = int(found[2])
    position = row if positions is None or row >= len(positions) else positions[row]
    said = f"{said[: found.start()]}{found[1]}[{position}]{said[found.end() :]}"
    return InvalidRequest(f"{model}: {said}", position=position)
