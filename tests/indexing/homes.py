"""A small index home of real products, and the results that a test expects of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.retrieval import InProcessPipeline, parse_parameters
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import Manifest, read_index, write_index
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.opening import open_index
from tests.ranking import assert_is_exact_search

SCHEMA = pa.schema(
    [
        ("product_id", pa.int64()),
        ("title", pa.string()),
        ("image", pa.binary()),
        ("colour", pa.string()),
        ("price", pa.float64()),
    ]
)

Product = dict[str, Any]
START = 40  # products of the index home that tests of updates begin with


def write_rows(file: Path, rows: Iterable[Product], columns: Sequence[str] = tuple(SCHEMA.names)) -> Path:
    """Write some columns of products as parquet."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows], schema=schema), file)
    return file


@dataclass
class Truth:
    """The products that should be found, and their vectors, each embedded alone by the repository's towers."""

    pipeline: InProcessPipeline
    products: dict[int, Product] = field(default_factory=dict)
    known: dict[tuple[str, bytes], np.ndarray] = field(default_factory=dict)

    def vectors(self, products: Iterable[Product]) -> np.ndarray:
        found = []
        for product in products:
            content = product["title"] or "", product["image"] or b""
            if content not in self.known:
                self.known[content] = self.pipeline.embed_product([content[0]], [content[1]])[0][0]
            found.append(self.known[content])
        return np.stack(found)

    def build(self, home: Path, products: Iterable[Product], kind: str = "flat") -> None:
        """Publish a generation built from scratch. An IVF index visits every list, so its results are exact."""
        rows = list(products)
        self.products = {row["product_id"]: dict(row) for row in rows}
        vectors, place = self.vectors(rows), IndexHome(home)
        recipe = choose_recipe(len(rows), kind)
        recipe = recipe.with_breadth(recipe.max_breadth)
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        with place.writing():
            number = place.next_generation
            write_index(
                place.building,
                manifest=Manifest(
                    generation=number,
                    count=len(rows),
                    dim=vectors.shape[1],
                    tower_hash=self.pipeline.bundle.tower_hash,
                    recipe=recipe,
                    recall_at_100=1.0,
                    skipped=0,
                    build_seconds=0.1,
                    catalog="products.parquet",
                    created="2026-01-01T00:00:00+00:00",
                    unfilterable=("made",),
                ),
                vectors=vectors,
                product_ids=np.array(list(self.products), np.int64),
                attributes=table.drop_columns(["product_id", "image"]),
                engine=FaissCpuEngine.build(vectors, recipe),
                skipped="row,product_id,reason\n",
                lexical=LexicalIndex.build([row["title"] or "" for row in rows]),
                content=np.array([content_hash(row["title"], row["image"]) for row in rows], np.uint64),
            )
            place.publish(place.building, number)

    def assert_served(self, home: Path, queries: np.ndarray) -> None:
        """Check that the home serves what brute force finds among the products, with and without filters."""
        index = open_index(home, tower_hash=self.pipeline.bundle.tower_hash)
        products = list(self.products.values())
        assert index.manifest.count == len(products)
        ids, vectors = np.array(list(self.products)), self.vectors(products)
        for condition, allowed in (
            ({}, [True for _ in products]),
            ({"colour": "red"}, [p["colour"] == "red" for p in products]),
            ({"price": {"lt": 50}}, [p["price"] is not None and p["price"] < 50 for p in products]),
        ):
            for top_k in (1, 10, 200):
                result = index.search_batch([(queries, parse_parameters({"top_k": top_k, "filter": condition}))])[0]
                assert_is_exact_search(
                    result.product_ids, result.scores, queries, vectors, ids, allowed=np.array(allowed)
                )
        rows = index.folder.live_rows if index.folder else np.array([])
        assert index.product_ids[rows].tolist() == [*dict.fromkeys(index.product_ids[rows].tolist())]
        assert index.folder is not None and index.lexical is not None
        for row, title in zip(
            rows.tolist(), read_index(home).attributes["title"].take(pa.array(rows)).to_pylist(), strict=True
        ):
            assert title == self.products[int(index.product_ids[row])]["title"]
        fields = ("colour", "title", "price")
        index.check_fields(fields)
        for row, shown in zip(rows.tolist(), index.attribute_rows(rows[:, None], fields)[:, 0], strict=True):
            product = self.products[int(index.product_ids[row])]
            assert list(json.loads(shown).items()) == [(name, product[name]) for name in fields]
        title = next(p["title"] for p in products if p["title"])
        _, found = index.lexical.search(title, 200, index.mask(()).rows if index.mask(()) else None)
        assert {self.products[int(index.product_ids[row])]["title"] for row in found} >= {title}
        assert set(index.product_ids[found].tolist()) <= set(self.products)
