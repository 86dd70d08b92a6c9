"""The report of `shopwindow mine`, and a comparison of the mined pairs with labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.retrieval.duplicates.labelled_pairs import read_pairs
from shopwindow.towers.data.mining import MinedPairs, MiningCatalog
from shopwindow.towers.data.training_data import Clicks


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well mined pairs agree with labelled ones. A pair counts once, whichever product is the trigger.

    Attributes:
        labelled: number of labelled pairs whose products are both in the catalogue.
        found: number of labelled pairs that were mined.
        mined: number of mined pairs.
        chance: share of labelled pairs among all pairs of one leaf category, which is the precision of guessing.
        note: how many pairs of the file name unknown products; None if none does.
    """

    labelled: int
    found: int
    mined: int
    chance: float
    note: str | None = None

    @property
    def precision(self) -> float:
        """Share of the mined pairs that are labelled; 0 if nothing was mined."""
        return self.found / self.mined if self.mined else 0.0

    @property
    def recall(self) -> float:
        """Share of the labelled pairs that were mined; 0 if nothing is labelled."""
        return self.found / self.labelled if self.labelled else 0.0

    def __str__(self) -> str:
        return (
            f"against {self.labelled} labelled pairs: precision {self.precision:.4f} (chance {self.chance:.6f}), "
            f"recall {self.recall:.4f}" + (f"; {self.note}" if self.note else "")
        )


def compare(pairs: MinedPairs, catalog: MiningCatalog, labels: Path) -> Agreement:
    """Compare mined pairs with labelled ones.

    Args:
        pairs: the mined pairs.
        catalog: the products that they were mined from.
        labels: parquet with trigger_id, recall_id. If it has a column label, only rows with label 1 count.

    Raises:
        ValueError: the file of labels is wrong, see `read_pairs`.
    """
    found = read_pairs(labels, "labels")
    labelled: set[tuple[int, int]] = set()
    for trigger, recall in found.same:
        one, other = catalog.row_of.get(trigger), catalog.row_of.get(recall)
        if one is not None and other is not None and one != other:
            labelled.add((min(one, other), max(one, other)))
    mined = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    category = catalog.category
    sizes = np.bincount(category[category >= 0])
    guesses = int((sizes * (sizes - 1) // 2).sum())
    right = sum(category[one] == category[other] >= 0 for one, other in labelled)
    return Agreement(
        labelled=len(labelled),
        found=len(labelled & mined),
        mined=len(mined),
        chance=right / guesses if guesses else 0.0,
        note=found.note_unknown(catalog.product_ids, "the catalogue"),
    )


def summarise(
    catalog: MiningCatalog, clicks: Clicks, pairs: MinedPairs, keywords: Sequence[Sequence[int]], broadest: int
) -> str:
    """Return the report of `shopwindow mine`, one fact per line.

    Args:
        catalog: the products.
        clicks: the click log.
        pairs: the pairs mined from it.
        keywords: the keyword sets mined from it.
        broadest: `MiningRules.broadest`, as it was when the pairs were mined.
    """
    sizes = [len(others) for others in keywords if others]
    partnered = len(np.union1d(pairs.first, pairs.second))
    counts = {
        "products": (len(catalog.product_ids), f"{len(np.unique(clicks.product))} clicked"),
        "queries": (
            len(clicks.queries),
            f"{pairs.broad_queries} left out as too broad: more than {broadest} clicked products",
        ),
        "keyword sets": (
            len(sizes),
            f"{np.mean(sizes):.1f} queries on average, {max(sizes)} at most" if sizes else "no similar queries",
        ),
        "candidate pairs": (pairs.candidates, "clicked under the same query"),
        **{f"- {rule}": (count, "") for rule, count in pairs.dropped.items()},
        "kept": (len(pairs.first), f"pairs; {partnered} products have a partner"),
    }
    width = max(map(len, counts))
    return "\n".join(f"{name:{width}} {count:>9}  {note}".rstrip() for name, (count, note) in counts.items())
