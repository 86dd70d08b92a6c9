"""What a build has embedded so far, in `building/` of an index home. After a kill, the same command goes on from there.

progress.json       what the build is made from, and how far it has come; replaced after every part
began.npz           what was served when the build began, see `shopwindow.indexing.full_build.removed_meanwhile`
attributes/         attribute rows, one parquet file per part, and another for text ids
index/              vectors.npy, product_ids.npy, content.npy, skipped.csv, unread_photos.csv; every part is appended
                    to them
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.skipped_rows import Skipped
from shopwindow.base.whole_folders import sync
from shopwindow.indexing.catalogue.options import TITLE
from shopwindow.indexing.full_build.growing_array import GrowingArray
from shopwindow.retrieval.request.attribute_columns import AttributeTable

_PROGRESS = "progress.json"
SKIPPED, UNREAD = "skipped.csv", "unread_photos.csv"
_KEYS = "product_keys"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a build has come.

    Attributes:
        inputs: what the result depends on; a build with other inputs starts over.
        rows: catalogue rows read.
        products: products embedded.
        parts: parts written.
        skipped: catalogue rows left out.
        skipped_bytes: length of skipped.csv.
        unread: products embedded without some of their photos, because these cannot be read.
        unread_bytes: length of the list of these products.
        seconds: wall time of embedding, over all runs.
        published: generation and options of the finished index, noted just before it is published; None until then.
    """

    inputs: dict[str, Any]
    rows: int = 0
    products: int = 0
    parts: int = 0
    skipped: int = 0
    skipped_bytes: int = 0
    unread: int = 0
    unread_bytes: int = 0
    seconds: float = 0.0
    published: dict[str, Any] | None = None


