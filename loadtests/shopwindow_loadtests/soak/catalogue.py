"""The catalogue of the soak: generations of made-up products, and changes to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import Manifest, write_index
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.lexical import LexicalIndex

IDS = 10**9  # the ids of generation g begin at g * IDS, so an id tells its generation
WORDS = ("red", "blue", "dress", "mug", "leather", "bag", "summer", "lamp")
REMOVED, CHANGED, ADDED = 3, 2, 1  # products in each update


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Publishes the generations and updates of the soak.

    Args:
        home: The index home.
        repository: Its towers embed the products that updates add.
        rows: Products in a newly built generation.
    """

    home: IndexHome
    repository: Path
    rows: int

    @property
    def next_generation(self) -> int:
        """The number of the next generation. Nobody else publishes here."""
        return self.home.next_generation

    def products_of(self, generation: int) -> np.ndarray:
        """Return the ids that `build` gives the products of a generation, (rows,) int64 in rising order."""
        return generation * IDS + np.arange(self.rows)

    def build(self) -> int:
        """Publish a generation of new products and return its number."""
        bundle = Bundle.read(self.repository)
        with self.home.writing():
            generation = self.home.next_generation
            rng = np.random.default_rng(generation)
            # Around a few directions, as real embeddings are. No index is fast on evenly spread vectors.
            vectors = rng.normal(size=(200, bundle.embedding_dim))[rng.integers(200, size=self.rows)]
            vectors += 0.5 * rng.normal(size=vectors.shape)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors.astype(np.float32)
            titles = [" ".join(words) for words in rng.choice(WORDS, (self.rows, 3))]
            recipe = choose_recipe(self.rows)
            manifest = Manifest(
                generation=generation,
                count=self.rows,
                dim=bundle.embedding_dim,
                tower_hash=bundle.tower_hash,
                recipe=recipe,
                recall_at_100=1.0,
                skipped=0,
                build_seconds=0.0,
                catalog="",
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            columns = {
                "title": titles,
                "price": rng.random(self.rows),
                "brand": rng.integers(self.rows // 10 + 1, size=self.rows).astype(str),
            }
            write_index(
                self.home.building,
                manifest=manifest,
                vectors=vectors,
                product_ids=self.products_of(generation),
                attributes=pa.table(columns),
                engine=FaissCpuEngine.build(vectors, recipe),
                skipped="",
                lexical=LexicalIndex.build(titles),
                content=np.array([content_hash(title, b"") for title in titles], np.uint64),
            )
            self.home.publish(self.home.building, generation)
        return generation

    def roll_back(self) -> int:
        """Go back one generation and return its number."""
        return self.home.rollback().generation

    def update(self, removed: list[int], changed: list[int], added: list[int]) -> int:
        """Publish an update that removes some products, reprices some and adds some. Return its generation."""
        file = self.home.path.parent / "changes.parquet"
        ids = [*changed, *added]
        titles = [*([None] * len(changed)), *(f"red dress {product}" for product in added)]
        table = {"product_id": ids, "title": pa.array(titles, pa.string()), "price": [0.5] * len(ids)}
        pq.write_table(pa.table(table), file)
        found = update_index(self.home.path, self.repository, changes=file, removed=removed, progress=False)
        done = (found.removed, found.attributes_only, found.added, found.skipped)
        if done != (len(removed), len(changed), len(added), 0):
            raise RuntimeError(f"an update removed, changed, added and skipped {done} products")
        return found.generation
