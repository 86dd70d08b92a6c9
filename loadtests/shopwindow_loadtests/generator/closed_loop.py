"""A cheap closed-loop load generator: a process that sends ready-made messages for many clients and reads no reply.

    python -m shopwindow_loadtests.generator.closed_loop  # a job as JSON on stdin, counts as JSON on stdout

It speaks Triton's gRPC protocol (the messages are tritonclient's) and JSON over HTTP/1.1.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tritonclient.grpc import service_pb2

from shopwindow_loadtests.generator.wire import GrpcWire, JsonWire, Reply, Wire
from shopwindow_loadtests.scenario.queries import ZipfSampler, read_queries

TOP_K = 100
# What Triton and our models say, as UNAVAILABLE.
QUEUE_FULL = "Exceeds maximum queue size"
EXPIRED = "Request timeout expired"
_TIMEOUT_S = 20.0
_AHEAD = 256  # queries drawn at a time
_REFUSALS = f"UNAVAILABLE: {QUEUE_FULL}", "HTTP status 429", "HTTP status 503"
_PAUSE_S = 0.05  # a client that was refused must not turn into a busy loop


class Refused(Exception):
    """Raised when a server says that it has too much to do."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a generator process does.

    Attributes:
        protocol: Of PROTOCOLS.
        url: `host:port`.
        clients: How many, each with a connection of its own.
        batch: Queries in a request.
        zipf: As in `Load`.
        queries: File of queries, see `read_queries`.
        seed: Of the draws.
    """

    protocol: str
    url: str
    clients: int
    batch: int
    zipf: float | None
    queries: str
    seed: int


class Protocol(ABC):
    """How queries become a request, and what a reply says."""

    @abstractmethod
    def wire(self, url: str) -> Wire:
        """A new connection's, to `host:port`."""

    @abstractmethod
    def message(self, queries: Sequence[str]) -> bytes:
        """A request, ready to be sent."""

    @abstractmethod
    def ids(self, reply: bytes) -> np.ndarray:
        """(queries, TOP_K) int64 product ids of a reply."""


class Grpc(Protocol):
    """Triton's model `retrieve`, over gRPC.

    Args:
        timeout_s: deadline of a request in seconds, of which the server is told as `shopwindow_client` does.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s

    def wire(self, url: str) -> GrpcWire:
        return GrpcWire(url, timeout_s=self._timeout_s)

    def message(self, queries: Sequence[str]) -> bytes:
        request = service_pb2.ModelInferRequest(model_name="retrieve")
        tensor = request.inputs.add(name="query", datatype="BYTES", shape=[len(queries), 1])
        assert tensor is not None
        texts = [query.encode() for query in queries]
        request.raw_input_contents.append(b"".join(len(text).to_bytes(4, "little") + text for text in texts))
        request.outputs.add(name="product_ids")
        request.outputs.add(name="scores")
        request.parameters["top_k"].int64_param = TOP_K
        if self._timeout_s is not None:
            request.parameters["timeout"].int64_param = round(self._timeout_s * 1e6)
        data: bytes = request.SerializeToString()
        return data

    def ids(self, reply: bytes) -> np.ndarray:
        response = service_pb2.ModelInferResponse.FromString(reply)
        names = [output.name for output in response.outputs]
        raw = response.raw_output_contents[names.index("product_ids")]
        return np.frombuffer(raw, np.int64).reshape(-1, TOP_K)


class Json(Protocol):
    """POST /retrieve with JSON, over a connection that is kept."""

    def wire(self, url: str) -> JsonWire:
        return JsonWire(url, "/retrieve")

    def message(self, queries: Sequence[str]) -> bytes:
        return json.dumps({"queries": list(queries)}).encode()

    def ids(self, reply: bytes) -> np.ndarray:
        return np.array(json.loads(reply)["product_ids"], np.int64)


class NestedJson(Json):
    """As Json, where the reply is a list of JSON texts, one a query."""

    def ids(self, reply: bytes) -> np.ndarray:
        return np.array([json.loads(text)["product_ids"][0] for text in json.loads(reply)], np.int64)


PROTOCOLS: dict[str, Protocol] = {"grpc": Grpc(), "http": Json(), "nested": NestedJson()}


class Connection:
    """A wire and its socket, which is closed at the end of a `with` block.

    Args:
        url: `host:port`.
        wire: what is spoken.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, url: str, wire: Wire) -> None:
        host, _, port = url.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wire = wire

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: bytes) -> int:
        """Send a request; returns its number."""
        number = self._wire.request(message)
        self.flush()
        return number

    def flush(self) -> None:
        """Send what the wire holds ready."""
        if self._wire.out:
            self.socket.sendall(self._wire.out)
            self._wire.out.clear()

    def receive(self) -> list[Reply]:
        """Wait for something to come in: the requests that ended with it.

        Raises:
            OSError: nothing came for too long, or the connection is closed.
        """
        if not (data := self.socket.recv(2**18)):
            raise ConnectionError("the server closed the connection")
        replies = self._wire.receive(data)
        self.flush()
        return replies

    def call(self, message: bytes) -> bytes:
        """Send a request and wait for its reply's message.

        Raises:
            Refused: the server has too much to do.
            ValueError: it says something else than an answer.
            OSError: as `receive`.
        """
        number = self.send(message)
        while True:
            for reply in self.receive():
                if reply.number == number:
                    return answer(reply)


