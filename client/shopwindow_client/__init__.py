"""Thin gRPC client of a Shopwindow server: numpy and tritonclient only."""

from __future__ import annotations

from ._client import RetrievalClient
from ._errors import (
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    QueueTimeout,
    ServerFault,
    ServerNotReady,
    ServerOverloaded,
    ServerUnreachable,
    ShopwindowError,
)
from ._requests import Product
from ._results import Health, ProductEmbeddings, Results, Row, ServerInfo

__all__ = [
    "ClientClosed",
    "DeadlineExceeded",
    "Health",
    "InvalidRequest",
    "Product",
    "ProductEmbeddings",
    "QueueTimeout",
    "Results",
    "RetrievalClient",
    "Row",
    "ServerFault",
    "ServerInfo",
    "ServerNotReady",
    "ServerOverloaded",
    "ServerUnreachable",
    "ShopwindowError",
]
