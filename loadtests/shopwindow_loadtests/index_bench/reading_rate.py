"""Compares reading CSV and JSON lines with reading parquet, and measures the memory that a large CSV file takes.

    python -m shopwindow_loadtests.index_bench.reading_rate --catalog build/demo/shop/products.parquet \\
        --repository build/model_repository

The same products are written in each format, and read and prepared for the product tower on one core: the file is
opened, which decides the types of its columns, its rows and photos are read, titles are split into tokens and photos
are decoded. Parquet holds the photos as bytes, CSV their paths, and JSON lines hold them as base64. Rounds of all
formats alternate, and the share is taken within each round. It is a share of what indexing a product from parquet
takes, embedding included, which is measured once.

Then made-up catalogues with SKUs, prices as text and lists are read by a process each, and their peak memory is
compared.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from shopwindow.base.default_places import REPOSITORY, SHOP
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog, prepare
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline
from shopwindow_loadtests.benchmarks_document import markdown_table, replace_section
from shopwindow_loadtests.judging.conditions import cpu_name

FORMATS = ("parquet", "csv", "jsonl")
MOST_SHARE, MOST_GROWTH = 0.10, 1.2
SIZES = (100_000, 1_000_000)
BEGIN, END = "<!-- reading-rate: begin -->", "<!-- reading-rate: end -->"
MADE_UP = CatalogOptions(
    columns={"product_id": ("sku",), "title": ("brand", "name")},
    numbers={"price": ""},
    lists={"sizes": "|"},
    dates=("listed",),
)


def write_formats(catalog: Path, folder: Path) -> dict[str, Path]:
    """Write a parquet catalogue with photos as bytes in each format, and return format -> file."""
    files = {name: folder / f"products.{name}" for name in FORMATS}
    table = pq.read_table(catalog)
    pq.write_table(table, files["parquet"])
    rows = table.to_pylist()
    with files["jsonl"].open("w") as file:
        for row in rows:
            photo = row["image"] and base64.b64encode(row["image"]).decode()
            file.write(json.dumps({**row, "image": photo}) + "\n")
    with files["csv"].open("w", newline="") as file:
        writer = csv.DictWriter(file, table.column_names)
        writer.writeheader()
        for number, row in enumerate(rows):
            path = folder / f"{number}.image"
            path.write_bytes(row["image"] or b"")
            writer.writerow({**row, "image": row["image"] and path.name})
    return files


def prepared_rate(file: Path, preprocess: ProductPreprocessor) -> float:
    """Return the products per second of reading a file and preparing its products.

    The seconds are those of a core, so that other processes of the machine do not count.
    """
    started, products = time.process_time(), 0
    for rows in Catalog(file).read(TOWER_ROWS):
        batch, _ = prepare(rows.titles, rows.images, preprocess)
        products += 0 if batch is None else len(batch.title_ids)
    return products / (time.process_time() - started)


def embedding_seconds(catalog: Path, pipeline: InProcessPipeline) -> float:
    """Return the seconds of a core that the product tower takes for a prepared product."""
    seconds, products = 0.0, 0
    for rows in Catalog(catalog).read(TOWER_ROWS):
        batch, _ = prepare(rows.titles, rows.images, pipeline.preprocessor)
        if batch is not None:
            started = time.process_time()
            products += len(pipeline.embed_prepared(batch)[0])
            seconds += time.process_time() - started
    return seconds / products


def compare(catalog: Path, preprocess: ProductPreprocessor, rounds: int) -> list[dict[str, float]]:
    """Return format -> products per second of a core, for each round. The order of the formats changes."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_formats(catalog, Path(folder))
        prepared_rate(files["parquet"], preprocess)  # a warm-up
        found = []
        for number in range(rounds):
            order = FORMATS[number % len(FORMATS) :] + FORMATS[: number % len(FORMATS)]
            found.append({name: prepared_rate(files[name], preprocess) for name in order})
    return found


