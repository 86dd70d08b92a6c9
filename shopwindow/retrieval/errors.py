"""The errors of retrieval, in one tree.

RetrievalError
├── InvalidRequest   the caller's input is wrong; served as INVALID_ARGUMENT
├── IndexUnfit       an index folder is missing, broken or belongs to other towers
├── BundleUnfit      a repository's files are not those that were exported together
├── TowersDiffer     embeddings are of other towers than the index; served as UNAVAILABLE
├── EngineUnfit      the wanted engine cannot search this index on this machine
└── NotServed        a generation of an index home is not served in time
    └── GenerationRefused   a serving process found it unfit
"""

from __future__ import annotations


class RetrievalError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidRequest(RetrievalError, ValueError):
    """Raised when a request cannot be answered as given.

    Args:
        field: what is wrong, as the caller wrote it (`top_k`, `query[3]`, `filter.price`).
        message: the limit and the value given, in words.
    """

    def __init__(self, field: str, message: str) -> None:
        # Half a surrogate pair in the caller's input must not make the error itself impossible to send, nor a NUL
        # cut it short.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in f"{field}: {message}"))
        self.field = field


class IndexUnfit(RetrievalError):
    """Raised when an index folder cannot be served: missing, incomplete, or built by another product tower."""


class BundleUnfit(RetrievalError):
    """Raised when the files of a repository, or of the towers that an index carries, do not belong together."""


class TowersDiffer(RetrievalError):
    """Raised when a request says that its embeddings are of other towers than those that filled the index.

    A server that changes to other towers takes them up model by model: embedding and search again soon agree.
    """

    def __init__(self, given: str, index: str) -> None:
        # "Not ready" is what clients try again.
        super().__init__(
            f"towers: not ready for embeddings of towers {show(given[:12])}, the index is of towers {index[:12]!r}: "
            "embed again, and send that, after a while; if it stays so, the server's log says why it refused a "
            "generation"
        )


class NotServed(RetrievalError):
    """Raised when serving processes did not take a generation in time, or too few are seen.

    Until they take it, as they may at any time, the one before is served on.
    """


class GenerationRefused(NotServed):
    """Raised when a serving process found a generation unfit, with its reason; the one before is served on.

    Args:
        message: in words.
        served: the generation that the process serves on; None when that is not known.
    """

    def __init__(self, message: str, *, served: int | None = None) -> None:
        super().__init__(message)
        self.served = served


class EngineUnfit(RetrievalError):
    """Raised when an index cannot be searched the way that was asked for: no GPU, too little memory, no such form."""


def show(value: object, limit: int = 60) -> str:
    """A value for an error message: `repr`, cut to `limit` characters so that bad input cannot flood a log."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an integer of more than 4300 digits
        text = "an integer of thousands of digits"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
