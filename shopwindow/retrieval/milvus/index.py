"""An index whose products are in Milvus, behind the interface of `ProductIndex`.

Its folder holds only what a server must know before it asks Milvus. No product takes room on the server's host.

manifest.json        as in any index folder, but the breadths of its recipe are those for Milvus
attributes.parquet   the columns that filters may name, without rows
milvus.json          {"collection": name}, and "text_ids": true if the collection holds text ids
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from shopwindow.retrieval.engines.options import EngineOptions, MilvusOptions
from shopwindow.retrieval.errors import IndexUnfit, InvalidRequest
from shopwindow.retrieval.index.checksums import Verify, check_folder
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.milvus.collection import SELECTION, MilvusCollection, connect
from shopwindow.retrieval.milvus.filter_expressions import fields_of, milvus_expression
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.filter_conditions import Filter, conditions_of
from shopwindow.retrieval.request.page.page_request import PageRequest
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.exact import PAD_ID, PAD_SCORE, SearchResult, exact_search
from shopwindow.retrieval.search.product_index import ProductIndex, counts_kept

FILE = "milvus.json"

# If a filter leaves at most this many products, they are fetched and scored here, exactly. The limit is lower than for
# an index in memory, because each vector comes over the network.
EXACT_ROWS = 2_000
COUNTS_KEPT = 1_024
CANDIDATE_BYTES = 64 * 2**20  # all kept candidates together, in each serving process


@dataclass(frozen=True)
class _Allowed:
    """A filter for Milvus, and how many products satisfy it."""

    expression: str
    count: int


class MilvusIndex(ProductIndex):
    """Answers batches of requests from a collection. Several threads may search.

    Args:
        manifest: manifest of the index folder.
        collection: the filled collection.
        table: the attribute columns, without rows.
        text_ids: whether the collection holds text ids.
    """

    def __init__(
        self, manifest: Manifest, collection: MilvusCollection, table: AttributeTable, *, text_ids: bool = False
    ) -> None:
        self.manifest = manifest
        self._text_ids = text_ids
        self._collection = collection
        self._table = table
        self._fields = fields_of(table)
        self._allowed: OrderedDict[Filter, _Allowed] = OrderedDict()
        self._candidates: OrderedDict[str, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()
        self.counts = counts_kept()

    @property
    def engine_description(self) -> str:
        """See `ProductIndex.engine_description`."""
        return (
            f"Milvus, collection {self._collection.name}, {self.manifest.recipe.factory}, {self.manifest.count} "
            f"vectors of {self.manifest.dim} dimensions"
        )

    def check_parameters(self, parameters: RequestParameters) -> None:
        """As in `ProductIndex`. Filters on columns of lists are refused, because Milvus does not hold them."""
        super().check_parameters(parameters)
        for condition in conditions_of(parameters.filter):
            if condition.column not in self._fields:
                raise InvalidRequest(
                    f"filter.{condition.column}"[:60],
                    "the column holds lists, and an index in Milvus cannot filter on them",
                )

    def check_page(self, page: PageRequest, parameters: RequestParameters) -> None:
        """As in `ProductIndex`. Only `offset` and `generation` work, because Milvus holds the products."""
        for name in ("fields", "facets", "collapse", "boost", "sort", "diversity"):
            if getattr(page, name):
                raise InvalidRequest(name, "an index in Milvus cannot do this; serve an index in memory")
        super().check_page(page, parameters)

    def count_satisfying(self, conditions: Filter) -> int:
        """See `ProductIndex.count_satisfying`."""
        return self._satisfying(conditions).count

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Return `rows`: in Milvus, products have no row numbers, and their ids stand in place of these."""
        return rows

    @property
    def folder(self) -> None:
        """None: the products are not in memory."""
        return None

    @property
    def lexical(self) -> None:
        """None: a lexical channel would need its rows in memory."""
        return None

    def _search(
        self, queries: np.ndarray, top_k: int, effort: int, conditions: Filter
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (batch, top_k) and product ids (batch, top_k), padded with -inf and -1."""
        scores = np.full((len(queries), top_k), PAD_SCORE, dtype=np.float32)
        ids = np.full((len(queries), top_k), PAD_ID, dtype=np.int64)
        allowed = self._satisfying(conditions)
        k = min(top_k, allowed.count)
        if k == 0 or len(queries) == 0:
            return scores, ids
        if (conditions and allowed.count <= EXACT_ROWS) or k > SELECTION:
            scores[:, :k], ids[:, :k] = self._exact_in_milvus(queries, k, allowed)
            return scores, ids
        share = allowed.count / self.manifest.count
        find = self._collection.search
        scores[:, :k], ids[:, :k] = find(queries, k, effort, allowed.expression, share)
        # An approximate search may stop before it has k products although k exist. Search wider, then exactly.
        short = _short(ids, k)
        if len(short):
            scores[short, :k], ids[short, :k] = find(queries[short], k, effort, allowed.expression, share, widest=True)
        short = _short(ids, k)
        if len(short):
            scores[short, :k], ids[short, :k] = self._exact_in_milvus(queries[short], k, allowed)
        return scores, ids

    def _result(self, scores: np.ndarray, rows: np.ndarray, kept: np.ndarray | None) -> SearchResult:
        keep = rows != PAD_ID
        if kept is not None:
            keep &= kept
        ids = np.where(keep, rows, PAD_ID)
        channels = np.where(keep, np.int64(Channel.EMBEDDING), np.int64(0))
        return SearchResult(ids, np.where(keep, scores, np.float32(PAD_SCORE)), channels, ids)

    def product_keys(self, result: SearchResult) -> np.ndarray:
        """See `ProductIndex.product_keys`."""
        if not self._text_ids:
            return np.empty((len(result.product_ids), 0), np.object_)
        ids, places = np.unique(result.product_ids, return_inverse=True)
        keys = self._collection.keys(ids[ids != PAD_ID].tolist())
        found = np.array([*(keys.get(one, b"") for one in ids.tolist()), None], np.object_)[:-1]
        return found[places].reshape(result.product_ids.shape)

    def _satisfying(self, conditions: Filter) -> _Allowed:
        with self._lock:
            if (found := self._allowed.get(conditions)) is not None:
                self._allowed.move_to_end(conditions)
                return found
        expression = milvus_expression(conditions, self._fields)  # without the lock, because Milvus may be slow
        if isinstance(expression, bool):
            found = _Allowed("", self.manifest.count if expression else 0)
        else:
            found = _Allowed(expression, self._collection.count(expression))
        with self._lock:
            self._allowed[conditions] = found
            if len(self._allowed) > COUNTS_KEPT:
                self._allowed.popitem(last=False)
        return found

    def _exact_in_milvus(self, queries: np.ndarray, k: int, allowed: _Allowed) -> tuple[np.ndarray, np.ndarray]:
        """Score every product that qualifies, part by part, and keep the k best."""
        if allowed.count <= EXACT_ROWS:
            ids, vectors = self._kept(allowed)
            scores, rows = exact_search(queries, vectors, np.arange(len(ids)), k)
            return scores, ids[rows]
        best_scores = np.full((len(queries), k), PAD_SCORE, np.float32)
        best_ids = np.full((len(queries), k), PAD_ID, np.int64)
        for ids, vectors in self._collection.candidates(allowed.expression):
            scores, rows = exact_search(queries, vectors, np.arange(len(ids)), min(k, len(ids)))
            scores = np.concatenate([best_scores, scores], axis=1)
            found = np.concatenate([best_ids, ids[rows]], axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            best_scores, best_ids = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
        return best_scores, best_ids

    def _kept(self, allowed: _Allowed) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids and vectors that satisfy a rare filter. They are fetched once and kept while there is room."""
        with self._lock:
            if (found := self._candidates.get(allowed.expression)) is not None:
                self._candidates.move_to_end(allowed.expression)
                return found
        parts = list(self._collection.candidates(allowed.expression))
        found = np.concatenate([ids for ids, _ in parts]), np.concatenate([vectors for _, vectors in parts])
        with self._lock:
            if allowed.expression not in self._candidates:
                self._candidates[allowed.expression] = found
                self._kept_bytes += found[1].nbytes
            while self._kept_bytes > CANDIDATE_BYTES and len(self._candidates) > 1:
                self._kept_bytes -= self._candidates.popitem(last=False)[1][1].nbytes
        return found


def lives_in_milvus(folder: Path) -> bool:
    """Return whether an index folder names a collection instead of holding its products."""
    return (folder / FILE).is_file()


def open_in_milvus(folder: Path, options: EngineOptions | None = None, *, verify: Verify | None = None) -> MilvusIndex:
    """Open an index folder that names a collection.

    Args:
        folder: the index folder, not its home.
        options: where Milvus is; None reads it from the environment.
        verify: how thoroughly files are compared with their checksums; None takes it from the environment.

    Raises:
        IndexUnfit: a file is missing, changed or unreadable.
        EngineUnfit: Milvus does not answer, or the collection is missing or has another number of products.
    """
    check_folder(folder, verify)
    manifest = read_manifest(folder, verify)
    try:
        about = json.loads((folder / FILE).read_text())
        name, text_ids = about["collection"], about.get("text_ids", False)
        table = AttributeTable(pq.read_table(folder / "attributes.parquet"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexUnfit(f"{folder}: not an index in Milvus ({error!r})") from error
    milvus = (options and options.milvus) or MilvusOptions.from_environment()
    collection = MilvusCollection(
        connect(milvus),
        name,
        rows=manifest.count,
        dim=manifest.dim,
        recipe=manifest.recipe,
        timeout_s=milvus.timeout_s,
    )
    collection.check()
    return MilvusIndex(manifest, collection, table, text_ids=bool(text_ids))


def _short(ids: np.ndarray, k: int) -> np.ndarray:
    """Return the numbers of the queries that have fewer than k products."""
    return np.flatnonzero((ids[:, :k] == PAD_ID).any(axis=1))
