"""The callers of the soak: they send requests at a steady rate and judge each reply."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from shopwindow_client import ShopwindowError

# The client's replies lack the generation, but its errors are needed.
from shopwindow_client._values.errors import from_status
from shopwindow_loadtests.soak.catalogue import WORDS
from shopwindow_loadtests.soak.timeline import Timeline

CLIENTS = 8
TOP_K = 20
_TIMEOUT_S = 30.0
# Send a little faster than the rate. Otherwise the last request, which is not due yet, would pull the result below it.
_AHEAD = 1.01


@dataclass(frozen=True)
class Failure:
    """A request that was not answered.

    Attributes:
        at: When it ended, in seconds of `time.monotonic`.
        error: The error that a client sees.
    """

    at: float
    error: ShopwindowError


@dataclass
class Load:
    """Callers that together send `rate` requests per second, even if some of them are answered late.

    Args:
        url: `host:port` of the server's gRPC endpoint.
        rate: Requests per second.
        timeline: Judges the replies.

    Attributes:
        answered: Number of replies.
        seconds: Time of each request from when it was due until its reply.
        failures: The requests that were not answered.
        mixed: Number of replies that mix generations.
        gone: Number of replies with a product that was removed before they were asked for.
        shown: The products of the newest reply.
    """

    url: str
    rate: float
    timeline: Timeline
    answered: int = 0
    seconds: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mixed: int = 0
    gone: int = 0
    shown: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __enter__(self) -> Load:
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    @property
    def reached(self) -> float:
        """Answered requests per second since the start."""
        return self.answered / (time.monotonic() - self._began)

    def _call(self, number: int) -> None:
        rng = np.random.default_rng(number)
        due, step = time.monotonic() + number / self.rate, CLIENTS / (self.rate * _AHEAD)
        with InferenceServerClient(self.url) as client:
            while not self._done.wait(max(0.0, due - time.monotonic())):
                self._ask(client, " ".join(rng.choice(WORDS, 3)), due)
                due += step

    def _ask(self, client: InferenceServerClient, query: str, due: float) -> None:
        tensor = InferInput("query", [1, 1], "BYTES").set_data_from_numpy(np.array([[query.encode()]], dtype=object))
        place = self.timeline.place
        try:
            reply = client.infer("retrieve", [tensor], parameters={"top_k": TOP_K}, client_timeout=_TIMEOUT_S)
        except InferenceServerException as error:
            status = str(error.status()).rpartition(".")[2]
            seen = from_status(status, error.message(), url=self.url, model="retrieve", timeout_s=_TIMEOUT_S)
            with self._lock:
                self.failures.append(Failure(time.monotonic(), seen))
            return
        ended = time.monotonic()
        ids = reply.as_numpy("product_ids")[0]
        mixed, gone = self.timeline.judge(place, int(reply.as_numpy("generation")[0, 0]), ids)
        with self._lock:
            self.answered += 1
            self.seconds.append(ended - due)
            self.mixed += mixed
            self.gone += gone
            self.shown = ids
