"""The errors of retrieval, in one tree.

RetrievalError
├── InvalidRequest   the caller's input is wrong; served as INVALID_ARGUMENT
├── IndexUnfit       an index folder is missing, broken or belongs to other towers
├── BundleUnfit      the files of a repository were not exported together
├── GenerationGone   a page belongs to a generation that is no longer served; served as NOT_FOUND
├── TowersDiffer     embeddings and index come from different towers; served as UNAVAILABLE
├── EngineUnfit      the requested engine cannot search this index on this machine
└── NotServed        servers did not take a generation of an index home in time
    └── GenerationRefused   a serving process found it unfit
"""

from __future__ import annotations

from enum import StrEnum


class RetrievalError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidRequest(RetrievalError, ValueError):
    """Raised when a request cannot be answered as given.

    Args:
        field: the field that is wrong, as the caller wrote it (`top_k`, `query[3]`, `filter.price`).
        message: the limit and the given value, in words.
    """

    def __init__(self, field: str, message: str) -> None:
        # The message may quote the caller's input. Half a surrogate pair could not be sent, and a NUL would cut the
        # message short.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in f"{field}: {message}"))
        self.field = field


class Unfit(StrEnum):
    """Why an index is refused, in one word, for metrics. TOWERS also stands for BundleUnfit, OTHER for other errors."""

    INCOMPLETE = "incomplete"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    MEMORY = "memory"
    TOWERS = "towers"
    RECALL = "recall"
    OTHER = "other"


class IndexUnfit(RetrievalError):
    """Raised when an index folder cannot be served: missing, incomplete, or built by another product tower.

    Args:
        message: the reason and the remedy, in words.
        kind: the reason in one word.
    """

    def __init__(self, message: str, *, kind: Unfit = Unfit.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


class BundleUnfit(RetrievalError):
    """Raised when the files of a repository, or of the towers in an index folder, do not belong together."""


class GenerationGone(RetrievalError):
    """Raised when a request is pinned to another generation of the index than the one that is served.

    Args:
        requested: the generation that the request names.
        served: the generation that is served.
    """

    def __init__(self, requested: int, served: int) -> None:
        super().__init__(
            f"generation: {requested} is not served here, but {served} is; start again from the first page, without "
            "generation"
        )


class TowersDiffer(RetrievalError):
    """Raised when a request says that its embeddings come from other towers than the index.

    A server switches to other towers one model at a time. Its embedding and search models soon agree again.

    Args:
        requested: hash of the towers that the request names.
        index: hash of the towers that filled the index.
    """

    def __init__(self, requested: str, index: str) -> None:
        # Clients retry when they read "not ready".
        super().__init__(
            f"towers: not ready: these embeddings were made by towers {show(requested[:12])}, the index by towers "
            f"{index[:12]!r}. Wait a moment, embed again, and resend. If this goes on, the server's log says why it "
            "refused a generation."
        )


class NotServed(RetrievalError):
    """Raised when serving processes did not take a generation in time, or when too few processes were seen.

    They serve the previous generation until they take the new one, which may still happen.
    """


class GenerationRefused(NotServed):
    """Raised when a serving process found a generation unfit. It keeps serving the previous one.

    Args:
        message: the reason, in words.
        served: the generation that the process still serves; None if that is not known.
    """

    def __init__(self, message: str, *, served: int | None = None) -> None:
        super().__init__(message)
        self.served = served


class EngineUnfit(RetrievalError):
    """Raised when an index cannot be searched as requested: no GPU, too little memory, no such form."""


_LONGEST_SHOWN = 60  # characters; bad input must not flood a log


def show(value: object) -> str:
    """Return a value for an error message: its `repr`, cut to 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print an integer of more than 4300 digits
        text = "an integer of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
