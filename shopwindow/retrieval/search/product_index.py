"""The retrieval step: embeddings and request parameters in, product ids and scores out."""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from sys import getsizeof
from typing import Any

import numpy as np

from shopwindow.base.recently_used import ENTRY_BYTES, RecentlyUsed
from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.stored_vectors import Vectors
from shopwindow.retrieval.errors import GenerationGone, InvalidRequest, TowersDiffer, show
from shopwindow.retrieval.index.attribute_texts import rows_as_json
from shopwindow.retrieval.index.folder import IndexFolder
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.product_keys import keys_of
from shopwindow.retrieval.page.boosts import BoostCache, Boosts
from shopwindow.retrieval.page.groups import Groups
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.filter_conditions import Filter
from shopwindow.retrieval.request.filter_rows import check_filter, filter_mask
from shopwindow.retrieval.request.page.boost_reading import BoostTerm
from shopwindow.retrieval.request.page.page_request import PageRequest
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.cut_off import cut_off, resolve
from shopwindow.retrieval.search.exact import PAD_ID, PAD_SCORE, SearchResult, exact_search
from shopwindow.retrieval.search.result_cache import ResultCache

# If a filter leaves at most this many products, scoring all of them is faster than an approximate search, and exact.
EXACT_ROWS = 20_000
MASKS_KEPT = 64
COUNT_BYTES = 32 * 2**20  # all kept counts together
MASK_BYTES = 64 * 2**20  # all kept masks together, in each serving process

Counts = RecentlyUsed[bytes, Any]


def counts_kept() -> Counts:
    """Return a cache of counts: numbers, arrays, and the JSON of facets. Its keys are `short_key`s."""
    return RecentlyUsed(
        COUNT_BYTES, lambda count: ENTRY_BYTES + (count.nbytes if hasattr(count, "nbytes") else getsizeof(count))
    )


