"""Find groups of near-identical products in a whole catalogue, from stored vectors. Nothing is embedded.

Two products are linked if the cosine of their vectors reaches a threshold. Both must have the same supplier (duplicate
listings) or different ones (the same style from other suppliers), as the caller chooses. These are the two uses of
same-style retrieval (eSSPR, arXiv 2302.05093). Products that are linked, directly or through others, form one group.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval.duplicates.connected_rows import ConnectedRows
from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.stored_vectors import Vectors
from shopwindow.retrieval.index.folder import IndexFolder
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT

# Up to this many products of a supplier, all pairs are compared exactly. At 128 dimensions that takes some seconds on
# one core, and 25 MB.
EXACT_PRODUCTS = 50_000
NEIGHBOURS = 100  # with more products, each one is compared with this many nearest ones
QUERIES = 256
_ROWS, _COLUMNS = 1_024, 4_096  # a block of scores is 16 MiB
_ROUNDING = 1e-6  # float32 cosines of equal vectors may be this much below 1


class Nearest(Protocol):
    """A function that finds the stored products nearest to given vectors."""

    def __call__(self, queries: np.ndarray, supplier: int | None, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search.

        Args:
            queries: (batch, dim) float32.
            supplier: search only products of this supplier; None searches all.
            k: products to find for each query.

        Returns:
            scores (batch, k) float32 and rows (batch, k) int64; padded with -inf and -1.
        """


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Groups of two or more products, the largest group first. Each group begins with its lowest row.

    Attributes:
        numbers: (members,) int64, number of each product's group, from 0.
        rows: (members,) int64, row of each product in the catalogue; within a group by falling score.
        scores: (members,) float32, cosine with the first product of the group. It may be below the threshold if a
            product is linked to the first one only through others.
        compared: number of products that were compared.
    """

    numbers: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    compared: int

    @property
    def sizes(self) -> np.ndarray:
        """(groups,) int64, number of members of each group, in falling order."""
        return np.bincount(self.numbers)

    @property
    def slices(self) -> list[slice]:
        """The part of the arrays that belongs to each group."""
        ends = self.sizes.cumsum().tolist()
        return [slice(start, end) for start, end in pairwise([0, *ends])]


def supplier_codes(folder: IndexFolder, column: str | None) -> np.ndarray:
    """Return the supplier of each row of an index, as a number.

    Args:
        folder: a loaded index.
        column: the attribute column that names the supplier; None treats all products as one supplier's.

    Returns:
        (rows,) int32 from 0; -1 for rows that are not alive and for products without a supplier.

    Raises:
        ValueError: the index has no such column.
    """
    rows = len(folder.product_ids)
    if column is None:
        codes = np.zeros(rows, np.int32)
    elif column not in folder.attributes.column_names:
        known = ", ".join(folder.attributes.column_names)
        raise ValueError(f"supplier-column: the index has no column {column!r}; it has {known}")
    else:
        names = folder.attributes[column]
        if pa.types.is_dictionary(names.type):  # each chunk may have another dictionary
            names = names.cast(names.type.value_type)
        codes = np.array(pc.fill_null(names.combine_chunks().dictionary_encode().indices, -1))
    if folder.alive is not None:
        codes[~folder.alive.rows] = -1
    return codes


def find_duplicates(
    folder: IndexFolder, suppliers: np.ndarray, *, threshold: float, across: bool = False, progress: bool = True
) -> Groups:
    """Find the groups of an index. Its engine searches for suppliers with more than EXACT_PRODUCTS products.

    Args:
        folder: a loaded index.
        suppliers: as `supplier_codes` returns them.
        threshold, across, progress: as in `find_groups`.
    """
    vectors = folder.all_vectors
    masks: dict[int | None, RowMask] = {}

    def nearest(queries: np.ndarray, supplier: int | None, k: int) -> tuple[np.ndarray, np.ndarray]:
        if supplier not in masks:
            masks.clear()  # suppliers are searched one after the other
            masks[supplier] = RowMask(suppliers >= 0 if supplier is None else suppliers == supplier)
        return search_rescored(folder.engine, vectors, queries, k, DEFAULT_EFFORT, masks[supplier])

    return find_groups(vectors, suppliers, threshold=threshold, across=across, nearest=nearest, progress=progress)


def find_groups(
    vectors: Vectors,
    suppliers: np.ndarray,
    *,
    threshold: float,
    across: bool = False,
    nearest: Nearest | None = None,
    progress: bool = True,
) -> Groups:
    """Find the groups of a catalogue.

    Up to EXACT_PRODUCTS products, all pairs that may be linked are compared. With more, each product is compared with
    its NEIGHBOURS nearest ones, as far as the index finds them. If a product may have more duplicates than that, the
    groups around such products are joined if their first products are linked.

    Args:
        vectors: (products, dim) float32, L2-normalised; read in parts.
        suppliers: (products,) int, the supplier of each product; -1 leaves the product out.
        threshold: lowest cosine of a link, above 0 and up to 1.
        across: link products of different suppliers instead of products of the same one.
        nearest: searches for suppliers with more than EXACT_PRODUCTS products; None compares all their pairs too.
        progress: show a progress bar.

    Raises:
        ValueError: the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: must be above 0 and at most 1 (the cosine of equal products), got {threshold}")
    linking = _Linking(vectors, suppliers, threshold - _ROUNDING, across)
    rows = np.flatnonzero(suppliers >= 0)
    with progress_bar(total=len(rows), desc="comparing", unit="product", enabled=progress) as bar:
        for part in [rows] if across else _by_supplier(rows, suppliers):
            if nearest is None or len(part) <= EXACT_PRODUCTS:
                linking.link_all(part, bar)
            else:
                linking.link_nearest(part, nearest, bar)
    return _groups(vectors, rows, linking.connected.roots(rows))


