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
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.filter_reading import Filter, check_filter, filter_mask
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.exact import PAD_ID, PAD_SCORE, SearchResult, exact_search
from shopwindow.retrieval.search.result_cache import ResultCache

# With at most this many products left by a filter, scoring them all is faster than making an approximate engine
# hunt for them, and exact.
EXACT_ROWS = 20_000
MASKS_KEPT = 64
MASK_BYTES = 64 * 2**20  # of all kept masks together, in each serving process


class ProductIndex:
    """A loaded index that answers batches of requests with mixed parameters. Several threads may search.

    Args:
        folder: a loaded index folder.
        before: the index that is served until now; what is the same of its columns is taken over.

    Attributes:
        cache: what was found lately; None without.
    """

    cache: ResultCache | None = None

    def __init__(self, folder: IndexFolder, before: ProductIndex | None = None) -> None:
        self.manifest = folder.manifest
        same = before is not None and before.folder is not None and folder.attributes is before.folder.attributes
        self._table: AttributeTable = (
            before._table if before is not None and same else AttributeTable(folder.attributes)
        )
        # Without what no search needs: the titles are most of it.
        self._folder = folder if same else replace(folder, attributes=folder.attributes.select([]))
        self._vectors = folder.all_vectors
        self._masks: OrderedDict[Filter, RowMask] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def engine_description(self) -> str:
        """Which engine searches, where and how, for a log."""
        return self._folder.engine.description

    @property
    def folder(self) -> IndexFolder | None:
        """What is searched, without its attributes; None where the products live elsewhere."""
        return self._folder

    @property
    def product_ids(self) -> np.ndarray:
        """(rows,) int64, in index order; rows that `mask` leaves out may repeat others."""
        return self._folder.product_ids

    @property
    def lexical(self) -> LexicalIndex | None:
        """The lexical channel, in index order too; None where the folder has none."""
        return self._folder.lexical

    def check(self, embeddings: np.ndarray, parameters: RequestParameters) -> None:
        """As `check_parameters`, and raise InvalidRequest when these are no embeddings for this index."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.manifest.dim:
            raise InvalidRequest("embedding", f"must be (batch, {self.manifest.dim}), got {embeddings.shape}")
        # A sum of squares that overflows would give infinite scores.
        if not np.isfinite(np.einsum("ij,ij->i", embeddings, embeddings)).all():
            raise InvalidRequest("embedding", "must be finite with a finite norm, got NaN, infinity or huge values")
        self.check_parameters(parameters)

    def check_parameters(self, parameters: RequestParameters) -> None:
        """Check that this index can answer a request.

        Raises:
            InvalidRequest: the filter does not fit this index's columns.
            TowersDiffer: the request is about embeddings of other towers.
        """
        if parameters.towers is not None and parameters.towers != self.manifest.tower_hash:
            raise TowersDiffer(parameters.towers, self.manifest.tower_hash)
        check_filter(parameters.filter, self._table)

    def search_batch(self, requests: Sequence[tuple[np.ndarray, RequestParameters]]) -> list[SearchResult]:
        """Answer several requests at once, each as if it were alone.

        Requests that agree in top_k, effort and filter are searched together.

        Args:
            requests: ((batch, dim) float32, parameters) pairs that `check` accepts.

        Returns:
            One result per request, in order.
        """
        groups: dict[tuple[int, int, Filter], list[int]] = {}
        for position, (_, wanted) in enumerate(requests):
            groups.setdefault((wanted.top_k, wanted.effort, wanted.filter), []).append(position)
        results: list[SearchResult | None] = [None] * len(requests)
        for (top_k, effort, conditions), members in groups.items():
            queries = np.concatenate([requests[i][0] for i in members]).astype(np.float32, copy=False)
            scores, rows = self._found(queries, top_k, effort, conditions)
            whole = self._result(scores, rows, None)  # made at once, as most requests want no min_score
            start = 0
            for i in members:
                part = slice(start, start + len(requests[i][0]))
                if (least := requests[i][1].min_score) is None:
                    results[i] = SearchResult(whole.product_ids[part], whole.scores[part], whole.channels[part])
                else:
                    results[i] = self._result(scores[part], rows[part], least)
                start = part.stop
        return [result for result in results if result is not None]

    def _found(self, queries: np.ndarray, top_k: int, effort: int, conditions: Filter) -> tuple[np.ndarray, np.ndarray]:
        """As `_search`, unless it is known."""
        if self.cache is None or not len(queries):
            return self._search(queries, top_k, effort, conditions)
        # Digests: filters may be long, and each request has one of its own.
        wish = blake2b(repr((top_k, effort, conditions)).encode(), digest_size=16).digest()
        keys = [blake2b(query, digest_size=16, key=wish).digest() for query in queries]
        return self.cache.search(keys, lambda missing: self._search(queries[missing], top_k, effort, conditions))

    def _search(
        self, queries: np.ndarray, top_k: int, effort: int, conditions: Filter
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores (batch, top_k) and row numbers (batch, top_k), padded with -inf and -1."""
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
        # An approximate engine may stop before it has k rows although k exist: search those queries exactly.
        short = np.flatnonzero((rows[:, :k] < 0).any(axis=1))
        if len(short):
            scores[short, :k], rows[short, :k] = self._exact(queries[short], k, mask)
        return scores, rows

    def _exact(self, queries: np.ndarray, k: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        if mask is None:
            candidates = np.arange(len(self._vectors))
        elif mask.count <= EXACT_ROWS:
            candidates = mask.numbers
        else:  # too many to keep their numbers beside the mask
            candidates = np.flatnonzero(mask.rows)
        return exact_search(queries, self._vectors, candidates, k)

    def mask(self, conditions: Filter) -> RowMask | None:
        """Rows that can be found and satisfy a filter; None when these are all rows."""
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
            # Beside a row's byte, an eighth for its bit.
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
        return SearchResult(ids, np.where(keep, scores, np.float32(PAD_SCORE)), channels)