def answer(reply: Reply) -> bytes:
    """The message of a reply; raises Refused, or ValueError for any other failure."""
    if reply.message is None:
        raise (Refused if reply.why.startswith(_REFUSALS) else ValueError)(reply.why)
    return reply.message


def batches(queries: Sequence[str], batch: int, zipf: float | None, seed: int) -> Iterator[list[str]]:
    """Requests without end: queries in turn, from a place that the seed picks, or drawn by their popularity."""
    if zipf is None:
        at = int(np.random.default_rng(seed).integers(len(queries)))
        while True:
            yield [queries[(at + number) % len(queries)] for number in range(batch)]
            at += batch
    sampler = ZipfSampler(queries, exponent=zipf, seed=seed)
    while True:
        drawn = sampler.draw(_AHEAD * batch)
        yield from (drawn[start : start + batch] for start in range(0, len(drawn), batch))


class Client:
    """One client, which sends again when it has its answer.

    Args:
        job: What to send.
        queries: Of the job.
        number: Which client.
    """

    def __init__(self, job: Job, queries: Sequence[str], number: int) -> None:
        self._protocol = PROTOCOLS[job.protocol]
        # A connection of its own: clients elsewhere would not share one either.
        self.connection = Connection(job.url, self._protocol.wire(job.url))
        self._requests = batches(queries, job.batch, job.zipf, job.seed * 1000 + number)
        self.sent = 0.0

    def connect(self) -> None:
        """Get a first answer, whatever it is."""
        with suppress(Refused):
            self.connection.call(self._protocol.message(next(self._requests)))

    def send(self) -> None:
        """Send the next request."""
        message = self._protocol.message(next(self._requests))
        self.sent = time.monotonic()
        self.connection.send(message)


@dataclass
class Told:
    """What a generator process tells.

    Attributes:
        latencies_ms: Of what was answered in the window.
        refused: Requests refused meanwhile.
        failures: What else happened; the measurement is worth nothing then.
        cpu_s: Its CPU time in the window.
    """

    latencies_ms: list[float] = field(default_factory=list)
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


def drive_clients(clients: Sequence[Client], start: float, end: float) -> Told:
    """Send from now until `end`; count what was answered or refused after `start`. Both by `time.monotonic`."""
    told = Told()
    try:
        _drive(clients, start, end, told)
    except (OSError, ValueError) as error:
        told.failures.append(f"{type(error).__name__}: {error}")
    return told


def _drive(clients: Sequence[Client], start: float, end: float, told: Told) -> None:
    waiting, resting = set[Client](), deque[tuple[float, Client]]()
    cpu_began = None

    def send(client: Client) -> None:
        client.send()
        waiting.add(client)

    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.connection.socket, selectors.EVENT_READ, client)
            send(client)
        while waiting or (resting and time.monotonic() < end):
            next_s = resting[0][0] - time.monotonic() if resting and time.monotonic() < end else 1.0
            for key, _ in selector.select(max(0.0, next_s)):
                client = key.data
                for reply in client.connection.receive():
                    over = time.monotonic()
                    waiting.discard(client)
                    try:
                        answer(reply)
                    except Refused:
                        told.refused += start <= over < end
                        resting.append((over + _PAUSE_S, client))
                        continue
                    if start <= over < end:
                        told.latencies_ms.append(round((over - client.sent) * 1e3, 3))
                    if over < end:
                        send(client)
            now = time.monotonic()
            while resting and resting[0][0] <= now < end:
                send(resting.popleft()[1])
            if now >= start and cpu_began is None:
                cpu_began = time.process_time()
            if now < end:
                told.cpu_s = time.process_time() - (cpu_began or 0.0)
            if waiting and now - min(client.sent for client in waiting) > _TIMEOUT_S:
                raise TimeoutError(f"no answer within {_TIMEOUT_S:g} s")


def main() -> None:
    """Connect, say so, wait for the window, send, and print what came of it."""
    job = Job(**json.loads(sys.stdin.readline()))
    queries = read_queries(Path(job.queries))
    told, clients = Told(), list[Client]()
    try:
        for number in range(job.clients):
            clients.append(Client(job, queries, number))
            clients[-1].connect()
    except (OSError, ValueError) as error:
        told.failures.append(f"{type(error).__name__}: {error}")
    print("ready", flush=True)
    start, end = map(float, sys.stdin.readline().split())
    if not told.failures:
        told = drive_clients(clients, start, end)
    print(json.dumps(asdict(told)), flush=True)


def as_line(job: Job) -> str:
    """The line of standard input that is a job."""
    return json.dumps(asdict(job)) + "\n"


if __name__ == "__main__":
    main()
