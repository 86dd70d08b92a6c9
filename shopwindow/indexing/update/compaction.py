"""`shopwindow compact`: an index without the traces of its updates, from the vectors that it holds."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.indexing.full_build.growing_array import GrowingArray
from shopwindow.indexing.full_build.search_breadth import RECALL_QUERIES, calibrate
from shopwindow.indexing.update.next_generation import Generation, changing, link_files
from shopwindow.indexing.update.run import write_lexical
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import Manifest, write_manifest

_BLOCK = 65_536  # vectors copied at a time


def compact(home: Path, *, recipe: str | None = None, progress: bool = True) -> Manifest:
    """Publish a generation that holds the products which can be found, and nothing else; nothing is embedded.

    Args:
        home: an index home.
        recipe: one of `shopwindow.retrieval.engines.recipes.KINDS`; None keeps the index's.
        progress: show a bar.

    Returns:
        The manifest of the generation now served; where there was nothing to do, of the one that was served before.

    Raises:
        IndexUnfit: no index there, another process writes there, or what is served is broken.
        ValueError: unknown recipe.
    """
    started = time.perf_counter()
    with changing(home) as (place, served, folder):
        before = served.manifest
        chosen = choose_recipe(before.count, recipe or before.recipe.kind)
        if not before.delta and not before.dead and chosen.kind == before.recipe.kind:
            return before
        live = np.flatnonzero(served.alive)
        vectors = _copy_vectors(served, live, folder / "vectors.npy", progress)
        np.save(folder / "product_ids.npy", served.product_ids[live])
        np.save(folder / "content.npy", served.content[live])
        attributes = served.attributes.take(pa.array(live))
        pq.write_table(attributes, folder / "attributes.parquet")
        write_lexical(folder, attributes, np.ones(len(live), bool))
        if chosen.kind == before.recipe.kind:
            # Calibrated below by products, which find themselves more easily than shoppers' words find them.
            chosen = chosen.with_breadth(max(chosen.search_breadth, before.recipe.search_breadth))
        sample = vectors[np.sort(np.random.default_rng(0).permutation(len(live))[:RECALL_QUERIES])]
        engine, recall = calibrate(FaissCpuEngine.build(vectors, chosen), vectors, np.asarray(sample))
        if engine.recipe.kind != "flat":
            engine.write(folder / "index.faiss")
        kept = {"bundle", "skipped.csv"}
        link_files(served.folder, folder, {entry.name for entry in served.folder.iterdir()} - kept)
        number = place.next_generation
        manifest = replace(
            before,
            generation=number,
            count=len(live),
            delta=0,
            dead=0,
            recipe=engine.recipe,
            recall_at_100=round(recall, 4),
            build_seconds=round(time.perf_counter() - started, 1),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_manifest(folder, manifest)
        place.publish(folder, number, onto=served.number)
        return manifest


def _copy_vectors(served: Generation, rows: np.ndarray, file: Path, progress: bool) -> np.ndarray:
    """The vectors of some rows as a file, memory-mapped."""
    target = GrowingArray(file, 0, np.float32, (served.manifest.dim,))
    with progress_bar(total=len(rows), desc="compacting", unit="product", enabled=progress) as bar:
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            target.append(served.all_vectors[some])
            bar.update(len(some))
    target.close()
    return target.read()
