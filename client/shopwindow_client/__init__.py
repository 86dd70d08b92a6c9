"""A thin gRPC client of a Shopwindow server. It needs numpy and tritonclient only."""

from __future__ import annotations

from ._client import AsyncRetrievalClient, RetrievalClient
from ._compose import Part
from ._in_process import InProcess
from ._sending.retries import Hedge, Retry
from ._sending.throttling import Throttle
from ._values.errors import (
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    GenerationGone,
    InvalidRequest,
    MessageTooLarge,
    NotAuthorised,
    QueueTimeout,
    ServerDraining,
    ServerFault,
    ServerNotReady,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
    Throttled,
    TlsFailed,
    VersionMismatch,
)
from ._values.filters import Field, Filter, field
from ._values.like import Like
from ._values.options import CallOptions, SearchOptions, Tls
from ._values.requests import Product
from ._values.results import Health, ProductEmbeddings, Results, Row, ServerInfo, SimilarProducts
from ._values.timings import Timings

__all__ = [
    "AsyncRetrievalClient",
    "CallOptions",
    "ClientClosed",
    "ConnectionLost",
    "DeadlineExceeded",
    "Field",
    "Filter",
    "GenerationGone",
    "Health",
    "Hedge",
    "InProcess",
    "InvalidRequest",
    "Like",
    "MessageTooLarge",
    "NotAuthorised",
    "Part",
    "Product",
    "ProductEmbeddings",
    "QueueTimeout",
    "Results",
    "RetrievalClient",
    "Retry",
    "Row",
    "SearchOptions",
    "ServerDraining",
    "ServerFault",
    "ServerInfo",
    "ServerNotReady",
    "ServerOverloaded",
    "ServerUnreachable",
    "ShopwindowError",
    "SimilarProducts",
    "Throttle",
    "Throttled",
    "Timings",
    "Tls",
    "TlsFailed",
    "VersionMismatch",
    "field",
]
