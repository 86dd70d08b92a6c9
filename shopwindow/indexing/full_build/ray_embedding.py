"""Embed on a Ray cluster. Every row group of the catalogue is a task, and its result is a parquet file.

The nodes must share a file system, with this checkout and its environment, the repository, the catalogue and the index
home at the same paths on all nodes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.product_ids import numbered
from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows
from shopwindow.indexing.errors import IndexingError
from shopwindow.indexing.full_build.embedders import EmbeddedRows, LocalEmbedder, embed_rows
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline

LOCAL = "local"
_ATTRIBUTE = "attribute."  # prefix of attribute columns, whose names could be any


def embed_with_ray(
    catalog: Catalog, repository: Path, folder: Path, start: int, address: str, *, progress: bool
) -> Iterator[EmbeddedRows]:
    """Embed a catalogue on a Ray cluster, then yield the results in order.

    Args:
        catalog: the catalogue. The row groups are shared out, so one worker embeds all of a file with one row group.
        repository: an exported model repository.
        folder: receives the results of the tasks. Results that are already there are not computed again.
        start: number of the first row to yield.
        address: of the cluster, as `ray.init` takes it; "local" starts one on this machine.
        progress: show a bar.

    Raises:
        IndexingError: Ray is not installed, or there is no cluster at the address. Ray takes minutes to find that out.
    """
    groups = [(first, after) for first, after in catalog.groups if after > start]
    folder.mkdir(exist_ok=True)
    missing = [group for group in groups if not _file(folder, *group).exists()]
    if missing:
        _run(catalog, repository, folder, missing, address, progress=progress)
    dim = Bundle.read(repository).embedding_dim
    for group in groups:
        with pq.ParquetFile(_file(folder, *group)) as file:
            row = group[0]
            for records in file.iter_batches(batch_size=TOWER_ROWS):
                if row + records.num_rows > start:
                    yield _from_table(catalog, max(row, start), records.slice(max(0, start - row)), dim)
                row += records.num_rows


def _run(
    catalog: Catalog, repository: Path, folder: Path, groups: list[tuple[int, int]], address: str, *, progress: bool
) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise IndexingError(f"ray: Ray Data is not installed ({error}); pip install 'ray[data]'") from error
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise IndexingError(f"ray: no cluster at {address} ({error}); what is embedded so far is kept") from error
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        cores = int(ray.cluster_resources().get("CPU", 1))
        # One block per row group, because a task takes one block.
        tasks = ray.data.from_items(
            [{"first": first, "after": after} for first, after in groups], override_num_blocks=len(groups)
        )
        done = tasks.map_batches(
            _EmbedGroups,
            fn_constructor_args=(catalog.files, catalog.options, repository.resolve(), folder.resolve()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(len(groups), max(1, cores))),
            num_cpus=1,
        )
        rows = sum(after - first for first, after in groups)
        with progress_bar(total=rows, desc="embedding on Ray", unit="row", enabled=progress) as bar:
            for task in done.iter_rows():
                bar.update(int(task["after"] - task["first"]))
    finally:
        ray.shutdown()


class _EmbedGroups:
    """Embeds row groups, on one core of some node."""

    def __init__(self, files: list[Path], reading: CatalogOptions, repository: Path, folder: Path) -> None:
        self._catalog = Catalog(files, reading)
        self._embedder = LocalEmbedder(InProcessPipeline(repository))
        self._folder = folder

    def __call__(self, groups: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Write the results of some groups, and return the groups."""
        for first, after in zip(groups["first"].tolist(), groups["after"].tolist(), strict=True):
            place = _file(self._folder, first, after)
            new = place.with_suffix(f".{os.uname().nodename}-{os.getpid()}")
            writer: Any = None
            for rows in self._catalog.read(TOWER_ROWS, first, after, photos=self._embedder.photos):
                table = _to_table(embed_rows(rows, self._embedder))
                writer = writer or pq.ParquetWriter(new, table.schema)
                writer.write_table(table)
            writer.close()
            new.replace(place)
        return groups


def _file(folder: Path, first: int, after: int) -> Path:
    return folder / f"{first:012d}-{after:012d}.parquet"


def _to_table(embedded: EmbeddedRows) -> pa.Table:
    """Return one row per row of the catalogue. A refused row has a reason in place of a vector."""
    rows = embedded.rows
    reasons = {**embedded.refused, **rows.refused}
    place = {int(position): number for number, position in enumerate(embedded.positions)}
    every = range(len(rows.ids))
    vectors = [embedded.vectors[place[i]] if i in place else None for i in every]
    columns = {
        # As text, because a refused id may be too large for 64 bits.
        "product_id": pa.array([None if i is None else str(i) for i in map(rows.shop_id, every)], pa.string()),
        # Not a list of fixed length, because Arrow cannot read missing ones back.
        "vector": pa.array(vectors, pa.list_(pa.float32())),
        "content": pa.array([int(embedded.content[place[i]]) if i in place else None for i in every], pa.uint64()),
        "reason": pa.array([reasons.get(i) for i in every], pa.string()),
        "unread": pa.array([embedded.unread.get(i) for i in every], pa.string()),
        "at_reading": pa.array([i in rows.refused for i in every], pa.bool_()),
    }
    columns |= {_ATTRIBUTE + name: rows.attributes[name] for name in rows.attributes.column_names}
    return pa.table(columns)


def _from_table(catalog: Catalog, start: int, records: pa.RecordBatch, dim: int) -> EmbeddedRows:
    given = records.column("product_id").to_pylist()
    ids, keys = numbered(
        given if catalog.text_ids else [None if text is None else int(text) for text in given], text=catalog.text_ids
    )
    reasons = {i: reason for i, reason in enumerate(records.column("reason").to_pylist()) if reason is not None}
    early = records.column("at_reading").to_pylist()
    embedded = records.filter(records.column("vector").is_valid())
    vectors = embedded.column("vector").flatten().to_numpy(zero_copy_only=False)
    rows = CatalogRows(
        start=start,
        ids=ids,
        keys=keys,
        titles=[],
        photos=[],
        refused={i: reason for i, reason in reasons.items() if early[i]},
        attributes=pa.table({name: records.column(_ATTRIBUTE + name) for name in catalog.stored.names}),
        source=catalog.source(start),
    )
    return EmbeddedRows(
        rows=rows,
        refused={i: reason for i, reason in reasons.items() if not early[i]},
        unread={i: reason for i, reason in enumerate(records.column("unread").to_pylist()) if reason is not None},
        positions=np.array([i for i in range(len(ids)) if i not in reasons], dtype=np.int64),
        vectors=vectors.reshape(-1, dim),
        content=embedded.column("content").to_numpy(zero_copy_only=False),
    )
