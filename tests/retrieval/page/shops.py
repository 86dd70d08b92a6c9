"""Random shops: an index folder on disk, opened, and the same products in plain Python for the judge."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from shopwindow.base.product_keys import key_number
from shopwindow.retrieval import ProductIndex
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import Manifest, read_index, write_index, write_manifest
from shopwindow.retrieval.index.lexical import LexicalIndex
from tests.retrieval.page.brute_force import Shop

DIM = 8
NOW = date(2026, 1, 31)
WORDS = ["mug", "lamp", "desk", "wool", "oak", "steel", "blue"]
COLOURS = ["red", "blue", "grün", "Ωmega", "", "Red", 'a"b']
SIZES = ["S", "M", "L", "XL"]

KINDS: dict[str, pa.DataType] = {
    "title": pa.string(),
    "colour": pa.string(),
    "style": pa.string(),
    "supplier": pa.int64(),
    "price": pa.float64(),
    "stock": pa.int16(),
    "in_stock": pa.bool_(),
    "made": pa.date32(),
    "seen": pa.timestamp("us", "UTC"),
    "sizes": pa.list_(pa.string()),
    "widths": pa.list_(pa.int32()),
}


@dataclass(frozen=True)
class Plan:
    """How to make a shop.

    Attributes:
        rows: number of rows of the index.
        seed: where its products come from.
        kind, breadth: recipe of the index; None for the breadth of the recipe.
        missing: share of values that are missing.
        coarse: whether many products have equal scores.
        delta: share of rows that an update added.
        dead: share of rows that cannot be found.
        text_ids: whether product ids are texts.
    """

    rows: int
    seed: int
    kind: str = "flat"
    breadth: int | None = None
    missing: float = 0.15
    coarse: bool = False
    delta: float = 0.0
    dead: float = 0.0
    text_ids: bool = False


@cache
def grid(scale: int) -> np.ndarray:
    """Return (vectors, DIM) float32 unit vectors whose elements are multiples of 1 / scale.

    Their dot products are multiples of 1 / scale ** 2, so float32 computes them exactly, in whatever order it adds.
    Scores are then equal or clearly different.
    """
    drawn = np.round(scale * _directions(2_000 * scale))
    return (drawn[(drawn**2).sum(axis=1) == scale**2] / scale).astype(np.float32)


def _directions(count: int) -> np.ndarray:
    drawn = np.random.default_rng(9).normal(size=(count, DIM))
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def product(rng: random.Random, missing: float, styles: int) -> dict[str, Any]:
    """Return a random product. A missing price may also be NaN, and a missing list may also be empty."""
    makers: dict[str, Callable[[], Any]] = {
        "colour": lambda: rng.choice(COLOURS),
        "style": lambda: f"style {rng.randrange(styles)}",
        "supplier": lambda: rng.choice([1, 2, 3, 2**40, -7]),
        "price": lambda: rng.choice([0.0, -0.0, 0.5, 7.25, 25.0, 40.0, 49.75, rng.randrange(400) / 4]),
        "stock": lambda: rng.choice([0, 1, 2, 3, 5, 8]),
        "in_stock": lambda: rng.random() < 0.7,
        "made": lambda: NOW - timedelta(days=rng.choice([0, 30, 60, 90, -3, rng.randrange(400)])),
        "seen": lambda: datetime(2026, 1, 31, tzinfo=UTC) - timedelta(hours=rng.choice([0, 24, 36, 240, -30, 700])),
        "sizes": lambda: rng.choices(SIZES, k=rng.randint(1, 4)),
        "widths": lambda: [rng.randrange(36, 46) for _ in range(rng.randint(1, 3))],
    }
    made = {name: None if rng.random() < missing else make() for name, make in makers.items()}
    if made["price"] is None and rng.random() < 0.3:
        made["price"] = float("nan")
    if made["sizes"] is None and rng.random() < 0.5:
        made["sizes"] = []
    return {"title": " ".join(rng.choices(WORDS, k=rng.randint(0, 4))), **made}


def made_by(plan: Plan) -> Shop:
    """Return the products of a plan. Some vectors appear several times."""
    rng = random.Random(plan.seed)
    pool = grid(8 if plan.coarse else 64)
    vectors = [pool[rng.randrange(len(pool))] for _ in range(plan.rows)]
    for row in range(1, plan.rows):
        if rng.random() < 0.1:
            vectors[row] = vectors[rng.randrange(row)]
    products = [product(rng, plan.missing, max(1, plan.rows // 4)) for _ in range(plan.rows)]
    alive = [rng.random() >= plan.dead for _ in range(plan.rows)]
    numbers = rng.sample(range(10 * plan.rows), plan.rows)
    ids = [f"sku-{number}" if plan.text_ids else number + 2**40 for number in numbers]
    for row in range(plan.rows - 1):
        if not alive[row] and rng.random() < 0.5:
            ids[row] = ids[row + 1]  # as if an update had replaced this row by another one
    return Shop(np.array(vectors, np.float64), ids, products, alive)


def _index(shop: Shop, plan: Plan, folder: Path) -> ProductIndex:
    """Write a shop as a generation that was built and then updated, and open it."""
    rows = len(shop.ids)
    base = max(1, round(rows * (1 - plan.delta)))
    dead = rows - sum(shop.alive)
    vectors = shop.vectors.astype(np.float32)
    recipe = choose_recipe(base, plan.kind)
    if plan.breadth is not None:
        recipe = recipe.with_breadth(plan.breadth)
    keys = pa.array(shop.ids, pa.large_string()) if plan.text_ids else None
    manifest = Manifest(
        generation=1,
        count=rows - dead,
        dim=vectors.shape[1],
        tower_hash="a" * 64,
        recipe=recipe,
        recall_at_100=1.0,
        skipped=0,
        build_seconds=0.1,
        catalog="products.parquet",
        created="2026-01-01T00:00:00+00:00",
        delta=rows - base,
        dead=dead,
    )
    write_index(
        folder,
        manifest=manifest,
        vectors=vectors[:base],
        product_ids=np.array([key_number(one) for one in shop.ids] if plan.text_ids else shop.ids, np.int64),
        attributes=pa.Table.from_pylist(shop.products, schema=pa.schema(KINDS)),
        engine=FaissCpuEngine.build(vectors[:base], recipe),
        skipped="row,product_id,reason\n",
        lexical=LexicalIndex.build([one["title"] or "" for one in shop.products]),
        product_keys=keys,
    )
    if rows > base:
        np.save(folder / "delta.npy", vectors[base:])
    if dead:
        np.save(folder / "alive.npy", np.array(shop.alive))
    write_manifest(folder, manifest)
    return ProductIndex(read_index(folder))


def indexed(shop: Shop, plan: Plan) -> ProductIndex:
    """Return an index of a shop, from files that are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return _index(shop, plan, Path(folder) / "index")


def opened(plan: Plan) -> tuple[Shop, ProductIndex]:
    """Return the products of a plan and an index of them."""
    shop = made_by(plan)
    return shop, indexed(shop, plan)


def plans(most_rows: int) -> st.SearchStrategy[Plan]:
    """Draw how to make a shop with an exact index, often updated since it was built."""
    return st.builds(
        Plan,
        rows=st.integers(1, most_rows),
        seed=st.integers(0, 10_000),
        missing=st.sampled_from([0.0, 0.15, 0.6]),
        coarse=st.booleans(),
        delta=st.sampled_from([0.0, 0.3]),
        dead=st.sampled_from([0.0, 0.2]),
        text_ids=st.booleans(),
    )
