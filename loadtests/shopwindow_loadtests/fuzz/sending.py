"""Sends the requests of the fuzzer, and reads what comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from shopwindow_loadtests.fuzz.requests.cases import Call, Case, RawHttp

ANSWER_S = 30.0  # an answer that takes longer is none
_SILENCE_S = 0.2  # how long to wait for an answer that is not owed, before the sender says that it has sent everything
_CLOSE_S = 5.0
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each sender
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        status: The code of gRPC, such as `OK`; of HTTP, such as `400`; `closed`, `silent` or
            `unreachable` if HTTP sent no answer.
        text: The error message, as it came.
        messages: The serialised messages of gRPC, or the body of HTTP.
        headers: The head of an HTTP answer.
    """

    status: str
    text: str = ""
    messages: tuple[bytes, ...] = ()
    headers: bytes = b""


class Sender:
    """One connection for gRPC, and a new one for each HTTP request.

    Args:
        addresses: `host:port` of `gRPC`, `HTTP`, `metrics` and `health`.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._channel = grpc.insecure_channel(addresses["gRPC"], options=_OPTIONS)
        self._ports = {name.lower(): address for name, address in addresses.items()}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def send(self, case: Case) -> Reply:
        """Send a request and wait for its end."""
        if isinstance(case.sent, RawHttp):
            return _http(self._ports[case.sent.port], case.sent)
        return self._call(case.sent)

    def _call(self, call: Call) -> Reply:
        options: dict[str, Any] = {"timeout": call.deadline_s or ANSWER_S, "metadata": call.metadata}
        received: list[bytes] = []
        try:
            if call.stream:
                received.extend(self._channel.stream_stream(call.path)(iter(call.messages), **options))
            else:
                future = self._channel.unary_unary(call.path).future(call.messages[0], **options)
                if call.cancel_after_s is not None:
                    time.sleep(call.cancel_after_s)
                    future.cancel()
                received.append(future.result())
        except grpc.FutureCancelledError:
            return Reply(status="CANCELLED")
        except grpc.RpcError as error:
            return Reply(status=error.code().name, text=error.details() or "", messages=tuple(received))
        return Reply(status="OK", messages=tuple(received))


def _http(address: str, sent: RawHttp) -> Reply:
    host, _, port = address.rpartition(":")
    received = b""
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S)
    except OSError as error:
        return Reply(status="unreachable", text=str(error))
    with connection:
        with suppress(OSError):  # the server may refuse early; its answer counts
            for piece in sent.pieces:
                connection.sendall(piece)
        head_only = sent.pieces[0].startswith(b"HEAD ")
        said_all = sent.whole
        end = time.monotonic() + (ANSWER_S if sent.whole else _SILENCE_S)
        while (reply := _parsed(received, head_only)) is None:
            connection.settimeout(max(0.001, end - time.monotonic()))
            try:
                if not (data := connection.recv(65_536)):
                    return _parsed(received, head_only, closed=True) or Reply(status="closed")
                received += data
            except TimeoutError:
                if said_all:
                    return Reply(status="silent", text=received[:200].decode("latin-1"))
                said_all = True
                end = time.monotonic() + _CLOSE_S
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                return _parsed(received, head_only, closed=True) or Reply(status="closed")
        return reply


def _parsed(data: bytes, head_only: bool, *, closed: bool = False) -> Reply | None:
    """Return the HTTP answer that these bytes are; None if they are not a whole one yet."""
    head, blank, body = data.partition(b"\r\n\r\n")
    line = head.partition(b"\r\n")[0].split()
    while blank and len(line) > 1 and line[1].startswith(b"1") and line[1] != b"101":  # such as 100 Continue
        head, blank, body = body.partition(b"\r\n\r\n")
        line = head.partition(b"\r\n")[0].split()
    if not blank or len(line) < 2:
        return None
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (one.partition(b":") for one in head.split(b"\r\n"))
    }
    said = fields.get(b"content-length", b"")
    if head_only:
        body = b""
    elif said.isdigit():
        if len(body) < int(said) and not closed:
            return None
        body = body[: int(said)]  # then may come the answer to what the server took for another request
    elif not closed and not (b"chunked" in fields.get(b"transfer-encoding", b"") and body.endswith(b"0\r\n\r\n")):
        return None
    status = line[1].decode("latin-1")
    text = body.decode(errors="replace") if not status.startswith("2") else ""
    return Reply(status=status, text=text, messages=(body,), headers=head)
