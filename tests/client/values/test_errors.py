"""gRPC statuses, in the words of Triton and gRPC, become the client's errors."""

from __future__ import annotations

import pickle

import pytest

from shopwindow_client import (
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    MessageTooLarge,
    NotAuthorised,
    QueueTimeout,
    ServerDraining,
    ServerFault,
    ServerNotReady,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
    TlsFailed,
    VersionMismatch,
)
from shopwindow_client._values.errors import from_status


@pytest.mark.parametrize(
    ("status", "said", "kind", "retryable"),
    [
        ("INVALID_ARGUMENT", "top_k must be between 1 and 10000, got 0", InvalidRequest, False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded, False),
        ("UNAVAILABLE", "[request id: 7] Exceeds maximum queue size", ServerOverloaded, True),
        ("UNAVAILABLE", "Request timeout expired", QueueTimeout, True),
        ("UNAVAILABLE", "in ensemble 'retrieve', Exceeds maximum queue size", ServerOverloaded, True),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting", ServerDraining, True),
        ("UNAVAILABLE", "GRPC server is shutting down", ServerDraining, True),
        ("NOT_FOUND", "Request for unknown model: 'retrieve' is not found", ServerNotReady, True),
        ("UNAVAILABLE", "Request for unknown model: 'retrieve' has no available versions", ServerDraining, True),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: refused", ServerUnreachable, True),
        ("UNAVAILABLE", "connections to all backends failing; last error: refused", ServerUnreachable, True),
        ("UNAVAILABLE", "DNS resolution failed for nowhere:8001", ServerUnreachable, True),
        (
            "UNAVAILABLE",
            "failed to connect to all addresses; Ssl handshake failed: CERTIFICATE_VERIFY",
            TlsFailed,
            False,
        ),
        ("UNAVAILABLE", "Socket closed", ConnectionLost, False),
        ("UNAVAILABLE", "a sentence of a later gRPC", ConnectionLost, False),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (9 vs. 8)", MessageTooLarge, False),
        ("RESOURCE_EXHAUSTED", "too many requests", ServerOverloaded, True),
        ("INVALID_ARGUMENT", "fusion: unknown request parameter; known: top_k", VersionMismatch, False),
        ("INVALID_ARGUMENT", "unexpected inference output 'generation' for model 'm'", VersionMismatch, False),
        ("UNAUTHENTICATED", "no token", NotAuthorised, False),
        ("INTERNAL", "in ensemble 'e', Stub process 'product_index_0_0' is not healthy.", ServerDraining, True),
        ("INTERNAL", "ValueError: something else", ServerFault, False),
        ("UNIMPLEMENTED", "", VersionMismatch, False),
    ],
)
def test_each_status_has_its_error(status: str, said: str, kind: type[ShopwindowError], retryable: bool) -> None:
    error = from_status(status, said, url="localhost:8001", model="retrieve", timeout_s=2.5)
    assert type(error) is kind
    assert error.retryable is retryable
    assert "retrieve" in str(error) or "localhost:8001" in str(error)


def test_the_error_names_a_row_by_its_place_in_the_caller_s_list() -> None:
    said = "in ensemble 'retrieve', query[2]: must not be empty, got 'query[7]'"
    part = from_status("INVALID_ARGUMENT", said, url="u", model="retrieve", timeout_s=1.0, positions=[64, 65, 66])
    assert isinstance(part, InvalidRequest)
    assert part.position == 66
    assert "query[66]: must not be empty, got 'query[7]'" in str(part)
    whole = from_status("INVALID_ARGUMENT", "top_k: too much", url="u", model="m", timeout_s=1.0)
    assert isinstance(whole, InvalidRequest)
    assert whole.position is None


def test_errors_are_also_python_s_own_kinds() -> None:
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(ServerUnreachable, ConnectionError)
    assert issubclass(ServerDraining, ServerNotReady)


def test_an_error_of_any_length_keeps_its_beginning_and_what_to_do_next() -> None:
    said = "first words " + "\x1b[31m" * 100_000 + " Do this next."
    for kind in (ShopwindowError, InvalidRequest, DeadlineExceeded, ServerUnreachable, ServerFault):
        error = kind(said)
        text = str(pickle.loads(pickle.dumps(error)))
        assert text == str(error)
        assert len(text) <= 2_000
        assert text.startswith(r"first words \x1b[31m")
        assert text.endswith(" Do this next.")
    assert str(ServerFault("größe\t38\r\n\u3000mug\ud800\x85")) == r"größe 38   mug\ud800 "
