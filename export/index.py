"""`shopwindow index`: a catalogue to an index folder."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from export.catalog import TITLE, Catalog
from export.errors import CatalogError
from retrieval.attributes import AttributeTable
from retrieval.channels.lexical import LexicalIndex
from retrieval.cores import usable_cores
from retrieval.engines import FaissCpuEngine
from retrieval.errors import IndexUnfit
from retrieval.files import check_replaceable
from retrieval.index_folder import MANIFEST, Manifest, read_manifest, write_index
from retrieval.parameters import DEFAULT_EFFORT
from retrieval.pipeline import TOWER_ROWS, InProcessPipeline
from retrieval.product_index import exact_search
from retrieval.progress import progress_bar
from retrieval.recipes import Recipe, choose_recipe
from retrieval.rescoring import search_rescored
from retrieval.skipped import Skipped
from retrieval.text import clean_text

RECALL_AT = 100
RECALL_QUERIES = 500
PROMISED_RECALL = 0.97
# Calibration widens the search until the sample's recall reaches this: above what is promised, since other queries
# will do a little worse than the sample.
RECALL_TARGET = 0.98


def build_index(
    catalog_file: Path, repository: Path, out: Path, *, recipe: str | None = None, progress: bool = True
) -> Manifest:
    """Embed a catalogue with a repository's product tower and index it.

    Args:
        catalog_file: see `Catalog`.
        repository: an exported model repository.
        out: index folder; one that stands there is replaced when the new one is whole.
        recipe: one of `retrieval.recipes.KINDS`; None chooses by count.
        progress: show a bar.

    Returns:
        The manifest written.

    Raises:
        CatalogError: the file is not a catalogue, or none of its rows can be indexed.
        FileExistsError: `out` holds something that is not an index.
        FileNotFoundError: the repository is incomplete.
        ValueError: unknown recipe.
    """
    started = time.perf_counter()
    check_replaceable(out, MANIFEST)
    catalog = Catalog(catalog_file)
    pipeline = InProcessPipeline(repository, threads=usable_cores())
    skipped = Skipped()
    ids: list[np.ndarray] = []
    vectors: list[np.ndarray] = []
    attributes: list[pa.Table] = []
    with progress_bar(total=catalog.rows, desc="embedding", unit="product", enabled=progress) as bar:
        for batch in catalog.batches(pipeline.preprocessor, TOWER_ROWS, skipped):
            if batch.batch is not None:
                embeddings, _ = pipeline.embed_prepared(batch.batch)
                ids.append(batch.product_ids)
                vectors.append(embeddings)
                attributes.append(batch.attributes)
            bar.update(batch.rows)
            bar.set_postfix(skipped=len(skipped.rows), refresh=False)
    if not ids:
        first = f"; the first reason: {skipped.rows[0][2]}" if skipped.rows else ""
        raise CatalogError(f"catalog: none of the {catalog.rows} rows of {catalog_file} can be indexed{first}")
    matrix, table = np.concatenate(vectors), pa.concat_tables(attributes)
    AttributeTable(table)  # what could not be served must not be written
    chosen = choose_recipe(len(matrix), recipe)
    engine, recall = calibrate(FaissCpuEngine.build(matrix, chosen), matrix, _sample_queries(pipeline, table, matrix))
    # Always: beside embedding a product its title costs next to nothing.
    titles = table[TITLE].to_pylist() if TITLE in table.column_names else []
    lexical = LexicalIndex.build([title or "" for title in titles])
    manifest = Manifest(
        generation=_next_generation(out),
        count=len(matrix),
        dim=matrix.shape[1],
        tower_hash=pipeline.bundle.tower_hash,
        recipe=engine.recipe,
        recall_at_100=round(recall, 4),
        skipped=len(skipped.rows),
        build_seconds=round(time.perf_counter() - started, 1),
        catalog=str(catalog_file.resolve()),
        unfilterable=catalog.unfilterable,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_index(
        out,
        manifest=manifest,
        vectors=matrix,
        product_ids=np.concatenate(ids),
        attributes=table,
        engine=engine,
        skipped=skipped.to_csv(),
        lexical=lexical,
    )
    return manifest


def calibrate(engine: FaissCpuEngine, vectors: np.ndarray, queries: np.ndarray) -> tuple[FaissCpuEngine, float]:
    """Widen the search at effort 5 until recall@100 reaches RECALL_TARGET, or the search is exhaustive.

    Args:
        engine: a built engine.
        vectors: (rows, dim) float32, what it holds.
        queries: (batch, dim) float32, a sample.

    Returns:
        The engine with its calibrated recipe, and the recall@100 reached, 0 to 1.
    """
    k = min(RECALL_AT, len(vectors))
    expected, _ = exact_search(queries, vectors, np.arange(len(vectors)), k)
    # Judged by score: of products with equal vectors, which abound in real catalogues, any may be found.
    worst = expected[:, -1:] - 1e-6
    while True:
        scores, rows = search_rescored(engine, vectors, queries, k, DEFAULT_EFFORT, None)
        recall = float(np.mean((scores >= worst) & (rows >= 0)))
        recipe: Recipe = engine.recipe
        if recall >= RECALL_TARGET or recipe.search_breadth >= recipe.max_breadth:
            return engine, recall
        engine.recipe = recipe.with_breadth(2 * recipe.search_breadth)


def _sample_queries(pipeline: InProcessPipeline, attributes: pa.Table, vectors: np.ndarray) -> np.ndarray:
    """Query embeddings like those to come: titles read by the query tower; without titles, the products themselves."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:RECALL_QUERIES])
    if TITLE not in attributes.column_names:
        return vectors[chosen]
    titles = [clean_text(TITLE, title or "") for title in attributes[TITLE].take(pa.array(chosen)).to_pylist()]
    titles = [title for title in titles if title]
    return pipeline.embed_query(titles) if titles else vectors[chosen]


def _next_generation(out: Path) -> int:
    try:
        return read_manifest(out).generation + 1
    except IndexUnfit:
        return 1
