"""Compare groups of duplicates with pairs that people labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.base.checked_table import LABEL, PRODUCT, Column, read_checked
from shopwindow.retrieval.duplicates.groups import Groups


@dataclass(frozen=True, kw_only=True)
class LabelledPairs:
    """Pairs of products that people labelled.

    Attributes:
        one, other: (pairs,) int64, product ids.
        labels: (pairs,) int64, 1 for the same product, 0 for different ones.
        named: the pairs as the file names them, for messages.
    """

    one: np.ndarray
    other: np.ndarray
    labels: np.ndarray
    named: Sequence[tuple[int, int]]

    @property
    def same(self) -> list[tuple[int, int]]:
        """The pairs labelled as the same product, in the order of the file."""
        rows = self.labels == 1
        return list(zip(self.one[rows].tolist(), self.other[rows].tolist(), strict=True))

    def note_unknown(self, product_ids: np.ndarray, place: str) -> str | None:
        """Say how many pairs name a product that does not exist; None if there is no such pair.

        Args:
            product_ids: (products,) int64, the ids that exist.
            place: where they exist, in words.
        """
        unknown = ~(np.isin(self.one, product_ids) & np.isin(self.other, product_ids))
        if not unknown.any():
            return None
        one, other = self.named[int(np.flatnonzero(unknown)[0])]
        return (
            f"{unknown.sum()} of {len(unknown)} pairs, such as {one} and {other}, name a product that is not in "
            f"{place}, and are left out"
        )


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well found pairs agree with labelled ones. A pair counts once, whichever of its products is the trigger.

    Attributes:
        labelled: number of pairs labelled as the same that could be found: both products were compared, and their
            suppliers are the same, or different with `across`.
        right: number of these pairs that were found, that is, whose products are in one group.
        judged: number of found pairs that can be judged. If the file also has pairs labelled as different, these are
            the found pairs of the file. Otherwise they are all found pairs with a product of the file. A pair that is
            not in the file then counts as wrong, so precision is a lower bound.
    """

    labelled: int
    right: int
    judged: int

    @property
    def precision(self) -> float | None:
        """Share of the judged pairs that are right; None if no pair is judged."""
        return self.right / self.judged if self.judged else None

    @property
    def recall(self) -> float | None:
        """Share of the labelled pairs that were found; None if no pair is labelled."""
        return self.right / self.labelled if self.labelled else None


def read_pairs(file: Path, option: str = "pairs") -> LabelledPairs:
    """Read a parquet file with columns trigger_id, recall_id and optionally label. Without labels, all are "the same".

    Args:
        file: the file.
        option: name of the option that gave it, for errors.

    Raises:
        ValueError: the file is wrong (see `shopwindow.base.checked_table`), or two rows label one pair differently.
    """
    columns = [Column("trigger_id", PRODUCT), Column("recall_id", PRODUCT), Column("label", LABEL, needed=False)]
    found = read_checked(option, file, columns, empty=True)
    one, other = (np.array(found[name], np.int64) for name in ("trigger_id", "recall_id"))
    named = list(zip(found["trigger_id"], found["recall_id"], strict=True))
    labels = np.array(found.get("label", np.ones(len(one))), np.int64)
    first: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True)):
        if labels[before := first.setdefault(pair, row)] != labels[row]:
            raise ValueError(
                f"{option}: {file}: column 'label' has {labels[before]} in row {before} and {labels[row]} in row {row} "
                f"(from 0) for the products {min(named[row])} and {max(named[row])}; leave one of them"
            )
    return LabelledPairs(one=one, other=other, labels=labels, named=named)


def compare_pairs(
    labelled: LabelledPairs, groups: Groups, product_ids: np.ndarray, suppliers: np.ndarray, *, across: bool
) -> Agreement:
    """Compare found groups with labelled pairs.

    Args:
        labelled: the labelled pairs.
        groups: the groups that were found.
        product_ids: (products,) int64, ids of the catalogue's rows.
        suppliers, across: the same as in the call of `find_groups`.
    """
    row_of = _row_of(product_ids, suppliers >= 0)
    one, other = row_of(labelled.one), row_of(labelled.other)
    kept = (one != other) & (one >= 0) & (other >= 0)
    kept &= (suppliers[one] != suppliers[other]) == across
    pairs = np.sort(np.stack([one, other], axis=1)[kept], axis=1)
    same, different = (np.unique(pairs[labelled.labels[kept] == label], axis=0) for label in (1, 0))

    number = np.full(len(product_ids), -1)
    number[groups.rows] = groups.numbers
    right = _together(number, same)
    if len(different):
        return Agreement(labelled=len(same), right=right, judged=right + _together(number, different))
    in_file = np.zeros(len(product_ids), bool)
    in_file[same] = True
    return Agreement(labelled=len(same), right=right, judged=_judged(groups, suppliers, in_file, across))


def _row_of(product_ids: np.ndarray, compared: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from ids to rows, -1 for ids that were not compared. Rows left out may repeat an id."""
    rows = np.flatnonzero(compared)
    rows = rows[np.argsort(product_ids[rows])]
    known = product_ids[rows]

    def find(ids: np.ndarray) -> np.ndarray:
        if not len(known):
            return np.full(len(ids), -1)
        places = np.searchsorted(known, ids).clip(max=len(known) - 1)
        return np.where(known[places] == ids, rows[places], -1)

    return find


def _together(number: np.ndarray, pairs: np.ndarray) -> int:
    """Return how many pairs of rows are in one group."""
    one, other = number[pairs[:, 0]], number[pairs[:, 1]]
    return int(((one == other) & (one >= 0)).sum())


def _judged(groups: Groups, suppliers: np.ndarray, in_file: np.ndarray, across: bool) -> int:
    """Count the pairs inside groups that have a product of the file. With `across`, leave out pairs of one supplier."""

    def pairs(cells: np.ndarray) -> int:
        _, inverse, members = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        outside = np.bincount(inverse.ravel(), weights=~in_file[groups.rows]).astype(np.int64)
        return int((members * (members - 1) // 2 - outside * (outside - 1) // 2).sum())

    by_supplier = np.stack([groups.numbers, suppliers[groups.rows]], axis=1)
    return pairs(groups.numbers) - pairs(by_supplier) if across else pairs(groups.numbers)
