"""The stage after embedding: make an index folder from the embedded parts, and measure its recall."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.indexing.catalogue.columns import TITLE
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.search_breadth import RECALL_QUERIES, calibrate
from shopwindow.retrieval.embedding.bundle import CARRIED
from shopwindow.retrieval.embedding.text import clean_text
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.pipeline import InProcessPipeline

_GROUP_ROWS = 131_072  # rows of attributes written together


def finish(building: Building, recipe: Recipe, pipeline: InProcessPipeline) -> tuple[Recipe, float]:
    """Write all files except the manifest into `building.index`.

    The vectors stay on disk. Memory holds first the FAISS index, then all titles for the lexical channel.

    Args:
        building: the build, with the whole catalogue embedded.
        recipe: recipe of the index.
        pipeline: embeds the sample of queries that recall is measured on.

    Returns:
        The calibrated recipe, and recall@100 against exact search, 0 to 1.
    """
    for name in ("index.faiss", "alive.npy"):  # left by a killed build with another recipe or other removals
        (building.index / name).unlink(missing_ok=True)
    shutil.rmtree(building.index / CARRIED, ignore_errors=True)
    _write_attributes(building)
    vectors = building.vectors
    queries = _sample_queries(building, pipeline)
    engine, recall = calibrate(FaissCpuEngine.build(vectors, recipe), vectors, queries)
    chosen = engine.recipe
    if chosen.kind != "flat":
        engine.write(building.index / "index.faiss")
    del engine  # the titles need the memory
    # Always built: compared with embedding a product, indexing its title costs next to nothing.
    lexical = LexicalIndex.build(list(_titles(building)))
    if lexical is not None:
        lexical.write(building.index / "lexical")
    return chosen, recall


def _write_attributes(building: Building) -> None:
    parts = building.attribute_parts()
    first = next(parts)
    with pq.ParquetWriter(building.index / "attributes.parquet", first.schema) as file:
        held = [first]
        for part in parts:
            held.append(part)
            if sum(table.num_rows for table in held) >= _GROUP_ROWS:
                file.write_table(pa.concat_tables(held))
                held = []
        if held:
            file.write_table(pa.concat_tables(held))


def _titles(building: Building) -> Iterator[str]:
    if building.has_titles:
        for part in building.attribute_parts([TITLE]):
            yield from (title or "" for title in part[TITLE].to_pylist())


def _sample_queries(building: Building, pipeline: InProcessPipeline) -> np.ndarray:
    """Return a sample of queries: titles, embedded by the query tower; without titles, the products' own vectors."""
    count = building.progress.products
    chosen = np.sort(np.random.default_rng(0).choice(count, min(count, RECALL_QUERIES), replace=False))
    sampled = set(chosen.tolist())
    titles = [clean_text(TITLE, title) for row, title in enumerate(_titles(building)) if row in sampled]
    titles = [title for title in titles if title]
    return pipeline.embed_query(titles) if titles else np.asarray(building.vectors[chosen])
