"""Turn a catalogue's rows into vectors, with the towers in this process or with those of a running server."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shopwindow.base.machine import usable_cores
from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows, prepare
from shopwindow.indexing.errors import IndexingError
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline
from shopwindow_client import InvalidRequest, Product, RetrievalClient

# The number of the server's cores is not known here. Requests that it cannot answer at once wait in its queue.
SERVER_REQUESTS = 8
SERVER_TIMEOUT_S = 120.0
PROBE = "red cotton t-shirt"
PROBE_DISTANCE = 1e-3
ADVICE = "index with the repository that the server serves, or leave out --server"


@dataclass(frozen=True, kw_only=True)
class EmbeddedRows:
    """Rows of a catalogue, with their vectors or the reasons for refusing them.

    Attributes:
        rows: the rows.
        refused: position -> reason, of the rows that were refused after reading.
        positions: (embedded,) int64, the positions of the embedded rows in rising order.
        vectors: (embedded, dim) float32.
        content: (embedded,) uint64, see `shopwindow.retrieval.embedding.content_hash`.
    """

    rows: CatalogRows
    refused: dict[int, str]
    positions: np.ndarray
    vectors: np.ndarray
    content: np.ndarray


class Embedder(Protocol):
    """Embeds rows. Several threads call it at once.

    Attributes:
        workers: number of threads that keep it busy.
    """

    workers: int

    def __call__(self, rows: CatalogRows) -> tuple[np.ndarray, dict[int, str]]:
        """Return vectors (embedded, dim) float32 of the usable rows, and position -> reason of the rows it refuses."""
        ...


class LocalEmbedder:
    """Embeds with the towers in this process. Each core has a thread, which prepares and embeds its own rows.

    The threads run at the same time, because ONNX Runtime and Pillow's decoders release Python's interpreter lock.

    Args:
        pipeline: the towers, with one thread each.
    """

    def __init__(self, pipeline: InProcessPipeline) -> None:
        self.workers = usable_cores()
        self._pipeline = pipeline

    def __call__(self, rows: CatalogRows) -> tuple[np.ndarray, dict[int, str]]:
        """See `Embedder`."""
        batch, refused = prepare(rows, self._pipeline.preprocessor)
        if batch is None:
            return np.empty((0, self._pipeline.bundle.embedding_dim), np.float32), refused
        return self._pipeline.embed_prepared(batch)[0], refused


class ServerEmbedder:
    """Embeds with the model `embed_product` of a running server, with several requests in flight.

    Args:
        url: host:port of the server's gRPC endpoint.
        pipeline: the towers of the repository that the index will belong to.

    Raises:
        IndexingError: the server runs other towers.
        ShopwindowError: the client cannot reach the server.
    """

    workers = SERVER_REQUESTS

    def __init__(self, url: str, pipeline: InProcessPipeline) -> None:
        self._url = url
        self._dim = pipeline.bundle.embedding_dim
        self._client = RetrievalClient(url, timeout_s=SERVER_TIMEOUT_S, max_concurrent=SERVER_REQUESTS)
        self._towers = pipeline.bundle.tower_hash
        self._probe = pipeline.embed_product([PROBE], [b""])[0]
        served = self._client.info().tower_hash
        if served is not None and served != self._towers:
            raise IndexingError(
                f"server: {url} runs towers {served[:12]}, the repository has towers {self._towers[:12]}: {ADVICE}"
            )
        self.check()

    def check(self) -> None:
        """Check one embedding against the repository's towers. The server may switch to other towers at any time.

        Raises:
            IndexingError: the server's embedding is another one.
        """
        # The hash that the server reports is not enough: it may report none, or may since have switched to the towers
        # that an index carries.
        theirs = self._client.embed_product(title=PROBE).embeddings
        far = float(np.abs(theirs - self._probe).max()) if theirs.shape == self._probe.shape else np.inf
        if not far <= PROBE_DISTANCE:
            raise IndexingError(
                f"server: {self._url} embeds {PROBE!r} differently from the repository's towers {self._towers[:12]} "
                f"(by {far:.2g}, at most {PROBE_DISTANCE} is allowed): the server runs other towers; {ADVICE}"
            )

    def __call__(self, rows: CatalogRows) -> tuple[np.ndarray, dict[int, str]]:
        """See `Embedder`."""
        refused: dict[int, str] = {}
        vectors = self._embed(rows, rows.usable, refused)
        return np.concatenate([np.empty((0, self._dim), np.float32), *vectors]), refused

    def _embed(self, rows: CatalogRows, positions: list[int], refused: dict[int, str]) -> list[np.ndarray]:
        if not positions:
            return []
        try:
            products = [Product(title=rows.titles[i] or None, image=rows.images[i] or None) for i in positions]
            return [self._client.embed_product(products).embeddings]
        except InvalidRequest as error:
            if error.position is None and len(positions) > 1:  # the error names no row: try halves, down to one row
                half = len(positions) // 2
                return self._embed(rows, positions[:half], refused) + self._embed(rows, positions[half:], refused)
            wrong = positions[error.position or 0]
            refused[wrong] = re.sub(r"\[\d+\]", "", str(error))
            return self._embed(rows, [position for position in positions if position != wrong], refused)


def embed_rows(rows: CatalogRows, embedder: Embedder) -> EmbeddedRows:
    """Embed the usable rows."""
    vectors, refused = embedder(rows)
    positions = [position for position in rows.usable if position not in refused]
    return EmbeddedRows(
        rows=rows,
        refused=refused,
        positions=np.array(positions, dtype=np.int64),
        vectors=vectors,
        content=np.array([content_hash(rows.titles[i], rows.images[i]) for i in positions], dtype=np.uint64),
    )


def embed_in_order(catalog: Catalog, embedder: Embedder, start: int) -> Iterator[EmbeddedRows]:
    """Embed a catalogue from row `start` on, in order. The next few rows are read while others are embedded."""
    waiting: deque[Future[EmbeddedRows]] = deque()
    pool = ThreadPoolExecutor(embedder.workers, thread_name_prefix="embed")
    try:
        for rows in catalog.read(TOWER_ROWS, start):
            waiting.append(pool.submit(embed_rows, rows, embedder))
            if len(waiting) > 2 * embedder.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
