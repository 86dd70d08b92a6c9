"""A cheap closed-loop load generator: a process that sends ready-made messages from threads and reads no reply.

    python -m loadtests.bisect_generator        # a job as JSON on standard input, the counts as JSON on standard output

It speaks Triton's gRPC protocol (the messages are tritonclient's) and JSON over HTTP/1.1.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from loadtests.queries import ZipfSampler, read_queries
from serving.server import DIRECT

TOP_K = 100
QUEUE_FULL = "Exceeds maximum queue size"  # what Triton and our models say of it, as UNAVAILABLE
_TIMEOUT_S = 20.0
_AHEAD = 256  # queries drawn at a time
_PAUSE_S = 0.05  # a client that was refused must not turn into a busy loop


class Refused(Exception):
    """Raised when a server says that it has too much to do."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a generator process does.

    Attributes:
        protocol: Of SENDERS.
        url: `host:port`.
        clients: Threads.
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


class Sender(ABC):
    """One client's connection."""

    @abstractmethod
    def message(self, queries: Sequence[str]) -> bytes:
        """A request, ready to be sent."""

    @abstractmethod
    def send(self, message: bytes) -> bytes:
        """Send it and return the reply unread; raises Refused, or another exception for anything but an answer."""

    @abstractmethod
    def ids(self, reply: bytes) -> np.ndarray:
        """(queries, TOP_K) int64 product ids of a reply."""


class GrpcSender(Sender):
    """Triton's model `retrieve`, over gRPC."""

    def __init__(self, url: str) -> None:
        # A connection of its own: clients elsewhere would not share one either.
        options = [*DIRECT, ("grpc.use_local_subchannel_pool", 1)]
        self._call = grpc.insecure_channel(url, options).unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def message(self, queries: Sequence[str], timeout_us: int | None = None) -> bytes:
        """As ever, and with the deadline in microseconds, as `shopwindow_client` tells the server of it."""
        request = service_pb2.ModelInferRequest(model_name="retrieve")
        tensor = request.inputs.add(name="query", datatype="BYTES", shape=[len(queries), 1])
        assert tensor is not None
        texts = [query.encode() for query in queries]
        request.raw_input_contents.append(b"".join(len(text).to_bytes(4, "little") + text for text in texts))
        request.outputs.add(name="product_ids")
        request.outputs.add(name="scores")
        request.parameters["top_k"].int64_param = TOP_K
        if timeout_us is not None:
            request.parameters["timeout"].int64_param = timeout_us
        data: bytes = request.SerializeToString()
        return data

    def send(self, message: bytes) -> bytes:
        try:
            reply: bytes = self._call(message, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and str(error.details()).startswith(QUEUE_FULL):
                raise Refused(error.details()) from error
            raise
        return reply

    def ids(self, reply: bytes) -> np.ndarray:
        response = service_pb2.ModelInferResponse.FromString(reply)
        names = [output.name for output in response.outputs]
        raw = response.raw_output_contents[names.index("product_ids")]
        return np.frombuffer(raw, np.int64).reshape(-1, TOP_K)


class HttpSender(Sender):
    """POST /retrieve with JSON, over a connection that is kept."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(url, timeout=_TIMEOUT_S)

    def message(self, queries: Sequence[str]) -> bytes:
        return json.dumps({"queries": list(queries)}).encode()

    def send(self, message: bytes) -> bytes:
        self._connection.request("POST", "/retrieve", message, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        reply = response.read()
        if response.status != 200:
            refused = response.status in (429, 503)
            raise (Refused if refused else ValueError)(f"HTTP status {response.status}: {reply[:200]!r}")
        return reply

    def ids(self, reply: bytes) -> np.ndarray:
        return np.array(json.loads(reply)["product_ids"], np.int64)


class NestedSender(HttpSender):
    """As HttpSender, where the reply is a list of JSON texts, one a query."""

    def ids(self, reply: bytes) -> np.ndarray:
        return np.array([json.loads(text)["product_ids"][0] for text in json.loads(reply)], np.int64)


SENDERS: dict[str, type[HttpSender | GrpcSender]] = {"grpc": GrpcSender, "http": HttpSender, "nested": NestedSender}


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


class Client(threading.Thread):
    """One client, which sends from the start signal on until the end of the window.

    Args:
        job: What to send.
        queries: Of the job.
        number: Which client.
    """

    def __init__(self, job: Job, queries: Sequence[str], number: int) -> None:
        super().__init__(daemon=True)
        self.latencies_ms: list[float] = []
        self.refused = 0
        self.failures: list[str] = []
        self.connected, self._begun = threading.Event(), threading.Event()
        self._sender = SENDERS[job.protocol](job.url)
        self._requests = batches(queries, job.batch, job.zipf, job.seed * 1000 + number)
        self._window = (0.0, 0.0)
        self.start()

    def begin(self, start: float, end: float) -> None:
        """Send until `end`; count what was answered or refused after `start`. Both by `time.monotonic`."""
        self._window = (start, end)
        self._begun.set()

    def run(self) -> None:
        try:
            self._answered()  # opens the connection
            self.connected.set()
            self._begun.wait()
            start, end = self._window
            while (sent := time.monotonic()) < end:
                answered = self._answered()
                over = time.monotonic()
                if start <= over < end and answered:
                    self.latencies_ms.append((over - sent) * 1e3)
                elif start <= over < end:
                    self.refused += 1
                if not answered:
                    time.sleep(_PAUSE_S)
        except Exception as error:  # whatever it is, the measurement is worth nothing then
            self.failures.append(f"{type(error).__name__}: {error}")
            self.connected.set()

    def _answered(self) -> bool:
        """Send the next request; False where it was refused."""
        try:
            self._sender.send(self._sender.message(next(self._requests)))
        except Refused:
            return False
        return True


def main() -> None:
    """Connect, say so, wait for the window, send, and print what came of it."""
    job = Job(**json.loads(sys.stdin.readline()))
    queries = read_queries(Path(job.queries))
    clients = [Client(job, queries, number) for number in range(job.clients)]
    for client in clients:
        client.connected.wait()
    print("ready", flush=True)
    start, end = map(float, sys.stdin.readline().split())
    for client in clients:
        client.begin(start, end)
    time.sleep(max(0.0, start - time.monotonic()))
    before = time.process_time()
    time.sleep(max(0.0, end - time.monotonic()))
    cpu_s = time.process_time() - before
    for client in clients:
        client.join()
    latencies = [round(latency, 3) for client in clients for latency in client.latencies_ms]
    failures = [failure for client in clients for failure in client.failures]
    refused = sum(client.refused for client in clients)
    found = {"latencies_ms": latencies, "refused": refused, "failures": failures, "cpu_s": cpu_s}
    print(json.dumps(found), flush=True)


def as_line(job: Job) -> str:
    """The line of standard input that is a job."""
    return json.dumps(asdict(job)) + "\n"


if __name__ == "__main__":
    main()
