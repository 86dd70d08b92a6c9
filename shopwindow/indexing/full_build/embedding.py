"""The embedding stage of a build. It writes part after part to disk, so it needs little memory for any catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.id_set import IdSet
from shopwindow.indexing.catalogue.reading import keep
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.embedders import EmbeddedRows

# A kill loses the rows embedded since the last part: at most this many rows, or the work of this many seconds.
PART_ROWS = 4_096
PART_SECONDS = 10.0


def embed_catalog(
    building: Building,
    embedded: Iterator[EmbeddedRows],
    total: int,
    *,
    progress: bool,
    check: Callable[[], None] = lambda: None,
) -> float:
    """Write embedded rows to a build, part by part.

    Memory holds one part, and 8 bytes for each product's id.

    Args:
        building: receives the parts.
        embedded: the rows from `building.progress.rows` on, in catalogue order.
        total: rows of the catalogue.
        progress: show a bar.
        check: called before each part is written; raises if the vectors may be wrong.

    Returns:
        Products embedded per second, in this run.
    """
    seen = IdSet(building.product_ids)
    before = building.progress
    started = last = time.perf_counter()
    part: list[tuple[EmbeddedRows, list[int], np.ndarray]] = []
    skipped = Skipped()
    with progress_bar(total=total, initial=before.rows, desc="embedding", unit="product", enabled=progress) as bar:
        for some in embedded:
            positions, ids = keep(some.rows, some.refused, seen, skipped)
            part.append((some, positions, ids))
            bar.update(len(some.rows.ids))
            now = time.perf_counter()
            if sum(len(each.rows.ids) for each, _, _ in part) >= PART_ROWS or now - last >= PART_SECONDS:
                check()
                _append(building, part, skipped, now - last)
                part, skipped, last = [], Skipped(), now
                bar.set_postfix(skipped=building.progress.skipped, refresh=False)
        if part:
            check()
            _append(building, part, skipped, time.perf_counter() - last)
    return (building.progress.products - before.products) / max(time.perf_counter() - started, 1e-9)


def _append(
    building: Building, part: list[tuple[EmbeddedRows, list[int], np.ndarray]], skipped: Skipped, seconds: float
) -> None:
    chosen = [np.isin(some.positions, positions) for some, positions, _ in part]
    building.append(
        rows=sum(len(some.rows.ids) for some, _, _ in part),
        product_ids=np.concatenate([ids for _, _, ids in part]),
        vectors=np.concatenate([some.vectors[rows] for (some, _, _), rows in zip(part, chosen, strict=True)]),
        content=np.concatenate([some.content[rows] for (some, _, _), rows in zip(part, chosen, strict=True)]),
        attributes=pa.concat_tables(
            [some.rows.attributes.take(pa.array(positions, pa.int64())) for some, positions, _ in part]
        ),
        skipped=skipped,
        seconds=seconds,
    )
