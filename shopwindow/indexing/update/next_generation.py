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

from shopwindow.indexing.catalogue.plain_types import plain_table
from shopwindow.retrieval.engines.stored_vectors import JoinedVectors, Vectors
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.attribute_texts import FILE as ATTRIBUTE_TEXTS
from shopwindow.retrieval.index.checksums import Checksums, check_arrived, check_folder, files_in, read_sealed
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.product_keys import FILE as PRODUCT_KEYS
from shopwindow.retrieval.index.product_keys import read_keys
from shopwindow.retrieval.index.serving_processes import served_by

_READ = frozenset({"delta.npy", "product_ids.npy", PRODUCT_KEYS, "content.npy", "alive.npy", "attributes.parquet"})
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
        attributes: title and attribute columns in plain types, one row for each row of the index.
        product_keys: the text ids, (rows,) large_string, memory-mapped; None if ids are whole numbers.
    """

    folder: Path
    manifest: Manifest
    vectors: np.ndarray
    delta: np.ndarray
    product_ids: np.ndarray
    content: np.ndarray
    alive: np.ndarray
    attributes: pa.Table
    product_keys: pa.Array | None

    @classmethod
    def read(cls, home: IndexHome) -> Generation:
        """Read the served generation. Hold `home.writing` meanwhile, or another process may remove it.

        Raises:
            IndexUnfit: nothing was published there, a file is missing, changed or unreadable, or the products are in
                Milvus.
        """
        folder = home.folder(_pointer(home))
        manifest = read_manifest(folder)
        if (folder / _MILVUS).exists():
            raise IndexUnfit(
                f"{folder}: its products are in Milvus, and an index in Milvus cannot be updated: update the index "
                f"that it was loaded from, then run 'shopwindow milvus --index THAT --out {home.path}'"
            )
        check_arrived(folder)  # or the next generation would lack the same files
        # What is read here is written again, with new checksums. A fault must not be written with it.
        check_folder(folder, only=_READ)
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
                attributes=plain_table(pq.read_table(folder / "attributes.parquet")),
                product_keys=read_keys(folder),
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
        if found.product_keys is not None:
            rows[PRODUCT_KEYS] = len(found.product_keys)
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
    def has_texts(self) -> bool:
        """Whether it has the texts that replies show; an index of an earlier version lacks them."""
        return (self.folder / ATTRIBUTE_TEXTS).exists()

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
        folder = home.updating
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
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


def link_files(source: Path, target: Path, leave_out: Collection[str]) -> Checksums:
    """Put the files of one index folder into another, as hard links if the file system has them, else as copies.

    Published files are never written to again, so both folders may share them.

    Args:
        source: an index folder. Files that are not in its manifest are left out; if an earlier version wrote it, none.
        target: the folder to fill.
        leave_out: names of entries of `source` to leave out.

    Returns:
        The checksums of the files, as they were when they were written. They are not read here.
    """
    sums = read_sealed(source)[1]
    names = [
        name for name in files_in(source) if name.partition("/")[0] not in leave_out and (sums is None or name in sums)
    ]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:
            shutil.copy2(source / name, target / name)
    return {} if sums is None else {name: sums[name] for name in names}
