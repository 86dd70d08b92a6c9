"""The embedding stage of a build. It writes part after part to disk, so it needs little memory for any catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.id_set import ProductSet
from shopwindow.indexing.catalogue.reading import keep
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.embedders import EmbeddedRows

# A kill loses the rows embedded since the last part: at most this many rows, or the work of this many seconds.
PART_ROWS = 4_096
PART_SECONDS = 10.0
PART_BYTES = 64 * 2**20  # of attributes, which memory holds until the part is written

_Kept = tuple[EmbeddedRows, list[int], np.ndarray, list[str] | None]
"""Rows, and of those that are indexed the positions, the numbers of their ids, and the text ids."""


def embed_catalog(
    building: Building,
    embedded: Iterator[EmbeddedRows],
    total: int,
    *,
    progress: bool,
    check: Callable[[], None] = lambda: None,
) -> float:
    """Write embedded rows to a build, part by part.

    Memory holds one part, and 8 bytes for each product's id, 16 if it is a text.

    Args:
        building: receives the parts.
        embedded: the rows from `building.progress.rows` on, in catalogue order.
        total: rows of the catalogue.
        progress: show a bar.
        check: called before each part is written; raises if the vectors may be wrong.

    Returns:
        Products embedded per second, in this run.
    """
    keys = building.product_keys()
    seen = ProductSet(building.product_ids, () if keys is None else (key.as_py() for key in keys))
    del keys
    before = building.progress
    started = last = time.perf_counter()
    part: list[_Kept] = []
    skipped, unread = Skipped(), Skipped()
    rows = size = 0  # of the part
    with progress_bar(total=total, initial=before.rows, desc="embedding", unit="product", enabled=progress) as bar:
        for some in embedded:
            positions, ids, texts = keep(some.rows, some.refused, seen, skipped)
            part.append((some, positions, ids, texts))
            for position in sorted(some.unread.keys() & set(positions)):
                reason = some.rows.located(position, some.unread[position])
                unread.add(some.rows.start + position, some.rows.shop_id(position), reason)
            bar.update(len(some.rows.ids))
            rows, size = rows + len(some.rows.ids), size + some.rows.attributes.nbytes
            now = time.perf_counter()
            if rows >= PART_ROWS or size >= PART_BYTES or now - last >= PART_SECONDS:
                check()
                _append(building, part, skipped, unread, now - last)
                part, skipped, unread, last, rows, size = [], Skipped(), Skipped(), now, 0, 0
                bar.set_postfix(skipped=building.progress.skipped, refresh=False)
        if part:
            check()
            _append(building, part, skipped, unread, time.perf_counter() - last)
    return (building.progress.products - before.products) / max(time.perf_counter() - started, 1e-9)


def _append(building: Building, part: list[_Kept], skipped: Skipped, unread: Skipped, seconds: float) -> None:
    chosen = [(some, np.isin(some.positions, positions)) for some, positions, _, _ in part]
    text = part[0][3] is not None
    building.append(
        rows=sum(len(some.rows.ids) for some, _, _, _ in part),
        product_ids=np.concatenate([ids for _, _, ids, _ in part]),
        product_keys=[key for _, _, _, keys in part for key in keys or ()] if text else None,
        vectors=np.concatenate([some.vectors[rows] for some, rows in chosen]),
        content=np.concatenate([some.content[rows] for some, rows in chosen]),
        attributes=pa.concat_tables(
            [some.rows.attributes.take(pa.array(positions, pa.int64())) for some, positions, _, _ in part]
        ),
        skipped=skipped,
        unread=unread,
        seconds=seconds,
    )
