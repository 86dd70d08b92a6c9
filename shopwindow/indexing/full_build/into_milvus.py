"""`shopwindow milvus`: load an index folder's products into a Milvus collection, and publish it in an index home."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.product_keys import LONGEST
from shopwindow.base.progress_bar import progress_bar
from shopwindow.indexing.errors import RecallTooLow
from shopwindow.indexing.full_build.search_breadth import RECALL_TARGET, check_recall, recall_of
from shopwindow.retrieval.embedding.bundle import CARRIED, carry_towers
from shopwindow.retrieval.engines.equal_rows import distinct_sample
from shopwindow.retrieval.engines.options import MilvusOptions
from shopwindow.retrieval.engines.stored_vectors import JoinedVectors, Vectors
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.checksums import check_folder
from shopwindow.retrieval.index.folder import Manifest, read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome, resolve_index
from shopwindow.retrieval.index.product_keys import FILE as PRODUCT_KEYS
from shopwindow.retrieval.index.product_keys import read_keys
from shopwindow.retrieval.index.serving_processes import served_by
from shopwindow.retrieval.milvus.collection import (
    ID,
    KEY,
    VECTOR,
    MilvusCollection,
    connect,
    index_parameters,
    milvus_recipe,
)
from shopwindow.retrieval.milvus.filter_expressions import Field, fields_of
from shopwindow.retrieval.milvus.index import FILE
from shopwindow.retrieval.request.attribute_columns import AttributeTable, ListColumn, TextColumn
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT
from shopwindow.retrieval.search.exact import exact_search

LONGEST_TEXT = 65_535  # bytes, of a VARCHAR
BATCH_BYTES = 8 * 2**20
_READ = frozenset({"vectors.npy", "delta.npy", "product_ids.npy", PRODUCT_KEYS, "alive.npy", "attributes.parquet"})
SAMPLE, SAMPLE_K = 100, 100
LOADING_S = 120.0  # generous: nobody waits for a search yet


def load_into_milvus(
    index: Path,
    out: Path,
    options: MilvusOptions,
    *,
    prefix: str = "shopwindow",
    force: bool = False,
    progress: bool = True,
) -> Manifest:
    """Fill a new collection, and publish an index folder that names it.

    Servers of `out` switch to the new collection as to any new generation, and a rollback switches back. Collections
    that neither `out` nor a server needs any more are dropped.

    Args:
        index: an index folder or home. Its FAISS index is not read: vectors stream from the disk.
        out: an index home; it takes a few kilobytes.
        options: where Milvus is.
        prefix: a collection's name is this and the number of the generation, such as `shopwindow_000007`.
        force: publish the generation even if it finds too little of what exact search finds.
        progress: show a bar.

    Returns:
        The published manifest, with the recall@100 measured in Milvus.

    Raises:
        IndexUnfit: the index is unreadable, holds values that Milvus cannot, or another process writes into `out`.
        EngineUnfit: pymilvus is not installed, Milvus does not answer, or the filled collection lacks products.
        FileExistsError: `out` holds other things.
        RecallTooLow: the recall is below PROMISED_RECALL. The collection is dropped.
    """
    started = time.perf_counter()
    folder = resolve_index(index)
    manifest = read_manifest(folder)
    vectors, ids, live = _stored(folder, manifest)
    keys = read_keys(folder)
    schema = pq.read_schema(folder / "attributes.parquet")
    no_rows = pa.Table.from_batches([], schema)
    fields = fields_of(AttributeTable(no_rows))
    client = connect(options)
    home = IndexHome(out)
    with home.writing():
        generation = home.next_generation
        name = _name(prefix, generation)
        collection = MilvusCollection(
            client,
            name,
            rows=manifest.count,
            dim=manifest.dim,
            recipe=milvus_recipe(manifest.recipe),
            timeout_s=max(options.timeout_s, LOADING_S),
        )
        _create(collection, client, fields, text_ids=keys is not None)
        with progress_bar(total=manifest.count, desc=name, unit="product", enabled=progress) as bar:
            for rows in _rows(folder, fields, vectors, ids, live, keys):
                client.insert(name, rows)
                bar.update(len(rows))
        client.flush(name)
        collection.check()
        recall = _calibrate(collection, vectors, live)
        try:
            check_recall(recall, collection.recipe, force=force)
        except RecallTooLow:
            client.drop_collection(name)
            raise
        new = replace(
            manifest,
            generation=generation,
            recipe=collection.recipe,
            recall_at_100=round(recall, 4),
            build_seconds=round(time.perf_counter() - started, 1),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            delta=0,
            dead=0,
        )
        shutil.rmtree(home.building, ignore_errors=True)
        home.building.mkdir()
        pq.write_table(no_rows, home.building / "attributes.parquet")
        about = {"collection": name, **({"text_ids": True} if keys is not None else {})}
        (home.building / FILE).write_text(json.dumps(about) + "\n")
        if (folder / CARRIED).is_dir():
            carry_towers(folder / CARRIED, home.building)
        write_manifest(home.building, new)
        home.publish(home.building, generation)
        served = [process.generation for process in served_by(out)]  # one that refused serves an older one
        kept = {_name(prefix, generation) for generation in [*home.generations, *served] if generation is not None}
        for old in client.list_collections():
            # Only collections with our prefix: another home may use the same Milvus with another prefix.
            if old.startswith(f"{prefix}_") and old.removeprefix(f"{prefix}_").isdecimal() and old not in kept:
                client.drop_collection(old)
    return new


def _name(prefix: str, generation: int) -> str:
    return f"{prefix}_{generation:06d}"


def _create(collection: MilvusCollection, client: Any, fields: dict[str, Field], *, text_ids: bool) -> None:
    """Create an empty collection, and drop first what an interrupted load left."""
    from pymilvus import DataType

    kinds = {"text": DataType.VARCHAR, "whole": DataType.INT64, "days": DataType.INT64, "moments": DataType.INT64}
    if client.has_collection(collection.name):
        client.drop_collection(collection.name)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, DataType.INT64, is_primary=True)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=collection.dim)
    if text_ids:
        schema.add_field(KEY, DataType.VARCHAR, max_length=LONGEST)
    for column, field in fields.items():
        longest = {"max_length": LONGEST_TEXT} if field.kind == "text" else {}
        schema.add_field(field.name, kinds.get(field.kind, DataType.DOUBLE), description=column, **longest)
        schema.add_field(field.flag, DataType.BOOL)
    index_params = client.prepare_index_params()
    index_params.add_index(VECTOR, **index_parameters(collection.recipe))
    client.create_collection(collection.name, schema=schema, index_params=index_params)


def _stored(folder: Path, manifest: Manifest) -> tuple[Vectors, np.ndarray, np.ndarray]:
    """Return vectors, product ids and the numbers of the live rows. The engine is not loaded."""
    check_folder(folder, only=_READ)
    try:
        vectors: Vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        if manifest.delta:
            vectors = JoinedVectors(np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "delta.npy"))
        ids = np.load(folder / "product_ids.npy", mmap_mode="r")
        live = np.flatnonzero(np.load(folder / "alive.npy")) if manifest.dead else np.arange(len(ids))
    except (OSError, ValueError) as error:
        raise IndexUnfit(f"{folder}: {error}") from error
    if len(vectors) != len(ids) or len(live) != manifest.count:
        raise IndexUnfit(
            f"{folder}: parts disagree: {len(vectors)} vectors, {len(ids)} product ids, {len(live)} rows that can be "
            f"found, {manifest.count} products in manifest.json"
        )
    return vectors, ids, live


def _rows(
    folder: Path,
    fields: dict[str, Field],
    vectors: Vectors,
    ids: np.ndarray,
    live: np.ndarray,
    keys: pa.Array | None,
) -> Iterator[list[dict[str, Any]]]:
    """Yield products in Milvus's form, in batches of some megabytes."""
    size = max(1, BATCH_BYTES // (4 * vectors.shape[1] + 64 * len(fields) + 8))
    start = 0
    for batch in pq.ParquetFile(folder / "attributes.parquet").iter_batches(batch_size=size):
        within = live[np.searchsorted(live, start) : np.searchsorted(live, start + batch.num_rows)]
        table = pa.Table.from_batches([batch]).take(pa.array(within - start))
        start += batch.num_rows
        if not len(within):
            continue
        columns = {ID: ids[within].tolist(), VECTOR: list(vectors[within]), **_columns(table, fields)}
        if keys is not None:
            columns[KEY] = keys.take(pa.array(within)).to_pylist()
        yield [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _columns(table: pa.Table, fields: dict[str, Field]) -> dict[str, list[Any]]:
    """Return field -> one value per row. If a value is missing, the flag says so and the value is arbitrary."""
    columns: dict[str, list[Any]] = {}
    held = AttributeTable(table)
    for column, field in fields.items():
        numbers = held.get(column)
        assert not isinstance(numbers, (ListColumn, NoneType))  # `fields` comes from the same schema, without lists
        if isinstance(numbers, TextColumn):
            texts = table[column].to_pylist()
            if any(len(text.encode()) > LONGEST_TEXT for text in texts if text is not None):
                raise IndexUnfit(f"{column}: Milvus takes texts of at most {LONGEST_TEXT} bytes, and one is longer")
            columns[field.name] = [text or "" for text in texts]
            columns[field.flag] = [text is not None for text in texts]
            continue
        if field.kind == "whole" and numbers.numbers.dtype in (np.uint64, np.float64):
            raise IndexUnfit(f"{column}: Milvus takes whole numbers of at most 2^63 - 1, and one is larger; write text")
        if not np.isfinite(numbers.numbers[numbers.present]).all():
            raise IndexUnfit(f"{column}: holds infinite numbers, which Milvus does not take; leave them empty")
        columns[field.name] = (np.where(numbers.present, numbers.numbers, 0) + 0).tolist()  # -0.0 becomes 0.0
        columns[field.flag] = numbers.present.tolist()
    return columns


def _calibrate(collection: MilvusCollection, vectors: Vectors, live: np.ndarray) -> float:
    """Widen the search at effort 5 until recall@100 reaches the target.

    Each query lies halfway between a product and its hundredth neighbour, because shoppers' queries lie between
    products. A product itself would be found too easily.

    Returns:
        The recall reached, 0 to 1.
    """
    products = vectors[distinct_sample(vectors, SAMPLE, live)]
    k = min(SAMPLE_K, len(live))
    _, near = exact_search(products, vectors, live, k)
    queries = products + vectors[near[:, -1]]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    best, _ = exact_search(queries, vectors, live, k)
    while True:
        scores, ids = collection.search(queries, k, DEFAULT_EFFORT, "", 1.0)
        recall = recall_of(scores, ids, best)
        recipe = collection.recipe
        if recall >= RECALL_TARGET or recipe.search_breadth >= recipe.max_breadth:
            return recall
        collection.recipe = recipe.with_breadth(2 * recipe.search_breadth)
