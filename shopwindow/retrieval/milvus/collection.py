"""A Milvus collection that holds one generation of an index: products by id, their vectors and attribute columns.

`shopwindow.indexing.full_build.into_milvus` writes it once. From then on it is only read, so a count stays true.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from shopwindow.retrieval.engines.options import CALL_S, URI_VARIABLE, MilvusOptions
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.errors import EngineUnfit

ID, KEY, VECTOR = "product_id", "product_key", "vector"

# Limits of Milvus: most rows of one search or query, and most candidates that one search keeps.
SELECTION = 16_384
LARGEST_EF = 32_768
# Milvus builds lists for each segment of some million rows, not for the whole collection.
SEGMENT_LISTS = 4_096
# Nothing is written any more, so no search has to wait until it sees the newest write.
SEALED = "Eventually"
# A message has at most 64 MiB. In Python its vectors take several times as much.
MESSAGE_BYTES = 16 * 2**20

_INDEX_TYPES = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT", "ivf-sq8": "IVF_SQ8", "ivf-pq32": "IVF_PQ"}


def connect(options: MilvusOptions) -> Any:
    """Return a client of a Milvus server by its URI, or of Milvus Lite by a path that ends in .db.

    Raises:
        EngineUnfit: pymilvus is not installed, or no Milvus answers.
    """
    try:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException
    except ImportError as error:
        raise EngineUnfit(f"the engine milvus needs pymilvus ({error}): pip install 'shopwindow[milvus]'") from error
    try:
        return MilvusClient(uri=options.uri, token=options.token, timeout=options.timeout_s)
    except MilvusException as error:
        raise EngineUnfit(
            f"no Milvus at {options.uri} ({error}): set {URI_VARIABLE} to http://host:19530, or to a path that ends in "
            ".db for Milvus Lite (pip install milvus-lite), which only one process at a time can open"
        ) from error


def milvus_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with as many lists as Milvus builds. An effort still means the same share of the lists."""
    if not recipe.inverted:
        return recipe
    lists = min(recipe.max_breadth, SEGMENT_LISTS)
    breadth = math.ceil(recipe.search_breadth * lists / recipe.max_breadth)
    return Recipe(
        kind=recipe.kind,
        factory=recipe.factory.replace(f"IVF{recipe.max_breadth},", f"IVF{lists},"),
        search_breadth=max(breadth, min(lists, 16)),
        max_breadth=lists,
        training_rows=recipe.training_rows,
    )


def index_parameters(recipe: Recipe) -> dict[str, Any]:
    """Return Milvus's parameters of the index on the vectors, for a `milvus_recipe`."""
    build: dict[str, Any] = {}
    if recipe.inverted:
        build["nlist"] = recipe.max_breadth
    if recipe.kind == "ivf-pq32":
        build.update(m=32, nbits=8)
    if recipe.kind == "hnsw":
        build.update(M=32, efConstruction=recipe.construction)
    # pymilvus unpacks the outer "params". Milvus reads the settings inside or outside the inner "params", Milvus Lite
    # only inside. Without it, Milvus Lite would build 128 lists, and our widest search would miss most of them.
    return {"index_type": _INDEX_TYPES[recipe.kind], "metric_type": "IP", "params": {"params": build}}


