"""Measure what text ids cost: the same products with whole numbers and with SKUs, each behind a real server.

python -m shopwindow_loadtests.text_ids_cost           # on the demo's repository and shop, about two minutes
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.default_places import REPOSITORY, SHOP
from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.index.product_keys import FILE
from shopwindow.server import TritonServer
from shopwindow_client import RetrievalClient
from shopwindow_loadtests.benchmarks_document import markdown_table
from shopwindow_loadtests.bisect.servers import server_options
from shopwindow_loadtests.generator.reading import in_turn

NUMBERS, TEXTS = "whole numbers", "texts"
GOAL_RATIO, GOAL_BYTES = 1.03, 40


def make_indexes(catalog: Path, repository: Path, folder: Path) -> dict[str, Path]:
    """Build an index of a catalogue with integer ids, and one with a SKU in place of each of them.

    Args:
        catalog: parquet with product_id.
        repository: an exported model repository.
        folder: receives the indexes.

    Returns:
        Kind of ids -> index home.
    """
    table = pq.read_table(catalog)
    skus = pa.array([f"SKU-{product:09d}" for product in table["product_id"].to_pylist()])
    texts = table.set_column(table.column_names.index("product_id"), "product_id", skus)
    homes = {}
    for kind, products in ((NUMBERS, table), (TEXTS, texts)):
        homes[kind] = folder / kind.replace(" ", "_")
        pq.write_table(products, folder / "products.parquet")
        build_index(folder / "products.parquet", repository, homes[kind], progress=False)
    return homes


def bytes_beside_text(home: Path) -> float:
    """Return the bytes that text ids add to an index for each product, without the texts themselves."""
    file = resolve_index(home) / FILE
    with pa.memory_map(str(file)) as source:
        keys = pa.ipc.open_file(source).read_all().column(0).to_pylist()
    return (file.stat().st_size - sum(len(key.encode()) for key in keys)) / len(keys)


def ask_in_turn(urls: dict[str, str], queries: int, top_k: int) -> dict[str, list[float]]:
    """Ask every server each query, one after the other, and swap their order every time.

    Each query is a new one, so no cache answers it.

    Args:
        urls: kind of ids -> `host:port`.
        queries: number of queries; a tenth of them comes first and does not count.
        top_k: products of a query.

    Returns:
        Kind of ids -> seconds of each query.
    """
    took: dict[str, list[float]] = {kind: [] for kind in urls}
    with ExitStack() as stack:
        clients = {kind: stack.enter_context(RetrievalClient(url, timeout_s=30)) for kind, url in urls.items()}
        for number in range(-queries // 10, queries):
            for kind in in_turn(urls, number):
                began = time.perf_counter()
                clients[kind].retrieve(f"red dress {number} {began}", top_k=top_k)
                if number >= 0:
                    took[kind].append(time.perf_counter() - began)
    return took


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table with the two servers' times, the ratio, and the bytes a product."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--catalog", type=Path, default=SHOP / "products.parquet")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--top-k", type=int, default=100)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        homes = make_indexes(options.catalog, options.repository, Path(folder))
        servers = {
            kind: stack.enter_context(TritonServer(server_options(options.repository, home, "cpu")))
            for kind, home in homes.items()
        }
        took = ask_in_turn({k: server.grpc_url for k, server in servers.items()}, options.queries, options.top_k)
        beside = bytes_beside_text(homes[TEXTS])
    rows = [[kind, f"{1e3 * median(times):.3f}", f"{len(times)}"] for kind, times in took.items()]
    print(markdown_table(("ids", "p50 ms", "queries"), rows))
    ratio = median(took[TEXTS]) / median(took[NUMBERS])
    print(f"\ntexts to whole numbers, p50 at top_k {options.top_k}: {ratio:.3f} (goal: at most {GOAL_RATIO})")
    print(f"bytes a product beside the text: {beside:.1f} (goal: at most {GOAL_BYTES})")
    return 0 if ratio <= GOAL_RATIO and beside <= GOAL_BYTES else 4


if __name__ == "__main__":
    sys.exit(main())
