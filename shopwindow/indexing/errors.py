"""The errors of indexing.

IndexingError
└── CatalogError   a catalogue cannot be read, or holds nothing to index
"""

from __future__ import annotations


class IndexingError(Exception):
    """Raised when a catalogue can't become an index; the index that is served stays as it is."""


class CatalogError(IndexingError):
    """Raised when a catalogue cannot be read at all; names the file and the column."""
