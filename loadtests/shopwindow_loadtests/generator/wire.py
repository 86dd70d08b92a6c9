"""Speaks a server's protocol byte by byte, at a fraction of the cost of a client library.

gRPC over HTTP/2 (RFC 9113, RFC 7541 and gRPC's PROTOCOL-HTTP2), and JSON over HTTP/1.1. It has only the parts that are
needed to send ready-made messages to a trusted server. There are no sockets here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import grpc

INFER = "/inference.GRPCInferenceService/ModelInfer"

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_CANCEL = 8
_CODES = {str(code.value[0]): code.name for code in grpc.StatusCode}
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535  # bytes to send before the server grants more, for one request and for all together
_LARGEST_FRAME = 16_384
_OPEN_AGAIN = 2**24  # received bytes after which the server is granted as many more


class Reply(NamedTuple):
    """The end of a request: its number, and its message, or None and why it failed."""

    number: int
    message: bytes | None
    why: str = ""


class Wire(ABC):
    """The two directions of one connection.

    Attributes:
        out: Bytes to send. Whoever sends them clears it.
    """

    def __init__(self) -> None:
        self.out = bytearray()

    @abstractmethod
    def request(self, message: bytes) -> int:
        """Put a request into `out`, or hold it until the server has room. Return its number.

        Raises:
            ValueError: The message is too long to send at once.
        """

    @abstractmethod
    def receive(self, data: bytes) -> list[Reply]:
        """Take bytes from the server and return the requests that ended with them.

        Raises:
            ConnectionError: The server ends the connection.
        """


class JsonWire(Wire):
    """POST requests to one path over HTTP/1.1, one after the other."""

    def __init__(self, authority: str, path: str) -> None:
        super().__init__()
        self._head = f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n".encode()
        self._sent = 0
        self._received = bytearray()

    def request(self, message: bytes) -> int:
        self.out += b"%sContent-Length: %d\r\n\r\n%s" % (self._head, len(message), message)
        self._sent += 1
        return self._sent

    def receive(self, data: bytes) -> list[Reply]:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return []
        status, *lines = bytes(head).split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if b"content-length" not in fields:
            raise ConnectionError(f"a reply without Content-Length: {bytes(head)!r}")
        if len(rest) < int(fields[b"content-length"]):
            return []
        self._received.clear()
        code = status.split()[1].decode()
        if code == "200":
            return [Reply(self._sent, bytes(rest))]
        return [Reply(self._sent, None, f"HTTP status {code}: {bytes(rest[:200]).decode(errors='replace')}")]


class GrpcWire(Wire):
    """Unary calls of Triton's ModelInfer, any number at a time.

    Args:
        authority: `host:port`.
        timeout_s: Deadline to tell the server, in seconds. None: tell it none.
    """

    def __init__(self, authority: str, timeout_s: float | None = None) -> None:
        super().__init__()
        self._head = (
            b"\x83\x86"  # :method POST, :scheme http
            + b"\x04" + _text(INFER.encode())
            + b"\x01" + _text(authority.encode())
            + b"\x0f\x10" + _text(b"application/grpc")
            + b"\x00" + _text(b"te") + _text(b"trailers")
        )  # fmt: skip
        if timeout_s is not None:
            self._head += b"\x00" + _text(b"grpc-timeout") + _text(b"%dm" % max(1, round(timeout_s * 1e3)))
        self._last = -1
        self._window = _FIRST_WINDOW  # bytes that the server accepts now, for all requests together
        self._held: list[tuple[int, bytes]] = []
        self._received = bytearray()
        self._unacknowledged = 0
        self._messages: dict[int, bytes] = {}  # the replies so far of the requests in flight
        # No header table, so that each reply can be read by itself; and no limit on what the server sends.
        settings = b"\0\1" + bytes(4) + b"\0\2" + bytes(4) + b"\0\4" + _LARGEST_WINDOW.to_bytes(4)
        self.out += _PREFACE + _frame(_SETTINGS, 0, 0, settings)
        self.out += _frame(_WINDOW, 0, 0, (_LARGEST_WINDOW - _FIRST_WINDOW).to_bytes(4))

    def request(self, message: bytes) -> int:
        data = b"\0" + len(message).to_bytes(4) + message
        if len(data) > _FIRST_WINDOW:
            raise ValueError(f"message: at most {_FIRST_WINDOW - 5} bytes, got {len(message)}")
        self._last += 2
        self.out += _frame(_HEADERS, _END_HEADERS, self._last, self._head)
        self._messages[self._last] = b""
        for start in range(0, len(data), _LARGEST_FRAME):
            last = start + _LARGEST_FRAME >= len(data)
            part = data[start : start + _LARGEST_FRAME]
            self._held.append((self._last, _frame(_DATA, _END_STREAM if last else 0, self._last, part)))
        self._send_held()
        return self._last

    def cancel(self, number: int) -> None:
        """Give up a request. It gets no `Reply`."""
        self._messages.pop(number, None)
        self._held = [(other, data) for other, data in self._held if other != number]
        self.out += _frame(_RESET, 0, number, _CANCEL.to_bytes(4))

    def receive(self, data: bytes) -> list[Reply]:
        self._received += data
        replies = []
        start = 0
        while len(self._received) >= (body := start + 9):
            end = body + int.from_bytes(self._received[start : start + 3])
            if len(self._received) < end:
                break
            kind, flags = self._received[start + 3], self._received[start + 4]
            number = int.from_bytes(self._received[start + 5 : body]) & _LARGEST_WINDOW
            reply = self._take(kind, flags, number, bytes(self._received[body:end]))
            if reply is not None:
                replies.append(reply)
            start = end
        del self._received[:start]
        return replies

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> Reply | None:
        if kind == _DATA:
            if number in self._messages:
                self._messages[number] += payload
            self._unacknowledged += len(payload)
            if self._unacknowledged >= _OPEN_AGAIN:
                self.out += _frame(_WINDOW, 0, 0, self._unacknowledged.to_bytes(4))
                self._unacknowledged = 0
        elif (kind == _HEADERS and flags & _END_STREAM) or kind == _RESET:
            message = self._messages.pop(number, None)
            if message is None:  # it has ended or was given up
                return None
            if kind == _RESET:
                return Reply(number, None, f"reset with HTTP/2 error {int.from_bytes(payload)}")
            fields = dict(_fields(payload))
            if fields.get(b"grpc-status") == b"0" and message:
                return Reply(number, message[5:])
            code, told = (fields.get(name, b"?").decode(errors="replace") for name in (b"grpc-status", b"grpc-message"))
            return Reply(number, None, f"{_CODES.get(code, code)}: {told}")
        elif kind == _WINDOW and number == 0:
            self._window += int.from_bytes(payload)
            self._send_held()
        elif kind == _PING and not flags & _ACK:
            self.out += _frame(_PING, _ACK, 0, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self.out += _frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _GO_AWAY:
            raise ConnectionError(f"the server says GOAWAY: {payload[8:].decode(errors='replace')}")
        return None

    def _send_held(self) -> None:
        while self._held and len(self._held[0][1]) - 9 <= self._window:
            _, data = self._held.pop(0)
            self._window -= len(data) - 9
            self.out += data


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + number.to_bytes(4) + payload


def _text(value: bytes) -> bytes:
    """Return an uncompressed HPACK string."""
    if len(value) >= 127:
        raise ValueError(f"at most 126 bytes, got {len(value)}: {value!r}")
    return bytes((len(value),)) + value


def _fields(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the fields that a header block spells out. gRPC servers send them uncompressed."""
    at = 0

    def integer(bits: int) -> int:
        nonlocal at
        most = (1 << bits) - 1
        value, at = block[at] & most, at + 1
        shift = 0
        while value >= most:  # seven more bits, as long as the eighth is set
            more, at = block[at], at + 1
            value, shift = value + ((more & 127) << shift), shift + 7
            if more < 128:
                break
        return value

    def text() -> bytes:
        nonlocal at
        length = integer(7)
        at += length
        return block[at - length : at]

    while at < len(block):
        first = block[at]
        if first & 0x80:  # a whole field of the static table
            integer(7)
        elif first & 0xE0 == 0x20:  # a new table size
            integer(5)
        else:
            number = integer(6 if first & 0x40 else 4)
            name = b"" if number else text()  # a number points to the static table, which has none of gRPC's names
            yield name, text()
