"""`shopwindow compact`: rewrite an index without the traces of its updates, from the vectors that it holds."""

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
from shopwindow.indexing.full_build.search_breadth import RECALL_QUERIES, calibrate, check_recall
from shopwindow.indexing.generation_report import write_report
from shopwindow.indexing.update.next_generation import Generation, changing, link_files
from shopwindow.indexing.update.run import write_lexical
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.equal_rows import distinct_sample
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.attribute_texts import write_texts
from shopwindow.retrieval.index.checksums import check_folder
from shopwindow.retrieval.index.folder import Manifest, write_manifest
from shopwindow.retrieval.index.product_keys import write_keys

_BLOCK = 65_536  # vectors copied at a time


def compact(home: Path, *, recipe: str | None = None, force: bool = False, progress: bool = True) -> Manifest:
    """Publish a generation that holds only the products that can be found. Nothing is embedded.

    Args:
        home: an index home.
        recipe: one of `shopwindow.retrieval.engines.recipes.KINDS`; None keeps the index's recipe.
        force: publish the generation even if it finds too little of what exact search finds.
        progress: show a bar.

    Returns:
        The manifest of the new generation. If there was nothing to do, that of the served one.

    Raises:
        IndexUnfit: there is no index, another process writes there, or the served generation is broken or was refused.
        RecallTooLow: the recall is below PROMISED_RECALL. The served generation stays.
        ValueError: unknown recipe.
    """
    started = time.perf_counter()
    with changing(home) as (place, served, folder):
        before = served.manifest
        chosen = choose_recipe(before.count, recipe or before.recipe.kind)
        if served.has_texts and not before.delta and not before.dead and chosen.kind == before.recipe.kind:
            return before
        check_folder(served.folder, only={"vectors.npy"})  # `Generation.read` has checked the others
        live = np.flatnonzero(served.alive)
        vectors = _copy_vectors(served, live, folder / "vectors.npy", progress)
        np.save(folder / "product_ids.npy", served.product_ids[live])
        if served.product_keys is not None:
            write_keys(folder, served.product_keys.take(pa.array(live)))
        np.save(folder / "content.npy", served.content[live])
        attributes = served.attributes.take(pa.array(live))
        pq.write_table(attributes, folder / "attributes.parquet")
        write_texts(folder, attributes)
        write_lexical(served, folder, attributes, np.ones(len(live), bool))
        if chosen.kind == before.recipe.kind:
            # Calibration below searches by products, which find themselves more easily than shoppers' words find them.
            # So it may widen the search, but must not narrow it.
            chosen = chosen.with_breadth(max(chosen.search_breadth, before.recipe.search_breadth))
        sample = np.asarray(vectors[distinct_sample(vectors, RECALL_QUERIES)])
        engine, recall = calibrate(FaissCpuEngine.build(vectors, chosen), vectors, sample)
        check_recall(recall, engine.recipe, force=force)
        if engine.recipe.kind != "flat":
            engine.write(folder / "index.faiss")
        kept = {"bundle", "skipped.csv", "unread_photos.csv"}
        linked = link_files(served.folder, folder, {entry.name for entry in served.folder.iterdir()} - kept)
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
        write_report(folder, "compact", manifest, {"products": manifest.count, "compacted": before.generation})
        write_manifest(folder, manifest, linked)
        place.publish(folder, number, onto=served.number)
        return manifest


def _copy_vectors(served: Generation, rows: np.ndarray, file: Path, progress: bool) -> np.ndarray:
    """Write the vectors of some rows to a file, and return them memory-mapped."""
    target = GrowingArray(file, 0, np.float32, (served.manifest.dim,))
    with progress_bar(total=len(rows), desc="compacting", unit="product", enabled=progress) as bar:
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            target.append(served.all_vectors[some])
            bar.update(len(some))
    target.close()
    return target.read()
