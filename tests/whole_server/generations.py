"""Publish small generations of an index home, as builds and updates do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.bundle import carry_towers
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import Manifest, read_manifest, write_index, write_manifest
from shopwindow.retrieval.index.home import IndexHome

Spoil = Callable[[Path], object]


def publish(
    home: Path,
    titles: list[str],
    first_id: int,
    towers: InProcessPipeline,
    *,
    carried: Path | None = None,
    tower_hash: str | None = None,
    spoil: Spoil = lambda folder: None,
) -> int:
    """Index titles, publish them as the next generation, and return its number.

    Args:
        home: the index home.
        titles: titles of the products.
        first_id: id of the first product; the others count up from it.
        towers: the pipeline that embeds the titles.
        carried: a repository whose towers the generation carries; None to carry none.
        tower_hash: the hash to write into the manifest; None for the hash of `towers`.
        spoil: called with the folder before it is published, to damage it.
    """
    vectors, _ = towers.embed_product(titles, [b""] * len(titles))
    index = IndexHome(home)
    with index.writing():
        generation = index.next_generation
        recipe = choose_recipe(len(vectors), "ivf")
        write_index(
            index.building,
            manifest=Manifest(
                generation=generation,
                count=len(vectors),
                dim=vectors.shape[1],
                tower_hash=tower_hash or towers.bundle.tower_hash,
                recipe=recipe.with_breadth(recipe.max_breadth),
                recall_at_100=1.0,
                skipped=0,
                build_seconds=0.1,
                catalog="products.parquet",
                created="2026-01-01T00:00:00+00:00",
            ),
            vectors=vectors,
            product_ids=first_id + np.arange(len(vectors)),
            attributes=pa.table({"title": titles, "half": np.arange(len(vectors)) % 2}),
            engine=FaissCpuEngine.build(vectors, recipe),
            skipped="",
        )
        if carried is not None:
            carry_towers(carried, index.building)
            write_manifest(index.building, read_manifest(index.building))
        spoil(index.building)
        index.publish(index.building, generation)
    return generation


def truncate(name: str) -> Spoil:
    """Return a function that cuts a file of the folder in half."""

    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return spoil


def flip(name: str) -> Spoil:
    """Return a function that flips the last bit of a file of the folder. A second call flips it back."""

    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    return spoil


def not_numbers(folder: Path) -> None:
    """Make one of the stored vectors NaN, as a faulty build would."""
    vectors = np.load(folder / "vectors.npy")
    vectors[3] = np.nan
    np.save(folder / "vectors.npy", vectors)
    write_manifest(folder, read_manifest(folder))


def shuffled(folder: Path) -> None:
    """Store the vectors in another order than the FAISS index, as a faulty build would."""
    np.save(folder / "vectors.npy", np.load(folder / "vectors.npy")[::-1])
    write_manifest(folder, read_manifest(folder))
