"""Convert eSSPR's pair files (esspr_data4train, esspr_data4eval) to our layout; see `published_sets`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.retrieval.errors import show
from shopwindow.towers.data.published_sets import BATCH, Converted, source_files, write_skipped

PRODUCTS = pa.schema(
    {
        "product_id": pa.int64(),
        "title": pa.string(),
        "image": pa.binary(),
        "category": pa.string(),
        "leaf_category": pa.string(),
    }
)
PAIRS = pa.schema({"trigger_id": pa.int64(), "recall_id": pa.int64(), "label": pa.int32()})
IDS = pa.schema({"product_id": pa.int64(), "source_id": pa.string()})


@dataclass
class _Products:
    """The details of the products in the pairs. For each detail, the first value that is not empty counts."""

    details: dict[int, dict[str, str]] = field(default_factory=dict)

    def add(self, product_id: int, details: dict[str, str]) -> None:
        known = self.details.setdefault(product_id, details)
        for name, value in details.items():
            known[name] = known[name] or value


def convert_esspr(source: Path, out: Path, images: Path | None = None) -> Converted:
    """Convert pairs with cate_lv1_name, cate_name, {trigger,recall}_{id,title,img} and label.

    Nothing is downloaded. A photo is read from the folder `images`: a path counts from there, and of a URL only the
    file name counts.

    Args:
        source: a file of JSON lines or of one JSON list, or a folder of such files (.json, .jsonl).
        out: folder for products.parquet (product_id, title, image, category, leaf_category), labelled_pairs.parquet
            (trigger_id, recall_id, label 1 or 0), same_style.parquet (only the pairs with label 1, because readers of
            that file take every row as a pair), product_ids.parquet (product_id, source_id) and skipped.csv (row
            number over all files, trigger_id, reason).
        images: folder of the photos. None means the source's folder.

    Raises:
        ValueError: there is no such file, a JSON list cannot be read, or no row is a pair.
    """
    folder = images or (source if source.is_dir() else source.parent)
    skipped, products = Skipped(), _Products()
    sources: dict[int, str] = {}
    labels: list[tuple[int, int, int]] = []
    rows = (row for file in source_files(source, ("*.json", "*.jsonl")) for row in _rows(file))
    for number, row in enumerate(rows):
        try:
            labels.append(_pair(row, products, sources))
        except ValueError as error:
            skipped.add(number, row.get("trigger_id") if isinstance(row, dict) else None, str(error))
    if not labels:
        reason = f"; the first row: {skipped.rows[0][2]}" if skipped.rows else ""
        raise ValueError(f"{source}: no row is a pair in eSSPR's format{reason}")
    out.mkdir(parents=True, exist_ok=True)
    pairs = pa.Table.from_pylist([dict(zip(PAIRS.names, pair, strict=True)) for pair in labels], schema=PAIRS)
    pq.write_table(pairs, out / "labelled_pairs.parquet", compression="zstd")
    positive = pairs.filter(pc.equal(pairs["label"], 1))
    pq.write_table(positive, out / "same_style.parquet", compression="zstd")
    ids = [{"product_id": product_id, "source_id": source_id} for product_id, source_id in sources.items()]
    pq.write_table(pa.Table.from_pylist(ids, schema=IDS), out / "product_ids.parquet", compression="zstd")
    photos = _write_products(out / "products.parquet", products, folder)
    write_skipped(out, skipped)
    return Converted(
        counts={
            "products": len(products.details),
            "with a photo": photos,
            "photos not found": sum(bool(product["image"]) for product in products.details.values()) - photos,
            "pairs": len(labels),
            "same style": positive.num_rows,
        },
        skipped=skipped,
    )


def product_number(source_id: str) -> int:
    """Return the product id for a published id: the number itself if it is plain digits, otherwise a hash.

    The hash is the first 63 bits of BLAKE2b, the same on every machine. product_ids.parquet maps it back.
    """
    if source_id.isascii() and source_id.isdigit() and str(number := int(source_id)) == source_id and number < 2**63:
        return number
    return int.from_bytes(hashlib.blake2b(source_id.encode(), digest_size=8).digest(), "big") >> 1


def _rows(file: Path) -> Iterator[Any]:
    """Yield the rows of a file. A line that is not JSON gives a ValueError in its place."""
    with file.open(encoding="utf-8", errors="replace") as text:
        if text.read(64).lstrip("\ufeff \t\r\n").startswith("["):
            text.seek(0)
            try:
                yield from json.loads(text.read().lstrip("\ufeff"))
            except ValueError as error:
                raise ValueError(f"{file}: the JSON list cannot be read: {error}") from None
            return
        text.seek(0)
        for line in text:
            if line := line.strip("\ufeff \t\r\n"):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    yield error


def _pair(row: Any, products: _Products, sources: dict[int, str]) -> tuple[int, int, int]:
    """Add a row's products, and return its trigger, recall and label.

    Raises:
        ValueError: the row is not a pair.
    """
    if isinstance(row, ValueError):
        raise ValueError(f"not JSON: {row}")
    if not isinstance(row, dict):
        raise ValueError(f"must be a JSON object, got {show(row)}")
    label = row.get("label")
    if label not in (0, 1, "0", "1"):
        raise ValueError(f"label: must be 0 or 1, got {show(label)}")
    names = [_id(row, side) for side in ("trigger", "recall")]
    trigger, recall = map(product_number, names)
    if trigger == recall:
        raise ValueError(f"recall_id: must differ from trigger_id, got {show(names[0])} for both")
    for number, name in ((trigger, names[0]), (recall, names[1])):
        if sources.get(number, name) != name:
            raise ValueError(f"id {show(name)}: has the same hash {number} as {show(sources[number])}")
    for number, name, side in ((trigger, names[0], "trigger"), (recall, names[1], "recall")):
        sources[number] = name
        details = {
            "title": _text(row, f"{side}_title"),
            "image": _text(row, f"{side}_img"),
            "category": _text(row, "cate_lv1_name"),
            "leaf_category": _text(row, "cate_name"),
        }
        products.add(number, details)
    return trigger, recall, int(label)


def _id(row: dict[str, Any], side: str) -> str:
    value = row.get(f"{side}_id")
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError(f"{side}_id: must be a text or a whole number, got {show(value)}")
    return str(value).strip()


def _text(row: dict[str, Any], name: str) -> str:
    """Return a text of a row, empty if missing.

    Half a surrogate pair becomes a question mark, because parquet refuses it.
    """
    value = row.get(name)
    return value.strip().encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _write_products(file: Path, products: _Products, folder: Path) -> int:
    """Write products.parquet and return how many products have a photo."""
    photos = 0
    ids = list(products.details)
    with (
        pq.ParquetWriter(file, PRODUCTS, compression="zstd") as writer,
        progress_bar(total=len(ids), desc="photos", unit="product") as bar,
    ):
        for start in range(0, len(ids), BATCH):
            rows = []
            for product_id in ids[start : start + BATCH]:
                details = {name: value or None for name, value in products.details[product_id].items()}
                image = _photo(folder, products.details[product_id]["image"])
                photos += image is not None
                rows.append({"product_id": product_id, **details, "image": image})
            writer.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS))
            bar.update(len(rows))
    return photos


def _photo(folder: Path, location: str) -> bytes | None:
    """Return the bytes of a photo, or None if the folder has no such file. Paths that leave the folder are ignored."""
    url = urlsplit(location) if "://" in location or location.startswith("//") else None
    name = unquote(url.path).rpartition("/")[2] if url else location
    try:
        file = (folder / name).resolve()
        if name and file.is_relative_to(folder.resolve()) and file.is_file():
            return file.read_bytes() or None
    except (OSError, ValueError):  # names that no file can have: too long, or with a NUL
        pass
    return None
