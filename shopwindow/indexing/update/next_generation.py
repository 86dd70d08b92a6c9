"""The served generation as updates and compaction read it, and a folder for the next one."""

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

_NEXT = ".update"  # in the home; the next process removes what a killed one left there
_MILVUS = "milvus.json"  # the same as `shopwindow.retrieval.milvus.index.FILE`, which is slow to import


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The served generation, without its engine.

    Attributes:
        folder: its folder.
        manifest: its manifest.
        vectors: (base rows, dim) float32, memory-mapped.
        delta: (delta rows, dim) float32.
        product_ids: (rows,) int64.
        content: (rows,) uint64, see `shopwindow.retrieval.embedding.content_hash`.
        alive: (rows,) bool.
        attributes: title and attribute columns, one row for each row of the index.
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
        """Read the served generation. Hold `home.writing` meanwhile, or another process may remove it.

        Raises:
            IndexUnfit: nothing was published there, a file is missing or unreadable, or the products are in Milvus.
        """
        folder = home.folder(_pointer(home))
        manifest = read_manifest(folder)
        if (folder / _MILVUS).exists():
            raise IndexUnfit(
                f"{folder}: its products are in Milvus, and an index in Milvus cannot be updated: update the index "
                f"that it was loaded from, then run 'shopwindow milvus --index THAT --out {home.path}'"
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
            raise IndexUnfit(
                f"{folder}: parts disagree about the number of rows: {rows}; build the index again with "
                "'shopwindow index'"
            )
        return found

    @property
    def number(self) -> int:
        """Number of the generation, which is the name of its folder."""
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
    """Lock an index home, to make its next generation from the served one.

    Args:
        path: the home.

    Yields:
        The home, its served generation, and an empty folder to fill and publish. At the end the folder is removed if it
        was not published.

    Raises:
        IndexUnfit: nothing was published there, another process writes there, or CURRENT names a generation that is
            broken or was refused.
    """
    home = IndexHome(path)
    _pointer(home)  # before `writing`, which would turn any folder into a home
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
    """Refuse to change a generation that a server refused.

    The next generation would be refused as well, and would replace the one that the server still serves.
    """
    current = _pointer(home)
    for process in served_by(home.path):
        if process.refused is not None and process.refused.generation == current:
            raise IndexUnfit(
                f"generation {current} of {home.path} was refused by {process.name}, which still serves "
                f"{process.generation}: {process.refused.reason}; go back with 'shopwindow rollback --to "
                f"{process.generation}' before you change the index"
            )


def link_files(source: Path, target: Path, leave_out: Collection[str]) -> None:
    """Put the files of one folder into another, as hard links if the file system has them, else as copies.

    Published files are never written to again, so both folders may share them.

    Args:
        source: a folder, with all folders in it.
        target: made if missing.
        leave_out: names of entries of `source` to leave out.
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
