"""The stage after embedding: make an index folder from the embedded parts, and measure its recall."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.indexing.catalogue.options import TITLE
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.search_breadth import RECALL_QUERIES, calibrate, check_recall
from shopwindow.indexing.generation_report import FILE as REPORT
from shopwindow.retrieval.embedding.bundle import CARRIED
from shopwindow.retrieval.embedding.text import clean_text
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.equal_rows import distinct_sample
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.index.attribute_texts import writing_texts
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.lexical_words import WordSplitter
from shopwindow.retrieval.index.product_keys import FILE as PRODUCT_KEYS
from shopwindow.retrieval.index.product_keys import write_keys
from shopwindow.retrieval.pipeline import InProcessPipeline

_GROUP_ROWS, _GROUP_BYTES = 131_072, 64 * 2**20  # attributes written together
_ENOUGH_TITLES = 100  # different ones; with fewer, recall is measured on products' own vectors too


def finish(
    building: Building, recipe: Recipe, pipeline: InProcessPipeline, *, splitter: WordSplitter, force: bool = False
) -> tuple[Recipe, float]:
    """Write all files except the manifest into `building.index`.

    The vectors stay on disk. Memory holds first the FAISS index, then all titles for the lexical channel.

    Args:
        building: the build, with the whole catalogue embedded.
        recipe: recipe of the index.
        pipeline: embeds the sample of queries that recall is measured on.
        splitter: splits titles into words for the lexical channel.
        force: whether to accept any recall.

    Returns:
        The calibrated recipe, and recall@100 against exact search, 0 to 1.

    Raises:
        RecallTooLow: see `check_recall`.
    """
    # A killed build with another recipe, other stop words or other removals may have left these.
    for name in ("index.faiss", "index.rows.npy", "alive.npy", PRODUCT_KEYS, REPORT):
        (building.index / name).unlink(missing_ok=True)
    for name in (CARRIED, "lexical"):
        shutil.rmtree(building.index / name, ignore_errors=True)
    _write_attributes(building)
    if (keys := building.product_keys()) is not None:
        write_keys(building.index, keys)
    vectors = building.vectors
    queries = _sample_queries(building, pipeline)
    engine, recall = calibrate(FaissCpuEngine.build(vectors, recipe), vectors, queries)
    chosen = engine.recipe
    check_recall(recall, chosen, force=force)
    if chosen.kind != "flat":
        engine.write(building.index / "index.faiss")
    del engine  # the titles need the memory
    # Always built: compared with embedding a product, indexing its title costs next to nothing.
    lexical = LexicalIndex.build(list(_titles(building)), splitter)
    if lexical is not None:
        lexical.write(building.index / "lexical")
    return chosen, recall


def _write_attributes(building: Building) -> None:
    groups = _attribute_groups(building)
    first = next(groups)
    with (
        pq.ParquetWriter(building.index / "attributes.parquet", first.schema) as file,
        writing_texts(building.index, first.schema) as write_texts,
    ):
        for group in chain([first], groups):
            file.write_table(group)
            write_texts(group)


def _attribute_groups(building: Building) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for part in building.attribute_parts():
        held.append(part)
        if sum(t.num_rows for t in held) >= _GROUP_ROWS or sum(t.nbytes for t in held) >= _GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _titles(building: Building) -> Iterator[str]:
    if building.has_titles:
        for part in building.attribute_parts([TITLE]):
            yield from (title or "" for title in part[TITLE].to_pylist())


def _sample_queries(building: Building, pipeline: InProcessPipeline) -> np.ndarray:
    """Return a sample of queries: titles of products with different vectors, embedded by the query tower.

    If there are few different titles, products that have none of their own add their vectors.
    """
    vectors = building.vectors
    rows = distinct_sample(vectors, RECALL_QUERIES)
    sampled = set(rows.tolist())
    titles: dict[str, int] = {}  # -> the row that it was drawn for
    for row, title in enumerate(_titles(building)):
        if row in sampled:
            titles.setdefault(clean_text(TITLE, title), row)
    titles.pop("", None)
    own = np.setdiff1d(rows, list(titles.values())) if len(titles) < _ENOUGH_TITLES else rows[:0]
    embedded = pipeline.embed_query(list(titles)) if titles else vectors[:0]
    return np.concatenate([embedded, vectors[own]])
