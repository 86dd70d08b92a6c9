"""A generation on disk as updates and compaction see it: what stands there, and a folder for the next one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.retrieval.engines.stored_vectors import JoinedVectors, Vectors
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.serving_processes import served_by

_NEXT = ".update"  # in the home; what a killed process left there is swept by the next one
_MILVUS = "milvus.json"  # as `shopwindow.retrieval.milvus.index.FILE`, whose import takes long


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The served generation, without its engine.

    Attributes:
        folder: where it is.
        manifest: what it is.
        vectors: (base rows, dim) float32, memory-mapped.
        delta: (delta rows, dim) float32.
        product_ids: (rows,) int64.
        content: (rows,) uint64, see `shopwindow.retrieval.embedding.content_hash`.
        alive: (rows,) bool.
        attributes: title and attribute columns, one row per row.
    """

    folder: Path
    manifest: Manifest
    vectors: np.ndarray
    delta: np.ndarray
    product_ids: np.ndarray
    content: np.ndarray
    alive: np.ndarray
    attributes: pa.Table

    @classmethod
    def read(cls, home: IndexHome) -> Generation:
        """Read the served generation; hold `home.writing`, or it may be removed meanwhile.

        Raises:
            IndexUnfit: nothing was published there, or a file is missing or unreadable.
        """
        folder = home.folder(_pointer(home))
        manifest = read_manifest(folder)
        if (folder / _MILVUS).exists():
            raise IndexUnfit(
                f"{folder}: its products are in Milvus, where nothing is updated: update the index that was loaded "
                f"from, then 'shopwindow milvus --index THAT --out {home.path}'"
            )
        try:
            vectors = np.load(folder / "vectors.npy", mmap_mode="r")
            found = cls(
                folder=folder,
                manifest=manifest,
                vectors=vectors,
                delta=np.load(folder / "delta.npy") if manifest.delta else vectors[:0],
                product_ids=np.load(folder / "product_ids.npy"),
                content=np.load(folder / "content.npy"),
                alive=np.load(folder / "alive.npy") if manifest.dead else np.ones(manifest.rows, bool),
                attributes=pq.read_table(folder / "attributes.parquet"),
            )
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            raise IndexUnfit(f"{folder}: {error}; build the index again with 'shopwindow index'") from error
        rows = {
            "manifest.json": manifest.rows,
            "vectors.npy and delta.npy": len(found.all_vectors),
            "product_ids.npy": len(found.product_ids),
            "content.npy": len(found.content),
            "alive.npy": len(found.alive),
            "attributes.parquet": found.attributes.num_rows,
        }
        if len(set(rows.values())) != 1:
            raise IndexUnfit(f"{folder}: parts disagree: rows {rows}; build the index again with 'shopwindow index'")
        return found

    @property
    def number(self) -> int:
        """Of the generation, by its place."""
        return int(self.folder.name)

    @property
    def all_vectors(self) -> Vectors:
        """Every row's vector, by row number."""
        return JoinedVectors(self.vectors, self.delta) if len(self.delta) else self.vectors


def _pointer(home: IndexHome) -> int:
    pointer = home.pointer
    if pointer is None:
        raise IndexUnfit(
            f"{home.path} is not an index home with a served generation, so there is nothing to update; build one "
            "with 'shopwindow index'"
        )
    return pointer.generation


@contextmanager
def changing(path: Path) -> Iterator[tuple[IndexHome, Generation, Path]]:
    """Hold an index home to make its next generation from the served one.

    Args:
        path: the home.

    Yields:
        The home, its served generation, and an empty folder to be filled and published; what is left of it is removed.

    Raises:
        IndexUnfit: nothing was published there, another process writes there, or CURRENT names a generation that is
            broken or was refused.
    """
    home = IndexHome(path)
    _pointer(home)  # before `writing`, which would make a home of any folder
    with home.writing():
        _check_not_refused(home)
        folder = path / _NEXT
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield home, Generation.read(home), folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_not_refused(home: IndexHome) -> None:
    """What is made from a refused generation would be refused as well, and take the place of what is served."""
    current = _pointer(home)
    for process in served_by(home.path):
        if process.refused is not None and process.refused.generation == current:
            raise IndexUnfit(
                f"generation {current} of {home.path} was refused by {process.name}, which serves {process.generation} "
                f"on: {process.refused.reason}; go back with 'shopwindow rollback --to {process.generation}' before it "
                "is changed"
            )


def link_files(source: Path, target: Path, leave_out: Collection[str]) -> None:
    """Put the files of one folder into another without copying them where the file system knows hard links.

    Published files are never written to again, so both folders may share them.

    Args:
        source: a folder; its folders are gone through as well.
        target: made when missing.
        leave_out: names of entries of `source` that the target does without.
    """
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name in leave_out:
            continue
        if entry.is_dir():
            link_files(entry, target / entry.name, ())
            continue
        try:
            os.link(entry, target / entry.name)
        except OSError:
            shutil.copy2(entry, target / entry.name)
