"""Draws requests from a mix, sends them and records the outcome. Does not depend on Locust."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shopwindow_client import Product, Results, RetrievalClient, ShopwindowError
from shopwindow_loadtests.judging.samples import HARNESS, Sample
from shopwindow_loadtests.scenario.mix import Mix, Request
from shopwindow_loadtests.scenario.queries import ZipfSampler
from shopwindow_loadtests.scenario.truth import ExactAnswers

_PRODUCTS = 2000  # at most, because their photos are held in memory
_EPOCH = time.time() - time.perf_counter()


def now() -> float:
    """Return the seconds since the epoch, by a clock that never goes back."""
    return _EPOCH + time.perf_counter()


class Drawn(NamedTuple):
    """A request with its content: texts for the kind `text`, products for the others."""

    request: Request
    texts: list[str]
    products: list[Product]

    def send(self, client: RetrievalClient) -> Results:
        """Send the request to the server."""
        request = self.request
        if request.kind == "text":
            return client.retrieve(self.texts, top_k=request.top_k, effort=request.effort, filter=request.filter)
        return client.retrieve_similar(self.products, top_k=request.top_k, effort=request.effort, filter=request.filter)


class Traffic:
    """An endless stream of requests. The same seed gives the same stream.

    Args:
        mix: The requests to draw from.
        seed: Of the draws.
    """

    def __init__(self, mix: Mix, seed: int) -> None:
        weights = np.array([request.weight for request in mix.requests], dtype=np.float64)
        self._requests = mix.requests
        self._shares = weights / weights.sum()
        self._random = np.random.default_rng(seed)
        kinds = {request.kind for request in mix.requests}
        if kinds & {"text", "composed"} and mix.queries is not None:
            self._words = ZipfSampler(mix.texts(), exponent=mix.zipf, seed=seed)
        if kinds & {"similar", "composed"} and mix.products is not None:
            self._products = read_products(mix.products)
            ranks = [str(row) for row in range(len(self._products))]
            self._product_rows = ZipfSampler(ranks, exponent=mix.zipf, seed=seed)

    def draw(self) -> Drawn:
        """Return the next request."""
        request = self._requests[self._random.choice(len(self._requests), p=self._shares)]
        if request.kind == "text":
            return Drawn(request, self._words.draw(request.batch), [])
        products = [self._products[int(row)] for row in self._product_rows.draw(request.batch)]
        if request.kind == "composed":
            words = self._words.draw(request.batch)
            products = [Product(text, product.image) for text, product in zip(words, products, strict=True)]
        else:  # a photo alone costs the server more than a title
            products = [Product(None, one.image) if one.image else one for one in products]
        return Drawn(request, [], products)


def read_products(path: Path) -> list[Product]:
    """Return the first products of a parquet file with the columns title and image.

    Raises:
        ValueError: The file is no parquet file, has neither column, has photos that are not bytes, or has no product
            with a title or an image.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shopwindow.towers.data.training_data import photo_of

    if path.is_dir():
        raise ValueError(f"{path} is a folder; give one parquet file")
    try:
        names = pq.read_schema(path).names
        columns = [name for name in ("title", "image") if name in names]
        if not columns:
            raise ValueError(f"{path} must have a column 'title' or 'image', it has {', '.join(names)}")
        batches = pq.ParquetFile(path).iter_batches(_PRODUCTS, columns=columns)
        rows = [row for batch in itertools.islice(batches, 1) for row in batch.to_pylist()]
    except pa.ArrowException as error:
        raise ValueError(f"{path} must be a parquet file: {str(error).splitlines()[0]}") from error
    found = [(row.get("title"), photo_of(row.get("image"))) for row in rows]
    products = [Product(title, image) for title, image in found if title or image]
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
        client: Sends the request. It must not retry, because that would hide failures.
        due: When to send, in seconds since the epoch. The latency counts from then. None is now.
        answers: The exact answers, to measure recall; None measures none.
        worker: Number of this process.
    """
    sent = now()
    start = sent if due is None else due
    error, found = "", None
    try:
        found = drawn.send(client)
    except ShopwindowError as caught:
        error = type(caught).__name__
    except Exception as caught:  # not the server's fault: the test is worthless and has to say so
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
