"""Attributes for the made-up products: what a shop filters by, counts, groups, sorts and boosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

VARIANTS = 4  # products of a style; a shopper takes them for one product in other colours
LAST_DAY = date(2026, 1, 31)  # the newest product is from this day
_COLOURS = ["black", "white", "blue", "red", "green", "grey", "brown", "beige", "pink", "yellow", "purple", "orange"]
_SIZES = ["XS", "S", "M", "L", "XL", "XXL", "36", "38", "40", "42", "44", "46"]
_BRANDS = 300
_DAYS = 1_000
_MISSING = 0.03  # share of products without a value


def made_up_columns(kinds: Sequence[int]) -> dict[str, pa.Array]:
    """Return attribute columns, the same ones for the same products every time.

    Values are as uneven as in a shop: the first brand has one product in six, most brands have a few hundred in
    200,000. Products whose titles come from the same title belong to the same styles, so the products that a query
    finds together often share one.

    Args:
        kinds: (products) for each product, the number of the title that it is made from.

    Returns:
        `colour` (12 values), `brand` (300), `price` (a few to a few hundred), `in_stock`, `sizes` (lists of up to 4 of
        12), `style` (one for up to `VARIANTS` products), `margin` (0 to 1) and `made` (a date).
    """
    random, count = np.random.default_rng(11), len(kinds)
    brands = [f"brand {number:03d}" for number in range(_BRANDS)]
    days = random.integers(_DAYS, size=count)
    first_size, sizes = random.integers(len(_SIZES), size=count), random.integers(5, size=count)
    seen = Counter[int]()
    styles = []
    for kind in kinds:
        styles.append(f"style {kind}-{seen[kind] // VARIANTS}")
        seen[kind] += 1

    def some(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind, mask=random.random(count) < _MISSING)

    return {
        "colour": some(random.choice(_COLOURS, size=count, p=_falling(len(_COLOURS))), pa.string()),
        "brand": some(random.choice(brands, size=count, p=_falling(_BRANDS)), pa.string()),
        "price": some(np.round(random.lognormal(3.5, 0.8, count), 2), pa.float64()),
        "in_stock": pa.array(random.random(count) < 0.8),
        "sizes": pa.array([_SIZES[a : a + b] for a, b in zip(first_size, sizes, strict=True)], pa.list_(pa.string())),
        "style": pa.array(styles, pa.string()),
        "margin": some(np.round(random.beta(2, 3, count), 3), pa.float64()),
        "made": pa.array([LAST_DAY - timedelta(days=day) for day in days.tolist()], pa.date32()),
    }


def _falling(count: int) -> np.ndarray:
    """Return shares that fall as 1 / rank, (count,) float64."""
    shares = 1 / np.arange(1, count + 1)
    return np.asarray(shares / shares.sum())
