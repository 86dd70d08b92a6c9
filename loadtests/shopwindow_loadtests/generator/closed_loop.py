"""A cheap closed-loop load generator: one process sends ready-made messages for many clients and decodes no reply.

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
# The words of Triton and of our models in errors with the code UNAVAILABLE.
QUEUE_FULL = "Exceeds maximum queue size"
EXPIRED = "Request timeout expired"
_TIMEOUT_S = 20.0
_AHEAD = 256  # queries drawn at a time
_REFUSALS = f"UNAVAILABLE: {QUEUE_FULL}", "HTTP status 429", "HTTP status 503"
_PAUSE_S = 0.05  # a refused client must not turn into a busy loop


class Refused(Exception):
    """Raised when a server refuses a request because it is overloaded."""


@dataclass(frozen=True, kw_only=True)
class ClosedLoopJob:
    """The task of one generator process.

    Attributes:
        protocol: One of PROTOCOLS.
        url: `host:port`.
        clients: Number of clients, each with its own connection.
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
    """Turns queries into a request and reads replies."""

    @abstractmethod
    def wire(self, url: str) -> Wire:
        """Return the wire for a new connection to `host:port`."""

    @abstractmethod
    def message(self, queries: Sequence[str]) -> bytes:
        """Return a request, ready to send."""

    @abstractmethod
    def ids(self, reply: bytes) -> np.ndarray:
        """Return the product ids of a reply, (queries, TOP_K) int64."""


class Grpc(Protocol):
    """Triton's model `retrieve`, over gRPC.

    Args:
        timeout_s: Deadline of a request in seconds. The server hears of it as from `shopwindow_client`. None: no
            deadline.
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
    """POST /retrieve with JSON, over a connection that stays open."""

    def wire(self, url: str) -> JsonWire:
        return JsonWire(url, "/retrieve")

    def message(self, queries: Sequence[str]) -> bytes:
        return json.dumps({"queries": list(queries)}).encode()

    def ids(self, reply: bytes) -> np.ndarray:
        return np.array(json.loads(reply)["product_ids"], np.int64)


class NestedJson(Json):
    """The same as Json, but the reply is a list of JSON texts, one for each query."""

    def ids(self, reply: bytes) -> np.ndarray:
        return np.array([json.loads(text)["product_ids"][0] for text in json.loads(reply)], np.int64)


PROTOCOLS: dict[str, Protocol] = {"grpc": Grpc(), "http": Json(), "nested": NestedJson()}


class Connection:
    """A wire with its socket. The end of a `with` block closes it.

    Args:
        url: `host:port`.
        wire: The protocol.

    Raises:
        OSError: Nobody listens at that address.
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
        """Send a request and return its number."""
        number = self._wire.request(message)
        self.flush()
        return number

    def flush(self) -> None:
        """Send the bytes that the wire has ready."""
        if self._wire.out:
            self.socket.sendall(self._wire.out)
            self._wire.out.clear()

    def receive(self) -> list[Reply]:
        """Wait for bytes from the server and return the requests that ended with them.

        Raises:
            OSError: Nothing came for too long, or the connection is closed.
        """
        if not (data := self.socket.recv(2**18)):
            raise ConnectionError("the server closed the connection")
        replies = self._wire.receive(data)
        self.flush()
        return replies

    def call(self, message: bytes) -> bytes:
        """Send a request and return the message of its reply.

        Raises:
            Refused: The server is overloaded.
            ValueError: The reply is an error.
            OSError: See `receive`.
        """
        number = self.send(message)
        while True:
            for reply in self.receive():
                if reply.number == number:
                    return answer(reply)


def answer(reply: Reply) -> bytes:
    """Return the message of a reply; raise Refused, or ValueError for any other failure."""
    if reply.message is None:
        raise (Refused if reply.why.startswith(_REFUSALS) else ValueError)(reply.why)
    return reply.message


def batches(queries: Sequence[str], batch: int, zipf: float | None, seed: int) -> Iterator[list[str]]:
    """Yield batches of queries without end: in turn from a place that the seed picks, or drawn by their popularity."""
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
    """One client. It sends its next request when it has the answer to the last one.

    Args:
        job: The task.
        queries: The queries of the job.
        number: Number of this client.
    """

    def __init__(self, job: ClosedLoopJob, queries: Sequence[str], number: int) -> None:
        self._protocol = PROTOCOLS[job.protocol]
        # Its own connection, because real clients would not share one either.
        self.connection = Connection(job.url, self._protocol.wire(job.url))
        self._requests = batches(queries, job.batch, job.zipf, job.seed * 1000 + number)
        self.sent = 0.0

    def connect(self) -> None:
        """Send a request and wait for its answer or its refusal."""
        with suppress(Refused):
            self.connection.call(self._protocol.message(next(self._requests)))

    def send(self) -> None:
        """Send the next request."""
        message = self._protocol.message(next(self._requests))
        self.sent = time.monotonic()
        self.connection.send(message)


@dataclass
class GeneratorReport:
    """The report of a generator process.

    Attributes:
        latencies_ms: Of the requests answered within the window.
        refused: Number of requests refused within the window.
        failures: Other errors. If there is one, the measurement is worthless.
        cpu_s: CPU time of the process within the window.
    """

    latencies_ms: list[float] = field(default_factory=list)
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


def drive_clients(clients: Sequence[Client], start: float, end: float) -> GeneratorReport:
    """Send from now until `end`. Count answers and refusals from `start` on. Both times are of `time.monotonic`."""
    report = GeneratorReport()
    try:
        _drive(clients, start, end, report)
    except (OSError, ValueError) as error:
        report.failures.append(f"{type(error).__name__}: {error}")
    return report


def _drive(clients: Sequence[Client], start: float, end: float, report: GeneratorReport) -> None:
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
                        report.refused += start <= over < end
                        resting.append((over + _PAUSE_S, client))
                        continue
                    if start <= over < end:
                        report.latencies_ms.append(round((over - client.sent) * 1e3, 3))
                    if over < end:
                        send(client)
            now = time.monotonic()
            while resting and resting[0][0] <= now < end:
                send(resting.popleft()[1])
            if now >= start and cpu_began is None:
                cpu_began = time.process_time()
            if now < end:
                report.cpu_s = time.process_time() - (cpu_began or 0.0)
            if waiting and now - min(client.sent for client in waiting) > _TIMEOUT_S:
                raise TimeoutError(f"no answer within {_TIMEOUT_S:g} s")


def main() -> None:
    """Connect, say "ready", wait for the window, send, and print the report."""
    job = ClosedLoopJob(**json.loads(sys.stdin.readline()))
    queries = read_queries(Path(job.queries))
    report, clients = GeneratorReport(), list[Client]()
    try:
        for number in range(job.clients):
            clients.append(Client(job, queries, number))
            clients[-1].connect()
    except (OSError, ValueError) as error:
        report.failures.append(f"{type(error).__name__}: {error}")
    print("ready", flush=True)
    start, end = map(float, sys.stdin.readline().split())
    if not report.failures:
        report = drive_clients(clients, start, end)
    print(json.dumps(asdict(report)), flush=True)


def as_line(job: ClosedLoopJob) -> str:
    """Return a job as the line that a generator process reads."""
    return json.dumps(asdict(job)) + "\n"


if __name__ == "__main__":
    main()
