"""An index that someone made on purpose: its arrays may hold pickles, which run code when they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shopwindow.retrieval import IndexUnfit
from shopwindow.retrieval.index.checksums import Verify
from shopwindow.retrieval.index.folder import read_index, read_manifest, write_manifest
from tests.retrieval.index_parts import make_index, write_folder


class Trap:
    """Makes a file when it is read from a pickle."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.ran,)


@pytest.mark.parametrize("name", ["product_ids.npy", "vectors.npy"])
def test_a_pickle_in_an_array_is_not_read(tmp_path: Path, name: str) -> None:
    """Checksums are no help here, because who writes an index writes them too."""
    index, ran = tmp_path / "index", tmp_path / "ran"
    write_folder(index, make_index("flat", 8))
    np.save(index / name, np.array([Trap(ran)], dtype=object))
    write_manifest(index, read_manifest(index, Verify.OFF))
    with pytest.raises(IndexUnfit, match=rf"{name}.*([Oo]bject|pickle)"):
        read_index(index)
    assert not ran.exists()
    np.load(index / name, allow_pickle=True)
    assert ran.exists()  # so the trap works
