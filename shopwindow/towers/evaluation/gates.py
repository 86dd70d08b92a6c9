"""How much the towers rely on title and photo, category by category."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shopwindow.towers.judging.table import Cell, Table


def gates_table(weights: np.ndarray, categories: Sequence[str | None], both: np.ndarray) -> Table:
    """Return the mean and the spread of the modality weights, over all products and by category.

    Args:
        weights: (products, 2) float32, weights of title and photo.
        categories: (products) category; None where unknown.
        both: (products,) bool, True where a product has title and photo. The others are left out.
    """
    groups = {"all": both}
    for category in sorted({value for value in categories if value}):
        groups[category] = both & np.array([value == category for value in categories])
    rows: list[dict[str, Cell]] = []
    for name, mask in groups.items():
        if mask.any():
            mean, spread = weights[mask].mean(axis=0), weights[mask].std(axis=0)
            rows.append(
                {
                    "category": name,
                    "products": int(mask.sum()),
                    "title": float(mean[0]),
                    "photo": float(mean[1]),
                    "standard deviation": float(spread[1]),
                }
            )
    return Table(
        title="Modality weights by category",
        note="Mean weights of title and photo, which add up to 1, and the standard deviation over products.",
        rows=rows,
    )
