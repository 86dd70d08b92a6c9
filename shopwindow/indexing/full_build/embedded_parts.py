"""What a build has embedded so far, in `building/` of an index home: it survives a kill, and the same command goes on.

progress.json       what is built from and how far it came, replaced after every part
began.npz           what was served when it began, see `shopwindow.indexing.full_build.removed_meanwhile`
attributes/         attribute rows, a parquet file a part
index/              vectors.npy, product_ids.npy, content.npy, skipped.csv: each part is appended
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
from shopwindow.indexing.catalogue.columns import TITLE
from shopwindow.indexing.full_build.growing_array import GrowingArray
from shopwindow.retrieval.request.attribute_columns import AttributeTable

_PROGRESS = "progress.json"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a build came.

    Attributes:
        inputs: what decides the result; a build of others starts over.
        rows: catalogue rows read.
        products: embedded.
        parts: written.
        skipped: catalogue rows left out.
        skipped_bytes: length of skipped.csv.
        seconds: wall time that embedding took, over all runs.
        published: as what the whole index was about to be published; None before that.
    """

    inputs: dict[str, Any]
    rows: int = 0
    products: int = 0
    parts: int = 0
    skipped: int = 0
    skipped_bytes: int = 0
    seconds: float = 0.0
    published: dict[str, Any] | None = None


class Building:
    """The files of an index that is being embedded.

    Args:
        folder: `building/` of the home; hold the home's `filling`.
        inputs: see `Progress`; must survive JSON.
        dim: vector length.

    Attributes:
        progress: how far it came.
        changed: names of the inputs that differ from those of a build that stood here and was removed.
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
            except (OSError, ValueError):  # its files are gone: a kill came just when they had been published
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
        if progress.skipped_bytes:
            os.truncate(self.index / "skipped.csv", progress.skipped_bytes)
            self.progress = progress
        else:
            (self.index / "skipped.csv").write_text(Skipped().to_csv())
            self._save(replace(progress, skipped_bytes=(self.index / "skipped.csv").stat().st_size))

    def append(
        self,
        *,
        rows: int,
        product_ids: np.ndarray,
        vectors: np.ndarray,
        content: np.ndarray,
        attributes: pa.Table,
        skipped: Skipped,
        seconds: float,
    ) -> None:
        """Add a part; when this returns it is on the disk and counted.

        Args:
            rows: catalogue rows read for it.
            product_ids: (products,) int64.
            vectors: (products, dim) float32.
            content: (products,) uint64.
            attributes: one row per product.
            skipped: rows left out.
            seconds: wall time that it took.
        """
        AttributeTable(attributes)  # what could not be served must not be written
        now = self.progress
        self._vectors.append(vectors)
        self._ids.append(product_ids)
        self._content.append(content)
        pq.write_table(attributes, self._part(now.parts + 1))
        sync(self._part(now.parts + 1))
        with (self.index / "skipped.csv").open("a") as file:
            file.write(skipped.to_csv().partition("\n")[2])
            file.flush()
            os.fsync(file.fileno())
            length = file.tell()
        self._save(
            replace(
                now,
                rows=now.rows + rows,
                products=now.products + len(product_ids),
                parts=now.parts + 1,
                skipped=now.skipped + len(skipped.rows),
                skipped_bytes=length,
                seconds=now.seconds + seconds,
            )
        )

    def publishing(self, how: dict[str, Any]) -> None:
        """Note that the index folder is whole and about to be published, which a kill may cut off halfway."""
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
        """The attribute rows, part by part."""
        for part in range(1, self.progress.parts + 1):
            yield pq.read_table(self._part(part), columns=columns)

    def remove(self) -> None:
        """Remove everything."""
        clear(self.folder)

    def __enter__(self) -> Building:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for array in (self._vectors, self._ids, self._content):
            array.close()

    def _part(self, number: int) -> Path:
        return self.folder / "attributes" / f"attributes-{number:05d}.parquet"

    def _save(self, progress: Progress) -> None:
        new = self.folder / f".{_PROGRESS}.new"
        new.write_text(json.dumps(asdict(progress), indent=2) + "\n")
        sync(new)
        new.replace(self.folder / _PROGRESS)
        sync(self.folder)
        self.progress = progress


def read_progress(folder: Path) -> Progress | None:
    """How far the build in a folder came; None where there is none."""
    try:
        return Progress(**json.loads((folder / _PROGRESS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def clear(folder: Path) -> None:
    """Remove all of a build; what a kill leaves of it then does not look like one."""
    (folder / _PROGRESS).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
