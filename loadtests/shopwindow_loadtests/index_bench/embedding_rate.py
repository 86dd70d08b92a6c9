"""Compares the embedding stage of `shopwindow index` with the towers alone, in process, on the same products.

    python -m shopwindow_loadtests.index_bench.embedding_rate --catalog build/demo/shop/products.parquet \\
        --repository build/model_repository

'The towers alone' is `embed_product` on products in memory, in as many threads as the stage has. No stage that reads,
checks and stores can be faster. Rounds of both alternate, and the ratio is taken within each round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from shopwindow.base.default_places import SHOP
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.embedders import LocalEmbedder, embed_in_order
from shopwindow.indexing.full_build.embedding import embed_catalog
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline

LEAST_RATIO = 0.9

Products = tuple[list[str], list[bytes]]
"""Titles and encoded photos of one call."""


def read_products(catalog: Catalog) -> list[Products]:
    """Return all usable products of a catalogue, in calls as large as those of the stage."""
    return [
        ([rows.titles[i] for i in rows.usable], [rows.images[i] for i in rows.usable])
        for rows in catalog.read(TOWER_ROWS)
        if rows.usable
    ]


def stage_rate(catalog: Catalog, pipeline: InProcessPipeline, folder: Path) -> float:
    """Return the products per second of reading, preparing, embedding and storing."""
    embedder = LocalEmbedder(pipeline)
    started = time.perf_counter()
    with Building(folder, {}, pipeline.bundle.embedding_dim) as building:
        embed_catalog(building, embed_in_order(catalog, embedder, 0), catalog.rows, progress=False)
        products = building.progress.products
    return products / (time.perf_counter() - started)


def towers_rate(calls: Sequence[Products], pipeline: InProcessPipeline) -> float:
    """Return the products per second of `embed_product`."""
    with ThreadPoolExecutor(LocalEmbedder(pipeline).workers) as pool:
        started = time.perf_counter()
        products = sum(pool.map(lambda call: len(pipeline.embed_product(*call)[0]), calls))
        return products / (time.perf_counter() - started)


def compare(catalog: Catalog, pipeline: InProcessPipeline, rounds: int) -> list[tuple[float, float]]:
    """Return (stage, towers) products per second for each round. Every other round begins with the towers.

    Raises:
        InvalidRequest: The catalogue has a photo that cannot be decoded. Both must embed the same products.
    """
    calls = read_products(catalog)
    towers_rate(calls[:2], pipeline)  # loads the tower
    found = []
    for number in range(rounds):
        towers = towers_rate(calls, pipeline) if number % 2 else None
        with tempfile.TemporaryDirectory() as folder:
            stage = stage_rate(catalog, pipeline, Path(folder) / "building")
        found.append((stage, towers or towers_rate(calls, pipeline)))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0 if the stage is fast enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, nargs="+", default=[SHOP / "products.parquet"], metavar="PATH")
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds: must be at least 1, got {options.rounds}")
    rates = compare(Catalog(options.catalog), InProcessPipeline(options.repository), options.rounds)
    for number, (stage, towers) in enumerate(rates, 1):
        print(f"round {number}: stage {stage:.0f} products/s, towers alone {towers:.0f}, ratio {stage / towers:.3f}")
    stage, towers = np.median(rates, axis=0)
    ratio = float(np.median([stage / towers for stage, towers in rates]))
    print(
        f"{'PASS' if ratio >= LEAST_RATIO else 'FAIL'}  median ratio {ratio:.3f}, at least {LEAST_RATIO} wanted: "
        f"{stage:.0f} products/s through the stage, {towers:.0f} by the towers alone"
    )
    return int(ratio < LEAST_RATIO)


if __name__ == "__main__":
    raise SystemExit(main())
