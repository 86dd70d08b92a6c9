"""What was removed from an index while another build of it was under way, which must not come back with that build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import read_manifest
from shopwindow.retrieval.index.home import IndexHome


@dataclass(frozen=True, kw_only=True)
class ServedProducts:
    """What an index home served at some time.

    Attributes:
        generation: its number; 0 where nothing was published.
        product_ids: those that could be found, int64; none where they can't be told (a broken folder, or Milvus).
    """

    generation: int
    product_ids: np.ndarray

    @classmethod
    def now(cls, home: IndexHome) -> ServedProducts:
        """What is served now."""
        pointer = home.pointer
        nothing = np.empty(0, np.int64)
        if pointer is None:
            return cls(generation=0, product_ids=nothing)
        folder = home.folder(pointer.generation)
        try:
            ids: np.ndarray = np.load(folder / "product_ids.npy")
            if read_manifest(folder).dead:
                ids = ids[np.load(folder / "alive.npy")]
        except (OSError, EOFError, ValueError, IndexError, IndexUnfit):
            ids = nothing
        return cls(generation=pointer.generation, product_ids=ids)

    def removed_since(self, before: ServedProducts) -> np.ndarray:
        """The products of `before` that this one, if it is a later one, does not have any more, int64."""
        if self.generation <= before.generation or not len(self.product_ids):
            return np.empty(0, np.int64)
        return before.product_ids[~np.isin(before.product_ids, self.product_ids)]

    @classmethod
    def noted(cls, file: Path, home: IndexHome) -> ServedProducts:
        """What `file` holds; where there is none, what is served now, which it holds from then on."""
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