class Building:
    """The files of an index that is being embedded.

    Args:
        folder: `building/` of the home; hold the home's `filling` lock.
        inputs: see `Progress`; JSON must keep them as they are.
        dim: vector length.

    Attributes:
        progress: how far the build has come.
        changed: names of the inputs in which an earlier, unfinished build differed. That build was removed.
    """

    def __init__(self, folder: Path, inputs: dict[str, Any], dim: int) -> None:
        self.folder = folder
        self.index = folder / "index"
        self._dim = dim
        self.changed: list[str] = []
        found = read_progress(folder)
        if found is not None and found.inputs != inputs:
            self.changed = sorted(k for k in {*inputs, *found.inputs} if inputs.get(k) != found.inputs.get(k))
            found = None
        if found is not None:
            try:
                self._open(found)
                return
            except (OSError, ValueError):  # its files are gone: a kill came just after they were published
                pass
        self.remove()
        self._open(Progress(inputs=inputs))

    def _open(self, progress: Progress) -> None:
        for folder in (self.index, self.folder / "attributes"):
            folder.mkdir(parents=True, exist_ok=True)
        rows = progress.products
        self._vectors = GrowingArray(self.index / "vectors.npy", rows, np.float32, (self._dim,))
        self._ids = GrowingArray(self.index / "product_ids.npy", rows, np.int64)
        self._content = GrowingArray(self.index / "content.npy", rows, np.uint64)
        lengths = {
            SKIPPED: self._cut_list(SKIPPED, progress.skipped_bytes),
            UNREAD: self._cut_list(UNREAD, progress.unread_bytes),  # 0 if an earlier version began the build
        }
        self._save(replace(progress, skipped_bytes=lengths[SKIPPED], unread_bytes=lengths[UNREAD]))

    def append(
        self,
        *,
        rows: int,
        product_ids: np.ndarray,
        product_keys: list[str] | None,
        vectors: np.ndarray,
        content: np.ndarray,
        attributes: pa.Table,
        skipped: Skipped,
        unread: Skipped,
        seconds: float,
    ) -> None:
        """Add a part. On return it is on disk and counted.

        Args:
            rows: catalogue rows read for the part.
            product_ids: (products,) int64.
            product_keys: the text ids; None if ids are whole numbers.
            vectors: (products, dim) float32.
            content: (products,) uint64.
            attributes: one row per product.
            skipped: rows left out.
            unread: products embedded without some of their photos.
            seconds: wall time that the part took.
        """
        AttributeTable(attributes)  # raises if the table could not be served
        now = self.progress
        self._vectors.append(vectors)
        self._ids.append(product_ids)
        self._content.append(content)
        pq.write_table(attributes, self._part(now.parts + 1))
        sync(self._part(now.parts + 1))
        if product_keys is not None:
            keys = pa.table({_KEYS: pa.array(product_keys, pa.large_string())})
            pq.write_table(keys, self._part(now.parts + 1, _KEYS))
            sync(self._part(now.parts + 1, _KEYS))
        lengths = {name: self._list(name, rows) for name, rows in ((SKIPPED, skipped), (UNREAD, unread))}
        self._save(
            replace(
                now,
                rows=now.rows + rows,
                products=now.products + len(product_ids),
                parts=now.parts + 1,
                skipped=now.skipped + len(skipped.rows),
                skipped_bytes=lengths[SKIPPED],
                unread=now.unread + len(unread.rows),
                unread_bytes=lengths[UNREAD],
                seconds=now.seconds + seconds,
            )
        )

    def _cut_list(self, name: str, length: int) -> int:
        """Cut a list to a length, or begin it if that is 0. Return its length."""
        if length:
            os.truncate(self.index / name, length)
        else:
            (self.index / name).write_text(Skipped().to_csv())
        return (self.index / name).stat().st_size

    def _list(self, name: str, rows: Skipped) -> int:
        """Add rows to a list, and return its length."""
        with (self.index / name).open("a") as file:
            file.write(rows.to_csv().partition("\n")[2])
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def publishing(self, how: dict[str, Any]) -> None:
        """Note that the index folder is complete and about to be published. A kill may interrupt the publishing."""
        self._save(replace(self.progress, published=how))

    @property
    def vectors(self) -> np.ndarray:
        """(products, dim) float32, memory-mapped."""
        return self._vectors.read()

    @property
    def product_ids(self) -> np.ndarray:
        """(products,) int64, memory-mapped."""
        return self._ids.read()

    @property
    def has_titles(self) -> bool:
        """Whether the catalogue has a column of titles."""
        return TITLE in pq.read_schema(self._part(1)).names

    def attribute_parts(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the attribute rows, part by part."""
        for part in range(1, self.progress.parts + 1):
            yield pq.read_table(self._part(part), columns=columns)

    def product_keys(self) -> pa.Array | None:
        """Return the text ids, (products,) large_string; None if ids are whole numbers."""
        files = [self._part(part, _KEYS) for part in range(1, self.progress.parts + 1)]
        if not files or not files[0].exists():
            return None
        return pa.concat_arrays([chunk for file in files for chunk in pq.read_table(file)[_KEYS].chunks])

    def remove(self) -> None:
        """Remove all files of the build."""
        clear(self.folder)

    def __enter__(self) -> Building:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for array in (self._vectors, self._ids, self._content):
            array.close()

    def _part(self, number: int, name: str = "attributes") -> Path:
        return self.folder / "attributes" / f"{name}-{number:05d}.parquet"

    def _save(self, progress: Progress) -> None:
        new = self.folder / f".{_PROGRESS}.new"
        new.write_text(json.dumps(asdict(progress), indent=2) + "\n")
        sync(new)
        new.replace(self.folder / _PROGRESS)
        sync(self.folder)
        self.progress = progress


def read_progress(folder: Path) -> Progress | None:
    """Return how far the build in a folder has come; None if there is none."""
    try:
        return Progress(**json.loads((folder / _PROGRESS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def clear(folder: Path) -> None:
    """Remove a build, its progress file first. If a kill interrupts this, the rest no longer counts as a build."""
    (folder / _PROGRESS).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
