"""A Milvus collection that holds one generation of an index: products by id, their vectors and attribute columns.

It is written once, by `indexing.full_build.into_milvus`, and only read from then on: what is counted once stays true.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from shopwindow.retrieval.engines.options import CALL_S, URI_VARIABLE, MilvusOptions
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.errors import EngineUnfit

ID, VECTOR = "product_id", "vector"

# Most rows of one search or query, and candidates that one of them keeps: limits of Milvus.
SELECTION = 16_384
LARGEST_EF = 32_768
# Lists are built for each segment of some million rows, not for the whole collection.
SEGMENT_LISTS = 4_096
# Nothing is written any more, so no search need wait until it has seen the newest write.
SEALED = "Eventually"
# Messages end at 64 MiB; in Python their vectors take several times that.
MESSAGE_BYTES = 16 * 2**20

_INDEX_TYPES = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT", "ivf-sq8": "IVF_SQ8", "ivf-pq32": "IVF_PQ"}


def connect(options: MilvusOptions) -> Any:
    """A client of a Milvus: a server by its URI, or Milvus Lite by the path of a file that ends in .db.

    Raises:
        EngineUnfit: pymilvus is not installed, or nothing answers there.
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
            f"no Milvus at {options.uri} ({error}): give {URI_VARIABLE} as http://host:19530, or the path of a file "
            "that ends in .db for Milvus Lite (pip install milvus-lite), which one process can open at a time"
        ) from error


def milvus_recipe(recipe: Recipe) -> Recipe:
    """The recipe with its lists as Milvus builds them; an effort goes on to mean the same share of them."""
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
    """What Milvus is to build on the vectors for a `milvus_recipe`."""
    build: dict[str, Any] = {}
    if recipe.inverted:
        build["nlist"] = recipe.max_breadth
    if recipe.kind == "ivf-pq32":
        build.update(m=32, nbits=8)
    if recipe.kind == "hnsw":
        build.update(M=32, efConstruction=recipe.construction)
    # pymilvus unpacks the outer one. Milvus reads the inner one as well as what is not in it, Milvus Lite that alone:
    # it would build 128 lists, of which a widest search of fewer lists misses most.
    return {"index_type": _INDEX_TYPES[recipe.kind], "metric_type": "IP", "params": {"params": build}}


class MilvusCollection:
    """One filled collection.

    Args:
        client: from `connect`.
        name: of the collection.
        rows: products in it.
        dim: vector length.
        recipe: a `milvus_recipe`.
        timeout_s: of one call, in seconds.
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
        """Raise EngineUnfit when the collection is not there, or is not the one that was filled."""
        if not self._client.has_collection(self.name):
            raise EngineUnfit(f"collection {self.name!r} is not in this Milvus: fill it with 'shopwindow milvus'")
        self._client.load_collection(self.name)
        if (found := self.count("", consistency="Strong")) != self.rows:
            raise EngineUnfit(
                f"collection {self.name!r} has {found} products, its index folder tells of {self.rows}: fill it anew "
                "with 'shopwindow milvus'"
            )

    def count(self, expression: str, *, consistency: str = SEALED) -> int:
        """How many products satisfy an expression; "" is satisfied by all."""
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
        """Search as the recipe says.

        Args:
            queries: (batch, dim) float32.
            k: products wanted, at most SELECTION and the number that qualify.
            effort: 1 to 10.
            expression: what they must satisfy; "" for no filter.
            share: of all products, those that satisfy it, above 0 to 1.
            widest: look everywhere that this kind of index can look, whatever the effort.

        Returns:
            scores (batch, k) float32 in falling order and ids (batch, k) int64; -inf and -1 where nothing was found.
        """
        spare = self.recipe.spare(k)
        fetch = min(k + spare, SELECTION, max(k, round(self.rows * share)))
        wanted = {"metric_type": "IP", "params": self._breadth(fetch, effort, share, widest)}
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
                search_params=wanted,
                timeout=self._timeout_s,
                consistency_level=SEALED,
            )
            for row, (query, hits) in enumerate(zip(block, answer, strict=True), start):
                found = np.fromiter((hit[ID] for hit in hits), np.int64, len(hits))
                points = np.fromiter((hit["distance"] for hit in hits), np.float32, len(hits))
                if spare and len(hits):  # what is kept in fewer bits ranks only roughly
                    points = np.array([hit["entity"][VECTOR] for hit in hits], np.float32) @ query
                best = np.lexsort((found, -points))[:k]
                scores[row, : len(best)], ids[row, : len(best)] = points[best], found[best]
        return scores, ids

    def candidates(self, expression: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every product that satisfies an expression, in parts: ids (some,) int64 and vectors (some, dim) float32."""
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
        """As the FAISS engines do: wider by what a filter leaves out, and wide enough to hold the rows asked for."""
        breadth = math.ceil(self.recipe.breadth_at(effort) / share)
        if self.recipe.inverted:
            lists_for_fetch = math.ceil(2 * fetch * self.recipe.max_breadth / max(self.rows, 1) / share)
            wanted = max(breadth, lists_for_fetch)
            return {"nprobe": self.recipe.max_breadth if widest else min(wanted, self.recipe.max_breadth)}
        if self.recipe.kind == "hnsw":
            return {"ef": LARGEST_EF if widest else min(max(breadth, 2 * fetch), LARGEST_EF)}
        return {}
