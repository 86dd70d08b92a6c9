"""Every step in one process: the same steps as the served ensembles. The fused CPU models run this pipeline."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from shopwindow.retrieval.embedding.bundle import Bundle, calibration_of, towers_of
from shopwindow.retrieval.embedding.embedding_cache import EmbeddingCache
from shopwindow.retrieval.embedding.onnx_towers import OnnxProductTower, OnnxQueryTower
from shopwindow.retrieval.embedding.product_inputs import ProductBatch, ProductPreprocessor, concatenate
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder, clean_queries
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.opening import open_index
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.parameters import RequestParameters, parse_parameters
from shopwindow.retrieval.search.by_channels import ChannelRequest, check_channels, search_channels
from shopwindow.retrieval.search.exact import SearchResult
from shopwindow.retrieval.search.product_index import ProductIndex
from shopwindow.retrieval.stopwatch import Stopwatch

# Rows per call of the product tower. On a CPU a larger batch is no faster and takes more memory.
TOWER_ROWS = 64
# Rows per call of the query tower, of about the same length. A larger batch would lose more to padding than it gains.
QUERY_ROWS = 16
# Relative cost of a query: a new one (each character adds 1), one with a kept embedding, one with a kept result.
_NEW_QUERY, _SEARCH, _LOOK_UP = 60.0, 30.0, 3.0

QueryRequest = tuple[list[str], RequestParameters]
ProductRequest = tuple[ProductBatch, RequestParameters]


class InProcessPipeline:
    """Tokeniser, towers and index without a server.

    `prepare_*` check the input of one caller and raise InvalidRequest. `answer_*` compute the prepared requests of
    many callers together. `retrieve`, `retrieve_similar` and `embed_*` do both for one caller.

    A tower is read when it is first called, because most processes call only one of the two.

    Args:
        repository: an exported model repository. If the index folder holds its own towers, those are used instead.
        index: an index folder or an index home; None gives a pipeline that only embeds.
        threads: ONNX Runtime threads per tower.
        cached_queries: how many query embeddings to keep for queries that come again; 0 keeps none.
        cache_bytes: room for recent search results, kept until the index changes; 0 keeps none.
        query_rows: rows per call of the query tower.

    Attributes:
        cache: the kept query embeddings; None if none are kept.

    Raises:
        FileNotFoundError: the repository is incomplete.
        BundleUnfit: its files were not exported together.
        IndexUnfit: the index is unreadable, or other towers filled it.
    """

    def __init__(
        self,
        repository: Path,
        index: Path | None = None,
        *,
        threads: int = 1,
        cached_queries: int = 0,
        cache_bytes: int = 0,
        query_rows: int = QUERY_ROWS,
    ) -> None:
        self._repository = repository
        if index is not None:
            index = resolve_index(index)  # once, because another generation may be published meanwhile
            repository = towers_of(index, repository)
        self._layout = RepositoryLayout(repository)
        self._threads = threads
        self._query_rows = query_rows
        self._cache_bytes = cache_bytes
        self.bundle = Bundle.read(repository)
        self.bundle.check(repository)
        self._queries = TextEncoder.read(self._layout.query_tokenizer, self.bundle.query_max_tokens)
        titles = TextEncoder.read(self._layout.title_tokenizer, self.bundle.title_max_tokens)
        self.preprocessor = ProductPreprocessor(titles, self.bundle.image_size)
        self._index = self._open(index) if index else None
        self.cache = EmbeddingCache(cached_queries, self.bundle.embedding_dim) if cached_queries else None

    def with_index(self, index: Path) -> InProcessPipeline:
        """Return a pipeline over another index. It shares this pipeline's towers and cache.

        Args:
            index: an index folder or an index home that the same towers filled.

        Raises:
            IndexUnfit: the index is unreadable, or other towers filled it.
        """
        pipeline = copy.copy(self)
        pipeline._index = self._open(index, before=self._index)
        return pipeline

    def _open(self, index: Path, before: ProductIndex | None = None) -> ProductIndex:
        folder = resolve_index(index)
        return open_index(
            folder,
            tower_hash=self.bundle.tower_hash,
            before=before,
            cache_bytes=self._cache_bytes,
            calibration=calibration_of(folder, self._repository),
        )

    @cached_property
    def _query_tower(self) -> OnnxQueryTower:
        return OnnxQueryTower(self._layout.query_tower, self._threads)

    @cached_property
    def _product_tower(self) -> OnnxProductTower:
        return OnnxProductTower(self._layout.product_tower, self._threads)

    @property
    def index(self) -> ProductIndex:
        """The loaded index.

        Raises:
            ValueError: this pipeline was made without one.
        """
        if self._index is None:
            raise ValueError("index: this pipeline was made without an index folder")
        return self._index

    def prepare_parameters(self, values: Mapping[str, Any], *, words: bool = False) -> RequestParameters:
        """Check one request's parameters against the limits and this index's columns and channels.

        Args:
            values: name -> value.
            words: whether the request has queries. The lexical channel needs them.

        Raises:
            InvalidRequest: names field, limit and value.
            TowersDiffer: other towers made the caller's embeddings.
            GenerationGone: another generation is served than the request is pinned to.
        """
        parameters = parse_parameters(values)
        self.index.check_parameters(parameters)
        check_channels(self.index, parameters, words=words)
        return parameters

    def prepare_products(self, titles: Sequence[bytes | str], images: Sequence[bytes]) -> ProductBatch:
        """Check and preprocess one request's products; see `ProductPreprocessor.check_request`."""
        return self.preprocessor.check_request(titles, images).decoded()

    def answer_queries(self, requests: Sequence[QueryRequest]) -> list[SearchResult]:
        """Retrieve for several prepared requests at once. Each is answered as if it came alone."""
        embeddings = self.embed_requests(requests, Stopwatch())
        return search_channels(
            self.index, [ChannelRequest(part, *request) for part, request in zip(embeddings, requests, strict=True)]
        )

    def answer_products(self, requests: Sequence[ProductRequest]) -> list[SearchResult]:
        """Retrieve similar products for several prepared requests at once. Each is answered as if it came alone."""
        parts = self.embed_batches([batch for batch, _ in requests])
        pairs = zip(parts, requests, strict=True)
        return search_channels(self.index, [ChannelRequest(part, (), parameters) for part, (_, parameters) in pairs])

    def embed_requests(self, requests: Sequence[QueryRequest], watch: Stopwatch) -> list[np.ndarray]:
        """Embed the queries of several prepared requests together.

        Returns:
            (queries, dim) float32 for each request; (0, dim) if a request asks for the lexical channel alone.
        """
        encoded = [queries if Channel.EMBEDDING in parameters.channels else [] for queries, parameters in requests]
        return _split(self._encode([query for queries in encoded for query in queries], watch), list(map(len, encoded)))

    def costs_of_queries(self, queries: Sequence[str]) -> list[float]:
        """Return the relative cost of answering each query.

        A new query costs more with each character. A query with a kept embedding costs one search, or next to nothing
        if results are kept too.
        """
        if self.cache is None:
            return [_NEW_QUERY + len(query) for query in queries]
        known = _SEARCH if self.index.cache is None else _LOOK_UP
        return [known if self._key(query) in self.cache else _NEW_QUERY + len(query) for query in queries]

    def embed_batches(self, batches: Sequence[ProductBatch]) -> list[np.ndarray]:
        """Embed the prepared products of several requests together. Return (products, dim) float32 for each request."""
        embeddings, _ = self.embed_prepared(concatenate(batches))
        return _split(embeddings, [len(batch.pixels) for batch in batches])

    def retrieve(self, queries: Sequence[bytes | str], **parameters: Any) -> SearchResult:
        """Return products for shoppers' words.

        Args:
            queries: (batch) texts.
            **parameters: top_k, effort, filter, min_score, channels, fusion.

        Raises:
            InvalidRequest: names field, limit and value.
        """
        return self.answer_queries([(clean_queries(queries), self.prepare_parameters(parameters, words=True))])[0]

    def retrieve_similar(
        self, titles: Sequence[bytes | str], images: Sequence[bytes], **parameters: Any
    ) -> SearchResult:
        """Return products like the given ones.

        Args:
            titles: (batch) texts; empty means absent.
            images: (batch) encoded photos; empty means absent.
            **parameters: as `retrieve`, but only the embedding channel can be searched.

        Raises:
            InvalidRequest: names field, limit and value.
        """
        batch = self.prepare_products(titles, images)
        return self.answer_products([(batch, self.prepare_parameters(parameters))])[0]

    def embed_query(self, queries: Sequence[bytes | str]) -> np.ndarray:
        """Return query embeddings, (batch, dim) float32, L2-normalised."""
        return self._encode(clean_queries(queries), Stopwatch())

    def embed_product(self, titles: Sequence[bytes | str], images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return product embeddings (batch, dim) float32 and modality weights (batch, 2) float32 (title, image)."""
        return self.embed_prepared(self.prepare_products(titles, images))

    def _encode(self, queries: list[str], watch: Stopwatch) -> np.ndarray:
        if self.cache is None or not queries:
            return self._compute(queries, watch)
        keys = list(map(self._key, queries))
        return self.cache.embed(keys, lambda rows: self._compute([queries[row] for row in rows], watch))

    def _key(self, query: str) -> bytes:
        """Return the cache key of a query: a digest, because the cache holds many texts and some are long."""
        return blake2b(self._queries.key(query), digest_size=16).digest()

    def _compute(self, queries: list[str], watch: Stopwatch) -> np.ndarray:
        if not queries:
            return np.empty((0, self.bundle.embedding_dim), dtype=np.float32)
        ids, mask = self._queries.encode(queries)
        watch.lap("tokenise")
        embeddings = np.empty((len(ids), self.bundle.embedding_dim), dtype=np.float32)
        lengths = mask.sum(axis=1)
        by_length = np.argsort(lengths, kind="stable")
        for start in range(0, len(ids), self._query_rows):
            rows = by_length[start : start + self._query_rows]
            width = max(1, lengths[rows[-1]])
            embeddings[rows] = self._query_tower(ids[rows, :width], mask[rows, :width])
        watch.lap("tower")
        return embeddings

    def embed_prepared(self, batch: ProductBatch) -> tuple[np.ndarray, np.ndarray]:
        """Embed prepared products. Return the same as `embed_product`."""
        parts = [
            self._product_tower(batch[start : start + TOWER_ROWS]) for start in range(0, len(batch.pixels), TOWER_ROWS)
        ]
        return np.concatenate([embedding for embedding, _ in parts]), np.concatenate([weights for _, weights in parts])


def _split(rows: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Return consecutive parts of the given sizes."""
    return np.split(rows, np.cumsum(sizes)[:-1])
