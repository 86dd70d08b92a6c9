"""Keep what was made from a column for one facet: the next request for the facet counts with it."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

from shopwindow.base.recently_used import RecentlyUsed
from shopwindow.retrieval.request.attribute_columns import AttributeTable

MOST_BYTES_PER_ROW = 64
LEAST_BYTES = 16 * 2**20

KeptFacets = RecentlyUsed[Hashable, Any]

_TABLES: WeakKeyDictionary[AttributeTable, KeptFacets] = WeakKeyDictionary()
_TABLES_LOCK = threading.Lock()


def kept_facets(table: AttributeTable) -> KeptFacets:
    """Return what is kept for a table: up to 64 bytes a row, or 16 MiB if that is more. It goes with the table.

    To count rows, a facet takes a bit for each row and frequent value, and 4 to 8 bytes for each other value of a
    product. To count groups, it takes 6 to 8 bytes for each value of a product.
    """
    with _TABLES_LOCK:
        if table not in _TABLES:
            most = max(table.rows * MOST_BYTES_PER_ROW, LEAST_BYTES)
            _TABLES[table] = RecentlyUsed(most, lambda facet: int(facet.nbytes))
        return _TABLES[table]
