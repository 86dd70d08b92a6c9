"""The errors of indexing.

IndexingError
├── CatalogError   a catalogue or a change file cannot be read, or leaves nothing to index
└── RecallTooLow   an approximate index finds too little of what exact search finds
"""

from __future__ import annotations


class IndexingError(Exception):
    """Raised when no index can be made from a catalogue. The index in service stays as it is."""


class CatalogError(IndexingError):
    """Raised when a catalogue or a change file cannot be read, or leaves nothing to index.

    If a file is at fault, the message names it, and the column.
    """


class RecallTooLow(IndexingError):
    """Raised when an approximate index finds too little of what exact search finds to be published."""
