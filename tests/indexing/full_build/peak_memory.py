"""Run as a script: prints the peak memory, in KiB, of the embedding stage over a catalogue. Arguments: file, folder.

Random numbers replace the towers, whose memory does not depend on the catalogue.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.embedders import embed_in_order
from shopwindow.indexing.full_build.embedding import embed_catalog

DIM = 128


class RandomEmbedder:
    workers, photos = 2, 1

    def __call__(self, titles: Sequence[str], images: Sequence[bytes]) -> tuple[np.ndarray, dict[int, str]]:
        return np.random.default_rng(len(titles[0])).random((len(titles), DIM), np.float32), {}


catalog = Catalog(Path(sys.argv[1]))
with Building(Path(sys.argv[2]), {}, DIM) as building:
    embed_catalog(building, embed_in_order(catalog, RandomEmbedder(), 0), catalog.rows, progress=False)
    assert building.progress.products == catalog.rows
# Not getrusage, which reports the peak of the parent process if that is higher.
print(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
