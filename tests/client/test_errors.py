"""From gRPC statuses, in the words that Triton and gRPC use, to the client's errors."""

from __future__ import annotations

import pytest
from tritonclient.utils import InferenceServerException

from shopwindow_client import (
    DeadlineExceeded,
    InvalidRequest,
    QueueTimeout,
    ServerFault,
    ServerNotReady,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
)
from shopwindow_client._errors import from_triton


@pytest.mark.parametrize(
    ("status", "said", "kind", "retryable"),
    [
        ("INVALID_ARGUMENT", "top_k must be between 1 and 10000, got 0", InvalidRequest, False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded, False),
        ("UNAVAILABLE", "[request id: 7] Exceeds maximum queue size", ServerOverloaded, True),
        ("UNAVAILABLE", "Request timeout expired", QueueTimeout, True),
        ("UNAVAILABLE", "in ensemble 'retrieve', Exceeds maximum queue size", ServerOverloaded, True),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting", ServerNotReady, True),
        ("UNAVAILABLE", "GRPC server is shutting down", ServerNotReady, True),
        ("NOT_FOUND", "Request for unknown model: 'retrieve' is not found", ServerNotReady, True),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: refused", ServerUnreachable, True),
        ("UNAVAILABLE", "Socket closed", ServerUnreachable, True),
        ("INTERNAL", "Stub process 'product_index_0_0' is not healthy.", ServerFault, False),
        ("UNIMPLEMENTED", "", ServerFault, False),
    ],
)
def test_each_status_has_its_error(status: str, said: str, kind: type[ShopwindowError], retryable: bool) -> None:
    cause = InferenceServerException(msg=said, status=f"StatusCode.{status}")
    error = from_triton(cause, url="localhost:8001", model="retrieve", timeout_s=2.5)
    assert type(error) is kind
    assert error.retryable is retryable
    assert "retrieve" in str(error) or "localhost:8001" in str(error)


def test_the_limit_that_was_hit_is_in_the_message() -> None:
    cause = InferenceServerException(msg="Deadline Exceeded", status="StatusCode.DEADLINE_EXCEEDED")
    assert "timeout_s=2.5" in str(from_triton(cause, url="localhost:8001", model="retrieve", timeout_s=2.5))


def test_errors_are_also_what_plain_python_expects() -> None:
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(ServerUnreachable, ConnectionError)