class MilvusCollection:
    """One filled collection.

    Args:
        client: from `connect`.
        name: name of the collection.
        rows: number of products in it.
        dim: vector length.
        recipe: a `milvus_recipe`.
        timeout_s: longest time of one call, in seconds.
    """

    def __init__(
        self, client: Any, name: str, *, rows: int, dim: int, recipe: Recipe, timeout_s: float = CALL_S
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self.name = name
        self.rows = rows
        self.dim = dim
        self.recipe = recipe

    def check(self) -> None:
        """Raise EngineUnfit if the collection does not exist or does not have `rows` products."""
        if not self._client.has_collection(self.name):
            raise EngineUnfit(f"collection {self.name!r} is not in this Milvus: fill it with 'shopwindow milvus'")
        self._client.load_collection(self.name)
        if (found := self.count("", consistency="Strong")) != self.rows:
            raise EngineUnfit(
                f"collection {self.name!r} has {found} products, but its index folder says {self.rows}: fill it again "
                "with 'shopwindow milvus'"
            )

    def count(self, expression: str, *, consistency: str = SEALED) -> int:
        """Return how many products satisfy an expression. All of them satisfy an empty one."""
        found = self._client.query(
            self.name,
            filter=expression,
            output_fields=["count(*)"],
            timeout=self._timeout_s,
            consistency_level=consistency,
        )
        return int(found[0]["count(*)"])

    def search(
        self, queries: np.ndarray, k: int, effort: int, expression: str, share: float, *, widest: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search as widely as the recipe and the effort say.

        Args:
            queries: (batch, dim) float32.
            k: products to return, at most SELECTION and the number that qualify.
            effort: 1 to 10.
            expression: the filter that products must satisfy; "" for no filter.
            share: share of all products that satisfy it, above 0 and up to 1.
            widest: search as widely as this kind of index can, whatever the effort.

        Returns:
            scores (batch, k) float32 in falling order and ids (batch, k) int64; padded with -inf and -1.
        """
        spare = self.recipe.spare(k)
        fetch = min(k + spare, SELECTION, max(k, round(self.rows * share)))
        parameters = {"metric_type": "IP", "params": self._breadth(fetch, effort, share, widest)}
        fields = [ID, VECTOR] if spare else [ID]
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        at_once = max(1, MESSAGE_BYTES // (fetch * (4 * self.dim if spare else 16)))
        for start in range(0, len(queries), at_once):
            block = queries[start : start + at_once]
            answer = self._client.search(
                self.name,
                data=list(block),
                anns_field=VECTOR,
                filter=expression,
                limit=fetch,
                output_fields=fields,
                search_params=parameters,
                timeout=self._timeout_s,
                consistency_level=SEALED,
            )
            for row, (query, hits) in enumerate(zip(block, answer, strict=True), start):
                found = np.fromiter((hit[ID] for hit in hits), np.int64, len(hits))
                points = np.fromiter((hit["distance"] for hit in hits), np.float32, len(hits))
                if spare and len(hits):  # compressed vectors rank only roughly
                    points = np.array([hit["entity"][VECTOR] for hit in hits], np.float32) @ query
                best = np.lexsort((found, -points))[:k]
                scores[row, : len(best)], ids[row, : len(best)] = points[best], found[best]
        return scores, ids

    def keys(self, ids: list[int]) -> dict[int, bytes]:
        """Return product id -> text id in UTF-8, for a collection with text ids."""
        found: dict[int, bytes] = {}
        for start in range(0, len(ids), SELECTION):
            some = ids[start : start + SELECTION]
            rows = self._client.get(self.name, ids=some, output_fields=[ID, KEY], timeout=self._timeout_s)
            found |= {row[ID]: row[KEY].encode() for row in rows}
        return found

    def candidates(self, expression: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all products that satisfy an expression, in parts: ids (n,) int64 and vectors (n, dim) float32."""
        batch = max(1, min(SELECTION, MESSAGE_BYTES // (4 * self.dim)))
        pages = self._client.query_iterator(
            self.name, batch_size=batch, filter=expression, output_fields=[ID, VECTOR], timeout=self._timeout_s
        )
        try:
            while page := pages.next():
                yield (
                    np.array([row[ID] for row in page], np.int64),
                    np.array([row[VECTOR] for row in page], np.float32),
                )
        finally:
            pages.close()

    def _breadth(self, fetch: int, effort: int, share: float, widest: bool) -> dict[str, int]:
        """Return the search parameter for the breadth, computed as in the FAISS engines.

        The fewer products a filter leaves, the wider the search. It is always wide enough for `fetch` rows.
        """
        breadth = math.ceil(self.recipe.breadth_at(effort) / share)
        if self.recipe.inverted:
            lists_for_fetch = math.ceil(2 * fetch * self.recipe.max_breadth / max(self.rows, 1) / share)
            lists = max(breadth, lists_for_fetch)
            return {"nprobe": self.recipe.max_breadth if widest else min(lists, self.recipe.max_breadth)}
        if self.recipe.kind == "hnsw":
            return {"ef": LARGEST_EF if widest else min(max(breadth, 2 * fetch), LARGEST_EF)}
        return {}
