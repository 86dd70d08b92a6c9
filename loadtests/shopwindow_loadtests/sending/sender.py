"""Draws requests from a mix, sends them, and says what came of it. Knows nothing of Locust."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shopwindow_client import Product, Results, RetrievalClient, ShopwindowError
from shopwindow_loadtests.judging.samples import HARNESS, Sample
from shopwindow_loadtests.scenario.mix import Mix, Request
from shopwindow_loadtests.scenario.queries import ZipfSampler, read_queries
from shopwindow_loadtests.scenario.truth import ExactAnswers

_PRODUCTS = 2000  # photos are held in memory
_EPOCH = time.time() - time.perf_counter()


def now() -> float:
    """Seconds since the epoch, by a clock that is never set back."""
    return _EPOCH + time.perf_counter()


class Drawn(NamedTuple):
    """A request with what it asks about: texts for the kind `text`, products for the others."""

    request: Request
    texts: list[str]
    products: list[Product]

    def send(self, client: RetrievalClient) -> Results:
        """Ask the server."""
        request = self.request
        if request.kind == "text":
            return client.retrieve(self.texts, top_k=request.top_k, effort=request.effort, filter=request.filter)
        return client.retrieve_similar(self.products, top_k=request.top_k, effort=request.effort, filter=request.filter)


class Traffic:
    """An endless stream of requests; the same seed gives the same one.

    Args:
        mix: What to draw from.
        seed: Of the draws.
    """

    def __init__(self, mix: Mix, seed: int) -> None:
        weights = np.array([request.weight for request in mix.requests], dtype=np.float64)
        self._requests = mix.requests
        self._shares = weights / weights.sum()
        self._random = np.random.default_rng(seed)
        kinds = {request.kind for request in mix.requests}
        if kinds & {"text", "composed"} and mix.queries is not None:
            self._words = ZipfSampler(read_queries(mix.queries), exponent=mix.zipf, seed=seed)
        if kinds & {"similar", "composed"} and mix.products is not None:
            self._products = read_products(mix.products)
            ranks = [str(row) for row in range(len(self._products))]
            self._product_rows = ZipfSampler(ranks, exponent=mix.zipf, seed=seed)

    def draw(self) -> Drawn:
        """The next request."""
        request = self._requests[self._random.choice(len(self._requests), p=self._shares)]
        if request.kind == "text":
            return Drawn(request, self._words.draw(request.batch), [])
        products = [self._products[int(row)] for row in self._product_rows.draw(request.batch)]
        if request.kind == "composed":
            words = self._words.draw(request.batch)
            products = [Product(text, product.image) for text, product in zip(words, products, strict=True)]
        else:  # the photo alone asks more of the server than a title does
            products = [Product(None, one.image) if one.image else one for one in products]
        return Drawn(request, [], products)


def read_products(path: Path) -> list[Product]:
    """The first products of a parquet file with the columns title and image.

    Raises:
        ValueError: It has neither, or no product with one of them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [name for name in ("title", "image") if name in pq.read_schema(path).names]
    if not columns:
        raise ValueError(f"{path} must have a column 'title' or 'image'")
    batches = pq.ParquetFile(path).iter_batches(_PRODUCTS, columns=columns)
    rows = pa.Table.from_batches([next(batches)]).to_pylist()
    products = [Product(row.get("title"), row.get("image")) for row in rows if row.get("title") or row.get("image")]
    if not products:
        raise ValueError(f"{path} holds no product with a title or an image")
    return products


def send(
    drawn: Drawn,
    client: RetrievalClient,
    *,
    due: float | None,
    answers: ExactAnswers | None,
    worker: int,
) -> Sample:
    """Send one request.

    Args:
        drawn: The request.
        client: Sends it; without retries, which would hide failures.
        due: When it should be sent, seconds since the epoch; its latency counts from then. None is now.
        answers: To measure recall with.
        worker: Number of this process.
    """
    sent = now()
    start = sent if due is None else due
    error, found = "", None
    try:
        found = drawn.send(client)
    except ShopwindowError as caught:
        error = type(caught).__name__
    except Exception as caught:  # not the server's fault: the test is worth nothing then, and has to say so
        error = f"{HARNESS}{type(caught).__name__}: {caught}"
    ended = now()
    recall = float("nan")
    if found is not None and answers is not None and drawn.texts:
        recall = answers.recall(drawn.request.filter_json, drawn.texts, found.ids)
    return Sample(
        start_s=start,
        late_ms=(sent - start) * 1000,
        latency_ms=(ended - start) * 1000,
        name=drawn.request.name,
        queries=drawn.request.batch,
        error=error,
        recall=recall,
        worker=worker,
    )
