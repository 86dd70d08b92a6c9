"""The callers of the soak: they send requests at a steady rate and judge each reply."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from shopwindow_client import Product, RetrievalClient, ShopwindowError

# The client's replies lack the generation, but its errors are needed.
from shopwindow_client._values.errors import from_status
from shopwindow_loadtests.soak.catalogue import WORDS
from shopwindow_loadtests.soak.timeline import Timeline

CLIENTS = 8
TOP_K = 20
_TIMEOUT_S = 30.0
_PAUSE_S = 0.2  # between two requests with large photos
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

    Raises:
        Exception: At the end of the `with` statement, what ended a caller.
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
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._callers = [self._pool.submit(self._call, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._pool.shutdown()
        for caller in self._callers:
            caller.result()  # raises what ended the caller

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


class LargePhotos:
    """A caller that sends requests with two photos of 49 megapixels each, one after the other.

    Args:
        url: `host:port` of the server's gRPC endpoint.

    Attributes:
        answered: Number of replies.
        refused: Errors by their kinds. A server that is restarted, for example, answers none.
    """

    def __init__(self, url: str) -> None:
        self.answered = 0
        self.refused: Counter[str] = Counter()
        photo = io.BytesIO()
        Image.new("RGB", (7_000, 7_000), (200, 30, 60)).save(photo, "PNG")  # 143 KB to send, 147 MB to decode
        self._products = [Product(image=photo.getvalue())] * 2
        self._client = RetrievalClient(url, timeout_s=_TIMEOUT_S, retry=None)
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> LargePhotos:
        self._caller = self._pool.submit(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._pool.shutdown()
        self._client.close()
        self._caller.result()  # raises what ended the caller

    def _call(self) -> None:
        while not self._done.wait(_PAUSE_S):
            try:
                self._client.retrieve_similar(self._products, top_k=TOP_K)
                self.answered += 1
            except ShopwindowError as error:
                self.refused[type(error).__name__] += 1