def made_up_rows(rows: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a made-up catalogue, as a shop's export has them: SKUs, prices as text, lists in text."""
    rng = random.Random(7)
    colours, articles = ("red", "navy", "white", "green", "black"), ("mug", "dress", "lamp", "trainers", "sofa")
    for row in range(rows):
        yield {
            "sku": f"SW-{row:09d}-{rng.randrange(16**4):04x}",
            "brand": f"Brand {rng.randrange(500)}",
            "name": f"{rng.choice(colours)} {rng.choice(articles)}, series {rng.randrange(10_000)}",
            "price": f"₹{rng.randrange(1, 10**6):,}.{rng.randrange(100):02d}",
            "sizes": "|".join(rng.sample(("XS", "S", "M", "L", "XL", "XXL"), rng.randrange(6))),
            "listed": f"20{rng.randrange(10, 27)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}",
        }


def peak_memory(rows: int, folder: Path) -> tuple[int, float]:
    """Write and read a made-up catalogue of some rows as CSV; return the peak memory in bytes and the seconds.

    A process of its own reads it.
    """
    file = folder / f"{rows}.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(next(made_up_rows(1))))
        writer.writeheader()
        writer.writerows(made_up_rows(rows))
    started = time.perf_counter()
    command = [sys.executable, "-m", __spec__.name if __name__ == "__main__" else __name__, "--read", str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    file.unlink()
    return 1024 * int(printed), time.perf_counter() - started


def read_made_up(file: Path) -> int:
    """Read a made-up catalogue to its end, and return the peak memory of this process in KiB."""
    catalog = Catalog(file, MADE_UP)
    rows = sum(len(rows.ids) - len(rows.refused) for rows in catalog.read(TOWER_ROWS))
    if rows != catalog.rows or catalog.schema.names != ["title", "brand", "name", "price", "sizes", "listed"]:
        raise ValueError(f"{file}: read {rows} rows, columns {catalog.schema.names}")
    # Not getrusage, which reports the peak of the parent process if that is higher.
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0 if the formats are fast enough and memory stays constant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, default=SHOP / "products.parquet", metavar="FILE")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=SIZES, metavar="N", help="rows of the made-up catalogues"
    )
    parser.add_argument("--document", type=Path, metavar="FILE", help="write the figures into it, too")
    parser.add_argument("--read", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.read:
        print(read_made_up(options.read))
        return 0
    pipeline = InProcessPipeline(options.repository)
    embedding = embedding_seconds(options.catalog, pipeline)
    rates = compare(options.catalog, pipeline.preprocessor, options.rounds)
    median = {name: float(np.median([rate[name] for rate in rates])) for name in FORMATS}
    later = {name: float(np.median([1 / rate[name] - 1 / rate["parquet"] for rate in rates])) for name in FORMATS}
    more = {name: later[name] / (1 / median["parquet"] + embedding) for name in FORMATS}
    table = [
        [
            name,
            f"{median[name]:,.0f}",
            f"{1e6 * later[name]:+.0f}",
            f"{later[name] * median['parquet']:+.1%}",
            f"{share:+.1%}",
        ]
        for name, share in more.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        peaks = {rows: peak_memory(rows, Path(folder)) for rows in sorted(options.rows)}
    memory = [[f"{n:,}", f"{peak / 2**20:.0f}", f"{n / s:,.0f}"] for n, (peak, s) in peaks.items()]
    growth = max(peak for peak, _ in peaks.values()) / min(peak for peak, _ in peaks.values())
    slow, grown = max(more.values()) > MOST_SHARE, growth > MOST_GROWTH
    lines = [
        f"{cpu_name()}. {options.catalog.name} read and prepared, median of {options.rounds} rounds:",
        markdown_table(["format", "products/s of a core", "µs more", "of reading and preparing", "of indexing"], table),
        f"{'FAIL' if slow else 'PASS'}: at most {MOST_SHARE:.0%} more of indexing is wanted; embedding a product takes "
        f"{1e6 * embedding:.0f} µs.",
        "A made-up CSV file with SKUs, prices as text, lists and dates, read to its end:",
        markdown_table(["rows", "peak memory, MiB", "rows/s"], memory),
        f"{'FAIL' if grown else 'PASS'}: memory grows {growth:.2f}x, at most {MOST_GROWTH:g}x is wanted.",
    ]
    print("\n".join(lines))
    if options.document:
        replace_section(options.document, BEGIN, END, "\n\n".join(lines))
    return int(slow or grown)


if __name__ == "__main__":
    raise SystemExit(main())
