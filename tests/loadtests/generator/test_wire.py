"""The load generator's gRPC and HTTP: the same answers as tritonclient from a real Triton, and replies in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from shopwindow.server import TritonServer
from shopwindow_loadtests.generator.closed_loop import Connection, Grpc, Refused, answer
from shopwindow_loadtests.generator.wire import GrpcWire, JsonWire, Reply, Wire
from tests.server.stranger import ask, texts

QUERIES = [f"red mug {number}" for number in range(40)]


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + number.to_bytes(4) + payload


def replies_of(wire: Wire, data: bytes, step: int) -> Iterator[Reply]:
    for start in range(0, len(data), step):
        yield from wire.receive(data[start : start + step])


def test_many_calls_at_a_time_get_the_same_answers_as_tritonclient(served: TritonServer) -> None:
    protocol = Grpc(timeout_s=30.0)
    wire = protocol.wire(served.grpc_url)
    connection = Connection(served.grpc_url, wire)
    numbers = {wire.request(protocol.message([query, "mug"])): query for query in QUERIES}
    connection.flush()
    found: dict[str, np.ndarray] = {}
    while len(found) < len(QUERIES):
        for reply in connection.receive():
            found[numbers[reply.number]] = protocol.ids(answer(reply))
    for query in QUERIES[::13]:
        expected = ask(served, "retrieve", {"query": texts(query, "mug")}, parameters={"top_k": 100})
        np.testing.assert_array_equal(found[query], expected["product_ids"])


def test_more_than_one_window_is_sent_and_received(served: TritonServer) -> None:
    protocol = Grpc()
    wire = protocol.wire(served.grpc_url)
    connection = Connection(served.grpc_url, wire)
    message = protocol.message(["plate " * 160] * 60)  # 58 kB of request, 72 kB of reply
    waiting = {wire.request(message) for _ in range(20)}
    connection.flush()
    while waiting:
        for reply in connection.receive():
            assert protocol.ids(answer(reply)).shape == (60, 100)
            waiting.remove(reply.number)
    with pytest.raises(ValueError, match="message: at most 65530 bytes, got 65531"):
        wire.request(bytes(65_531))


def test_an_error_says_its_code_and_message(served: TritonServer) -> None:
    protocol = Grpc()
    connection = Connection(served.grpc_url, protocol.wire(served.grpc_url))
    with pytest.raises(ValueError, match=r"^INVALID_ARGUMENT: query\[1\]: must not be empty"):
        connection.call(protocol.message(["mug", ""]))
    long = "ü" * 2_000
    with pytest.raises(ValueError, match="at most 1000 characters, got 2000"):
        connection.call(protocol.message([long]))
    assert protocol.ids(connection.call(protocol.message(["mug"]))).shape == (1, 100)  # the connection still works


def test_a_call_that_is_given_up_is_not_answered(served: TritonServer) -> None:
    protocol = Grpc()
    wire = protocol.wire(served.grpc_url)
    connection = Connection(served.grpc_url, wire)
    first = wire.request(protocol.message(["mug"] * 60))
    wire.cancel(first)
    last = wire.request(protocol.message(["mug"] * 60))  # an answer to the first would come before this one
    connection.flush()
    replies = []
    while last not in replies:
        replies += [reply.number for reply in connection.receive()]
    assert replies == [last]


def test_a_request_given_up_before_there_is_room_is_not_sent() -> None:
    wire = GrpcWire("host:1")
    numbers = [wire.request(bytes(60_000)) for _ in range(2)]
    wire.out.clear()
    wire.cancel(numbers[1])
    assert bytes(wire.out) == frame(3, 0, numbers[1], (8).to_bytes(4))
    wire.out.clear()
    wire.receive(frame(8, 0, 0, (10**6).to_bytes(4)))  # room
    assert not wire.out


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_http_replies_come_in_pieces(step: int) -> None:
    wire = JsonWire("host:1", "/retrieve")
    assert wire.request(b'{"queries": []}') == 1
    assert bytes(wire.out).endswith(b'Content-Length: 15\r\n\r\n{"queries": []}')
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nServer: x\r\n\r\n[1,2]"
    assert list(replies_of(wire, good, step)) == [Reply(1, b"[1,2]")]
    wire.request(b"{}")
    busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
    [refusal] = replies_of(wire, busy, step)
    assert refusal == Reply(2, None, "HTTP status 503: busy")
    with pytest.raises(Refused):
        answer(refusal)
    with pytest.raises(ConnectionError, match="without Content-Length"):
        list(replies_of(wire, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", step))


@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_grpc_replies_come_in_pieces(step: int) -> None:
    wire = GrpcWire("host:1")
    first, second = wire.request(b"one"), wire.request(b"two")
    wire.out.clear()
    head = frame(1, 4, first, b"\x88")  # :status 200
    parts = [frame(0, 0, first, b"\0\0\0\0\x05he"), frame(0, 0, first, b"llo")]
    status = b"\x00\x0bgrpc-status" + b"\x010", b"\x00\x0bgrpc-status" + b"\x0214"
    message = b"\x40\x0cgrpc-message" + b"\x7f\x49" + b"x" * 200  # a length of two bytes
    data = [
        *(frame(4, 0, 0, b""), frame(6, 0, 0, b"12345678"), head, *parts, frame(1, 5, first, status[0])),
        frame(1, 5, second, b"\x20\x88" + status[1] + message),
    ]
    assert list(replies_of(wire, b"".join(data), step)) == [
        Reply(first, b"hello"),
        Reply(second, None, "UNAVAILABLE: " + "x" * 200),
    ]
    assert bytes(wire.out) == frame(4, 1, 0, b"") + frame(6, 1, 0, b"12345678")  # both acknowledged
    third = wire.request(b"three")
    reset = frame(3, 0, third, (7).to_bytes(4))
    assert wire.receive(reset + reset) == [Reply(third, None, "reset with HTTP/2 error 7")]
    with pytest.raises(ConnectionError, match="GOAWAY: bye"):
        wire.receive(frame(7, 0, 0, bytes(8) + b"bye"))