class _Linking:
    """Finds links and keeps the rows that they connect. Arguments: as `find_groups`; `floor` is the lowest cosine."""

    def __init__(self, vectors: Vectors, suppliers: np.ndarray, floor: float, across: bool) -> None:
        self._vectors = vectors
        self._suppliers = suppliers
        self._floor = floor
        self._across = across
        self.connected = ConnectedRows(len(suppliers))

    def link_all(self, part: np.ndarray, bar: Any = None) -> None:
        """Compare all pairs of some rows."""
        vectors = self._vectors[part]
        for start in range(0, len(part), _ROWS):
            rows = part[start : start + _ROWS]
            for other in range(start, len(part), _COLUMNS):
                columns = part[other : other + _COLUMNS]
                close = vectors[start : start + _ROWS] @ vectors[other : other + _COLUMNS].T >= self._floor
                self._link(rows, columns[None], close)
            if bar is not None:
                bar.update(len(rows))

    def link_nearest(self, part: np.ndarray, nearest: Nearest, bar: Any) -> None:
        """Compare some rows with their nearest ones."""
        supplier = None if self._across else int(self._suppliers[part[0]])
        crowded = []
        for start in range(0, len(part), QUERIES):
            rows = part[start : start + QUERIES]
            scores, found = nearest(self._vectors[rows], supplier, NEIGHBOURS)
            close = (scores >= self._floor) & (found >= 0)
            crowded.append(rows[close.all(axis=1)])  # they may have more duplicates than were found
            self._link(rows, found, close & (self._suppliers[found] >= 0))
            bar.update(len(rows))
        self.link_all(np.unique(self.connected.roots(np.concatenate(crowded))))

    def _link(self, rows: np.ndarray, others: np.ndarray, close: np.ndarray) -> None:
        """Link `rows` (batch,) with those of `others` (batch or 1, n) that are `close` (batch, n) bool."""
        if not close.any():
            return
        if self._across:
            close = close & (self._suppliers[rows][:, None] != self._suppliers[others])
        # Products of one group need no further link. Thousands of equal products would make millions of links.
        close = close & (self.connected.roots(rows)[:, None] != self.connected.roots(others))
        row, column = np.nonzero(close)
        self.connected.link(rows[row], np.broadcast_to(others, close.shape)[row, column])


def _by_supplier(rows: np.ndarray, suppliers: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each supplier, in rising order."""
    order = rows[np.argsort(suppliers[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(suppliers[order])) + 1)


def _groups(vectors: Vectors, rows: np.ndarray, roots: np.ndarray) -> Groups:
    _, inverse, sizes = np.unique(roots, return_inverse=True, return_counts=True)
    kept = sizes[inverse] > 1
    rows, roots, sizes = rows[kept], roots[kept], sizes[inverse][kept]
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _COLUMNS):
        some = slice(start, start + _COLUMNS)
        scores[some] = np.einsum("ij,ij->i", vectors[rows[some]], vectors[roots[some]])
    order = np.lexsort((rows, -scores, rows != roots, roots, -sizes))
    rows, roots, scores = rows[order], roots[order], scores[order]
    numbers = np.cumsum(np.diff(roots, prepend=roots[:1]) != 0)
    return Groups(numbers=numbers, rows=rows, scores=scores, compared=len(inverse))
