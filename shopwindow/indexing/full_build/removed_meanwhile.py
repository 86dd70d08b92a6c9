"""Products removed while a build was running. The finished build must not bring them back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.checksums import check_folder
from shopwindow.retrieval.index.folder import read_manifest
from shopwindow.retrieval.index.home import IndexHome


@dataclass(frozen=True, kw_only=True)
class ServedProducts:
    """The products that an index home served at some time.

    Attributes:
        generation: number of the generation; 0 if nothing was published.
        product_ids: ids of the products that could be found, int64; empty if they are unknown (a broken folder, or
            Milvus).
    """

    generation: int
    product_ids: np.ndarray

    @classmethod
    def now(cls, home: IndexHome) -> ServedProducts:
        """Return the products that are served now."""
        pointer = home.pointer
        nothing = np.empty(0, np.int64)
        if pointer is None:
            return cls(generation=0, product_ids=nothing)
        folder = home.folder(pointer.generation)
        try:
            check_folder(folder, only={"product_ids.npy", "alive.npy"})
            ids: np.ndarray = np.load(folder / "product_ids.npy")
            if read_manifest(folder).dead:
                ids = ids[np.load(folder / "alive.npy")]
        except (OSError, EOFError, ValueError, IndexError, IndexUnfit):
            ids = nothing
        return cls(generation=pointer.generation, product_ids=ids)

    def removed_since(self, before: ServedProducts) -> np.ndarray:
        """Return the products of `before` that are gone, int64; none if this generation is not a later one."""
        if self.generation <= before.generation or not len(self.product_ids):
            return np.empty(0, np.int64)
        return before.product_ids[~np.isin(before.product_ids, self.product_ids)]

    @classmethod
    def noted(cls, file: Path, home: IndexHome) -> ServedProducts:
        """Return what `file` holds. If there is no file, return what is served now, and write it there."""
        try:
            with np.load(file) as held:
                return cls(generation=int(held["generation"]), product_ids=held["product_ids"])
        except FileNotFoundError:
            found = cls.now(home)
            new = file.with_name(f".{file.name}")
            with new.open("wb") as stream:
                np.savez(stream, generation=found.generation, product_ids=found.product_ids)
            new.replace(file)
            return found
