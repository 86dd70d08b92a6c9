"""Innocent callers beside the fuzzer. Their answers must not change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from random import Random

import numpy as np

from shopwindow_client import QueueTimeout, Results, RetrievalClient, ServerOverloaded, ShopwindowError
from shopwindow_loadtests.fuzz.requests.photos import sound

CALLERS = 2
TOLERANCE = 1e-5  # of a score; the rounding of float32 depends on the other requests of the batch
_TIMEOUT_S = 30.0
_PAUSE_S = 0.01
_TOP_K = 20
_PHOTOS = 6
_QUERIES = ("red dress", "navy trainers", "wooden chair", "blue mug", "leather bag", "lamp", "floral scarf", "toy car")
Ask = Callable[[RetrievalClient], Results]


@dataclass
class Neighbours:
    """Callers that compare every answer with the one that they got before the fuzzer began.

    Args:
        url: `host:port` of the gRPC endpoint.
        complain: Called with what was wrong.

    Attributes:
        compared: Number of answers that were compared.
        refused: Number of requests that the server refused because it was overloaded.
    """

    url: str
    complain: Callable[[str], None]
    compared: int = 0
    refused: int = 0
    _expected: dict[str, tuple[Ask, Results]] = field(default_factory=dict)

    def __enter__(self) -> Neighbours:
        with RetrievalClient(self.url, timeout_s=_TIMEOUT_S) as client:
            self._expected = {name: (ask, ask(client)) for name, ask in _requests().items()}
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._runs = [self._pool.submit(self._run, number) for number in range(CALLERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._pool.shutdown()
        for run in self._runs:
            run.result()  # a fault of their own ends the run

    def _run(self, number: int) -> None:
        rng = Random(number)
        with RetrievalClient(self.url, timeout_s=_TIMEOUT_S, retry=None) as client:
            while not self._done.wait(_PAUSE_S):
                name = rng.choice(list(self._expected))
                ask, expected = self._expected[name]
                try:
                    found = ask(client)
                except (ServerOverloaded, QueueTimeout):
                    with self._lock:
                        self.refused += 1
                    time.sleep(0.1)
                    continue
                except ShopwindowError as error:
                    self.complain(f"{type(error).__name__}: {error} ({name})")
                    time.sleep(0.5)
                    continue
                with self._lock:
                    self.compared += 1
                if difference := _difference(found, expected):
                    self.complain(f"{difference} ({name})")


def _requests() -> dict[str, Ask]:
    """Return requests to every model that callers use, by name."""
    asks: dict[str, Ask] = {}
    for query in _QUERIES:
        asks[f"retrieve {query!r}"] = partial(_retrieve, query=query)
        asks[f"retrieve {query!r}, both channels"] = partial(_retrieve, query=query, channels="embedding,lexical")
        asks[f"retrieve_similar {query!r}"] = partial(_retrieve_similar, title=query)
        asks[f"embed_query and product_index {query!r}"] = partial(_embed_and_search, query=query)
    for number in range(_PHOTOS):
        _, photo = sound(Random(number))
        asks[f"retrieve_similar by photo {number}"] = partial(_retrieve_similar, title="red", image=photo)
    return asks


def _retrieve(client: RetrievalClient, query: str, channels: str | None = None) -> Results:
    return client.retrieve(query, channels=channels, top_k=_TOP_K)


def _retrieve_similar(client: RetrievalClient, title: str, image: bytes | None = None) -> Results:
    return client.retrieve_similar(title=title, image=image, top_k=_TOP_K)


def _embed_and_search(client: RetrievalClient, query: str) -> Results:
    return client.retrieve_by_embedding(client.embed_query(query), top_k=_TOP_K)


def _difference(found: Results, expected: Results) -> str:
    """Return how two answers differ by more than rounding; empty if they do not."""
    if found.ids.shape != expected.ids.shape:
        return f"shape {found.ids.shape}, expected {expected.ids.shape}"
    if not np.allclose(found.scores, expected.scores, rtol=0, atol=TOLERANCE):
        return f"scores {found.scores[0, :3]}, expected {expected.scores[0, :3]}"
    for row, column in np.argwhere(found.ids != expected.ids):
        # Products may change places only where their scores are as good as equal.
        product = found.ids[row, column]
        places = np.flatnonzero(expected.ids[row] == product)
        score = expected.scores[row, places[0] if len(places) else -1]
        if abs(score - found.scores[row, column]) > 2 * TOLERANCE:
            return f"product {product} at place {column}, expected {expected.ids[row, column]}"
    return ""
