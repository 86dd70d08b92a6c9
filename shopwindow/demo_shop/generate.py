"""Write the whole shop into a folder, as five parquet tables."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.demo_shop.assortment import Offer, assort, picture_of
from shopwindow.demo_shop.clicks import Click, click_log
from shopwindow.demo_shop.queries import Query, answers, chinese_queries, evaluation_queries
from shopwindow.demo_shop.titles import title_of

MIN_PRODUCTS = 200  # a smaller shop has too few queries with three answers
QUERIES_PER_PRODUCT = 400 / 3600
CHINESE_QUERIES_PER_PRODUCT = 100 / 3600
CLICKS_PER_PRODUCT = 40_000 / 3600
CHINESE_CLICKS_PER_PRODUCT = 10_000 / 3600
JPEG_QUALITY = 88

PRODUCTS = pa.schema(
    {
        "product_id": pa.int64(),
        "title": pa.string(),
        "image": pa.binary(),
        "brand": pa.string(),
        "supplier": pa.string(),
        "category": pa.string(),
        "article": pa.string(),
        "colour": pa.string(),
        "pattern": pa.string(),
        "price": pa.float64(),
        "stock": pa.int64(),
        "style": pa.int64(),
    }
)
QUERIES = pa.schema({"query_id": pa.int64(), "text": pa.string(), "kind": pa.string()})
QRELS = pa.schema({"query_id": pa.int64(), "product_id": pa.int64(), "relevance": pa.int32()})
CLICKS = pa.schema({"query": pa.string(), "product_id": pa.int64(), "count": pa.int32()})
SAME_STYLE = pa.schema({"trigger_id": pa.int64(), "recall_id": pa.int64(), "kind": pa.string()})


@dataclass(frozen=True, kw_only=True)
class ShopSummary:
    """The counts of what was written.

    Attributes:
        folder: Where the tables are.
        products: Rows of products.parquet.
        queries: Rows of queries.parquet.
        qrels: Rows of qrels.parquet.
        clicks: Rows of clicks.parquet.
        click_queries: Distinct texts in clicks.parquet.
        supplier_groups: Styles that several suppliers offer.
        duplicate_pairs: Styles that one supplier lists twice.
    """

    folder: Path
    products: int
    queries: int
    qrels: int
    clicks: int
    click_queries: int
    supplier_groups: int
    duplicate_pairs: int

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.products} products, {self.queries} queries ({self.qrels} relevant), "
            f"{self.clicks} click rows over {self.click_queries} queries, {self.supplier_groups} styles from "
            f"several suppliers, {self.duplicate_pairs} duplicates"
        )


def generate(folder: Path, *, products: int = 3600, seed: int = 7, progress: bool = True) -> ShopSummary:
    """Make up a shop and write it. The same arguments write the same bytes.

    Args:
        folder: Folder for products, queries, qrels, clicks and same_style (.parquet); created if missing.
        products: Catalogue rows, at least MIN_PRODUCTS. Queries, clicks and style groups grow in proportion.
        seed: Seed of all random choices.
        progress: Show a progress bar while drawing.

    Returns:
        The counts of what was written.

    Raises:
        ValueError: `products` is below MIN_PRODUCTS.
    """
    if products < MIN_PRODUCTS:
        raise ValueError(f"products must be at least {MIN_PRODUCTS}, not {products}: ask for a larger shop")
    offers = assort(products=products, seed=seed)
    titles = {offer.product_id: title_of(offer) for offer in offers}
    index = answers(offers)
    queries = evaluation_queries(index, titles, count=round(products * QUERIES_PER_PRODUCT), seed=seed)
    queries += chinese_queries(
        index, count=round(products * CHINESE_QUERIES_PER_PRODUCT), first_id=len(queries) + 1, seed=seed
    )
    avoid = {query.text.lower() for query in queries}
    clicks = [
        *click_log(index, rows=round(products * CLICKS_PER_PRODUCT), avoid=avoid, seed=seed),
        *click_log(index, rows=round(products * CHINESE_CLICKS_PER_PRODUCT), avoid=avoid, seed=seed, in_chinese=True),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    qrels = _qrels_table(queries)
    products_table = _products_table(offers, titles, seed=seed, progress=progress)
    _write(_queries_table(queries), folder / "queries.parquet")
    _write(qrels, folder / "qrels.parquet")
    _write(_clicks_table(clicks), folder / "clicks.parquet")
    groups, duplicates = _groups(offers)
    _write(_same_style_table(groups, duplicates), folder / "same_style.parquet")
    _write(products_table, folder / "products.parquet")  # last: if this file exists, so do the others
    return ShopSummary(
        folder=folder,
        products=len(offers),
        queries=len(queries),
        qrels=qrels.num_rows,
        clicks=len(clicks),
        click_queries=len({click.query for click in clicks}),
        supplier_groups=len(groups),
        duplicate_pairs=len(duplicates),
    )


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def _jpeg(offer: Offer) -> bytes:
    buffer = io.BytesIO()
    picture_of(offer).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _products_table(offers: list[Offer], titles: dict[int, str], *, seed: int, progress: bool) -> pa.Table:
    rows = list(offers)
    random.Random(f"{seed}/rows").shuffle(rows)
    records = [
        {
            "product_id": offer.product_id,
            "title": titles[offer.product_id],
            "image": _jpeg(offer),
            "brand": offer.brand,
            "supplier": offer.supplier,
            "style": offer.group,
            "category": offer.style.article.category,
            "article": offer.style.article.name,
            "colour": offer.style.colour,
            "pattern": offer.style.pattern,
            "price": offer.price,
            "stock": offer.stock,
        }
        for offer in progress_bar(rows, total=len(rows), desc="drawing products", unit="product", enabled=progress)
    ]
    return pa.Table.from_pylist(records, schema=PRODUCTS)


def _queries_table(queries: list[Query]) -> pa.Table:
    records = [{"query_id": query.query_id, "text": query.text, "kind": query.kind} for query in queries]
    return pa.Table.from_pylist(records, schema=QUERIES)


def _qrels_table(queries: list[Query]) -> pa.Table:
    records = [
        {"query_id": query.query_id, "product_id": product_id, "relevance": 1}
        for query in queries
        for product_id in query.relevant
    ]
    return pa.Table.from_pylist(records, schema=QRELS)


def _clicks_table(clicks: list[Click]) -> pa.Table:
    records = [{"query": click.query, "product_id": click.product_id, "count": click.count} for click in clicks]
    return pa.Table.from_pylist(records, schema=CLICKS)


def _groups(offers: list[Offer]) -> tuple[list[list[Offer]], list[list[Offer]]]:
    """Return the groups of offers of one style: those of several suppliers, and those of one supplier."""
    by_style: dict[int, list[Offer]] = {}
    for offer in offers:
        by_style.setdefault(offer.group, []).append(offer)
    several = [group for group in by_style.values() if len(group) > 1]
    across = [group for group in several if len({offer.supplier for offer in group}) > 1]
    inside = [group for group in several if len({offer.supplier for offer in group}) == 1]
    return across, inside


def _same_style_table(groups: list[list[Offer]], duplicates: list[list[Offer]]) -> pa.Table:
    """Return every ordered pair, so that every product of a pair is a trigger."""
    records = [
        {"trigger_id": trigger.product_id, "recall_id": recall.product_id, "kind": kind}
        for kind, several in (("supplier", groups), ("duplicate", duplicates))
        for group in several
        for trigger, recall in permutations(group, 2)
    ]
    return pa.Table.from_pylist(records, schema=SAME_STYLE)
