"""Convert published data sets to our layout: products.parquet, and same_style.parquet if there are labelled pairs.

Rows that cannot be used are left out and listed with their reason. Only a source in another format is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.retrieval.errors import show
from shopwindow.towers.data.training_data import photo_of

# Columns of ashraq/fashion-product-images-small -> their names in our catalogue.
ATTRIBUTES = {
    "gender": "gender",
    "masterCategory": "master_category",
    "subCategory": "sub_category",
    "articleType": "article_type",
    "baseColour": "base_colour",
    "season": "season",
    "year": "year",
    "usage": "usage",
}
FASHION = pa.schema(
    [
        ("product_id", pa.int64()),
        ("title", pa.string()),
        ("image", pa.binary()),
        *((name, pa.int64() if name == "year" else pa.string()) for name in ATTRIBUTES.values()),
    ]
)
BATCH = 512  # rows in memory at a time, because photos are large


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A summary of what a conversion wrote.

    Attributes:
        counts: name -> number, in the order to print them.
        skipped: the rows left out.
    """

    counts: dict[str, int]
    skipped: Skipped

    def __str__(self) -> str:
        rows = {**self.counts, "rows left out": len(self.skipped.rows)}
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}} {count:>9}" for name, count in rows.items())


def convert_fashion(source: Path, out: Path) -> Converted:
    """Convert Fashion Product Images (Small) in its Hugging Face form, ashraq/fashion-product-images-small.

    Photos are copied without decoding them, so broken ones are copied too.

    Args:
        source: a parquet file, or a folder with parquet files at any depth, such as a downloaded snapshot.
        out: folder for products.parquet (product_id, title, image, gender, master_category, sub_category,
            article_type, base_colour, season, year, usage) and skipped.csv (row number over all files, product_id,
            reason).

    Raises:
        ValueError: there is no parquet file, or one lacks columns of that data set.
    """
    files = source_files(source, ("*.parquet",))
    for file in files:
        names = pq.read_schema(file).names
        if missing := [name for name in ("id", "productDisplayName", "image", *ATTRIBUTES) if name not in names]:
            raise ValueError(f"{file}: has no column {', '.join(missing)}; it has {names}")
    out.mkdir(parents=True, exist_ok=True)
    skipped = Skipped()
    photos = written = 0
    with pq.ParquetWriter(out / "products.parquet", FASHION, compression="zstd") as writer:
        for products in _in_batches(_fashion_products(files, skipped)):
            writer.write_table(pa.Table.from_pylist(products, schema=FASHION))
            written += len(products)
            photos += sum(product["image"] is not None for product in products)
    write_skipped(out, skipped)
    return Converted(counts={"products": written, "with a photo": photos}, skipped=skipped)


def _fashion_products(files: list[Path], skipped: Skipped) -> Iterator[dict[str, Any]]:
    seen: set[int] = set()
    total = sum(pq.read_metadata(file).num_rows for file in files)
    rows = (row for file in files for batch in pq.ParquetFile(file).iter_batches(BATCH) for row in _rows(batch))
    for number, row in enumerate(progress_bar(rows, total=total, desc="products", unit="product")):
        if isinstance(row, UnicodeDecodeError):
            skipped.add(number, None, f"text that is not UTF-8: {row}")
            continue
        product_id = _whole(row["id"])
        title = (row["productDisplayName"] or "").strip()
        image = photo_of(row["image"]) or None
        if product_id is None:
            skipped.add(number, row["id"], f"id: must be a whole number from 0 to 2^63 - 1, got {show(row['id'])}")
        elif product_id in seen:
            skipped.add(number, product_id, "id: appears twice")
        elif not title and image is None:
            skipped.add(number, product_id, "neither a title nor a photo")
        else:
            seen.add(product_id)
            attributes = {ours: row[theirs] for theirs, ours in ATTRIBUTES.items()}
            attributes["year"] = _whole(attributes["year"])  # a float in the source, because some are missing
            yield {"product_id": product_id, "title": title or None, "image": image, **attributes}


def _rows(batch: pa.RecordBatch) -> Iterator[Any]:
    """Yield the rows of a batch. A row whose text is not UTF-8, which parquet allows, gives an error in its place."""
    for row in range(batch.num_rows):
        try:
            yield batch.slice(row, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield error


def _whole(value: Any) -> int | None:
    """Return a value as a number from 0 to 2^63 - 1 if it is an int, a whole float or digits; otherwise None."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 and not (isinstance(value, float) and value != number) else None


def _in_batches(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def source_files(source: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the file itself, or every matching file of a folder at any depth, sorted by name.

    Raises:
        ValueError: there is no such file.
    """
    files = [source] if source.is_file() else sorted({file for p in patterns for file in source.rglob(p)})
    if not files:
        raise ValueError(f"{source}: has no file {' or '.join(patterns)}")
    return files


def write_skipped(out: Path, skipped: Skipped) -> None:
    """Write skipped.csv. It holds only the heading if no row was left out."""
    (out / "skipped.csv").write_text(skipped.to_csv(), encoding="utf-8", errors="backslashreplace")
