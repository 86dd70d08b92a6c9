"""Keep what was made from a column for one facet: the next request for the facet counts with it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from shopwindow.retrieval.page.facet_groups import FacetGroups
from shopwindow.retrieval.page.facet_rows import FacetRows
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.page.facet_reading import Facet

MOST_BYTES_PER_ROW = 64
LEAST_BYTES = 16 * 2**20

Made = TypeVar("Made", FacetRows, FacetGroups)


class KeptFacets:
    """The facets of one table that were used last. Threads may share it.

    To count rows, a facet takes a bit for each row and frequent value, and 4 to 8 bytes for each other value of a
    product. To count groups, it takes 6 to 8 bytes for each value of a product.

    Args:
        most_bytes: how many bytes it holds, without texts. A facet that takes more is kept alone.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[type, Facet, int], FacetRows | FacetGroups] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """How many bytes it holds."""
        return sum(one.nbytes for one in self._kept.values())

    def get(self, kind: type[Made], facet: Facet, make: Callable[[], Made], beside: np.ndarray | None = None) -> Made:
        """Return what is kept of a kind for a facet; make it if there is none. Two threads may both make it.

        Args:
            kind: the class.
            facet: the facet.
            make: makes it.
            beside: an array that it is also made from, and that it holds: so no other array has the same `id`.
        """
        # It is the same for any number of values to list.
        key = kind, replace(facet, values=0), 0 if beside is None else id(beside)
        with self._lock:
            kept = self._kept.get(key)
            if isinstance(kept, kind):
                self._kept.move_to_end(key)
                return kept
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and self.nbytes > self.most_bytes:
                self._kept.popitem(last=False)
        return made


_TABLES: WeakKeyDictionary[AttributeTable, KeptFacets] = WeakKeyDictionary()
_TABLES_LOCK = threading.Lock()


def kept_facets(table: AttributeTable) -> KeptFacets:
    """Return what is kept for a table: up to 64 bytes a row, or 16 MiB if that is more. It goes with the table."""
    with _TABLES_LOCK:
        if table not in _TABLES:
            _TABLES[table] = KeptFacets(max(table.rows * MOST_BYTES_PER_ROW, LEAST_BYTES))
        return _TABLES[table]
