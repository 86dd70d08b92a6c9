"""Turn a catalogue's rows into vectors, with the towers in this process or with those of a running server."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from shopwindow.base.machine import usable_cores
from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows, prepare
from shopwindow.indexing.errors import IndexingError
from shopwindow.indexing.full_build.several_photos import Embedder, embed_products
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline
from shopwindow_client import InvalidRequest, Product, RetrievalClient

# The number of the server's cores is not known here. Requests that it cannot answer at once wait in its queue.
SERVER_REQUESTS = 8
SERVER_TIMEOUT_S = 120.0
MOST_HELD = 512 * 2**20  # bytes of photos that wait, unless a single batch has more
PROBE = "red cotton t-shirt"
PROBE_DISTANCE = 1e-3
ADVICE = "index with the repository that the server serves, or leave out --server"


@dataclass(frozen=True, kw_only=True)
class EmbeddedRows:
    """Rows of a catalogue, with their vectors or the reasons for refusing them.

    Attributes:
        rows: the rows, without titles and photos, which memory need not hold any longer.
        refused: position -> reason, of the rows that were refused after reading.
        unread: position -> reason, of the embedded rows that lack photos because these cannot be read.
        positions: (embedded,) int64, the positions of the embedded rows in rising order.
        vectors: (embedded, dim) float32.
        content: (embedded,) uint64, see `shopwindow.retrieval.embedding.content_hash`.
    """

    rows: CatalogRows
    refused: dict[int, str]
    unread: dict[int, str]
    positions: np.ndarray
    vectors: np.ndarray
    content: np.ndarray


class LocalEmbedder:
    """Embeds with the towers in this process. Each core has a thread, which prepares and embeds its own rows.

    The threads run at the same time, because ONNX Runtime and Pillow's decoders release Python's interpreter lock.

    Args:
        pipeline: the towers, with one thread each.
    """

    def __init__(self, pipeline: InProcessPipeline) -> None:
        self.workers = usable_cores()
        self.photos = pipeline.bundle.photos_per_product
        self._pipeline = pipeline

    def __call__(self, titles: Sequence[str], images: Sequence[bytes]) -> tuple[np.ndarray, dict[int, str]]:
        """See `Embedder`."""
        batch, refused = prepare(titles, images, self._pipeline.preprocessor)
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
        self.photos = pipeline.bundle.photos_per_product
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

    def __call__(self, titles: Sequence[str], images: Sequence[bytes]) -> tuple[np.ndarray, dict[int, str]]:
        """See `Embedder`."""
        refused: dict[int, str] = {}
        products = [
            Product(title=title or None, image=image or None) for title, image in zip(titles, images, strict=True)
        ]
        vectors = self._embed(products, list(range(len(products))), refused)
        return np.concatenate([np.empty((0, self._dim), np.float32), *vectors]), refused

    def _embed(self, products: list[Product], places: list[int], refused: dict[int, str]) -> list[np.ndarray]:
        if not places:
            return []
        try:
            return [self._client.embed_product([products[place] for place in places]).embeddings]
        except InvalidRequest as error:
            if error.position is None and len(places) > 1:  # the error names no row: try halves, down to one row
                half = len(places) // 2
                return self._embed(products, places[:half], refused) + self._embed(products, places[half:], refused)
            wrong = places[error.position or 0]
            refused[wrong] = re.sub(r"\[\d+\]", "", str(error))
            return self._embed(products, [place for place in places if place != wrong], refused)


def embed_rows(rows: CatalogRows, embedder: Embedder) -> EmbeddedRows:
    """Embed the usable rows."""
    usable = rows.usable
    found = embed_products(
        [rows.titles[i] for i in usable], [rows.photos[i] for i in usable], embedder, photo_needed=rows.photo_needed
    )
    return EmbeddedRows(
        rows=replace(rows, titles=[], photos=[]),
        refused={usable[place]: reason for place, reason in found.refused.items()},
        unread={usable[place]: reason for place, reason in found.unread.items()},
        positions=np.array(usable, dtype=np.int64)[found.places],
        vectors=found.vectors,
        content=found.content,
    )


def embed_in_order(catalog: Catalog, embedder: Embedder, start: int) -> Iterator[EmbeddedRows]:
    """Embed a catalogue from row `start` on, in order. The next few rows are read while others are embedded."""
    waiting: deque[tuple[Future[EmbeddedRows], int]] = deque()
    held = 0  # bytes of photos
    pool = ThreadPoolExecutor(embedder.workers, thread_name_prefix="embed")
    try:
        for rows in catalog.read(TOWER_ROWS, start, photos=embedder.photos):
            size = sum(len(photo) for some in rows.photos for photo in some if isinstance(photo, bytes))
            waiting.append((pool.submit(embed_rows, rows, embedder), size))
            held += size
            while len(waiting) > 2 * embedder.workers or (held > MOST_HELD and len(waiting) > 1):
                future, size = waiting.popleft()
                held -= size
                yield future.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
