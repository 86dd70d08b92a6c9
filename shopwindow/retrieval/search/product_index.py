"""The retrieval step: embeddings and request parameters in, product ids and scores out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.errors import InvalidRequest, TowersDiffer
from shopwindow.retrieval.index.folder import IndexFolder
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.product_keys import keys_of
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.filter_conditions import Filter
from shopwindow.retrieval.request.filter_rows import check_filter, filter_mask
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.exact import PAD_ID, PAD_SCORE, SearchResult, exact_search
from shopwindow.retrieval.search.result_cache import ResultCache

# If a filter leaves at most this many products, scoring all of them is faster than an approximate search, and exact.
EXACT_ROWS = 20_000
MASKS_KEPT = 64
MASK_BYTES = 64 * 2**20  # all kept masks together, in each serving process


class ProductIndex:
    """A loaded index that answers batches of requests with mixed parameters. Several threads may search.

    Args:
        folder: a loaded index folder.
        before: the index that is served now; its columns are reused if `folder` has the same ones.

    Attributes:
        cache: recent results; None if none are kept.
    """

    cache: ResultCache | None = None

    def __init__(self, folder: IndexFolder, before: ProductIndex | None = None) -> None:
        self.manifest = folder.manifest
        same = before is not None and before.folder is not None and folder.attributes is before.folder.attributes
        self._table: AttributeTable = (
            before._table if before is not None and same else AttributeTable(folder.attributes)
        )
        # Drop the attribute table, which no search needs. The titles are most of it.
        self._folder = folder if same else replace(folder, attributes=folder.attributes.select([]))
        self._vectors = folder.all_vectors
        self._masks: OrderedDict[Filter, RowMask] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def engine_description(self) -> str:
        """Which engine searches, where and how, as text for a log."""
        return self._folder.engine.description

    @property
    def folder(self) -> IndexFolder | None:
        """The index folder in memory, without its attributes; None if the products are in Milvus."""
        return self._folder

    @property
    def product_ids(self) -> np.ndarray:
        """(rows,) int64, in index order. Rows that `mask` leaves out may repeat ids."""
        return self._folder.product_ids

    def product_keys(self, result: SearchResult) -> np.ndarray:
        """Return the text ids of what was found, (batch, top_k) bytes objects in UTF-8; padded with empty ones.

        If the ids of the index are whole numbers, the result is (batch, 0).
        """
        keys = self._folder.product_keys
        return np.empty((len(result.rows), 0), np.object_) if keys is None else keys_of(keys, result.rows)

    @property
    def lexical(self) -> LexicalIndex | None:
        """The lexical channel, also in index order; None if the index has none."""
        return self._folder.lexical

    def check(self, embeddings: np.ndarray, parameters: RequestParameters) -> None:
        """Check embeddings and parameters of a request.

        Args:
            embeddings: must be (batch, dim) and finite.
            parameters: as in `check_parameters`.

        Raises:
            InvalidRequest: the embeddings do not fit this index, or as `check_parameters`.
            TowersDiffer: as `check_parameters`.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.manifest.dim:
            raise InvalidRequest("embedding", f"must be (batch, {self.manifest.dim}), got {embeddings.shape}")
        # If the sum of squares overflows, scores would be infinite.
        if not np.isfinite(np.einsum("ij,ij->i", embeddings, embeddings)).all():
            raise InvalidRequest("embedding", "must be finite with a finite norm, got NaN, infinity or huge values")
        self.check_parameters(parameters)

    def check_parameters(self, parameters: RequestParameters) -> None:
        """Check that this index can answer a request.

        Raises:
            InvalidRequest: the filter does not fit the columns of this index.
            TowersDiffer: other towers made the embeddings of the request.
        """
        if parameters.towers is not None and parameters.towers != self.manifest.tower_hash:
            raise TowersDiffer(parameters.towers, self.manifest.tower_hash)
        check_filter(parameters.filter, self._table)

    def search_batch(self, requests: Sequence[tuple[np.ndarray, RequestParameters]]) -> list[SearchResult]:
        """Answer several requests at once, each as if it came alone.

        Requests that agree in top_k, effort and filter are searched together.

        Args:
            requests: ((batch, dim) float32, parameters) pairs that `check` accepts.

        Returns:
            One result per request, in order.
        """
        groups: dict[tuple[int, int, Filter], list[int]] = {}
        for position, (_, parameters) in enumerate(requests):
            key = parameters.top_k, parameters.effort, parameters.filter
            groups.setdefault(key, []).append(position)
        results: list[SearchResult | None] = [None] * len(requests)
        for (top_k, effort, conditions), members in groups.items():
            queries = np.concatenate([requests[i][0] for i in members]).astype(np.float32, copy=False)
            scores, rows = self._search_cached(queries, top_k, effort, conditions)
            whole = self._result(scores, rows, None)  # for the whole group, because most requests have no min_score
            start = 0
            for i in members:
                part = slice(start, start + len(requests[i][0]))
                if (min_score := requests[i][1].min_score) is None:
                    results[i] = SearchResult(**{name: array[part] for name, array in vars(whole).items()})
                else:
                    results[i] = self._result(scores[part], rows[part], min_score)
                start = part.stop
        return [result for result in results if result is not None]

    def _search_cached(
        self, queries: np.ndarray, top_k: int, effort: int, conditions: Filter
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the same as `_search`, from the cache if possible."""
        if self.cache is None or not len(queries):
            return self._search(queries, top_k, effort, conditions)
        # Keys are digests, because a filter may be long and every request may have another one.
        settings = blake2b(repr((top_k, effort, conditions)).encode(), digest_size=16).digest()
        keys = [blake2b(query, digest_size=16, key=settings).digest() for query in queries]
        return self.cache.search(keys, lambda missing: self._search(queries[missing], top_k, effort, conditions))

    def _search(
        self, queries: np.ndarray, top_k: int, effort: int, conditions: Filter
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (batch, top_k) and row numbers (batch, top_k), padded with -inf and -1."""
        scores = np.full((len(queries), top_k), PAD_SCORE, dtype=np.float32)
        rows = np.full((len(queries), top_k), -1, dtype=np.int64)
        mask = self.mask(conditions)
        k = min(top_k, self.manifest.count if mask is None else mask.count)
        if k == 0 or len(queries) == 0:
            return scores, rows
        engine = self._folder.engine
        rare = bool(conditions) and mask is not None and mask.count <= EXACT_ROWS
        if rare or k > engine.largest_k:
            scores[:, :k], rows[:, :k] = self._exact(queries, k, mask)
            return scores, rows
        scores[:, :k], rows[:, :k] = search_rescored(engine, self._vectors, queries, k, effort, mask)
        # An approximate engine may stop before it has k rows although k exist. Search these queries exactly.
        short = np.flatnonzero((rows[:, :k] < 0).any(axis=1))
        if len(short):
            scores[short, :k], rows[short, :k] = self._exact(queries[short], k, mask)
        return scores, rows

    def _exact(self, queries: np.ndarray, k: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        if mask is None:
            candidates = np.arange(len(self._vectors))
        elif mask.count <= EXACT_ROWS:
            candidates = mask.numbers
        else:  # their numbers would take too much memory beside the mask
            candidates = np.flatnonzero(mask.rows)
        return exact_search(queries, self._vectors, candidates, k)

    def mask(self, conditions: Filter) -> RowMask | None:
        """Return the rows that are alive and satisfy a filter; None if these are all rows."""
        if not conditions:
            return self._folder.alive
        with self._lock:
            return self._mask(conditions)

    def _mask(self, conditions: Filter) -> RowMask:
        mask = self._masks.get(conditions)
        if mask is None:
            rows = filter_mask(conditions, self._table)
            if self._folder.alive is not None:
                rows &= self._folder.alive.rows
            mask = self._masks[conditions] = RowMask(rows)
            # A mask takes 9/8 bytes a row: a byte in `rows` and a bit in `bits`.
            if len(self._masks) > max(1, min(MASKS_KEPT, MASK_BYTES * 8 // (9 * max(1, len(rows))))):
                self._masks.popitem(last=False)
        self._masks.move_to_end(conditions)
        return mask

    def _result(self, scores: np.ndarray, rows: np.ndarray, min_score: float | None) -> SearchResult:
        keep = rows >= 0
        if min_score is not None:
            keep &= scores >= min_score
        ids = np.where(keep, self._folder.product_ids[rows], PAD_ID)
        channels = np.where(keep, np.int64(Channel.EMBEDDING), np.int64(0))
        return SearchResult(ids, np.where(keep, scores, np.float32(PAD_SCORE)), channels, np.where(keep, rows, -1))
