"""The errors of the client, and the one place where a gRPC status becomes one of them.

ShopwindowError
├── InvalidRequest      the request is wrong: change it
├── DeadlineExceeded    no answer within timeout_s
├── ServerOverloaded    the server's queue is full            (retryable)
├── QueueTimeout        waited too long in the server's queue (retryable)
├── ServerUnreachable   no connection, or it was lost         (retryable)
├── ServerNotReady      reached, but the model is not served  (retryable)
├── ServerFault         the server failed inside
└── ClientClosed        this client was closed before the call
"""

from __future__ import annotations

from typing import ClassVar

from tritonclient.utils import InferenceServerException


class ShopwindowError(Exception):
    """Base of every error that the client raises on purpose.

    Attributes:
        retryable: True when the request was not carried out, and sending it again after a pause may succeed.
    """

    retryable: ClassVar[bool] = False


class InvalidRequest(ShopwindowError, ValueError):
    """Raised when the request itself is wrong: by the client before sending, or by the server's answer."""


class DeadlineExceeded(ShopwindowError, TimeoutError):
    """Raised when no full answer came within the call's deadline. The server may still be working on it."""


class ServerOverloaded(ShopwindowError):
    """Raised when the server refused the request because its queue is full."""

    retryable = True


class QueueTimeout(ShopwindowError):
    """Raised when the server dropped the request from its queue before starting on it."""

    retryable = True


class ServerUnreachable(ShopwindowError, ConnectionError):
    """Raised when there is no connection to the server, or it broke during the call."""

    retryable = True


class ServerNotReady(ShopwindowError):
    """Raised when the server answers but doesn't serve the model: unknown, loading, unloading or shutting down."""

    retryable = True


class ServerFault(ShopwindowError):
    """Raised when the server failed while working on the request, or answered with something it never should."""


class ClientClosed(ShopwindowError):
    """Raised when a closed client is used."""


# UNAVAILABLE means four things. Triton's own sentences are few and steady while those of the transport change
# with the version of gRPC, so what isn't recognised here is taken for the transport's.
_NOT_READY = ("unknown model", "not ready", "no available versions", "stopping", "shutting down")


def from_triton(error: InferenceServerException, *, url: str, model: str, timeout_s: float) -> ShopwindowError:
    """Translate what tritonclient raises.

    Args:
        error: The exception; its status reads like `"StatusCode.UNAVAILABLE"`.
        url: The server's address, for the message.
        model: The model that was called, for the message.
        timeout_s: The deadline of the whole call in seconds, for the message.

    Returns:
        The error to raise, with a message that says what to do next.
    """
    status = (error.status() or "").rpartition(".")[2]
    said = error.message() or "no message"
    lowered = said.lower()
    if status == "INVALID_ARGUMENT":
        return InvalidRequest(f"{model}: {said}")
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"{model} at {url} gave no full answer within timeout_s={timeout_s:g}. Allow more time, send fewer rows "
            "in a call, or look at the server's load."
        )
    if status == "UNAVAILABLE" and "exceeds maximum queue size" in lowered:
        return ServerOverloaded(f"{model} at {url} is overloaded ({said}). Wait a moment, then send it again.")
    if status == "UNAVAILABLE" and "request timeout expired" in lowered:
        return QueueTimeout(
            f"{model} at {url} dropped the request from its queue ({said}). Wait a moment and send it again, or "
            f"raise timeout_s={timeout_s:g}."
        )
    if status == "NOT_FOUND" or (status == "UNAVAILABLE" and any(mark in lowered for mark in _NOT_READY)):
        return ServerNotReady(
            f"{model} is not served at {url} ({said}). Ask health() which models are ready; send it again later."
        )
    if status == "UNAVAILABLE":
        return ServerUnreachable(
            f"cannot reach {url} ({said}). Check the address, that its port is the gRPC one (8001 by default, not "
            "HTTP's 8000), and that the server runs."
        )
    return ServerFault(f"{model} at {url} failed with {status or 'no status'} ({said}). Look into the server's log.")