class ProductIndex:
    """A loaded index that answers batches of requests with mixed parameters. Several threads may search.

    Args:
        folder: a loaded index folder.
        before: the index that is served now; its columns are reused if `folder` has the same ones.

    Attributes:
        cache: recent results; None if none are kept.
        calibration: of the towers that filled the index; None if they have none.
        counts: recent counts of facets, groups and products that do not depend on the query.
        groups: the groups of equal values of attribute columns.
    """

    cache: ResultCache | None = None
    calibration: Calibration | None = None

    def __init__(self, folder: IndexFolder, before: ProductIndex | None = None) -> None:
        self.manifest = folder.manifest
        same = before is not None and before.folder is not None and folder.attributes is before.folder.attributes
        self._table: AttributeTable = (
            before._table if before is not None and same else AttributeTable(folder.attributes)
        )
        # What pages keep of these columns.
        self.groups: Groups = before.groups if before is not None and same else Groups(self._table)
        self._boosts: BoostCache = before._boosts if before is not None and same else BoostCache(self._table)
        self.counts: Counts = counts_kept()
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

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the ids of row numbers of any shape, int64; -1 for rows below 0."""
        return np.where(rows >= 0, self.product_ids[rows], PAD_ID)

    @cached_property
    def _by_id(self) -> np.ndarray:
        """The rows in the order of their ids, int32 or int64; of equal ids, the one that is alive comes last."""
        ids, alive = self.product_ids, self._folder.alive
        order = np.argsort(ids, kind="stable") if alive is None else np.lexsort((alive.rows, ids))
        return order.astype(np.int32) if len(ids) < 2**31 else order

    def rows_of(self, product_ids: Sequence[int]) -> np.ndarray:
        """Return the rows of products, (n,) int64; -1 for ids that the index does not hold.

        The first call sorts the ids, and keeps 4 bytes a product.
        """
        whole = [one if -(2**63) <= one < 2**63 else None for one in product_ids]
        wanted = np.array([0 if one is None else one for one in whole], np.int64)
        last = np.searchsorted(self.product_ids, wanted, side="right", sorter=self._by_id) - 1
        rows = self._by_id[last].astype(np.int64)
        alive = self._folder.alive
        held = (last >= 0) & (self.product_ids[rows] == wanted) & np.array([one is not None for one in whole])
        if alive is not None:
            held &= alive.rows[rows]
        return np.where(held, rows, -1)

    def shop_ids(self, rows: np.ndarray) -> list[int] | list[str]:
        """Return the ids of row numbers (n,) as the shop has them: ints, or texts."""
        keys = self._folder.product_keys
        if keys is None:
            return list(self.product_ids[rows].tolist())
        return [key.decode() for key in keys_of(keys, rows)]

    def boosts(self, terms: tuple[BoostTerm, ...]) -> Boosts:
        """Return checked boosts, with ages of today in UTC."""
        return self._boosts.get(terms, datetime.now(UTC).date())

    def product_keys(self, result: SearchResult) -> np.ndarray:
        """Return the text ids of what was found, (batch, top_k) bytes objects in UTF-8; padded with empty ones.

        If the ids of the index are whole numbers, the result is (batch, 0).
        """
        keys = self._folder.product_keys
        return np.empty((len(result.rows), 0), np.object_) if keys is None else keys_of(keys, result.rows)

    def attribute_rows(self, rows: np.ndarray, fields: Sequence[str]) -> np.ndarray:
        """Return what products have in some columns, for a reply.

        Args:
            rows: (batch, k) int64, rows of this index as in `SearchResult.rows`, -1 for none.
            fields: names that `check_fields` accepts.

        Returns:
            (batch, k) bytes objects: a JSON object in UTF-8 with the fields in their order, `null` where a value is
            missing; empty where there is no row. Without fields the result is (batch, 0).
        """
        if not fields:
            return np.empty((len(rows), 0), np.object_)
        texts = self._folder.attribute_texts
        assert texts is not None, f"unchecked fields: {fields}"
        return rows_as_json(texts, rows, fields)

    def check_fields(self, fields: Sequence[str]) -> None:
        """Check that this index has some columns to show.

        Raises:
            InvalidRequest: it lacks one, or an earlier version built it, which kept none to show.
        """
        if not fields:
            return
        texts = self._folder.attribute_texts
        if texts is None:
            raise InvalidRequest(
                "fields",
                "an earlier version built this index, without attributes to show: 'shopwindow compact' adds them, and "
                "so does the next 'shopwindow index', or 'update' that changes something",
            )
        for field in fields:
            if field not in texts.columns:
                near = difflib.get_close_matches(field, texts.columns, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                known = ", ".join(sorted(texts.columns)) or "none"
                raise InvalidRequest("fields", f"no such attribute: {show(field)}{hint}; this index has: {known}")

    @property
    def vectors(self) -> Vectors:
        """The vectors of all rows, (rows, dim) float32."""
        return self._vectors

    @property
    def columns(self) -> AttributeTable:
        """The attribute columns, in index order."""
        return self._table

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
            InvalidRequest: the filter does not fit the columns of this index, or as `resolve`.
            TowersDiffer: other towers made the embeddings of the request.
            GenerationGone: as `check_page`.
        """
        if parameters.towers is not None and parameters.towers != self.manifest.tower_hash:
            raise TowersDiffer(parameters.towers, self.manifest.tower_hash)
        check_filter(parameters.filter, self._table)
        resolve(parameters, self.calibration)
        if parameters.page is not None:
            self.check_page(parameters.page, parameters)

    def check_page(self, page: PageRequest, parameters: RequestParameters) -> None:
        """Check that this index can make a page.

        Raises:
            InvalidRequest: the page names a column that this index lacks, or that has the wrong type.
            GenerationGone: another generation is served than the page is pinned to.
        """
        if page.generation is not None and page.generation != self.manifest.generation:
            raise GenerationGone(page.generation, self.manifest.generation)
        self.check_fields(page.fields)
        page.check(self._table, min_score_given=parameters.cuts_off)

    def search_batch(self, requests: Sequence[tuple[np.ndarray, RequestParameters]]) -> list[SearchResult]:
        """Answer several requests at once, each as if it came alone.

        Requests that agree in top_k, effort and filter are searched together.

        Args:
            requests: ((batch, dim) float32, parameters) pairs that `check` accepts, without `min_precision`.

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
                if (kept := cut_off(scores[part], requests[i][1])) is None:
                    results[i] = whole[part]
                else:
                    results[i] = self._result(scores[part], rows[part], kept)
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

    def count_satisfying(self, conditions: Filter) -> int:
        """Return how many products satisfy a filter."""
        mask = self.mask(conditions)
        return self.manifest.count if mask is None else mask.count

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

    def _result(self, scores: np.ndarray, rows: np.ndarray, kept: np.ndarray | None) -> SearchResult:
        keep = rows >= 0 if kept is None else (rows >= 0) & kept
        rows = np.where(keep, rows, -1)
        channels = np.where(keep, np.int64(Channel.EMBEDDING), np.int64(0))
        return SearchResult(self.ids_of(rows), np.where(keep, scores, np.float32(PAD_SCORE)), channels, rows)
